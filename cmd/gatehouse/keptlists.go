package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatehouse-ca/gatehouse/publish"
)

// keptLists is the folder in which a gateway keeps the list of each issuer that it served last. The store has it as well;
// this one tells what relying parties have seen when the store was emptied.
type keptLists string

func (k keptLists) file(issuer string) string { return filepath.Join(string(k), issuer+".crl") }

func (k keptLists) read(issuers []publish.Issuer) (map[string][]byte, error) {
	if err := os.MkdirAll(string(k), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of lists: %w", err)
	}
	left, err := filepath.Glob(k.file(".*") + "-*") // of writes that a crash ended
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return nil, err
	}
	lists := map[string][]byte{}
	for _, i := range issuers {
		der, err := os.ReadFile(k.file(i.Name))
		switch {
		case err == nil:
			lists[i.Name] = der
		case !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("reading the list that was served last: %w", err)
		}
	}
	return lists, nil
}

func (k keptLists) write(issuer string, der []byte) error { return writeDurably(k.file(issuer), der) }

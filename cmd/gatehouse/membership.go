package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// membership is what a data folder remembers of where it belongs, beside what it holds: the deployment whose store its
// gateway uses, and the journal that is its own. Without it a folder whose journal was lost would look like a new
// gateway's on a shared store, and a folder of another deployment would have its journal replayed into this one.
type membership struct {
	Deployment string `json:"deployment"`
	Journal    string `json:"journal"`
}

const membershipFile = "deployment.json"

// readMembership is the zero value for a folder that has none, a new one.
func readMembership(folder string) (m membership, err error) {
	path := filepath.Join(folder, membershipFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Deployment == "" || m.Journal == "" {
		return m, fmt.Errorf("%s cannot be read (%v); restore it, or write {\"deployment\": …, \"journal\": …} with the ids that the log tells at each start", path, err)
	}
	return m, nil
}

// write is durable, and whole or not at all.
func (m membership) write(folder string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(folder, membershipFile), append(text, '\n'))
}

// writeDurably puts a file, mode 0600, in place of an older one: after a crash there is one of the two, whole.
func writeDurably(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

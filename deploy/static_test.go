package deploy

import (
	"debug/elf"
	"errors"
	"fmt"
)

// static reports whether a program needs nothing of the system around it: no interpreter and no library.
func static(path string) error {
	f, err := elf.Open(path)
	if formatError, ok := errors.AsType[*elf.FormatError](err); ok {
		return fmt.Errorf("%s is no ELF file: %w", path, formatError)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically; an image from scratch has no libraries", path)
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The names that init writes below its folder.
const (
	initConfig     = "gatehouse.yaml" // the last one: where it is, everything is
	initRootCert   = "root.pem"
	initRootFolder = "root" // to be moved away
	initIssuers    = "issuers"
	initIssuer     = "main"
	initSealKey    = "seal.key"
)

// initState is what a folder holds of an init.
type initState struct {
	folder   string
	complete bool
	present  []string
}

func (s *initState) config() string { return filepath.Join(s.folder, initConfig) }

func (s *initState) paths() []string {
	var out []string
	for _, name := range s.present {
		out = append(out, filepath.Join(s.folder, name))
	}
	return out
}

// lookAtInit changes nothing.
func lookAtInit(folder string) (*initState, error) {
	s := &initState{folder: folder}
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is no folder; name one, which is made if it is absent", folder)
	}
	for _, name := range []string{initConfig, initTemporary, initIssuers, initRootFolder, initRootCert, initSealKey} {
		_, err := os.Lstat(filepath.Join(folder, name))
		switch {
		case err == nil:
			s.present = append(s.present, name)
			s.complete = s.complete || name == initConfig
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	return s, nil
}

// newFolders makes a folder and those above it that are missing, mode 0700, each known to the disk. The last must be new:
// of two who make it one alone goes on.
func newFolders(path string) error {
	parent := filepath.Dir(path)
	if _, err := os.Stat(parent); errors.Is(err, os.ErrNotExist) {
		if err := newFolders(parent); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return syncFolder(parent)
}

// newFile writes a file that must not exist, durably.
func newFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

package audit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// disk is the folder as the writer uses it; tests put faults in between.
type disk interface {
	create(name string) (segmentFile, error) // empty, whatever was there
	open(name string) (segmentFile, error)
	syncDir() error
}

// segmentFile is the segment being written. What was written is on disk after sync; after datasync only if it lies
// inside the length of the last sync.
type segmentFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	datasync() error
	Close() error
}

type osDisk struct{ dir string }

type osFile struct{ *os.File }

func (f osFile) datasync() error { return datasync(f.File) }

// The journal names who asked for what; it is for the gateway's own user.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

func (d osDisk) create(name string) (segmentFile, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDisk) open(name string) (segmentFile, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDisk) syncDir() error { return syncDir(d.dir) }

// syncDir makes the creation, renaming and removal of files in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

package rest

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// uploadPause is what a client waits that finds no place for its upload.
const uploadPause = 10 * time.Second

// spoolStep is how many octets are written at most before room is asked for again.
const spoolStep = 1 << 20

// Spooled is a file without a name. It is for one goroutine.
type Spooled struct {
	file *os.File
	room func() error
	left int64 // octets for which there was room
}

// Spool makes a file that has no name any more, for an upload that is read from more than one place. It is gone once it is closed, and
// with the process, however that ends. room is asked before each MiB whether the disk has room for it beside what others need
// there; nil: nobody is asked. The error is Unavailable.
func Spool(dir string, room func() error) (*Spooled, error) {
	f, err := os.CreateTemp(dir, "upload-*")
	if err != nil {
		return nil, spoolError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, spoolError(errors.Join(err, f.Close()))
	}
	return &Spooled{file: f, room: room}, nil
}

// Write implements io.Writer.
func (s *Spooled) Write(p []byte) (int, error) {
	if s.left < int64(len(p)) && s.room != nil {
		if err := s.room(); err != nil {
			return 0, err
		}
		s.left = max(spoolStep, int64(len(p)))
	}
	s.left -= int64(len(p))
	return s.file.Write(p)
}

// ReadAt implements io.ReaderAt.
func (s *Spooled) ReadAt(p []byte, at int64) (int, error) { return s.file.ReadAt(p, at) }

// Close is the end of the file.
func (s *Spooled) Close() error { return s.file.Close() }

func spoolError(err error) error {
	return problem.Wrap(err, problem.Unavailable, "uploads cannot be kept while they are read; try again later").After(uploadPause)
}

// Uploads bounds how many uploads are in work at a time, in all and of one organisation, so that neither disk nor processor is
// anybody's alone. It is safe for concurrent use.
type Uploads struct {
	Most, Each int // both at least 1

	mu   sync.Mutex
	work map[int32]int // by organisation
	all  int
}

// Begin takes a place for an organisation's upload; end gives it back. Without a place the error is RateLimited if the
// organisation has what it may have, and Unavailable if others have it, both with a time to come back.
func (u *Uploads) Begin(org int32) (end func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.work[org] >= u.Each:
		return nil, problem.New(problem.RateLimited, "%d uploads of this organisation are in work already, as many as may be; send the next once one of them is answered", u.Each).After(uploadPause)
	case u.all >= u.Most:
		return nil, problem.New(problem.Unavailable, "the gateway works on as many uploads as it can; try again later").After(uploadPause)
	}
	if u.work == nil {
		u.work = map[int32]int{}
	}
	u.work[org]++
	u.all++
	return sync.OnceFunc(func() { u.done(org) }), nil
}

func (u *Uploads) done(org int32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all--
	if u.work[org]--; u.work[org] == 0 {
		delete(u.work, org)
	}
}

package embedded

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// fault remembers the last failed write until one succeeds.
type fault struct {
	unsettled atomic.Bool // readers may see a state that is not on disk; see settle
	mu        sync.Mutex
	err       error
}

func (f *fault) last() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// failed logs only the first of a row.
func (f *fault) failed(log *slog.Logger, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		log.Error("the store cannot write", "error", err)
	}
	f.err = err
}

func (f *fault) healed(log *slog.Logger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		log.Info("the store writes again")
		f.err = nil
	}
}

// diskReserve bounds the free space below which nothing is written, on disks where a sixteenth is more than that.
// A failed transaction makes bbolt scan the whole file, and other files on the disk need room to say what happened.
const diskReserve = 16 << 20

// reserveOf is the reserve for the file system under dir.
func reserveOf(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return min(diskReserve, s.Blocks*uint64(s.Bsize)/16), nil
}

// room refuses when free disk space is below the reserve.
func (e *Engine) room() error {
	free, err := freeSpace(e.dir)
	if err != nil {
		return unavailable(err)
	}
	if free < e.reserve {
		return unavailable(fmt.Errorf("the disk under the store folder %s is full: %d KiB free, %d KiB are kept in reserve; free some space",
			e.dir, free>>10, e.reserve>>10))
	}
	return nil
}

func freeSpace(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

package audit

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"
)

const (
	maxGroup  = 4 << 20 // bytes of one write, and so of a line
	extension = 1 << 20 // zero bytes written ahead at a time: some 3 ms, every 600 certificates or so
)

// writer owns the open segment. One goroutine uses it.
//
// A write or sync that failed is never repeated in place: after a failed fsync the kernel may call the same pages
// clean, and a later fsync then succeeds without having written them (Rebello et al., "Can applications recover from
// fsync failures?", 2020). So the segment is cut back to what an earlier sync vouched for, the cut is synced, and the
// next group goes to a new file. Only the cut's own metadata is trusted to that sync, no byte of the failed group; and
// the new segment is begun only after it, because the chain would fork if lines that failed came back after a power
// cut. A full disk takes the same road: the new segment cannot be had until there is room again.
type writer struct {
	disk  disk
	now   func() time.Time
	log   *slog.Logger
	limit int64 // bytes after which a segment closes
	ahead int64 // zero bytes written ahead at a time, at most extension

	file  segmentFile // nil: there is none
	name  string
	off   int64 // end of the lines that are on disk
	size  int64 // the file's length that is on disk
	day   time.Time
	chain chain // of the lines that are on disk

	buf    []byte
	broken error     // why the journal cannot be written, while it cannot
	tried  time.Time // when reopen last tried
}

// commit makes a group durable. After an error none of it was acknowledged, and the journal is broken.
func (w *writer) commit(group []*waiting) error {
	if w.broken != nil && !w.reopen(recoverPause) {
		return w.broken
	}
	if w.off > 0 && (w.off >= w.limit || day(w.now()).After(w.day)) {
		if err := w.roll(); err != nil {
			return w.fail(err)
		}
	}
	next := w.encode(group)
	if err := w.write(); err != nil {
		return w.fail(fmt.Errorf("%s: %w", w.name, err))
	}
	w.off += int64(len(w.buf))
	w.chain = next
	if cap(w.buf) > maxGroup/4 {
		w.buf = nil
	}
	return nil
}

// encode chains the group's lines in w.buf and returns the chain after them.
func (w *writer) encode(group []*waiting) chain {
	c := w.chain
	c.group = c.seq + 1
	w.buf = w.buf[:0]
	for _, p := range group {
		start := 0
		for _, end := range p.ends {
			from := len(w.buf)
			w.buf = appendHead(w.buf, c.seq+1, c.hash, c.group, c.journal)
			w.buf = append(w.buf, p.body[start:end]...)
			c.seq, c.hash = c.seq+1, sha256.Sum256(w.buf[from:])
			start = end
		}
	}
	return c
}

func (w *writer) write() error {
	if err := w.extend(w.off + int64(len(w.buf))); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.buf, w.off); err != nil {
		return err
	}
	return w.file.datasync()
}

var zeros [extension]byte

// extend makes the file at least need bytes long, in whole steps.
func (w *writer) extend(need int64) error {
	if need <= w.size {
		return nil
	}
	size := w.size
	for ; size < need; size += w.ahead {
		if _, err := w.file.WriteAt(zeros[:w.ahead], size); err != nil {
			return err
		}
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.size = size
	return nil
}

// roll closes the open segment, if there is one, and begins the next. It may be called again after it failed: the file
// of the next name holds nothing acknowledged. It is emptied rather than removed, because once it exists the segment
// before may be compressed, and a journal whose last segment is compressed has lost one.
func (w *writer) roll() error {
	if err := w.finish(); err != nil {
		return err
	}
	name := plainName(w.chain.seq + 1)
	file, err := w.disk.create(name)
	if err != nil {
		return err
	}
	w.file, w.name, w.off, w.size, w.day = file, name, 0, 0, day(w.now())
	if err := w.extend(1); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return w.disk.syncDir()
}

// finish cuts the open segment back to its lines and closes it.
func (w *writer) finish() error {
	if w.file == nil {
		return nil
	}
	if err := w.file.Truncate(w.off); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		w.log.Warn("audit: close segment", slog.String("file", w.name), slog.Any("error", err)) // it is synced
	}
	w.file = nil
	return nil
}

func (w *writer) fail(err error) error {
	w.broken = err
	w.log.Error("audit: the journal cannot be written; nothing is issued until it can", slog.Any("error", err))
	return err
}

// reopen tries to write again unless it did so within the pause, and reports whether the journal is whole.
func (w *writer) reopen(pause time.Duration) bool {
	if w.broken != nil && time.Since(w.tried) >= pause {
		w.tried = time.Now()
		if err := w.roll(); err != nil {
			w.broken = err
			return false
		}
		w.broken = nil
		w.log.Info("audit: the journal can be written again", slog.String("file", w.name))
	}
	return w.broken == nil
}

// day is the UTC day of t.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

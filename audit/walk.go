package audit

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// chain is how far a journal has been followed or written.
type chain struct {
	seq     int64    // of the last line; zero before the first
	hash    [32]byte // of the last line
	group   int64    // of the last line
	journal string   // the id, once the first line was seen
	loose   bool     // the next line's prev is taken on trust: the walk began inside the journal
}

// follows reports whether the entry continues the chain, and if so steps onto it.
func (c *chain) follows(e Entry, journal string) bool {
	want := c.hash
	if e.Seq == 1 {
		want = genesis(journal)
	}
	switch {
	case e.Seq != c.seq+1,
		e.Prev != want && !c.loose,
		(e.Seq == 1) != (journal != ""),
		e.Group != e.Seq && e.Group != c.group && !c.loose:
		return false
	}
	if e.Seq == 1 {
		c.journal = journal
	}
	c.seq, c.hash, c.group, c.loose = e.Seq, e.Hash, e.Group, false
	return true
}

// place is where a line stands.
type place struct {
	file string
	line int
}

// walker follows the chain through segments. It only reads, and may run while a gateway writes.
type walker struct {
	dir   fs.FS
	segs  []segment
	chain chain
	at    place // of the last good line
	last  int64 // where the last group begins in the last segment, in bytes
	end   int64 // where the last segment's good lines end, in bytes
	torn  int   // bytes of an unfinished group after them
}

// errStop ends a walk whose caller has seen enough.
var errStop = errors.New("stop")

// walk calls fn for every entry in order. What breaks the chain is returned as a [*Break], after the entries before it.
func (w *walker) walk(fn func(Entry, place) error) error {
	for i, s := range w.segs {
		if b := w.contiguous(i); b != nil {
			return b
		}
		if err := w.segment(i, fn); err != nil {
			return err
		}
		if s.compressed() && w.chain.seq != s.last {
			return &Break{Truncated, s.name, w.at.line, w.chain.seq + 1, fmt.Sprintf("the name says the segment ends with entry %d, it ends with %d", s.last, w.chain.seq)}
		}
		if i == len(w.segs)-1 && s.compressed() {
			return &Break{MissingSegment, s.name, 0, s.last + 1, "the open segment, which follows this one, is missing"}
		}
	}
	return nil
}

// contiguous compares what the segment's name says with where the chain stands.
func (w *walker) contiguous(i int) *Break {
	s, want := w.segs[i], w.chain.seq+1
	switch {
	case s.first > want:
		return &Break{MissingSegment, s.name, 1, want, fmt.Sprintf("entries %d to %d are missing before this segment: a segment, or the end of the one before", want, s.first-1)}
	case s.first < want:
		return &Break{Duplicate, s.name, 1, s.first, "an earlier segment already holds the entry this one is named after"}
	}
	return nil
}

// segment follows one segment to its end. Only the last one may end in zero bytes or an unfinished group.
func (w *walker) segment(i int, fn func(Entry, place) error) error {
	l, err := openSegment(w.dir, w.segs[i])
	if err != nil {
		return w.unreadable(w.segs[i].name, 1, err)
	}
	defer l.close()
	live := i == len(w.segs)-1 && !l.compressed
	w.last = 0
	for {
		start, number := l.off, l.number
		line, err := l.next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return w.unreadable(l.name, number+1, err)
		}
		if end && !live {
			return nil
		}
		var e Entry
		var journal string
		if !end {
			e, journal, err = decode(line)
		}
		switch {
		case err == nil:
		case live && (end || errors.Is(err, errNotJSON) || errors.Is(err, errNotWhole)):
			if more, err := w.tail(l, place{l.name, number + 1}, start); err != nil || !more {
				return err
			}
			if err := l.seek(start, number); err != nil {
				return w.unreadable(l.name, number+1, err)
			}
			continue
		case errors.Is(err, errNotWhole):
			return &Break{Truncated, l.name, l.number, w.chain.seq + 1, "the segment ends inside a line"}
		default:
			return &Break{Edited, l.name, l.number, w.chain.seq + 1, err.Error()}
		}
		if !w.chain.follows(e, journal) {
			return w.diagnose(i, l, e)
		}
		if e.Group == e.Seq {
			w.last = start
		}
		w.at = place{l.name, l.number}
		if err := fn(e, w.at); err != nil {
			return err
		}
	}
}

// unreadable tells damage inside a compressed segment from a failure to read.
func (w *walker) unreadable(name string, line int, err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if corrupt || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return &Break{Damaged, name, line, w.chain.seq + 1, "the compressed segment cannot be unpacked: " + err.Error()}
	}
	return fmt.Errorf("audit: read %s: %w", name, err)
}

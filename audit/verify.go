package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"
)

// BreakKind says how a journal is broken.
type BreakKind string

// The kinds of break.
const (
	Edited         BreakKind = "edited line"
	Missing        BreakKind = "missing line"
	MissingSegment BreakKind = "missing segment"
	Reordered      BreakKind = "reordered lines"
	Duplicate      BreakKind = "duplicate line"
	Truncated      BreakKind = "truncated"
	Damaged        BreakKind = "unreadable"
)

// Break is the first place where a journal does not verify.
type Break struct {
	Kind   BreakKind
	File   string // name inside the folder
	Line   int    // from 1; in a compressed segment, of the unpacked text. Zero: the whole file
	Seq    int64  // the entry that should stand there
	Detail string // what was seen
}

// Error says file, line, entry and what is wrong.
func (b *Break) Error() string {
	return fmt.Sprintf("%s line %d (entry %d): %s: %s", b.File, b.Line, b.Seq, b.Kind, b.Detail)
}

// Report is what [Verify] found up to the end or the first break.
type Report struct {
	Journal  string // id
	Segments int
	Entries  int64
	First    time.Time // of the first entry
	Last     time.Time // of the last entry
	Head     Mark      // the last entry; keep it elsewhere to prove the journal's end later
	Notes    []string  // what is normal but worth saying
}

// Verify follows the whole chain in dir and compares it with marks known from elsewhere. The error is a [*Break] where
// the journal is not what was written, [ErrNoJournal] where there is none, and otherwise a failure to read; the report
// tells what was found up to there. It only reads and needs no lock, so it may run beside a gateway: the end is then
// what was on disk as it was reached.
func Verify(dir string, marks ...Mark) (Report, error) { return verify(os.DirFS(dir), marks) }

func verify(dir fs.FS, marks []Mark) (Report, error) {
	segs, err := segments(dir)
	if err != nil {
		return Report{}, fmt.Errorf("audit: %w", err)
	}
	if len(segs) == 0 {
		return Report{}, ErrNoJournal
	}
	known := make(map[int64][32]byte, len(marks))
	for _, m := range marks {
		if h, twice := known[m.Seq]; twice && h != m.Hash {
			return Report{}, fmt.Errorf("audit: two marks disagree about entry %d", m.Seq)
		}
		known[m.Seq] = m.Hash
	}
	w := &walker{dir: dir, segs: segs}
	r := Report{Segments: len(segs)}
	err = w.walk(func(e Entry, at place) error {
		if h, ok := known[e.Seq]; ok && h != e.Hash {
			return &Break{Edited, at.file, at.line, e.Seq, "the line is not the one that the mark was taken of"}
		}
		delete(known, e.Seq)
		if r.Entries == 0 {
			r.First = e.Event.At
		}
		r.Entries++
		r.Last = e.Event.At
		r.Head = Mark{e.Seq, e.Hash}
		return nil
	})
	r.Journal = w.chain.journal
	if w.torn > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s ends with %d bytes of a write that is not finished and was not acknowledged", segs[len(segs)-1].name, w.torn))
	}
	if err != nil {
		return r, err
	}
	for seq := range known {
		return r, &Break{Truncated, segs[len(segs)-1].name, w.at.line, w.chain.seq + 1, fmt.Sprintf("the journal ends with entry %d, but a mark was taken of entry %d", w.chain.seq, seq)}
	}
	return r, nil
}

// After streams the entries of the journal in dir behind an entry's number, zero for all, compressed segments included, and
// checks the chain on the way, from the beginning of the segment that holds the first of them. A break or failure to read is
// yielded as the last pair's error, as by [Verify]. It needs no lock.
func After(dir string, seq int64) iter.Seq2[Entry, error] {
	entries := stream(func() (*walker, error) { return segmentsFrom(os.DirFS(dir), seq+1) })
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if err == nil && e.Seq <= seq {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func stream(open func() (*walker, error)) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w, err := open()
		if err == nil && len(w.segs) == 0 {
			err = ErrNoJournal
		}
		if err == nil {
			err = w.walk(func(e Entry, _ place) error {
				if !yield(e, nil) {
					return errStop
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

package audit

import "fmt"

// diagnose names what happened where entry e, just read, does not continue the chain. Each line vouches for the one
// before, so it may take a look at the line after to tell which of two was changed.
func (w *walker) diagnose(i int, l *lines, e Entry) *Break {
	want := w.chain.seq + 1
	here := place{l.name, l.number}
	at := func(p place, kind BreakKind, seq int64, format string, args ...any) *Break {
		return &Break{kind, p.file, p.line, seq, fmt.Sprintf(format, args...)}
	}
	linked := e.Prev == w.chain.hash && want > 1
	switch {
	case e.Seq == want && (linked || want == 1):
		return at(here, Edited, want, "the line stands where it should, but its hash, group or journal id is not what the journal writes")
	case linked:
		return at(here, Edited, want, "the line continues the chain but calls itself entry %d", e.Seq)
	case e.Seq == want:
		next, known := w.after(i, l)
		if known && next.Prev != e.Hash {
			return at(here, Edited, want, "neither the line before nor the line after fits this one")
		}
		if known {
			return at(w.at, Edited, want-1, "the next line holds another hash of this one")
		}
		return at(w.at, Edited, want-1, "the next line, the journal's last, holds another hash of this one: one of the two was edited")
	case e.Seq > want:
		for line, err := l.next(); err == nil; line, err = l.next() {
			if other, _, err := decode(line); err == nil && other.Seq == want {
				return at(here, Reordered, want, "entry %d stands here, entry %d only on line %d", e.Seq, want, l.number)
			}
		}
		return at(here, Missing, want, "entries %d to %d are missing before entry %d", want, e.Seq-1, e.Seq)
	default:
		return at(here, Duplicate, want, "entry %d stands here again", e.Seq)
	}
}

// after reads the entry after the one that l returned last, from the next segment if need be.
func (w *walker) after(i int, l *lines) (Entry, bool) {
	line, err := l.next()
	if err != nil && i+1 < len(w.segs) {
		next, openErr := openSegment(w.dir, w.segs[i+1])
		if openErr != nil {
			return Entry{}, false
		}
		defer next.close()
		line, err = next.next()
	}
	if err != nil {
		return Entry{}, false
	}
	e, _, err := decode(line)
	return e, err == nil
}

package audit

import (
	"bytes"
	"fmt"
)

// tail judges what follows the last good line of the open segment: more is true if a running gateway has written the
// line meanwhile and the walk goes on; otherwise the segment ends here, perhaps with an unfinished group.
//
// A second look settles the race with a writer: bytes are read in order, so the place in question may have been read
// before, and later groups after, they were written. But a later group is only written once this place was on disk, so
// whoever saw one sees this place as it stays.
func (w *walker) tail(l *lines, at place, off int64) (more bool, err error) {
	var verdict *Break
	for range 2 {
		data, err := l.rest(off)
		if err != nil {
			return false, fmt.Errorf("audit: read %s: %w", l.name, err)
		}
		if end := bytes.IndexByte(data, '\n'); end >= 0 {
			if _, _, err := decode(data[:end+1]); err == nil {
				return true, nil
			}
		}
		w.end, w.torn = off, len(data)
		if verdict = w.unfinished(at, data); verdict == nil {
			return false, nil
		}
	}
	return false, verdict
}

// unfinished is nil if data can be what a crash left of one group that was never acknowledged.
func (w *walker) unfinished(at place, data []byte) *Break {
	damaged := func(why string) *Break { return &Break{Damaged, at.file, at.line, w.chain.seq + 1, why} }
	if len(data) > maxGroup {
		return damaged("more follows this unreadable line than one write can leave")
	}
	group := int64(0)
	for piece := range bytes.SplitAfterSeq(data, []byte("\n")) {
		e, _, err := decode(piece[bytes.LastIndexByte(piece, 0)+1:])
		if err != nil {
			continue
		}
		if group == 0 {
			group = e.Group
		}
		if e.Group != group || group != w.chain.group && group != w.chain.seq+1 {
			return damaged(fmt.Sprintf("the line is unreadable, yet entry %d was written after it had been acknowledged", e.Seq))
		}
	}
	return nil
}

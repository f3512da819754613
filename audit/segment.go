package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

const (
	plainSuffix = ".jsonl"
	gzipSuffix  = ".jsonl.gz"
	tempSuffix  = ".tmp"
	seqDigits   = 16
)

// segment is one file of a journal.
type segment struct {
	name  string
	first int64 // sequence number of its first line
	last  int64 // of its last line; zero while the segment is not compressed, as its name does not say
}

func (s segment) compressed() bool { return s.last != 0 }

func plainName(first int64) string { return fmt.Sprintf("%0*d%s", seqDigits, first, plainSuffix) }

func gzipName(first, last int64) string {
	return fmt.Sprintf("%0*d-%0*d%s", seqDigits, first, seqDigits, last, gzipSuffix)
}

// parseSegment tells a segment's name from that of any other file.
func parseSegment(name string) (segment, bool) {
	if stem, ok := strings.CutSuffix(name, gzipSuffix); ok {
		a, b, dash := strings.Cut(stem, "-")
		first, last := parseSeq(a), parseSeq(b)
		return segment{name, first, last}, dash && first > 0 && last >= first
	}
	stem, ok := strings.CutSuffix(name, plainSuffix)
	first := parseSeq(stem)
	return segment{name: name, first: first}, ok && first > 0
}

func parseSeq(digits string) int64 {
	if len(digits) != seqDigits {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0
	}
	return int64(n)
}

// segments lists a journal in order. Where a crash left a segment plain and compressed, the plain one is taken: it is
// what was written. A folder that is absent holds none.
func segments(dir fs.FS) ([]segment, error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []segment
	for _, f := range files {
		if s, ok := parseSegment(f.Name()); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b segment) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	return slices.CompactFunc(all, func(a, b segment) bool { return a.first == b.first && a.compressed() != b.compressed() }), nil
}

// lines reads a segment line by line.
type lines struct {
	r          *bufio.Reader
	file       fs.File
	name       string
	compressed bool
	number     int   // of the line that next returned last, from 1
	off        int64 // where the next line begins
	long       []byte
}

// openSegment opens a segment. A plain one may be compressed between listing and opening; then its successor is read.
func openSegment(dir fs.FS, s segment) (*lines, error) {
	f, err := dir.Open(s.name)
	if errors.Is(err, fs.ErrNotExist) && !s.compressed() {
		all, listErr := segments(dir)
		if listErr != nil {
			return nil, listErr
		}
		if i := slices.IndexFunc(all, func(c segment) bool { return c.first == s.first }); i >= 0 {
			s = all[i]
			f, err = dir.Open(s.name)
		}
	}
	if err != nil {
		return nil, err
	}
	var r io.Reader = f
	if s.compressed() {
		if r, err = gzip.NewReader(bufio.NewReader(f)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &lines{r: bufio.NewReaderSize(r, 64<<10), file: f, name: s.name, compressed: s.compressed()}, nil
}

// next returns the next line with its newline, valid until the call after. The last line comes without one if the file
// ends inside it; after it, and at zero bytes where a line would begin, the error is io.EOF.
func (l *lines) next() ([]byte, error) {
	if c, err := l.r.Peek(1); err != nil {
		return nil, err
	} else if c[0] == 0 {
		return nil, io.EOF
	}
	l.number++
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = l.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) && len(l.long) <= maxGroup {
			l.long = append(l.long, line...)
			line, err = l.r.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	l.off += int64(len(line))
	if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
		err = nil // decode finds the newline missing
	}
	return line, err
}

// seek goes back, in a plain segment, to the line that begins at off; number is that of the line before it.
func (l *lines) seek(off int64, number int) error {
	if _, err := l.file.(io.Seeker).Seek(off, io.SeekStart); err != nil {
		return err
	}
	l.r.Reset(l.file)
	l.off, l.number = off, number
	return nil
}

// rest reads a plain segment from off to where only zero bytes follow.
func (l *lines) rest(off int64) ([]byte, error) {
	if err := l.seek(off, l.number); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(l.r)
	return bytes.TrimRight(data, "\x00"), err
}

func (l *lines) close() { _ = l.file.Close() } // only read from; nothing to lose

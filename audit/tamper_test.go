package audit

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tampered is a journal of entries 1–4 compressed, 5–8 closed, and 9–12 open with zeros behind, as lines.
type tampered map[string][]string

const (
	fileA = "0000000000000001-0000000000000004.jsonl.gz"
	fileB = "0000000000000005.jsonl"
	fileC = "0000000000000009.jsonl"
)

func sample(t testing.TB) (tampered, Mark) {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true, SegmentBytes: 1 << 20})
	for n := range 11 {
		mustAppend(t, j, signed(n))
	}
	seq, hash := j.Head()
	mustClose(t, j)
	text, err := os.ReadFile(filepath.Join(dir, plainName(1)))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	all[len(all)-1] += "\n"
	if len(all) != 12 {
		t.Fatalf("%d lines", len(all))
	}
	return tampered{fileA: all[0:4:4], fileB: all[4:8:8], fileC: all[8:12:12]}, Mark{seq, hash}
}

func (j tampered) fs(t testing.TB) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{lockName: {Data: []byte("1\n")}}
	for name, lines := range j {
		data := []byte(strings.Join(lines, ""))
		switch {
		case strings.HasSuffix(name, gzipSuffix):
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(data)
			_ = z.Close()
			data = b.Bytes()
		case name == fileC:
			data = append(data, make([]byte, 5000)...)
		}
		dir[name] = &fstest.MapFile{Data: data}
	}
	return dir
}

func (j tampered) clone() tampered {
	c := tampered{}
	for name, lines := range j {
		c[name] = slices.Clip(slices.Clone(lines))
	}
	return c
}

// edit replaces text in a line; the test fails if it is not there.
func (j tampered) edit(file string, line int, from, to string) {
	was := j[file][line-1]
	j[file][line-1] = strings.Replace(was, from, to, 1)
	if j[file][line-1] == was {
		panic(fmt.Sprintf("%s line %d has no %q", file, line, from))
	}
}

func (j tampered) drop(file string, line int) {
	j[file] = append(j[file][:line-1:line-1], j[file][line:]...)
}

// flips change one field each of an ordinary line.
var flips = [][2]string{
	{`"kind":"signed"`, `"kind":"revoked"`}, {`"at":"2026`, `"at":"2025`}, {`"actor":"acme:a1"`, `"actor":"acme:a2"`},
	{`"org":7`, `"org":8`}, {`"enrollment":`, `"enrollment":1`}, {`"issuer":"main"`, `"issuer":"fake"`}, {`"serial":"0`, `"serial":"1`},
	{`["a.example`, `["x.example`}, {`"der":"`, `"der":"AAAA`}, {`}`, `,"detail":"x"}`}, {`}`, ` }`},
}

func TestTamperedFieldIsFound(t *testing.T) {
	whole, mark := sample(t)
	for _, at := range []struct {
		file string
		line int
		seq  int64
	}{{fileA, 3, 3}, {fileA, 4, 4}, {fileB, 1, 5}, {fileB, 2, 6}, {fileB, 4, 8}, {fileC, 1, 9}, {fileC, 3, 11}, {fileC, 4, 12}} {
		for _, f := range flips {
			t.Run(fmt.Sprintf("%d/%s", at.seq, f[0]), func(t *testing.T) {
				j := whole.clone()
				j.edit(at.file, at.line, f[0], f[1])
				expect(t, j, at.file, at.line, at.seq, Edited, mark)
			})
		}
	}
}

func TestTamperedChainIsFound(t *testing.T) {
	whole, mark := sample(t)
	hash := func(line string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(line))) }
	for _, c := range []struct {
		name string
		do   func(tampered)
		file string
		line int
		seq  int64
		kind BreakKind
	}{
		{"seq raised", func(j tampered) { j.edit(fileB, 2, `"seq":6`, `"seq":7`) }, fileB, 2, 6, Edited},
		{"seq lowered", func(j tampered) { j.edit(fileB, 2, `"seq":6,`, `"seq":5,`) }, fileB, 2, 6, Edited},
		{"group", func(j tampered) { j.edit(fileB, 2, `"group":6`, `"group":4`) }, fileB, 2, 6, Edited},
		{"group past seq", func(j tampered) { j.edit(fileB, 2, `"group":6`, `"group":66`) }, fileB, 2, 6, Edited},
		{"prev", func(j tampered) { j.edit(fileB, 2, hash(j[fileB][0]), hash("x")) }, fileB, 2, 6, Edited},
		{"last prev", func(j tampered) { j.edit(fileC, 4, hash(j[fileC][2]), hash("x")) }, fileC, 3, 11, Edited},
		{"prev in capitals", func(j tampered) { j.edit(fileB, 2, hash(j[fileB][0]), strings.ToUpper(hash(j[fileB][0]))) }, fileB, 2, 6, Edited},
		{"journal id", func(j tampered) { j.edit(fileA, 1, `"journal":"`, `"journal":"0`) }, fileA, 1, 1, Edited},
		{"journal id elsewhere", func(j tampered) { j.edit(fileB, 2, `"kind"`, `"journal":"0","kind"`) }, fileB, 2, 6, Edited},
		{"line dropped", func(j tampered) { j.drop(fileB, 2) }, fileB, 2, 6, Missing},
		{"first line of a segment dropped", func(j tampered) { j.drop(fileB, 1) }, fileB, 1, 5, Missing},
		{"first line of all dropped", func(j tampered) { j.drop(fileA, 1) }, fileA, 1, 1, Missing},
		{"last line of a segment dropped", func(j tampered) { j.drop(fileB, 4) }, fileC, 1, 8, MissingSegment},
		{"last line of a compressed segment dropped", func(j tampered) { j.drop(fileA, 4) }, fileA, 3, 4, Truncated},
		{"last line of all dropped", func(j tampered) { j.drop(fileC, 4) }, fileC, 3, 12, Truncated},
		{"two lines swapped", func(j tampered) { j[fileB][1], j[fileB][2] = j[fileB][2], j[fileB][1] }, fileB, 2, 6, Reordered},
		{"line doubled", func(j tampered) { j[fileB] = append(j[fileB][:2:2], j[fileB][1:]...) }, fileB, 3, 7, Duplicate},
		{"line replaced by another", func(j tampered) { j[fileB][2] = j[fileB][1] }, fileB, 3, 7, Duplicate},
		{"line made unreadable", func(j tampered) { j.edit(fileB, 2, `{`, `[`) }, fileB, 2, 6, Edited},
		{"line made unreadable in the open segment", func(j tampered) { j.edit(fileC, 2, `{`, `[`) }, fileC, 2, 10, Damaged},
		{"line emptied", func(j tampered) { j[fileB][1] = "{}\n" }, fileB, 2, 6, Edited},
		{"line of zeros in the open segment", func(j tampered) { j[fileC][1] = strings.Repeat("\x00", len(j[fileC][1])) }, fileC, 2, 10, Damaged},
		{"newline removed", func(j tampered) { j[fileB][3] = strings.TrimSuffix(j[fileB][3], "\n") }, fileB, 4, 8, Truncated},
		{"first segment removed", func(j tampered) { delete(j, fileA) }, fileB, 1, 1, MissingSegment},
		{"segment removed", func(j tampered) { delete(j, fileB) }, fileC, 1, 5, MissingSegment},
		{"open segment removed", func(j tampered) { delete(j, fileC) }, fileB, 4, 9, Truncated},
		{"segment renamed", func(j tampered) { j["0000000000000006.jsonl"] = j[fileB]; delete(j, fileB) }, "0000000000000006.jsonl", 1, 5, MissingSegment},
		{"segment copied", func(j tampered) { j["0000000000000007.jsonl"] = j[fileB][2:] }, "0000000000000007.jsonl", 1, 7, Duplicate},
		{"segments exchanged", func(j tampered) { j[fileB], j[fileC] = j[fileC], j[fileB] }, fileB, 1, 5, Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := whole.clone()
			c.do(j)
			expect(t, j, c.file, c.line, c.seq, c.kind, mark)
		})
	}
}

func expect(t *testing.T, j tampered, file string, line int, seq int64, kind BreakKind, marks ...Mark) {
	t.Helper()
	_, err := verify(j.fs(t), marks)
	b, ok := errors.AsType[*Break](err)
	if !ok {
		t.Fatalf("passed as %v", err)
	}
	if b.File != file || b.Line != line || b.Seq != seq || b.Kind != kind {
		t.Errorf("got %v; want %s line %d, entry %d, %s", b, file, line, seq, kind)
	}
}

func TestUntamperedPasses(t *testing.T) {
	j, mark := sample(t)
	r, err := verify(j.fs(t), []Mark{mark})
	if err != nil || r.Entries != 12 || r.Head != mark || r.Segments != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDamagedCompressedSegment(t *testing.T) {
	j, mark := sample(t)
	whole := j.fs(t)[fileA].Data
	for i := range whole {
		dir := j.fs(t)
		dir[fileA].Data = bytes.Clone(whole)
		dir[fileA].Data[i] ^= 0x10
		if r, err := verify(dir, nil); err == nil && (r.Head != mark || r.Entries != 12) { // padding may differ
			t.Errorf("byte %d of %d changed and other entries were found: %+v", i, len(whole), r)
		}
		dir[fileA].Data = whole[:i]
		if _, err := verify(dir, nil); err == nil {
			t.Errorf("cut to %d of %d bytes and nothing was found", i, len(whole))
		} else if _, ok := errors.AsType[*Break](err); !ok {
			t.Errorf("cut to %d bytes: %v is not a break", i, err)
		}
	}
}

func TestCompressedLastSegmentMeansTheOpenOneIsGone(t *testing.T) {
	j, _ := sample(t)
	delete(j, fileB)
	delete(j, fileC)
	expect(t, j, fileA, 0, 5, MissingSegment)
}

func TestReadErrorIsNoBreak(t *testing.T) {
	w := &walker{dir: failingFS{}, segs: []segment{{name: fileB, first: 1}}}
	err := w.walk(func(Entry, place) error { return nil })
	if _, ok := errors.AsType[*Break](err); ok || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("walk: %v", err)
	}
}

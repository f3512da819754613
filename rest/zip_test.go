package rest

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

var zipLimits = ZipLimits{Files: 20, File: 1000, Total: 5000, Ratio: 20}

// packed is one file to be put into a zip.
type packed struct {
	name, content string
	method        uint16
	mode          fs.FileMode
}

func zipOf(t testing.TB, files ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: f.method}
		if f.mode != 0 {
			h.SetMode(f.mode)
		}
		in, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents are what is read of a zip: of each file its content, or why not.
func contents(data []byte) (said []string, err error) {
	z, err := OpenZip(bytes.NewReader(data), int64(len(data)), zipLimits)
	if err != nil {
		return nil, err
	}
	for _, f := range z.Files() {
		content, err := z.Read(f)
		if err != nil {
			content = []byte("!" + problem.From(err).Detail)
		}
		said = append(said, f.Name+": "+string(content))
	}
	return said, nil
}

func TestZip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("abcdefgh", 20)
	data := zipOf(t, packed{name: "folder/"}, packed{name: "folder/a.cer", content: long, method: zip.Deflate}, packed{name: "b.cer", content: "b", method: zip.Store},
		packed{name: "c.cer", content: "c", method: zip.Deflate, mode: 0o644}, packed{name: "empty", method: zip.Deflate})
	got, err := contents(data)
	if err != nil || !slices.Equal(got, []string{"folder/a.cer: " + long, "b.cer: b", "c.cer: c", "empty: "}) {
		t.Errorf("%q, %v", got, err)
	}
	for name, data := range map[string][]byte{"with a comment": commented(t), "before which there is something": withPrefix(t)} {
		if got, err := contents(data); err != nil || len(got) != 1 || got[0] != "a.cer: a" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := contents(zipOf(t)); err != nil || len(got) != 0 {
		t.Errorf("an empty one: %q, %v", got, err)
	}
}

func commented(t *testing.T) []byte {
	data := zipOf(t, packed{name: "a.cer", content: "a"})
	little.PutUint16(data[len(data)-2:], 5)
	return append(data, "hello"...)
}

// withPrefix is a zip that knows of what stands before it, as programs do that unpack themselves.
func withPrefix(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString("#!/bin/sh\n")
	w := zip.NewWriter(&b)
	w.SetOffset(int64(b.Len()))
	in, err := w.Create("a.cer")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "a")
	w.Close()
	return b.Bytes()
}

// TestZipFilesRefused: what is wrong with one file is reported of that file, and the others are read.
func TestZipFilesRefused(t *testing.T) {
	t.Parallel()
	for says, bad := range map[string]packed{
		"leads out":             {name: "../../etc/a.cer", content: "x"},
		" leads out":            {name: "a/../../b.cer", content: "x"},
		"is absolute":           {name: "/etc/a.cer", content: "x"},
		"have":                  {name: `..\a.cer`, content: "x"},
		"absolute, or has":      {name: `C:a.cer`, content: "x"},
		"characters":            {name: "a\x00.cer", content: "x"},
		"characters or":         {name: "a\n.cer", content: "x"},
		"none that a file":      {name: "a//b.cer", content: "x"},
		"length":                {name: strings.Repeat("n", 300), content: "x"},
		"a link":                {name: "link.cer", content: "/etc/passwd", mode: fs.ModeSymlink | 0o777},
		"no plain file":         {name: "pipe.cer", mode: fs.ModeNamedPipe | 0o600},
		"at most 1000":          {name: "large.cer", content: strings.Repeat("x", 1001), method: zip.Store},
		"1000 octets that were": {name: "bomb.cer", content: strings.Repeat("x", 1000), method: zip.Deflate},
		"another zip":           {name: "in.zip", content: string(zipOf(t, packed{name: "a.cer", content: "x"}))},
		"more than once":        {name: "first.cer", content: "another"},
	} {
		got, err := contents(zipOf(t, packed{name: "first.cer", content: "1"}, bad, packed{name: "last.cer", content: "2"}))
		if err != nil || len(got) != 3 || got[0] != "first.cer: 1" || got[2] != "last.cer: 2" || !strings.Contains(got[1], ": !") || !strings.Contains(got[1], says) || strings.ContainsAny(got[1], "\x00\n") {
			t.Errorf("%q: %q, %v", bad.name, got, err)
		}
	}
}

// listAt is where the list of a zip is.
func listAt(data []byte) int { return int(little.Uint32(data[len(data)-6:])) }

// TestZipsRefused: an archive that contradicts itself, or is too much, is not read at all.
func TestZipsRefused(t *testing.T) {
	t.Parallel()
	a, b := packed{name: "a.cer", content: "aaaa", method: zip.Store}, packed{name: "b.cer", content: "bbbb", method: zip.Store}
	changed := func(change func(data []byte, list int) []byte) []byte {
		data := zipOf(t, a, b)
		return change(data, listAt(data))
	}
	var many []packed
	for i := range 21 {
		many = append(many, packed{name: fmt.Sprint(i)})
	}
	put16 := func(at func(list int, data []byte) int, v uint16) []byte {
		return changed(func(d []byte, list int) []byte { little.PutUint16(d[at(list, d):], v); return d })
	}
	put32 := func(at func(list int, data []byte) int, v uint32) []byte {
		return changed(func(d []byte, list int) []byte { little.PutUint32(d[at(list, d):], v); return d })
	}
	end := func(n int) func(int, []byte) int { return func(_ int, d []byte) int { return len(d) - zipEndSize + n } }
	entry := func(n int) func(int, []byte) int { return func(list int, _ []byte) int { return list + n } }
	head := func(n int) func(int, []byte) int { return func(int, []byte) int { return n } }
	second := func(n int) func(int, []byte) int {
		return func(list int, _ []byte) int { return list + zipEntrySize + 5 + n }
	}
	for says, data := range map[string][]byte{
		"does not end as one": []byte("no zip"),
		"not end as one":      nil,
		"does not end":        append(zipOf(t, a), 0),
		"end as one":          zipOf(t, a)[:60],
		"at most 20":          zipOf(t, many...),
		"at most 5000": changed(func(d []byte, list int) []byte {
			little.PutUint32(d[list+24:], 6000)
			little.PutUint32(d[22:], 6000)
			return d
		}),
		"zip64":                put32(end(16), 1<<32-1),
		"very large ones":      put32(entry(20), 1<<32-1),
		"several parts":        put16(end(4), 1),
		"one of several parts": put16(entry(34), 1),
		"is not where it says": put32(end(16), 3),
		"breaks off": changed(func(d []byte, _ int) []byte {
			little.PutUint16(d[len(d)-14:], 3)
			little.PutUint16(d[len(d)-12:], 3)
			return d
		}),
		"several parts; make":             put16(end(8), 1),
		"list breaks off":                 put32(entry(0), 0),
		"to where no file is":             put32(entry(42), 1<<31),
		"say different things":            put32(second(42), 0),
		"its files say different things":  put16(head(8), 8),
		"its list and its files say diff": put32(head(0), 0),
		"longer than there is room": changed(func(d []byte, list int) []byte {
			little.PutUint32(d[list+20:], 5000)
			little.PutUint32(d[18:], 5000)
			return d
		}),
	} {
		got, err := contents(data)
		if err == nil || got != nil || !strings.Contains(problem.From(err).Detail, says) || !problem.Is(err, problem.Malformed) && !problem.Is(err, problem.TooLarge) {
			t.Errorf("%s: %q, %v", says, got, err)
		}
	}
}

// TestZipOverlap: files that share their data, with headers of their own each, which is how a small zip becomes a very large one.
func TestZipOverlap(t *testing.T) {
	t.Parallel()
	inner := zipOf(t, packed{name: "b.cer", content: strings.Repeat("b", 40), method: zip.Store})
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	in, err := w.CreateRaw(&zip.FileHeader{Name: "a.cer", Method: zip.Store, CompressedSize64: uint64(listAt(inner)), UncompressedSize64: uint64(listAt(inner))})
	if err != nil {
		t.Fatal(err)
	}
	in.Write(inner[:listAt(inner)])
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The list of the inner one stands beside that of the outer, moved by the outer's header.
	whole := data.Bytes()
	list := listAt(whole)
	extra := bytes.Clone(inner[listAt(inner) : len(inner)-zipEndSize])
	little.PutUint32(extra[42:], zipHeaderSize+5)
	both := slices.Concat(whole[:len(whole)-zipEndSize], extra, whole[len(whole)-zipEndSize:])
	e := both[len(both)-zipEndSize:]
	little.PutUint16(e[8:], 2)
	little.PutUint16(e[10:], 2)
	little.PutUint32(e[12:], uint32(len(both)-zipEndSize-list))
	if got, err := contents(both); err == nil || !strings.Contains(err.Error(), "share their data") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestZipSizes: the sizes of a file's own header, where it has some, are those of the list.
func TestZipSizes(t *testing.T) {
	t.Parallel()
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	in, err := w.CreateRaw(&zip.FileHeader{Name: "a.cer", Method: zip.Store, CRC32: crc32.ChecksumIEEE([]byte("aaaa")), CompressedSize64: 4, UncompressedSize64: 4})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "aaaa")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := contents(data.Bytes()); err != nil || len(got) != 1 || got[0] != "a.cer: aaaa" {
		t.Errorf("%q, %v", got, err)
	}
	for _, at := range []int{18, 22} {
		changed := bytes.Clone(data.Bytes())
		changed[at]++
		if got, err := contents(changed); err == nil || !strings.Contains(err.Error(), "say different things") {
			t.Errorf("at %d: %q, %v", at, got, err)
		}
	}
}

// TestZipBrokenFiles: data that is not what the list says is that file's own failure, and no more of it is made than was said.
func TestZipBrokenFiles(t *testing.T) {
	t.Parallel()
	text := "some text, some text, and some other text"
	for name, change := range map[string]func(d []byte, list int){
		"another sum":     func(d []byte, list int) { d[list+16]++ },
		"shorter":         func(d []byte, list int) { little.PutUint32(d[list+24:], 10) },
		"longer":          func(d []byte, list int) { little.PutUint32(d[list+24:], 60) },
		"packed, and not": func(d []byte, list int) { d[zipHeaderSize+5] = 0xff },
		"cut":             func(d []byte, list int) { little.PutUint32(d[list+20:], 5) },
		"encrypted":       func(d []byte, list int) { d[list+8] |= 1; d[6] |= 1 },
		"strange":         func(d []byte, list int) { d[list+10], d[8] = 99, 99 },
	} {
		data := zipOf(t, packed{name: "a.cer", content: text, method: zip.Deflate}, packed{name: "b.cer", content: "b"})
		change(data, listAt(data))
		got, err := contents(data)
		if err != nil || len(got) != 2 || !strings.HasPrefix(got[0], "a.cer: !") || got[1] != "b.cer: b" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzZip demands bounds and honest errors of whatever is read.
func FuzzZip(f *testing.F) {
	f.Add(zipOf(f, packed{name: "a.cer", content: "a"}, packed{name: "b.cer", content: strings.Repeat("bcde", 50), method: zip.Deflate}))
	f.Add(zipOf(f, packed{name: "../a", content: "a"}, packed{name: "d/"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := OpenZip(bytes.NewReader(data), int64(len(data)), zipLimits)
		if err != nil {
			if !problem.Is(err, problem.Malformed) && !problem.Is(err, problem.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		total := 0
		for _, file := range z.Files() {
			content, err := z.Read(file)
			if total += len(content); err != nil && content != nil || len(content) > 1000 || strings.ContainsAny(file.Name, "\n\x00") {
				t.Fatalf("%q: %d octets, %v", file.Name, len(content), err)
			}
			if err != nil && !problem.Is(err, problem.Malformed) && !problem.Is(err, problem.TooLarge) {
				t.Fatal(err)
			}
		}
		if total > 5000 || len(z.Files()) > 20 {
			t.Fatalf("%d files, %d octets", len(z.Files()), total)
		}
	})
}

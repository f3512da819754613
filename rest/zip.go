package rest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// A zip is a list of what is in it, at its end, and the data that the list points to, and nothing keeps the two from telling different
// things. It is read by the list alone, each file within the bounds that the list names, and data that two files share is
// refused, because that is how one octet becomes a million.

// ZipLimits bound an archive. All are at least 1.
type ZipLimits struct {
	Files int   // in it, folders counted
	File  int64 // octets of one file
	Total int64 // octets of all files
	Ratio int64 // octets that may come of one that is compressed
}

// maxZipName is the longest name of a file in octets.
const maxZipName = 255

// Zip is an archive that was opened. It is for one goroutine.
type Zip struct {
	from     io.ReaderAt
	files    []*ZipFile
	inflater inflater
}

// ZipFile is a file in an archive.
type ZipFile struct {
	Name string // as it can be shown: on one line, at most 255 octets of it
	// Err is why the file is not read, a *problem.Error; nil for one that [Zip.Read] can try.
	Err error

	name          string // as it is written
	method, flags uint16
	mode          uint32 // of Unix, if it was made there
	sum           uint32
	packed, size  int64
	header, data  int64 // places in the archive
}

// Files are the files of the archive, in its order. Folders are passed over.
func (z *Zip) Files() []*ZipFile { return z.files }

// OpenZip reads the list of an archive. An error means that nothing of it can be read: Malformed or TooLarge, with ErrBody in its
// chain. What is wrong with one file is that file's own.
func OpenZip(from io.ReaderAt, size int64, limits ZipLimits) (*Zip, error) {
	list, count, at, err := readZipEnd(from, size, limits)
	if err != nil {
		return nil, err
	}
	z := &Zip{from: from}
	for range count {
		var f *ZipFile
		if f, list, err = parseZipEntry(list); err != nil {
			return nil, err
		}
		z.files = append(z.files, f)
	}
	if len(list) > 0 {
		return nil, brokenZip("its list has more than it says")
	}
	if err := z.locate(at); err != nil {
		return nil, err
	}
	return z, z.judge(limits)
}

func brokenZip(why string) error {
	return unreadable("the file is no zip that can be read: %s; make it anew", why)
}

// The fixed parts of a zip's records, by the format's description (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16).
const (
	zipEnd, zipEndSize       = 0x06054b50, 22
	zipEntry, zipEntrySize   = 0x02014b50, 46
	zipHeader, zipHeaderSize = 0x04034b50, 30
)

var little = binary.LittleEndian

// readZipEnd finds the list by the record at the end, behind which only the comment is whose length it names.
func readZipEnd(from io.ReaderAt, size int64, limits ZipLimits) (list []byte, count int, at int64, err error) {
	tail := make([]byte, min(size, zipEndSize+1<<16-1))
	if _, err := from.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, spoolError(err)
	}
	end := -1
	for i := len(tail) - zipEndSize; i >= 0; i-- {
		if little.Uint32(tail[i:]) == zipEnd && int(little.Uint16(tail[i+20:])) == len(tail)-i-zipEndSize {
			end = i
			break
		}
	}
	if end < 0 {
		return nil, 0, 0, brokenZip("it does not end as one")
	}
	e := tail[end:]
	disk, first, here, all := little.Uint16(e[4:]), little.Uint16(e[6:]), little.Uint16(e[8:]), little.Uint16(e[10:])
	length, at := int64(little.Uint32(e[12:])), int64(little.Uint32(e[16:]))
	most := int64(limits.Files) * (zipEntrySize + 2*maxZipName) // some have times and more beside the name
	switch {
	case all == 1<<16-1 || length == 1<<32-1 || at == 1<<32-1:
		return nil, 0, 0, brokenZip("it is of the form for very large ones (zip64)")
	case disk != 0 || first != 0 || here != all:
		return nil, 0, 0, brokenZip("it is one of several parts")
	case at+length != size-int64(len(tail)-end):
		return nil, 0, 0, brokenZip("its list is not where it says")
	case int(all) > limits.Files || length > most:
		return nil, 0, 0, problem.Wrap(ErrBody, problem.TooLarge, "the zip has %d files and folders, or names that are very long; send at most %d at a time", all, limits.Files)
	}
	list = make([]byte, length)
	if _, err := from.ReadAt(list, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, spoolError(err)
	}
	return list, int(all), at, nil
}

// parseZipEntry reads the first entry of the list.
func parseZipEntry(list []byte) (f *ZipFile, rest []byte, err error) {
	if len(list) < zipEntrySize || little.Uint32(list) != zipEntry {
		return nil, nil, brokenZip("its list breaks off")
	}
	e := list
	name, extra, comment := int(little.Uint16(e[28:])), int(little.Uint16(e[30:])), int(little.Uint16(e[32:]))
	if len(list) < zipEntrySize+name+extra+comment {
		return nil, nil, brokenZip("its list breaks off")
	}
	f = &ZipFile{
		name: string(e[zipEntrySize:][:name]), flags: little.Uint16(e[8:]), method: little.Uint16(e[10:]), sum: little.Uint32(e[16:]),
		packed: int64(little.Uint32(e[20:])), size: int64(little.Uint32(e[24:])), header: int64(little.Uint32(e[42:])),
	}
	f.Name = shownName(f.name)
	if e[5] == 3 { // APPNOTE.TXT 4.4.2: Unix
		f.mode = little.Uint32(e[38:]) >> 16
	}
	switch {
	case f.packed == 1<<32-1 || f.size == 1<<32-1 || f.header == 1<<32-1:
		return nil, nil, brokenZip("it is of the form for very large ones (zip64)")
	case little.Uint16(e[34:]) != 0:
		return nil, nil, brokenZip("it is one of several parts")
	}
	return f, list[zipEntrySize+name+extra+comment:], nil
}

// locate finds the data of each file, before the list, and refuses an archive of which two files share some.
func (z *Zip) locate(list int64) error {
	head := make([]byte, zipHeaderSize+maxZipName)
	for _, f := range z.files {
		named := min(len(f.name), maxZipName)
		if f.header > list-zipHeaderSize-int64(named) {
			return brokenZip("its list points to where no file is")
		}
		h := head[:zipHeaderSize+named]
		if _, err := z.from.ReadAt(h, f.header); err != nil {
			return spoolError(err)
		}
		if little.Uint32(h) != zipHeader || little.Uint16(h[8:]) != f.method || int(little.Uint16(h[26:])) != len(f.name) ||
			string(h[zipHeaderSize:]) != f.name[:named] || (little.Uint16(h[6:])^f.flags)&1 != 0 || !f.agrees(h) {
			return brokenZip("its list and its files say different things")
		}
		f.data = f.header + zipHeaderSize + int64(len(f.name)) + int64(little.Uint16(h[28:]))
		if f.data+f.packed > list {
			return brokenZip("a file of it is longer than there is room")
		}
	}
	order := slices.SortedFunc(slices.Values(z.files), func(a, b *ZipFile) int { return cmp.Compare(a.header, b.header) })
	for i := 1; i < len(order); i++ {
		if before := order[i-1]; before.data+before.packed > order[i].header {
			return brokenZip("files of it share their data")
		}
	}
	return nil
}

// agrees reports whether the header of a file has the sizes of the list. One that was written before they were known has none
// (APPNOTE.TXT 4.4.4, bit 3).
func (f *ZipFile) agrees(header []byte) bool {
	return little.Uint16(header[6:])&(1<<3) != 0 || int64(little.Uint32(header[18:])) == f.packed && int64(little.Uint32(header[22:])) == f.size
}

// judge passes over folders and says of each file whether it is to be read.
func (z *Zip) judge(limits ZipLimits) error {
	var total int64
	seen := map[string]bool{}
	z.files = slices.DeleteFunc(z.files, func(f *ZipFile) bool {
		total += f.size
		f.Err = f.check(limits)
		if f.Err == nil && seen[f.name] {
			f.Err = problem.New(problem.Malformed, "it is in the zip more than once; the first is read")
		}
		seen[f.name] = true
		return f.Err == nil && strings.HasSuffix(f.name, "/")
	})
	if total > limits.Total {
		return problem.Wrap(ErrBody, problem.TooLarge, "the files of the zip have %d octets; send at most %d at a time", total, limits.Total)
	}
	return nil
}

func (f *ZipFile) check(limits ZipLimits) error {
	const kind, folder, regular, special = 0o170000, 0o040000, 0o100000, "it is no plain file, but a link or the like"
	refused := func(format string, args ...any) error { return problem.New(problem.Malformed, format, args...) }
	switch isFolder := strings.HasSuffix(f.name, "/"); {
	case !plainName(f.name):
		return refused("its name is none that a file in a zip can have: it leads out of the zip, is absolute, or has characters or a length that names do not have")
	case isFolder && (f.size > 0 || f.mode&kind != 0 && f.mode&kind != folder), !isFolder && f.mode&kind != 0 && f.mode&kind != regular:
		return refused(special)
	case f.flags&(1|1<<6|1<<13) != 0: // APPNOTE.TXT 4.4.4
		return refused("it is encrypted")
	case f.method != methodStored && f.method != methodDeflated:
		return refused("it is compressed in a way that is not read here; use deflate, or none")
	case f.size > limits.File:
		return problem.New(problem.TooLarge, "it has %d octets; at most %d are taken", f.size, limits.File)
	case f.size > limits.Ratio*max(f.packed, 1), f.method == methodStored && f.size != f.packed:
		return refused("what the zip says of its size cannot be, or is no certificate's: %d octets that were made of %d", f.size, f.packed)
	default:
		return nil
	}
}

// plainName reports whether a name is a relative path downwards.
func plainName(name string) bool {
	if len(name) > maxZipName || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, `\`) || len(name) > 1 && name[1] == ':' {
		return false
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// shownName is a name as it can be shown. Old programs write names in whatever their system had.
func shownName(name string) string {
	name = name[:min(len(name), maxZipName)]
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(bytes.ToValidUTF8([]byte(name), []byte("?"))))
}

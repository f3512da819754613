package rest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"hash/crc32"
	"io"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// How the data of a file is kept (APPNOTE.TXT 4.4.5).
const (
	methodStored   = 0
	methodDeflated = 8
)

// Read reads a file, which is not larger than ZipLimits.File, and takes no more of the processor than its size, as the archive's
// list has it, makes necessary. The error is a *problem.Error, Malformed unless the archive itself cannot be read, and is about this file
// alone.
func (z *Zip) Read(f *ZipFile) ([]byte, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	from := &spooled{from: z.from, at: f.data, end: f.data + f.packed}
	data, whole, err := z.inflater.read(from, f)
	switch {
	case from.err != nil:
		return nil, spoolError(from.err)
	case err != nil || !whole || crc32.ChecksumIEEE(data) != f.sum:
		return nil, problem.Wrap(err, problem.Malformed, "its data is broken: it is not what the zip says of it")
	case bytes.HasPrefix(data, []byte("PK\x03\x04")) || bytes.HasPrefix(data, []byte("PK\x05\x06")):
		return nil, problem.New(problem.Malformed, "it is another zip; send the files of that one by themselves")
	}
	return data, nil
}

// inflater is what reading takes, kept from one file to the next.
type inflater struct {
	in  *bufio.Reader
	out io.ReadCloser
}

// read reads as much as the file is said to have. whole says that neither data nor what it was made of goes on behind that.
func (i *inflater) read(from io.Reader, f *ZipFile) (data []byte, whole bool, err error) {
	if i.in == nil {
		i.in = bufio.NewReader(nil)
	}
	i.in.Reset(from)
	var in io.Reader = i.in
	switch {
	case f.method == methodStored:
	case i.out == nil:
		i.out = flate.NewReader(i.in)
		in = i.out
	default:
		if err := i.out.(flate.Resetter).Reset(i.in, nil); err != nil {
			return nil, false, err
		}
		in = i.out
	}
	data = make([]byte, f.size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, false, err
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, false, err
	}
	_, err = i.in.ReadByte()
	return data, err == io.EOF, nil
}

// spooled is a part of an archive, and tells an archive that cannot be read from one that is broken.
type spooled struct {
	from    io.ReaderAt
	at, end int64
	err     error
}

func (s *spooled) Read(p []byte) (int, error) {
	if s.at >= s.end {
		return 0, io.EOF
	}
	n, err := s.from.ReadAt(p[:min(int64(len(p)), s.end-s.at)], s.at)
	s.at += int64(n)
	if n > 0 {
		err = nil
	}
	s.err = err
	return n, err
}

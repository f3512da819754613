package rest

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// maxParts is how many parts a form may have, and maxPartHeader what stands before the content of one, roughly.
	maxParts      = 16
	maxPartHeader = 16 << 10
	// maxSmallPart is the most octets of a part that nobody asked for, and of what follows the form.
	maxSmallPart = 64 << 10
)

// IsMultipart reports whether a body calls itself multipart/form-data.
func IsMultipart(r *http.Request) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "multipart/form-data")
}

// ReadUpload reads a body of media type multipart/form-data (RFC 7578) whose part of a name holds one file of at most so many octets, and
// writes that file as it comes: at no time is more than a few KiB of it in memory. Small parts of other names are passed
// over. The size is that of the file.
//
// The error is TooLarge, UnsupportedMedia or Malformed, with ErrBody or, where the part is absent, ErrMissing in its chain; Unavailable if
// the file cannot be written. What was written by then is worthless.
func ReadUpload(r *http.Request, name string, most int64, into io.Writer) (size int64, err error) {
	form, meter, err := openForm(r)
	if err != nil {
		return 0, err
	}
	found := false
	for n := 0; ; n++ {
		meter.left = maxPartHeader
		part, err := form.NextRawPart()
		if err == io.EOF { // as it is; one that is wrapped is a form without its end
			break
		} else if err != nil {
			return 0, meter.unread(err)
		}
		meter.left = -1
		switch own, err := partName(part); {
		case err != nil:
			return 0, err
		case n == maxParts:
			return 0, unreadable("the form has more than %d parts", maxParts)
		case own != name:
			if _, err := meter.copyPart(io.Discard, part, maxSmallPart, "a part that nobody asked for"); err != nil {
				return 0, err
			}
		case found:
			return 0, unreadable("the form has the part %s more than once; send one file", name)
		default:
			found = true
			if size, err = meter.copyPart(into, part, most, "the part "+name); err != nil {
				return 0, err
			}
		}
	}
	if !found {
		return 0, problem.Wrap(ErrMissing, problem.Malformed, "the form has no part %s", name)
	}
	meter.left = maxSmallPart
	if _, err := io.Copy(io.Discard, meter); err != nil { // to its end, or the connection could not serve on
		return 0, meter.unread(err)
	}
	return size, nil
}

// openForm finds the boundary of a form.
func openForm(r *http.Request) (*multipart.Reader, *meter, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil, unreadable("there is no body; send a form, of media type multipart/form-data")
	}
	if err := asItIs(r); err != nil {
		return nil, nil, err
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, nil, problem.Wrap(ErrBody, problem.UnsupportedMedia, "send a form, of media type multipart/form-data")
	}
	boundary := parameters["boundary"]
	if boundary == "" || len(boundary) > 70 { // RFC 2046, 5.1.1
		return nil, nil, unreadable("the media type names no boundary of 1 to 70 characters")
	}
	m := &meter{from: r.Body}
	return multipart.NewReader(m, boundary), m, nil
}

// partName is the name of a part, which must be sent as it is.
func partName(p *multipart.Part) (string, error) {
	if len(p.Header.Values("Content-Disposition")) != 1 || p.FormName() == "" {
		return "", unreadable("a part of the form has no Content-Disposition: form-data with a name")
	}
	switch strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))) {
	case "", "binary", "8bit", "7bit":
		return p.FormName(), nil
	default: // RFC 7578, 4.7
		return "", unreadable("a part of the form has a Content-Transfer-Encoding; send it as it is")
	}
}

// copyPart copies the content of a part, which what names.
func (m *meter) copyPart(into io.Writer, part io.Reader, most int64, what string) (int64, error) {
	w := &kept{Writer: into}
	pooled := bufio.NewWriterSize(w, 32<<10) // what looks like a boundary and is none cuts what is read to a few octets
	n, err := io.Copy(pooled, io.LimitReader(part, most+1))
	if err == nil {
		err = pooled.Flush()
	}
	switch {
	case w.err != nil:
		return 0, problem.Wrap(w.err, problem.Unavailable, "the upload could not be kept while it is read; try again later").After(uploadPause)
	case err != nil:
		return 0, m.unread(err)
	case n > most:
		return 0, problem.Wrap(ErrBody, problem.TooLarge, "%s is larger than %d octets", what, most)
	}
	return n, nil
}

// kept tells an error of what is written to from one of what is read.
type kept struct {
	io.Writer
	err error
}

func (k *kept) Write(p []byte) (int, error) {
	n, err := k.Writer.Write(p)
	k.err = err
	return n, err
}

// errMeter is met by what should be small and is not.
var errMeter = errors.New("too much of what should be little")

// meter gives so many octets and then an error; any number while left is below zero. multipart.Reader would take a header of 10 MiB.
type meter struct {
	from io.Reader
	left int64
	err  error // of the last Read, which multipart.Reader may say in words of its own
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left == 0 {
		m.err = errMeter
		return 0, errMeter
	}
	if m.left > 0 && int64(len(p)) > m.left {
		p = p[:m.left]
	}
	n, err := m.from.Read(p)
	if m.left > 0 {
		m.left -= int64(n)
	}
	m.err = err
	return n, err
}

// unread is why a body could not be read to its end.
func (m *meter) unread(err error) error {
	if m.err != nil && m.err != io.EOF {
		err = m.err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.Wrap(ErrBody, problem.TooLarge, "the body is larger than %d octets", tooLarge.Limit)
	}
	if errors.Is(err, errMeter) {
		return problem.Wrap(ErrBody, problem.TooLarge, "the form has more than %d octets before, between or behind its parts", maxPartHeader)
	}
	return problem.Wrap(errors.Join(ErrBody, err), problem.Malformed, "the body did not come whole, or is no form with this boundary")
}

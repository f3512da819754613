package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// form is a request with a multipart body: each part is what stands between two boundaries.
func form(parts ...string) *http.Request {
	body := ""
	for _, p := range parts {
		body += "--b\r\n" + p + "\r\n"
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(body+"--b--\r\n"))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	return r
}

const fileHeader = "Content-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\nContent-Type: application/zip\r\n\r\n"

func TestReadUpload(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*http.Request{
		"alone":       form(fileHeader + "con\r\n--tent"),
		"with others": form("Content-Disposition: form-data; name=x\r\n\r\n1", fileHeader+"con\r\n--tent", "Content-Disposition: form-data; name=y\r\n\r\n"+strings.Repeat("y", maxSmallPart)),
		"as binary":   form("Content-Transfer-Encoding: binary\r\n" + fileHeader + "con\r\n--tent"),
	} {
		var b bytes.Buffer
		n, err := ReadUpload(r, "file", 11, &b)
		if err != nil || n != 11 || b.String() != "con\r\n--tent" {
			t.Errorf("%s: %d, %q, %v", name, n, b.String(), err)
		}
		if n, err := r.Body.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			t.Errorf("%s: the body has not been read to its end: %v", name, err)
		}
	}
}

func TestReadUploadRefuses(t *testing.T) {
	t.Parallel()
	changed := func(change func(r *http.Request)) *http.Request {
		r := form(fileHeader + "content")
		change(r)
		return r
	}
	body := func(text string) *http.Request {
		return changed(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(text)) })
	}
	other := "Content-Disposition: form-data; name=x\r\n\r\n"
	var many []string
	for range maxParts {
		many = append(many, other)
	}
	for name, tt := range map[string]struct {
		r    *http.Request
		kind problem.Kind
		says string
	}{
		"none":              {changed(func(r *http.Request) { r.Body = http.NoBody }), problem.Malformed, "there is no body"},
		"JSON":              {changed(func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }), problem.UnsupportedMedia, "multipart/form-data"},
		"two types":         {changed(func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }), problem.UnsupportedMedia, "multipart/form-data"},
		"another multipart": {changed(func(r *http.Request) { r.Header.Set("Content-Type", "multipart/mixed; boundary=b") }), problem.UnsupportedMedia, "multipart/form-data"},
		"no boundary":       {changed(func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data") }), problem.Malformed, "boundary"},
		"a long boundary": {changed(func(r *http.Request) {
			r.Header.Set("Content-Type", "multipart/form-data; boundary="+strings.Repeat("b", 71))
		}), problem.Malformed, "boundary"},
		"compressed":             {changed(func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }), problem.UnsupportedMedia, "Content-Encoding"},
		"too large":              {form(fileHeader + strings.Repeat("x", 12)), problem.TooLarge, "larger than 11"},
		"another boundary":       {body("--c\r\n" + fileHeader + "x\r\n--c--\r\n"), problem.Malformed, "no form with this boundary"},
		"without an end":         {body("--b\r\n" + fileHeader + "x"), problem.Malformed, "did not come whole"},
		"no file":                {form(other + "x"), problem.Malformed, "no part file"},
		"two files":              {form(fileHeader+"x", fileHeader+"y"), problem.Malformed, "more than once"},
		"no name":                {form("Content-Disposition: form-data\r\n\r\nx"), problem.Malformed, "with a name"},
		"no disposition":         {form("\r\nx"), problem.Malformed, "with a name"},
		"two dispositions":       {form("Content-Disposition: form-data; name=file\r\n" + fileHeader + "x"), problem.Malformed, "with a name"},
		"encoded":                {form("Content-Transfer-Encoding: base64\r\n" + fileHeader + "eA=="), problem.Malformed, "Content-Transfer-Encoding"},
		"a large other part":     {form(other+strings.Repeat("x", maxSmallPart+1), fileHeader+"x"), problem.TooLarge, "nobody asked for"},
		"many parts":             {form(append(many, fileHeader+"x")...), problem.Malformed, "more than 16 parts"},
		"a long header":          {form("X-Long: " + strings.Repeat("x", 3*maxPartHeader) + "\r\n" + fileHeader + "x"), problem.TooLarge, "before, between or behind"},
		"much before it":         {body(strings.Repeat("x\r\n", maxPartHeader) + "--b\r\n" + fileHeader + "x\r\n--b--\r\n"), problem.TooLarge, "before, between or behind"},
		"much behind it":         {body("--b\r\n" + fileHeader + "x\r\n--b--\r\n" + strings.Repeat("x", 2*maxSmallPart)), problem.TooLarge, "before, between or behind"},
		"more than the listener": {changed(func(r *http.Request) { r.Body = http.MaxBytesReader(nil, r.Body, 100) }), problem.TooLarge, "larger than 100"},
	} {
		_, err := ReadUpload(tt.r, "file", 11, io.Discard)
		if !problem.Is(err, tt.kind) || !strings.Contains(problem.From(err).Detail, tt.says) || !errors.Is(err, ErrBody) && !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	closed, err := Spool(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := ReadUpload(form(fileHeader+"x"), "file", 11, closed); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a file that cannot be written: %v", err)
	}
}

// TestSpool: the file has no name, so that nothing is left of it, and can be read anywhere.
func TestSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := Spool(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	io.WriteString(f, "content")
	b := make([]byte, 3)
	if _, err := f.ReadAt(b, 4); err != nil || string(b) != "ent" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Spool(filepath.Join(dir, "none"), nil); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without a folder: %v", err)
	}
}

// TestSpoolRoom: a file that comes to where the disk's room is others' is written no further, and the client told to come again.
func TestSpoolRoom(t *testing.T) {
	t.Parallel()
	asked := 0
	f, err := Spool(t.TempDir(), func() error {
		if asked++; asked > 2 {
			return errors.New("the disk is full")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = ReadUpload(form(fileHeader+strings.Repeat("x", 3<<20)), "file", 10<<20, f)
	if !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter < time.Second {
		t.Errorf("without room: %v", err)
	}
	if info, err := f.file.Stat(); err != nil || asked != 3 || info.Size() > 2<<20 {
		t.Errorf("room was asked for %d times, and the file has %d octets", asked, info.Size())
	}
}

// counted counts writes.
type counted struct{ writes int }

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	return len(p), nil
}

// TestUploadOfBoundaries: a file full of what is almost a boundary is not written a few octets at a time.
func TestUploadOfBoundaries(t *testing.T) {
	t.Parallel()
	r := form()
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	content, c := strings.Repeat("\r\n--"+parameters["boundary"]+"x", 20_000), &counted{}
	n, err := ReadUpload(form(fileHeader+content), "file", 10<<20, c)
	if err != nil || int(n) != len(content) || c.writes > 100 {
		t.Errorf("%d of %d octets in %d writes, %v", n, len(content), c.writes, err)
	}
}

func TestUploads(t *testing.T) {
	t.Parallel()
	u := &Uploads{Most: 3, Each: 2}
	begin := func(org int32, kind problem.Kind) func() {
		t.Helper()
		end, err := u.Begin(org)
		if kind == problem.Internal && err != nil || kind != problem.Internal && (!problem.Is(err, kind) || problem.From(err).RetryAfter < time.Second) {
			t.Errorf("organisation %d: %v", org, err)
		}
		return end
	}
	const granted = problem.Internal
	first := begin(1, granted)
	begin(1, granted)
	begin(1, problem.RateLimited)
	begin(2, granted)
	begin(2, problem.Unavailable)
	begin(3, problem.Unavailable)
	first()
	first() // a second time gives nothing back
	begin(3, granted)
	begin(1, problem.Unavailable)
}

// TestEncodedBody: JSON that is compressed is refused before anything is read of it.
func TestEncodedBody(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
	r.Header.Set("Content-Encoding", "gzip")
	if _, err := ReadObject(r, 100); !problem.Is(err, problem.UnsupportedMedia) || !errors.Is(err, ErrBody) {
		t.Error(err)
	}
	r.Header.Set("Content-Encoding", "identity")
	if _, err := ReadObject(r, 100); err != nil {
		t.Error(err)
	}
}

// FuzzUpload demands that of a body either a file within the bound is read or an error a client can be told.
func FuzzUpload(f *testing.F) {
	seed := func(r *http.Request) []byte {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(seed(form(fileHeader + "content")))
	f.Add(seed(form("Content-Disposition: form-data; name=x\r\n\r\n1", fileHeader+"con\r\n--tent")))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := form()
		r.Body = io.NopCloser(bytes.NewReader(body))
		var b bytes.Buffer
		n, err := ReadUpload(r, "file", 50, &b)
		switch {
		case err == nil && (n > 50 || int(n) != b.Len() || !bytes.Contains(body, b.Bytes())):
			t.Fatalf("%d octets, %q", n, b.Bytes())
		case err != nil && (n != 0 || problem.From(err).Detail == ""):
			t.Fatalf("%d, %v", n, err)
		}
	})
}

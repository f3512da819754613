package scm

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const importPath = "/api/ssl/v1/import?orgId=1"

// zipFile is a file of a zip to be imported.
type zipFile struct {
	name string
	data []byte
}

// zipOf is a zip.
func zipOf(t testing.TB, files ...zipFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		in, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(f.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// upload is a request of somebody with a zip.
func (w *world) upload(login, path string, data []byte) *http.Request {
	w.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "certificates.zip")
	must(w.t, err)
	part.Write(data)
	must(w.t, form.Close())
	r := w.as(login, "POST", path, b.String())
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

// goldenUpload is golden of an upload, whose body is written by what is in it.
func (w *world) goldenUpload(name, login, path string, data []byte, what string) {
	w.t.Helper()
	w.goldenRequest(name, w.upload(login, path, data), "(multipart/form-data, file: "+what+")")
}

// elsewhere makes certificates of somebody else's, fast.
type elsewhere struct {
	t *testing.T
	*testca.Hierarchy
	key    crypto.Signer
	serial int64
}

func newElsewhere(t *testing.T, w *world) *elsewhere {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(t, err)
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	return &elsewhere{t, h, key, 0}
}

// leaf is a certificate in DER.
func (e *elsewhere) leaf(name string) []byte {
	e.t.Helper()
	e.serial++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(e.serial), DNSNames: []string{name}, NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(0, 2, 0),
	}, e.Intermediate.Certificate, e.key.Public(), e.Intermediate.Key)
	must(e.t, err)
	return der
}

func inPEM(ders ...[]byte) (text []byte) {
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func TestImportZip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := newElsewhere(t, w)
	a, b := e.leaf("a.example.net"), e.leaf("b.example.net")
	root, mid := e.Root.Certificate.Raw, e.Intermediate.Certificate.Raw
	data := zipOf(t, zipFile{"folder/", nil}, zipFile{"folder/a.cer", a}, zipFile{"chain.PEM", inPEM(root, mid, b)}, zipFile{"again.der", a},
		zipFile{"rubbish.cer", []byte("rubbish")}, zipFile{"empty.crt", nil}, zipFile{"cut.der", a[:len(a)-1]}, zipFile{"authorities.pem", inPEM(mid, root)},
		zipFile{"one.crt", mid}, zipFile{"two.pem", inPEM(a, b)}, zipFile{"key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})},
		zipFile{"README.txt", []byte("read me")}, zipFile{"../../up.cer", e.leaf("c.example.net")}, zipFile{"inner.zip", zipOf(t)}, zipFile{"folder/a.cer", b})
	const what = "zip of 15"
	w.goldenUpload("import-zip", "rex", importPath, data, what)
	if w.total() != 2 {
		t.Errorf("there are %d enrollments", w.total())
	}
	chained := w.enrollment(2)
	if der, issuers, err := w.Registrar.ImportedCertificate(t.Context(), chained); err != nil || !bytes.Equal(der, b) || len(issuers) != 2 || chained.Door != ra.DoorSCM || chained.Org != 1 {
		t.Errorf("%+v has %d issuers, %v", chained, len(issuers), err)
	}
	w.goldenUpload("import-zip-again", "rex", strings.Replace(importPath, "v1", "v2", 1), zipOf(t, zipFile{"a.cer", a}), "zip of a.cer")
	w.goldenUpload("import-zip-empty", "rex", importPath, zipOf(t), "zip of none")
	w.goldenUpload("import-zip-no-organisation", "rex", "/api/ssl/v1/import", data, what)
	w.goldenUpload("import-zip-organisation-text", "rex", "/api/ssl/v1/import?orgId=one", data, what)
	w.goldenUpload("import-zip-foreign", "rex", "/api/ssl/v1/import?orgId=2", data, what)
	w.goldenUpload("import-zip-absent", "rex", "/api/ssl/v1/import?orgId=4711", data, what)
	w.goldenUpload("import-zip-auditor", "aud", importPath, data, what)
	w.goldenUpload("import-zip-none", "rex", importPath, []byte("no zip"), "no zip")
	many := zipOf(t)
	for _, at := range []int{8, 10} { // of the record at its end
		binary.LittleEndian.PutUint16(many[at:], uint16(zipLimits.Files+1))
	}
	w.goldenUpload("import-zip-many", "rex", importPath, many, "zip of 20001")
	r := w.upload("rex", importPath, data)
	r.Header.Set("Content-Encoding", "gzip")
	w.goldenRequest("import-zip-encoded", r, "(multipart/form-data, with Content-Encoding: gzip)")
	for name, change := range map[string]func(body string) string{
		"import-zip-other-part": func(body string) string { return strings.Replace(body, `name="file"`, `name="zip"`, 1) },
		"import-zip-cut":        func(body string) string { return body[:len(body)/2] },
	} {
		r := w.upload("rex", importPath, zipOf(t, zipFile{"a.cer", a}))
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		changed := w.as("rex", "POST", importPath, change(body.String()))
		changed.Header.Set("Content-Type", r.Header.Get("Content-Type"))
		w.goldenRequest(name, changed, "(multipart/form-data, broken)")
	}
	w.golden("import-v1", "rex", "POST", importPath, `[]`)
	w.golden("import-v1-nothing", "rex", "POST", importPath, "")
	if w.total() != 2 {
		t.Errorf("there are %d enrollments", w.total())
	}
}

// TestUploadsInWork: an upload that finds no place is told when to come again, and takes none.
func TestUploadsInWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := zipOf(t)
	for range uploadsEach {
		_, err := w.uploads.Begin(1)
		must(t, err)
	}
	w.goldenUpload("import-zip-busy-organisation", "rex", importPath, data, "zip of none")
	for range uploadsAtOnce - uploadsEach {
		end, err := w.uploads.Begin(3)
		must(t, err)
		defer end()
	}
	w.goldenUpload("import-zip-busy", "olga", "/api/ssl/v1/import?orgId=2", data, "zip of none")
}

// TestUploadsOfCustomer: a customer does not hold all places by the organisations below it, and what is given back is free for all of them.
func TestUploadsOfCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.person("bob", "branch", auth.Requester)
	begin := func(login string, kind problem.Kind) func() {
		t.Helper()
		end, err := (&call{s: w.Server, caller: w.callers[login]}).beginUpload()
		if kind == problem.Internal && err != nil || kind != problem.Internal && !problem.Is(err, kind) {
			t.Errorf("%s: %v", login, err)
		}
		return end
	}
	const granted = problem.Internal
	first := begin("rex", granted)
	begin("rex", granted)
	begin("rex", problem.RateLimited)
	begin("bob", granted)
	begin("bob", problem.RateLimited)
	begin("olga", granted)
	begin("olga", problem.Unavailable)
	first()
	begin("bob", granted)
}

// faltering is a journal that takes so many imports and then nothing.
type faltering struct{ left int }

func (f *faltering) Append(_ context.Context, events ...audit.Event) error {
	if f.left -= len(events); f.left < 0 {
		return errors.New("the disk is full")
	}
	return nil
}

// manyRows are how many certificates a large import of the tests has.
const manyRows = 300

// TestImportManyRows: of many rows all are imported but the bad one, which is named; where the import breaks off in the middle, the same
// zip finishes it, and nothing is imported twice.
func TestImportManyRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := newElsewhere(t, w)
	files := make([]zipFile, manyRows)
	for i := range files {
		files[i] = zipFile{fmt.Sprintf("%05d.cer", i), e.leaf(fmt.Sprintf("h%d.example.net", i))}
	}
	const bad = 137
	files[bad].data = files[bad].data[:100]
	data := zipOf(t, files...)

	sound := w.Registrar
	c := sound.Config
	c.Journal = &faltering{importBatch + 20}
	w.Registrar = ra.New(c)
	rec := w.do(w.upload("rex", importPath, data))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), `"code":-129,`) ||
		!strings.Contains(rec.Body.String(), fmt.Sprintf("%d certificates imported", importBatch)) {
		t.Fatalf("broken off in the middle: %d: %s", rec.Code, rec.Body)
	}
	w.Registrar = sound
	for range 2 {
		var report importReport
		rec := w.do(w.upload("rex", importPath, data))
		must(t, json.Unmarshal(rec.Body.Bytes(), &report))
		if rec.Code != http.StatusOK || report.ProcessedCount != manyRows-1 || len(report.Errors) != 1 || !strings.HasPrefix(report.Errors[0], "[00137.cer] - ") {
			t.Fatalf("%d: %s", rec.Code, rec.Body)
		}
		if w.total() != manyRows-1 {
			t.Errorf("there are %d enrollments", w.total())
		}
	}
}

// goneReader is a body at whose end the client goes.
type goneReader struct {
	io.ReadCloser
	gone func()
}

func (g goneReader) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	if err == io.EOF {
		g.gone()
	}
	return n, err
}

// TestImportGone: a zip of which nothing can be imported is not read on for a client that has gone.
func TestImportGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.upload("rex", importPath, zipOf(t, zipFile{"a.cer", []byte("rubbish")}))
	ctx, cancel := context.WithCancel(r.Context())
	r = r.WithContext(ctx)
	r.Body = goneReader{r.Body, cancel}
	if rec := w.do(r); rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "with 0 certificates imported") {
		t.Errorf("%d: %s", rec.Code, rec.Body)
	}
}

// TestImportBounds: beyond the bounds of the organisation a file is refused with the remedy, in either form.
func TestImportBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := newElsewhere(t, w)
	c := w.Registrar.Config
	c.ImportBounds = func(auth.OrgID) ra.ImportBounds { return ra.ImportBounds{Certificates: 1} }
	w.Registrar = ra.New(c)
	w.goldenUpload("import-zip-bound", "rex", importPath, zipOf(t, zipFile{"a.cer", e.leaf("a.example.net")}, zipFile{"b.cer", e.leaf("b.example.net")}), "zip of two")
	w.hides(base64.StdEncoding.EncodeToString(e.leaf("c.example.net")), "(BASE64)")
	e.serial--
	w.golden("import-bound", "rex", "POST", "/api/ssl/v2/import", fmt.Sprintf(`[{"orgID":1,"cert":%q}]`, base64.StdEncoding.EncodeToString(e.leaf("c.example.net"))))
}

// FuzzCertificateFile demands that of any file there is a certificate or a reason.
func FuzzCertificateFile(f *testing.F) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(h.Root.Certificate.Raw)
	f.Add(inPEM(h.Root.Certificate.Raw, h.Intermediate.Certificate.Raw))
	f.Fuzz(func(t *testing.T, data []byte) {
		item, err := certificateFile("a.pem", data)
		if (err == nil) != (len(item.Certificate) > 0) || err != nil && explain(err) == "" || slices.ContainsFunc(item.Issuers, func(der []byte) bool { return &der[0] == &item.Certificate[0] }) {
			t.Fatalf("%+v, %v", item, err)
		}
	})
}

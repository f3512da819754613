package console

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const goodSecret = "AAAAAAAAAAAAAAAAAAAAAA"

// oneKey is a registration authority with one link.
type oneKey struct {
	offer ra.Offer
	file  ra.KeyFile
	chain []byte
	used  int
	from  string
	fails error
}

func (k *oneKey) Linked(_ context.Context, secret string) (*ra.Download, *ra.Enrollment, error) {
	if secret != goodSecret || k.used > 0 {
		return nil, nil, problem.New(problem.NotFound, "this link cannot be used")
	}
	name, err := identifier.ParseDNS("*.example.com")
	if err != nil {
		return nil, nil, err
	}
	return &ra.Download{Offer: k.offer, By: "user:7", Expires: time.Date(2026, 3, 2, 12, 15, 0, 0, time.UTC)},
		&ra.Enrollment{Names: []identifier.Identifier{name}, Serial: "01ab", NotAfter: time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)}, nil
}

func (k *oneKey) TakeDownload(ctx context.Context, secret, from string, write func(ra.KeyFile) ([]byte, error)) ([]byte, error) {
	if _, _, err := k.Linked(ctx, secret); err != nil {
		return nil, err
	}
	if k.fails != nil {
		return nil, k.fails
	}
	f := k.file
	f.Offer = k.offer
	data, err := write(f)
	if err == nil {
		k.used++
		k.from = from
	}
	return data, err
}

// newOneKey has a certificate of a throw-away hierarchy with its key.
func newOneKey(t *testing.T, offer ra.Offer) (*oneKey, *Downloads, crypto.PrivateKey) {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := h.Leaf("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	k := &oneKey{offer: offer, file: ra.KeyFile{Key: leaf.PrivateKey, Certificate: leaf.Certificate[0], Issuer: "main"}}
	k.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Intermediate.Certificate.Raw})
	d, err := NewDownloads(DownloadsConfig{
		Keys: k, Chain: func(string) []byte { return k.chain },
		Remote: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.9") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return k, d, leaf.PrivateKey
}

func (d *Downloads) get(t *testing.T, method, secret string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest(method, DownloadPath+secret, nil))
	return w
}

func (d *Downloads) post(t *testing.T, secret string, form url.Values, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, DownloadPath+secret, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	return w
}

// secured demands the headers that every answer has.
func secured(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "strict-origin" || h.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; ") || len(h.Values("Set-Cookie")) > 0 {
		t.Errorf("status %d has the headers %v", w.Code, h)
	}
}

// TestLookingTakesNothing: whatever a mail scanner or a browser fetches, the link is as it was.
func TestLookingTakesNothing(t *testing.T) {
	k, d, key := newOneKey(t, ra.Offer{Format: "pkcs12", Content: "chain"})
	for range 5 {
		w := d.get(t, http.MethodGet, goodSecret)
		secured(t, w)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<h1>The private key of *.example.com</h1>") || !strings.Contains(w.Body.String(), "user:7") || strings.Contains(w.Body.String(), "<script") {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	}
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodPut: 405, http.MethodDelete: 405, http.MethodOptions: 405} {
		if w := d.get(t, method, goodSecret); w.Code != want {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if w := d.get(t, http.MethodGet, goodSecret+"?password=correct-horse"); w.Code != http.StatusOK || w.Header().Get("Content-Disposition") != "" {
		t.Errorf("a password in the URL: %d", w.Code)
	}
	if k.used != 0 {
		t.Fatal("the link was used")
	}
	w := d.post(t, goodSecret, url.Values{"password": {"correct-horse"}}, nil)
	secured(t, w)
	if w.Code != http.StatusOK || w.Header().Get("Content-Disposition") != `attachment; filename="_.example.com.p12"` || w.Header().Get("Content-Type") != "application/x-pkcs12" || k.from != "192.0.2.9" {
		t.Errorf("status %d, %v, from %s", w.Code, w.Header(), k.from)
	}
	if der, _ := x509.MarshalPKCS8PrivateKey(key); bytes.Contains(w.Body.Bytes(), der[len(der)-40:]) {
		t.Error("the key is in clear")
	}
	for _, w := range []*httptest.ResponseRecorder{d.get(t, http.MethodGet, goodSecret), d.post(t, goodSecret, url.Values{"password": {"correct-horse"}}, nil)} {
		secured(t, w)
		if w.Code != http.StatusNotFound {
			t.Errorf("afterwards: %d", w.Code)
		}
	}
}

// TestPasswordsThatDoNotDo leave the link as it was, and are not shown again.
func TestPasswordsThatDoNotDo(t *testing.T) {
	k, d, _ := newOneKey(t, ra.Offer{Format: "jks", Content: "chain"})
	for name, form := range map[string]url.Values{
		"none": {}, "empty": {"password": {""}}, "short": {"password": {"qzqzq"}}, "long": {"password": {strings.Repeat("qz", 65)}},
		"a control character": {"password": {"qzqzqz\x07"}}, "not for JKS": {"password": {"qzqzqzé"}}, "two": {"password": {"qzqzqzqz", "qzqzqzqz"}},
	} {
		w := d.post(t, goodSecret, form, nil)
		secured(t, w)
		if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "qzqz") {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"another site":     func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"from across":      func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"JSON":             func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"no type":          func(r *http.Request) { r.Header.Del("Content-Type") },
		"a password above": func(r *http.Request) { r.URL.RawQuery, r.Body = "password=correct-horse", http.NoBody },
	} {
		w := d.post(t, goodSecret, url.Values{"password": {"correct-horse"}}, change)
		secured(t, w)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
	if w := d.post(t, goodSecret, url.Values{"password": {strings.Repeat("a", maxForm)}}, nil); w.Code != http.StatusBadRequest {
		t.Errorf("too long a form: %d", w.Code)
	}
	if k.used != 0 {
		t.Fatal("the link was used")
	}
	k.fails = problem.New(problem.Unavailable, "the store does not answer").After(5 * time.Second)
	if w := d.post(t, goodSecret, url.Values{"password": {"correct-horse"}}, nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" {
		t.Errorf("a store that is away: %d, %v", w.Code, w.Header())
	}
	k.fails = nil
	// The page's own proposal does.
	page := d.get(t, http.MethodGet, goodSecret).Body.String()
	proposed := regexp.MustCompile(`type="hidden" name="password" value="([^"]+)"`).FindStringSubmatch(page)
	if proposed == nil || strings.Count(page, proposed[1]) != 2 {
		t.Fatalf("the page proposes nothing: %s", page)
	}
	if again := d.get(t, http.MethodGet, goodSecret).Body.String(); strings.Contains(again, proposed[1]) {
		t.Error("the proposal is the same for everybody")
	}
	if w := d.post(t, goodSecret, url.Values{"password": {proposed[1]}}, nil); w.Code != http.StatusOK {
		t.Errorf("the proposal: %d: %s", w.Code, w.Body)
	}
}

// TestParseOffer.
func TestParseOffer(t *testing.T) {
	for _, tt := range []struct {
		format, content string
		clear           bool
		want            ra.Offer
		fault           string
	}{
		{want: ra.Offer{Format: "pkcs12", Content: "chain"}},
		{format: "jks", content: "leaf", want: ra.Offer{Format: "jks", Content: "leaf"}},
		{format: "encrypted-key", want: ra.Offer{Format: "encrypted-key"}},
		{format: "pem-encrypted-key", want: ra.Offer{Format: "pem-encrypted-key", Content: "chain"}},
		{format: "key", clear: true, want: ra.Offer{Format: "key", Clear: true}},
		{format: "pem-key", clear: true, want: ra.Offer{Format: "pem-key", Content: "chain", Clear: true}},
		{format: "key", fault: "format"}, {format: "pem-key", fault: "format"}, {format: "pem", fault: "format"}, {format: "p12", fault: "format"},
		{format: "pkcs12", clear: true, fault: "clear"}, {format: "encrypted-key", content: "leaf", fault: "content"}, {content: "issuers", fault: "content"},
	} {
		got, err := ParseOffer(tt.format, tt.content, tt.clear)
		if tt.fault == "" && (err != nil || got != tt.want) || tt.fault != "" && (!problem.Is(err, problem.Malformed) || !strings.HasPrefix(problem.From(err).Detail, tt.fault)) {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
}

// TestOpenSSLReadsEachFile, and finds the certificate's key in it.
func TestOpenSSLReadsEachFile(t *testing.T) {
	testneed.Programs(t, "openssl")
	for _, format := range bundle.Formats() {
		if !format.NeedsKey() || format == bundle.JKS {
			continue
		}
		offer, err := ParseOffer(format.String(), "", !format.NeedsPassword())
		if err != nil {
			t.Fatal(err)
		}
		_, d, key := newOneKey(t, offer)
		form := url.Values{}
		if format.NeedsPassword() {
			form.Set("password", "correct-horse")
		}
		w := d.post(t, goodSecret, form, nil)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %s", format, w.Code, w.Body)
		}
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"pkey", "-in", path, "-passin", "pass:correct-horse", "-outform", "DER"}
		if format == bundle.PKCS12 {
			args = []string{"pkcs12", "-in", path, "-passin", "pass:correct-horse", "-nodes"}
		}
		out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", format, err, out)
		}
		if format == bundle.PKCS12 {
			if n := bytes.Count(out, []byte("BEGIN CERTIFICATE")); n != 2 {
				t.Errorf("pkcs12 has %d certificates", n)
			}
			begin := bytes.Index(out, []byte("-----BEGIN PRIVATE KEY"))
			block, _ := pem.Decode(out[max(0, begin):])
			if block == nil {
				t.Fatalf("pkcs12 has no key: %s", out)
			}
			out = block.Bytes
		}
		got, err := bundle.ParseKey(out, nil)
		if err != nil || !got.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
			t.Errorf("%s: another key: %v", format, err)
		}
	}
}

// TestWriteOfAForeignKey: what is not the certificate's key is never written.
func TestWriteOfAForeignKey(t *testing.T) {
	k, _, _ := newOneKey(t, ra.Offer{Format: "pkcs12", Content: "chain"})
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := k.file
	f.Offer, f.Key = k.offer, other
	if data, err := Write(f, k.chain, "correct-horse"); err == nil {
		t.Errorf("%d octets were written", len(data))
	}
}

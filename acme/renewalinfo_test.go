package acme

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// certificateOf downloads an order's certificate.
func (c *client) certificateOf(o orderDoc) *x509.Certificate {
	c.w.t.Helper()
	block, _ := pem.Decode(c.read(o.Certificate).want(c.w.t, http.StatusOK).body)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return leaf
}

// issued is a certificate from order to download.
func (c *client) issued(names ...string) *x509.Certificate {
	c.w.t.Helper()
	o := c.to(c.readyOrder(names...).Finalize, c.w.csr(names...)).want(c.w.t, http.StatusOK).order(c.w.t)
	return c.certificateOf(o)
}

// idOf is a certificate's identifier as a client makes it (RFC 9773, 4.1).
func idOf(t *testing.T, leaf *x509.Certificate) string {
	t.Helper()
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	return b64(leaf.AuthorityKeyId) + "." + b64(der[2:])
}

// windowOf reads a renewalInfo answer.
func windowOf(t *testing.T, a answer) (w window) {
	t.Helper()
	got := a.decode(t)["suggestedWindow"].(map[string]any)
	for name, into := range map[string]*time.Time{"start": &w.start, "end": &w.end} {
		var err error
		if *into, err = time.Parse(time.RFC3339, got[name].(string)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestRenewalInfo(t *testing.T) {
	w := newWorld(t)
	leaf := w.account().issued("a.example.com")
	path := "/acme/r/renewal-info/" + idOf(t, leaf)
	w.store.taken()
	a := w.get(http.MethodGet, path).want(t, http.StatusOK)
	if trips := w.store.taken(); len(trips) != 1 {
		t.Errorf("one answer costs %v", trips)
	}
	// The certificate lives for a day: RFC 9773, 4.2.
	got, start := windowOf(t, a), leaf.NotBefore
	if !got.start.Equal(start.Add(12*time.Hour)) || !got.end.Equal(start.Add(16*time.Hour)) {
		t.Errorf("%+v", got)
	}
	if doc := a.decode(t); len(doc) != 1 {
		t.Errorf("the answer says more than the window: %s", a.body)
	}
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds != 3600 {
		t.Error("RFC 9773, 4.3: Retry-After is", a.header.Get("Retry-After"))
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "public, max-age=300" || a.header.Get("Replay-Nonce") != "" {
		t.Errorf("what caches may keep: %v", a.header)
	}
	if head := w.get(http.MethodHead, path).want(t, http.StatusOK); len(head.body) != 0 {
		t.Error("HEAD has a body")
	}
	// Signed, the answer is its sender's and has a nonce (RFC 8555, 6.5).
	signed := w.account().post(path, nil).want(t, http.StatusOK)
	if signed.header.Get("Replay-Nonce") == "" || signed.header.Get("Cache-Control") != "no-store" || string(signed.body) != string(a.body) {
		t.Errorf("POST-as-GET: %v %s", signed.header, signed.body)
	}
}

func TestRenewalInfoAfterRevocation(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	leaf := c.issued("a.example.com")
	w.clock.advance(time.Minute)
	c.post("/acme/r/revoke-cert", map[string]any{"certificate": b64(leaf.Raw)}).want(t, http.StatusOK)
	got := windowOf(t, w.get(http.MethodGet, "/acme/r/renewal-info/"+idOf(t, leaf)).want(t, http.StatusOK))
	if now := w.clock.now(); !got.end.Before(now) || !got.start.Before(got.end) {
		t.Errorf("RFC 9773, 4.2: the window of a certificate that was revoked a moment ago is %+v, it is %v", got, now)
	}
}

func TestRenewalInfoRefuses(t *testing.T) {
	w := newWorld(t)
	leaf := w.account().issued("a.example.com")
	id := idOf(t, leaf)
	aki, serial, _ := strings.Cut(id, ".")
	for name, text := range map[string]string{
		"RFC 9773, 4.1: no dot":                     aki,
		"RFC 9773, 4.1: no key identifier":          "." + serial,
		"RFC 9773, 4.1: no serial":                  aki + ".",
		"RFC 9773, 4.1: three parts":                id + ".AQ",
		"RFC 9773, 4.1: padding":                    aki + "=." + serial,
		"RFC 9773, 4.1: padded serial":              id + "=",
		"RFC 9773, 4.1: base64, not base64url":      "ab+c." + serial,
		"RFC 9773, 4.1: an escaped letter":          "%41" + id[1:],
		"RFC 9773, 4.1: other bits in the last one": aki + ".AR",
		"RFC 9773, 4.1: a serial with a zero":       aki + "." + b64(append([]byte{0}, leaf.SerialNumber.Bytes()...)),
		"RFC 9773, 4.1: serial zero":                aki + ".AA",
		"RFC 9773, 4.1: a negative serial":          aki + "." + b64([]byte{0x80, 1}),
		"RFC 5280, 4.1.2.2: 21 octets":              aki + "." + b64(append([]byte{1}, make([]byte, 20)...)),
		"a key identifier of 65 octets":             b64(make([]byte, 65)) + ".AQ",
	} {
		w.store.taken()
		got := w.get(http.MethodGet, "/acme/r/renewal-info/"+text).want(t, http.StatusBadRequest)
		if got.decode(t)["type"] != urn+"malformed" || len(w.store.taken()) != 0 {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	unknown := w.get(http.MethodGet, "/acme/r/renewal-info/"+aki+"."+b64([]byte{1, 2, 3})).wantProblem(t, http.StatusNotFound, "malformed")
	w.store.taken()
	foreign := w.get(http.MethodGet, "/acme/r/renewal-info/"+b64(make([]byte, 20))+"."+serial).wantProblem(t, http.StatusNotFound, "malformed")
	if trips := w.store.taken(); len(trips) != 0 {
		t.Error("an issuer that is not ours costs", trips)
	}
	// What was never released looks like what was never there.
	at := CertificateID{Issuer: "test", Serial: serialOf(leaf)}
	for _, state := range []ca.State{ca.Open, ca.Abandoned} {
		w.store.edit(func() { w.store.certificates[at].State = state })
		a := w.get(http.MethodGet, "/acme/r/renewal-info/"+id)
		got := a.wantProblem(t, http.StatusNotFound, "malformed")
		if got["detail"] != unknown["detail"] || foreign["detail"] != unknown["detail"] || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("state %d: %v, %v", state, got, foreign)
		}
	}
	w.store.failing("Admit", problem.New(problem.Unavailable, "the store does not answer"))
	w.get(http.MethodGet, "/acme/r/renewal-info/"+id).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if a := w.get(http.MethodPut, "/acme/r/renewal-info/"+id); a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Error(a.header)
	}
}

// TestCertIDExample is the one that RFC 9773, 4.1 works through.
func TestCertIDExample(t *testing.T) {
	got, err := parseCertID("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
	if err != nil || hex.EncodeToString(got.aki) != "69885b6b87464041e1b37b847ba0ae2cde01c8d4" || got.serial != "87654321" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestSuggestedWindows: whatever a profile's validity, the window begins well after the issuance, ends after its start (RFC
// 9773, 4.2) and well before the certificate does, and clients ask some times before it.
func TestSuggestedWindows(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		validity, backdate time.Duration
		start, end, poll   time.Duration // from the issuance
	}{
		{time.Hour, 0, 30 * time.Minute, 40 * time.Minute, 150 * time.Second},
		{2 * time.Hour, time.Hour, 30 * time.Minute, 40 * time.Minute, 150 * time.Second},
		{6 * time.Hour, 0, 3 * time.Hour, 4 * time.Hour, 15 * time.Minute},
		{day, time.Hour, 23 * time.Hour / 2, 46 * time.Hour / 3, 23 * time.Hour / 24},
		{6 * day, 0, 3 * day, 4 * day, 6 * time.Hour},
		{10*day - time.Second, 0, 5 * day, 20 * day / 3, 6 * time.Hour},
		{12 * day, 0, 8 * day, 9 * day, 6 * time.Hour},
		{47 * day, 0, 94 * day / 3, 141 * day / 4, 6 * time.Hour},
		{90 * day, 0, 60 * day, 270 * day / 4, 6 * time.Hour},
		{400 * day, 48 * time.Hour, 398 * day * 2 / 3, 398 * day * 3 / 4, 6 * time.Hour},
	} {
		name := fmt.Sprintf("validity %v, backdated %v", tt.validity, tt.backdate)
		c := &ca.Certificate{Issued: testTime}
		c.NotBefore = testTime.Add(-tt.backdate)
		c.NotAfter = c.NotBefore.Add(tt.validity)
		w := suggestedWindow(c)
		if d := w.start.Sub(testTime) - tt.start; d.Abs() > time.Second {
			t.Errorf("%s: it starts after %v, want %v", name, w.start.Sub(testTime), tt.start)
		}
		if d := w.end.Sub(testTime) - tt.end; d.Abs() > time.Second {
			t.Errorf("%s: it ends after %v, want %v", name, w.end.Sub(testTime), tt.end)
		}
		if !w.end.After(w.start) || !w.end.Before(c.NotAfter) {
			t.Errorf("%s: the window is %+v of a certificate that ends at %v", name, w, c.NotAfter)
		}
		if got := pollInterval(c); (got-tt.poll).Abs() > time.Second || got < leastPoll || got > w.start.Sub(testTime)/2 {
			t.Errorf("%s: asked every %v, want %v", name, got, tt.poll)
		}
	}
	// A validity that begins later, and one that hardly is one.
	future := &ca.Certificate{Issued: testTime}
	future.NotBefore, future.NotAfter = testTime.Add(day), testTime.Add(91*day)
	if w := suggestedWindow(future); !w.start.Equal(testTime.Add(61 * day)) {
		t.Errorf("%+v", w)
	}
	for _, life := range []time.Duration{-time.Hour, 0, time.Second} {
		c := &ca.Certificate{Issued: testTime}
		c.NotBefore, c.NotAfter = testTime, testTime.Add(life)
		if w := suggestedWindow(c); !w.end.After(w.start) || pollInterval(c) != leastPoll {
			t.Errorf("RFC 9773, 4.2: a life of %v has the window %+v", life, w)
		}
	}
}

package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// chainOf reads a certificate chain and verifies it.
func (w *world) chainOf(body []byte, name string) []*x509.Certificate {
	w.t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(body); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			w.t.Fatal(err)
		}
		certs = append(certs, c)
	}
	if len(certs) != 2 {
		w.t.Fatalf("%d certificates", len(certs))
	}
	pool := x509.NewCertPool()
	pool.AddCert(certs[1])
	if _, err := certs[0].Verify(x509.VerifyOptions{
		DNSName: name, Roots: w.registrar.hierarchy.Pool(), Intermediates: pool, CurrentTime: w.clock.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		w.t.Fatal(err)
	}
	return certs
}

func TestFinalize(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com", "b.example.com")
	w.store.taken()
	a := c.to(o.Finalize, w.csr("a.example.com", "b.example.com")).want(t, http.StatusOK)
	got := a.order(t)
	if got.url != o.url || got.Status != "valid" || got.Certificate == "" { // RFC 8555, 7.4; Location is for real clients
		t.Fatalf("%v %s", a.header, a.body)
	}
	if trips := w.ownTrips(); !slices.Equal(trips, []string{"Admit", "FinalizeFacts", "begin"}) {
		t.Error("store trips:", trips)
	}
	req := w.registrar.requests[0]
	if req.Door != ra.DoorACME || req.Profile != "web" || req.ProfileHash != w.server.Profiles["web"].Hash() || len(req.Proofs) != 2 {
		t.Errorf("%+v", req)
	}
	for i, p := range req.Proofs {
		if p.Account != string(c.id()) || p.Org != 1 || p.Identifier != req.Names[i] || p.Until.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	cert := c.read(got.Certificate).want(t, http.StatusOK)
	if cert.header.Get("Content-Type") != "application/pem-certificate-chain" { // RFC 8555, 7.4.2
		t.Error(cert.header)
	}
	leaf := w.chainOf(cert.body, "b.example.com")[0]
	if !w.key.Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
		t.Error("another key was certified")
	}
	if read := c.read(o.url).want(t, http.StatusOK).order(t); read.Certificate != got.Certificate || read.Status != "valid" {
		t.Errorf("%+v", read)
	}
}

func TestFinalizeAgain(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	first := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
	// The same key, in a CSR that is not the same bytes: a client that lost the answer.
	if again := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK); !bytes.Equal(first.body, again.body) {
		t.Errorf("%s", again.body)
	}
	other, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	c.to(o.Finalize, csrFor(t, other, "a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady") // RFC 8555, 7.4
	if w.registrar.issued != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
}

func TestFinalizeSlowly(t *testing.T) { synctest.Test(t, testFinalizeSlowly) }

func testFinalizeSlowly(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	gate := make(chan struct{})
	w.registrar.set(func() { w.registrar.gate = gate })
	w.server.FinalizeWait = time.Nanosecond
	check := func(a answer) {
		t.Helper()
		if got := a.want(t, http.StatusOK).order(t); got.Status != "processing" || got.url != o.url || got.Certificate != "" ||
			a.header.Get("Retry-After") != "1" { // RFC 8555, 7.4
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	csr := w.csr("a.example.com")
	check(c.to(o.Finalize, csr))
	w.until(func() bool { return w.store.orders[o.id()].Enrollment != 0 }) // the intent is recorded
	check(c.read(o.url))
	check(c.to(o.Finalize, csr)) // posted again while processing
	check(c.to(o.Finalize, w.csr("a.example.com")))
	other, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	c.to(o.Finalize, csrFor(t, other, "a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	close(gate)
	w.settled()
	if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Error(got.Status)
	}
	if w.registrar.issued != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
}

// TestProcessingIsAPromise: an order is not said to be processing before that is recorded. RFC 8555, 7.1.6 has no way back
// from there to ready, and an issuance may be refused until its intent is recorded.
func TestProcessingIsAPromise(t *testing.T) { synctest.Test(t, testProcessingIsAPromise) }

func testProcessingIsAPromise(t *testing.T) {
	for _, tc := range []struct {
		name   string
		begins time.Duration // how long the commit of the intent takes
		err    error         // what becomes of it
		status int
	}{
		{"recorded in time", beginTime / 2, nil, http.StatusOK},
		{"recorded late", 2 * beginTime, nil, http.StatusServiceUnavailable},
		{"refused in time", beginTime / 2, problem.New(problem.Unavailable, "the journal does not answer"), http.StatusServiceUnavailable},
		{"refused late", 2 * beginTime, problem.New(problem.Unavailable, "the journal does not answer"), http.StatusServiceUnavailable},
	} {
		w := newWorld(t)
		c := w.account()
		o := c.readyOrder("a.example.com")
		w.server.FinalizeWait = time.Second
		gate := make(chan struct{})
		w.registrar.set(func() { w.registrar.gate = gate })
		w.store.meanwhile("begin", func() {
			time.Sleep(tc.begins) // synctest's time
			w.store.failing("begin", tc.err)
		})
		started := time.Now()
		a := c.to(o.Finalize, w.csr("a.example.com"))
		if a.status != tc.status || a.status != http.StatusOK && a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", tc.name, a.status, a.body)
		}
		if took := time.Since(started); took > w.server.FinalizeWait+beginTime {
			t.Errorf("%s: the answer took %s", tc.name, took)
		}
		if a.status == http.StatusOK && (a.order(t).Status != "processing" || a.header.Get("Retry-After") != "1") {
			t.Errorf("%s: %v %s", tc.name, a.header, a.body)
		}
		if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != map[bool]string{true: "processing", false: "ready"}[a.status == http.StatusOK] {
			t.Errorf("%s: read as %s", tc.name, got.Status)
		}
		close(gate)
		w.settled()
		w.store.failing("begin", nil)
		// The client does as it was told and repeats its request. There is one certificate in any case.
		if again := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t); again.Status != "valid" || w.registrar.issued != 1 {
			t.Errorf("%s: %s, %d certificates", tc.name, again.Status, w.registrar.issued)
		}
	}
}

func (o orderDoc) id() OrderID { return OrderID(o.url[strings.LastIndexByte(o.url, '/')+1:]) }

// TestFinalizeLate has another process finalize an order between the moment a request read it and its own attempt.
func TestFinalizeLate(t *testing.T) {
	other, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		key    crypto.Signer // nil: the same
		status int
	}{
		{"the same key", nil, http.StatusOK},
		{"RFC 8555, 7.4: another key", other, http.StatusForbidden},
	} {
		w := newWorld(t)
		c := w.account()
		o := c.readyOrder("a.example.com")
		first := w.csr("a.example.com")
		if tc.key != nil {
			first = csrFor(t, tc.key, "a.example.com")
		}
		there := c.elsewhere()
		w.store.meanwhile("begin", func() { there.to(o.Finalize, first).want(t, http.StatusOK) })
		a := c.to(o.Finalize, w.csr("a.example.com")).want(t, tc.status)
		if tc.status == http.StatusOK && a.order(t).Status != "valid" {
			t.Errorf("%s: %s", tc.name, a.body)
		}
		if w.registrar.issued != 1 {
			t.Errorf("%s: %d certificates", tc.name, w.registrar.issued)
		}
	}
}

// TestStoreTrips counts the round trips of one whole issuance with one name (budget: 12, the registrar makes some more).
func TestStoreTrips(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	w.store.taken()
	o := c.newOrder("a.example.com")
	c.to(c.challengeOf(o.Authorizations[0]), map[string]any{})
	done := c.to(o.Finalize, w.csr("a.example.com")).order(t)
	c.read(done.Certificate).want(t, http.StatusOK)
	want := []string{"Admit", "UsableAuthorizations", "CreateOrder", "Admit", "Admit", "FinishChallenge", "Admit", "FinalizeFacts", "begin", "Admit"}
	if trips := w.ownTrips(); !slices.Equal(trips, want) {
		t.Errorf("%v, want %v", trips, want)
	}
}

package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
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
	if trips := w.ownTrips(); !slices.Equal(trips, []string{"Admit", "OrderFacts", "AccountByKey", "begin"}) {
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

// TestSlowFinalizeLosesToAnotherKey: what another process began is not taken for this request's.
func TestSlowFinalizeLosesToAnotherKey(t *testing.T) {
	synctest.Test(t, testSlowFinalizeLosesToAnotherKey)
}

func testSlowFinalizeLosesToAnotherKey(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	other, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	w.server.FinalizeWait = time.Second
	first := csrFor(t, other, "a.example.com")
	there := c.elsewhere()
	w.store.meanwhile("begin", func() {
		there.to(o.Finalize, first).want(t, http.StatusOK)
		time.Sleep(2 * time.Second) // synctest's time; the conflict comes later than the answer
	})
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	w.settled()
	if w.registrar.issued != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
}

func (o orderDoc) id() OrderID { return OrderID(o.url[strings.LastIndexByte(o.url, '/')+1:]) }

func TestFiftyFinalizesGiveOneCertificate(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	same := w.csr("a.example.com")
	var wg sync.WaitGroup
	for i := range 50 {
		csr := same
		if i%2 == 0 {
			csr = w.csr("a.example.com") // other bytes, the same key
		}
		wg.Go(func() {
			a := c.to(o.Finalize, csr)
			if a.status != http.StatusOK || a.header.Get("Location") != o.url {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if w.registrar.issued != 1 || len(w.store.certificates) != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
	if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Error(got.Status)
	}
}

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

// TestFinalizeConflictWithoutWinner is a conflict that left the order ready: the client can try again.
func TestFinalizeConflictWithoutWinner(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() { w.registrar.refuse = errConflict })
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusConflict, "malformed")
}

func TestFinalizeRaceOfTwoKeys(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	var wg sync.WaitGroup
	statuses := make(chan int, 10)
	for range 10 {
		key, err := testca.NewKey(testca.P256)
		if err != nil {
			t.Fatal(err)
		}
		csr := csrFor(t, key, "a.example.com")
		wg.Go(func() { statuses <- c.to(o.Finalize, csr).status })
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for s := range statuses {
		count[s]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusForbidden] != 9 || w.registrar.issued != 1 {
		t.Errorf("%v, %d certificates", count, w.registrar.issued)
	}
}

func TestFinalizeRefusalsLeaveTheOrderReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	accountKey, err := testca.CSR(c.key, "a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	good := w.csr("a.example.com")["csr"].(string)
	for _, tc := range []struct {
		name    string
		payload map[string]any
		word    string
	}{
		{"RFC 8555, 7.4: other names", w.csr("b.example.com"), "badCSR"},
		{"RFC 8555, 7.4: more names", w.csr("a.example.com", "b.example.com"), "badCSR"},
		{"RFC 8555, 11.1: the account's key", map[string]any{"csr": b64(accountKey)}, "badCSR"},
		{"no CSR", map[string]any{}, "malformed"},
		{"empty", map[string]any{"csr": ""}, "malformed"},
		{"RFC 8555, 7.4: not base64url", map[string]any{"csr": "-----BEGIN CERTIFICATE REQUEST-----"}, "malformed"},
		{"RFC 8555, 6.1: padded", map[string]any{"csr": b64([]byte("a")) + "=="}, "malformed"},
		{"RFC 8555, 6.1: line break", map[string]any{"csr": good[:64] + "\n" + good[64:]}, "malformed"},
		{"no PKCS #10", map[string]any{"csr": b64([]byte("text"))}, "badCSR"},
		{"too large", map[string]any{"csr": b64(make([]byte, 65<<10))}, "badCSR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.to(o.Finalize, tc.payload).wantProblem(t, http.StatusBadRequest, tc.word)
			if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
				t.Errorf("the order is %s", got.Status)
			}
		})
	}
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
}

func TestFinalizeNotReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady") // RFC 8555, 7.4
	ready := c.readyOrder("b.example.com")
	w.clock.advance(7 * 24 * time.Hour)
	c.to(ready.Finalize, w.csr("b.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	if len(w.registrar.requests) != 0 {
		t.Error("the registrar was asked")
	}
}

func TestFailedIssuanceMakesTheOrderInvalid(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() { w.registrar.fail = &ra.Failure{Kind: problem.CAA, Detail: "CAA forbids", At: testTime} })
	got := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t)
	if got.Status != "invalid" || got.Error["type"] != urn+"caa" || got.Certificate != "" { // RFC 8555, 7.1.3
		t.Errorf("%+v", got)
	}
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
}

func TestUnavailableRegistrarLeavesTheOrderReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() {
		w.registrar.refuse = problem.New(problem.Unavailable, "the journal cannot be written").After(7 * time.Second)
	})
	a := c.to(o.Finalize, w.csr("a.example.com"))
	a.wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if a.header.Get("Retry-After") != "7" {
		t.Error(a.header)
	}
	w.registrar.set(func() { w.registrar.refuse = nil })
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
}

func TestStoppingGatewayTakesNoWork(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	url := c.challengeOf(c.newOrder("b.example.com").Authorizations[0])
	if err := w.server.Work.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	c.to(url, map[string]any{}).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if w.server.validations.room() != w.server.Config.Validations {
		t.Error("a validation that never began is still counted")
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
	want := []string{"Admit", "UsableAuthorizations", "CreateOrder", "Admit", "Admit", "FinishChallenge", "Admit", "OrderFacts", "AccountByKey", "begin", "Admit"}
	if trips := w.ownTrips(); !slices.Equal(trips, want) {
		t.Errorf("%v, want %v", trips, want)
	}
}

// TestAccountKeysInCSRs: RFC 8555, 11.1: no key of any account is certified.
func TestAccountKeysInCSRs(t *testing.T) {
	w := newWorld(t)
	c, other := w.account(), w.account()
	o := c.readyOrder("a.example.com")
	for _, key := range []crypto.Signer{c.key, other.key} {
		der, err := testca.CSR(key, "a.example.com")
		if err != nil {
			t.Fatal(err)
		}
		c.to(o.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)}).wantProblem(t, http.StatusBadRequest, "badCSR")
		// Who does not have the key learns nothing about it.
		der[len(der)-1] ^= 1
		forged := c.to(o.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)})
		if key == other.key && (forged.status == http.StatusOK || strings.Contains(string(forged.body), "account")) {
			t.Errorf("a forged CSR: %d %s", forged.status, forged.body)
		}
	}
	if got := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Errorf("the order is %s", got.Status)
	}
}

// TestIssuancesOfOneAccountAreBounded: an account whose issuances do not end, because its name servers do not answer about CAA,
// cannot have ever more of them by sending another CSR each time. Others are not held up.
func TestIssuancesOfOneAccountAreBounded(t *testing.T) {
	synctest.Test(t, testIssuancesOfOneAccountAreBounded)
}

func testIssuancesOfOneAccountAreBounded(t *testing.T) {
	w := newWorld(t, slow)
	hostile, healthy := w.account(), w.account()
	ready := func(c *client, name string) (facts Facts, req *signed) {
		o := c.readyOrder(name)
		account, order := w.store.accounts[c.id()], w.store.orders[o.id()]
		return w.store.facts(order), &signed{account: account, order: order}
	}
	facts, req := ready(hostile, "a.example.com")
	otherFacts, other := ready(healthy, "b.example.com")
	gate := make(chan struct{})
	w.server.Registrar = &gatedRegistrar{Registrar: w.server.Registrar, gate: gate}
	var all []*issuance
	for n := range maxIssuances {
		i, err := w.server.startIssuance(req, facts, []byte{byte(n), byte(n >> 8)})
		if err != nil {
			t.Fatalf("issuance %d: %v", n, err)
		}
		all = append(all, i)
	}
	if _, err := w.server.startIssuance(req, facts, []byte("one more")); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter == 0 {
		t.Errorf("one more: %v", err)
	}
	if i, err := w.server.startIssuance(req, facts, []byte{0, 0}); err != nil || i != all[0] {
		t.Errorf("the same again is not joined: %v", err)
	}
	i, err := w.server.startIssuance(other, otherFacts, []byte("another CSR"))
	if err != nil {
		t.Errorf("another account: %v", err)
	}
	close(gate)
	for _, i := range append(all, i) {
		<-i.done
	}
	synctest.Wait()
	if f := &w.server.finalizing; len(f.of) != 0 || len(f.byID) != 0 {
		t.Errorf("%v, %d orders are left", f.of, len(f.byID))
	}
}

// gatedRegistrar answers at the gate.
type gatedRegistrar struct {
	Registrar
	gate chan struct{}
}

func (r *gatedRegistrar) Submit(ctx context.Context, _ auth.Caller, _ ra.Request) (*ra.Enrollment, error) {
	select {
	case <-r.gate:
	case <-ctx.Done():
	}
	return nil, problem.New(problem.CAA, "the CAA records could not be looked up")
}

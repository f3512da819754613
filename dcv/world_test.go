package dcv

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	testToken   = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
	testPrint   = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	testKeyAuth = testToken + "." + testPrint
	testName    = "www.example.com"
)

var loopback4 = netip.MustParseAddr("127.0.0.1")

func TestMain(m *testing.M) {
	if os.Getenv(worldVariable) != "" {
		serveWorld()
		return
	}
	goleak.VerifyTestMain(m)
}

// world is a DNS server, a web server and a Validator that is allowed to visit them.
type world struct {
	*testing.T
	dns *testca.DNS
	web *testca.HTTP
	v   *Validator
}

// newWorld answers testName's challenge rightly; every name has the address 127.0.0.1.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t}
	var err error
	if w.dns, err = testca.NewDNS(testca.DNSConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.dns.Close() })
	if w.web, err = testca.NewHTTP(testca.HTTPConfig{TLS: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.web.Close() })
	w.dns.SetAddrs(testName, loopback4)
	w.web.Set(testToken, testKeyAuth)
	cfg := Config{
		Resolver:      ResolverConfig{Servers: []string{w.dns.Addr()}, TryTimeout: 5 * time.Second},
		HTTPPort:      w.web.Addr().Port(),
		HTTPSPort:     w.web.TLSAddr().Port(),
		AllowLoopback: true,
	}
	for _, c := range change {
		c(&cfg)
	}
	if w.v, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.v.Close() })
	return w
}

func mustDNS(t testing.TB, name string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func requestFor(t testing.TB, name string) Request {
	t.Helper()
	return Request{Method: HTTP01, Identifier: mustDNS(t, name), Token: testToken, KeyAuthorization: testKeyAuth}
}

// passes validates name and expects a proof.
func (w *world) passes(name string) (*Proof, *Record) {
	w.Helper()
	proof, rec, err := w.v.Check(w.Context(), requestFor(w, name))
	if err != nil {
		w.Fatalf("refused: %v", err)
	}
	if proof == nil || rec == nil {
		w.Fatal("no error, but no proof or no record")
	}
	return proof, rec
}

// fails validates name and expects an error of the kind whose detail has all the parts.
func (w *world) fails(name string, kind problem.Kind, parts ...string) *Record {
	w.Helper()
	return w.failsAs(w.Context(), requestFor(w, name), kind, parts...)
}

func (w *world) failsAs(ctx context.Context, req Request, kind problem.Kind, parts ...string) *Record {
	w.Helper()
	proof, rec, err := w.v.Check(ctx, req)
	if err == nil {
		w.Fatalf("accepted, with record %+v", rec)
	}
	if proof != nil {
		w.Error("an error and a proof")
	}
	if rec == nil {
		w.Fatal("no record")
	}
	if !problem.Is(err, kind) {
		w.Errorf("kind is not %v: %v", kind, err)
	}
	for _, part := range parts {
		if !strings.Contains(problem.From(err).Detail, part) {
			w.Errorf("detail %q lacks %q", problem.From(err).Detail, part)
		}
	}
	return rec
}

package conformance

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	termsURL = "https://ca.example.com/terms"
	caaName  = "ca.example.com" // by which CAA records mean the gateway
)

// gateway is a whole gateway, its listener aside, in a world of its own: every name is this machine, and web, alpn and dns
// are what a validation finds there.
type gateway struct {
	base   string // its first public URL, whose directory is base/acme/directory
	http   *http.Client
	dns    *testca.DNS
	web    *testca.HTTP
	alpn   *testca.TLSALPN
	ca     *testca.Hierarchy
	config acme.Config // as it was built

	db      *storage.DB
	journal *audit.Journal

	ahead *atomic.Int64 // by how much its clock is ahead of ours
	names *atomic.Int64 // how many names were handed out
}

// newGateway builds one that ends with the test. A change sees its configuration last.
func newGateway(t *testing.T, changes ...func(*acme.Config)) *gateway {
	t.Helper()
	g := &gateway{ahead: new(atomic.Int64), names: new(atomic.Int64)}
	g.surround(t)
	g.config = g.build(t)
	g.serve(t, changes...)
	return g
}

// sibling is another gateway over the same state, with another configuration, known under its own URL and g's.
func (g *gateway) sibling(t *testing.T, changes ...func(*acme.Config)) *gateway {
	t.Helper()
	s := *g
	s.serve(t, changes...)
	return &s
}

func (g *gateway) now() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }

// later moves the gateway's clock. Nonces do not live long.
func (c *client) later(d time.Duration) {
	c.g.ahead.Add(int64(d))
	c.nonce = ""
}

// name is a DNS name that nobody had before.
func (g *gateway) name() string { return fmt.Sprintf("host%d.example.com", g.names.Add(1)) }

// addDNS adds records in zone-file form.
func (g *gateway) addDNS(t *testing.T, lines ...string) {
	t.Helper()
	must(t, g.dns.Add(lines...))
}

// addHost adds records for a name that stays on this machine; otherwise one that has any has those alone.
func (g *gateway) addHost(t *testing.T, name string, lines ...string) {
	t.Helper()
	g.dns.SetAddrs(name, netip.MustParseAddr("127.0.0.1"))
	g.addDNS(t, lines...)
}

// surround starts what validations meet.
func (g *gateway) surround(t *testing.T) {
	t.Helper()
	var err error
	g.dns, err = testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	t.Cleanup(func() { _ = g.dns.Close() })
	g.web, err = testca.NewHTTP(testca.HTTPConfig{})
	must(t, err)
	t.Cleanup(func() { _ = g.web.Close() })
	g.alpn, err = testca.NewTLSALPN(testca.TLSALPNConfig{})
	must(t, err)
	t.Cleanup(func() { _ = g.alpn.Close() })
	g.ca, err = testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
}

// build makes everything behind the door.
func (g *gateway) build(t *testing.T) acme.Config {
	t.Helper()
	dir := t.TempDir()
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, "store"), Now: g.now})
	must(t, err)
	t.Cleanup(func() { must(t, engine.Close()) })
	journal, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "journal"), New: true, Now: g.now})
	must(t, err)
	t.Cleanup(func() { must(t, journal.Close()) })
	db, err := storage.Open(t.Context(), storage.Config{Engine: engine, Issuers: []string{"main"}})
	must(t, err)
	validator, err := dcv.New(dcv.Config{
		Resolver: dcv.ResolverConfig{Servers: []string{g.dns.Addr()}}, AllowLoopback: true, CAAIdentities: []string{caaName}, Now: g.now,
		HTTPPort: g.web.Addr().Port(), TLSALPNPort: g.alpn.Addr().Port(), MaxPerTarget: 64,
	})
	must(t, err)
	t.Cleanup(func() { _ = validator.Close() })

	g.db, g.journal = db, journal
	config := acme.Config{Store: db, Validator: validator, Journal: journal, Now: g.now, DefaultProfile: "web", TermsURL: termsURL, CAAIdentities: []string{caaName}}
	config.Organisations, err = auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main", Name: "Main"}, {ID: 2, Slug: "other", Name: "Other"}})
	must(t, err)
	config.Profiles = profiles(t)
	config.Allowed = func(org auth.OrgID, profile string) bool { return org == 2 || profile != "reserved" }
	backend, err := ca.NewSoftCAS(g.ca.Chain(), g.ca.Intermediate.Key)
	must(t, err)
	authority, err := ca.New(ca.Config{
		Issuers: []ca.Issuer{{
			Name: "main", Chain: append(g.ca.Chain(), g.ca.Root.Certificate), Backend: backend, Alternates: [][]*x509.Certificate{g.crossSigned(t)},
		}},
		Store: db, Journal: journal, CAA: validator, Now: g.now,
		AccountURLs: func(r policy.Requester) []string { return acme.AccountURLs([]string{g.base}, r) },
	})
	must(t, err)
	config.Issuers = []string{"main"}
	config.Chain = func(string) []byte { return authority.Chains("main")[0] }
	config.Alternates = func(string) [][]byte { return authority.Chains("main")[1:] }
	config.Registrar = ra.New(ra.Config{
		Store: db, Authority: authority, Certificate: db.Certificate, Profiles: config.Profiles, Allowed: config.Allowed, Now: g.now,
	})
	return config
}

// profiles are what the gateway issues: web is the default, checked is for CAA, dated for clients that ask for a validity, and
// names for DNS names alone.
func profiles(t *testing.T) map[string]*policy.Profile {
	t.Helper()
	all := []dcv.Method{dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01}
	made := map[string]*policy.Profile{}
	for _, c := range []policy.Config{
		{Name: "web", Description: "for web servers", DCVMethods: all, DenyNames: []string{"forbidden.example.com", "denied.example.com"}},
		{Name: "checked", Description: "after a look at CAA", DCVMethods: all, CAA: policy.CAAOn},
		{Name: "dated", Description: "with a validity that the client asks for", DCVMethods: all, RequestedValidity: policy.ClampRequested},
		{Name: "names", Description: "no addresses", DCVMethods: []dcv.Method{dcv.DNS01}},
		{Name: "reserved", Description: "for another organisation", DCVMethods: all},
	} {
		c.Issuer, c.Validity, c.Backdate, c.AllowWildcards = "main", 24*time.Hour, time.Minute, true
		p, err := policy.New(c)
		must(t, err)
		made[c.Name] = p
	}
	return made
}

// crossSigned is a chain for the issuer's key and name below another root.
func (g *gateway) crossSigned(t *testing.T) []*x509.Certificate {
	t.Helper()
	other, err := testca.NewHierarchy(testca.HierarchyConfig{Name: "Another Throw-away"})
	must(t, err)
	template := *g.ca.Intermediate.Certificate
	template.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(nil, &template, other.Root.Certificate, g.ca.Intermediate.Key.Public(), other.Root.Key)
	must(t, err)
	cross, err := x509.ParseCertificate(der)
	must(t, err)
	return []*x509.Certificate{cross, other.Root.Certificate}
}

// serve opens the door over HTTPS.
func (g *gateway) serve(t *testing.T, changes ...func(*acme.Config)) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	urls := []string{"https://" + server.Listener.Addr().String()}
	if g.base != "" {
		urls = append(urls, g.base)
	} else {
		urls = append(urls, "https://acme.example.com")
	}
	config := g.config
	config.PublicURLs, config.Work = urls, work.New(work.Config{})
	for _, change := range changes {
		change(&config)
	}
	door, err := acme.New(t.Context(), config)
	must(t, err)
	server.Config.Handler = door
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake that must fail is what a test is about
	server.StartTLS()
	g.base, g.http = urls[0], server.Client()
	g.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		server.Close()
		_ = config.Work.Drain(t.Context()) // whose context has ended, so that what still runs is cut off
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

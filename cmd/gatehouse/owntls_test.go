package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// ownWorld is a gateway's own certificate over a real store and a real signing gate, by a clock that tests move.
type ownWorld struct {
	t         *testing.T
	now       atomic.Int64 // Unix seconds
	folder    string
	hierarchy *hierarchy
	signer    *ownSigner
	db        *storage.DB
	authority *ca.Authority
	log       *lockedBuffer
}

// ownSigner is a back end that can be out of order.
type ownSigner struct {
	ca.Backend
	down atomic.Bool
}

func (s *ownSigner) Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if s.down.Load() {
		return nil, errors.New("the module was unplugged")
	}
	return s.Backend.Sign(ctx, template, pub)
}

// ownJournal keeps the actors of what was signed.
type ownJournal struct {
	mu     sync.Mutex
	signed []audit.Event
}

func (j *ownJournal) Append(_ context.Context, events ...audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range events {
		if e.Kind == audit.Signed {
			j.signed = append(j.signed, e)
		}
	}
	return nil
}

func newOwnWorld(t *testing.T, journal ca.Journal) *ownWorld {
	t.Helper()
	w := &ownWorld{t: t, folder: t.TempDir(), log: &lockedBuffer{}}
	start := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	w.now.Store(start.Unix())
	var err error
	w.hierarchy, err = newHierarchy("Test", start)
	must(t, err)
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.folder, "store")})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w.db, err = storage.Open(t.Context(), storage.Config{Engine: engine, Issuers: []string{"main"}})
	must(t, err)
	soft, err := ca.NewSoftCAS([]*x509.Certificate{w.hierarchy.issuer, w.hierarchy.root}, w.hierarchy.issuerKey)
	must(t, err)
	w.signer = &ownSigner{Backend: soft}
	w.authority, err = ca.New(ca.Config{Issuers: []ca.Issuer{w.issuer()}, Store: w.db, Journal: journal, Now: w.clock})
	must(t, err)
	return w
}

func (w *ownWorld) clock() time.Time        { return time.Unix(w.now.Load(), 0) }
func (w *ownWorld) pass(d time.Duration)    { w.now.Add(int64(d.Seconds())) }
func (w *ownWorld) lockedLog() *slog.Logger { return slog.New(slog.NewTextHandler(w.log, nil)) }
func (w *ownWorld) issuer() ca.Issuer {
	return ca.Issuer{Name: "main", Chain: []*x509.Certificate{w.hierarchy.issuer, w.hierarchy.root}, Backend: w.signer}
}

// open is a process of the gateway, with these names configured.
func (w *ownWorld) open(names ...string) (*ownTLS, *ra.Registrar) {
	w.t.Helper()
	o := &ownCertificate{org: 1, issuer: w.issuer()}
	file := &fileConfig{TLS: &tlsConfig{Issuer: "main"}, source: &source{path: "gatehouse.yaml"}}
	for _, n := range names {
		id, err := parseOwnName(n)
		must(w.t, err)
		o.names = append(o.names, id)
	}
	must(w.t, file.ownProfile(o))
	s := &settings{
		folder: w.folder, own: o, log: w.lockedLog(), profiles: map[string]*policy.Profile{},
	}
	profiles, allowed := s.issuable(func(auth.OrgID, string) bool { return false })
	registrar := ra.New(ra.Config{
		Store: w.db, Authority: w.authority, Certificate: w.db.Certificate, Profiles: profiles, Allowed: allowed, Now: w.clock,
	})
	own, err := newOwnTLS(s, w.clock)
	must(w.t, err)
	return own, registrar
}

func (o *ownTLS) serial() ca.Serial { return ca.SerialOf(o.current.Load().Leaf.SerialNumber) }

// served is the certificate that a client sees, verified by way of the root.
func (w *ownWorld) served(o *ownTLS, name string) *x509.Certificate {
	w.t.Helper()
	c, err := o.config().GetCertificate(&tls.ClientHelloInfo{})
	must(w.t, err)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(w.hierarchy.root)
	for _, der := range c.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		must(w.t, err)
		if selfSigned(cert) {
			w.t.Error("the root is sent to clients")
		}
		between.AddCert(cert)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between, CurrentTime: w.clock()}); err != nil {
		w.t.Error(err)
	}
	return c.Leaf
}

func TestOwnCertificateIsAnEnrollment(t *testing.T) {
	t.Parallel()
	journal := &ownJournal{}
	w := newOwnWorld(t, journal)
	o, registrar := w.open("ca.example.com", "192.0.2.1", "gateway")
	must(t, o.first(t.Context(), registrar))
	leaf := w.served(o, "ca.example.com")
	w.served(o, "192.0.2.1")
	w.served(o, "gateway")
	e, err := registrar.Get(t.Context(), o.caller(), 1)
	must(t, err)
	if e.Phase != ra.Issued || e.Door != ra.DoorSystem || e.Requester != "system" || e.Profile != ownProfile || e.ProfileHash != o.profile.Hash() {
		t.Errorf("the inventory has %+v", e)
	}
	if len(journal.signed) != 1 || journal.signed[0].Actor != "system" || journal.signed[0].Profile != ownProfile {
		t.Errorf("the journal has %+v", journal.signed)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second; life != defaultOwnValidity {
		t.Errorf("it lives for %s", life)
	}
	for path, want := range map[string]os.FileMode{o.file: 0o600, filepath.Dir(o.file): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if got := gathered(t, o); got != float64(leaf.NotAfter.Unix()) {
		t.Errorf("the metric says %v", got)
	}
}

// gathered is the metric's value.
func gathered(t *testing.T, o *ownTLS) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	must(t, registry.Register(o.expiry()))
	families, err := registry.Gather()
	must(t, err)
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

// TestOwnCertificateIsKept by a restart, and another is issued for what would make the old one wrong.
func TestOwnCertificateIsKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before func(w *ownWorld, o *ownTLS, r *ra.Registrar)
		names  []string
		kept   bool
	}{
		"a restart":      {func(*ownWorld, *ownTLS, *ra.Registrar) {}, nil, true},
		"shortly before": {func(w *ownWorld, _ *ownTLS, _ *ra.Registrar) { w.pass(20*24*time.Hour - 2*time.Minute) }, nil, true},
		"two thirds":     {func(w *ownWorld, _ *ownTLS, _ *ra.Registrar) { w.pass(20 * 24 * time.Hour) }, nil, false},
		"expired":        {func(w *ownWorld, _ *ownTLS, _ *ra.Registrar) { w.pass(31 * 24 * time.Hour) }, nil, false},
		"other names":    {func(*ownWorld, *ownTLS, *ra.Registrar) {}, []string{"other.example.com"}, false},
		"revoked": {func(w *ownWorld, o *ownTLS, r *ra.Registrar) {
			must(w.t, r.Revoke(w.t.Context(), ra.Operator("uid:0"), ra.Revocation{Issuer: "main", Serial: o.serial()}))
		}, nil, false},
		"readable by others": {func(w *ownWorld, o *ownTLS, _ *ra.Registrar) { must(w.t, os.Chmod(o.file, 0o640)) }, nil, false},
		"damaged":            {func(w *ownWorld, o *ownTLS, _ *ra.Registrar) { must(w.t, os.Truncate(o.file, 100)) }, nil, false},
		"of another issuer": {func(w *ownWorld, o *ownTLS, _ *ra.Registrar) {
			other := newOwnWorld(w.t, &ownJournal{})
			foreign, r := other.open("ca.example.com")
			must(w.t, foreign.first(w.t.Context(), r))
			text, err := os.ReadFile(foreign.file)
			must(w.t, err)
			must(w.t, os.WriteFile(o.file, text, 0o600))
		}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newOwnWorld(t, &ownJournal{})
			o, r := w.open("ca.example.com")
			must(t, o.first(t.Context(), r))
			first := o.serial()
			tt.before(w, o, r)
			if tt.names == nil {
				tt.names = []string{"ca.example.com"}
			}
			o, r = w.open(tt.names...)
			if loaded := o.current.Load() != nil; loaded != !strings.Contains("readable by others, damaged, of another issuer", name) {
				t.Errorf("what was left is served at once: %v", loaded)
			}
			must(t, o.first(t.Context(), r))
			if (o.serial() == first) != tt.kept {
				t.Errorf("it had %s and has %s", first, o.serial())
			}
			w.served(o, tt.names[0])
		})
	}
}

// TestOwnCertificateIsRenewed while the gateway runs, with a new key.
func TestOwnCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t, &ownJournal{})
	o, r := w.open("ca.example.com")
	must(t, o.first(t.Context(), r))
	first := w.served(o, "ca.example.com")
	must(t, o.look(t.Context(), r))
	if o.serial() != ca.SerialOf(first.SerialNumber) {
		t.Error("it was renewed at once")
	}
	w.pass(20 * 24 * time.Hour)
	must(t, o.look(t.Context(), r))
	second := w.served(o, "ca.example.com")
	if second.Equal(first) || second.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(first.PublicKey) {
		t.Error("after two thirds of its life it, or its key, is the same")
	}
	must(t, r.Revoke(t.Context(), ra.Operator("uid:0"), ra.Revocation{Issuer: "main", Serial: o.serial()}))
	must(t, o.look(t.Context(), r))
	if third := w.served(o, "ca.example.com"); third.Equal(second) {
		t.Error("a revoked one is still served")
	}
}

// TestOwnCertificateWhenTheIssuerIsDown: the old one stays, attempts are spaced, what was accepted is adopted once it is
// issued, and the gateway is not ready once the old one has expired.
func TestOwnCertificateWhenTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t, &ownJournal{})
	o, r := w.open("ca.example.com")
	must(t, o.first(t.Context(), r))
	first := w.served(o, "ca.example.com")
	w.signer.down.Store(true)
	w.pass(20 * 24 * time.Hour)
	must(t, o.look(t.Context(), r)) // accepted, not issued: the registration authority tries again
	if o.pending == nil || !w.served(o, "ca.example.com").Equal(first) || o.healthy(t.Context()) != nil {
		t.Fatalf("pending %v, %v", o.pending, o.healthy(t.Context()))
	}
	must(t, o.look(t.Context(), r))
	if o.pending.enrollment != 2 {
		t.Error("a second request was made beside the one that waits")
	}
	w.signer.down.Store(false)
	w.pass(time.Minute)
	must(t, r.Sweep(t.Context()))
	must(t, o.look(t.Context(), r))
	if o.pending != nil || w.served(o, "ca.example.com").Equal(first) {
		t.Error("what was issued later was not adopted")
	}

	w.signer.down.Store(true)
	w.pass(31 * 24 * time.Hour)
	must(t, o.look(t.Context(), r))
	if err := o.healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end: %v", err)
	}
	for range 40 { // until the registration authority has given up
		w.pass(11 * time.Minute)
		must(t, r.Sweep(t.Context()))
	}
	if err := o.look(t.Context(), r); err == nil || !strings.Contains(err.Error(), "came to nothing") {
		t.Fatalf("after the last attempt: %v", err)
	}
	attempt := o.retry
	must(t, o.look(t.Context(), r)) // too early: nothing is tried
	if o.pending != nil || !o.retry.Equal(attempt) {
		t.Error("it did not wait before it tried again")
	}
	w.signer.down.Store(false)
	w.pass(firstOwnRetry)
	must(t, o.look(t.Context(), r))
	if o.healthy(t.Context()) != nil || o.failures != 0 {
		t.Errorf("when the issuer is back: %v, %d failures", o.healthy(t.Context()), o.failures)
	}
}

// TestOwnCertificateFirstFailure: what passes does not keep a gateway from starting, what policy refuses does.
func TestOwnCertificateFirstFailure(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t, &ownJournal{})
	w.signer.down.Store(true)
	o, r := w.open("ca.example.com")
	must(t, o.first(t.Context(), r))
	if o.healthy(t.Context()) == nil {
		t.Error("it is ready without a certificate")
	}
	if _, err := o.config().GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		t.Error("a handshake succeeds without a certificate")
	}

	o, _ = w.open("ca.example.com")
	r = ra.New(ra.Config{Store: w.db, Authority: w.authority, Certificate: w.db.Certificate, Now: w.clock})
	if err := o.first(t.Context(), r); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("a refusal: %v", err)
	}
}

// TestOwnRetriesAreSpaced: twice as long after each failure, up to a quarter of an hour.
func TestOwnRetriesAreSpaced(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t, &ownJournal{})
	o, _ := w.open("ca.example.com")
	r := ra.New(ra.Config{Store: w.db, Authority: w.authority, Certificate: w.db.Certificate, Now: w.clock})
	for _, want := range []time.Duration{30, 60, 120, 240, 480, 900, 900} {
		if err := o.look(t.Context(), r); err == nil {
			t.Fatal("it was issued under a profile that does not exist")
		}
		if got := o.retry.Sub(w.clock()); got != want*time.Second {
			t.Errorf("it waits for %s, want %s", got, want*time.Second)
		}
		w.now.Store(o.retry.Unix())
	}
}

// TestParseOwnName takes names and addresses, and no patterns.
func TestParseOwnName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"CA.example.com": "ca.example.com", "192.0.2.1": "192.0.2.1", "2001:DB8::1": "2001:db8::1", "localhost": "localhost"} {
		if id, err := parseOwnName(text); err != nil || id.Value() != want {
			t.Errorf("%s: %v, %v", text, id, err)
		}
	}
	if a, _ := parseOwnName("192.0.2.1"); a.Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Error("an address is taken for a name")
	}
	for _, text := range []string{"", "*.example.com", "ca.example.com:443", "https://ca", "192.0.2.0/24", "a b"} {
		if id, err := parseOwnName(text); err == nil {
			t.Errorf("%q is taken as %v", text, id)
		}
	}
}

package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestIssue(t *testing.T) {
	var steps []int
	w := newWorld(t, nil)
	ch := make(chan int, 20)
	w.authority.step = func(n int) { ch <- n }
	c := w.issue(t, "www.example.com", "example.com", "192.0.2.7")
	close(ch)
	for n := range ch {
		steps = append(steps, n)
	}
	slices.Sort(steps) // 6 and 7, 10 and 11 run at the same time
	if want := []int{1, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{
		Roots: w.hierarchy.Pool(), Intermediates: poolOf(w.hierarchy.Chain()...), DNSName: "www.example.com",
	}); err != nil {
		t.Errorf("does not verify: %v", err)
	}
	if got := cert.NotAfter.Sub(cert.NotBefore) + time.Second; got != 24*time.Hour { // RFC 5280, 4.1.2.5
		t.Errorf("validity %s", got)
	}
	if c.State != Issued || c.Serial != SerialOf(cert.SerialNumber) || c.TBSHash != sha256.Sum256(cert.RawTBSCertificate) {
		t.Errorf("record %+v does not describe the certificate", c.Intent)
	}
	stored, err := w.store.Certificate(t.Context(), "main", c.Serial)
	if err != nil || stored.State != Issued || !bytes.Equal(stored.DER, c.DER) {
		t.Errorf("stored %+v, %v", stored, err)
	}
	if want := []Owner{"the owner", "the owner"}; !slices.Equal(w.store.owners, want) {
		t.Errorf("owners %v", w.store.owners)
	}
	w.checkJournal(t, c)
}

// checkJournal holds the two events of an issued certificate to what audit.Kind says about their fields.
func (w *world) checkJournal(t *testing.T, c *Certificate) {
	t.Helper()
	if len(w.journal.events) != 2 {
		t.Fatalf("%d events", len(w.journal.events))
	}
	will, signed := w.journal.events[0], w.journal.events[1]
	if will.Kind != audit.WillSign || !bytes.Equal(will.Hash, c.TBSHash[:]) || !will.NotAfter.Equal(c.NotAfter) {
		t.Errorf("will-sign: %+v", will)
	}
	if signed.Kind != audit.Signed || !bytes.Equal(signed.DER, c.DER) {
		t.Errorf("signed: %+v", signed)
	}
	for _, e := range w.journal.events {
		if e.Actor != "acme:a1" || e.Org != testOrg || e.Enrollment != 41 || e.Issuer != "main" || e.Serial != string(c.Serial) ||
			len(e.Names) != len(c.Names) || e.At.IsZero() || e.At.Location() != time.UTC {
			t.Errorf("event lacks something: %+v", e)
		}
	}
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// Begin runs after everything that can refuse, once, and its values are used.
func TestIssueBegin(t *testing.T) {
	w := newWorld(t, nil)
	req := w.request(t)
	calls := 0
	req.Begin = func(_ context.Context, d *policy.Decision) (int64, Owner, error) {
		calls++
		return 99, "begun", nil
	}
	c, err := w.authority.Issue(t.Context(), req)
	if err != nil || calls != 1 || c.Enrollment != 99 || w.store.owners[0] != "begun" || w.journal.events[0].Enrollment != 99 {
		t.Fatalf("calls %d, certificate %+v, %v", calls, c, err)
	}
	refused := w.request(t)
	refused.Policy.Proofs = nil
	refused.Begin = req.Begin
	if _, err := w.authority.Issue(t.Context(), refused); err == nil || calls != 1 {
		t.Errorf("calls %d after a refusal, %v", calls, err)
	}
	gone := errors.New("no number")
	refused = w.request(t)
	refused.Begin = func(context.Context, *policy.Decision) (int64, Owner, error) { return 0, nil, gone }
	if _, err := w.authority.Issue(t.Context(), refused); !errors.Is(err, gone) {
		t.Errorf("Begin's error became %v", err)
	}
	if len(w.store.records) != 1 || len(w.witness.digests) != 1 {
		t.Errorf("%d records, %d signatures", len(w.store.records), len(w.witness.digests))
	}
}

// What is refused before step 6 leaves nothing behind.
func TestIssueRefusalsLeaveNothing(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		change func(w *world, r *Request)
		want   problem.Kind
	}{
		{"1 policy: no proof", t.Context(), func(_ *world, r *Request) { r.Policy.Proofs = nil }, problem.Unauthorized},
		{"1 policy: pinned hash", t.Context(), func(_ *world, r *Request) { r.Policy.ProfileHash = "other" }, problem.Unauthorized},
		{"no profile", t.Context(), func(_ *world, r *Request) { r.Profile = nil }, problem.Internal},
		{"unknown issuer", t.Context(), func(w *world, r *Request) {
			r.Profile = newProfile(t, func(c *policy.Config) { c.Issuer = "other" })
		}, problem.Internal},
		{"RFC 5280 4.1.2.5: outlives the issuer", t.Context(), func(w *world, r *Request) {
			r.Profile = newProfile(t, func(c *policy.Config) { c.Validity = 11 * 365 * 24 * time.Hour })
			r.Policy.ProfileHash = r.Profile.Hash()
		}, problem.Unavailable},
		{"begins before the issuer", t.Context(), func(w *world, r *Request) {
			r.Profile = newProfile(t, func(c *policy.Config) { c.Backdate = 3 * time.Hour })
			r.Policy.ProfileHash = r.Profile.Hash()
		}, problem.Unavailable},
		{"5 lint", t.Context(), func(w *world, r *Request) {
			// The Forum's rules want more than a private profile gives: no such certificate may be signed.
			r.Profile = newProfile(t, func(c *policy.Config) { c.Lint = policy.LintCABF })
			r.Policy.ProfileHash = r.Profile.Hash()
		}, problem.BadCSR},
		{"the caller has gone", cancelled, func(*world, *Request) {}, problem.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			req := w.request(t)
			tt.change(w, &req)
			_, err := w.authority.Issue(tt.ctx, req)
			if p := problem.From(err); p == nil || p.Kind != tt.want {
				t.Errorf("got %v, want kind %s", err, tt.want)
			}
			if len(w.store.records)+len(w.journal.events)+len(w.witness.digests) != 0 {
				t.Errorf("left %d records, %d events, %d signatures", len(w.store.records), len(w.journal.events), len(w.witness.digests))
			}
		})
	}
}

// A caller that goes away after step 5 does not waste the serial: the issuance ends by its own deadlines.
func TestIssueOutlivesItsCaller(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	w.store.before["RecordIntent"] = cancel
	w.journal.before[audit.Signed] = cancel
	if c, err := w.authority.Issue(ctx, w.request(t)); err != nil || c.State != Issued {
		t.Errorf("got %v, %v", c, err)
	}
}

// bubbleHierarchy is valid at the time at which synctest's bubbles begin.
func bubbleHierarchy(t *testing.T) *testca.Hierarchy {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: func() time.Time { return time.Date(1999, 12, 31, 12, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Own lints refuse at step 5 by themselves: the certificate here is flawless to the RFCs.
func TestIssueRunsOwnLints(t *testing.T) {
	w, is, d, tmpl := lintWorld(t)
	tmpl.CRLDistributionPoints = []string{"http://other.example.com/list.crl"}
	tbs, err := is.capture(tmpl, d.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	n := &issuance{a: w.authority, is: is, decision: d, template: tmpl, number: tmpl.SerialNumber, tbs: tbs}
	if err := n.lint(); !problem.Is(err, problem.Internal) || problem.From(err).Detail != "the certificate would violate gatehouse_locations" {
		t.Errorf("got %v", err)
	}
}

// The signature of a call that came back after its deadline is dropped, and the serial is abandoned.
func TestIssueDeadline(t *testing.T) {
	h := bubbleHierarchy(t)
	synctest.Test(t, func(t *testing.T) { // time begins at 2000-01-01
		release := make(chan struct{})
		w := newWorld(t, func(w *world) {
			w.hierarchy = h
			soft, err := NewSoftCAS(h.Chain(), h.Intermediate.Key)
			if err != nil {
				t.Fatal(err)
			}
			w.config.Issuers = []Issuer{mainIssuer(h, &tamperer{Backend: soft,
				sign: func(ctx context.Context, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
					<-release
					return soft.Sign(context.WithoutCancel(ctx), tmpl, pub)
				}})}
		})
		start := time.Now()
		_, err := w.authority.Issue(t.Context(), w.request(t))
		if p := problem.From(err); p == nil || p.Kind != problem.Unavailable || p.RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != DefaultSignTimeout {
			t.Errorf("gave up after %s", took)
		}
		close(release)
		synctest.Wait()
		if r := w.store.all(); len(r) != 1 || r[0].State != Abandoned || len(r[0].DER) != 0 {
			t.Errorf("records %+v", r)
		}
		if len(w.journal.of(audit.Signed)) != 0 || len(w.journal.of(audit.Abandoned)) != 1 {
			t.Errorf("events %+v", w.journal.events)
		}
	})
}

// Parallel issuances share nothing but the pool: every one gets a serial of its own, and all are recorded and journaled.
func TestIssueInParallel(t *testing.T) {
	const many = 64
	w := newWorld(t, func(w *world) { w.config.Issuers[0].MaxConcurrent = 4 })
	req := w.request(t)
	w.watchSigning(t)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := w.authority.Issue(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(w.store.all()); n != many {
		t.Errorf("%d records", n)
	}
	for _, kind := range []audit.Kind{audit.WillSign, audit.Signed} {
		if n := len(w.journal.of(kind)); n != many {
			t.Errorf("%d events %s", n, kind)
		}
	}
}

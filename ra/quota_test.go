package ra_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// under is the registrar of a world whose profile tls has a quota.
func (w *world) under(quota policy.Quota) *ra.Registrar {
	w.t.Helper()
	p, err := policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 12 * time.Hour, Quota: quota})
	must(w.t, err)
	return w.registrar(func(c *ra.Config) { c.Profiles = map[string]*policy.Profile{"tls": p} })
}

// TestQuotaRefusesAtSubmission: without a number, an intent or a line in the journal, and only as long as it is used up.
func TestQuotaRefusesAtSubmission(t *testing.T) {
	w := newWorld(t)
	r := w.under(policy.Quota{Certificates: 2, PerName: 1})
	submit := func(name string) (*ra.Enrollment, error) {
		return r.Submit(t.Context(), alice, w.request(alice, newKey(t), name))
	}
	first, err := submit("a.example.com")
	must(t, err)
	before := len(w.journal.about(""))
	_, err = submit("a.example.com")
	if p := problem.From(err); p == nil || p.Kind != problem.RateLimited || len(p.Parts) != 1 {
		t.Fatalf("a second one for a name: %v", err)
	}
	_, err = submit("b.example.com")
	must(t, err)
	journaled := len(w.journal.about(""))
	if _, err = submit("c.example.com"); !problem.Is(err, problem.RateLimited) {
		t.Fatalf("a third one: %v", err)
	}
	if now := len(w.journal.about("")); now != journaled || journaled == before {
		t.Errorf("the journal has %d entries after a refusal and %d before", now, journaled)
	}
	// Another organisation has a quota of its own.
	_, err = r.Submit(t.Context(), eve, w.request(eve, newKey(t), "a.example.com"))
	must(t, err)

	must(t, r.Revoke(t.Context(), alice, ra.Revocation{Issuer: first.Issuer, Serial: first.Serial, Reason: ca.Superseded}))
	_, err = submit("a.example.com")
	must(t, err)
	w.clock.add(25 * time.Hour) // both have expired
	for _, name := range []string{"a.example.com", "b.example.com"} {
		_, err = submit(name)
		must(t, err)
	}
}

// TestQuotaAmongManyAtOnce: whoever is refused after the journal was told leaves no serial on the revocation list.
func TestQuotaAmongManyAtOnce(t *testing.T) {
	w := newWorld(t)
	gateways := []*ra.Registrar{w.under(policy.Quota{Certificates: 5}), w.under(policy.Quota{Certificates: 5})}
	var mu sync.Mutex
	var all sync.WaitGroup
	issued, refused := 0, 0
	for n := range 40 {
		req := w.request(alice, newKey(t), "a.example.com")
		all.Go(func() {
			e, err := gateways[n%2].Submit(t.Context(), alice, req)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && e.Phase == ra.Issued:
				issued++
			case problem.Is(err, problem.RateLimited):
				refused++
			default:
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
	all.Wait()
	if issued != 5 || refused != 35 {
		t.Errorf("%d issued, %d refused", issued, refused)
	}
	revoked, err := w.db.Revoked(t.Context(), "main", time.Time{})
	must(t, err)
	if len(revoked) != 0 {
		t.Errorf("%d serials of refused requests would be on the revocation list", len(revoked))
	}
	if open, err := w.db.OpenIntents(t.Context(), w.clock.now().Add(time.Hour), 100); err != nil || len(open) != 0 {
		t.Errorf("open intents: %v, %v", open, err)
	}
	if n := len(slices.DeleteFunc(w.journal.about(""), func(k audit.Kind) bool { return k != audit.Signed })); n != 5 {
		t.Errorf("%d were signed", n)
	}
}

// TestNameRulesAtTheGate: what an organisation may ask for is decided at each attempt by the rules as they are then.
func TestNameRulesAtTheGate(t *testing.T) {
	w := newWorld(t)
	var rules []policy.NameRules
	r := w.registrar(func(c *ra.Config) {
		c.NameRules = func(org auth.OrgID) []policy.NameRules {
			if org != alice.Org {
				return nil
			}
			return rules
		}
	})
	rules = []policy.NameRules{{Organisation: "top", Allow: []string{"*.example.com"}}, {Organisation: "below", Deny: []string{"a.example.com"}}}
	_, err := r.Submit(t.Context(), alice, w.request(alice, newKey(t), "a.example.com"))
	if p := problem.From(err); p == nil || p.Kind != problem.RejectedIdentifier {
		t.Fatalf("a denied name: %v", err)
	}
	_, err = r.Submit(t.Context(), eve, w.request(eve, newKey(t), "a.example.com"))
	must(t, err)
	_, err = r.Submit(t.Context(), alice, w.request(alice, newKey(t), "b.example.com"))
	must(t, err)

	w.signer.down.Store(true)
	e, err := r.Submit(t.Context(), alice, w.request(alice, newKey(t), "c.example.com"))
	must(t, err)
	w.signer.down.Store(false)
	rules = []policy.NameRules{{Organisation: "top", Deny: []string{"c.example.com"}}}
	w.clock.set(e.Due)
	must(t, r.Sweep(t.Context()))
	if got := w.read(e.ID); got.Phase != ra.Failed || got.Failure.Kind != problem.RejectedIdentifier {
		t.Errorf("what was denied meanwhile is %+v, %+v", got, got.Failure)
	}
}

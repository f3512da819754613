package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// fakeCAA permits every name but those that are forbidden.
type fakeCAA struct {
	mu        sync.Mutex
	forbidden string
	insecure  bool                               // what it finds is not authenticated
	answer    func([]dcv.CAA) ([]dcv.CAA, error) // nil: as it is
	requests  []dcv.CAARequest
	time      time.Duration // that the last request was given; 0: without end
}

func (f *fakeCAA) CheckCAA(ctx context.Context, req dcv.CAARequest) ([]dcv.CAA, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.time = append(f.requests, req), 0
	if end, ok := ctx.Deadline(); ok {
		f.time = time.Until(end)
	}
	var all []dcv.CAA
	for _, n := range req.Names {
		if n.Identifier.Value() == f.forbidden {
			return nil, problem.New(problem.CAA, "%s is forbidden", f.forbidden)
		}
		all = append(all, dcv.CAA{Identifier: n.Identifier, At: time.Now().UTC().Truncate(time.Second), Seen: "nothing", Secure: !f.insecure})
	}
	if f.answer != nil {
		return f.answer(all)
	}
	return all, nil
}

// caaWorld is a world whose profile asks CAA.
func caaWorld(t *testing.T) (*world, *fakeCAA) {
	t.Helper()
	w, caa := newWorld(t, nil), &fakeCAA{}
	w.profile = newProfile(t, func(c *policy.Config) { c.CAA = policy.CAAOn })
	w.authority.caa = caa
	w.authority.accountURLs = func(r policy.Requester) []string { return []string{"https://ca.example.com/" + r.Principal} }
	return w, caa
}

// permit gives every proof of a request a permission of an age.
func permit(req *Request, age time.Duration) {
	for i := range req.Policy.Proofs {
		p := &req.Policy.Proofs[i]
		p.CAA = dcv.CAA{Identifier: p.Identifier, At: time.Now().Add(-age)}
	}
}

func TestIssueAsksCAA(t *testing.T) {
	w, caa := caaWorld(t)
	var steps []int
	w.authority.step = func(n int) {
		if n <= 5 {
			steps = append(steps, n)
		}
	}
	req := w.request(t, "b.example.com", "a.example.com", "192.0.2.1")
	permit(&req, time.Minute)
	req.Policy.Proofs[0].CAA.At = time.Now().Add(-8 * time.Hour) // the first of the CSR's names
	asked := req.Policy.Proofs[0].Identifier
	if _, err := w.authority.Issue(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(steps, []int{1, 2, 3, 4, 5}) {
		t.Errorf("steps %v", steps)
	}
	if len(caa.requests) != 1 || len(caa.requests[0].Names) != 1 || caa.requests[0].Names[0].Identifier != asked ||
		!slices.Equal(caa.requests[0].Names[0].Methods, []dcv.Method{dcv.HTTP01}) ||
		!slices.Equal(caa.requests[0].Accounts, []string{"https://ca.example.com/acme:a1"}) {
		t.Errorf("asked %+v", caa.requests)
	}
	// Invariant 8: the journal says when each name was looked up.
	will := w.journal.events[0]
	said, ok := strings.CutPrefix(will.Detail, "CAA ")
	times := strings.Split(said, ", ")
	if will.Kind != audit.WillSign || !ok || len(times) != 2 {
		t.Fatalf("will-sign %+v", will)
	}
	for i, name := range []string{"a.example.com", "b.example.com"} {
		text, ok := strings.CutPrefix(times[i], name+" ")
		at, err := time.Parse(time.RFC3339, text)
		if age := time.Since(at); !ok || err != nil || age < 0 || age > 8*time.Hour {
			t.Errorf("%s was looked up at %q", name, times[i])
		}
	}
	young := w.request(t)
	permit(&young, time.Hour)
	if _, err := w.authority.Issue(t.Context(), young); err != nil || len(caa.requests) != 1 {
		t.Errorf("asked although the permissions are young: %d, %v", len(caa.requests), err)
	}
}

// TestCAAEndsInTime: a slow answer for one name must not make the other names' permissions too old, which need have no more
// than policy's minute left.
func TestCAAEndsInTime(t *testing.T) {
	w, caa := caaWorld(t)
	if _, err := w.authority.Issue(t.Context(), w.request(t)); err != nil || caa.time <= 0 || caa.time > caaTime {
		t.Errorf("it may take %v, %v", caa.time, err)
	}
	if left := time.Minute - DefaultStoreTimeout - MaxSignTimeout; caaTime > left {
		t.Errorf("it may take %v, but after it %v are left", caaTime, left)
	}
}

func TestIssueWithoutCAA(t *testing.T) {
	w, caa := caaWorld(t)
	w.profile = newProfile(t, func(*policy.Config) {})
	if _, err := w.authority.Issue(t.Context(), w.request(t)); err != nil || len(caa.requests) != 0 || w.journal.events[0].Detail != "" {
		t.Errorf("the profile does not ask, but %d requests, %v", len(caa.requests), err)
	}
}

// An order of n names of which only the k-th is forbidden is refused, for every k, and leaves nothing behind.
func TestIssueForbiddenByCAA(t *testing.T) {
	const n = 20
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	w, caa := caaWorld(t)
	key := newKey(t, "p256")
	for k := range n {
		for _, stale := range []bool{true, false} {
			caa.forbidden = names[k]
			req := w.requestFor(t, key, names...)
			if !stale { // all but the forbidden one were looked up a while ago
				permit(&req, time.Hour)
				i := slices.IndexFunc(req.Policy.Proofs, func(p policy.Proven) bool { return p.Identifier.Value() == names[k] })
				req.Policy.Proofs[i].CAA = dcv.CAA{}
			}
			if _, err := w.authority.Issue(t.Context(), req); !problem.Is(err, problem.CAA) {
				t.Errorf("forbidden at %d, stale %v: %v", k, stale, err)
			}
		}
	}
	if len(w.store.records)+len(w.journal.events)+len(w.witness.digests) != 0 {
		t.Errorf("left %d records, %d events, %d signatures", len(w.store.records), len(w.journal.events), len(w.witness.digests))
	}
	caa.forbidden = ""
	if _, err := w.authority.Issue(t.Context(), w.requestFor(t, key, names...)); err != nil {
		t.Error(err)
	}
	if asked := caa.requests[len(caa.requests)-1].Names; len(asked) != n {
		t.Errorf("%d names asked", len(asked))
	}
}

// Whatever the answer is, a name without its own permission is not signed.
func TestIssueDoubtsCAA(t *testing.T) {
	other, err := identifier.ParseDNS("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]func([]dcv.CAA) ([]dcv.CAA, error){
		"error":        func([]dcv.CAA) ([]dcv.CAA, error) { return nil, errors.New("broken") },
		"none":         func([]dcv.CAA) ([]dcv.CAA, error) { return nil, nil },
		"one short":    func(all []dcv.CAA) ([]dcv.CAA, error) { return all[1:], nil },
		"one twice":    func(all []dcv.CAA) ([]dcv.CAA, error) { all[1] = all[0]; return all, nil },
		"another name": func(all []dcv.CAA) ([]dcv.CAA, error) { all[0].Identifier = other; return all, nil },
		"no time":      func(all []dcv.CAA) ([]dcv.CAA, error) { all[0].At = time.Time{}; return all, nil },
	} {
		w, caa := caaWorld(t)
		caa.answer = answer
		if _, err := w.authority.Issue(t.Context(), w.request(t, "a.example.com", "b.example.com")); err == nil || len(w.witness.digests) != 0 {
			t.Errorf("%s: issued", name)
		}
	}
	w, _ := caaWorld(t)
	w.authority.caa = nil
	if _, err := w.authority.Issue(t.Context(), w.request(t)); !problem.Is(err, problem.Internal) {
		t.Errorf("nothing to ask: %v", err)
	}
}

// The gate asks as the profile wants it, and doubts an answer that is not authenticated where that is required.
func TestIssueRequiresDNSSEC(t *testing.T) {
	for _, mode := range []dcv.DNSSEC{dcv.DNSSECOff, dcv.DNSSECOpportunistic, dcv.DNSSECRequire} {
		for _, insecure := range []bool{false, true} {
			w, caa := caaWorld(t)
			w.profile = newProfile(t, func(c *policy.Config) { c.CAA, c.DNSSEC = policy.CAAOn, mode })
			caa.insecure = insecure
			_, err := w.authority.Issue(t.Context(), w.request(t))
			if len(caa.requests) != 1 || caa.requests[0].DNSSEC != mode {
				t.Errorf("%s: asked %+v", mode, caa.requests)
			}
			if wrong := mode == dcv.DNSSECRequire && insecure; wrong != problem.Is(err, problem.Internal) || !wrong && err != nil {
				t.Errorf("%s, insecure %v: %v", mode, insecure, err)
			}
		}
	}
}

// The same order against the DNS.
func TestIssueForbiddenInDNS(t *testing.T) {
	const n = 10
	world, err := testca.NewDNS(testca.DNSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	validator, err := dcv.New(dcv.Config{
		Resolver: dcv.ResolverConfig{Servers: []string{world.Addr()}}, CAAIdentities: []string{"ca.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = validator.Close() })
	w, _ := caaWorld(t)
	w.authority.caa = validator
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	key := newKey(t, "p256")
	for k, name := range names {
		if err := world.Add(name + `. 60 IN CAA 0 issue ";"`); err != nil {
			t.Fatal(err)
		}
		_, err := w.authority.Issue(t.Context(), w.requestFor(t, key, names...))
		if p := problem.From(err); p == nil || p.Kind != problem.CAA || len(p.Parts) != 1 || p.Parts[0].Identifier.Value() != name {
			t.Errorf("forbidden at %d: %v", k, err)
		}
		world.Remove(name)
	}
	account := `example.com. 60 IN CAA 0 issue "ca.example.com; accounturi=https://ca.example.com/acme:a1; validationmethods=http-01"`
	if err := world.Add(account); err != nil {
		t.Fatal(err)
	}
	if _, err := w.authority.Issue(t.Context(), w.requestFor(t, key, names...)); err != nil {
		t.Error(err)
	}
}

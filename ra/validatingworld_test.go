package ra_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// The callers of requests that wait for validation: rob asks in organisation 1, uma is another requester there, dan its administrator,
// mia a requester of organisation 2.
var (
	uma = auth.Caller{Principal: "user:18", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Requester}}}
	mia = auth.Caller{Principal: "user:9", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Requester}}}
)

// outside finds what was published at a place, by location and value.
type outside struct {
	now func() time.Time

	mu     sync.Mutex
	there  map[string]string // value by location
	broken map[string]error  // by name
	before func(dcv.Request) // called in each check
	asked  []dcv.Request
	secure bool // DNSSEC authenticates all
}

func (n *outside) publish(list ...ra.Challenge) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range list {
		n.there[dcv.Location(c.Method, c.Identifier, c.Publication)] = c.Publication.Value
	}
}

func (n *outside) breaks(name string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken[name] = err
}

func (n *outside) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked)
}

func (n *outside) Check(_ context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	n.mu.Lock()
	before, value, broken := n.before, n.there[dcv.Location(req.Method, req.Identifier, req.Publication)], n.broken[req.Identifier.Value()]
	n.asked = append(n.asked, req)
	n.mu.Unlock()
	if before != nil {
		before(req)
	}
	rec := &dcv.Record{Started: n.now(), Hops: []dcv.Hop{{URL: "dns:here"}}, Finding: &dcv.Finding{}}
	switch {
	case broken != nil:
		return nil, rec, broken
	case value != req.Publication.Value:
		return nil, rec, problem.New(problem.DNS, "nothing is there")
	}
	return &dcv.Proof{Method: req.Method, Identifier: req.Identifier, At: n.now().UTC().Truncate(time.Second), Seen: "here", Secure: n.secure}, rec, nil
}

// pendingWorld is a world whose profiles take publications: "tls", and "one" that demands an approval.
type pendingWorld struct {
	*world
	net *outside
}

func newPendingWorld(t *testing.T) *pendingWorld { return pendingOver(t, newWorld(t)) }

func pendingOver(t *testing.T, w *world) *pendingWorld {
	t.Helper()
	w.clock.set(time.Now().UTC().Truncate(time.Second)) // what is about approvals expires by the store's clock
	p := &pendingWorld{world: w, net: &outside{now: w.clock.now, there: map[string]string{}, broken: map[string]error{}}}
	w.Registrar = p.pending(nil)
	return p
}

// pending is another registrar over the same store.
func (w *pendingWorld) pending(change func(c *ra.Config)) *ra.Registrar {
	return w.registrar(func(c *ra.Config) {
		c.Profiles = map[string]*policy.Profile{"tls": w.profile("tls", policy.ApprovalRule{}), "one": w.profile("one", policy.ApprovalRule{Required: 1})}
		c.Allowed = func(auth.OrgID, string) bool { return true }
		c.MayDecide = decides
		c.Validation = ra.RequestValidation{Validator: w.net, Target: "dcv.example.net", Suffix: "ca.example.net"}
		if change != nil {
			change(c)
		}
	})
}

func (w *pendingWorld) profile(name string, rule policy.ApprovalRule) *policy.Profile {
	w.t.Helper()
	p, err := policy.New(policy.Config{
		Name: name, Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 12 * time.Hour, AllowWildcards: true, Approvals: rule, DelegatedDomains: true,
		DCVMethods: []dcv.Method{dcv.HTTP01, dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME, dcv.CSRHashHTTP, dcv.CSRHashHTTPS, dcv.CSRHashCNAME},
	})
	must(w.t, err)
	return p
}

// wants is a request that is to wait for validation.
func (w *pendingWorld) wants(profile string, m dcv.Method, names ...string) ra.Request {
	w.t.Helper()
	csr, err := testca.CSR(newKey(w.t), names...)
	must(w.t, err)
	return ra.Request{Door: "test", Profile: profile, Names: ids(w.t, names...), CSR: csr, Validate: &ra.Validation{Method: m}}
}

// begin is rob's request, which waits.
func (w *pendingWorld) begin(profile string, m dcv.Method, names ...string) *ra.Enrollment {
	w.t.Helper()
	return w.submit(rob, w.wants(profile, m, names...), ra.Validating)
}

// validates looks now, and demands a phase.
func (w *pendingWorld) validates(id ra.ID, want ra.Phase) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Validate(w.t.Context(), rob, id, ra.Validation{})
	must(w.t, err)
	if e.Phase != want || w.read(id).Phase != want {
		w.t.Fatalf("enrollment %d is in phase %d (%+v), want %d", id, e.Phase, e.Failure, want)
	}
	return e
}

func challengeOf(t *testing.T, e *ra.Enrollment, name string) ra.Challenge {
	t.Helper()
	for _, c := range e.Challenges {
		if c.Identifier.Value() == name {
			return c
		}
	}
	t.Fatalf("request %d has no challenge for %s", e.ID, name)
	return ra.Challenge{}
}

func methods(t *testing.T, pairs map[string]dcv.Method) map[identifier.Identifier]dcv.Method {
	t.Helper()
	out := map[identifier.Identifier]dcv.Method{}
	for name, m := range pairs {
		out[ids(t, name)[0]] = m
	}
	return out
}

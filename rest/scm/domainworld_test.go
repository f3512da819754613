package scm

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// network is the DNS, the web and the mail that a world's domains are validated over. What was published in it is found.
type network struct {
	now func() time.Time

	mu        sync.Mutex
	published map[dcv.Publication]bool
	contacts  []dcv.EmailContact // that every name publishes, beside admin@ and postmaster@ itself and what is above it
	failure   error              // of everything; nil: it works
	pause     time.Duration      // that whoever tries codes or writes mail has to wait; zero: none
}

func newNetwork(now func() time.Time) *network {
	return &network{now: now, published: map[dcv.Publication]bool{}}
}

// set changes the network, as tests want it.
func (n *network) set(change func(*network)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// publish puts there what a validation wants.
func (n *network) publish(v *ra.DomainValidation) {
	n.set(func(n *network) { n.published[v.Publication] = true })
}

// Check implements ra.DomainValidator.
func (n *network) Check(_ context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rec := &dcv.Record{Started: n.now()}
	switch {
	case n.failure != nil:
		return nil, rec, n.failure
	case !n.published[req.Publication]:
		return nil, rec, problem.New(problem.DNS, "nothing is there")
	}
	return &dcv.Proof{Method: req.Method, Identifier: req.Identifier, At: n.now().UTC().Truncate(time.Second), Seen: "here"}, rec, nil
}

// EmailContacts implements ra.EmailFinder.
func (n *network) EmailContacts(_ context.Context, name identifier.Identifier, _ dcv.DNSSEC) (*dcv.EmailContacts, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := &dcv.EmailContacts{}
	if n.failure != nil {
		return nil, n.failure
	}
	for at := name.Value(); strings.Contains(at, "."); _, at, _ = strings.Cut(at, ".") {
		for _, local := range []string{"admin", "postmaster"} {
			found.Contacts = append(found.Contacts, dcv.EmailContact{Address: local + "@" + at, Method: dcv.EmailConstructed, Source: "constructed at " + at, Secure: true})
		}
	}
	found.Contacts = append(found.Contacts, n.contacts...)
	return found, nil
}

// MailRoute implements ra.EmailFinder.
func (n *network) MailRoute(context.Context, string, dcv.DNSSEC) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return true, n.failure
}

// Attempt implements ra.EmailTries.
func (n *network) Attempt(context.Context, ...auth.AttemptRate) (time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pause, nil
}

// provenProfile takes proofs of domains, and has no number: the door does not show it.
func provenProfile(t *testing.T) *policy.Profile {
	t.Helper()
	p, err := policy.New(policy.Config{
		Name: "proven", Issuer: "main", Validity: time.Hour, DelegatedDomains: true, AllowWildcards: true, DCVMethods: []dcv.Method{dcv.HTTP01, dcv.DNS01},
	})
	must(t, err)
	return p
}

// domains are those of a world, validated over the network.
func (n *network) domains(db *storage.DB, directory *auth.Directory, profiles map[string]*policy.Profile, sealer *seal.Sealer) *ra.Domains {
	return ra.NewDomains(ra.DomainsConfig{
		Store: db, Directory: directory, Profiles: profiles, Validator: n, Journal: journal{}, Target: "dcv.example.net", Now: n.now,
		Email: &ra.EmailConfig{Finder: n, Sealer: sealer, Tries: n, Page: "https://ca.example.com/dcv/email/"},
	})
}

// domain is one that an organisation owns, without a proof.
func (w *world) domain(name, slug string) *ra.Domain {
	w.t.Helper()
	d, err := w.Domains.Add(w.t.Context(), operator, name, slug)
	must(w.t, err)
	return d
}

// validated is one with a proof by a method.
func (w *world) validated(name, slug string, m dcv.Method) *ra.Domain {
	w.t.Helper()
	w.domain(name, slug)
	d, err := w.Domains.Validate(w.t.Context(), operator, name, m)
	must(w.t, err)
	w.network.publish(d.Validation)
	d, err = w.Domains.Check(w.t.Context(), operator, name)
	must(w.t, err)
	if d.Proof == nil {
		w.t.Fatalf("%+v", d)
	}
	return d
}

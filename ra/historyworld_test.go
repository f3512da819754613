package ra_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// history is one, with what an onlooker knows of it without asking the code under test.
type history struct {
	*world
	random    *rand.Rand
	gateways  []*ra.Registrar
	domains   []*ra.Domains // of the gateways
	dns       *prober
	directory *auth.Directory
	people    *auth.Principals
	persons   []auth.PrincipalID
	keys      []crypto.Signer
	names     []string
	profiles  map[string]*policy.Profile

	mu        sync.Mutex
	signed    []*x509.Certificate
	asked     map[string]map[asking]bool // who asked for a certificate of a key, by its SPKI
	proofs    map[proofOf]bool           // that accounts were given
	decisions map[decisionOf]bool        // approvals by who had the role
	proved    []domainProof
	phases    map[ra.ID]ra.Phase
}

type asking struct {
	principal string
	org       auth.OrgID
	profile   string
}

type proofOf struct {
	account string
	org     int32
	name    string
	at      int64
}

type decisionOf struct {
	id       ra.ID
	approver string
}

// domainProof says that an organisation's domain was validated at a time.
type domainProof struct {
	org    auth.OrgID
	domain string
	at     time.Time
}

// witness keeps what is signed.
type witness struct {
	ca.Backend
	h *history
}

func (s *witness) Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	der, err := s.Backend.Sign(ctx, template, pub)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.signed = append(s.h.signed, leaf)
	return der, nil
}

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	h := &history{
		world: newWorldOn(t, engine), random: rand.New(rand.NewPCG(seed, 1)), asked: map[string]map[asking]bool{}, proofs: map[proofOf]bool{},
		decisions: map[decisionOf]bool{}, phases: map[ra.ID]ra.Phase{}, names: []string{"a.one.example", "b.one.example", "a.two.example", "free.example"},
	}
	h.clock.set(time.Now().UTC().Truncate(time.Second))
	h.signer.Backend = &witness{h.signer.Backend, h}
	h.dns = &prober{now: h.clock.now, found: map[dcv.Publication]bool{}}
	h.profiles = map[string]*policy.Profile{}
	for name, rule := range map[string]policy.ApprovalRule{
		"plain": {}, "one": {Required: 1}, "two": {Required: 2}, "each": {Required: 1, Renewals: policy.ApproveRenewals}, "boss": {Required: 1, Role: policy.ByAdministrator},
	} {
		h.profiles[name], err = policy.New(policy.Config{
			Name: name, Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 6 * time.Hour, DelegatedDomains: true, DomainProofLifetime: 12 * time.Hour, Approvals: rule,
		})
		must(t, err)
	}
	for range 3 {
		h.keys = append(h.keys, newKey(t))
	}
	h.tenants()
	for range 2 {
		h.gateway()
	}
	return h
}

// tenants makes two organisations of two principals each: in the first a requester who may approve and an approver, in the
// second a requester who may approve and an administrator.
func (h *history) tenants() {
	h.t.Helper()
	configured, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "one"}, {ID: 2, Slug: "two"}})
	must(h.t, err)
	h.directory, err = configured.Open(h.t.Context(), h.db, nil)
	must(h.t, err)
	h.people, err = auth.NewPrincipals(auth.PrincipalsConfig{Directory: h.directory, Store: h.db, Journal: h.world.journal, Now: h.clock.now})
	must(h.t, err)
	for i, roles := range [][]auth.Role{
		{auth.Requester, auth.Approver}, {auth.Approver, auth.Administrator}, {auth.Requester, auth.Approver}, {auth.Administrator, auth.Requester},
	} {
		in := auth.NewPrincipal{Org: []string{"one", "two"}[i/2], Login: fmt.Sprintf("person%d", i)}
		for _, r := range roles {
			in.Grants = append(in.Grants, auth.NamedGrant{Role: r})
		}
		p, err := h.people.Add(h.t.Context(), operator, in)
		must(h.t, err)
		h.persons = append(h.persons, p.ID)
	}
}

// gateway is one more on the store.
func (h *history) gateway() {
	h.t.Helper()
	domains := ra.NewDomains(ra.DomainsConfig{
		Store: h.db, Directory: h.directory, Profiles: h.profiles, Validator: h.dns, Journal: h.world.journal, Target: "dcv.example.net", Now: h.clock.now,
	})
	h.domains = append(h.domains, domains)
	h.gateways = append(h.gateways, h.registrar(func(c *ra.Config) {
		c.Profiles, c.Domains, c.Allowed = h.profiles, domains, h.directory.Allowed
		c.May = h.directory.May
		c.MayDecide = func(caller auth.Caller, role policy.ApproverRole, org auth.OrgID) error {
			if role == policy.ByAdministrator {
				return h.directory.May(caller, auth.ManagePrincipals, org)
			}
			return h.directory.May(caller, auth.Approve, org)
		}
	}))
}

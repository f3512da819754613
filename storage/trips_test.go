package storage_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http/httptest"
	"testing"
	"time"

	xacme "golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestTripBudget counts what one ACME issuance asks of the store: order, authorization, challenge, finalize, download. A
// trip more is a round trip to Redis more for every certificate; a durable one is a disk's sync.
func TestTripBudget(t *testing.T) {
	const budget, durable = 12, 4
	db, counting := open(t)
	client := newWorld(t, db)
	client.issue(t) // the first one reserves a block of numbers
	counting.Reset()
	client.issue(t)
	trips := counting.Trips()
	if trips.Total > budget || trips.Durable > durable {
		t.Errorf("one issuance took %d trips, %d of them durable; the budget is %d and %d: %v", trips.Total, trips.Durable, budget, durable, trips.By)
	}
	t.Logf("%d trips, %d durable: %v", trips.Total, trips.Durable, trips.By)
}

// quiet is a journal that keeps nothing: the budget is the store's.
type quiet struct{}

func (quiet) Append(context.Context, ...audit.Event) error { return nil }

// believes is a validator that takes every answer for right.
type believes struct{}

func (believes) Check(_ context.Context, r dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	return &dcv.Proof{Method: r.Method, Identifier: r.Identifier, At: now()}, &dcv.Record{}, nil
}

// world is the whole gateway above the store, with an ACME client.
type world struct {
	*xacme.Client
	names int
}

func newWorld(t *testing.T, db *storage.DB) *world {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	backend, err := ca.NewSoftCAS(h.Chain(), h.Intermediate.Key)
	must(t, err)
	authority, err := ca.New(ca.Config{Issuers: []ca.Issuer{{Name: "main", Chain: h.Chain(), Backend: backend}}, Store: db, Journal: quiet{}})
	must(t, err)
	profile, err := policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: time.Hour})
	must(t, err)
	organisations, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main", Name: "Main"}})
	must(t, err)
	profiles := map[string]*policy.Profile{"tls": profile}
	anyone := func(auth.OrgID, string) bool { return true }
	group := work.New(work.Config{})
	t.Cleanup(func() { group.Drain(context.Background()) })

	server := httptest.NewUnstartedServer(nil)
	door, err := acme.New(t.Context(), acme.Config{
		PublicURLs: []string{"http://" + server.Listener.Addr().String()}, Organisations: organisations, Profiles: profiles,
		DefaultProfile: "tls", Allowed: anyone, Issuers: []string{"main"},
		Chain: func(name string) []byte { pem, _ := authority.Chain(name); return pem },
		Store: db,
		Registrar: ra.New(ra.Config{
			Store: db, Authority: authority, Certificate: db.Certificate, Profiles: profiles, Allowed: anyone,
			Domains: ra.NewDomains(ra.DomainsConfig{Store: db, Directory: organisations, Profiles: profiles, Journal: quiet{}}),
		}),
		Validator: believes{}, Journal: quiet{}, Work: group, Limits: acme.DefaultLimits(),
	})
	must(t, err)
	server.Config.Handler = door
	server.Start()
	t.Cleanup(server.Close)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w := &world{Client: &xacme.Client{Key: key, DirectoryURL: server.URL + "/acme/directory"}}
	_, err = w.Register(t.Context(), &xacme.Account{}, xacme.AcceptTOS)
	must(t, err)
	return w
}

// issue makes the five requests of one issuance, and none more.
func (w *world) issue(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	w.names++
	name := string(rune('a'+w.names)) + ".example.com"
	order, err := w.AuthorizeOrder(ctx, xacme.DomainIDs(name))
	must(t, err)
	authz, err := w.GetAuthorization(ctx, order.AuthzURLs[0])
	must(t, err)
	challenge, err := w.Accept(ctx, authz.Challenges[0])
	must(t, err)
	if challenge.Status != xacme.StatusValid {
		t.Fatalf("the challenge is %s right after it was accepted", challenge.Status)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := testca.CSR(key, name)
	must(t, err)
	_, _, err = w.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	must(t, err)
}

// TestFinalizeFacts: what the order's status depends on and whether a key is an account's, read at once, also of an order that
// has an enrollment.
func TestFinalizeFacts(t *testing.T) {
	t.Parallel()
	db, counting := open(t)
	account := newAccount(t, db)
	o, z := newOrder(t, db, account)
	i := unbegun(t, db)
	must(t, db.RecordIntent(t.Context(), intent(i.Enrollment), i))
	begun := *o
	begun.Enrollment = i.Enrollment.ID
	for thumbprint, want := range map[string]bool{account.Thumbprint: true, "nobody's": false} {
		for _, order := range []*acme.Order{o, &begun} {
			counting.Reset()
			f, claimed, err := db.FinalizeFacts(t.Context(), order, thumbprint)
			must(t, err)
			if claimed != want || len(f.Authorizations) != 1 || f.Authorizations[0].ID != z.ID || (f.Enrollment == nil) != (order.Enrollment == 0) {
				t.Errorf("%q: %t, %+v", thumbprint, claimed, f)
			}
			if f.Enrollment != nil && f.Enrollment.ID != order.Enrollment {
				t.Errorf("the enrollment is %d", f.Enrollment.ID)
			}
			if n := counting.Trips().Total; n != 1 {
				t.Errorf("%d trips", n)
			}
		}
	}
}

package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

var operator = auth.Caller{Principal: "uid:0", Operator: true}

// journal keeps what it is told, unless it is broken.
type journal struct {
	mu     sync.Mutex
	events []audit.Event
	broken bool
}

func (j *journal) Append(_ context.Context, events ...audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken {
		return errors.New("no space left on device")
	}
	j.events = append(j.events, events...)
	return nil
}

func (j *journal) all() []audit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]audit.Event(nil), j.events...)
}

// world is a store with what stands on it: the organisations main (1, every profile) and lab (2, tls alone) are configured,
// and the profiles tls and short.
type world struct {
	t         *testing.T
	db        *storage.DB
	journal   *journal
	directory *auth.Directory
	tenants   *auth.Tenants
	external  *auth.ExternalAccounts
	sealer    *seal.Sealer
	old       *seal.Key // the first key of sealer
	now       time.Time
}

var configured = []auth.Org{
	{ID: 1, Slug: "main", Name: "Main"}, {ID: 2, Slug: "lab", Name: "Lab", Profiles: []string{"tls"}, EAB: auth.EABOptional},
}

func newStore(t *testing.T) *storage.DB {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	db, err := storage.Open(t.Context(), storage.Config{Engine: e})
	must(t, err)
	return db
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: newStore(t), journal: &journal{}, now: time.Now().UTC().Truncate(time.Second)}
	var raw [32]byte
	rand.Read(raw[:])
	var err error
	w.old, err = seal.NewKey(raw[:])
	must(t, err)
	w.sealer, err = seal.New(w.old)
	must(t, err)
	w.open(configured...)
	return w
}

// open is what a start does, with the organisations of a configuration.
func (w *world) open(orgs ...auth.Org) {
	w.t.Helper()
	fixed, err := auth.NewDirectory(orgs, "tls", "short")
	must(w.t, err)
	w.directory, err = fixed.Open(w.t.Context(), w.db, nil)
	must(w.t, err)
	clock := func() time.Time { return w.now }
	w.tenants = auth.NewTenants(auth.TenantsConfig{Directory: w.directory, Store: w.db, Journal: w.journal, Now: clock, CheckNames: func(allow, deny []string) error {
		return policy.NameRules{Allow: allow, Deny: deny}.Check()
	}})
	w.external = auth.NewExternalAccounts(auth.ExternalAccountsConfig{
		Store: w.db, Sealer: w.sealer, Journal: w.journal, Directory: w.directory, Now: clock,
		CheckNames: func(patterns []string) error {
			for _, p := range patterns {
				if strings.Contains(p, " ") {
					return errors.New("a blank")
				}
			}
			return nil
		},
	})
}

func (w *world) add(in auth.NewOrg) auth.Org {
	w.t.Helper()
	o, err := w.tenants.Add(w.t.Context(), operator, in)
	must(w.t, err)
	return o
}

func (w *world) edit(slug string, edit auth.OrgEdit) auth.Org {
	w.t.Helper()
	o, err := w.tenants.Edit(w.t.Context(), operator, slug, edit)
	must(w.t, err)
	return o
}

func (w *world) settle() {
	w.t.Helper()
	must(w.t, auth.NewSettler(w.db, w.journal, nil, nil).Settle(w.t.Context(), true))
}

// replayed is a new store that was given the journal.
func (w *world) replayed() *storage.DB {
	w.t.Helper()
	db := newStore(w.t)
	w.replay(db)
	return db
}

func (w *world) replay(db *storage.DB) (changed int) {
	w.t.Helper()
	r := db.Replay(nil)
	for _, e := range w.journal.all() {
		must(w.t, r.Apply(w.t.Context(), e))
	}
	must(w.t, r.End(w.t.Context()))
	return r.Changed
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says demands an error of a kind that says something.
func says(t *testing.T, what string, err error, kind problem.Kind, text string) {
	t.Helper()
	if p := problem.From(err); p == nil || p.Kind != kind || !strings.Contains(p.Detail, text) {
		t.Errorf("%s: %v, want %s that says %q", what, err, kind, text)
	}
}

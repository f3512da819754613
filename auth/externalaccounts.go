package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

const (
	// macSize is the length of a MAC key, in octets: that of the hash of HS256, and enough for HS384 and HS512 (RFC 7518,
	// 3.2 wants as many octets as the hash has; keys are random, so 64 serve all three).
	macSize = 64
	// maxEABID bounds what a client may name, in octets.
	maxEABID = 64
	// maxEABLabel and maxEABNames bound what an operator may say of a key.
	maxEABLabel = 200
	maxEABNames = 100
	// MaxEABPage is how many keys one page lists at most.
	MaxEABPage = 500
	// maxEABShown is how many of a key's accounts are shown.
	maxEABShown = 100
	// MaxEABKeys is how many keys an organisation has at most, those that were removed not counted.
	MaxEABKeys = 10_000
)

// ExternalAccountsConfig is what ExternalAccounts needs. All but Sealer, Now and Log are required.
type ExternalAccountsConfig struct {
	Store     Store
	Sealer    *seal.Sealer // nil: no key can be made or opened
	Journal   Journal
	Directory *Directory
	// CheckNames refuses patterns of names that cannot be matched, by policy's rules.
	CheckNames func(patterns []string) error
	// Serves says which of some names are in domains that an organisation may use. Nil: none is.
	Serves func(ctx context.Context, org OrgID, names []identifier.Identifier) ([]bool, error)
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: discarded
}

// ExternalAccounts keeps the keys for external account binding (RFC 8555, 7.3.4). What it acknowledged is in store and
// journal. It is safe for concurrent use, in any number of processes.
type ExternalAccounts struct {
	ExternalAccountsConfig
	record recorder
}

// NewExternalAccounts makes ExternalAccounts.
func NewExternalAccounts(c ExternalAccountsConfig) *ExternalAccounts {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &ExternalAccounts{ExternalAccountsConfig: c, record: newRecorder(c.Store, c.Journal, c.Now, c.Log)}
}

// Open finds a key by what a client calls it, and unseals its MAC key, which the caller wipes (clear) when it is done. It does
// not say whether the key may be used: [EABKey.Usable] does, and its organisation. Errors are *problem.Error: NotFound if
// there is none; Unavailable if store or token do not answer, or the key it is sealed under is not configured here.
func (x *ExternalAccounts) Open(ctx context.Context, kid string) (key *EABKey, mac []byte, err error) {
	if !validEABID(kid) {
		return nil, nil, noEABKey(kid)
	}
	if key, err = x.Store.EABKey(ctx, kid); err != nil {
		return nil, nil, err
	}
	mac, err = x.Sealer.Open(ctx, seal.EABKey, key.ID, key.Sealed)
	if err != nil {
		return nil, nil, x.sealed(err)
	}
	return key, mac, nil
}

// sealed is why a MAC key does not open, as the caller may know it.
func (x *ExternalAccounts) sealed(err error) error {
	if problem.Is(err, problem.Unavailable) {
		return err
	}
	if _, unknown := errors.AsType[*seal.UnknownKeyError](err); unknown || errors.Is(err, seal.ErrNoKey) {
		return problem.Wrap(err, problem.Unavailable, "external account bindings cannot be verified here now; the gateway's log says why")
	}
	return problem.Wrap(err, problem.Internal, "")
}

// validEABID reports whether a text can be the id of a key: what would become part of a store's key is bounded first.
func validEABID(id string) bool {
	if id == "" || len(id) > maxEABID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func noEABKey(id string) error {
	if !validEABID(id) {
		return problem.New(problem.NotFound, "there is no external account binding key of that name")
	}
	return problem.New(problem.NotFound, "there is no external account binding key %q", id)
}

// NewEABKey is a key to be made.
type NewEABKey struct {
	Org       string // slug
	Label     string
	Profiles  []string
	Names     []string
	ByDomains bool // it begins without domains
	Reusable  bool
	Lifetime  time.Duration // zero: it does not expire; otherwise at least a minute
}

// Add makes a key and gives its MAC key, which only [ExternalAccounts.MACKey] gives again. Whoever may manage the keys of an
// organisation makes those by domains; others are for the operator alone. Errors are Malformed, NotFound or Conflict with what to
// change, Unauthorized for a caller who may not, and Unavailable.
func (x *ExternalAccounts) Add(ctx context.Context, caller Caller, in NewEABKey) (*EABKey, []byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if !caller.IsPrincipal() {
		if err := onlyOperator(caller); err != nil {
			return nil, nil, err
		}
	}
	org, err := x.org(ctx, caller, in.Org)
	if err != nil {
		return nil, nil, err
	}
	if err := x.check(org, in); err != nil {
		return nil, nil, err
	}
	if caller.IsPrincipal() && (!in.ByDomains || len(in.Names) > 0) {
		return nil, nil, problem.New(problem.Unauthorized, "only an operator makes a key whose accounts are not held to its domains (gatehouse eab add)")
	}
	if err := x.room(ctx, org); err != nil {
		return nil, nil, err
	}
	now := x.Now().UTC().Truncate(time.Second)
	k := &EABKey{
		ID: rand.Text(), Org: org.ID, Label: in.Label, Profiles: slices.Clone(in.Profiles), Names: slices.Clone(in.Names), ByDomains: in.ByDomains, Reusable: in.Reusable, Created: now,
	}
	if in.Lifetime > 0 {
		k.Expires = now.Add(in.Lifetime).Truncate(time.Second)
	}
	mac := make([]byte, macSize)
	rand.Read(mac)
	if k.Sealed, err = x.Sealer.Seal(ctx, seal.EABKey, k.ID, mac); err != nil {
		return nil, nil, err
	}
	for attempt := 1; ; attempt++ {
		if k.Number, err = x.Store.NextEABNumber(ctx); err == nil {
			err = x.put(ctx, caller, audit.EABKeyMade, k, x.Store.CreateEABKey)
		}
		if problem.Is(err, problem.Conflict) && attempt < maxChanges {
			continue // another key has the number, which a store that went back had given anew
		}
		if err != nil {
			clear(mac)
			return nil, nil, err
		}
		return k, mac, nil
	}
}

// room refuses one key more than an organisation can have.
func (x *ExternalAccounts) room(ctx context.Context, org Org) error {
	_, count, err := x.Store.EABKeysOf(ctx, org.ID, 0, 1)
	if err == nil && count >= MaxEABKeys {
		err = problem.New(problem.Conflict, "the organisation %s has %d external account binding keys, and no more can be made; remove some", org.Slug, count)
	}
	return err
}

// org finds the organisation of a key to be made, as the store has it now. One that does not work has no use for a key, and one
// that the caller may not view is none.
func (x *ExternalAccounts) org(ctx context.Context, caller Caller, slug string) (Org, error) {
	if err := x.Directory.Refresh(ctx); err != nil {
		return Org{}, err
	}
	now := x.Directory.current.Load()
	o := now.bySlug[slug]
	if o == nil {
		return Org{}, noOrg(slug)
	}
	if err := x.Directory.May(caller, ManageKeys, o.ID); problem.Is(err, problem.NotFound) {
		return Org{}, noOrg(slug)
	} else if err != nil {
		return Org{}, err
	}
	if err := now.works(o); err != nil {
		return Org{}, problem.New(problem.Conflict, "%v; enable it first (gatehouse org enable)", err)
	}
	return *o, nil
}

func (x *ExternalAccounts) check(org Org, in NewEABKey) error {
	if err := checkLine("the name (label)", in.Label, maxEABLabel); err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	if len(in.Names) > maxEABNames {
		return problem.New(problem.Malformed, "%d patterns of names are given; at most %d can be", len(in.Names), maxEABNames)
	}
	if in.Lifetime < 0 || in.Lifetime > 0 && in.Lifetime < time.Minute {
		return problem.New(problem.Malformed, "a key lives for a minute at least; give for example 30d, or nothing for one that does not expire")
	}
	if len(in.Names) > 0 {
		if err := x.CheckNames(in.Names); err != nil {
			return problem.Wrap(err, problem.Malformed, "%v", err)
		}
	}
	return checkProfiles(in.Profiles, x.Directory.knows, func(p string) error {
		if !x.Directory.Allowed(org.ID, p) {
			return problem.New(problem.Malformed, "profile %q: the organisation %s may not use it", p, org.Slug)
		}
		return nil
	})
}

// put writes a key to store and journal.
func (x *ExternalAccounts) put(ctx context.Context, caller Caller, kind audit.Kind, k *EABKey, write func(context.Context, *EABKey) (Note, error)) error {
	note, err := write(ctx, k)
	if err != nil {
		return err
	}
	event, err := eabEvent(kind, k, caller.Principal, x.Now())
	if err != nil {
		return err
	}
	return x.record.append(ctx, note, event)
}

// Revoke ends a key: no further account is bound by it. Accounts that were bound by it go on. To revoke it again changes
// nothing.
func (x *ExternalAccounts) Revoke(ctx context.Context, caller Caller, id string) (EABState, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	before := false
	k, err := x.edit(ctx, caller, id, func(k *EABKey) (bool, error) {
		if before = !k.Revoked.IsZero(); before {
			return false, nil
		}
		k.Revoked = x.Now().UTC().Truncate(time.Second)
		return true, nil
	})
	if err == nil && before { // perhaps by a call whose entry the journal did not take; one more says the same
		err = x.tell(ctx, caller, k)
	}
	if err != nil {
		return EABState{}, err
	}
	return x.state(ctx, k)
}

// tell gives the journal a key as the store has it.
func (x *ExternalAccounts) tell(ctx context.Context, caller Caller, k *EABKey) error {
	event, err := eabEvent(audit.EABKeyEdited, k, caller.Principal, x.Now())
	if err != nil {
		return err
	}
	if err := x.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the change is in the store, and the journal cannot be written; try again")
	}
	return nil
}

// edit changes a key as it stands, for an operator.
func (x *ExternalAccounts) edit(ctx context.Context, caller Caller, id string, change func(*EABKey) (bool, error)) (*EABKey, error) {
	if err := onlyOperator(caller); err != nil {
		return nil, err
	}
	if !validEABID(id) {
		return nil, noEABKey(id)
	}
	return x.change(ctx, caller, id, change)
}

// change changes a key as it stands, for whoever may do that. If nothing is to be changed it says what there is.
func (x *ExternalAccounts) change(ctx context.Context, caller Caller, id string, change func(*EABKey) (bool, error)) (*EABKey, error) {
	for attempt := 1; ; attempt++ {
		old, err := x.Store.EABKey(ctx, id)
		if err != nil {
			return nil, err
		}
		k := *old
		changed, err := change(&k)
		if err != nil || !changed {
			return old, err
		}
		k.Edits++
		err = x.put(ctx, caller, audit.EABKeyEdited, &k, x.Store.UpdateEABKey)
		if !problem.Is(err, problem.Conflict) || attempt == maxChanges {
			return &k, err
		}
	}
}

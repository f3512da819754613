package auth

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// PrincipalsConfig is what Principals needs. All but Sealer, Argon2, Hashes, HashWait, Now and Log are required.
type PrincipalsConfig struct {
	Directory *Directory // over Store
	Store     Store
	Sealer    *seal.Sealer // nil: no password can be set
	Journal   Journal
	Argon2    Argon2           // what a hash of a password costs; zero: its default
	Hashes    int              // how many hashes of passwords are made at once; default 4
	HashWait  time.Duration    // how long one waits for its turn; default 5 s
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: discarded
}

// Principals makes and changes principals and their credentials, on behalf of whoever may manage those of their home. What it
// acknowledged is in store and journal. It is safe for concurrent use, in any number of processes.
type Principals struct {
	PrincipalsConfig
	record recorder
	hashes *hashing
}

// NewPrincipals makes Principals. Argon2 parameters that [Argon2.Check] refuses are an error.
func NewPrincipals(c PrincipalsConfig) (*Principals, error) {
	if err := c.Argon2.Check(); err != nil {
		return nil, err
	}
	c.Argon2 = c.Argon2.orDefault()
	c.Hashes, c.HashWait = cmp.Or(c.Hashes, 4), cmp.Or(c.HashWait, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Principals{PrincipalsConfig: c, record: newRecorder(c.Store, c.Journal, c.Now, c.Log), hashes: newHashing(c.Hashes, c.HashWait)}, nil
}

// NewPrincipal is a principal to be made.
type NewPrincipal struct {
	Org      string // slug of its home
	Login    string // unique, without regard to case, below the organisation above its home that has no parent
	Name     string
	Mail     string
	Grants   []NamedGrant // at its home or below
	Lifetime time.Duration
}

// NamedGrant is a grant at an organisation by its slug; "" is the principal's home.
type NamedGrant struct {
	Org  string
	Role Role
}

// PrincipalEdit is a change of a principal. What is nil or empty stays.
type PrincipalEdit struct {
	Name     *string
	Mail     *string
	Grant    []NamedGrant
	Withdraw []NamedGrant
	Lifetime *time.Duration // from now; zero: it does not expire
	Disabled *bool
}

// Add makes a principal without a password or credentials. Errors are Malformed, NotFound, Unauthorized or Conflict with what
// to change, and Unavailable.
func (x *Principals) Add(ctx context.Context, caller Caller, in NewPrincipal) (*Principal, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	home, err := x.org(ctx, caller, in.Org)
	if err != nil {
		return nil, err
	}
	login, ok := foldLogin(in.Login)
	if !ok {
		return nil, problem.New(problem.Malformed, "login %q cannot be used; %s", in.Login, loginForm)
	}
	p := &Principal{Org: home.ID, Customer: x.Directory.Customer(home.ID), Login: login, Name: in.Name, Mail: in.Mail, Created: x.second()}
	if p.Expires, err = x.end(in.Lifetime); err != nil {
		return nil, err
	}
	if p.Grants, err = x.grants(p, in.Grants); err != nil {
		return nil, err
	}
	if err := checkPrincipal(p); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if _, err := x.Store.PrincipalByLogin(ctx, p.Customer, login); !problem.Is(err, problem.NotFound) {
			if err == nil {
				err = problem.New(problem.Conflict, "the login %q is another principal's; choose another", login)
			}
			return nil, err
		}
		p.ID = newPrincipalID()
		note, err := x.Store.CreatePrincipal(ctx, p)
		if problem.Is(err, problem.Conflict) && attempt < maxChanges {
			continue // somebody was quicker, or the number is taken
		}
		if err != nil {
			return nil, err
		}
		return p, x.journal(ctx, caller, note, audit.PrincipalMade, p, "was made")
	}
}

func (x *Principals) journal(ctx context.Context, caller Caller, note Note, kind audit.Kind, p *Principal, what string) error {
	event, err := principalEvent(kind, p, caller.Principal, what, x.Now())
	if err != nil {
		return err
	}
	return x.record.append(ctx, note, event)
}

// org finds an organisation as the store has it now, whose principals the caller may manage.
func (x *Principals) org(ctx context.Context, caller Caller, slug string) (Org, error) {
	if err := x.Directory.Refresh(ctx); err != nil {
		return Org{}, err
	}
	o := x.Directory.current.Load().bySlug[slug]
	if o == nil {
		return Org{}, noOrg(slug)
	}
	if err := x.Directory.May(caller, ManagePrincipals, o.ID); err != nil {
		if problem.Is(err, problem.NotFound) {
			return Org{}, noOrg(slug)
		}
		return Org{}, err
	}
	return *o, nil
}

// grants reads named grants of a principal, which are at its home or below.
func (x *Principals) grants(p *Principal, named []NamedGrant) (list []Grant, err error) {
	now := x.Directory.current.Load()
	for _, g := range named {
		id := p.Org
		if g.Org != "" {
			o := now.bySlug[g.Org]
			if o == nil || !now.within(o, p.Org) {
				return nil, problem.New(problem.Malformed, "role at %q: there is no such organisation at or below the principal's home", g.Org)
			}
			id = o.ID
		}
		if _, ok := roleNames[g.Role]; !ok {
			return nil, problem.New(problem.Malformed, "the role is unknown; give %s", RoleWords())
		}
		list = append(list, Grant{id, g.Role})
	}
	return sortGrants(list), nil
}

func checkPrincipal(p *Principal) error {
	if err := checkLine("the name", p.Name, maxName); err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	if p.Mail != "" {
		if err := checkMail(p.Mail); err != nil {
			return problem.New(problem.Malformed, "%v", err)
		}
	}
	if len(p.Grants) > maxGrants {
		return problem.New(problem.Malformed, "the principal would have %d roles; at most %d are possible: give them further up in the tree", len(p.Grants), maxGrants)
	}
	return nil
}

func (x *Principals) second() time.Time { return x.Now().UTC().Truncate(time.Second) }

// end is when something ends that lives for a time; zero is for ever.
func (x *Principals) end(lifetime time.Duration) (time.Time, error) {
	switch {
	case lifetime == 0:
		return time.Time{}, nil
	case lifetime < time.Minute:
		return time.Time{}, problem.New(problem.Malformed, "it lives for a minute at least; give for example 30d, or nothing for what does not expire")
	default:
		return x.second().Add(lifetime).Truncate(time.Second), nil
	}
}

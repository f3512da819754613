package ra

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// domainChange bounds a change that was begun: it is finished even if whoever asked hangs up.
	domainChange = 15 * time.Second
	// maxDomainTries bounds how often a change is tried on what is then there. Each time but the last another one came first.
	maxDomainTries = 20
	// MaxDelegations is how many organisations one domain can be delegated to.
	MaxDelegations = 200
)

// DomainsConfig is what Domains needs. All but Target, Now and Log are required.
type DomainsConfig struct {
	Store     DomainStore
	Directory *auth.Directory
	Profiles  map[string]*policy.Profile
	Validator DomainValidator
	Journal   DomainJournal
	// Target is the DNS name below which the targets of CNAME records are made: a name of the gateway's own. They need not exist.
	// Empty: nothing is validated by CNAME.
	Target string
	Email  *EmailConfig     // nil: nothing is validated by e-mail
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: discarded
}

// DomainValidator proves control over a name (dcv.Validator).
type DomainValidator interface {
	Check(ctx context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error)
}

// DomainJournal is the audit journal: durable on return, or an error.
type DomainJournal interface {
	Append(ctx context.Context, events ...audit.Event) error
}

// Domains are the domains of organisations: who owns them, whom they are delegated to, and what proves control of them. What
// it acknowledged is in store and journal. It is safe for concurrent use, in any number of processes.
type Domains struct {
	DomainsConfig
}

// NewDomains makes Domains.
func NewDomains(c DomainsConfig) *Domains {
	if c.Email != nil {
		email := *c.Email
		email.Lifetime = min(cmp.Or(email.Lifetime, DefaultEmailLifetime), MaxEmailLifetime)
		c.Email = &email
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Domains{c}
}

// noDomain is the answer for a name that is nobody's, and for one of an organisation that the caller does not see.
func noDomain(name identifier.Identifier) error {
	return problem.New(problem.NotFound, "there is no domain %s", name.Value())
}

// may holds a caller to the rights on objects of an organisation. Who may not even see it hears that there is no such domain.
func (m *Domains) may(caller auth.Caller, action auth.Action, org auth.OrgID, name identifier.Identifier) error {
	err := m.Directory.May(caller, action, org)
	if problem.Is(err, problem.NotFound) {
		return noDomain(name)
	}
	return err
}

// ParseDomain reads a domain's name, or says (Malformed) why it is none.
func ParseDomain(text string) (identifier.Identifier, error) {
	name, err := identifier.ParseDNS(text)
	switch {
	case err != nil:
		return name, problem.New(problem.Malformed, "domain: %v", err)
	case name.IsWildcard():
		return name, problem.New(problem.Malformed, "domain: %s is a wildcard name; give %s, whose proof by DNS covers it", name.Value(), name.Base().Value())
	case name.IsPublicSuffix():
		return name, problem.New(problem.Malformed, "domain: %s is a public suffix, which nobody owns; give a name below it", name.Value())
	}
	return name, nil
}

// org finds the organisation of a slug.
func (m *Domains) org(slug string) (auth.Org, error) {
	o, ok := m.Directory.BySlug(slug)
	if !ok {
		return o, noOrg(slug)
	}
	return o, nil
}

// orgOf is org for a caller who may do something there. One that the caller may not know of is none.
func (m *Domains) orgOf(caller auth.Caller, slug string, action auth.Action) (auth.Org, error) {
	o, err := m.org(slug)
	if err != nil {
		return o, err
	}
	if err := m.Directory.May(caller, action, o.ID); problem.Is(err, problem.NotFound) {
		return auth.Org{}, noOrg(slug)
	} else if err != nil {
		return auth.Org{}, err
	}
	return o, nil
}

func noOrg(slug string) error {
	return problem.New(problem.NotFound, "there is no organisation with the slug %q that works; gatehouse org list shows them", slug)
}

// Add gives a domain that is nobody's to an organisation. Conflict if it is another's, or its own already.
func (m *Domains) Add(ctx context.Context, caller auth.Caller, domain, slug string) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	org, err := m.orgOf(caller, slug, auth.ManageDomains)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, name, caller.Principal, "added", func(d *Domain) (*Domain, error) {
		if d != nil && d.Removed.IsZero() {
			return nil, problem.New(problem.Conflict, "the domain %s has an owner already; it must be removed there first", name.Value())
		}
		return &Domain{Name: name, Org: org.ID, Created: m.second()}, nil
	})
}

// Remove takes a domain from its owner, with its proof and delegations. Nothing is issued on its proof from then on; what was
// issued stays.
func (m *Domains) Remove(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "removed", func(d *Domain) error {
		*d = Domain{Name: d.Name, Number: d.Number, Org: d.Org, Created: d.Created, Removed: m.second(), Edits: d.Edits, Version: d.Version}
		return nil
	})
}

// Get reads a domain for whoever may view its owner, or an organisation in whose list it stands.
func (m *Domains) Get(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	found, err := m.Store.Domains(ctx, []identifier.Identifier{name})
	if err != nil {
		return nil, err
	}
	d := found[0]
	if d == nil {
		return nil, noDomain(name)
	}
	if !m.sees(caller, d) {
		return nil, noDomain(name)
	}
	return m.shown(ctx, caller, d)
}

// sees reports whether a caller may know of a domain: who may view its owner, or an organisation in whose list it stands.
func (m *Domains) sees(caller auth.Caller, d *Domain) bool {
	return slices.ContainsFunc(d.Lists(), func(org auth.OrgID) bool { // of a removed one there are none
		return m.Directory.May(caller, auth.View, org) == nil
	})
}

// seenBy is a domain without what is other organisations': whoever may not view the owner sees its own delegation alone, and
// not what is to be published, or who was sent mail.
func (m *Domains) seenBy(caller auth.Caller, d *Domain) *Domain {
	if m.Directory.May(caller, auth.View, d.Org) == nil {
		return d
	}
	c := d.clone()
	c.Validation, c.Email = nil, nil
	if c.Proof != nil { // where it was found says all that
		p := *c.Proof
		p.Seen, c.Proof = "", &p
	}
	c.Delegations = slices.DeleteFunc(c.Delegations, func(l Delegation) bool { return m.Directory.May(caller, auth.View, l.Org) != nil })
	return c
}

// List lists domains by name: those that an organisation owns, that are delegated to it or that it wants, or with no slug, for
// operators, all. The page begins behind a name, and has 1 to 500.
func (m *Domains) List(ctx context.Context, caller auth.Caller, slug, after string, limit int) ([]*Domain, error) {
	if limit < 1 || limit > 500 {
		return nil, problem.New(problem.Malformed, "limit is %d; give 1 to 500", limit)
	}
	if len(after) > 253 {
		return nil, problem.New(problem.Malformed, "after is no domain's name")
	}
	var org auth.OrgID
	switch {
	case slug != "":
		o, err := m.orgOf(caller, slug, auth.View)
		if err != nil {
			return nil, err
		}
		org = o.ID
	case !caller.Operator:
		return nil, problem.New(problem.Unauthorized, "only an operator lists the domains of all organisations; name one")
	}
	found, err := m.Store.ListDomains(ctx, org, after, limit)
	if err != nil {
		return nil, err
	}
	return m.showAll(ctx, caller, found)
}

// edit changes a domain that is there, for whoever manages those of its owner.
func (m *Domains) edit(ctx context.Context, caller auth.Caller, domain, what string, apply func(*Domain) error) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, name, caller.Principal, what, func(d *Domain) (*Domain, error) {
		if d == nil || !d.Removed.IsZero() {
			return nil, noDomain(name)
		}
		if err := m.may(caller, auth.ManageDomains, d.Org, name); err != nil {
			return nil, err
		}
		next := d.clone()
		return next, apply(next)
	})
}

// change makes a change that the journal is told of, again on what is then there if another one came first. apply gets nil
// if there never was such a domain.
func (m *Domains) change(ctx context.Context, name identifier.Identifier, actor, what string, apply func(*Domain) (*Domain, error)) (*Domain, error) {
	return m.changeMailing(ctx, name, actor, what, func(d *Domain) (*Domain, []*Mail, error) {
		next, err := apply(d)
		return next, nil, err
	})
}

// changeMailing is change with mails that are recorded in the same commit.
func (m *Domains) changeMailing(ctx context.Context, name identifier.Identifier, actor, what string, apply func(*Domain) (*Domain, []*Mail, error)) (*Domain, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), domainChange)
	defer cancel()
	for try := 1; ; try++ {
		found, err := m.Store.Domains(ctx, []identifier.Identifier{name})
		if err != nil {
			return nil, err
		}
		next, mails, err := apply(found[0])
		if errors.Is(err, errUnchanged) {
			return found[0], nil
		}
		if err == nil {
			err = m.number(ctx, next, found[0])
		}
		if err != nil {
			return nil, err
		}
		at := m.Now().UTC().Truncate(time.Millisecond)
		next.Edits = at.UnixMilli()
		if found[0] != nil {
			next.Edits = max(next.Edits, found[0].Edits+1)
		}
		err = m.Store.PutDomain(ctx, next, found[0], at, mails...)
		if problem.Is(err, problem.Conflict) && try < maxDomainTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		return next, m.journal(ctx, next, actor, what, DomainNote{Name: name, At: at})
	}
}

// errUnchanged says of a change that everything is as it was to be: nothing is recorded.
var errUnchanged = errors.New("ra: the domain is so already")

func (m *Domains) second() time.Time { return m.Now().UTC().Truncate(time.Second) }

package auth

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Ref names a principal: by its number, or by its login and a customer's slug, "" being the organisation of /acme/directory.
type Ref struct {
	ID       PrincipalID
	Login    string
	Customer string
}

// find reads a principal that the caller may manage; one that it may not looks absent.
func (x *Principals) find(ctx context.Context, caller Caller, ref Ref) (*Principal, error) {
	p, err := x.read(ctx, ref)
	if err == nil && x.Directory.May(caller, ManagePrincipals, p.Org) != nil {
		err = errNoPrincipal
	}
	return p, err
}

var errNoPrincipal = problem.New(problem.NotFound, "there is no such principal; gatehouse user list shows them, and --customer names whose login it is")

func (x *Principals) read(ctx context.Context, ref Ref) (p *Principal, err error) {
	id := ref.ID
	if id == 0 {
		login, ok := foldLogin(ref.Login)
		customer, known := x.Directory.customerBySlug(ref.Customer)
		if !ok || !known {
			return nil, errNoPrincipal
		}
		id, err = x.Store.PrincipalByLogin(ctx, customer, login)
	}
	if err == nil {
		p, err = x.Store.Principal(ctx, id)
	}
	if problem.Is(err, problem.NotFound) {
		err = errNoPrincipal
	}
	return p, err
}

// change changes a principal as it stands. decide changes the copy it is given, says in a few words what it did, "" for
// nothing.
func (x *Principals) change(ctx context.Context, caller Caller, ref Ref, decide func(*Principal) (what string, err error)) (*Principal, error) {
	for attempt := 1; ; attempt++ {
		old, err := x.find(ctx, caller, ref)
		if err != nil {
			return nil, err
		}
		p, err := x.put(ctx, caller, old, decide)
		if !problem.Is(err, problem.Conflict) || attempt == maxChanges || p == nil {
			return p, err
		}
	}
}

// put makes one change in place of old. A nil principal with a Conflict is decide's own; one that is not nil: somebody else
// was quicker.
func (x *Principals) put(ctx context.Context, caller Caller, old *Principal, decide func(*Principal) (string, error)) (*Principal, error) {
	p := old.clone()
	what, err := decide(p)
	if err != nil {
		return nil, err
	}
	if what == "" {
		return old, nil
	}
	p.Edits++
	note, err := x.Store.UpdatePrincipal(ctx, old, p)
	if err != nil {
		return p, err
	}
	return p, x.journal(ctx, caller, note, audit.PrincipalEdited, p, what)
}

// Edit changes a principal. Errors are those of Add.
func (x *Principals) Edit(ctx context.Context, caller Caller, ref Ref, edit PrincipalEdit) (*Principal, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if err := x.Directory.Refresh(ctx); err != nil {
		return nil, err
	}
	return x.change(ctx, caller, ref, func(p *Principal) (string, error) {
		p.Name, p.Mail = *cmp.Or(edit.Name, &p.Name), *cmp.Or(edit.Mail, &p.Mail)
		given, err := x.grants(p, edit.Grant)
		if err != nil {
			return "", err
		}
		taken, err := x.grants(p, edit.Withdraw)
		if err != nil {
			return "", err
		}
		p.Grants = slices.DeleteFunc(sortGrants(append(p.Grants, given...)), func(g Grant) bool { return slices.Contains(taken, g) })
		if edit.Lifetime != nil {
			if p.Expires, err = x.end(*edit.Lifetime); err != nil {
				return "", err
			}
		}
		what := "was changed"
		if edit.Disabled != nil && *edit.Disabled != !p.Disabled.IsZero() {
			if p.Disabled, what = (time.Time{}), "was enabled"; *edit.Disabled {
				p.Disabled, what = x.second(), "was disabled"
			}
		}
		return what, checkPrincipal(p)
	})
}

// Get reads a principal and when its credentials were last used, in their order.
func (x *Principals) Get(ctx context.Context, caller Caller, ref Ref) (*Principal, []time.Time, error) {
	p, err := x.find(ctx, caller, ref)
	if err != nil || len(p.Credentials) == 0 {
		return p, nil, err
	}
	ids := make([]string, len(p.Credentials))
	for i, c := range p.Credentials {
		ids[i] = c.ID
	}
	used, err := x.Store.CredentialUsed(ctx, ids...)
	return p, used, err
}

// List gives a page of principals, newest first, of one organisation by its slug, or of all ("", for an operator), behind a
// cursor. The second result is the next page's cursor, "" at the end. limit is 1 to [MaxPrincipalPage].
func (x *Principals) List(ctx context.Context, caller Caller, slug, cursor string, limit int) ([]*Principal, string, error) {
	if limit < 1 || limit > MaxPrincipalPage {
		return nil, "", problem.New(problem.Malformed, "limit is %d; give 1 to %d", limit, MaxPrincipalPage)
	}
	var org OrgID
	if slug == "" {
		if err := onlyOperator(caller); err != nil {
			return nil, "", err
		}
	} else {
		o, err := x.org(ctx, caller, slug)
		if err != nil {
			return nil, "", err
		}
		org = o.ID
	}
	return x.Store.Principals(ctx, org, cursor, limit)
}

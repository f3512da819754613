package acme

import (
	"context"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// failuresAtOnce is how many failures one read of the list gives.
	failuresAtOnce = 200
	// maxFailuresRead bounds how many one query looks at; it then says where the next goes on.
	maxFailuresRead = 5000
)

// FailureQuery selects authorizations of which a validation failed. Filters that are set must all hold.
type FailureQuery struct {
	Org     auth.OrgID // zero: of every organisation that the caller sees
	Account AccountID
	Name    string // the identifier, exactly, "*." included
	After   string // continue behind this place of the list; "" from the newest
	Limit   int    // 1 to 1000
}

// FailureList is an answer: newest first.
type FailureList struct {
	Authorizations []*Authorization
	Next           string // where the list goes on; "" at its end
}

// ListedFailure is a failed authorization at its place in the list of failures.
type ListedFailure struct {
	Cursor        string
	Authorization *Authorization // nil: its record is gone
}

// Account reads an account for an operator. It is NotFound for everybody else, and if there is none.
func (s *Server) Account(ctx context.Context, caller auth.Caller, id AccountID) (*Account, error) {
	absent := problem.New(problem.NotFound, "there is no ACME account %q", id)
	if !caller.Operator || id == "" {
		return nil, absent
	}
	found, err := s.reread(ctx, Admission{Account: id})
	switch {
	case err != nil:
		return nil, err
	case found.Account == nil:
		return nil, absent
	}
	return found.Account, nil
}

// Failures lists failed authorizations for people: of the caller's own organisation, or for an operator of any. Errors are
// *problem.Error.
func (s *Server) Failures(ctx context.Context, caller auth.Caller, q FailureQuery) (FailureList, error) {
	if !caller.Operator {
		if caller.Org <= 0 || q.Org != 0 && q.Org != caller.Org {
			return FailureList{}, problem.New(problem.Unauthorized, "this organisation's authorizations are not the caller's to list")
		}
		q.Org = caller.Org
	}
	if q.Limit < 1 || q.Limit > 1000 {
		return FailureList{}, problem.New(problem.Malformed, "limit is %d; give 1 to 1000", q.Limit)
	}
	q.Name = strings.ToLower(q.Name)
	list := FailureList{Next: q.After}
	for looked := 0; looked < maxFailuresRead; {
		page, err := s.Store.Failures(ctx, q.Org, list.Next, failuresAtOnce)
		if err != nil {
			return FailureList{}, err
		}
		for i, f := range page {
			looked++
			list.Next = f.Cursor
			if q.matches(f.Authorization) {
				list.Authorizations = append(list.Authorizations, f.Authorization)
			}
			if len(list.Authorizations) == q.Limit {
				if i == len(page)-1 && len(page) < failuresAtOnce {
					list.Next = ""
				}
				return list, nil
			}
		}
		if len(page) < failuresAtOnce {
			list.Next = ""
			break
		}
	}
	return list, nil
}

func (q *FailureQuery) matches(a *Authorization) bool {
	return a != nil && (q.Account == "" || a.Account == q.Account) && (q.Name == "" || a.Name() == q.Name)
}

// Name is the identifier that an order has it by: "*." is in front of a wildcard's.
func (a *Authorization) Name() string {
	if a.Wildcard && a.Identifier.Type() == identifier.DNS {
		return "*." + a.Identifier.Value()
	}
	return a.Identifier.Value()
}

// Inspect reads an authorization for people, by its id, by its URL or by that of one of its challenges, as they stand in a
// client's log. One of an organisation that the caller does not see is as absent as one that does not exist.
func (s *Server) Inspect(ctx context.Context, caller auth.Caller, reference string) (*Authorization, error) {
	id, ok := authzIn(strings.TrimSpace(reference))
	if !ok {
		return nil, problem.New(problem.Malformed, "this is no authorization; give its id, its URL (…/acme/r/authz/…) or that of a challenge (…/acme/r/challenge/…)")
	}
	found, err := s.reread(ctx, Admission{Authz: id})
	if err != nil {
		return nil, err
	}
	if a := found.Authz; a != nil && caller.Sees(a.Org) {
		return a, nil
	}
	return nil, problem.New(problem.NotFound, "there is no authorization %s; records are kept for a day after they lapse, and for %d days after a failure", id, FailureDays)
}

// FailureDays is how many days the store keeps the record of a failed validation.
const FailureDays = 30

// authzIn finds the id in a reference.
func authzIn(reference string) (AuthzID, bool) {
	if i := strings.Index(reference, prefix); i >= 0 {
		t, ok := parseURL(reference[i:], "")
		return t.authz, ok && t.authz != ""
	}
	id, _, _ := strings.Cut(reference, ".")
	return AuthzID(id), isID(id)
}

// AuthorizationURL is where an authorization's account finds it.
func (s *Server) AuthorizationURL(id AuthzID) string { return s.links.authz(id) }

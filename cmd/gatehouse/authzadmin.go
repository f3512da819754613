package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// authzView is an ACME authorization as the operator's commands show it. It holds no token: those are their account's.
type authzView struct {
	ID           string          `json:"id"`
	URL          string          `json:"url"`
	Identifier   string          `json:"identifier"` // "*." in front of a wildcard's
	Type         string          `json:"type"`
	Account      string          `json:"account"`
	Org          int32           `json:"org"`
	Organisation string          `json:"organisation,omitempty"` // slug
	Profile      string          `json:"profile"`
	Status       string          `json:"status"`
	Created      time.Time       `json:"created"`
	Expires      time.Time       `json:"expires"`
	Deactivated  time.Time       `json:"deactivated,omitzero"`
	Challenges   []challengeView `json:"challenges"`
	Domain       *domainProof    `json:"domain,omitempty"`      // the proof that it was born valid by
	NotRequired  string          `json:"notRequired,omitempty"` // why it was born valid without one
}

// domainProof is the proof of a domain, and whose it is.
type domainProof struct {
	Domain string `json:"domain"`
	Owner  string `json:"owner"` // slug
	Method string `json:"method"`
	provenView
}

type challengeView struct {
	Method    string       `json:"method"`
	Status    string       `json:"status"`
	Begun     time.Time    `json:"begun,omitzero"`
	Due       time.Time    `json:"due,omitzero"` // when it is tried again unless it ends before
	Validated *provenView  `json:"validated,omitempty"`
	Failed    *failureView `json:"failed,omitempty"`
	Hindered  *failureView `json:"hindered,omitempty"` // the last attempt, which said nothing about the name
}

type provenView struct {
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Seen    string    `json:"seen,omitempty"`
	Secure  bool      `json:"dnssec"`
	CAASeen string    `json:"caa,omitempty"`
	CAAAt   time.Time `json:"caaAt,omitzero"`
}

type failureView struct {
	Kind   string          `json:"kind"`
	Detail string          `json:"detail"`
	At     time.Time       `json:"at"`
	Record json.RawMessage `json:"record,omitempty"` // dcv.Record
}

// failuresView is a page of failed authorizations.
type failuresView struct {
	Authorizations []authzView `json:"authorizations"`
	Next           string      `json:"next,omitempty"` // for --after
}

func viewFailure(f *acme.Failure) *failureView {
	if f == nil {
		return nil
	}
	v := &failureView{Kind: f.Kind.String(), Detail: f.Detail, At: f.At}
	if json.Valid(f.Record) {
		v.Record = f.Record
	}
	return v
}

func (a *admin) viewAuthz(z *acme.Authorization) authzView {
	v := authzView{
		ID: string(z.ID), URL: a.acme.AuthorizationURL(z.ID), Identifier: z.Name(), Type: string(z.Identifier.Type()), Account: string(z.Account),
		Org: int32(z.Org), Profile: z.Profile, Status: string(z.Status(a.now())), Created: z.Created, Expires: z.Expires, Deactivated: z.Deactivated,
		Challenges: []challengeView{},
	}
	if org, ok := a.organisations.ByID(z.Org); ok {
		v.Organisation = org.Slug
	}
	switch p := z.Given; {
	case p == nil:
	case p.Method == policy.NotRequired:
		v.NotRequired = p.Seen
	default:
		v.Domain = &domainProof{
			Domain: p.Identifier.Value(), Owner: a.slug(auth.OrgID(p.Owner)), Method: string(p.Method),
			provenView: provenView{At: p.At, Until: z.Expires, Seen: p.Seen, Secure: p.Secure},
		}
	}
	for i := range z.Challenges {
		c := &z.Challenges[i]
		cv := challengeView{Method: string(c.Method), Status: string(c.Status()), Begun: c.Begun, Due: c.Due, Failed: viewFailure(c.Failed), Hindered: viewFailure(c.Hindered)}
		if p := c.Proof; p != nil {
			cv.Validated = &provenView{At: p.At, Until: p.Until, Seen: p.Seen, Secure: p.Secure, CAASeen: p.CAA.Seen, CAAAt: p.CAA.At}
		}
		v.Challenges = append(v.Challenges, cv)
	}
	return v
}

// authzGet finds an authorization by whatever a client's log calls it.
func (a *admin) authzGet(caller auth.Caller, r *http.Request) (any, error) {
	z, err := a.acme.Inspect(r.Context(), caller, r.URL.Query().Get("of"))
	if err != nil {
		return nil, err
	}
	return a.viewAuthz(z), nil
}

// authzList reads what authzListCmd writes.
func (a *admin) authzList(caller auth.Caller, r *http.Request) (any, error) {
	v := r.URL.Query()
	q := acme.FailureQuery{Account: acme.AccountID(v.Get("account")), Name: v.Get("name"), Limit: 50}
	if err := number(v.Get("limit"), "limit", &q.Limit); err != nil {
		return nil, err
	}
	after, err := base64.RawURLEncoding.DecodeString(v.Get("after"))
	if err != nil {
		return nil, problem.New(problem.Malformed, "after is no place in the list; give what the page before said")
	}
	q.After = string(after)
	if slug := v.Get("org"); slug != "" {
		org, err := a.tenants.Get(r.Context(), caller, slug)
		if err != nil {
			return nil, err
		}
		q.Org = org.ID
	}
	found, err := a.acme.Failures(r.Context(), caller, q)
	if err != nil {
		return nil, err
	}
	list := failuresView{Authorizations: make([]authzView, 0, len(found.Authorizations)), Next: base64.RawURLEncoding.EncodeToString([]byte(found.Next))}
	for _, z := range found.Authorizations {
		list.Authorizations = append(list.Authorizations, a.viewAuthz(z))
	}
	return list, nil
}

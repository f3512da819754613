package main

import (
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// requestView is a request that people decide, as the operator's commands show it.
type requestView struct {
	enrollmentView
	Required  int            `json:"required"`        // how many approvals the profile demands; zero: it is gone
	Role      string         `json:"role,omitempty"`  // who may give them
	Lapses    time.Time      `json:"lapses,omitzero"` // when it ends undecided, or unused
	Approvals []approvalView `json:"approvals"`
	Renews    bool           `json:"renews,omitempty"` // it renews what was approved, and needs none
	Decliner  string         `json:"declinedBy,omitempty"`
	Content   string         `json:"content,omitempty"` // what approvals are for, as the journal names it

	ValidateBy time.Time              `json:"validateBy,omitzero"` // while it waits for validation: when it lapses
	Challenges []requestChallengeView `json:"challenges,omitempty"`
	Canceller  string                 `json:"cancelledBy,omitempty"`
}

type approvalView struct {
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Message string    `json:"message,omitempty"`
}

// requestsView is a page of requests.
type requestsView struct {
	Requests []requestView `json:"requests"`
	Next     int64         `json:"next,omitempty"` // the last one's number, if there are more
}

// requestWord is what somebody says about a request.
type requestWord struct {
	Message string `json:"message,omitempty"`
}

func (a *admin) viewRequest(e *ra.Enrollment) requestView {
	v := requestView{enrollmentView: a.view(e), Approvals: []approvalView{}, Renews: e.Renews, Decliner: e.Decliner, Content: e.Content}
	if p, ok := a.registrar.Profile(e.Profile); ok {
		v.Required, v.Role = p.Approvals().Required, string(p.Approvals().Role)
	}
	if e.Phase == ra.Waiting || e.Phase == ra.Approved {
		v.Lapses = e.Due
	}
	v.Challenges, v.Canceller = viewChallenges(e), e.Canceller
	if e.Phase == ra.Validating {
		v.ValidateBy = e.ValidateBy
	}
	for _, given := range e.Approvals {
		v.Approvals = append(v.Approvals, approvalView{By: given.Approver, At: given.At, Message: given.Message})
	}
	return v
}

func (a *admin) requestList(caller auth.Caller, r *http.Request) (any, error) {
	limit, after := 100, 0
	for field, into := range map[string]*int{"limit": &limit, "after": &after} {
		if err := number(r.URL.Query().Get(field), field, into); err != nil {
			return nil, err
		}
	}
	var of auth.OrgID
	if slug := r.URL.Query().Get("org"); slug != "" {
		org, err := a.tenants.Get(r.Context(), caller, slug)
		if err != nil {
			return nil, err
		}
		of = org.ID
	}
	found, more, err := a.registrar.Waiting(r.Context(), caller, of, ra.ID(after), limit)
	if err != nil {
		return nil, err
	}
	list := requestsView{Requests: make([]requestView, 0, len(found))}
	for _, e := range found {
		list.Requests = append(list.Requests, a.viewRequest(e))
	}
	if more && len(found) > 0 {
		list.Next = int64(found[len(found)-1].ID)
	}
	return list, nil
}

func (a *admin) requestGet(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.numbered(caller, r)
	if err != nil {
		return nil, err
	}
	return a.viewRequest(e), nil
}

func (a *admin) requestApprove(caller auth.Caller, r *http.Request) (any, error) {
	return a.decide(caller, r, a.registrar.Approve)
}

func (a *admin) requestDecline(caller auth.Caller, r *http.Request) (any, error) {
	return a.decide(caller, r, a.registrar.Decline)
}

func (a *admin) decide(caller auth.Caller, r *http.Request, say decision) (any, error) {
	var in requestWord
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	id := 0
	if err := number(r.PathValue("id"), "id", &id); err != nil {
		return nil, err
	}
	e, err := say(r.Context(), caller, ra.ID(id), in.Message)
	if err != nil {
		return nil, err
	}
	return a.viewRequest(e), nil
}

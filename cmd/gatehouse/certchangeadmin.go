package main

import (
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// detailsView is what goes with an enrollment.
type detailsView struct {
	Comments             string         `json:"comments,omitempty"`
	ExternalRequesters   []string       `json:"externalRequesters,omitempty"`
	CustomFields         []fieldValue   `json:"customFields,omitempty"`
	AutoRenew            *autoRenewView `json:"autoRenew,omitempty"`
	SuspendNotifications bool           `json:"suspendNotifications,omitempty"`
	Locations            []locationView `json:"locations,omitempty"`
	RenewedManually      time.Time      `json:"renewedManually,omitzero"`
	ReplaceReason        string         `json:"replaceReason,omitempty"`
	RevokeFrom           time.Time      `json:"revokedAfterReplacement,omitzero"`
	Removed              time.Time      `json:"removed,omitzero"`
	Remover              string         `json:"removedBy,omitempty"`
}

type autoRenewView struct {
	Days     int       `json:"days"`
	Due      time.Time `json:"due,omitzero"`
	Attempts int       `json:"attempts,omitempty"` // that came to nothing
	Failure  string    `json:"failure,omitempty"`  // of the last of them
}

func viewDetails(e *ra.Enrollment) detailsView {
	v := detailsView{
		Comments: e.Comments, ExternalRequesters: e.ExternalRequesters, SuspendNotifications: e.SuspendNotifications,
		RenewedManually: e.RenewedManually, ReplaceReason: e.ReplaceReason, RevokeFrom: e.RevokeFrom, Removed: e.Removed, Remover: e.Remover,
	}
	for _, f := range e.CustomFields {
		v.CustomFields = append(v.CustomFields, fieldValue{f.Name, f.Value})
	}
	if e.AutoRenew.On {
		v.AutoRenew = &autoRenewView{Days: e.AutoRenew.Days, Due: e.RenewalDue(), Attempts: e.Trial.Attempts}
		if f := e.Trial.Failure; f != nil {
			v.AutoRenew.Failure = f.Detail
		}
	}
	for _, l := range e.Locations {
		v.Locations = append(v.Locations, locationView(l))
	}
	return v
}

// pathID is a number in the path.
func pathID(r *http.Request, name string) (int, error) {
	id := 0
	err := number(r.PathValue(name), name, &id)
	return id, err
}

// renewalWord asks to renew an enrollment.
type renewalWord struct {
	CSR []byte `json:"csr,omitempty"` // DER; absent: the one that is kept
}

func (a *admin) certRenew(caller auth.Caller, r *http.Request) (any, error) {
	var in renewalWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	e, err := a.registrar.Renew(r.Context(), caller, ra.RenewRequest{Door: ra.DoorConsole, ID: ra.ID(id), CSR: in.CSR})
	return a.viewOr(e, err)
}

// viewOr is the answer about an enrollment, or the error.
func (a *admin) viewOr(e *ra.Enrollment, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.view(e), nil
}

// renewedWord says that an enrollment was renewed elsewhere.
type renewedWord struct {
	By int64 `json:"by,omitempty"` // the enrollment that took its place; absent: none that is managed here
}

func (a *admin) certRenewed(caller auth.Caller, r *http.Request) (any, error) {
	var in renewedWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	if in.By < 0 || ra.ID(in.By) > ra.MaxID {
		return nil, problem.New(problem.Malformed, "by is %d; give the number of an enrollment", in.By)
	}
	e, err := a.registrar.MarkRenewed(r.Context(), caller, ra.ID(id), ra.ID(in.By))
	return a.viewOr(e, err)
}

// replacementWord asks for a certificate in place of another.
type replacementWord struct {
	CSR    []byte   `json:"csr"`             // DER
	Names  []string `json:"names,omitempty"` // absent: those of the one that is replaced
	Reason string   `json:"reason,omitempty"`
}

func (a *admin) certReplace(caller auth.Caller, r *http.Request) (any, error) {
	var in replacementWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	q := ra.ReplaceRequest{Door: ra.DoorConsole, ID: ra.ID(id), CSR: in.CSR, Reason: in.Reason}
	if len(in.Names) > policy.MaxNames {
		return nil, problem.New(problem.Malformed, "names are %d; at most %d are taken", len(in.Names), policy.MaxNames)
	}
	for _, text := range in.Names {
		name, err := identifier.ParseIP(text)
		if err != nil {
			name, err = identifier.ParseDNS(text)
		}
		if err != nil {
			return nil, problem.Wrap(err, problem.Malformed, "names: %v", err)
		}
		q.Names = append(q.Names, name)
	}
	e, err := a.registrar.Replace(r.Context(), caller, q)
	return a.viewOr(e, err)
}

func (a *admin) certRemove(caller auth.Caller, r *http.Request) (any, error) {
	id, err := pathID(r, "id")
	if err == nil {
		err = noBody(r)
	}
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.registrar.Remove(r.Context(), caller, ra.ID(id))
}

// detailsWord changes what goes with an enrollment; what is absent stays.
type detailsWord struct {
	Comments             *string       `json:"comments,omitempty"`
	ExternalRequesters   *[]string     `json:"externalRequesters,omitempty"`
	CustomFields         *[]fieldValue `json:"customFields,omitempty"`
	AutoRenewDays        *int          `json:"autoRenewDays,omitempty"` // before its end; zero: it does not renew itself
	SuspendNotifications *bool         `json:"suspendNotifications,omitempty"`
}

func (a *admin) certUpdate(caller auth.Caller, r *http.Request) (any, error) {
	var in detailsWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	c := ra.Changes{Comments: in.Comments, ExternalRequesters: in.ExternalRequesters, SuspendNotifications: in.SuspendNotifications}
	if in.CustomFields != nil {
		c.CustomFields = new([]policy.FieldValue{})
		for _, f := range *in.CustomFields {
			*c.CustomFields = append(*c.CustomFields, policy.FieldValue{Name: f.Name, Value: f.Value})
		}
	}
	if in.AutoRenewDays != nil {
		c.AutoRenew = &ra.AutoRenew{On: *in.AutoRenewDays != 0, Days: *in.AutoRenewDays}
	}
	e, err := a.registrar.Update(r.Context(), caller, ra.ID(id), c)
	return a.viewOr(e, err)
}

// revocationWord asks to revoke an enrollment's certificate.
type revocationWord struct {
	Reason  int    `json:"reason"`
	Comment string `json:"comment,omitempty"`
}

func (a *admin) certRevoke(caller auth.Caller, r *http.Request) (any, error) {
	var in revocationWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	e, err := a.registrar.RevokeEnrollment(r.Context(), caller, ra.ID(id), ca.Reason(in.Reason), in.Comment)
	return a.viewOr(e, err)
}

// revokedWord says that a certificate was revoked by whoever issued it.
type revokedWord struct {
	At      time.Time `json:"at,omitzero"` // absent: now
	Reason  int       `json:"reason"`
	Comment string    `json:"comment,omitempty"`
}

func (a *admin) certRevoked(caller auth.Caller, r *http.Request) (any, error) {
	var in revokedWord
	id, err := pathID(r, "id")
	if err == nil {
		err = readBody(r, &in)
	}
	if err != nil {
		return nil, err
	}
	e, err := a.registrar.MarkRevoked(r.Context(), caller, ra.ID(id), in.At, ca.Reason(in.Reason), in.Comment)
	return a.viewOr(e, err)
}

func (a *admin) certLineage(caller auth.Caller, r *http.Request) (any, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	found, err := a.registrar.Lineage(r.Context(), caller, ra.ID(id))
	if err != nil {
		return nil, err
	}
	list := listView{Total: int64(len(found)), Enrollments: make([]enrollmentView, 0, len(found))}
	for _, e := range found {
		list.Enrollments = append(list.Enrollments, a.view(e))
	}
	return list, nil
}

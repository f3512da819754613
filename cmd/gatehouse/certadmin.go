package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// enrollmentView is an enrollment as the operator's commands show it.
type enrollmentView struct {
	ID           int64           `json:"id"`
	Org          int32           `json:"org"`
	Door         string          `json:"door"`
	Requester    string          `json:"requester"`
	Profile      string          `json:"profile"`
	Names        []string        `json:"names"`
	Status       string          `json:"status"`
	Created      time.Time       `json:"created"`
	Issuer       string          `json:"issuer,omitempty"`
	Serial       string          `json:"serial,omitempty"`
	NotBefore    time.Time       `json:"notBefore,omitzero"`
	NotAfter     time.Time       `json:"notAfter,omitzero"`
	Fingerprint  string          `json:"sha256,omitempty"`
	Revocation   *revocationView `json:"revocation,omitempty"`
	Renewal      *renewalView    `json:"renewal,omitempty"` // with one enrollment alone, not in lists
	Failure      string          `json:"failure,omitempty"`
	Replaces     int64           `json:"replaces,omitempty"`
	ReplacedBy   int64           `json:"replacedBy,omitempty"`  // with one enrollment alone, not in lists
	KeyStored    time.Time       `json:"keyStored,omitzero"`    // since when its private key is kept here
	KeyDestroyed time.Time       `json:"keyDestroyed,omitzero"` // when the last one that was kept was destroyed
	detailsView
	PEM      string `json:"pem,omitempty"`
	Chain    string `json:"chain,omitempty"`    // PEM, the issuing CA first; with PEM
	Imported bool   `json:"imported,omitempty"` // issued elsewhere; Issuer is a distinguished name
	Agent    string `json:"agent,omitempty"`    // the operator who asked in the requester's name
}

type revocationView struct {
	At      time.Time `json:"at"`
	Reason  int       `json:"reason"`
	Actor   string    `json:"actor"`
	Comment string    `json:"comment,omitempty"`
}

func (a *admin) view(e *ra.Enrollment) enrollmentView {
	v := enrollmentView{
		ID: int64(e.ID), Org: int32(e.Org), Door: string(e.Door), Requester: e.Requester, Profile: e.Profile, Names: []string{},
		Status: string(e.Status(a.now())), Created: e.Created, Issuer: shownIssuer(e), Serial: string(e.Serial), Imported: e.Imported, Agent: e.Agent,
		NotBefore: e.NotBefore, NotAfter: e.NotAfter, Replaces: int64(e.Replaces), detailsView: viewDetails(e),
	}
	v.KeyStored, v.KeyDestroyed = e.KeyStored, e.KeyDestroyed
	for _, n := range e.Names {
		v.Names = append(v.Names, n.Value())
	}
	if e.Fingerprint != [32]byte{} {
		v.Fingerprint = hex.EncodeToString(e.Fingerprint[:])
	}
	if r := e.Revocation; r != nil {
		v.Revocation = &revocationView{At: r.At, Reason: int(r.Reason), Actor: r.Actor, Comment: r.Comment}
	}
	if e.Failure != nil {
		v.Failure = e.Failure.Detail
	}
	return v
}

func (a *admin) list(caller auth.Caller, r *http.Request) (any, error) {
	q, err := readQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	found, err := a.registrar.Search(r.Context(), caller, q)
	if err != nil {
		return nil, err
	}
	list := listView{Total: found.Total, Enrollments: make([]enrollmentView, 0, len(found.Enrollments))}
	for _, e := range found.Enrollments {
		list.Enrollments = append(list.Enrollments, a.view(e))
	}
	return list, nil
}

// listView is a page of enrollments and how many there are in all.
type listView struct {
	Total       int64            `json:"total"`
	Enrollments []enrollmentView `json:"enrollments"`
}

// readQuery reads what certListCmd writes.
func readQuery(v url.Values) (ra.Query, error) {
	q := ra.Query{
		Status: ra.Status(v.Get("status")), Profile: v.Get("profile"), Requester: v.Get("requester"), Name: v.Get("name"),
		Suffix: v.Get("suffix"), Newest: v.Get("order") != "oldest", Limit: 100,
	}
	after, org := 0, 0
	for field, into := range map[string]*int{"limit": &q.Limit, "offset": &q.Offset, "after": &after, "org": &org} {
		if err := number(v.Get(field), field, into); err != nil {
			return q, err
		}
	}
	q.After, q.Org = ra.ID(after), auth.OrgID(org)
	for field, into := range map[string]*time.Time{"from": &q.NotAfterFrom, "to": &q.NotAfterTo} {
		if text := v.Get(field); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return q, problem.New(problem.Malformed, "%s is %q; give a time such as 2027-01-31T00:00:00Z", field, text)
			}
			*into = t
		}
	}
	return q, nil
}

func number(text, field string, into *int) error {
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || int64(n) > int64(ra.MaxID) {
		return problem.New(problem.Malformed, "%s is %q; give a whole number", field, text)
	}
	*into = n
	return nil
}

func (a *admin) get(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.numbered(caller, r)
	if err != nil {
		return nil, err
	}
	return a.whole(r.Context(), e)
}

// numbered finds the enrollment whose number is in the path.
func (a *admin) numbered(caller auth.Caller, r *http.Request) (*ra.Enrollment, error) {
	id := 0
	if err := number(r.PathValue("id"), "id", &id); err != nil {
		return nil, err
	}
	return a.registrar.Get(r.Context(), caller, ra.ID(id))
}

func (a *admin) bySerial(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.one(caller, r)
	if err != nil {
		return nil, err
	}
	return a.whole(r.Context(), e)
}

// one finds the one enrollment of the serial in the path; an issuer in the query chooses where two have used a number.
func (a *admin) one(caller auth.Caller, r *http.Request) (*ra.Enrollment, error) {
	serial, err := ca.ParseSerial(r.PathValue("serial"))
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "%q is no serial: %v", r.PathValue("serial"), err)
	}
	found, err := a.registrar.BySerial(r.Context(), caller, serial)
	if err != nil {
		return nil, err
	}
	issuer := r.URL.Query().Get("issuer")
	var chosen *ra.Enrollment
	for _, e := range found {
		if issuer != "" && shownIssuer(e) != issuer {
			continue
		}
		if chosen != nil && shownIssuer(chosen) == shownIssuer(e) {
			return nil, problem.New(problem.Conflict, "enrollments %d and %d have both imported the certificate with serial %s; name one by its number", chosen.ID, e.ID, serial)
		}
		if chosen != nil {
			return nil, problem.New(problem.Conflict, "issuers %s and %s have both used serial %s; name one with --issuer", shownIssuer(chosen), shownIssuer(e), serial)
		}
		chosen = e
	}
	if chosen == nil {
		return nil, problem.New(problem.NotFound, "issuer %s has no certificate with serial %s", issuer, serial)
	}
	return chosen, nil
}

// whole is the view with the certificate itself and its successor.
func (a *admin) whole(ctx context.Context, e *ra.Enrollment) (any, error) {
	v := a.view(e)
	if e.Issued.IsZero() {
		return v, nil
	}
	next, err := a.registrar.ReplacedBy(ctx, e)
	if err != nil {
		return nil, err
	}
	v.ReplacedBy = int64(next)
	if e.Imported {
		der, issuers, err := a.registrar.ImportedCertificate(ctx, e)
		if err != nil {
			return nil, err
		}
		v.PEM, v.Chain = certificatesPEM(der), certificatesPEM(issuers...)
		return v, nil
	}
	c, err := a.certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return nil, err
	}
	v.Renewal = viewRenewal(c.Renewal)
	v.PEM, v.Chain = certificatesPEM(c.DER), string(a.chain(e.Issuer))
	return v, nil
}

// certificatesPEM writes certificates one after the other.
func certificatesPEM(ders ...[]byte) string {
	var out strings.Builder
	for _, der := range ders {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out.String()
}

// shownIssuer is an issuer of the configuration, or the distinguished name of who issued what was imported.
func shownIssuer(e *ra.Enrollment) string { return cmp.Or(e.Issuer, e.Authority) }

func (a *admin) revoke(caller auth.Caller, r *http.Request) (any, error) {
	var body revocationWord
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	e, err := a.one(caller, r)
	if err != nil {
		return nil, err
	}
	if e.Imported {
		return nil, problem.New(problem.Conflict, "certificate %s was imported; it is revoked where it was issued, by %s", e.Serial, e.Authority)
	}
	err = a.registrar.Revoke(r.Context(), caller, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Reason(body.Reason), Comment: body.Comment})
	if err != nil {
		return nil, err
	}
	e, err = a.registrar.Get(r.Context(), caller, e.ID)
	if err != nil {
		return nil, err
	}
	return a.view(e), nil
}

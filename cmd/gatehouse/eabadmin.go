package main

import (
	"encoding/base64"
	"math"
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// eabAdd is what eab add sends.
type eabAdd struct {
	Org      string   `json:"org"`
	Label    string   `json:"label,omitempty"`
	Profiles []string `json:"profiles,omitempty"`
	Names    []string `json:"names,omitempty"`
	Reusable bool     `json:"reusable,omitempty"`
	Seconds  int64    `json:"seconds,omitempty"` // until it expires; zero: it does not
}

func (a *admin) viewEAB(k auth.EABState) eabView {
	v := eabView{
		KID: k.ID, Org: k.OrgSlug, OrgID: int32(k.Org), Label: k.Label, Status: eabStatus(k.EABKey, a.now()), Profiles: k.Profiles, Names: k.Names,
		Reusable: k.Reusable, Created: k.Created, Expires: k.Expires, Revoked: k.Revoked, Accounts: k.Accounts, Bound: k.Bound,
		Number: k.Number, ByDomains: k.ByDomains, Domains: k.Domains, Removed: k.Removed,
	}
	return v
}

// eabStatus is a key's status in a word.
func eabStatus(k *auth.EABKey, now time.Time) string {
	switch {
	case k.Usable(now) == nil:
		return "usable"
	case !k.Removed.IsZero():
		return "removed"
	case !k.Revoked.IsZero():
		return "revoked"
	case k.Account != "":
		return "used"
	default:
		return "expired"
	}
}

func (a *admin) eabAdd(caller auth.Caller, r *http.Request) (any, error) {
	var in eabAdd
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	if in.Seconds < 0 || in.Seconds > int64(math.MaxInt64/time.Second) {
		return nil, problem.New(problem.Malformed, "seconds is %d, which is no lifetime", in.Seconds)
	}
	k, mac, err := a.external.Add(r.Context(), caller, auth.NewEABKey{
		Org: in.Org, Label: in.Label, Profiles: in.Profiles, Names: in.Names, Reusable: in.Reusable, Lifetime: time.Duration(in.Seconds) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	defer clear(mac)
	v := a.viewEAB(auth.EABState{EABKey: k, OrgSlug: in.Org})
	v.HMACKey = base64.RawURLEncoding.EncodeToString(mac)
	v.Directory, v.Note = a.binds(k.Org)
	return v, nil
}

// binds is a directory that looks at bindings by keys of an organisation. If there is none, what a client would get from the
// organisation's own is an account that nothing binds or narrows, so whoever makes a key must hear of it.
func (a *admin) binds(id auth.OrgID) (directory, note string) {
	org, _ := a.organisations.ByID(id)
	directory = a.publicURL + "/acme/in/" + org.Slug + "/directory"
	switch {
	case org.EAB != auth.EABOff:
		return directory, ""
	case a.acme.EAB != auth.EABOff:
		return a.publicURL + "/acme/directory", ""
	default:
		return directory, "no directory looks at this key now: eab is off for the organisation " + org.Slug +
			" and for /acme/directory, and accounts are made as if there were no key; set eab to optional or required first"
	}
}

func (a *admin) eabGet(caller auth.Caller, r *http.Request) (any, error) {
	k, err := a.external.Get(r.Context(), caller, r.PathValue("kid"))
	if err != nil {
		return nil, err
	}
	return a.viewEAB(k), nil
}

func (a *admin) eabList(caller auth.Caller, r *http.Request) (any, error) {
	at, err := readPlace(r)
	if err != nil {
		return nil, err
	}
	found, next, err := a.external.List(r.Context(), caller, at.org, at.after, at.limit)
	if err != nil {
		return nil, err
	}
	page := eabPage{Keys: make([]eabView, 0, len(found)), Next: named(next)}
	for _, k := range found {
		page.Keys = append(page.Keys, a.viewEAB(k))
	}
	return page, nil
}

func (a *admin) eabRevoke(caller auth.Caller, r *http.Request) (any, error) {
	if err := noBody(r); err != nil {
		return nil, err
	}
	k, err := a.external.Revoke(r.Context(), caller, r.PathValue("kid"))
	if err != nil {
		return nil, err
	}
	return a.viewEAB(k), nil
}

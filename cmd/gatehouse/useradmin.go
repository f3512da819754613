package main

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// userAdd is what user add sends.
type userAdd struct {
	Org     string     `json:"org"`
	Login   string     `json:"login"`
	Name    string     `json:"name,omitempty"`
	Mail    string     `json:"mail,omitempty"`
	Roles   []roleView `json:"roles,omitempty"`
	Seconds int64      `json:"seconds,omitempty"` // until it expires; zero: it does not
}

// userEdit is what user set, disable and enable send. What is absent stays.
type userEdit struct {
	Name     *string    `json:"name,omitempty"`
	Mail     *string    `json:"mail,omitempty"`
	Grant    []roleView `json:"grant,omitempty"`
	Withdraw []roleView `json:"withdraw,omitempty"`
	Seconds  *int64     `json:"seconds,omitempty"`
	Disabled *bool      `json:"disabled,omitempty"`
}

// userPassword is what user password sends: one of the three.
type userPassword struct {
	Password string `json:"password,omitempty"`
	Generate bool   `json:"generate,omitempty"`
	Remove   bool   `json:"remove,omitempty"`
}

// lifetime reads a number of seconds; zero is for ever.
func lifetime(seconds int64) (time.Duration, error) {
	if seconds < 0 || seconds > int64(math.MaxInt64/time.Second) {
		return 0, problem.New(problem.Malformed, "seconds is %d, which is no lifetime", seconds)
	}
	return time.Duration(seconds) * time.Second, nil
}

func namedGrants(list []roleView) ([]auth.NamedGrant, error) {
	var out []auth.NamedGrant
	for _, g := range list {
		role, ok := auth.ParseRole(g.Role)
		if !ok {
			return nil, problem.New(problem.Malformed, "role %q is not known; give %s", g.Role, auth.RoleWords())
		}
		out = append(out, auth.NamedGrant{Org: g.Org, Role: role})
	}
	return out, nil
}

// slugOf is an organisation's slug, its number if it has gone from the configuration.
func (a *admin) slugOf(id auth.OrgID) string {
	if o, ok := a.organisations.ByID(id); ok {
		return o.Slug
	}
	return fmt.Sprint(int(id))
}

func (a *admin) viewUser(p *auth.Principal, used []time.Time) userView {
	v := userView{
		ID: p.ID.String(), Login: p.Login, Customer: a.slugOf(p.Customer), Org: a.slugOf(p.Org), Name: p.Name, Mail: p.Mail, Status: "enabled",
		Roles: []roleView{}, Created: p.Created, Expires: p.Expires, Disabled: p.Disabled, PasswordChanged: p.Password.Changed, Credentials: []keyView{},
	}
	switch {
	case !p.Disabled.IsZero():
		v.Status = "disabled"
	case !p.Expires.IsZero() && !a.now().Before(p.Expires):
		v.Status = "expired"
	case a.organisations.Works(p.Org) != nil:
		v.Status = "stopped"
	}
	for _, g := range p.Grants {
		v.Roles = append(v.Roles, roleView{Org: a.slugOf(g.Org), Role: g.Role.String()})
	}
	for i, c := range p.Credentials {
		k := a.viewKey(p, c)
		if i < len(used) {
			k.Used = used[i]
		}
		v.Credentials = append(v.Credentials, k)
	}
	return v
}

// userRef names the principal in the path.
func userRef(r *http.Request) auth.Ref {
	return principalRef(r.PathValue("ref"), r.URL.Query().Get("customer"))
}

// principalRef reads user: and a number, or a login and the customer that it is in.
func principalRef(text, customer string) auth.Ref {
	if id, ok := auth.ParsePrincipalID(text); ok {
		return auth.Ref{ID: id}
	}
	return auth.Ref{Login: text, Customer: customer}
}

func (a *admin) userAdd(caller auth.Caller, r *http.Request) (any, error) {
	var in userAdd
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	grants, err := namedGrants(in.Roles)
	if err != nil {
		return nil, err
	}
	lives, err := lifetime(in.Seconds)
	if err != nil {
		return nil, err
	}
	p, err := a.principals.Add(r.Context(), caller, auth.NewPrincipal{Org: in.Org, Login: in.Login, Name: in.Name, Mail: in.Mail, Grants: grants, Lifetime: lives})
	if err != nil {
		return nil, err
	}
	return a.viewUser(p, nil), nil
}

func (a *admin) userList(caller auth.Caller, r *http.Request) (any, error) {
	at, err := readPlace(r)
	if err != nil {
		return nil, err
	}
	found, next, err := a.principals.List(r.Context(), caller, at.org, at.after, at.limit)
	if err != nil {
		return nil, err
	}
	page := userPage{Users: make([]userView, 0, len(found)), Next: named(next)}
	for _, p := range found {
		page.Users = append(page.Users, a.viewUser(p, nil))
	}
	return page, nil
}

func (a *admin) userGet(caller auth.Caller, r *http.Request) (any, error) {
	p, used, err := a.principals.Get(r.Context(), caller, userRef(r))
	if err != nil {
		return nil, err
	}
	return a.viewUser(p, used), nil
}

func (a *admin) userEdit(caller auth.Caller, r *http.Request) (any, error) {
	var in userEdit
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	edit := auth.PrincipalEdit{Name: in.Name, Mail: in.Mail, Disabled: in.Disabled}
	var err error
	if edit.Grant, err = namedGrants(in.Grant); err != nil {
		return nil, err
	}
	if edit.Withdraw, err = namedGrants(in.Withdraw); err != nil {
		return nil, err
	}
	if in.Seconds != nil {
		lives, err := lifetime(*in.Seconds)
		if err != nil {
			return nil, err
		}
		edit.Lifetime = &lives
	}
	p, err := a.principals.Edit(r.Context(), caller, userRef(r), edit)
	if err != nil {
		return nil, err
	}
	return a.viewUser(p, nil), nil
}

func (a *admin) userPassword(caller auth.Caller, r *http.Request) (any, error) {
	var in userPassword
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	if chosen := in.Password != ""; chosen && (in.Generate || in.Remove) || in.Generate && in.Remove || !chosen && !in.Generate && !in.Remove {
		return nil, problem.New(problem.Malformed, "give one of password, generate and remove")
	}
	if in.Remove {
		p, err := a.principals.RemovePassword(r.Context(), caller, userRef(r))
		if err != nil {
			return nil, err
		}
		return a.viewUser(p, nil), nil
	}
	password := in.Password
	if in.Generate {
		password = auth.NewPassword()
	}
	p, err := a.principals.SetPassword(r.Context(), caller, userRef(r), password)
	if err != nil {
		return nil, err
	}
	v := a.viewUser(p, nil)
	if in.Generate {
		v.Password = password
	}
	return v, nil
}

package main

import (
	"encoding/json"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// orgAdd is what org add sends.
type orgAdd struct {
	Slug     string   `json:"slug"`
	Name     string   `json:"name"`
	Parent   string   `json:"parent"`
	Profiles []string `json:"profiles"` // null: all
	EAB      string   `json:"eab"`      // empty: as the parent

	AllowNames []string `json:"allowNames,omitempty"`
	DenyNames  []string `json:"denyNames,omitempty"`
}

// orgEdit is what org set, disable and enable send. What is absent stays.
type orgEdit struct {
	Name     *string   `json:"name,omitempty"`
	Profiles *[]string `json:"profiles,omitempty"` // a list, or null in it: all
	EAB      *string   `json:"eab,omitempty"`
	Disabled *bool     `json:"disabled,omitempty"`

	AllowNames *[]string `json:"allowNames,omitempty"`
	DenyNames  *[]string `json:"denyNames,omitempty"`
}

// readEAB reads a mode; an empty word is zero.
func readEAB(word string) (auth.EABMode, error) {
	mode, ok := auth.ParseEABMode(word)
	if word != "" && !ok {
		return 0, problem.New(problem.Malformed, "eab is %q; give off, optional or required", word)
	}
	return mode, nil
}

func (a *admin) orgList(caller auth.Caller, r *http.Request) (any, error) {
	found, err := a.tenants.List(r.Context(), caller)
	if err != nil {
		return nil, err
	}
	list := make([]orgView, 0, len(found))
	for _, o := range found {
		list = append(list, viewOrg(o))
	}
	return list, nil
}

func (a *admin) orgGet(caller auth.Caller, r *http.Request) (any, error) {
	return a.org(caller, r, r.PathValue("slug"))
}

func (a *admin) org(caller auth.Caller, r *http.Request, slug string) (any, error) {
	o, err := a.tenants.Get(r.Context(), caller, slug)
	if err != nil {
		return nil, err
	}
	return viewOrg(o), nil
}

func (a *admin) orgAdd(caller auth.Caller, r *http.Request) (any, error) {
	var in orgAdd
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	mode, err := readEAB(in.EAB)
	if err != nil {
		return nil, err
	}
	o, err := a.tenants.Add(r.Context(), caller, auth.NewOrg{Slug: in.Slug, Name: in.Name, Parent: in.Parent, Profiles: in.Profiles, EAB: mode, AllowNames: in.AllowNames, DenyNames: in.DenyNames})
	if err != nil {
		return nil, err
	}
	return a.org(caller, r, o.Slug)
}

func (a *admin) orgEdit(caller auth.Caller, r *http.Request) (any, error) {
	// A null list is another thing here than no list.
	var raw struct {
		orgEdit
		Profiles json.RawMessage `json:"profiles"`
	}
	if err := readBody(r, &raw); err != nil {
		return nil, err
	}
	edit := auth.OrgEdit{Name: raw.Name, Disabled: raw.Disabled, AllowNames: raw.AllowNames, DenyNames: raw.DenyNames}
	if raw.Profiles != nil {
		edit.Profiles = new([]string)
		if err := json.Unmarshal(raw.Profiles, edit.Profiles); err != nil {
			return nil, problem.Wrap(err, problem.Malformed, "profiles is no list of names")
		}
	}
	if raw.EAB != nil {
		mode, err := readEAB(*raw.EAB)
		if err != nil {
			return nil, err
		}
		edit.EAB = &mode
	}
	o, err := a.tenants.Edit(r.Context(), caller, r.PathValue("slug"), edit)
	if err != nil {
		return nil, err
	}
	return a.org(caller, r, o.Slug)
}

package scm

import (
	"fmt"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// tenants are those of a world.
func (w *world) tenants(d *auth.Directory, r *ra.Registrar) *auth.Tenants {
	return auth.NewTenants(auth.TenantsConfig{
		Directory: d, Store: w.db, Journal: journal{}, CheckNames: func(_, _ []string) error { return nil }, Unused: r.Unused, Now: w.clock,
	})
}

// org has an organisation made by the operator. Its number is hidden as its slug in capital letters.
func (w *world) org(in auth.NewOrg, hidden string) auth.Org {
	w.t.Helper()
	o, err := w.Tenants.Add(w.t.Context(), operator, in)
	must(w.t, err)
	w.hides(fmt.Sprint(o.ID), hidden)
	return o
}

// storedOrgs are all organisations of the store, to see whether they change.
func (w *world) storedOrgs() string {
	w.t.Helper()
	list, _, err := w.db.Orgs(w.t.Context())
	must(w.t, err)
	text := ""
	for _, o := range list {
		text += fmt.Sprintf("%+v\n", *o)
	}
	return text
}

// refusals are exchanges that are refused, each with a status of 400 or more, and leave all organisations as they are.
func (w *world) refusals(t *testing.T, list []exchange) {
	t.Helper()
	before := w.storedOrgs()
	for _, x := range list {
		if rec := w.golden(x.name, x.login, x.method, x.path, x.body); rec.Code < 400 {
			t.Errorf("%s: status %d", x.name, rec.Code)
		}
	}
	if after := w.storedOrgs(); after != before {
		t.Errorf("refusals have changed\n%sto\n%s", before, after)
	}
}

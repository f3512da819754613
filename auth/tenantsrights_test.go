package auth_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// person is a principal at home in an organisation, with roles there and elsewhere.
func person(home auth.OrgID, grants ...auth.Grant) auth.Caller {
	return auth.Caller{Principal: "user:7", Org: home, Roles: grants}
}

func admin(home auth.OrgID) auth.Caller {
	return person(home, auth.Grant{Org: home, Role: auth.Administrator})
}

// customers is a world with two customers: corp, which may use tls alone and asks for keys, with east below it and far below that,
// and rival.
func customers(t *testing.T) (w *world, corp, east, far, rival auth.Org) {
	w = newWorld(t)
	corp = w.add(auth.NewOrg{Slug: "corp", Name: "Corp", Profiles: []string{"tls"}, EAB: auth.EABRequired})
	east = w.add(auth.NewOrg{Slug: "east", Name: "East", Parent: "corp"})
	far = w.add(auth.NewOrg{Slug: "far", Name: "Far", ParentID: east.ID})
	rival = w.add(auth.NewOrg{Slug: "rival", Name: "Rival"})
	w.tenants.Unused = func(context.Context, auth.OrgID) error { return nil }
	return w, corp, east, far, rival
}

// TestAdministratorMakesOrganisations below those where it is one, within what those may.
func TestAdministratorMakesOrganisations(t *testing.T) {
	t.Parallel()
	w, corp, east, _, _ := customers(t)
	details := auth.OrgDetails{Alias: "sales", ContactEmails: []string{"ann@example.com"}, Address1: "Street 1", City: "Town", Country: "DE"}
	o, err := w.tenants.Add(t.Context(), admin(corp.ID), auth.NewOrg{Name: "Sales & Support", ParentID: corp.ID, Details: details})
	must(t, err)
	if o.Slug != "corp-sales-support" || o.Parent != corp.ID || o.EAB != auth.EABRequired || o.Profiles != nil || !reflect.DeepEqual(o.Details, details) {
		t.Errorf("it is %+v", o)
	}
	if w.directory.Allowed(o.ID, "short") || !w.directory.Allowed(o.ID, "tls") {
		t.Error("it may use something else than what is above it")
	}
	again, err := w.tenants.Add(t.Context(), admin(corp.ID), auth.NewOrg{Name: "Sales & Support", ParentID: corp.ID})
	must(t, err)
	deeper, err := w.tenants.Add(t.Context(), admin(corp.ID), auth.NewOrg{Name: "x", Parent: east.Slug})
	must(t, err)
	if again.Slug != "corp-sales-support-2" || deeper.Slug != "east-x" {
		t.Errorf("the slugs are %s and %s", again.Slug, deeper.Slug)
	}
	events := w.journal.all()
	if e := events[len(events)-1]; e.Actor != "user:7" || e.Org != int32(deeper.ID) {
		t.Errorf("the journal has %+v", e)
	}
	edited, err := w.tenants.EditNumber(t.Context(), admin(corp.ID), o.ID, auth.OrgEdit{
		Name: new("Sales"), Profiles: &[]string{"tls"}, Details: &auth.OrgDetailsEdit{City: new(""), Country: new("AT"), ContactEmails: &[]string{}},
	})
	must(t, err)
	if d := edited.Details; edited.Name != "Sales" || edited.Slug != o.Slug || d.City != "" || d.Country != "AT" || len(d.ContactEmails) != 0 || d.Alias != "sales" {
		t.Errorf("after a change it is %+v", edited)
	}
	if got, want := readOrgs(t, w.replayed()), readOrgs(t, w.db); !reflect.DeepEqual(got, want) {
		t.Errorf("replayed:\n%+v\nwant\n%+v", got, want)
	}
}

// TestWhoChangesNoOrganisation: everybody else is refused, and neither store nor journal has anything of it.
func TestWhoChangesNoOrganisation(t *testing.T) {
	t.Parallel()
	w, corp, east, far, rival := customers(t)
	off := w.add(auth.NewOrg{Slug: "off", Parent: "corp"})
	w.edit("off", auth.OrgEdit{Disabled: new(true)})
	before, stored := len(w.journal.all()), readOrgs(t, w.db)
	mine := admin(corp.ID)
	others := person(corp.ID, auth.Grant{Org: corp.ID, Role: auth.Requester}, auth.Grant{Org: corp.ID, Role: auth.Approver}, auth.Grant{Org: corp.ID, Role: auth.Auditor})
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		in     auth.NewOrg
		kind   problem.Kind
		says   string
	}{
		{"at the top", mine, auth.NewOrg{Slug: "x"}, problem.Unauthorized, "only an operator"},
		{"below another customer", mine, auth.NewOrg{Name: "x", ParentID: rival.ID}, problem.Malformed, "there is no organisation"},
		{"below nothing", mine, auth.NewOrg{Name: "x", ParentID: 4711}, problem.Malformed, "there is no organisation 4711"},
		{"by slug below another customer", mine, auth.NewOrg{Slug: "x", Parent: "rival"}, problem.Malformed, "there is no organisation"},
		{"with a slug", mine, auth.NewOrg{Slug: "x", ParentID: corp.ID}, problem.Unauthorized, "chooses a slug"},
		{"laxer", mine, auth.NewOrg{Name: "x", ParentID: corp.ID, EAB: auth.EABOptional}, problem.Unauthorized, "eab"},
		{"wider", mine, auth.NewOrg{Name: "x", ParentID: corp.ID, Profiles: []string{"short"}}, problem.Malformed, "may not use"},
		{"below what is disabled", mine, auth.NewOrg{Name: "x", ParentID: off.ID}, problem.Conflict, "disabled"},
		{"with bad details", mine, auth.NewOrg{Name: "x", ParentID: corp.ID, Details: auth.OrgDetails{Country: "de"}}, problem.Malformed, "country"},
		{"without the role", others, auth.NewOrg{Name: "x", ParentID: corp.ID}, problem.Unauthorized, "administrator"},
		{"with the role elsewhere", person(corp.ID, auth.Grant{Org: east.ID, Role: auth.Administrator}), auth.NewOrg{Name: "x", ParentID: corp.ID}, problem.Malformed, "there is no"},
		{"beyond its home", person(east.ID, auth.Grant{Org: corp.ID, Role: auth.Administrator}), auth.NewOrg{Name: "x", ParentID: corp.ID}, problem.Malformed, "there is no"},
		{"an account", auth.Caller{Principal: "acme:a", Org: corp.ID, Roles: mine.Roles}, auth.NewOrg{Name: "x", ParentID: corp.ID}, problem.Unauthorized, "operator"},
		{"nobody", auth.Caller{}, auth.NewOrg{Slug: "X"}, problem.Unauthorized, "operator"},
	} {
		_, err := w.tenants.Add(t.Context(), tt.caller, tt.in)
		says(t, tt.name, err, tt.kind, tt.says)
	}
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		id     auth.OrgID
		edit   auth.OrgEdit
		kind   problem.Kind
		says   string
	}{
		{"a customer", mine, corp.ID, auth.OrgEdit{Name: new("x")}, problem.Unauthorized, "none above it"},
		{"another customer", mine, rival.ID, auth.OrgEdit{Name: new("x")}, problem.NotFound, "there is no organisation"},
		{"nothing", mine, 4711, auth.OrgEdit{Name: new("x")}, problem.NotFound, "there is no organisation 4711"},
		{"its own", admin(east.ID), east.ID, auth.OrgEdit{Name: new("x")}, problem.Unauthorized, "in one above it"},
		{"what is above it", admin(far.ID), east.ID, auth.OrgEdit{Name: new("x")}, problem.NotFound, "there is no organisation"},
		{"without the role", others, east.ID, auth.OrgEdit{Name: new("x")}, problem.Unauthorized, "administrator"},
		{"disabling", mine, east.ID, auth.OrgEdit{Disabled: new(true)}, problem.Unauthorized, "disables"},
		{"enabling", mine, off.ID, auth.OrgEdit{Disabled: new(false)}, problem.Unauthorized, "disables"},
		{"laxer", mine, east.ID, auth.OrgEdit{EAB: new(auth.EABOff)}, problem.Unauthorized, "eab"},
		{"wider", mine, east.ID, auth.OrgEdit{Profiles: &[]string{"short"}}, problem.Malformed, "may not use"},
		{"two lines", mine, east.ID, auth.OrgEdit{Details: &auth.OrgDetailsEdit{Alias: new("a\nb")}}, problem.Malformed, "alias"},
		{"an account", auth.Caller{Principal: "acme:a", Org: corp.ID, Roles: mine.Roles}, east.ID, auth.OrgEdit{Name: new("x")}, problem.Unauthorized, "operator"},
		{"a configured one", operator, 1, auth.OrgEdit{Name: new("x")}, problem.Conflict, "configuration file"},
	} {
		_, err := w.tenants.EditNumber(t.Context(), tt.caller, tt.id, tt.edit)
		says(t, "changing "+tt.name, err, tt.kind, tt.says)
		if tt.edit.Name != nil {
			_, err := w.tenants.Close(t.Context(), tt.caller, tt.id)
			says(t, "closing "+tt.name, err, tt.kind, tt.says)
		}
	}
	if n := len(w.journal.all()); n != before || !reflect.DeepEqual(readOrgs(t, w.db), stored) {
		t.Errorf("refusals left %d entries, or changed the store", n-before)
	}
}

// TestDetailsUnderANarrowedParent: an administrator, who sets no profiles, notes things of an organisation whose parent lost a profile that it
// names. It may not use that, and the one who sets profiles must set those that can be had.
func TestDetailsUnderANarrowedParent(t *testing.T) {
	t.Parallel()
	w, corp, east, _, _ := customers(t)
	w.edit("east", auth.OrgEdit{Profiles: &[]string{"tls"}})
	w.edit("corp", auth.OrgEdit{Profiles: &[]string{"short"}})
	o, err := w.tenants.EditNumber(t.Context(), admin(corp.ID), east.ID, auth.OrgEdit{Details: &auth.OrgDetailsEdit{City: new("Town")}})
	must(t, err)
	if o.Details.City != "Town" || w.directory.Allowed(east.ID, "tls") || w.directory.Allowed(east.ID, "short") {
		t.Errorf("it is %+v", o)
	}
	_, err = w.tenants.EditNumber(t.Context(), admin(corp.ID), east.ID, auth.OrgEdit{Profiles: &[]string{"tls"}})
	says(t, "what the parent lost", err, problem.Malformed, "may not use")
}

// TestClose: what is closed does nothing, is nobody's to change but the operator's, and comes back.
func TestClose(t *testing.T) {
	t.Parallel()
	w, corp, east, far, _ := customers(t)
	mine := admin(corp.ID)
	_, err := w.tenants.Close(t.Context(), mine, east.ID)
	says(t, "with another below it", err, problem.Conflict, "below this one")
	w.tenants.Unused = func(_ context.Context, id auth.OrgID) error {
		return problem.New(problem.Conflict, "organisation %d has a valid certificate", id)
	}
	_, err = w.tenants.Close(t.Context(), mine, far.ID)
	says(t, "with certificates", err, problem.Conflict, fmt.Sprintf("organisation %d has", far.ID))
	w.tenants.Unused = nil
	_, err = w.tenants.Close(t.Context(), mine, far.ID)
	says(t, "where nobody knows", err, problem.Conflict, "org disable far")
	if w.directory.Works(far.ID) != nil {
		t.Error("it does not work after refusals")
	}
	w.tenants.Unused = func(context.Context, auth.OrgID) error { return nil }
	closed, err := w.tenants.Close(t.Context(), mine, far.ID)
	must(t, err)
	if !closed.Closed.Equal(w.now) || !closed.Disabled.Equal(w.now) || w.directory.Works(far.ID) == nil || w.directory.Allowed(far.ID, "tls") {
		t.Errorf("it is %+v", closed)
	}
	// What it has is still seen by those above it.
	if err := w.directory.May(mine, auth.Revoke, far.ID); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"closed again": second(w.tenants.Close(t.Context(), mine, far.ID)), "changed": second(w.tenants.EditNumber(t.Context(), mine, far.ID, auth.OrgEdit{Name: new("x")})),
		"closed by an operator": second(w.tenants.Close(t.Context(), operator, far.ID)),
	} {
		says(t, name, err, problem.NotFound, "there is no organisation")
	}
	_, err = w.tenants.Add(t.Context(), mine, auth.NewOrg{Name: "x", ParentID: far.ID})
	says(t, "below it", err, problem.Conflict, "deleted")
	_, err = w.tenants.Close(t.Context(), mine, east.ID)
	must(t, err)
	if got, want := readOrgs(t, w.replayed()), readOrgs(t, w.db); !reflect.DeepEqual(got, want) {
		t.Errorf("replayed:\n%+v\nwant\n%+v", got, want)
	}
	w.now = w.now.Add(time.Hour)
	w.edit("east", auth.OrgEdit{Disabled: new(false)})
	if o := w.edit("far", auth.OrgEdit{Disabled: new(false)}); !o.Closed.IsZero() || !o.Disabled.IsZero() || w.directory.Works(far.ID) != nil {
		t.Errorf("opened again it is %+v", o)
	}
}

func second(_ auth.Org, err error) error { return err }

// TestMadeIsBounded: one customer's administrators do not use up the store.
func TestMadeIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := []auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "lab"}}
	for i := range auth.MaxMade {
		list = append(list, auth.Org{ID: auth.OrgID(10 + i), Slug: fmt.Sprint("o", i), Parent: 1})
	}
	w.open(list...)
	_, err := w.tenants.Add(t.Context(), admin(1), auth.NewOrg{Name: "x", ParentID: 10})
	says(t, "one too many", err, problem.Conflict, "only an operator makes more")
	_, err = w.tenants.Add(t.Context(), admin(2), auth.NewOrg{Name: "x", ParentID: 2})
	must(t, err)
	_, err = w.tenants.Add(t.Context(), operator, auth.NewOrg{Name: "x", ParentID: 10})
	must(t, err)
}

// TestWhere: what a caller may view, and nothing else, closed or not.
func TestWhere(t *testing.T) {
	t.Parallel()
	w, corp, east, far, rival := customers(t)
	_, err := w.tenants.Close(t.Context(), operator, far.ID)
	must(t, err)
	for name, tt := range map[string]struct {
		caller auth.Caller
		action auth.Action
		want   []auth.OrgID
	}{
		"an administrator":  {admin(corp.ID), auth.ManageOrganisations, []auth.OrgID{corp.ID, east.ID, far.ID}},
		"of a part":         {person(corp.ID, auth.Grant{Org: east.ID, Role: auth.Auditor}), auth.View, []auth.OrgID{east.ID, far.ID}},
		"without the right": {person(corp.ID, auth.Grant{Org: corp.ID, Role: auth.Auditor}), auth.Request, nil},
		"the other one":     {admin(rival.ID), auth.View, []auth.OrgID{rival.ID}},
		"nobody":            {auth.Caller{}, auth.View, nil},
	} {
		var got []auth.OrgID
		for _, o := range w.directory.Where(tt.caller, tt.action) {
			got = append(got, o.ID)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestOrgDetailsRefuse: what is too long or has a wrong form.
func TestOrgDetailsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for says1, d := range map[string]auth.OrgDetails{
		"alternativeName": {AlternativeName: strings.Repeat("ä", 1025)}, "alias": {Alias: "a\tb"}, "address1": {Address1: strings.Repeat("x", 129)},
		"address2": {Address2: strings.Repeat("x", 129)}, "address3": {Address3: "\xff"}, "city": {City: strings.Repeat("x", 33)}, "state": {State: strings.Repeat("x", 33)},
		"postalCode": {PostalCode: "01234567890"}, "country": {Country: "D"}, "capital": {Country: "d1"}, "20": {ContactEmails: make([]string, 21)},
		"of the form": {ContactEmails: []string{"nobody"}}, "octets together": {AlternativeName: strings.Repeat("ä", 1024), Alias: strings.Repeat("ä", 1024), City: "x"},
	} {
		_, err := w.tenants.Add(t.Context(), operator, auth.NewOrg{Slug: "x", Details: d})
		says(t, says1, err, problem.Malformed, says1)
	}
	most := auth.OrgDetails{AlternativeName: strings.Repeat("ä", 1024), Alias: strings.Repeat("ä", 1024)}
	if o := w.add(auth.NewOrg{Slug: "x", Details: most}); !reflect.DeepEqual(readOrgs(t, w.db)[0].Details, most) || o.Details.Empty() {
		t.Error("the most that can be is not kept")
	}
}

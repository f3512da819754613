package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// family is main (1) with lab (2) below it and cell (3) below that, and other (9) beside them.
func family(t *testing.T) *auth.Directory {
	t.Helper()
	d, err := auth.NewDirectory([]auth.Org{
		{ID: 1, Slug: "main"}, {ID: 2, Slug: "lab", Parent: 1}, {ID: 3, Slug: "cell", Parent: 2}, {ID: 4, Slug: "office", Parent: 1}, {ID: 9, Slug: "other"},
	})
	must(t, err)
	return d
}

// TestMayTable is the whole table of actions and roles, once more and by hand.
func TestMayTable(t *testing.T) {
	d := family(t)
	want := map[auth.Action]string{
		auth.View: "requester approver administrator auditor", auth.Request: "requester administrator", auth.Approve: "approver",
		auth.Revoke: "requester approver administrator", auth.ReadAudit: "administrator auditor", auth.ManageDomains: "administrator",
		auth.ManageKeys: "administrator", auth.ManagePrincipals: "administrator", auth.ManageOrganisations: "administrator",
		auth.ReadKeys: "administrator", auth.ManageEnrollments: "administrator", auth.Operate: "",
	}
	if actions := actions(); len(want) != len(actions) {
		t.Fatalf("there are %d actions, and the table has %d", len(actions), len(want))
	}
	for _, a := range actions() {
		if a.String() == "unknown" {
			t.Errorf("action %d has no name", a)
		}
		for _, r := range auth.Roles() {
			allowed := strings.Contains(" "+want[a]+" ", " "+r.String()+" ")
			c := auth.Caller{Principal: "user:7", Org: 1, Roles: []auth.Grant{{Org: 1, Role: r}}}
			for _, org := range []auth.OrgID{1, 2, 3, 4} {
				if err := d.May(c, a, org); (err == nil) != allowed || err != nil && !problem.Is(err, problem.Unauthorized) {
					t.Errorf("%s by %s in organisation %d: %v, want allowed %t", a, r, org, err, allowed)
				}
			}
			if err := d.May(c, a, 9); !problem.Is(err, problem.NotFound) {
				t.Errorf("%s by %s of another organisation: %v", a, r, err)
			}
		}
		if err := d.May(auth.Caller{Principal: "uid:0", Operator: true}, a, 9); err != nil {
			t.Errorf("%s by the operator: %v", a, err)
		}
		account := a == auth.View || a == auth.Request || a == auth.Revoke
		if err := d.May(auth.Caller{Principal: "acme:x", Org: 2}, a, 2); (err == nil) != account {
			t.Errorf("%s by an ACME account: %v", a, err)
		}
		for _, org := range []auth.OrgID{1, 3, 9} {
			if err := d.May(auth.Caller{Principal: "acme:x", Org: 2}, a, org); !problem.Is(err, problem.NotFound) {
				t.Errorf("%s by an ACME account in organisation %d: %v", a, org, err)
			}
		}
	}
}

// TestMayRefuses: what is not surely allowed is not.
func TestMayRefuses(t *testing.T) {
	d := family(t)
	all := func(org auth.OrgID) (list []auth.Grant) {
		for _, r := range auth.Roles() {
			list = append(list, auth.Grant{Org: org, Role: r})
		}
		return list
	}
	for name, c := range map[string]auth.Caller{
		"nobody":                               {},
		"an operator without a name":           {Operator: true},
		"the system":                           {Principal: "system", Org: 2},
		"no roles":                             {Principal: "user:7", Org: 1},
		"roles above its home":                 {Principal: "user:7", Org: 3, Roles: all(1)},
		"roles beside":                         {Principal: "user:7", Org: 1, Roles: all(4)},
		"roles below":                          {Principal: "user:7", Org: 1, Roles: all(3)},
		"roles outside its home":               {Principal: "user:7", Org: 4, Roles: all(2)},
		"no organisation":                      {Principal: "user:7", Roles: all(2)},
		"a role that is none":                  {Principal: "user:7", Org: 2, Roles: []auth.Grant{{Org: 2}, {Org: 2, Role: 200}}},
		"an organisation that there is not":    {Principal: "user:7", Org: 50, Roles: all(50)},
		"another kind of principal with roles": {Principal: "uid:7", Org: 2, Roles: all(2)},
	} {
		for _, a := range actions() {
			if err := d.May(c, a, 2); err == nil {
				t.Errorf("%s may %s", name, a)
			}
		}
	}
	mighty := auth.Caller{Principal: "user:7", Org: 1, Roles: all(1)}
	for _, a := range []auth.Action{0, auth.Action(len(actions()) + 1), 255} {
		for _, c := range []auth.Caller{mighty, operator, {Principal: "acme:x", Org: 2}} {
			if err := d.May(c, a, 2); err == nil {
				t.Errorf("%s may do what is no action (%d)", c.Principal, a)
			}
		}
	}
	for _, org := range []auth.OrgID{0, -1, 50} {
		if err := d.May(mighty, auth.View, org); !problem.Is(err, problem.NotFound) {
			t.Errorf("organisation %d: %v", org, err)
		}
	}
	if a, b := fmt.Sprint(d.May(mighty, auth.View, 50)), fmt.Sprint(d.May(mighty, auth.View, 9)); a != b {
		t.Errorf("a foreign organisation says %q, and one that there is not %q", b, a)
	}
}

// actions are all that have a name.
func actions() (list []auth.Action) {
	for a := auth.View; a.String() != "unknown"; a++ {
		list = append(list, a)
	}
	return list
}

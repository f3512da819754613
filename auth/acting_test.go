package auth_test

import (
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestActing: the operator alone acts in a principal's name, with that principal's rights, as long as it could act itself.
func TestActing(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sales"})
	x := w.people()
	p := w.person(x, "sales", "ada", auth.Requester)
	ref := auth.Ref{Login: "Ada", Customer: "sales"}
	got, err := x.Acting(t.Context(), operator, ref)
	if err != nil || got.Operator || got.Principal != p.ID.String() || got.Org != p.Org || len(got.Roles) != 1 || got.Credential != operator.Principal {
		t.Fatalf("%+v, %v", got, err)
	}
	if w.directory.May(got, auth.Request, p.Org) != nil || w.directory.May(got, auth.Operate, 0) == nil || w.directory.May(got, auth.Approve, p.Org) == nil {
		t.Error("it has other rights than its principal")
	}
	admin := auth.Caller{Principal: "user:9", Org: p.Org, Roles: []auth.Grant{{Org: p.Org, Role: auth.Administrator}}}
	for _, caller := range []auth.Caller{{}, admin, got, {Operator: true}} {
		if c, err := x.Acting(t.Context(), caller, ref); !problem.Is(err, problem.Unauthorized) || c.Principal != "" {
			t.Errorf("%q acts as another: %v", caller.Principal, err)
		}
	}
	if _, err := x.Acting(t.Context(), operator, auth.Ref{Login: "eve"}); !problem.Is(err, problem.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	_, err = w.tenants.Edit(t.Context(), operator, "sales", auth.OrgEdit{Disabled: new(true)})
	must(t, err)
	if c, err := x.Acting(t.Context(), operator, ref); !problem.Is(err, problem.Unauthorized) || c.Principal != "" {
		t.Errorf("one whose home is disabled: %v", err)
	}
	_, err = w.tenants.Edit(t.Context(), operator, "sales", auth.OrgEdit{Disabled: new(false)})
	must(t, err)
	_, err = x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(true)})
	must(t, err)
	if c, err := x.Acting(t.Context(), operator, ref); !problem.Is(err, problem.Unauthorized) || c.Principal != "" {
		t.Errorf("one who is disabled: %v", err)
	}
}

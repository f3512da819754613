package ra_test

import (
	"crypto"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// More people: a requester of the same organisation, one of another, and one who only reads.
var (
	una   = auth.Caller{Principal: "user:8", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Requester}}}
	evan  = auth.Caller{Principal: "user:20", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Requester}, {Org: 2, Role: auth.Administrator}}}
	audra = auth.Caller{Principal: "user:9", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
)

// mayByRole is the directory's answer where no organisation is above another.
func mayByRole(t *testing.T) func(auth.Caller, auth.Action, auth.OrgID) error {
	t.Helper()
	d, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}})
	must(t, err)
	return d.May
}

// peopled gives a world roles, and proofs that the organisation has, so that a principal needs none of its own.
func peopled(t *testing.T, w *world, change func(c *ra.Config)) *world {
	t.Helper()
	w.clock.set(time.Now().UTC().Truncate(time.Second))
	w.Registrar = w.registrar(func(c *ra.Config) {
		c.May, c.MayDecide = mayByRole(t), decides
		c.Allowed = func(auth.OrgID, string) bool { return true }
		for _, name := range []string{"tls", "inner"} {
			c.Profiles[name] = openProfile(t, policy.Config{Name: name})
		}
		c.Profiles["one"] = openProfile(t, policy.Config{Name: "one", Approvals: policy.ApprovalRule{Required: 1}})
		c.Profiles["each"] = openProfile(t, policy.Config{Name: "each", Approvals: policy.ApprovalRule{Required: 1, Renewals: policy.ApproveRenewals}})
		if change != nil {
			change(c)
		}
	})
	return w
}

// openProfile demands no validation of names below example.com.
func openProfile(t *testing.T, c policy.Config) *policy.Profile {
	t.Helper()
	c.Issuer, c.Validity, c.DCV, c.AllowNames = "main", 10*24*time.Hour, policy.NoValidation, []string{"*.example.com"}
	p, err := policy.New(c)
	must(t, err)
	return p
}

func csrOf(t *testing.T, key crypto.Signer, names ...string) []byte {
	t.Helper()
	csr, err := testca.CSR(key, names...)
	must(t, err)
	return csr
}

// managed is an enrollment by the console, issued to a principal.
func (w *world) managed(caller auth.Caller, profile string, names ...string) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Submit(w.t.Context(), caller, ra.Request{
		Door: ra.DoorConsole, Profile: profile, Names: ids(w.t, names...), CSR: csrOf(w.t, newKey(w.t), names...),
	})
	must(w.t, err)
	if e.Phase == ra.Waiting {
		w.approve(ann, e.ID, ra.Issued)
	}
	if e = w.read(e.ID); e.Phase != ra.Issued {
		w.t.Fatalf("enrollment %d is in phase %d (%+v)", e.ID, e.Phase, e.Failure)
	}
	return e
}

func (w *world) renewed(caller auth.Caller, id ra.ID) (*ra.Enrollment, error) {
	return w.Renew(w.t.Context(), caller, ra.RenewRequest{Door: ra.DoorConsole, ID: id})
}

// lastOf is the journal's last entry of a kind.
func (w *world) lastOf(kind audit.Kind) audit.Event {
	w.t.Helper()
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	for i := len(w.journal.events) - 1; i >= 0; i-- {
		if w.journal.events[i].Kind == kind {
			return w.journal.events[i]
		}
	}
	w.t.Fatalf("the journal has no entry of kind %s", kind)
	return audit.Event{}
}

package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestRenew(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	old := w.managed(rob, "tls", "a.example.com", "b.example.com")
	if old.RenewID() == "" || len(old.KeptCSR) == 0 {
		t.Fatalf("it cannot be renewed: %+v", old)
	}
	_, err := w.Update(ctx, rob, old.ID, ra.Changes{Comments: new("ticket 7"), AutoRenew: &ra.AutoRenew{On: true, Days: 2}})
	must(t, err)
	next, err := w.Renew(ctx, una, ra.RenewRequest{Door: ra.DoorConsole, RenewID: old.RenewID()})
	must(t, err)
	if next.Phase != ra.Issued || next.Replaces != old.ID || next.Requester != una.Principal || next.Comments != "ticket 7" || !next.AutoRenew.On ||
		next.RenewID() == "" || next.RenewID() == old.RenewID() || next.Serial == old.Serial || len(next.Names) != 2 {
		t.Errorf("the renewal is %+v", next)
	}
	// A lost answer, and then the same again.
	for range 2 {
		_, err = w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, RenewID: old.RenewID()})
		wantKind(t, err, problem.Conflict)
	}
	by, err := w.ReplacedBy(ctx, w.read(old.ID))
	must(t, err)
	if by != next.ID {
		t.Errorf("replaced by %d", by)
	}
	if list, err := w.Lineage(ctx, rob, old.ID); err != nil || len(list) != 2 || list[0].ID != old.ID || list[1].ID != next.ID {
		t.Errorf("the lineage is %v, %v", list, err)
	}
	third, err := w.renewed(rob, next.ID)
	must(t, err)
	for _, id := range []ra.ID{old.ID, next.ID, third.ID} {
		if list, err := w.Lineage(ctx, audra, id); err != nil || len(list) != 3 || list[0].ID != old.ID || list[2].ID != third.ID {
			t.Errorf("the lineage of %d is %v, %v", id, list, err)
		}
	}
	_, err = w.Lineage(ctx, evan, old.ID)
	wantKind(t, err, problem.NotFound)
}

func TestRenewRefuses(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	old := w.managed(rob, "tls", "a.example.com")
	account := w.acmeIssued()
	revoked := w.managed(rob, "tls", "r.example.com")
	must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: revoked.Serial, Reason: ca.Superseded}))
	waiting, err := w.Submit(ctx, rob, ra.Request{Door: ra.DoorConsole, Profile: "one", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")})
	must(t, err)
	before := w.signer.signed.Load()
	for name, tt := range map[string]struct {
		caller auth.Caller
		q      ra.RenewRequest
		kind   problem.Kind
	}{
		"a foreign caller":       {evan, ra.RenewRequest{ID: old.ID}, problem.NotFound},
		"a foreign one's id":     {evan, ra.RenewRequest{RenewID: old.RenewID()}, problem.NotFound},
		"an approver":            {ann, ra.RenewRequest{ID: old.ID}, problem.Unauthorized},
		"an auditor":             {audra, ra.RenewRequest{ID: old.ID}, problem.Unauthorized},
		"another ACME account":   {bob, ra.RenewRequest{ID: account.ID}, problem.Unauthorized},
		"no enrollment":          {rob, ra.RenewRequest{ID: 999}, problem.NotFound},
		"no renew id":            {rob, ra.RenewRequest{RenewID: "AAAAAAAAAAAAAAAAAAAA"}, problem.NotFound},
		"an odd renew id":        {rob, ra.RenewRequest{RenewID: "../../../etc/passwd"}, problem.NotFound},
		"both":                   {rob, ra.RenewRequest{ID: old.ID, RenewID: old.RenewID()}, problem.Malformed},
		"one without a CSR":      {rob, ra.RenewRequest{ID: account.ID}, problem.Conflict},
		"a revoked one":          {rob, ra.RenewRequest{ID: revoked.ID}, problem.Conflict},
		"one that waits":         {rob, ra.RenewRequest{ID: waiting.ID}, problem.Conflict},
		"a CSR for other names":  {rob, ra.RenewRequest{ID: old.ID, CSR: csrOf(t, newKey(t), "b.example.com")}, problem.BadCSR},
		"a CSR that is no CSR":   {rob, ra.RenewRequest{ID: old.ID, CSR: []byte{0x30, 0}}, problem.BadCSR},
		"a CSR for more names":   {rob, ra.RenewRequest{ID: old.ID, CSR: csrOf(t, newKey(t), "a.example.com", "c.example.com")}, problem.BadCSR},
		"a caller who is nobody": {auth.Caller{}, ra.RenewRequest{ID: old.ID}, problem.NotFound},
	} {
		tt.q.Door = ra.DoorConsole
		_, err := w.Renew(ctx, tt.caller, tt.q)
		if !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
	}
	if n := w.signer.signed.Load(); n != before {
		t.Errorf("%d certificates came of it", n-before)
	}
	if _, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorACME, ID: old.ID}); !problem.Is(err, problem.Internal) {
		t.Errorf("by a door that renews nothing: %v", err)
	}
	next, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, ID: account.ID, CSR: csrOf(t, newKey(t), "acme.example.com")})
	must(t, err)
	if next.Phase != ra.Issued || next.Replaces != account.ID || next.Door != ra.DoorConsole {
		t.Errorf("an ACME certificate renewed by another door: %+v", next)
	}
}

// acmeIssued is an enrollment of an ACME account.
func (w *world) acmeIssued() *ra.Enrollment {
	w.t.Helper()
	r := w.request(alice, newKey(w.t), "acme.example.com")
	r.Proofs = nil
	return w.submit(alice, r, ra.Issued)
}

// TestRenewalUnderApprovals: the content that was approved is renewed freely, where the profile lets it; another key, other names
// or another requester is another content.
func TestRenewalUnderApprovals(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	old := w.managed(rob, "one", "a.example.com")
	next, err := w.renewed(rob, old.ID)
	must(t, err)
	if next.Phase != ra.Issued || !next.Renews || len(next.Approvals) > 0 {
		t.Errorf("the same again: %+v", next)
	}
	for name, renew := range map[string]func(id ra.ID) (*ra.Enrollment, error){
		"another requester": func(id ra.ID) (*ra.Enrollment, error) { return w.renewed(una, id) },
		"another key": func(id ra.ID) (*ra.Enrollment, error) {
			return w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, ID: id, CSR: csrOf(t, newKey(t), "x.example.com")})
		},
		"another name": func(id ra.ID) (*ra.Enrollment, error) {
			return w.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: id, CSR: csrOf(t, newKey(t), "y.example.com"), Names: ids(t, "y.example.com")})
		},
		"another door": func(id ra.ID) (*ra.Enrollment, error) {
			return w.Renew(ctx, rob, ra.RenewRequest{Door: "test", ID: id})
		},
	} {
		e := w.managed(rob, "one", "x.example.com")
		got, err := renew(e.ID)
		if err != nil || got.Phase != ra.Waiting || got.Replaces != e.ID {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		_, err = renew(e.ID) // it has its successor
		wantKind(t, err, problem.Conflict)
		if _, err := w.Decline(ctx, ann, got.ID, "no"); err != nil {
			t.Error(err)
		}
		if again, err := renew(e.ID); err != nil || again.Phase != ra.Waiting || again.ID == got.ID {
			t.Errorf("%s, after a decline: %+v, %v", name, again, err)
		}
		must(t, w.Remove(ctx, boss, e.ID))
	}
	each := w.managed(rob, "each", "e.example.com")
	if got, err := w.renewed(rob, each.ID); err != nil || got.Phase != ra.Waiting {
		t.Errorf("where each certificate is approved: %+v, %v", got, err)
	}
}

func TestReplace(t *testing.T) {
	w := peopled(t, newWorld(t), func(c *ra.Config) { c.RevokeReplaced = time.Hour })
	ctx := t.Context()
	old := w.managed(rob, "tls", "a.example.com")
	csr := csrOf(t, newKey(t), "a.example.com", "b.example.com")
	q := ra.ReplaceRequest{Door: ra.DoorConsole, ID: old.ID, CSR: csr, Names: ids(t, "a.example.com", "b.example.com"), Reason: "one name more"}
	for name, tt := range map[string]struct {
		caller auth.Caller
		change func(q *ra.ReplaceRequest)
		kind   problem.Kind
	}{
		"foreign":       {evan, func(*ra.ReplaceRequest) {}, problem.NotFound},
		"approver":      {ann, func(*ra.ReplaceRequest) {}, problem.Unauthorized},
		"auditor":       {audra, func(*ra.ReplaceRequest) {}, problem.Unauthorized},
		"no CSR":        {rob, func(q *ra.ReplaceRequest) { q.CSR = nil }, problem.BadCSR},
		"the old names": {rob, func(q *ra.ReplaceRequest) { q.Names = nil }, problem.BadCSR},
		"reason":        {rob, func(q *ra.ReplaceRequest) { q.Reason = "two\nlines" }, problem.Malformed},
		"names outside": {rob, func(q *ra.ReplaceRequest) {
			q.CSR, q.Names = csrOf(t, newKey(t), "a.example.org"), ids(t, "a.example.org")
		}, problem.RejectedIdentifier},
	} {
		bad := q
		tt.change(&bad)
		if _, err := w.Replace(ctx, tt.caller, bad); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
	}
	next, err := w.Replace(ctx, rob, q)
	must(t, err)
	if next.Phase != ra.Issued || next.Replaces != old.ID || next.ReplaceReason != "one name more" || len(next.Names) != 2 {
		t.Errorf("the replacement is %+v", next)
	}
	w.clock.add(59 * time.Minute)
	must(t, w.Upkeep(ctx))
	if got := w.read(old.ID); got.Phase != ra.Issued {
		t.Fatalf("it was revoked early: %+v", got)
	}
	w.clock.add(time.Minute)
	must(t, w.Upkeep(ctx))
	if got := w.read(old.ID); got.Phase != ra.Revoked || got.Revocation.Reason != ca.Superseded || got.Revocation.Actor != "system" || got.Revocation.Comment == "" {
		t.Errorf("the replaced one is %+v", got)
	}
	if got := w.read(next.ID); got.Phase != ra.Issued {
		t.Errorf("the new one is %+v", got)
	}
}

// TestReplacedStaysWithoutSuccessor: what was to be revoked is not, if nothing took its place.
func TestReplacedStaysWithoutSuccessor(t *testing.T) {
	w := peopled(t, newWorld(t), func(c *ra.Config) { c.RevokeReplaced = time.Hour })
	ctx := t.Context()
	old := w.managed(rob, "one", "a.example.com")
	next, err := w.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: old.ID, CSR: csrOf(t, newKey(t), "a.example.com")})
	must(t, err)
	w.clock.add(2 * time.Hour)
	must(t, w.Upkeep(ctx))
	if got := w.read(old.ID); next.Phase != ra.Waiting || got.Phase != ra.Issued || got.RevokeFrom.IsZero() {
		t.Fatalf("while people decide: %+v, %+v", next, got)
	}
	_, err = w.Decline(ctx, ann, next.ID, "no")
	must(t, err)
	w.clock.add(2 * time.Hour)
	must(t, w.Upkeep(ctx))
	if got := w.read(old.ID); got.Phase != ra.Issued || !got.RevokeFrom.IsZero() {
		t.Errorf("after the decline: %+v", got)
	}
}

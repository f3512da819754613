package ra_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// forward are the phases that may follow each (trust.md, invariant 18).
var forward = map[ra.Phase][]ra.Phase{
	ra.Waiting:   {ra.Waiting, ra.Approved, ra.Requested, ra.Issued, ra.Revoked, ra.Failed, ra.Declined},
	ra.Approved:  {ra.Approved, ra.Requested, ra.Issued, ra.Revoked, ra.Failed, ra.Declined},
	ra.Requested: {ra.Requested, ra.Issued, ra.Revoked, ra.Failed},
	ra.Issued:    {ra.Issued, ra.Revoked},
	ra.Revoked:   {ra.Revoked},
	ra.Failed:    {ra.Failed},
	ra.Declined:  {ra.Declined},
}

// all are the enrollments of the store.
func (h *history) all() (list []*ra.Enrollment) {
	h.t.Helper()
	for after := ra.ID(0); ; {
		found, err := h.db.Search(h.t.Context(), ra.Query{After: after, Limit: 1000}, h.clock.now())
		must(h.t, err)
		if len(found.Enrollments) == 0 {
			return list
		}
		list = append(list, found.Enrollments...)
		after = list[len(list)-1].ID
	}
}

func (h *history) checkPhases() {
	h.t.Helper()
	for _, e := range h.all() {
		if before, known := h.phases[e.ID]; known && !slices.Contains(forward[before], e.Phase) {
			h.t.Errorf("enrollment %d went from phase %d to %d", e.ID, before, e.Phase)
		}
		h.phases[e.ID] = e.Phase
	}
}

// lookAround reads and lists as somebody, and demands that no other tenant's object is there (invariant 20).
func (h *history) lookAround() {
	h.t.Helper()
	g, caller := h.gateways[h.random.IntN(len(h.gateways))], h.somebody()
	mine := func(what string, list ...*ra.Enrollment) {
		for _, e := range list {
			if e.Org != caller.Org {
				h.t.Errorf("%s of organisation %d is given enrollment %d of %d by %s", caller.Principal, caller.Org, e.ID, e.Org, what)
			}
		}
	}
	ctx := h.t.Context()
	list := h.all()
	if len(list) == 0 {
		return
	}
	one := list[h.random.IntN(len(list))]
	if e, err := g.Get(ctx, caller, one.ID); err == nil {
		mine("number", e)
	} else if one.Org == caller.Org && !caller.IsPrincipal() {
		h.t.Errorf("%s does not see enrollment %d of its organisation: %v", caller.Principal, one.ID, err)
	}
	if one.Serial != "" {
		found, _ := g.BySerial(ctx, caller, one.Serial)
		mine("serial", found...)
	}
	for _, q := range []ra.Query{{Limit: 1000}, {Org: one.Org, Limit: 1000}, {Org: one.Org, Name: one.Names[0].Value(), Limit: 1000}, {Org: one.Org, Status: one.Status(h.clock.now()), Limit: 1000}} {
		found, err := g.Search(ctx, caller, q)
		if err != nil {
			continue
		}
		mine("search", found.Enrollments...)
		if len(q.Name)+len(q.Status) == 0 && found.Total != int64(len(found.Enrollments)) {
			h.t.Errorf("a list of %d says that it has %d", len(found.Enrollments), found.Total)
		}
	}
	h.waiting(g, caller, mine)
}

// waiting does so with the list of what waits for people.
func (h *history) waiting(g *ra.Registrar, caller auth.Caller, mine func(string, ...*ra.Enrollment)) {
	list, _, err := g.Waiting(h.t.Context(), caller, 0, 0, 1000)
	if err == nil {
		mine("the list of requests", list...)
	}
}

func (h *history) checkCertificates() {
	h.t.Helper()
	ctx := h.t.Context()
	for _, leaf := range h.signed {
		serial := ca.SerialOf(leaf.SerialNumber)
		c, err := h.db.Certificate(ctx, "main", serial)
		must(h.t, err)
		if c.State != ca.Issued {
			continue // never released: on the list of the revoked, or about to be
		}
		e := h.read(ra.ID(c.Enrollment))
		if e.Serial != serial {
			h.t.Errorf("certificate %s is enrollment %d's, which has %s", serial, e.ID, e.Serial)
			continue
		}
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		// Invariant 6.
		if !h.asked[string(sum[:])][asking{e.Requester, e.Org, e.Profile}] {
			h.t.Errorf("enrollment %d: %s of %d never asked for this key under %s", e.ID, e.Requester, e.Org, e.Profile)
		}
		if p := h.profiles[e.Profile]; e.ProfileHash != p.Hash() || c.Requester.Principal != e.Requester || auth.OrgID(c.Requester.Org) != e.Org {
			h.t.Errorf("enrollment %d: requester %+v, profile %s", e.ID, c.Requester, e.ProfileHash)
		}
		for _, name := range leaf.DNSNames {
			h.checkProof(e, name)
		}
		h.checkApprovals(e)
	}
}

// checkProof is invariant 7 for one name.
func (h *history) checkProof(e *ra.Enrollment, name string) {
	h.t.Helper()
	account := strings.TrimPrefix(e.Requester, "acme:")
	if account == e.Requester {
		account = "" // a principal has no proofs of its own but by request
	}
	for _, p := range e.Proofs {
		switch {
		case p.Owner == 0 && p.Identifier.Value() == name && h.proofs[proofOf{account, int32(e.Org), name, p.At.Unix()}] && e.Issued.Sub(p.At) < 6*time.Hour:
			return
		case p.Owner != 0 && auth.OrgID(p.Owner) == e.Org && under(name, p.Identifier) && e.Issued.Sub(p.At) < 12*time.Hour:
			for _, d := range h.proved {
				if d.org == e.Org && d.domain == p.Identifier.Value() && d.at.Equal(p.At) {
					return
				}
			}
		}
	}
	h.t.Errorf("enrollment %d of %s in %d: %s has no proof; it has %+v", e.ID, e.Requester, e.Org, name, e.Proofs)
}

func under(name string, domain identifier.Identifier) bool {
	return name == domain.Value() || strings.HasSuffix(name, "."+domain.Value())
}

// checkApprovals is invariant 11.
func (h *history) checkApprovals(e *ra.Enrollment) {
	h.t.Helper()
	required := h.profiles[e.Profile].Approvals().Required
	if required == 0 {
		return
	}
	if e.Renews {
		if h.profiles[e.Profile].Approvals().Renewals == policy.ApproveRenewals || !h.approvedBefore(e) {
			h.t.Errorf("enrollment %d renews freely what nobody approved", e.ID)
		}
		return
	}
	people := map[string]bool{}
	for _, a := range e.Approvals {
		if a.Content != e.Content || a.Approver == e.Requester {
			h.t.Errorf("enrollment %d by %s has the approval %+v of another content, or of its own", e.ID, e.Requester, a)
		}
		if !h.decided(e, a.Approver) {
			h.t.Errorf("enrollment %d has an approval of %s, who never gave one in the role", e.ID, a.Approver)
		}
		people[a.Approver] = true
	}
	if len(people) < required {
		h.t.Errorf("enrollment %d has %d approvals of %d", e.ID, len(people), required)
	}
}

// decided reports whether somebody approved an enrollment, or one of the same content whose approvals it took over.
func (h *history) decided(e *ra.Enrollment, approver string) bool {
	if h.decisions[decisionOf{e.ID, approver}] {
		return true
	}
	for _, other := range h.all() {
		if other.Content == e.Content && other.ID < e.ID && h.decisions[decisionOf{other.ID, approver}] {
			return true
		}
	}
	return false
}

func (h *history) approvedBefore(e *ra.Enrollment) bool {
	for _, other := range h.all() {
		if other.Content == e.Content && other.ID < e.ID && len(other.Approvals) > 0 && !other.Issued.IsZero() {
			return true
		}
	}
	return false
}

// checkJournal demands that every approval of a certificate is in the journal, and no certificate twice.
func (h *history) checkJournal() {
	h.t.Helper()
	signed := map[string]int{}
	for _, e := range h.world.journal.events {
		if e.Kind == audit.Signed {
			signed[e.Serial]++
		}
	}
	for serial, n := range signed {
		if n != 1 {
			h.t.Errorf("the journal has certificate %s %d times", serial, n)
		}
	}
}

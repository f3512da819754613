package ra_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	histories = 3
	turns     = 130
)

// TestHistories makes random histories of two organisations, four principals, two ACME accounts and two gateways on one
// store, of which each action may be refused and several run at once, and holds the store, the signer and every answer
// against what trust.md demands: 6 (every certificate names its principal, profile and approvals), 7 (each name had a proof
// of the same account and organisation), 11 (approvals bind what was issued, by others than the requester), 18 (states only
// move forward) and 20 (nothing of one tenant reaches another). GATEHOUSE_HISTORY_SEED repeats one.
func TestHistories(t *testing.T) {
	if text, ok := os.LookupEnv("GATEHOUSE_HISTORY_SEED"); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		newHistory(t, seed).run()
		return
	}
	issued, approved := 0, 0
	for range histories {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHistory(t, seed)
			h.run()
			issued, approved = issued+len(h.signed), approved+len(h.decisions)
		})
	}
	if issued < 5*histories || approved < histories {
		t.Errorf("%d certificates and %d approvals in all: the histories prove little", issued, approved)
	}
}

func (h *history) run() {
	for turn := range turns {
		actions := []func(){h.step()}
		if h.random.IntN(4) == 0 { // some things happen at once
			actions = append(actions, h.step(), h.step())
		}
		var wg sync.WaitGroup
		for _, act := range actions {
			wg.Go(act)
		}
		wg.Wait()
		if h.random.IntN(3) == 0 {
			h.alone()
		}
		h.lookAround()
		if turn%4 == 3 {
			h.checkPhases()
		}
		if h.t.Failed() {
			return
		}
	}
	h.checkCertificates()
	h.checkJournal()
}

// step chooses an action, with all that is random in it, that may run beside others.
func (h *history) step() func() {
	g := h.gateways[h.random.IntN(len(h.gateways))]
	caller := h.somebody()
	id := ra.ID(1 + h.random.IntN(max(1, int(h.total()))))
	switch n := h.random.IntN(14); {
	case n < 5:
		return h.submission(g, caller)
	case n < 8:
		return func() { h.approving(g, caller, id) }
	case n < 9:
		return func() { h.refusable(g.Decline(h.t.Context(), caller, id, "no")) }
	case n < 11:
		return h.succession(g, caller, id)
	case n < 12:
		return func() { h.refusable(g.Cancel(h.t.Context(), caller, id)) }
	case n < 13:
		return func() { h.removing(g, caller, id) }
	default:
		return func() {
			e, err := g.Get(h.t.Context(), caller, id)
			if err != nil || e.Serial == "" {
				return
			}
			reason := []ca.Reason{ca.Superseded, ca.KeyCompromise}[id%2]
			h.refusable(nil, g.Revoke(h.t.Context(), caller, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: reason}))
		}
	}
}

// alone is what changes what the onlooker must know exactly, so that nothing runs beside it.
func (h *history) alone() {
	ctx := h.t.Context()
	g := h.random.IntN(len(h.gateways))
	switch h.random.IntN(6) {
	case 0:
		h.clock.add(time.Duration(1+h.random.IntN(180)) * time.Minute)
	case 1:
		must(h.t, h.gateways[g].Sweep(ctx))
		must(h.t, h.gateways[g].Upkeep(ctx))
	case 2: // a role is lost, or given
		role := auth.NamedGrant{Role: []auth.Role{auth.Approver, auth.Requester, auth.Administrator}[h.random.IntN(3)]}
		edit := auth.PrincipalEdit{Grant: []auth.NamedGrant{role}}
		if h.random.IntN(2) == 0 {
			edit = auth.PrincipalEdit{Withdraw: []auth.NamedGrant{role}}
		}
		_, err := h.people.Edit(ctx, operator, auth.Ref{ID: h.persons[h.random.IntN(len(h.persons))]}, edit)
		h.refusable(nil, err)
	case 3:
		h.signer.down.Store(h.random.IntN(3) == 0)
	default:
		h.domain(h.domains[g])
	}
}

// domain validates, delegates or removes one.
func (h *history) domain(m *ra.Domains) {
	ctx := h.t.Context()
	i := h.random.IntN(2)
	domain, slug, org := []string{"one.example", "two.example"}[i], []string{"one", "two"}[i], auth.OrgID(i+1)
	if h.random.IntN(5) == 0 {
		_, err := m.Remove(ctx, operator, domain)
		h.refusable(nil, err)
		return
	}
	if _, err := m.Add(ctx, operator, domain, slug); err != nil {
		h.refusable(nil, err)
	}
	d, err := m.Validate(ctx, operator, domain, dcv.DNSTXT)
	if err != nil {
		h.refusable(nil, err)
		return
	}
	h.dns.publish(d.Validation)
	d, err = m.Check(ctx, operator, domain)
	must(h.t, err)
	h.proved = append(h.proved, domainProof{org, domain, d.Proof.At})
}

// somebody is a principal as its record stands, or an ACME account.
func (h *history) somebody() auth.Caller {
	switch n := h.random.IntN(len(h.persons) + 2); n {
	case len(h.persons):
		return auth.Caller{Principal: "acme:alice", Org: 1}
	case len(h.persons) + 1:
		return auth.Caller{Principal: "acme:eve", Org: 2}
	default:
		p, err := h.db.Principal(h.t.Context(), h.persons[n])
		must(h.t, err)
		return auth.Caller{Principal: p.ID.String(), Org: p.Org, Roles: p.Grants}
	}
}

// submission asks for a certificate with proofs that may be the caller's own, another account's, another tenant's, too old,
// or none.
func (h *history) submission(g *ra.Registrar, caller auth.Caller) func() {
	key := h.keys[h.random.IntN(len(h.keys))]
	var names []string
	for _, n := range h.random.Perm(len(h.names))[:1+h.random.IntN(2)] {
		names = append(names, h.names[n])
	}
	profile := []string{"plain", "plain", "one", "two", "each", "boss"}[h.random.IntN(6)]
	csr, err := testca.CSR(key, names...)
	must(h.t, err)
	r := ra.Request{Door: ra.DoorACME, Profile: profile, Names: ids(h.t, names...), CSR: csr}
	if caller.IsPrincipal() {
		r.Door = ra.DoorConsole
	} else {
		r.Holder = fmt.Sprintf("order%d", h.random.IntN(1000))
	}
	if h.random.IntN(8) == 0 {
		r.Org = auth.OrgID(1 + h.random.IntN(2))
	}
	for _, id := range r.Names {
		r.Proofs = append(r.Proofs, h.proof(caller, id)...)
	}
	org := r.Org
	if org == 0 {
		org = caller.Org
	}
	h.asks(csr, asking{caller.Principal, org, profile})
	return func() { h.refusable(g.Submit(h.t.Context(), caller, r)) }
}

// asks notes who asks for a certificate of a CSR's key.
func (h *history) asks(csr []byte, by asking) {
	parsed, err := policy.ParseCSR(csr)
	must(h.t, err)
	spki := string(parsed.SPKIHash[:])
	if h.asked[spki] == nil {
		h.asked[spki] = map[asking]bool{}
	}
	h.asked[spki][by] = true
}

// succession renews or replaces an enrollment, which may be another's or another tenant's. Its names have the proofs of
// domains alone.
func (h *history) succession(g *ra.Registrar, caller auth.Caller, id ra.ID) func() {
	old, err := h.db.Enrollment(h.t.Context(), id)
	if err != nil {
		return func() {}
	}
	var names []string
	for _, n := range old.Names {
		names = append(names, n.Value())
	}
	if h.random.IntN(4) == 0 {
		names = append(names, h.names[h.random.IntN(len(h.names))])
	}
	csr, err := testca.CSR(h.keys[h.random.IntN(len(h.keys))], names...)
	must(h.t, err)
	if caller.Org == old.Org { // nobody else may
		h.asks(csr, asking{caller.Principal, old.Org, old.Profile})
		if len(old.KeptCSR) > 0 {
			h.asks(old.KeptCSR, asking{caller.Principal, old.Org, old.Profile})
		}
	}
	if h.random.IntN(2) == 0 {
		q := ra.RenewRequest{Door: ra.DoorConsole, ID: id}
		if h.random.IntN(2) == 0 {
			q.CSR = csr
		}
		return func() { h.refusable(g.Renew(h.t.Context(), caller, q)) }
	}
	q := ra.ReplaceRequest{Door: ra.DoorConsole, ID: id, CSR: csr, Names: ids(h.t, names...)}
	return func() { h.refusable(g.Replace(h.t.Context(), caller, q)) }
}

// removing removes an enrollment, and demands that nobody knows of it afterwards.
func (h *history) removing(g *ra.Registrar, caller auth.Caller, id ra.ID) {
	before, err := h.db.Enrollment(h.t.Context(), id)
	if err != nil {
		return
	}
	err = g.Remove(h.t.Context(), caller, id)
	h.refusable(nil, err)
	if err != nil {
		return
	}
	if caller.Org != before.Org {
		h.t.Errorf("%s of organisation %d removed enrollment %d of %d", caller.Principal, caller.Org, id, before.Org)
	}
	for _, g := range h.gateways {
		if e, err := g.Get(h.t.Context(), caller, id); err == nil {
			h.t.Errorf("%s still sees enrollment %d: %+v", caller.Principal, id, e)
		}
	}
}

func (h *history) proof(caller auth.Caller, id identifier.Identifier) []policy.Proven {
	p := policy.Proven{Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id, At: h.clock.now()}, Org: int32(caller.Org)}
	if !caller.IsPrincipal() {
		p.Account = caller.Principal[len("acme:"):]
	}
	switch h.random.IntN(24) {
	case 0:
		p.Account = "mallory"
	case 1:
		p.Org = 3 - p.Org
	case 2:
		p.At = p.At.Add(-7 * time.Hour)
	case 3:
		p.Identifier = ids(h.t, "elsewhere.example")[0]
	case 4, 5, 6:
		return nil
	case 7:
		p.Method = dcv.DNSTXT // no method of the profile
	case 8: // of another tenant's domain
		p.Method, p.Account, p.Owner, p.Org = dcv.DNSTXT, "", 3-p.Org, 3-p.Org
	default:
		h.proofs[proofOf{p.Account, p.Org, id.Value(), p.At.Unix()}] = true
	}
	return []policy.Proven{p}
}

// approving notes who may have approved: whose role, as it stood when it acted, says so.
func (h *history) approving(g *ra.Registrar, caller auth.Caller, id ra.ID) {
	e, err := h.db.Enrollment(h.t.Context(), id)
	if err != nil {
		return
	}
	if h.isApprover(caller, e) {
		h.mu.Lock()
		h.decisions[decisionOf{id, caller.Principal}] = true
		h.mu.Unlock()
	}
	_, err = g.Approve(h.t.Context(), caller, id, "yes")
	if err == nil && caller.Principal == e.Requester {
		h.t.Errorf("%s approved its own request %d", caller.Principal, id)
	}
	h.refusable(nil, err)
}

func (h *history) isApprover(caller auth.Caller, e *ra.Enrollment) bool {
	wanted := auth.Approver
	if e.Profile == "boss" {
		wanted = auth.Administrator
	}
	for _, g := range caller.Roles {
		if g.Org == e.Org && g.Role == wanted {
			return caller.Principal != e.Requester
		}
	}
	return false
}

// refusable is how an action may end: well, or refused for a reason. Nothing here may fail inside.
func (h *history) refusable(_ *ra.Enrollment, err error) {
	if err != nil && problem.From(err).Kind == problem.Internal {
		h.t.Errorf("an action failed inside: %v", err)
	}
}

package ra_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestValidatedThenIssued: nothing is signed before each name has a proof, and what was found is in the certificate's enrollment.
func TestValidatedThenIssued(t *testing.T) {
	for _, m := range []dcv.Method{dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME, dcv.CSRHashHTTP, dcv.CSRHashHTTPS, dcv.CSRHashCNAME} {
		t.Run(string(m), func(t *testing.T) {
			w := newPendingWorld(t)
			e := w.begin("tls", m, "a.example.com", "b.example.com")
			if e.Status(w.clock.now()) != "pending validation" || len(e.Challenges) != 2 || e.ValidateBy.Sub(e.Created) != 30*24*time.Hour {
				t.Fatalf("%+v", e)
			}
			found, err := w.Search(t.Context(), rob, ra.Query{Org: 1, Status: ra.StatusValidating, Limit: 10})
			must(t, err)
			if found.Total != 1 || found.Enrollments[0].ID != e.ID {
				t.Errorf("by status: %+v", found)
			}
			e = w.validates(e.ID, ra.Validating)
			if c := e.Challenges[0]; c.Failed == nil || c.Failed.Kind != problem.DNS || c.Failed.Finding == nil || len(c.Failed.Record) == 0 || !c.Validated.IsZero() {
				t.Errorf("after a look in vain: %+v", c)
			}
			w.net.publish(e.Challenges[0])
			e = w.validates(e.ID, ra.Validating)
			if e.Challenges[0].Validated.IsZero() || e.Challenges[0].Failed != nil || !e.Challenges[1].Validated.IsZero() || w.signer.signed.Load() != 0 {
				t.Fatalf("with one of two: %+v", e.Challenges)
			}
			asked := w.net.count()
			w.net.publish(e.Challenges[1])
			e = w.validates(e.ID, ra.Issued)
			if w.net.count() != asked+1 {
				t.Error("a name with a proof was looked at again")
			}
			if w.signer.signed.Load() != 1 || len(e.Proofs) != 2 || len(e.CSR) != 0 || e.Challenges[1].Validated.IsZero() || !e.Checking.IsZero() {
				t.Fatalf("%+v", e)
			}
			for _, p := range e.Proofs {
				if p.Principal != rob.Principal || p.Org != 1 || p.Method != m || m.FromCSR() != (p.CSR != [32]byte{}) || p.Until.IsZero() {
					t.Errorf("%+v", p)
				}
			}
			if _, err := w.Validate(t.Context(), rob, e.ID, ra.Validation{}); !problem.Is(err, problem.Conflict) {
				t.Errorf("validated when it is issued: %v", err)
			}
		})
	}
}

// TestMethodsAreChosenLaterAndChanged: per name, and what is published stays where the method does.
func TestMethodsAreChosenLaterAndChanged(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", "", "a.example.com", "*.example.com", "example.com")
	for _, c := range e.Challenges {
		if c.Method != "" || c.Publication != (dcv.Publication{}) {
			t.Errorf("%+v", c)
		}
	}
	e = w.validates(e.ID, ra.Validating)
	if w.net.count() != 0 {
		t.Error("something was looked at without a method")
	}
	choose := func(v ra.Validation) *ra.Enrollment {
		t.Helper()
		next, err := w.Validate(t.Context(), rob, e.ID, v)
		must(t, err)
		return next
	}
	refused := func(v ra.Validation, says string) {
		t.Helper()
		before := w.read(e.ID)
		if _, err := w.Validate(t.Context(), rob, e.ID, v); !problem.Is(err, problem.Malformed) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", v, err)
		}
		if w.read(e.ID).Version != before.Version {
			t.Errorf("%+v changed something", v)
		}
	}
	refused(ra.Validation{Method: dcv.HTTPFile}, "*.example.com") // no file proves a wildcard
	refused(ra.Validation{Method: dcv.HTTP01}, "http-01")
	refused(ra.Validation{Method: "magic"}, "magic")
	refused(ra.Validation{Methods: methods(t, map[string]dcv.Method{"other.example.com": dcv.DNSTXT})}, "no name of the request")
	first := choose(ra.Validation{Method: dcv.DNSTXT, Methods: methods(t, map[string]dcv.Method{"a.example.com": dcv.HTTPFile})})
	wild, base := challengeOf(t, first, "*.example.com"), challengeOf(t, first, "example.com")
	if challengeOf(t, first, "a.example.com").Method != dcv.HTTPFile || wild.Publication != base.Publication || wild.Publication.Value == "" {
		t.Errorf("%+v", first.Challenges)
	}
	again := choose(ra.Validation{Method: dcv.DNSTXT})
	if challengeOf(t, again, "example.com").Publication != base.Publication {
		t.Error("the same method again is another value")
	}
	if c := challengeOf(t, again, "a.example.com"); c.Method != dcv.DNSTXT || c.Publication == base.Publication || c.Publication.Value == "" {
		t.Errorf("a changed method: %+v", c)
	}
	w.net.publish(again.Challenges...)
	e = w.validates(e.ID, ra.Issued)
	asked := map[string]int{}
	for _, req := range w.net.asked {
		asked[req.Identifier.Value()]++
		if req.Identifier.IsWildcard() {
			t.Errorf("%s was looked at", req.Identifier.Value())
		}
	}
	if len(e.Names) != 3 || asked["example.com"] == 0 {
		t.Errorf("%v", asked)
	}
}

// TestWhoseRequest: another organisation's is absent, another principal's is that one's, whose proofs it would be.
func TestWhoseRequest(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.net.publish(e.Challenges...)
	for _, row := range []struct {
		by   auth.Caller
		kind problem.Kind
		sees bool
	}{
		{mia, problem.NotFound, false}, {eve, problem.NotFound, false}, {auth.Caller{}, problem.NotFound, false}, {uma, problem.Unauthorized, true}, {ann, problem.Unauthorized, true},
	} {
		_, err := w.Validate(t.Context(), row.by, e.ID, ra.Validation{Method: dcv.DNSCNAME})
		wantKind(t, err, row.kind)
		_, err = w.Cancel(t.Context(), row.by, e.ID)
		if row.by.Principal != "" {
			wantKind(t, err, row.kind)
		} else if err == nil {
			t.Error("nobody takes requests back")
		}
		if list, err := w.Challenges(t.Context(), row.by, e.ID); (err == nil) != row.sees || row.sees && len(list) != 1 {
			t.Errorf("%s: %v, %v", row.by.Principal, list, err)
		}
	}
	if w.net.count() != 0 || w.read(e.ID).Version != e.Version {
		t.Error("somebody else's word did something")
	}
	// The proof is the request's: the same names asked for by others, or again, are not proved.
	w.validates(e.ID, ra.Issued)
	for _, by := range []auth.Caller{uma, rob, mia} {
		other := w.submit(by, w.wants("tls", "", "a.example.com"), ra.Validating)
		if !other.Challenges[0].Validated.IsZero() {
			t.Errorf("%s has a proof: %+v", by.Principal, other.Challenges)
		}
		req := w.wants("tls", "", "a.example.com")
		req.Validate, req.Proofs = nil, w.read(e.ID).Proofs
		if _, err := w.Submit(t.Context(), by, req); by.Principal != rob.Principal && !problem.Is(err, problem.Unauthorized) {
			t.Errorf("%s is issued to by another's proof: %v", by.Principal, err)
		}
	}
	operators, err := w.Validate(t.Context(), operator, w.begin("tls", dcv.DNSTXT, "c.example.com").ID, ra.Validation{})
	if err != nil || operators.Phase != ra.Validating {
		t.Errorf("the operator: %+v, %v", operators, err)
	}
}

// TestHashesBindTheCSR: the files of one request prove nothing for another CSR, nor for the same one asked for again.
func TestHashesBindTheCSR(t *testing.T) {
	w := newPendingWorld(t)
	req := w.wants("tls", dcv.CSRHashHTTP, "a.example.com")
	one, two := w.submit(rob, req, ra.Validating), w.submit(rob, req, ra.Validating)
	if one.Challenges[0].Publication.Place != two.Challenges[0].Publication.Place || one.Challenges[0].Publication.Value == two.Challenges[0].Publication.Value {
		t.Errorf("%+v and %+v", one.Challenges, two.Challenges)
	}
	w.net.publish(one.Challenges...)
	w.validates(two.ID, ra.Validating)
	done := w.validates(one.ID, ra.Issued)
	other := w.wants("tls", "", "a.example.com")
	other.Validate, other.Proofs = nil, done.Proofs
	if _, err := w.Submit(t.Context(), rob, other); !problem.Is(err, problem.Unauthorized) || !strings.Contains(err.Error(), "another CSR") {
		t.Errorf("another CSR: %v", err)
	}
	suffixed := w.wants("tls", dcv.CSRHashCNAME, "b.example.com")
	suffixed.Validate.Suffix = "vendor.example.org"
	if e := w.submit(rob, suffixed, ra.Validating); !strings.HasSuffix(e.Challenges[0].Publication.Value, ".vendor.example.org") || e.CSRHash.Suffix != "vendor.example.org" {
		t.Errorf("%+v", e.Challenges)
	}
	suffixed.Validate.Suffix = "not a name"
	_, err := w.Submit(t.Context(), rob, suffixed)
	wantKind(t, err, problem.Malformed)
}

// TestRefusedBeforeValidation: what would be refused with proofs is refused without, and takes no number.
func TestRefusedBeforeValidation(t *testing.T) {
	w := newPendingWorld(t)
	for _, row := range []struct {
		name   string
		reg    *ra.Registrar
		change func(*ra.Request)
		kind   problem.Kind
	}{
		{"no validation is asked for", nil, func(r *ra.Request) { r.Validate = nil }, problem.Unauthorized},
		{"no validator", w.pending(func(c *ra.Config) { c.Validation = ra.RequestValidation{} }), func(*ra.Request) {}, problem.Unauthorized},
		{"by ACME", nil, func(r *ra.Request) { r.Door = ra.DoorACME }, problem.Unauthorized},
		{"another's names", nil, func(r *ra.Request) { r.Names = r.Names[:1] }, problem.BadCSR},
		{"another profile's hash", nil, func(r *ra.Request) { r.ProfileHash = strings.Repeat("0", 64) }, problem.Unauthorized},
		{"a public suffix", nil, func(r *ra.Request) { r.CSR, r.Names = w.wants("tls", "", "com").CSR, ids(t, "com") }, problem.RejectedIdentifier},
		{"a method that proves nothing", nil, func(r *ra.Request) { r.Validate.Method = dcv.DNS01 }, problem.Malformed},
		{"no suffix for hashes", w.pending(func(c *ra.Config) { c.Validation.Suffix = "" }), func(r *ra.Request) { r.Validate.Method = dcv.CSRHashHTTP }, problem.Malformed},
		{"no target for CNAMEs", w.pending(func(c *ra.Config) { c.Validation.Target = "" }), func(r *ra.Request) { r.Validate.Method = dcv.DNSCNAME }, problem.Malformed},
	} {
		req := w.wants("tls", dcv.DNSTXT, "a.example.com", "b.example.com")
		row.change(&req)
		reg := row.reg
		if reg == nil {
			reg = w.Registrar
		}
		if _, err := reg.Submit(t.Context(), rob, req); !problem.Is(err, row.kind) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if n := w.total(); n != 0 {
		t.Errorf("%d requests were recorded", n)
	}
	if e := w.begin("tls", dcv.DNSTXT, "a.example.com"); e.ID != 1 {
		t.Errorf("the first number is %d", e.ID)
	}
}

// TestOrganisationsShare: one organisation's requests are bounded.
func TestOrganisationsShare(t *testing.T) {
	w := newPendingWorld(t)
	w.Registrar = w.pending(func(c *ra.Config) { c.Validation.MaxWaiting = 2 })
	first := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.begin("tls", dcv.DNSTXT, "b.example.com")
	_, err := w.Submit(t.Context(), uma, w.wants("tls", dcv.DNSTXT, "c.example.com"))
	wantKind(t, err, problem.RateLimited)
	w.submit(mia, w.wants("tls", dcv.DNSTXT, "c.example.com"), ra.Validating)
	_, err = w.Cancel(t.Context(), rob, first.ID)
	must(t, err)
	w.begin("tls", dcv.DNSTXT, "c.example.com")
}

// TestApprovalsAfterValidation: people are asked once nothing else is missing, and the proofs must still hold then.
func TestApprovalsAfterValidation(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("one", dcv.DNSTXT, "a.example.com")
	if _, err := w.Approve(t.Context(), ann, e.ID, ""); !problem.Is(err, problem.Conflict) {
		t.Errorf("approved before it was validated: %v", err)
	}
	w.net.publish(e.Challenges...)
	e = w.validates(e.ID, ra.Waiting)
	if e.Content == "" || !e.Due.Equal(w.clock.now().Add(7*24*time.Hour)) || w.signer.signed.Load() != 0 {
		t.Fatalf("%+v", e)
	}
	if e = w.approve(ann, e.ID, ra.Issued); w.signer.signed.Load() != 1 || len(e.Approvals) != 1 {
		t.Fatalf("%+v", e)
	}
	// A renewal with the same key is free, and validated by itself.
	again := w.wants("one", dcv.DNSTXT, "a.example.com")
	late := w.submit(rob, again, ra.Validating)
	w.net.publish(late.Challenges...)
	late = w.validates(late.ID, ra.Waiting)
	w.clock.add(13 * time.Hour)
	got, err := w.Approve(t.Context(), ann, late.ID, "")
	must(t, err)
	if got.Phase != ra.Failed || !strings.Contains(got.Failure.Detail, "too long ago") {
		t.Errorf("approved after its proofs were over: %+v", got)
	}
	// The approval serves the next request of the same content.
	next := w.submit(rob, again, ra.Validating)
	w.net.publish(next.Challenges...)
	next = w.validates(next.ID, ra.Issued)
	if len(next.Approvals) != 1 || next.Content != late.Content {
		t.Errorf("%+v", next)
	}
	free := w.submit(rob, again, ra.Validating)
	w.net.publish(free.Challenges...)
	if free = w.validates(free.ID, ra.Issued); !free.Renews || len(free.Approvals) != 0 {
		t.Errorf("%+v", free)
	}
}

// TestOneOfTheSameContentWaits for people; another one ends and says so.
func TestOneOfTheSameContentWaits(t *testing.T) {
	w := newPendingWorld(t)
	req := w.wants("one", dcv.DNSTXT, "a.example.com")
	one, two := w.submit(rob, req, ra.Validating), w.submit(rob, req, ra.Validating)
	w.net.publish(one.Challenges...)
	w.validates(one.ID, ra.Waiting)
	w.net.publish(two.Challenges...)
	if two = w.validates(two.ID, ra.Failed); !strings.Contains(two.Failure.Detail, "request 1 of the same content") {
		t.Errorf("%+v", two.Failure)
	}
	w.approve(ann, one.ID, ra.Issued)
}

// TestProfileChangesMeanwhile: the request ends and says so; nothing is looked at and nothing is signed.
func TestProfileChangesMeanwhile(t *testing.T) {
	for name, change := range map[string]func(w *pendingWorld, c *ra.Config){
		"changed": func(w *pendingWorld, c *ra.Config) { c.Profiles["tls"] = newProfile(w.t, "tls", time.Hour) },
		"gone":    func(w *pendingWorld, c *ra.Config) { delete(c.Profiles, "tls") },
		"not the organisation's any more": func(w *pendingWorld, c *ra.Config) {
			c.Allowed = func(auth.OrgID, string) bool { return false }
		},
		"the organisation may not have the name": func(w *pendingWorld, c *ra.Config) {
			c.NameRules = func(auth.OrgID) []policy.NameRules {
				return []policy.NameRules{{Organisation: "main", Deny: []string{"a.example.com"}}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPendingWorld(t)
			e := w.begin("tls", dcv.DNSTXT, "a.example.com")
			w.net.publish(e.Challenges...)
			w.Registrar = w.pending(func(c *ra.Config) { change(w, c) })
			w.clock.add(2 * time.Minute)
			must(t, w.SweepValidations(t.Context()))
			got := w.read(e.ID)
			if got.Phase != ra.Failed || got.Failure.Detail == "" || w.net.count() != 0 || w.signer.signed.Load() != 0 || len(got.CSR) != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestADomainsProofCounts where it comes while a request waits, without anything being published for the request.
func TestADomainsProofCounts(t *testing.T) {
	w := newPendingWorld(t)
	d := domainsOver(t, w.world)
	w.Registrar = w.pending(func(c *ra.Config) { c.Domains = d.Domains })
	e := w.begin("tls", "", "www.example.com", "*.example.com", "other.example.org")
	must(t, w.SweepValidations(t.Context()))
	d.validated("example.com", "main", dcv.DNSTXT)
	e = w.validates(e.ID, ra.Validating)
	if challengeOf(t, e, "*.example.com").Validated.IsZero() || !challengeOf(t, e, "other.example.org").Validated.IsZero() {
		t.Errorf("%+v", e.Challenges)
	}
	e, err := w.Validate(t.Context(), rob, e.ID, ra.Validation{Method: dcv.HTTPFile})
	must(t, err)
	if c := challengeOf(t, e, "*.example.com"); c.Method != "" {
		t.Errorf("a method was chosen for a name with a proof: %+v", c)
	}
	w.net.publish(challengeOf(t, e, "other.example.org"))
	if e = w.validates(e.ID, ra.Issued); !slices.ContainsFunc(e.Proofs, func(p policy.Proven) bool { return p.Owner == 1 }) {
		t.Errorf("%+v", e.Proofs)
	}
	// The proof of a domain that goes meanwhile does not stay.
	late := w.begin("tls", "", "www.example.com", "third.example.org")
	if challengeOf(t, late, "www.example.com").Validated.IsZero() {
		t.Fatalf("%+v", late.Challenges)
	}
	_, err = d.Remove(t.Context(), operator, "example.com")
	must(t, err)
	if late = w.validates(late.ID, ra.Validating); !challengeOf(t, late, "www.example.com").Validated.IsZero() {
		t.Errorf("%+v", late.Challenges)
	}
}

// TestRenewalsAreValidatedAnew: proofs of the old one's names are not the new one's, which takes its place from the beginning on.
func TestRenewalsAreValidatedAnew(t *testing.T) {
	w := newPendingWorld(t)
	req := w.wants("tls", dcv.CSRHashHTTP, "a.example.com")
	req.Door = ra.DoorConsole
	old := w.submit(rob, req, ra.Validating)
	w.net.publish(old.Challenges...)
	old = w.validates(old.ID, ra.Issued)
	_, err := w.Renew(t.Context(), rob, ra.RenewRequest{Door: ra.DoorConsole, ID: old.ID})
	wantKind(t, err, problem.Unauthorized)
	next, err := w.Renew(t.Context(), rob, ra.RenewRequest{Door: ra.DoorConsole, ID: old.ID, Validate: &ra.Validation{Method: dcv.CSRHashHTTP}})
	must(t, err)
	if next.Phase != ra.Validating || next.Replaces != old.ID || next.CSRHash.SHA256 != old.CSRHash.SHA256 || next.CSRHash.Unique == old.CSRHash.Unique {
		t.Fatalf("%+v", next)
	}
	_, err = w.Renew(t.Context(), rob, ra.RenewRequest{Door: ra.DoorConsole, ID: old.ID, Validate: &ra.Validation{}})
	wantKind(t, err, problem.Conflict)
	w.validates(next.ID, ra.Validating)
	w.net.publish(next.Challenges...)
	if next = w.validates(next.ID, ra.Issued); w.signer.signed.Load() != 2 {
		t.Errorf("%+v", next)
	}
	if got, err := w.ReplacedBy(t.Context(), old); err != nil || got != next.ID {
		t.Errorf("replaced by %d, %v", got, err)
	}
}

// TestAKeyIsKeptWhileItsRequestWaits: the CSR that was made for it is what is validated, and the key goes with the request.
func TestAKeyIsKeptWhileItsRequestWaits(t *testing.T) {
	w := newPendingWorld(t)
	key := sealer(t, 1)
	w.Registrar = w.pending(func(c *ra.Config) {
		p, err := policy.New(policy.Config{Name: "kept", Issuer: "main", ServerKeys: policy.ServerKeysOn, DCVMethods: []dcv.Method{dcv.CSRHashHTTP}})
		must(t, err)
		c.Profiles["kept"], c.Escrow = p, ra.Escrow{Store: w.db, Sealer: key, Wait: 10 * time.Second}
	})
	ask := func() *ra.Enrollment {
		t.Helper()
		return w.submit(rob, ra.Request{
			Door: ra.DoorConsole, Profile: "kept", Names: ids(t, "a.example.com"), Key: policy.ECDSAP256, Validate: &ra.Validation{Method: dcv.CSRHashHTTP},
		}, ra.Validating)
	}
	e := ask()
	if e.KeyStored.IsZero() || e.Key != nil || e.CSRHash.SHA256 != sha256.Sum256(e.CSR) {
		t.Fatalf("%+v", e)
	}
	w.validates(e.ID, ra.Validating)
	w.net.publish(e.Challenges...)
	e = w.validates(e.ID, ra.Issued)
	if k, err := w.KeyOf(t.Context(), rob, e.ID); err != nil || k.Type != policy.ECDSAP256 {
		t.Errorf("%+v, %v", k, err)
	}
	gone := ask()
	gone, err := w.Cancel(t.Context(), rob, gone.ID)
	must(t, err)
	if !gone.KeyStored.IsZero() || gone.KeyDestroyed.IsZero() {
		t.Errorf("the key of a request that was taken back: %+v", gone)
	}
}

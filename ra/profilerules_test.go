package ra_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const day = 24 * time.Hour

// ruled is a registration authority over the world's store with one profile, "tls", that is changed from its usual state.
func (w *world) ruled(change func(*policy.Config)) *ra.Registrar {
	w.t.Helper()
	cfg := policy.Config{Name: "tls", Issuer: "main", Validity: day}
	change(&cfg)
	p, err := policy.New(cfg)
	must(w.t, err)
	return w.registrar(func(c *ra.Config) { c.Profiles = map[string]*policy.Profile{"tls": p} })
}

// unproven is a request without any proof.
func (w *world) unproven(door ra.Door, names ...string) ra.Request {
	w.t.Helper()
	csr, err := testca.CSR(newKey(w.t), names...)
	must(w.t, err)
	return ra.Request{Door: door, Profile: "tls", Names: ids(w.t, names...), CSR: csr}
}

// TestTermIsPinned: what was chosen is recorded with the request, and is what a later attempt issues for, also after a restart.
func TestTermIsPinned(t *testing.T) {
	w := newWorld(t)
	terms := func(c *policy.Config) { c.Terms, c.Validity = []time.Duration{day, 7 * day, 30 * day}, 7*day }
	r := w.ruled(terms)
	for term, want := range map[time.Duration]time.Duration{0: 7 * day, day: day, 30 * day: 30 * day} {
		req := w.request(alice, newKey(t), "www.example.com")
		req.Term = term
		e, err := r.Submit(t.Context(), alice, req)
		must(t, err)
		if got := w.read(e.ID); got.NotAfter.Sub(got.NotBefore)+time.Second != want || got.Term != term || got.Phase != ra.Issued {
			t.Errorf("the term %v: recorded %v, issued from %v to %v", term, got.Term, got.NotBefore, got.NotAfter)
		}
	}
	req := w.request(alice, newKey(t), "www.example.com")
	req.Term = 2 * day
	before := w.total()
	if _, err := r.Submit(t.Context(), alice, req); !problem.Is(err, problem.Malformed) || !errors.Is(err, policy.ErrTerm) || w.total() != before {
		t.Errorf("a term that is not the profile's: %v", err)
	}
	req.Term = 30 * day
	w.signer.down.Store(true)
	e, err := r.Submit(t.Context(), alice, req)
	must(t, err)
	w.signer.down.Store(false)
	w.clock.set(e.Due)
	must(t, w.ruled(terms).Sweep(t.Context()))
	if got := w.read(e.ID); got.Phase != ra.Issued || got.NotAfter.Sub(got.NotBefore)+time.Second != 30*day {
		t.Errorf("the second attempt: %+v", got)
	}
}

// TestCustomFieldsAreTaken: by name or number, recorded with both, demanded by door; and asked for once.
func TestCustomFieldsAreTaken(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	fields := func(mandatory ...string) func(*policy.Config) {
		f, err := policy.NewFields([]policy.Field{
			{Number: 7, Name: "Cost centre", Type: policy.FieldNumber, Mandatory: mandatory}, {Number: 3, Name: "Owner", Type: policy.FieldEmail},
		}, []string{string(ra.DoorConsole)})
		must(t, err)
		return func(c *policy.Config) {
			c.Fields, c.DCV, c.AllowNames = f, policy.NoValidation, []string{"*.example.com"}
		}
	}
	r := w.ruled(fields("console"))
	req := w.unproven(ra.DoorConsole, "www.example.com")
	console := auth.Caller{Principal: "uid:0", Org: 1}
	before := w.total()
	_, err := r.Submit(ctx, console, req)
	if !problem.Is(err, problem.Malformed) || !errors.Is(err, policy.ErrMissingField) || !strings.Contains(problem.From(err).Detail, `"Cost centre" is mandatory`) || w.total() != before {
		t.Errorf("without a mandatory field: %v", err)
	}
	req.CustomFields = []policy.FieldValue{{Name: "Owner", Value: "a@example.com"}, {Number: 7, Value: "4711"}}
	w.signer.down.Store(true)
	e, err := r.Submit(ctx, console, req)
	must(t, err)
	w.signer.down.Store(false)
	want := []policy.FieldValue{{Number: 3, Name: "Owner", Value: "a@example.com"}, {Number: 7, Name: "Cost centre", Value: "4711"}}
	if got := w.read(e.ID); got.Phase != ra.Requested || !slices.Equal(got.CustomFields, want) {
		t.Errorf("recorded %+v", got)
	}
	// Meanwhile the definitions have changed: one of its fields is gone, and another is mandatory.
	other, err := policy.NewFields([]policy.Field{{Number: 9, Name: "Rack", Mandatory: []string{"console"}}}, []string{"console"})
	must(t, err)
	w.clock.set(e.Due)
	later := w.ruled(func(c *policy.Config) { fields()(c); c.Fields = other })
	must(t, later.Sweep(ctx))
	if got := w.read(e.ID); got.Phase != ra.Issued || !slices.Equal(got.CustomFields, want) {
		t.Errorf("after the definitions changed: %+v, %+v", got, got.Failure)
	}
	if _, err := later.Submit(ctx, console, req); !errors.Is(err, policy.ErrUnknownField) {
		t.Errorf("a new request with old fields: %v", err)
	}
	// ACME orders cannot carry them, and are not asked.
	if e, err := r.Submit(ctx, alice, w.unproven(ra.DoorACME, "www.example.com")); err != nil || e.Phase != ra.Issued {
		t.Errorf("by ACME: %+v, %v", e, err)
	}
}

// TestNoValidationIsRecorded: each name of the certificate has the record that none was required, made for its requester when it
// was asked for, and a later attempt makes it anew. What the list does not allow is refused, whoever brings what.
func TestNoValidationIsRecorded(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.ruled(func(c *policy.Config) {
		c.DCV, c.AllowNames, c.AllowWildcards = policy.NoValidation, []string{"*.example.com"}, true
	})
	w.signer.down.Store(true)
	e, err := r.Submit(ctx, alice, w.unproven(ra.DoorACME, "www.example.com", "*.example.com"))
	must(t, err)
	w.signer.down.Store(false)
	recorded := func(phase ra.Phase) {
		t.Helper()
		got := w.read(e.ID)
		if got.Phase != phase || len(got.Proofs) != 2 {
			t.Fatalf("%+v", got)
		}
		var named []identifier.Identifier
		for _, p := range got.Proofs {
			named = append(named, p.Identifier)
			if p.Method != policy.NotRequired || p.Org != 1 || p.Account != "alice" || p.Seen == "" || p.At.Before(start) || p.Owner != 0 {
				t.Errorf("the record says %+v", p)
			}
		}
		if !slices.Equal(identifier.SortUnique(named), got.Names) {
			t.Errorf("records of %v, names %v", named, got.Names)
		}
	}
	recorded(ra.Requested)
	w.clock.set(e.Due)
	must(t, r.Sweep(ctx))
	recorded(ra.Issued)

	before := w.total()
	outside := w.request(eve, newKey(t), "www.example.org")
	_, err = r.Submit(ctx, eve, outside)
	wantKind(t, err, problem.RejectedIdentifier)
	// Under a profile that requires a validation, the record is none.
	strict := w.ruled(func(*policy.Config) {})
	req := w.unproven(ra.DoorACME, "www.example.com")
	req.Proofs = []policy.Proven{{Proof: dcv.Proof{Method: policy.NotRequired, Identifier: req.Names[0], At: w.clock.now()}, Org: 1, Account: "alice"}}
	_, err = strict.Submit(ctx, alice, req)
	wantKind(t, err, problem.Unauthorized)
	if w.total() != before {
		t.Error("a refused request is recorded")
	}
}

// TestDomainsAloneAreTaken: under dcv: domain a proof of the requester's own is none, whatever door it asks by.
func TestDomainsAloneAreTaken(t *testing.T) {
	w := newDomainWorld(t)
	p, err := policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: day, DCV: policy.PerDomain, AllowWildcards: true})
	must(t, err)
	w.reg = w.registrar(func(c *ra.Config) {
		c.Profiles, c.Domains, c.Validation.Validator = map[string]*policy.Profile{"tls": p}, w.Domains, w.dns
	})
	w.validated("example.com", "main", dcv.DNSTXT)
	w.issues(alice, "www.example.com", "*.example.com")
	w.refuses(eve, "www.example.com")
	w.refuses(alice, "www.example.com", "www.example.org")
	_, err = w.reg.Submit(t.Context(), alice, w.request(alice, newKey(t), "www.example.org")) // with a proof by http-01
	wantKind(t, err, problem.Unauthorized)
	if detail := problem.From(err).Detail; !strings.Contains(detail, "takes proofs of domains alone") {
		t.Errorf("the refusal says %q", detail)
	}
	waits := w.unproven(ra.DoorConsole, "www.example.org")
	waits.Validate = &ra.Validation{}
	_, err = w.reg.Submit(t.Context(), auth.Caller{Principal: "uid:0", Org: 1}, waits)
	wantKind(t, err, problem.RejectedIdentifier)
	if e, err := w.reg.Submit(t.Context(), auth.Caller{Principal: "uid:0", Org: 1}, w.unproven(ra.DoorConsole, "a.example.com")); err != nil || e.Phase != ra.Issued {
		t.Errorf("by another door: %+v, %v", e, err)
	}
}

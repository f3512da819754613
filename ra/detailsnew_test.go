package ra_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// fielded is a registration authority whose profile has a custom field, terms, and no validation.
func (w *world) fielded() *ra.Registrar {
	fields, err := policy.NewFields([]policy.Field{{Number: 7, Name: "Cost centre"}}, []string{"console"})
	must(w.t, err)
	return w.ruled(func(c *policy.Config) {
		c.Fields, c.DCV, c.AllowNames, c.Terms = fields, policy.NoValidation, []string{"*.example.com"}, []time.Duration{day, 30 * day}
	})
}

// TestFieldsSurviveTheStore: what was said with a request is in the journal before anybody is answered, also where the certificate
// comes by a later attempt, and comes back with the certificate into a store that was emptied.
func TestFieldsSurviveTheStore(t *testing.T) {
	for name, down := range map[string]bool{"issued at once": false, "issued later": true} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), t.Context()
			r := w.fielded()
			req := w.unproven(ra.DoorConsole, "www.example.com")
			req.Term, req.CustomFields = 30*day, []policy.FieldValue{{Name: "Cost centre", Value: "4711"}}
			w.signer.down.Store(down)
			e, err := r.Submit(ctx, auth.Caller{Principal: "uid:0", Org: 1}, req)
			must(t, err)
			w.signer.down.Store(false)
			if down {
				w.clock.set(e.Due)
				must(t, r.Sweep(ctx))
			}
			before := w.read(e.ID)
			n := newWorld(t)
			n.clock.set(w.clock.now())
			must(t, n.replay(w.journal.events, nil))
			must(t, n.replay(w.journal.events, nil)) // again, as after a crash
			got := n.read(e.ID)
			if before.Phase != ra.Issued || got.Serial != before.Serial || got.Term != 30*day || !slices.Equal(got.CustomFields, []policy.FieldValue{{Number: 7, Name: "Cost centre", Value: "4711"}}) {
				t.Errorf("came back as %+v, was %+v", got, before)
			}
		})
	}
}

// TestNothingIsSaidOfPlainRequests: what brings nothing costs no entry.
func TestNothingIsSaidOfPlainRequests(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "www.example.com")
	if slices.Contains(w.journal.about(""), audit.EnrollmentEdited) || w.read(e.ID).Edits != 0 {
		t.Errorf("the journal has %v", w.journal.about(""))
	}
}

// TestUnjournaledFieldsAreNotAcknowledged: the certificate is there, and the caller is told to look.
func TestUnjournaledFieldsAreNotAcknowledged(t *testing.T) {
	w := newWorld(t)
	w.journal.refuse(audit.EnrollmentEdited)
	req := w.unproven(ra.DoorConsole, "www.example.com")
	req.CustomFields = []policy.FieldValue{{Number: 7, Value: "4711"}}
	_, err := w.fielded().Submit(t.Context(), auth.Caller{Principal: "uid:0", Org: 1}, req)
	wantKind(t, err, problem.Unavailable)
	if w.total() != 1 {
		t.Errorf("%d enrollments", w.total())
	}
}

// TestCommentsComeWithARequest: what is to go with an enrollment is held to its form before anything is made, and is in the journal
// once the request is answered.
func TestCommentsComeWithARequest(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	r := w.fielded()
	caller := auth.Caller{Principal: "uid:0", Org: 1}
	for _, change := range []func(*ra.Request){
		func(q *ra.Request) { q.Comments = strings.Repeat("x", ra.MaxComments+1) },
		func(q *ra.Request) { q.Comments = "\xff" },
		func(q *ra.Request) { q.ExternalRequesters = []string{"ann@example.com", "nobody"} },
	} {
		req := w.unproven(ra.DoorConsole, "www.example.com")
		change(&req)
		_, err := r.Submit(ctx, caller, req)
		wantKind(t, err, problem.Malformed)
	}
	if n := w.total(); n != 0 {
		t.Errorf("%d enrollments came of it", n)
	}
	req := w.unproven(ra.DoorConsole, "www.example.com")
	req.Comments, req.ExternalRequesters = "ticket 7\nof Ann's", []string{"ann@example.com"}
	e, err := r.Submit(ctx, caller, req)
	must(t, err)
	n := newWorld(t)
	n.clock.set(w.clock.now())
	must(t, n.replay(w.journal.events, nil))
	for _, got := range []*ra.Enrollment{w.read(e.ID), n.read(e.ID)} {
		if got.Comments != "ticket 7\nof Ann's" || !slices.Equal(got.ExternalRequesters, []string{"ann@example.com"}) || got.Edits != 1 {
			t.Errorf("it is %+v", got)
		}
	}
}

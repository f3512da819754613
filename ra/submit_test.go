package ra_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestSubmitIssues holds the enrollment that comes back to what was asked for, and the store to the same.
func TestSubmitIssues(t *testing.T) {
	w := newWorld(t)
	req := w.request(alice, newKey(t), "www.example.com", "example.com")
	req.Claims = []ra.Claim{{Door: ra.DoorACME, Scope: "s", Name: "n"}}
	var begun ra.ID
	req.Begin = func(id ra.ID) any { begun = id; return nil }
	e, err := w.Submit(t.Context(), alice, req)
	must(t, err)

	profile, _ := w.Profile("tls")
	c := w.certificate(e.Serial)
	want := &ra.Enrollment{
		ID: 1, Org: 1, Door: ra.DoorACME, Requester: "acme:alice", Profile: "tls", ProfileHash: profile.Hash(),
		Names: ids(t, "example.com", "www.example.com"), CommonName: "example.com", Created: start, Claims: req.Claims,
		Phase: ra.Issued, Proofs: req.Proofs, Issuer: "main", Serial: c.Serial, NotBefore: start,
		NotAfter: start.Add(24*time.Hour - time.Second), // RFC 5280, 4.1.2.5: both ends are inside
		Issued:   start, Fingerprint: sha256.Sum256(c.DER), Version: e.Version,
	}
	same := cmp.Comparer(func(a, b identifier.Identifier) bool { return a == b })
	if diff := cmp.Diff(want, e, same); diff != "" {
		t.Error("came back:", diff)
	}
	if diff := cmp.Diff(want, w.read(e.ID), same); diff != "" {
		t.Error("was recorded:", diff)
	}
	if begun != e.ID {
		t.Errorf("the door was told of enrollment %d", begun)
	}
	leaf, err := x509.ParseCertificate(c.DER)
	must(t, err)
	if c.State != ca.Issued || c.Enrollment != 1 || ca.SerialOf(leaf.SerialNumber) != e.Serial || !leaf.NotAfter.Equal(e.NotAfter) {
		t.Errorf("the certificate's record is %+v", c)
	}
	kinds := w.journal.about(e.Serial)
	slices.Sort(kinds)
	if !slices.Equal(kinds, []audit.Kind{audit.Signed, audit.WillSign}) {
		t.Errorf("the journal says %v", kinds)
	}
	if due, err := w.db.DueEnrollments(t.Context(), start.Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("still due: %v, %v", due, err)
	}
}

// TestSubmitRefusalsRecordNothing: no enrollment, no intent, no entry in the journal and no number.
func TestSubmitRefusalsRecordNothing(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		spoil  func(r *ra.Request)
		want   problem.Kind
	}{
		{"RFC 2986: no CSR", alice, func(r *ra.Request) { r.CSR = []byte("nothing") }, problem.BadCSR},
		{"RFC 8555, 7.4: CSR for another name", alice, func(r *ra.Request) {
			r.CSR = w.request(alice, newKey(t), "b.example.com").CSR
		}, problem.BadCSR},
		{"unknown profile", alice, func(r *ra.Request) { r.Profile = "none" }, problem.Unauthorized},
		{"profile of other organisations", alice, func(r *ra.Request) { r.Profile = "inner" }, problem.Unauthorized},
		{"profile changed since it was pinned", alice, func(r *ra.Request) { r.ProfileHash = "00" }, problem.Unauthorized},
		{"no proof", alice, func(r *ra.Request) { r.Proofs = nil }, problem.Unauthorized},
		{"another account's proof", bob, func(*ra.Request) {}, problem.Unauthorized},
		{"another organisation's proof", auth.Caller{Principal: "acme:alice", Org: 2}, func(*ra.Request) {}, problem.Unauthorized},
		{"proof too old", alice, func(r *ra.Request) { r.Proofs[0].At = start.Add(-24 * time.Hour) }, problem.Unauthorized},
		{"a profile that the requester may not have", alice, func(r *ra.Request) { r.Restriction.Profiles = []string{"mail"} }, problem.Unauthorized},
		{"a name that the requester may not have", alice, func(r *ra.Request) { r.Restriction.Names = []string{"*.example.net"} }, problem.RejectedIdentifier},
		{"nobody", auth.Caller{}, func(*ra.Request) {}, problem.Unauthorized},
		{"the operator, who has no organisation", operator, func(*ra.Request) {}, problem.Unauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := w.request(alice, newKey(t), "a.example.com")
			req.Begin = func(ra.ID) any { t.Error("the door was told to begin"); return nil }
			tt.spoil(&req)
			w.engine.Reset()
			e, err := w.Submit(t.Context(), tt.caller, req)
			if e != nil {
				t.Errorf("enrollment %d came back", e.ID)
			}
			wantKind(t, err, tt.want)
			if trips := w.engine.Trips(); trips.Durable != 0 {
				t.Errorf("the store was written: %v", trips.By)
			}
		})
	}
	if kinds := w.journal.about(""); len(kinds) != 0 || w.signer.signed.Load() != 0 {
		t.Errorf("journal %v, %d signatures", kinds, w.signer.signed.Load())
	}
	if e := w.issue(alice, "a.example.com"); e.ID != 1 {
		t.Errorf("refusals used up numbers: the first enrollment is %d", e.ID)
	}
}

// TestSubmitNamesWhatLacksProof: each name has its reason (RFC 8555, 6.7.1).
func TestSubmitNamesWhatLacksProof(t *testing.T) {
	w := newWorld(t)
	req := w.request(alice, newKey(t), "a.example.com", "b.example.com", "c.example.com")
	req.Proofs = req.Proofs[1:2]
	_, err := w.Submit(t.Context(), alice, req)
	var lack []identifier.Identifier
	for _, p := range problem.From(err).Parts {
		lack = append(lack, p.Identifier)
	}
	if !slices.Equal(lack, ids(t, "a.example.com", "c.example.com")) {
		t.Errorf("%v lack a proof", lack)
	}
}

// TestSubmitWithoutANumber: if the store cannot give one, nothing is recorded.
func TestSubmitWithoutANumber(t *testing.T) {
	w := newWorld(t)
	remove := w.engine.Inject(storetest.Fault{Method: storetest.NextID, Before: storage.ErrUnavailable})
	e, err := w.Submit(t.Context(), alice, w.request(alice, newKey(t), "a.example.com"))
	remove()
	wantKind(t, err, problem.Unavailable)
	if e != nil || w.total() != 0 || len(w.journal.about("")) != 0 {
		t.Errorf("enrollment %v, %d recorded, journal %v", e, w.total(), w.journal.about(""))
	}
}

// TestSubmitLosesToAnother: of two requests for one order, or with one claim, the second is a Conflict and leaves nothing.
func TestSubmitLosesToAnother(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stake func(w *world) func(r *ra.Request)
	}{
		{"order", func(w *world) func(r *ra.Request) {
			o := &acme.Order{ID: "o", Account: "alice", Org: 1, Names: ids(t, "a.example.com"), Created: start, Expires: start.AddDate(50, 0, 0)}
			must(t, w.db.CreateOrder(t.Context(), o, nil))
			return func(r *ra.Request) {
				seen := *o
				r.Begin = func(id ra.ID) any { return &acme.OrderBegun{Order: &seen, Enrollment: id} }
			}
		}},
		{"claim", func(*world) func(r *ra.Request) {
			return func(r *ra.Request) { r.Claims = []ra.Claim{{Door: ra.DoorACME, Name: "one"}} }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			put := tt.stake(w)
			first, second := w.request(alice, newKey(t), "a.example.com"), w.request(alice, newKey(t), "a.example.com")
			put(&first)
			put(&second)
			won, err := w.Submit(t.Context(), alice, first)
			must(t, err)
			e, err := w.Submit(t.Context(), alice, second)
			wantKind(t, err, problem.Conflict)
			if e != nil {
				t.Errorf("enrollment %d came back", e.ID)
			}
			if w.total() != 1 || w.signer.signed.Load() != 1 || len(w.revoked()) != 0 {
				t.Errorf("%d enrollments, %d signatures, %v abandoned", w.total(), w.signer.signed.Load(), w.revoked())
			}
			if open, err := w.db.OpenIntents(t.Context(), start.Add(time.Hour), 10); err != nil || len(open) != 0 {
				t.Errorf("open intents: %v, %v", open, err)
			}
			if got := w.read(won.ID); got.Phase != ra.Issued {
				t.Errorf("the winner is in phase %d", got.Phase)
			}
			// What the journal announced for the loser has its end there.
			kinds := w.journal.about("")
			if n := len(kinds); n != 4 || kinds[n-1] != audit.Abandoned {
				t.Errorf("the journal says %v", kinds)
			}
		})
	}
}

// TestSubmitComesBackRequested if something fails behind the intent; the sweep finishes it with another serial.
func TestSubmitComesBackRequested(t *testing.T) {
	recording := func(b storage.Batch) bool { // step 10 removes the intent from the list of the open ones, and adds nothing there
		return slices.ContainsFunc(b.Removes, func(e storage.Entry) bool { return e.Index == "intents" }) &&
			!slices.ContainsFunc(b.Adds, func(e storage.Entry) bool { return e.Index == "revoked/main" })
	}
	for _, tt := range []struct {
		name string
		fail func(w *world) (repair func())
	}{
		{"step 7: journal", func(w *world) func() {
			w.journal.refuse(audit.WillSign)
			return func() { w.journal.refuse("") }
		}},
		{"step 8: signer", func(w *world) func() {
			w.signer.down.Store(true)
			return func() { w.signer.down.Store(false) }
		}},
		{"step 10: store", func(w *world) func() {
			return w.engine.Inject(storetest.Fault{Method: storetest.Commit, Match: recording, Before: storage.ErrUnavailable})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			repair := tt.fail(w)
			req := w.request(alice, newKey(t), "a.example.com")
			e, err := w.Submit(t.Context(), alice, req)
			must(t, err)
			repair()
			if e.Phase != ra.Requested || e.Attempts != 1 || !e.Due.Equal(start.Add(5*time.Second)) || !slices.Equal(e.CSR, req.CSR) {
				t.Fatalf("it came back as %+v", e)
			}
			if diff := cmp.Diff(e.Version, w.read(e.ID).Version); diff != "" {
				t.Error("it is not what is recorded:", diff)
			}
			w.abandoned(e.Serial)

			w.clock.add(5*time.Second - time.Millisecond)
			must(t, w.Sweep(t.Context()))
			if got := w.read(e.ID); got.Version != e.Version {
				t.Errorf("it was touched before it was due: %+v", got)
			}
			w.clock.add(time.Millisecond)
			must(t, w.Sweep(t.Context()))
			got := w.read(e.ID)
			if got.Phase != ra.Issued || got.Serial == e.Serial || got.CSR != nil || !got.Issued.Equal(start.Add(5*time.Second)) {
				t.Errorf("after the sweep: %+v", got)
			}
			if c := w.certificate(got.Serial); c.State != ca.Issued || sha256.Sum256(c.DER) != got.Fingerprint {
				t.Errorf("its certificate: %+v", c)
			}
			w.abandoned(e.Serial)
			if len(w.revoked()) != 1 {
				t.Errorf("on the list: %v", w.revoked())
			}
		})
	}
}

// TestSubmitReleasesNothingUnjournaled: with the journal gone at step 11 the certificate is on record, and the answer is an
// error all the same.
func TestSubmitReleasesNothingUnjournaled(t *testing.T) {
	w := newWorld(t)
	w.journal.refuse(audit.Signed)
	e, err := w.Submit(t.Context(), alice, w.request(alice, newKey(t), "a.example.com"))
	wantKind(t, err, problem.Unavailable)
	if e != nil {
		t.Errorf("enrollment %d came back", e.ID)
	}
	got := w.read(1)
	if got.Phase != ra.Issued || w.certificate(got.Serial).State != ca.Issued || len(w.revoked()) != 0 {
		t.Errorf("recorded is %+v", got)
	}
	w.clock.add(time.Hour)
	must(t, w.Sweep(t.Context()))
	if w.read(1).Version != got.Version || w.signer.signed.Load() != 1 {
		t.Error("a sweep went on with what is issued")
	}
}

// TestSubmitGoesOnWithoutItsCaller: once it is begun, an issuance is finished though the caller hung up.
func TestSubmitGoesOnWithoutItsCaller(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := func(step int) {
		if step == 6 {
			cancel()
		}
	}
	w.step.Store(&f)
	e, err := w.Submit(ctx, alice, w.request(alice, newKey(t), "a.example.com"))
	must(t, err)
	if e.Phase != ra.Issued {
		t.Errorf("it is in phase %d", e.Phase)
	}
	req := w.request(alice, newKey(t), "b.example.com")
	_, err = w.Submit(ctx, alice, req) // hung up before it began
	wantKind(t, err, problem.Unavailable)
	if w.total() != 1 {
		t.Errorf("%d enrollments", w.total())
	}
}

// TestSubmitPinsTheProfile that the door named, and otherwise the one of the moment.
func TestSubmitPinsTheProfile(t *testing.T) {
	w := newWorld(t)
	profile, ok := w.Profile("tls")
	if _, none := w.Profile("none"); !ok || none {
		t.Fatal("profiles are not found by name")
	}
	req := w.request(alice, newKey(t), "a.example.com")
	req.ProfileHash = profile.Hash()
	e, err := w.Submit(t.Context(), alice, req)
	must(t, err)
	if e.ProfileHash != profile.Hash() || w.certificate(e.Serial).ProfileHash != profile.Hash() {
		t.Errorf("pinned is %s", e.ProfileHash)
	}
	csr, err := testca.CSRWithCommonName(newKey(t), "b.example.com", "a.example.com")
	must(t, err)
	req = w.request(alice, newKey(t), "b.example.com", "a.example.com")
	req.CSR = csr
	if e, err = w.Submit(t.Context(), alice, req); err != nil || e.CommonName != "a.example.com" {
		t.Errorf("the CN is the profile's choice: %+v, %v", e, err)
	}
}

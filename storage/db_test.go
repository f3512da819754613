package storage_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// open makes a DB over a new embedded engine that counts and can be disturbed.
func open(t *testing.T) (*storage.DB, *storetest.Counting) {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := storetest.NewCounting(e)
	db, err := storage.Open(t.Context(), storage.Config{Engine: c, Issuers: []string{"main"}})
	if err != nil {
		t.Fatal(err)
	}
	return db, c
}

func names(t *testing.T, list ...string) []identifier.Identifier {
	t.Helper()
	var out []identifier.Identifier
	for _, s := range list {
		id, err := identifier.ParseDNS(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, id)
	}
	return out
}

func random() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func newAccount(t *testing.T, db *storage.DB) *acme.Account {
	t.Helper()
	a := &acme.Account{ID: acme.AccountID(random()), Org: 1, Key: []byte("{}"), Thumbprint: random(), Created: now()}
	must(t, db.CreateAccount(t.Context(), a, nil))
	return a
}

func newOrder(t *testing.T, db *storage.DB, a *acme.Account) (*acme.Order, *acme.Authorization) {
	t.Helper()
	z := &acme.Authorization{
		ID: acme.AuthzID(random()), Account: a.ID, Org: 1, Identifier: names(t, "www.example.com")[0], Created: now(), Expires: now().Add(time.Hour),
		Challenges: []acme.Challenge{{Method: "http-01", Token: "t"}},
	}
	o := &acme.Order{
		ID: acme.OrderID(random()), Account: a.ID, Org: 1, Names: names(t, "www.example.com"), Authzs: []acme.AuthzID{z.ID},
		Created: now(), Expires: now().Add(time.Hour),
	}
	must(t, db.CreateOrder(t.Context(), o, []*acme.Authorization{z}))
	return o, z
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func intent(e *ra.Enrollment) ca.Intent {
	return ca.Intent{
		Issuer: "main", Serial: ca.Serial("01" + random()), Names: e.Names, NotBefore: now(), NotAfter: now().Add(time.Hour),
		Enrollment: int64(e.ID), Requester: policy.Requester{Org: int32(e.Org), Door: "acme", Principal: e.Requester}, Opened: now(),
	}
}

// begun is an issuance whose intent is recorded.
func begun(t *testing.T, db *storage.DB) (*ra.Issuance, ca.Intent) {
	t.Helper()
	i := unbegun(t, db)
	in := intent(i.Enrollment)
	must(t, db.RecordIntent(t.Context(), in, i))
	return i, in
}

func unbegun(t *testing.T, db *storage.DB) *ra.Issuance {
	t.Helper()
	id, err := db.NextEnrollment(t.Context())
	must(t, err)
	return &ra.Issuance{Enrollment: &ra.Enrollment{
		ID: id, Org: 1, Door: ra.DoorACME, Requester: "acme:a", Names: names(t, "www.example.com"), Created: now(),
		Phase: ra.Requested, Due: now().Add(time.Minute),
	}}
}

// issued is one whose certificate is recorded.
func issued(t *testing.T, db *storage.DB) (*ra.Enrollment, *ca.Certificate) {
	t.Helper()
	i, in := begun(t, db)
	must(t, db.RecordCertificate(t.Context(), ca.Certificate{Intent: in, DER: []byte(in.Serial), Issued: now()}, i))
	c, err := db.Certificate(t.Context(), in.Issuer, in.Serial)
	must(t, err)
	return i.Enrollment, c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// race runs both at once and demands that exactly one wins and the other finds a Conflict.
func race(t *testing.T, a, b func() error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, f := range []func() error{a, b} {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !problem.Is(err, problem.Conflict):
			t.Errorf("the loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d won: %v", won, errs)
	}
}

// TestEveryTransitionHasOneWinner runs each transition twice at once.
func TestEveryTransitionHasOneWinner(t *testing.T) {
	db, _ := open(t)
	ctx := context.Background()
	for round := range 20 {
		account := newAccount(t, db)
		t.Run(fmt.Sprint("CreateAccount", round), func(t *testing.T) {
			key := random()
			create := func() error {
				return db.CreateAccount(ctx, &acme.Account{ID: acme.AccountID(random()), Org: 1, Thumbprint: key, Created: now()}, nil)
			}
			race(t, create, create)
		})
		t.Run(fmt.Sprint("UpdateAccount", round), func(t *testing.T) {
			update := func() error { c := *account; c.Contacts = []string{random()}; return db.UpdateAccount(ctx, &c) }
			race(t, update, update)
		})
		t.Run(fmt.Sprint("FinishChallenge", round), func(t *testing.T) {
			_, z := newOrder(t, db, account)
			finish := func() error { c := *z; return db.FinishChallenge(ctx, &c) }
			race(t, finish, finish)
		})
		t.Run(fmt.Sprint("BeginOrder", round), func(t *testing.T) {
			o, _ := newOrder(t, db, account)
			begin := func() error {
				i := unbegun(t, db)
				i.Begin = &acme.OrderBegun{Order: o, Enrollment: i.Enrollment.ID}
				return db.RecordIntent(ctx, intent(i.Enrollment), i)
			}
			race(t, begin, begin)
		})
		t.Run(fmt.Sprint("RecordOrAbandon", round), func(t *testing.T) {
			i, in := begun(t, db)
			record := func() error {
				return db.RecordCertificate(ctx, ca.Certificate{Intent: in, DER: []byte{1}, Issued: now()}, i)
			}
			race(t, record, func() error { return db.AbandonIntent(ctx, in.Issuer, in.Serial, now()) })
		})
		t.Run(fmt.Sprint("RecordOrTake", round), func(t *testing.T) {
			i, in := begun(t, db)
			taken := *i.Enrollment
			record := func() error {
				return db.RecordCertificate(ctx, ca.Certificate{Intent: in, DER: []byte{1}, Issued: now()}, i)
			}
			race(t, record, func() error { return db.TakeEnrollment(ctx, &taken, now().Add(time.Minute)) })
		})
		t.Run(fmt.Sprint("Revoke", round), func(t *testing.T) {
			_, c := issued(t, db)
			revoke := func() error { return db.RecordRevocation(ctx, *c, ca.Revocation{At: now(), Actor: "a"}) }
			race(t, revoke, revoke)
		})
		t.Run(fmt.Sprint("FailEnrollment", round), func(t *testing.T) {
			i, _ := begun(t, db)
			fail := func() error { e := *i.Enrollment; return db.FailEnrollment(ctx, &e, ra.Failure{At: now()}) }
			race(t, fail, fail)
		})
		t.Run(fmt.Sprint("TakeCRLLease", round), func(t *testing.T) {
			lease, err := db.CRLLease(ctx, random(), 0)
			must(t, err)
			take := func() error { _, err := db.TakeCRLLease(ctx, lease, random(), time.Minute); return err }
			race(t, take, take)
		})
		t.Run(fmt.Sprint("SaveCRL", round), func(t *testing.T) {
			issuer := random()
			lease, err := db.TakeCRLLease(ctx, publish.Lease{Issuer: issuer}, "a", time.Minute)
			must(t, err)
			save := func() error { return db.SaveCRL(ctx, publish.CRL{Issuer: issuer, Number: 1}, nil, lease) }
			race(t, save, save)
		})
		t.Run(fmt.Sprint("RotateNonceKeys", round), func(t *testing.T) {
			keys, err := db.NonceKeys(ctx)
			must(t, err)
			rotate := func() error { return db.RotateNonceKeys(ctx, keys) }
			race(t, rotate, rotate)
		})
	}
}

// TestARevokedCertificateIsEverywhere: the enrollment's phase, the certificate and the CRL's entry move together, and a
// raised reason replaces the entry.
func TestARevokedCertificateIsEverywhere(t *testing.T) {
	db, _ := open(t)
	ctx := t.Context()
	e, c := issued(t, db)
	must(t, db.RecordRevocation(ctx, *c, ca.Revocation{At: now(), Reason: 4, Actor: "uid:0"}))
	check := func(reason ca.Reason) *ca.Certificate {
		t.Helper()
		got, err := db.Enrollment(ctx, e.ID)
		must(t, err)
		if got.Phase != ra.Revoked || got.Revocation.Reason != reason {
			t.Errorf("the enrollment is %v, %+v", got.Phase, got.Revocation)
		}
		list, err := db.Revoked(ctx, "main", now())
		must(t, err)
		if len(list) != 1 || list[0].Serial != c.Serial || list[0].Reason != reason {
			t.Errorf("the list is %+v", list)
		}
		cert, err := db.Certificate(ctx, c.Issuer, c.Serial)
		must(t, err)
		return cert
	}
	again := check(4)
	must(t, db.RecordRevocation(ctx, *again, ca.Revocation{At: again.Revocation.At, Reason: 1, Actor: "uid:0"}))
	check(1)
}

// TestAnAbandonedSerialIsOnTheList until its notAfter, and no certificate can be recorded for it.
func TestAnAbandonedSerialIsOnTheList(t *testing.T) {
	db, _ := open(t)
	ctx := t.Context()
	i, in := begun(t, db)
	open, err := db.OpenIntents(ctx, now().Add(time.Second), 10)
	must(t, err)
	if len(open) != 1 || open[0].Serial != in.Serial {
		t.Fatalf("open intents: %+v", open)
	}
	must(t, db.AbandonIntent(ctx, in.Issuer, in.Serial, now()))
	if err := db.RecordCertificate(ctx, ca.Certificate{Intent: in, DER: []byte{1}}, i); !problem.Is(err, problem.Conflict) {
		t.Errorf("a late signature was recorded: %v", err)
	}
	list, err := db.Revoked(ctx, "main", now())
	must(t, err)
	if len(list) != 1 || list[0].Serial != in.Serial || list[0].Reason != 0 {
		t.Errorf("the list is %+v", list)
	}
	if open, _ := db.OpenIntents(ctx, now().Add(time.Second), 10); len(open) != 0 {
		t.Errorf("still open: %+v", open)
	}
	lease, err := db.CRLLease(ctx, "main", 0)
	must(t, err)
	lease, err = db.TakeCRLLease(ctx, lease, "a", time.Minute)
	must(t, err)
	if n, err := db.DropExpired(ctx, lease, in.NotAfter.Add(time.Second), 10); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
}

// TestUnknownCommitsAreSettled: a commit whose answer was lost counts as done if it was done.
func TestUnknownCommitsAreSettled(t *testing.T) {
	db, c := open(t)
	remove := c.Inject(storetest.Fault{Method: storetest.Commit, After: storage.ErrUnknown})
	a := newAccount(t, db)
	remove()
	if got, err := db.AccountByKey(t.Context(), a.Thumbprint); err != nil || got.Version != a.Version {
		t.Errorf("the account is %+v, %v", got, err)
	}
	defer c.Inject(storetest.Fault{Method: storetest.Commit, Before: storage.ErrUnknown})()
	err := db.UpdateAccount(t.Context(), a)
	if !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
		t.Errorf("a commit that did not happen: %v", err)
	}
}

// TestAFailingStoreIsUnavailable and never "not found".
func TestAFailingStoreIsUnavailable(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	for _, m := range []storetest.Method{storetest.Get, storetest.Spend, storetest.Commit, storetest.Scan, storetest.NextID} {
		defer c.Inject(storetest.Fault{Method: m, Before: storage.ErrUnavailable})()
	}
	calls := map[string]error{}
	_, calls["Admit"] = db.Admit(ctx, acme.Admission{Account: "a"})
	_, calls["AccountByKey"] = db.AccountByKey(ctx, "k")
	_, _, calls["FinalizeFacts"] = db.FinalizeFacts(ctx, &acme.Order{}, "k")
	calls["CreateAccount"] = db.CreateAccount(ctx, &acme.Account{ID: "a"}, nil)
	_, _, calls["Orders"] = db.Orders(ctx, "a", "", 10)
	_, calls["Certificate"] = db.Certificate(ctx, "main", "01")
	_, calls["Enrollment"] = db.Enrollment(ctx, 1)
	_, calls["Search"] = db.Search(ctx, ra.Query{Org: 1, Limit: 1}, now())
	_, calls["EnrollmentsBySerial"] = db.EnrollmentsBySerial(ctx, "01")
	_, calls["NextEnrollment"] = db.NextEnrollment(ctx)
	_, calls["CRL"] = db.CRL(ctx, "main", 0)
	_, calls["Revoked"] = db.Revoked(ctx, "main", now())
	_, calls["CRLLease"] = db.CRLLease(ctx, "main", 0)
	_, calls["TakeCRLLease"] = db.TakeCRLLease(ctx, publish.Lease{Issuer: "main"}, "a", time.Minute)
	calls["ReturnCRLLease"] = db.ReturnCRLLease(ctx, publish.Lease{Issuer: "main"})
	_, calls["NonceKeys"] = db.NonceKeys(ctx)
	for name, err := range calls {
		if !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnOlderProcessOnlyReads what a newer one has written, from the moment the marker is raised.
func TestAnOlderProcessOnlyReads(t *testing.T) {
	db, c := open(t)
	a := newAccount(t, db)
	must(t, c.Commit(t.Context(), storage.Batch{
		Version: storage.NewVersion(),
		Puts:    []storage.Put{{Key: "meta", Value: []byte{2, 0xa1, 0x01, 0x02}}}, // {1: 2}
	}))
	older, err := storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	for name, db := range map[string]*storage.DB{"running": db, "started later": older} {
		if _, err := db.AccountByKey(t.Context(), a.Thumbprint); err != nil {
			t.Errorf("%s cannot read: %v", name, err)
		}
		if err := db.UpdateAccount(t.Context(), a); !problem.Is(err, problem.Unavailable) {
			t.Errorf("%s wrote: %v", name, err)
		}
	}
}

// TestNumbersAreNeverReused, though the sequence went back under a running process.
func TestNumbersAreNeverReused(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	for range 3 {
		begun(t, db)
	}
	// A second process reserves from a sequence that knows nothing of the records.
	behind := &wentBack{Engine: c}
	other, err := storage.Open(ctx, storage.Config{Engine: behind})
	must(t, err)
	behind.back = true
	i := unbegun(t, other)
	if err := other.RecordIntent(ctx, intent(i.Enrollment), i); !problem.Is(err, problem.Unavailable) {
		t.Fatalf("a number that is taken: %v", err)
	}
	if behind.lifted < 3 {
		t.Errorf("the sequence was lifted to %d", behind.lifted)
	}
}

// wentBack is an engine whose sequence starts again.
type wentBack struct {
	storage.Engine
	back   bool
	lifted int64
}

func (w *wentBack) NextID(ctx context.Context, seq string, n int) (int64, error) {
	if w.back {
		return w.lifted + 1, nil
	}
	return w.Engine.NextID(ctx, seq, n)
}

func (w *wentBack) LiftID(_ context.Context, _ string, last int64) error {
	if w.back {
		w.lifted = last
	}
	return nil
}

// TestReusableAuthorizationsAreTheAccountsOwn even if a pointer were wrong.
func TestReusableAuthorizationsAreTheAccountsOwn(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	a, b := newAccount(t, db), newAccount(t, db)
	_, z := newOrder(t, db, a)
	if found, err := db.UsableAuthorizations(ctx, a.ID, names(t, "www.example.com")); err != nil || found[0] != nil {
		t.Fatalf("a pending authorization is usable: %v, %v", found, err)
	}
	z.Challenges[0].Proof = &dcv.Proof{Method: dcv.HTTP01, Identifier: z.Identifier, At: now()}
	must(t, db.FinishChallenge(ctx, z))
	found, err := db.UsableAuthorizations(ctx, a.ID, names(t, "www.example.com", "other.example.com"))
	if err != nil || found[0] == nil || found[0].ID != z.ID || found[1] != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if found, _ := db.UsableAuthorizations(ctx, b.ID, names(t, "www.example.com")); found[0] != nil {
		t.Error("another account's authorization was found")
	}
	must(t, c.Commit(ctx, storage.Batch{
		Version: storage.NewVersion(),
		Puts:    []storage.Put{{Key: storage.Key("usable/" + string(b.ID) + "/dns:www.example.com"), Value: []byte(z.ID)}},
	}))
	if found, _ := db.UsableAuthorizations(ctx, b.ID, names(t, "www.example.com")); found[0] != nil {
		t.Error("a pointer to another account's authorization was believed")
	}
}

// TestDueWorkIsListedOnce, moves with its time and ends with the phase.
func TestDueWorkIsListedOnce(t *testing.T) {
	db, _ := open(t)
	ctx := t.Context()
	i, in := begun(t, db)
	due := func(at time.Time) int {
		t.Helper()
		list, err := db.DueEnrollments(ctx, at, 10)
		must(t, err)
		return len(list)
	}
	if due(now()) != 0 || due(now().Add(2*time.Minute)) != 1 {
		t.Fatal("due at the wrong time")
	}
	must(t, db.TakeEnrollment(ctx, i.Enrollment, now().Add(time.Hour)))
	if due(now().Add(2*time.Minute)) != 0 || due(now().Add(2*time.Hour)) != 1 {
		t.Error("taking did not move the time")
	}
	must(t, db.AbandonIntent(ctx, in.Issuer, in.Serial, now()))
	in2 := intent(i.Enrollment)
	must(t, db.RecordIntent(ctx, in2, i))
	must(t, db.RecordCertificate(ctx, ca.Certificate{Intent: in2, DER: []byte{1}, Issued: now()}, i))
	if due(now().Add(2*time.Hour)) != 0 {
		t.Error("an issued enrollment is still due")
	}
}

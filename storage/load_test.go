package storage_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// openNamed is a DB whose engine can be exported.
func openNamed(t *testing.T, deployment string) (*storage.DB, *embedded.Engine) {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	db, err := storage.Open(t.Context(), storage.Config{Engine: e, Deployment: deployment})
	must(t, err)
	return db, e
}

// export is everything in a store but its versions, and the sequence, of which blocks are taken.
func export(t *testing.T, e *embedded.Engine) (lines []string) {
	t.Helper()
	must(t, e.Export(t.Context(), embedded.Visitor{
		Record: func(k storage.Key, item storage.Item, expires time.Time) error {
			lines = append(lines, fmt.Sprintf("%s %x %v", k, item.Value, expires))
			return nil
		},
		Member: func(entry storage.Entry) error {
			lines = append(lines, fmt.Sprintf("%s %x", entry.Index, entry.Member))
			return nil
		},
	}))
	return lines
}

// finished makes enrollments with their certificates as they were when they began; every third is to be revoked.
func finished(t *testing.T, n int) (begun []ra.Enrollment, certificates []ca.Certificate, revocations []*ca.Revocation) {
	t.Helper()
	for i := range n {
		e := ra.Enrollment{
			ID: ra.ID(i + 1), Org: 7, Door: ra.DoorACME, Requester: "acme:a", Profile: "tls", ProfileHash: "00ff",
			Names: names(t, fmt.Sprintf("h%d.example.com", i), "example.net"), Created: now(), Phase: ra.Requested,
			Claims: []ra.Claim{{Door: "other", Scope: "s", Name: fmt.Sprint(i)}},
			CSR:    []byte{0x30}, Due: now().Add(time.Minute), Attempts: 1,
		}
		in := ca.Intent{
			Issuer: "main", Serial: ca.Serial("01" + random()), TBSHash: [32]byte{byte(i)}, Names: e.Names, NotBefore: now(),
			NotAfter: now().Add(time.Duration(i+1) * time.Hour), Enrollment: int64(e.ID), Profile: e.Profile, ProfileHash: e.ProfileHash,
			Requester: policy.Requester{Org: 7, Door: "acme", Principal: e.Requester}, Opened: now(),
		}
		begun = append(begun, e)
		certificates = append(certificates, ca.Certificate{Intent: in, State: ca.Issued, DER: []byte(in.Serial), Issued: now()})
		revocations = append(revocations, nil)
		if i%3 == 2 {
			revocations[i] = &ca.Revocation{At: now(), Reason: 4, Actor: "acme:a"}
		}
	}
	return begun, certificates, revocations
}

func loadedFrom(e ra.Enrollment, c ca.Certificate, r *ca.Revocation) storage.Loaded {
	after := (&ra.Issuance{Enrollment: &e}).Completed(c)
	if r != nil {
		c.Revocation = r
		after = after.Revoke(*r)
	}
	return storage.Loaded{Enrollment: after, Certificate: &c}
}

// TestLoadLeavesWhatAnIssuanceLeaves compares a store that was loaded with one in which everything was issued and revoked.
func TestLoadLeavesWhatAnIssuanceLeaves(t *testing.T) {
	ctx := t.Context()
	issuedDB, issuedEngine := openNamed(t, "same")
	loadedDB, loadedEngine := openNamed(t, "same")
	begun, certificates, revocations := finished(t, 7)
	var list []storage.Loaded
	for i, e := range begun {
		list = append(list, loadedFrom(e, certificates[i], revocations[i]))

		issuance := &ra.Issuance{Enrollment: &e}
		must(t, issuedDB.RecordIntent(ctx, certificates[i].Intent, issuance))
		must(t, issuedDB.RecordCertificate(ctx, certificates[i], issuance))
		if r := revocations[i]; r != nil {
			c, err := issuedDB.Certificate(ctx, "main", certificates[i].Serial)
			must(t, err)
			must(t, issuedDB.RecordRevocation(ctx, *c, *r))
		}
	}
	must(t, loadedDB.Load(ctx, list))
	if diff := cmp.Diff(export(t, issuedEngine), export(t, loadedEngine)); diff != "" {
		t.Errorf("issued - loaded +:\n%s", diff)
	}
	before := export(t, loadedEngine)
	begun, certificates, revocations = finished(t, 9)
	list = list[:0]
	for i := 8; i >= 0; i-- { // two that are not there, then one whose number is
		list = append(list, loadedFrom(begun[i], certificates[i], revocations[i]))
	}
	if err := loadedDB.Load(ctx, list); !problem.Is(err, problem.Conflict) {
		t.Errorf("loading numbers that exist: %v, want a conflict", err)
	}
	if diff := cmp.Diff(before, export(t, loadedEngine)); diff != "" {
		t.Errorf("a refused load left something:\n%s", diff)
	}
}

func TestLoadRefusesWhatNoIssuanceLeaves(t *testing.T) {
	db, e := openNamed(t, "")
	before := export(t, e)
	for name, spoil := range map[string]func(*storage.Loaded){
		"requested":         func(l *storage.Loaded) { l.Enrollment.Phase = ra.Requested },
		"revoked by half":   func(l *storage.Loaded) { l.Certificate.Revocation = &ca.Revocation{} },
		"an open intent":    func(l *storage.Loaded) { l.Certificate.State = ca.Open },
		"of another number": func(l *storage.Loaded) { l.Certificate.Enrollment++ },
		"of another serial": func(l *storage.Loaded) { l.Enrollment.Serial += "00" },
	} {
		begun, certificates, _ := finished(t, 1)
		l := loadedFrom(begun[0], certificates[0], nil)
		spoil(&l)
		if err := db.Load(t.Context(), []storage.Loaded{l}); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if diff := cmp.Diff(before, export(t, e)); diff != "" {
		t.Errorf("something was loaded:\n%s", diff)
	}
}

func TestReservedNumbersAreNobodyElses(t *testing.T) {
	db, _ := openNamed(t, "")
	seen := map[ra.ID]bool{}
	for range 3 {
		first, err := db.ReserveEnrollments(t.Context(), 150)
		must(t, err)
		other, err := db.NextEnrollment(t.Context())
		must(t, err)
		for id := first; id < first+150; id++ {
			seen[id] = true
		}
		seen[other] = true
	}
	if len(seen) != 3*151 {
		t.Errorf("%d numbers were handed out, want %d", len(seen), 3*151)
	}
	if _, err := db.ReserveEnrollments(t.Context(), 10_001); err == nil {
		t.Error("more numbers than a block has were reserved")
	}
}

func TestDeploymentOfWritesNothing(t *testing.T) {
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	if id, found, err := storage.DeploymentOf(t.Context(), e); id != "" || found || err != nil {
		t.Errorf("an empty store is %q, %v, %v", id, found, err)
	}
	if left := export(t, e); len(left) != 0 {
		t.Errorf("asking wrote %q", left)
	}
	db, err := storage.Open(t.Context(), storage.Config{Engine: e})
	must(t, err)
	if id, found, err := storage.DeploymentOf(t.Context(), e); id != db.Deployment() || !found || err != nil {
		t.Errorf("the store of %q is %q, %v, %v", db.Deployment(), id, found, err)
	}
}

// reader counts the records that are read.
type reader struct {
	storage.Engine
	records int
}

func (r *reader) Get(ctx context.Context, keys ...storage.Key) ([]storage.Item, error) {
	r.records += len(keys)
	return r.Engine.Get(ctx, keys...)
}

// TestAPageByNamesReadsItsRecordsAlone: names say which enrollments they are of, so a page of 3 reads 3 records.
func TestAPageByNamesReadsItsRecordsAlone(t *testing.T) {
	_, e := openNamed(t, "")
	counted := &reader{Engine: e}
	db, err := storage.Open(t.Context(), storage.Config{Engine: counted})
	must(t, err)
	begun, certificates, revocations := finished(t, 50)
	var list []storage.Loaded
	for i, e := range begun {
		list = append(list, loadedFrom(e, certificates[i], revocations[i]))
	}
	must(t, db.Load(t.Context(), list))
	counted.records = 0
	// Every certificate has a name of either kind, so that ".com" and ".net" have 50 and a lone "e" has none.
	for suffix, want := range map[string]int64{".com": 50, "example.net": 50, "h7.example.com": 1, "e": 0} {
		counted.records = 0
		found, err := db.Search(t.Context(), ra.Query{Org: 7, Suffix: suffix, Limit: 3, Offset: 1}, now())
		must(t, err)
		page := min(3, max(want-1, 0))
		if found.Total != want || len(found.Enrollments) != int(page) || counted.records != int(page) {
			t.Errorf("%s: %d of %d, %d records read; want %d of %d", suffix, len(found.Enrollments), found.Total, counted.records, page, want)
		}
	}
}

package storage_test

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// own demands that the certificate is on record with an enrollment of its own, not number 7, that says the same, and
// returns it.
func (p paper) own(t *testing.T, db *storage.DB, phase ra.Phase) *ra.Enrollment {
	t.Helper()
	c := p.read(t, db)
	if c.State != ca.Issued || !bytes.Equal(c.DER, p.der) || c.Enrollment == paperEnrollment || (c.Revocation != nil) != (phase == ra.Revoked) {
		t.Fatalf("the certificate is %+v", c)
	}
	e, err := db.Enrollment(t.Context(), ra.ID(c.Enrollment))
	must(t, err)
	same := cmp.Comparer(func(a, b identifier.Identifier) bool { return a == b })
	if e.Phase != phase || e.Org != 1 || e.Requester != "acme:a" || e.Profile != "tls" || e.Serial != p.serial ||
		e.Fingerprint != sha256.Sum256(p.der) || !cmp.Equal(identifier.SortUnique(e.Names), identifier.SortUnique(p.identifiers(t)), same) {
		t.Errorf("its enrollment is %+v", e)
	}
	return e
}

// likeness is a requested enrollment under number 7 for the same as the paper, key included, whose attempt has another serial.
func (p paper) likeness(t *testing.T) *ra.Enrollment {
	t.Helper()
	csr, err := testca.CSR(p.key, p.names...)
	must(t, err)
	return &ra.Enrollment{
		ID: paperEnrollment, Org: 1, Door: ra.DoorACME, Requester: "acme:a", Profile: "tls", ProfileHash: "00ff", Names: p.identifiers(t),
		CommonName: "www.example.com", Created: p.at, Phase: ra.Requested, CSR: csr, Due: p.at.Add(time.Minute), Attempts: 1,
	}
}

// TestReplayLeavesAStrangersEnrollment alone: the number is another's by now, because the sequence went back with the store.
func TestReplayLeavesAStrangersEnrollment(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(e *ra.Enrollment)
		same   bool
	}{
		{"the same request", func(*ra.Enrollment) {}, true},
		{"names in another order", func(e *ra.Enrollment) { e.Names[0], e.Names[1] = e.Names[1], e.Names[0] }, true},
		{"organisation", func(e *ra.Enrollment) { e.Org = 2 }, false},
		{"door", func(e *ra.Enrollment) { e.Door = "scm" }, false},
		{"requester", func(e *ra.Enrollment) { e.Requester = "acme:b" }, false},
		{"profile", func(e *ra.Enrollment) { e.Profile = "other" }, false},
		{"profile hash", func(e *ra.Enrollment) { e.ProfileHash = "11ee" }, false},
		{"fewer names", func(e *ra.Enrollment) { e.Names = e.Names[:2] }, false},
		{"another name", func(e *ra.Enrollment) { e.Names[0] = names(t, "other.example.com")[0] }, false},
		{"another key", func(e *ra.Enrollment) {
			key, err := testca.NewKey(testca.P256)
			must(t, err)
			e.CSR, err = testca.CSR(key, "www.example.com")
			must(t, err)
		}, false},
		{"no key that can be read", func(e *ra.Enrollment) { e.CSR = []byte("csr") }, false},
		{"failed", func(e *ra.Enrollment) { e.Phase = ra.Failed }, false},
	} {
		for kind, event := range map[string]func(paper) audit.Event{
			"signed": paper.signed, "revoked": func(p paper) audit.Event { return p.revoked(4, time.Second) },
		} {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				db, c := open(t)
				p, other := newPaper(t), newPaper(t)
				e := p.likeness(t)
				tt.change(e)
				failed := e.Phase == ra.Failed
				e.Phase = ra.Requested
				i, _ := other.again(t, db, e)
				if failed {
					must(t, db.FailEnrollment(t.Context(), i.Enrollment, ra.Failure{Kind: problem.CAA, At: now()}))
				}
				before, err := db.Enrollment(t.Context(), paperEnrollment)
				must(t, err)
				replay(t, db, event(p))
				phase := map[string]ra.Phase{"signed": ra.Issued, "revoked": ra.Revoked}[kind]
				if tt.same { // the other attempt is refused, and closes its intent
					must(t, db.AbandonIntent(t.Context(), "main", other.serial, now()))
					p.state(t, db, ca.Issued, phase, map[string]ca.Reason{"signed": -1, "revoked": 4}[kind])
				} else {
					p.own(t, db, phase)
					after, err := db.Enrollment(t.Context(), paperEnrollment)
					must(t, err)
					if after.Version != before.Version {
						t.Errorf("the stranger's enrollment has become %+v", after)
					}
				}
				once := contents(t, c)
				if n := replay(t, db, event(p)); n != 0 || !maps.Equal(once, contents(t, c)) {
					t.Errorf("a second time %d entries changed something: %s", n, cmp.Diff(once, contents(t, c)))
				}
			})
		}
	}
}

// TestReplayTakesNumbersBehindItsJournal, so that what it renumbers does not take the numbers of what it has not reached,
// and behind what other processes used meanwhile, whose numbers it may have in memory.
func TestReplayTakesNumbersBehindItsJournal(t *testing.T) {
	db, c := open(t)
	_, err := db.NextEnrollment(t.Context()) // a block is in memory
	must(t, err)
	p, stranger, ahead := newPaper(t), newPaper(t), newPaper(t)
	e := stranger.likeness(t)
	e.Org = 2
	stranger.again(t, db, e)
	far := ahead.likeness(t)
	far.ID = 3000
	ahead.again(t, db, far)
	abandoned := newPaper(t).abandoned()
	abandoned.Enrollment = 5000
	replay(t, db, abandoned, p.signed())
	if e := p.own(t, db, ra.Issued); e.ID != 5001 {
		t.Errorf("the number is %d", e.ID)
	}
	// Another process was handed the same numbers, and has used more of them than there are attempts.
	q := newPaper(t)
	q.names = q.names[:1]
	on, reached := make(chan struct{}), make(chan struct{}, 1)
	defer c.Inject(storetest.Fault{Method: storetest.Commit, Times: 1, Delay: on, Reached: reached})()
	done := make(chan error, 1)
	go func() {
		_, err := tryReplay(t.Context(), db, q.signed())
		done <- err
	}()
	<-reached
	const many = 25
	other, err := storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	for n := range ra.ID(many) {
		next := unbegun(t, other).Enrollment
		next.ID = 5101 + n // the first of the next block, and on
		must(t, other.RecordIntent(t.Context(), intent(next), &ra.Issuance{Enrollment: next}))
	}
	close(on)
	must(t, <-done)
	if c := q.read(t, db); c.State != ca.Issued || c.Enrollment < 5101+many {
		t.Errorf("the number is %d", c.Enrollment)
	}
}

// TestJournalsInAnyOrder: what two gateways' journals say of one serial comes to the same, whoever replays first.
func TestJournalsInAnyOrder(t *testing.T) {
	p := newPaper(t)
	for _, tt := range []struct {
		name   string
		a, b   []audit.Event
		state  ca.State
		reason ca.Reason
	}{
		{"signed, and revoked by another", []audit.Event{p.willSign(), p.signed()}, []audit.Event{p.revoked(4, time.Second)}, ca.Issued, 4},
		{"signed, and abandoned by another", []audit.Event{p.willSign(), p.signed()}, []audit.Event{p.abandoned()}, ca.Issued, 0},
		{"passed over, and abandoned by another", []audit.Event{p.willSign(), p.signed(), p.abandoned()}, []audit.Event{p.abandoned()}, ca.Abandoned, 0},
		{"announced, and revoked by another", []audit.Event{p.willSign()}, []audit.Event{p.revoked(1, time.Second)}, ca.Issued, 1},
		{"abandoned, and revoked by another", []audit.Event{p.willSign(), p.abandoned()}, []audit.Event{p.revoked(1, time.Second)}, ca.Issued, 1},
		{"revoked by both", []audit.Event{p.willSign(), p.signed(), p.revoked(4, time.Second)}, []audit.Event{p.revoked(1, time.Minute)}, ca.Issued, 1},
	} {
		for name, order := range map[string][][]audit.Event{"a, b": {tt.a, tt.b}, "b, a": {tt.b, tt.a}} {
			for open0, before := range map[string]func(*testing.T, *storage.DB){"empty": nil, "open intent": func(t *testing.T, db *storage.DB) { p.intend(t, db) }} {
				t.Run(tt.name+"/"+name+"/"+open0, func(t *testing.T) {
					db, c := open(t)
					if before != nil {
						before(t, db)
					}
					for _, journal := range order {
						replay(t, db, journal...)
					}
					got := p.read(t, db)
					if got.State != tt.state || got.Revocation == nil || got.Revocation.Reason != tt.reason {
						t.Errorf("it is in state %d, revoked %+v", got.State, got.Revocation)
					}
					list, err := db.Revoked(t.Context(), "main", now())
					must(t, err)
					if len(list) != 1 || list[0].Reason != tt.reason || !list[0].At.Equal(got.Revocation.At) {
						t.Errorf("the list has %+v", list)
					}
					if tt.state == ca.Issued {
						if e, err := db.Enrollment(t.Context(), ra.ID(got.Enrollment)); err != nil || e.Phase != ra.Revoked || e.Serial != p.serial || *e.Revocation != *got.Revocation {
							t.Errorf("its enrollment is %+v, %v", e, err)
						}
					}
					once := contents(t, c)
					for _, journal := range order {
						if n := replay(t, db, journal...); n != 0 || !maps.Equal(once, contents(t, c)) {
							t.Errorf("a second time %d entries changed something: %s", n, cmp.Diff(once, contents(t, c)))
						}
					}
				})
			}
		}
	}
}

// TestAbandonedLeavesTheEnrollment to the attempt that followed: whoever replays first, that attempt's certificate is issued,
// and the two have enrollments of their own.
func TestAbandonedLeavesTheEnrollment(t *testing.T) {
	p, next := newPaper(t), newPaper(t)
	a := []audit.Event{p.willSign(), p.signed()} // killed before it could say that the store had refused it
	b := []audit.Event{p.abandoned(), next.willSign(), next.signed()}
	for name, order := range map[string][][]audit.Event{"a, b": {a, b}, "b, a": {b, a}} {
		t.Run(name, func(t *testing.T) {
			db, _ := open(t)
			for _, journal := range order {
				replay(t, db, journal...)
			}
			dead, alive := p.read(t, db), next.read(t, db)
			if dead.Revocation == nil || alive.Revocation != nil || alive.State != ca.Issued || dead.Enrollment == alive.Enrollment {
				t.Errorf("the abandoned one is %+v, the next %+v", dead, alive)
			}
			for _, c := range []*ca.Certificate{dead, alive} {
				if e, err := db.Enrollment(t.Context(), ra.ID(c.Enrollment)); err != nil || e.Serial != c.Serial {
					t.Errorf("the enrollment of %s is %+v, %v", c.Serial, e, err)
				}
			}
		})
	}
}

// TestReplayCutShort after any number of commits, and done again, makes nothing twice.
func TestReplayCutShort(t *testing.T) {
	for cut := range 8 {
		db, c := open(t)
		papers := []paper{newPaper(t), newPaper(t), newPaper(t)}
		other := newPaper(t)
		e := other.likeness(t)
		e.Org = 2
		other.again(t, db, e) // all are renumbered
		var journal []audit.Event
		for _, p := range papers {
			journal = append(journal, p.willSign(), p.signed(), p.revoked(4, time.Second))
		}
		remove := c.Inject(storetest.Fault{Method: storetest.Commit, Skip: cut, Before: storage.ErrUnavailable})
		if _, err := tryReplay(t.Context(), db, journal...); (err == nil) != (cut >= 6) {
			t.Errorf("cut after %d commits: %v", cut, err)
		}
		remove()
		again, err := storage.Open(t.Context(), storage.Config{Engine: c})
		must(t, err)
		replay(t, again, journal...)
		if all, err := db.Search(t.Context(), ra.Query{Limit: 10}, now()); err != nil || all.Total != 4 {
			t.Errorf("cut after %d commits: %d enrollments, %v", cut, all.Total, err)
		}
		for _, p := range papers {
			p.own(t, again, ra.Revoked)
		}
	}
}

// TestReplayWhileOthersServe: two gateways replay at once while a third goes on with the enrollment, takes numbers and sweeps.
func TestReplayWhileOthersServe(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	a, b := []audit.Event{}, []audit.Event{}
	var papers []paper
	for range 8 {
		p, q := newPaper(t), newPaper(t)
		papers = append(papers, p)
		a = append(a, p.willSign(), p.signed(), q.willSign())
		b = append(b, p.revoked(4, time.Second), q.abandoned())
	}
	p := newPaper(t)
	i, _ := p.again(t, db, p.likeness(t))
	var wg sync.WaitGroup
	for _, journal := range [][]audit.Event{a, b} {
		gateway, err := storage.Open(ctx, storage.Config{Engine: c})
		must(t, err)
		wg.Go(func() {
			if _, err := tryReplay(ctx, gateway, journal...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for n := range 20 {
			if err := db.TakeEnrollment(ctx, i.Enrollment, now().Add(time.Duration(n)*time.Second)); err != nil {
				t.Error(err)
			}
			another := newPaper(t)
			id, err := db.NextEnrollment(ctx)
			must(t, err)
			e := another.likeness(t)
			e.ID, e.Org = id, 2
			if err := db.RecordIntent(ctx, intent(e), &ra.Issuance{Enrollment: e}); err != nil && !problem.Is(err, problem.Unavailable) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	seen := map[int64]bool{}
	for _, p := range papers {
		c := p.read(t, db)
		if c.Revocation == nil || seen[c.Enrollment] {
			t.Errorf("it is %+v", c)
		}
		seen[c.Enrollment] = true
		p.own(t, db, ra.Revoked)
	}
}

// TestNumbersAfterTheSequenceWentBack: a process has a block of numbers in memory, the store goes back, and another is handed
// the same block. No two enrollments get one number, and a conflict costs one attempt.
func TestNumbersAfterTheSequenceWentBack(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	at := func(name string) *embedded.Engine {
		e, err := embedded.Open(embedded.Config{Dir: filepath.Join(folder, name)})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		return e
	}
	c := storetest.NewCounting(at("first"))
	a, err := storage.Open(ctx, storage.Config{Engine: c})
	must(t, err)
	must(t, c.Close())
	must(t, os.CopyFS(filepath.Join(folder, "copy"), os.DirFS(filepath.Join(folder, "first"))))
	c.Engine = at("first")
	_, err = a.NextEnrollment(ctx)
	must(t, err)
	must(t, c.Close())
	c.Engine = at("copy")
	b, err := storage.Open(ctx, storage.Config{Engine: c})
	must(t, err)
	seen, refused := map[ra.ID]bool{}, 0
	for n := range 20 {
		db := []*storage.DB{a, b}[n%2]
		for {
			i := unbegun(t, db)
			err := db.RecordIntent(ctx, intent(i.Enrollment), i)
			if problem.Is(err, problem.Unavailable) && refused < 3 {
				refused++
				continue
			}
			must(t, err)
			if seen[i.Enrollment.ID] {
				t.Errorf("%d is used twice", i.Enrollment.ID)
			}
			seen[i.Enrollment.ID] = true
			break
		}
	}
	if refused == 0 {
		t.Error("no number was refused: nothing was tried")
	}
}

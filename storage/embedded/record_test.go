package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Whatever bytes a file holds, an envelope is read or refused; what was sealed comes back.
func FuzzEnvelope(f *testing.F) {
	f.Add(seal(storage.Version{1}, never, []byte("value")))
	f.Add(seal(storage.Version{2}, 1_700_000_000_000, nil))
	f.Add(seal(storage.Version{3}, -1, []byte{0}))
	f.Add([]byte{})
	f.Add([]byte{envelopeExpiring, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, expires, value, err := unseal(b)
		if err != nil {
			return
		}
		again := seal(v, expires, value)
		if expires != never && !bytes.Equal(again, b) || expires == never && b[0] == envelopeLasting && !bytes.Equal(again, b) {
			t.Errorf("%x came back as %x", b, again)
		}
	})
}

func TestExpiryOrder(t *testing.T) {
	times := []int64{-1 << 62, -1, 0, 1, 1 << 40, never - 1}
	for i, at := range times {
		k := expiryKey(at, []byte("key"))
		if got, key := splitExpiryKey(k); got != at || string(key) != "key" {
			t.Errorf("%d came back as %d, %q", at, got, key)
		}
		if i > 0 && bytes.Compare(expiryKey(times[i-1], []byte("z")), k) >= 0 {
			t.Errorf("%d sorts behind %d", times[i-1], at)
		}
	}
}

// A damaged record is an error, not an absence: absence could let somebody create it anew.
func TestDamagedRecord(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	if err := e.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRecords).Put([]byte("k"), []byte("junk")) }); err != nil {
		t.Fatal(err)
	}
	e.horizon.move(1<<30, nil) // the test wrote around the committer
	if _, err := e.Get(t.Context(), "k"); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Get returned %v", err)
	}
	b := storage.Batch{Version: storage.NewVersion(), Conditions: []storage.Condition{{Key: "k", Want: storage.Absent}}}
	if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Commit returned %v", err)
	}
	if _, err := put(e, "other", "v"); err != nil {
		t.Errorf("another record: %v", err)
	}
}

// stored counts what lies in the file, live or not.
func stored(t *testing.T, e *Engine) (records, expiries int) {
	t.Helper()
	err := e.db.View(func(tx *bbolt.Tx) error {
		for b, n := range map[string]*int{"records": &records, "expiry": &expiries} {
			if err := tx.Bucket([]byte(b)).ForEach(func(_, _ []byte) error { *n++; return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, expiries
}

// The sweeper removes what has expired, bounded in each turn, and nothing that was written again since.
func TestSweep(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	var b storage.Batch
	for i := range 250 {
		b.Puts = append(b.Puts, storage.Put{Key: storage.Key(fmt.Sprint("k", i)), Expires: c.now().Add(time.Minute)})
	}
	b.Puts = append(b.Puts, storage.Put{Key: "late", Expires: c.now().Add(time.Hour)}, storage.Put{Key: "ever"})
	b.Version = storage.NewVersion()
	if err := e.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if e.sweepTurn(t.Context()) {
		t.Error("swept before anything was due")
	}
	c.advance(2 * time.Minute)
	if _, err := put(e, "k0", "again"); err != nil {
		t.Fatal(err)
	}
	for turn, want := range []int{152, 52, 3} {
		if more := e.sweepTurn(t.Context()); more != (turn < 2) {
			t.Errorf("turn %d says more: %v", turn, more)
		}
		if records, expiries := stored(t, e); records != want || expiries != want-2 {
			t.Errorf("after turn %d there are %d records and %d expiries, want %d", turn, records, expiries, want)
		}
	}
	if items, err := e.Get(t.Context(), "k0", "late", "ever"); err != nil || !items[0].Found || !items[1].Found || !items[2].Found {
		t.Errorf("a live record was swept: %v, %v", items, err)
	}
}

// The sweeper runs by itself.
func TestSweeper(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		e, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		b := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k", Expires: time.Now().Add(time.Second)}}}
		if err := e.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(time.Millisecond)
		token := storage.Token{Value: []byte("t"), Made: now, Until: now.Add(time.Second)}
		limit := storage.Limit{Key: "l", Interval: time.Second, Burst: 1, Cost: 1}
		if spent, err := e.Spend(t.Context(), token, []storage.Limit{limit}); err != nil || !spent.Fresh {
			t.Fatalf("%+v, %v", spent, err)
		}
		time.Sleep(2 * sweepEvery)
		synctest.Wait()
		if records, expiries := stored(t, e); records != 0 || expiries != 0 {
			t.Errorf("%d records and %d expiries are left", records, expiries)
		}
		if n := held(e.ledger); n != 0 {
			t.Errorf("%d marks and limits are left", n)
		}
	})
}

func held(l *ledger) (n int) {
	for i := range l.marks {
		n += len(l.marks[i].m)
	}
	return n + len(l.limits.m)
}

// A mark is kept through sweeps until its token is over.
func TestLedgerKeepsMarks(t *testing.T) {
	l := newLedger()
	token := storage.Token{Value: []byte("t"), Until: epoch.Add(time.Minute)}
	if !l.mark(token) {
		t.Fatal("a new token was refused")
	}
	l.sweep(epoch.Add(time.Minute - 1))
	if l.mark(token) {
		t.Error("a sweep forgot a token that can still be used")
	}
	l.sweep(epoch.Add(time.Minute))
	if n := held(l); n != 0 {
		t.Errorf("%d marks are left when the token is over", n)
	}
}

// The memory of a flood goes when its tokens are over.
func TestLedgerBounded(t *testing.T) {
	l := newLedger()
	now := epoch
	for i := range 200_000 {
		now = now.Add(time.Millisecond)
		value := []byte(fmt.Sprint(i))
		if !l.mark(storage.Token{Value: value, Until: now.Add(10 * time.Second)}) {
			t.Fatal("a new token was refused")
		}
		l.take([]storage.Limit{{Key: storage.Key(value), Interval: time.Second, Burst: 10, Cost: 1}}, now)
		if i%5000 == 0 {
			l.sweep(now)
		}
		if n := held(l); n > 30_000 {
			t.Fatalf("%d marks and limits are held", n)
		}
	}
	l.sweep(now.Add(time.Minute))
	if n := held(l); n != 0 {
		t.Errorf("%d marks and limits are left", n)
	}
	for i := range l.marks {
		if l.marks[i].peak > 1024 {
			t.Errorf("a table keeps the memory of %d marks", l.marks[i].peak)
		}
	}
}

// Tokens of the process before, and those made in the very moment of the start, are refused.
func TestTokensOfBefore(t *testing.T) {
	var c clock
	c.advance(time.Hour)
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	for _, test := range []struct {
		made  time.Duration
		fresh bool
	}{{-time.Second, false}, {-1, false}, {0, false}, {1, true}, {time.Second, true}} {
		token := storage.Token{Value: fmt.Append(nil, test.made), Made: c.now().Add(test.made), Until: c.now().Add(time.Minute)}
		if spent, err := e.Spend(t.Context(), token, nil); err != nil || spent.Fresh != test.fresh {
			t.Errorf("a token made %s after the start: %+v, %v", test.made, spent, err)
		}
	}
}

package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

func put(e *Engine, key, value string) (storage.Version, error) {
	v := storage.NewVersion()
	return v, e.Commit(context.Background(), storage.Batch{Version: v, Puts: []storage.Put{{Key: storage.Key(key), Value: []byte(value)}}})
}

// A sync that failed after the transaction became visible and is repeated with success is no failure.
func TestCommitSettled(t *testing.T) {
	var c clock
	var d disk
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, &d)
	d.set(nil, 1)
	v, err := put(e, "k", "v")
	if err != nil {
		t.Fatalf("a commit that was settled returned %v", err)
	}
	if items, err := e.Get(t.Context(), "k"); err != nil || items[0].Version != v {
		t.Errorf("after it: %+v, %v", items, err)
	}
	if err := e.Health(t.Context()).Err; err != nil {
		t.Errorf("Health: %v", err)
	}
}

// When bbolt loses its file in the middle of a commit, reopening shows that the commit did not happen.
func TestCommitLost(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	before, err := put(e, "k", "v")
	if err != nil {
		t.Fatal(err)
	}
	lost := false
	e.commit = func(tx *bbolt.Tx) error {
		if lost {
			return tx.Commit()
		}
		lost = true
		return errors.Join(errDisk, tx.Rollback(), e.db.Close())
	}
	if _, err := put(e, "k", "w"); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) {
		t.Errorf("the lost commit returned %v", err)
	}
	if items, err := e.Get(t.Context(), "k"); err != nil || items[0].Version != before {
		t.Errorf("after it: %+v, %v", items, err)
	}
	if _, err := put(e, "k", "x"); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}

// While nobody knows whether what readers would see is on disk, they see nothing; a conflict is not reported either.
func TestUnsettled(t *testing.T) {
	var c clock
	var d disk
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, &d)
	d.set(nil, 4)
	v, err := put(e, "k", "v") // loses the commit and the attempt to settle it
	if !errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("an unsettled commit returned %v", err)
	}
	if _, err := e.Get(t.Context(), "k"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Get while unsettled returned %v", err)
	}
	if _, err := put(e, "k", "w"); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) {
		t.Errorf("Commit while unsettled returned %v", err)
	}
	d.set(nil, 1)
	if e.Health(t.Context()).Err == nil {
		t.Error("Health says nothing")
	}
	if _, err := e.NextID(t.Context(), "s", 1); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("NextID while unsettled returned %v", err)
	}
	if items, err := e.Get(t.Context(), "k"); err != nil || items[0].Version != v {
		t.Errorf("Get once the disk works: %+v, %v", items, err)
	}
}

// A reader that meets a transaction before its last sync waits for the sync; if it fails, there is no answer.
func TestReadsAreDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		var c clock
		e := openTest(t, dir, &c, nil)
		synced := make(chan error)
		e.commit = func(tx *bbolt.Tx) error { // visible at once, and on disk when the test says so
			return errors.Join(tx.Commit(), <-synced)
		}
		committed, read, impatient := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		get := func(ctx context.Context, result chan<- error) {
			items, err := e.Get(ctx, "k")
			if err == nil && !items[0].Found {
				err = errors.New("not found")
			}
			result <- err
		}
		ctx, cancel := context.WithCancel(t.Context())

		go func() { _, err := put(e, "k", "v"); committed <- err }()
		synctest.Wait()
		go get(t.Context(), read)
		go get(ctx, impatient)
		synctest.Wait()
		if len(read) != 0 || len(impatient) != 0 {
			t.Fatal("a reader saw what was not on disk")
		}
		cancel()
		if err := <-impatient; !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("a reader that gave up got %v", err)
		}
		synced <- nil
		if err := errors.Join(<-read, <-committed); err != nil {
			t.Errorf("after the sync: %v", err)
		}

		go func() { _, err := put(e, "k", "w"); committed <- err }()
		synctest.Wait()
		go get(t.Context(), read)
		synctest.Wait()
		synced <- errDisk // of the commit
		synced <- errDisk // of the attempt to settle it
		if err := <-committed; !errors.Is(err, storage.ErrUnknown) {
			t.Errorf("the commit returned %v", err)
		}
		if err := <-read; !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("the reader got %v", err)
		}
		go get(t.Context(), read)
		synctest.Wait()
		synced <- nil // it asked to settle
		if err := <-read; err != nil {
			t.Errorf("once the disk works: %v", err)
		}
	})
}

// A commit whose caller gives up is withdrawn if the committer has not begun it, and unknown if it has.
func TestCommitAbandoned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		var c clock
		e := openTest(t, dir, &c, nil)
		proceed := make(chan struct{})
		e.commit = func(tx *bbolt.Tx) error { <-proceed; return tx.Commit() }
		ctx, cancel := context.WithCancel(t.Context())
		commit := func(key storage.Key) <-chan error {
			result := make(chan error, 1)
			go func() {
				result <- e.Commit(ctx, storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: key}}})
			}()
			synctest.Wait()
			return result
		}
		begun, queued := commit("begun"), commit("queued")
		cancel()
		if err := <-begun; !errors.Is(err, storage.ErrUnknown) || !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a commit under way returned %v", err)
		}
		if err := <-queued; !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnknown) {
			t.Errorf("a queued commit returned %v", err)
		}
		close(proceed)
		synctest.Wait()
		items, err := e.Get(t.Context(), "begun", "queued")
		if err != nil || !items[0].Found || items[1].Found {
			t.Errorf("afterwards: %+v, %v", items, err)
		}
	})
}

// Close waits for what is queued, and what comes later is refused.
func TestCloseFinishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		var c clock
		e := openTest(t, dir, &c, nil)
		proceed := make(chan struct{})
		e.commit = func(tx *bbolt.Tx) error { <-proceed; return tx.Commit() }
		results := make(chan error, 20)
		for i := range 20 {
			go func() { _, err := put(e, fmt.Sprint("k", i), "v"); results <- err }()
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- e.Close() }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Fatal("Close left commits behind")
		}
		if _, err := put(e, "late", "v"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a commit after Close returned %v", err)
		}
		close(proceed)
		for range 20 {
			if err := <-results; err != nil {
				t.Errorf("a queued commit returned %v", err)
			}
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		again := openTest(t, dir, &c, nil)
		for i := range 20 {
			if items, err := again.Get(t.Context(), storage.Key(fmt.Sprint("k", i))); err != nil || !items[0].Found {
				t.Errorf("k%d: %+v, %v", i, items, err)
			}
		}
	})
}

// Jobs that wait together share a transaction, each all or nothing for itself, in order.
func TestGroup(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	e.Close() // its committer has ended, so the group below is exactly what it is
	db, err := openFile(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	e.db = db
	defer func() { e.db.Close(); e.db = nil }()
	var transactions int
	e.commit = func(tx *bbolt.Tx) error { transactions++; return tx.Commit() }

	batch := func(value string, want storage.Want) storage.Batch {
		return storage.Batch{
			Version:    storage.NewVersion(),
			Conditions: []storage.Condition{{Key: "k", Want: want}},
			Puts:       []storage.Put{{Key: "k", Value: []byte(value)}},
			Adds:       []storage.Entry{{Index: "i", Member: []byte(value)}},
		}
	}
	var group []*job
	for _, b := range []storage.Batch{batch("none yet", storage.Present), batch("first", storage.Absent), batch("late", storage.Absent), batch("second", storage.Present)} {
		c, err := compile(b)
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, &job{do: c.apply, done: make(chan error, 1)})
	}
	e.turn(group)
	for i, conflict := range []bool{true, false, true, false} {
		if err := <-group[i].done; errors.Is(err, storage.ErrConflict) != conflict || !conflict && err != nil {
			t.Errorf("batch %d returned %v", i, err)
		}
	}
	if transactions != 1 {
		t.Errorf("the group took %d transactions", transactions)
	}
	e.db.View(func(tx *bbolt.Tx) error {
		r := &read{tx: tx}
		items, err := r.get([]storage.Key{"k"})
		if err != nil || string(items[0].Value) != "second" {
			t.Errorf("the record is %+v, %v", items, err)
		}
		members, err := r.scanner("i", storage.Range{}).page(storage.Page{Limit: 10})
		if err != nil || fmt.Sprintf("%s", members) != "[first second]" {
			t.Errorf("the index is %s, %v", members, err)
		}
		return nil
	})
	conflicts := &job{do: group[1].do, done: make(chan error, 1)}
	e.turn([]*job{conflicts})
	if err := <-conflicts.done; !errors.Is(err, storage.ErrConflict) || transactions != 1 {
		t.Errorf("a lone conflict returned %v and took a transaction: %v", err, transactions != 1)
	}
}

// A reader that holds its moment for long does not hold up commits, however much the file grows.
func TestSlowReader(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	if _, err := put(e, "a", "old"); err != nil {
		t.Fatal(err)
	}
	reading, proceed := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	var seen []string
	go func() {
		var once sync.Once
		done <- e.Export(t.Context(), Visitor{Record: func(k storage.Key, item storage.Item, _ time.Time) error {
			once.Do(func() { close(reading); <-proceed })
			seen = append(seen, string(k)+" "+string(item.Value))
			return nil
		}})
	}()
	<-reading
	large := strings.Repeat("x", 1<<20)
	for i := range 20 { // beyond a step by which bbolt grows the file
		if _, err := put(e, fmt.Sprint("large ", i), large); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := put(e, "a", "new"); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if err := <-done; err != nil || fmt.Sprint(seen) != "[a old]" {
		t.Errorf("the reader saw %v, %v", seen, err)
	}
}

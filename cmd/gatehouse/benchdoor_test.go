package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// readCounted is an engine that counts what is read of it: keys, members, and members that are counted one by one or not.
type readCounted struct {
	storage.Engine
	keys, members, counts atomic.Int64
}

func (e *readCounted) Get(ctx context.Context, keys ...storage.Key) ([]storage.Item, error) {
	e.keys.Add(int64(len(keys)))
	return e.Engine.Get(ctx, keys...)
}

func (e *readCounted) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) ([][]byte, error) {
	members, err := e.Engine.Scan(ctx, index, r, p)
	e.members.Add(int64(len(members)))
	return members, err
}

func (e *readCounted) Count(ctx context.Context, index string, r storage.Range) (int64, error) {
	e.counts.Add(1)
	return e.Engine.Count(ctx, index, r)
}

// TestStartReadsAsMuchOfALargeStore as of a small one: it looks at no enrollment, whichever start it is.
func TestStartReadsAsMuchOfALargeStore(t *testing.T) {
	t.Parallel()
	reads := func(enrollments int) (list [][3]int64) {
		folder := t.TempDir()
		store, err := (&benchStoreFlags{Store: filepath.Join(folder, "store")}).open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fillStore(t.Context(), store, enrollments, newBenchProgress(&bytes.Buffer{})); err != nil {
			t.Fatal(err)
		}
		if err := store.close(); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			d, err := newDev(folder, devFlags{Stock: true}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			counted := &readCounted{}
			d.settings.newJournal = n == 0
			d.settings.wrapEngine = func(e storage.Engine) storage.Engine {
				counted.Engine = e
				return counted
			}
			c, err := openCore(t.Context(), d.settings, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, [3]int64{counted.keys.Load(), counted.members.Load(), counted.counts.Load()})
			if err := c.close(); err != nil {
				t.Error(err)
			}
			d.close()
		}
		return list
	}
	few, many := reads(20), reads(200)
	for n := range few {
		if few[n] != many[n] {
			t.Errorf("start %d reads %v keys, members and counts of a small store, and %v of a large one", n+1, few[n], many[n])
		}
	}
	t.Logf("keys, members and counts of each start: %v", many)
}

// TestBenchMeasuresTheDoor: a gateway of its own serves the lists of a store, which is that gateway's from then on.
func TestBenchMeasuresTheDoor(t *testing.T) {
	t.Parallel()
	benchRefuses(t, "data folder", "bench", "door", "--store", filepath.Join(t.TempDir(), "elsewhere"))
	benchRefuses(t, "fill it", "bench", "door", "--store", filepath.Join(t.TempDir(), "store"))
	benchRefuses(t, "Cluster", "bench", "door", "--redis", "127.0.0.1:1", "--redis", "127.0.0.1:2")
	benchRefuses(t, "--pages", "bench", "door", "--store", filepath.Join(t.TempDir(), "store"), "--pages", "0")
	for _, c := range doorCases(10) {
		if v := c.filters(3); c.by != "nothing" && len(v) == 0 {
			t.Errorf("%s filters by nothing", c.by)
		}
	}
}

package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// clock is a time that only tests move.
type clock struct{ since atomic.Int64 }

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (c *clock) now() time.Time          { return epoch.Add(time.Duration(c.since.Load())) }
func (c *clock) advance(d time.Duration) { c.since.Add(int64(d)) }

// disk stands between the engine and bbolt's commit.
type disk struct {
	mu   sync.Mutex
	fail error // every commit surely does nothing
	lose int   // so many commits succeed and report an error
}

var errDisk = errors.New("input/output error")

func (d *disk) commit(tx *bbolt.Tx) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return errors.Join(d.fail, tx.Rollback())
	}
	err := tx.Commit()
	if err == nil && d.lose > 0 {
		d.lose--
		return errDisk
	}
	return err
}

func (d *disk) set(fail error, lose int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.lose = fail, lose
}

// openTest opens a store that writes through d; nil is the real disk.
func openTest(t testing.TB, dir string, c *clock, d *disk) *Engine {
	t.Helper()
	e, err := Open(Config{Dir: dir, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if d != nil {
		e.commit = d.commit
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		var c clock
		var d disk
		dir := filepath.Join(t.TempDir(), "store")
		e := openTest(t, dir, &c, &d)
		return storetest.Harness{
			Engine:  e,
			Advance: c.advance,
			Reopen: func() storage.Engine {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				return openTest(t, dir, &c, &d)
			},
			// The commit and the engine's attempt to settle it both report an error.
			LoseReply: func() { d.set(nil, 2) },
			Fail:      func(err error) { d.set(err, 0) },
		}
	})
}

// The wrapper passes the suite as well: it changes nothing it is not asked to.
func TestSuiteCounting(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		var c clock
		counting := storetest.NewCounting(openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil))
		return storetest.Harness{
			Engine:  counting,
			Advance: c.advance,
			LoseReply: func() {
				counting.Inject(storetest.Fault{Method: storetest.Commit, Times: 1, After: storage.ErrUnknown})
			},
		}
	})
}

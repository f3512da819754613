package redis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

func TestLost(t *testing.T) {
	known := Position{"e", "h1", 100}
	forks := func(f ...fork) []fork { return f }
	for _, test := range []struct {
		name  string
		found Position
		forks []fork
		lost  bool
	}{
		{"the same", known, nil, false},
		{"further", Position{"e", "h1", 200}, nil, false},
		{"fewer", Position{"e", "h1", 99}, nil, true},
		{"empty", Position{}, nil, true},
		{"another", Position{"f", "h1", 200}, nil, true},
		{"a failover that kept all", Position{"e", "h2", 150}, forks(fork{"h1", "h2", 100}), false},
		{"a failover that lost one", Position{"e", "h2", 150}, forks(fork{"h1", "h2", 99}), true},
		{"two failovers", Position{"e", "h3", 150}, forks(fork{"h1", "h2", 120}, fork{"h2", "h3", 130}), false},
		{"two failovers, the second lost one", Position{"e", "h3", 150}, forks(fork{"h1", "h2", 120}, fork{"h2", "h3", 90}), true},
		{"an older failover lost others", Position{"e", "h2", 150}, forks(fork{"h0", "h1", 50}, fork{"h1", "h2", 100}), false},
		{"a history nobody noted", Position{"e", "h9", 150}, forks(fork{"h7", "h8", 140}), true},
	} {
		if why := lost(known, known, test.found, test.forks); (why != "") != test.lost {
			t.Errorf("%s: %q", test.name, why)
		}
	}
	// Commits that were acknowledged after the store was asked are no sign of loss.
	if why := lost(Position{"e", "h1", 110}, known, Position{"e", "h1", 105}, nil); why != "" {
		t.Errorf("commits meanwhile: %q", why)
	}
}

func TestParseForks(t *testing.T) {
	forks, err := parseForks([]any{"b c 7", "a b 5"})
	if err != nil || len(forks) != 2 || forks[0] != (fork{"a", "b", 5}) || forks[1] != (fork{"b", "c", 7}) {
		t.Errorf("%+v, %v", forks, err)
	}
	for _, bad := range []any{"a b", "a b c", nil, int64(1)} {
		if _, err := parseForks([]any{bad}); err == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}

func wantWentBack(t *testing.T, e *Engine, why string) {
	t.Helper()
	for name, call := range calls(e) {
		err := call(t.Context())
		if went, ok := errors.AsType[*WentBackError](err); !ok || !strings.Contains(went.Why, why) || !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) {
			t.Errorf("%s returned %v, want a store that went back: %s", name, err, why)
		}
	}
}

// An emptied store answers nothing, least of all "not found", until it is adopted.
func TestFlushed(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	c.CheckEvery = time.Hour
	e := open(t, c)
	for name, call := range calls(e) {
		if name != "Health" {
			wantWorks(t, e)
		}
		s.Do("FLUSHALL")
		err := call(t.Context()) // the first to meet it, whichever it is
		if _, ok := errors.AsType[*WentBackError](err); !ok {
			t.Errorf("%s on an emptied store: %v", name, err)
		}
		wantWentBack(t, e, "empty")
		if n := len(s.Do("KEYS *").([]any)); n != 0 {
			t.Errorf("an engine that refuses has written %d keys", n)
		}
		epoch := e.Position().Epoch
		if err := e.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.Position().Epoch == epoch {
			t.Error("an emptied store kept its epoch")
		}
		wantWorks(t, e)
	}

	// Another gateway that knew nothing installs a new epoch.
	s.Do("FLUSHALL")
	fresh := open(t, c)
	wantWorks(t, fresh)
	// A check that a new connection asked for may have met the store while it was empty; that verdict stands for a moment.
	eventually(t, func() bool {
		_, err := e.Get(t.Context(), "k")
		return err != nil && strings.Contains(err.Error(), "another epoch")
	})
	wantWentBack(t, e, "another epoch")

	c.Known = e.Position()
	_, err := Open(t.Context(), c)
	if _, ok := errors.AsType[*WentBackError](err); !ok {
		t.Errorf("opening another store than the known one: %v", err)
	}
	c.Known = fresh.Position()
	wantWorks(t, open(t, c))
}

// A folder restored from a backup looks whole.
func TestRestored(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, single(s))
	wantWorks(t, e)
	s.Stop()
	backup := t.TempDir()
	copyFolder(t, filepath.Join(backup, "aof"), filepath.Join(s.Dir, "appendonlydir"))
	s.Restart()
	eventually(t, func() bool { return calls(e)["Commit"](t.Context()) == nil })
	position := e.Position()
	s.Stop()
	if err := os.RemoveAll(filepath.Join(s.Dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, filepath.Join(s.Dir, "appendonlydir"), filepath.Join(backup, "aof"))
	s.Restart()
	eventually(t, func() bool {
		_, ok := errors.AsType[*WentBackError](calls(e)["Get"](t.Context()))
		return ok
	})
	wantWentBack(t, e, "fewer commits")
	if e.Position() != position {
		t.Error("the position moved")
	}
	if err := e.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWorks(t, e)
}

func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// A failover to a replica that lacked the last commits is noticed, also by a gateway that comes after the store has more
// commits again than it ever had.
func TestFailoverThatLost(t *testing.T) {
	t.Parallel()
	r := redistest.StartSentinel(t)
	c := Config{Addrs: r.Addrs(), MasterName: redistest.MasterName, CheckEvery: time.Hour, Name: deployment()}
	e := open(t, c)
	wantWorks(t, e)
	primary := r.Primary()
	now, err := e.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What the replica has in its buffers it would still read after Resume, so the link is cut before anything is written.
	r.Other(primary).Pause()
	primary.Do("CLIENT KILL TYPE replica")
	for range 3 {
		if err := calls(e)["Commit"](t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// Its mark is lost with the primary.
	token := storage.Token{Value: []byte("nonce"), Made: now.Add(time.Millisecond), Until: now.Add(time.Hour)}
	if spent, err := e.Spend(t.Context(), token, nil); err != nil || !spent.Fresh {
		t.Fatalf("Spend: %+v, %v", spent, err)
	}
	known := e.Position()
	primary.Kill()
	r.Other(primary).Resume()
	r.WaitFailover(primary)

	fresh := open(t, c) // knows nothing
	if spent, err := fresh.Spend(t.Context(), token, nil); err != nil || spent.Fresh {
		t.Errorf("a token was accepted before and after the failover: %+v, %v", spent, err)
	}
	for range 10 {
		if err := calls(fresh)["Commit"](t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		_, ok := errors.AsType[*WentBackError](calls(e)["Get"](t.Context()))
		return ok
	})
	wantWentBack(t, e, "took over")
	if e.Position() != known {
		t.Errorf("the position moved from %+v to %+v", known, e.Position())
	}
	if fresh.Position().Commit <= known.Commit {
		t.Errorf("the other gateway stands at %+v, and the test proves nothing", fresh.Position())
	}
	if err := e.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWorks(t, e)
}

// Marks hold within one history: a restart refuses tokens made before it, and up to the clock skew after.
func TestTokensAfterRestart(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	e := open(t, c)
	made := func() storage.Token {
		var now time.Time
		eventually(t, func() bool {
			var err error
			now, err = e.Now(t.Context())
			return err == nil
		})
		v := storage.NewVersion()
		return storage.Token{Value: v[:], Made: now, Until: now.Add(time.Hour)}
	}
	fresh := func(token storage.Token) bool {
		spent, err := e.Spend(t.Context(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return spent.Fresh
	}
	used, unused := made(), made()
	if !fresh(used) {
		t.Error("a new token was refused")
	}
	s.Kill()
	s.Restart()
	made() // answers again
	if fresh(used) || fresh(unused) || fresh(made()) {
		t.Error("a token made before the restart, or within the skew after it, was accepted")
	}
	eventually(t, func() bool { return fresh(made()) })
	if fresh(used) || fresh(unused) {
		t.Error("an old token was accepted later")
	}
}

// Where replicas must confirm, a commit that none has confirmed does not count: losing it is no loss.
func TestPositionCountsConfirmed(t *testing.T) {
	replica, _, a, b := pair(t)
	for range 3 {
		if err := calls(a)["Commit"](t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	replica.Pause()
	if err := calls(a)["Commit"](t.Context()); !errors.Is(err, ErrNotReplicated) {
		t.Fatal(err)
	}
	for _, e := range []*Engine{a, b} {
		if _, err := e.check(t.Context(), e.checked.Load()); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := a.Position().Commit, b.Position().Commit; a != 3 || b != 0 {
		t.Errorf("the positions are %d and %d, want 3 and 0", a, b)
	}
	replica.Resume()
	eventually(t, func() bool { return calls(a)["Get"](t.Context()) == nil })
	if n := a.Position().Commit; n != 4 {
		t.Errorf("after a barrier the position is %d, want 4", n)
	}
}

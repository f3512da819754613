package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// calls is one call of every method that a script serves.
func calls(e *Engine) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, err := e.Get(ctx, "k"); return err },
		"Spend": func(ctx context.Context) error {
			_, err := e.Spend(ctx, storage.Token{}, nil, "k")
			return err
		},
		"Commit": func(ctx context.Context) error {
			return e.Commit(ctx, storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k"}}})
		},
		"Scan": func(ctx context.Context) error {
			_, err := e.Scan(ctx, "i", storage.Range{}, storage.Page{Limit: 1})
			return err
		},
		"Count":  func(ctx context.Context) error { _, err := e.Count(ctx, "i", storage.Range{}); return err },
		"NextID": func(ctx context.Context) error { _, err := e.NextID(ctx, "s", 1); return err },
		"LiftID": func(ctx context.Context) error { return e.LiftID(ctx, "s", 1) },
		"Health": func(ctx context.Context) error { return e.Health(ctx).Err },
	}
}

// wantUnavailable fails the test unless every call fails with ErrUnavailable and a text.
func wantUnavailable(t *testing.T, e *Engine, text string) {
	t.Helper()
	for name, call := range calls(e) {
		err := call(t.Context())
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) || errors.Is(err, storage.ErrConflict) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s returned %v, want ErrUnavailable with %q", name, err, text)
		}
	}
}

func wantWorks(t *testing.T, e *Engine) {
	t.Helper()
	for name, call := range calls(e) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every error reply is "unavailable", for every call, and is not asked again: nobody but the server knows when it is over.
func TestErrorReplies(t *testing.T) {
	f := startFake(t, "7.0.15")
	e := open(t, Config{Addrs: []string{f.addr}, CheckEvery: time.Hour})
	for _, text := range []string{
		"READONLY You can't write against a read only replica.",
		"LOADING Redis is loading the dataset in memory",
		"CLUSTERDOWN The cluster is down",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"OOM command not allowed when used memory > 'maxmemory'. script: 3f1a, on @user_script:7.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOREPLICAS Not enough good replicas to write.",
		"NOAUTH Authentication required.",
		"WRONGPASS invalid username-password pair or user is disabled.",
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"EXECABORT Transaction discarded because of previous errors.",
		"UNKILLABLE Sorry the script already executed write commands against the dataset.",
		"CROSSSLOT Keys in request don't hash to the same slot",
		"ERR max number of clients reached",
		"ERR something new",
	} {
		f.answer("-" + text + "\r\n")
		wantUnavailable(t, e, strings.Fields(text)[0])
		if n := f.ran(scriptCommit); n != 1 {
			t.Errorf("after %q the commit was sent %d times", text, n)
		}
	}
	f.answer(done)
	wantNoReplies(t, e, f)
}

// What breaks off is unknown for a commit and unavailable for all else.
func wantNoReplies(t *testing.T, e *Engine, f *fake) {
	t.Helper()
	f.answer("")
	for name, call := range calls(e) {
		err := call(t.Context())
		if name == "Commit" && (!errors.Is(err, storage.ErrUnknown) || errors.Is(err, storage.ErrUnavailable)) ||
			name != "Commit" && (!errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown)) {
			t.Errorf("%s without a reply returned %v", name, err)
		}
	}
	if n := f.ran(scriptCommit); n != 1 {
		t.Errorf("a commit whose reply was lost was sent %d times", n)
	}
}

// An error in the middle of a script may have left something behind.
func TestScriptError(t *testing.T) {
	f := startFake(t, "7.0.15")
	e := open(t, Config{Addrs: []string{f.addr}, CheckEvery: time.Hour})
	f.answer("-WRONGTYPE Operation against a key holding the wrong kind of value script: 3f1a, on @user_script:40.\r\n")
	if err := calls(e)["Commit"](t.Context()); !errors.Is(err, storage.ErrUnknown) {
		t.Errorf("a script that failed half way: %v, want ErrUnknown", err)
	}
}

// What was surely not executed is asked again, a few times.
func TestRepeats(t *testing.T) {
	f := startFake(t, "7.0.15")
	e := open(t, Config{Addrs: []string{f.addr}, CheckEvery: time.Hour})
	for _, reply := range []string{
		"-NOSCRIPT No matching script. Please use EVAL.\r\n", "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
		"-MOVED 3999 127.0.0.1:6381\r\n", "*1\r\n:2\r\n",
	} {
		left := 2
		f.handleWith(func(s *script, _ []string) string {
			if s == scriptCommit && left > 0 {
				left--
				return reply
			}
			return done
		})
		if err := calls(e)["Commit"](t.Context()); err != nil || f.ran(scriptCommit) != 3 {
			t.Errorf("two times %q: %v after %d attempts", reply, err, f.ran(scriptCommit))
		}
		f.answer(reply)
		err := calls(e)["Commit"](t.Context())
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) || f.ran(scriptCommit) > maxRepeats+1 {
			t.Errorf("%q for ever: %v after %d attempts", reply, err, f.ran(scriptCommit))
		}
	}
}

func TestNoAuth(t *testing.T) {
	f := startFake(t, "7.0.15")
	f.hello = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	if _, err := Open(t.Context(), Config{Addrs: []string{f.addr}, Username: "u", Password: "wrong"}); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("a wrong password: %v", err)
	}
}

// Since Redis 7.2 replicas confirm that they have synced. Counts are compared, both of them.
func TestWaitAOF(t *testing.T) {
	f := startFake(t, "7.2.1")
	e := open(t, Config{Addrs: []string{f.addr}, MinReplicas: 2, CheckEvery: time.Hour})
	for _, test := range []struct {
		wait  string
		short bool
	}{
		{"*2\r\n:1\r\n:2\r\n", false}, {"*2\r\n:1\r\n:3\r\n", false},
		{"*2\r\n:1\r\n:1\r\n", true}, {"*2\r\n:0\r\n:2\r\n", true}, {":2\r\n", true},
		{"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n", true},
	} {
		f.mu.Lock()
		f.wait = test.wait
		f.mu.Unlock()
		err := calls(e)["Commit"](t.Context())
		if short := errors.Is(err, ErrNotReplicated) && errors.Is(err, storage.ErrUnknown); short != test.short || !short && err != nil {
			t.Errorf("WAITAOF answered %q: %v", test.wait, err)
		}
	}
	if f.asked("WAITAOF 1 2 1000") != 6 || f.asked("WAIT ") != 0 {
		t.Errorf("asked %q", f.commands)
	}
}

func TestSurely(t *testing.T) {
	for _, test := range []struct {
		err    error
		surely bool
	}{
		{&dialError{syscallError("refused")}, true},
		{fmt.Errorf("pool: %w", &dialError{context.DeadlineExceeded}), true},
		{redis.ErrPoolTimeout, true},
		{unavailable(errClosed), true},
		{io.EOF, false},
		{io.ErrUnexpectedEOF, false},
		{&net.OpError{Op: "read", Err: syscallError("reset")}, false},
		{&net.OpError{Op: "write", Err: syscallError("broken pipe")}, false},
		{context.DeadlineExceeded, false},
		{context.Canceled, false},
	} {
		if got := surely(test.err); got != test.surely {
			t.Errorf("%v: surely not executed is %v", test.err, got)
		}
	}
}

type syscallError string

func (e syscallError) Error() string { return string(e) }

// The real server's refusals.
func TestServerRefuses(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, single(s))
	v := storage.NewVersion()
	if err := e.Commit(t.Context(), storage.Batch{Version: v, Puts: []storage.Put{{Key: "k", Value: []byte("v")}}, Adds: []storage.Entry{{Index: "i", Member: []byte("m")}}}); err != nil {
		t.Fatal(err)
	}
	big := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k", Value: []byte("w")}, {Key: "l"}}, Removes: []storage.Entry{{Index: "i", Member: []byte("m")}}}
	refused := func(code string) {
		t.Helper()
		if err := e.Commit(t.Context(), big); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), code) {
			t.Errorf("Commit: %v, want %s", err, code)
		}
		if err := e.Health(t.Context()).Err; err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("Health says %v, want %s", err, code)
		}
		items, err := e.Get(t.Context(), "k", "l")
		if err != nil || items[0].Version != v || items[1].Found {
			t.Errorf("after %s: %+v, %v", code, items, err)
		}
		if n, err := e.Count(t.Context(), "i", storage.Range{}); err != nil || n != 1 {
			t.Errorf("after %s the index has %d members, %v", code, n, err)
		}
	}
	s.Do("CONFIG SET maxmemory 1mb")
	refused("OOM")
	s.Do("CONFIG SET maxmemory 0")
	s.Do("CONFIG SET min-replicas-to-write 1")
	refused("NOREPLICAS")
	s.Do("CONFIG SET min-replicas-to-write 0")
	wantWorks(t, e)

	s.Do("SET " + e.keys.index("odd") + " x")
	odd := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k"}}, Adds: []storage.Entry{{Index: "odd", Member: []byte("m")}}}
	err := e.Commit(t.Context(), odd)
	items, readErr := e.Get(t.Context(), "k")
	if err == nil || readErr != nil || items[0].Version == odd.Version {
		t.Errorf("a commit on an index of another type: %v; the record is %+v, %v", err, items, readErr)
	}
}

// A reader that stands in the middle of a demotion gets no stale answer.
func TestDemoted(t *testing.T) {
	primary, s := redistest.Start(t), redistest.Start(t)
	e := open(t, single(s))
	wantWorks(t, e)
	host, port, _ := net.SplitHostPort(primary.Addr)
	s.Do("REPLICAOF " + host + " " + port)
	wantUnavailable(t, e, "replica")
}

// A script that runs too long makes the server answer BUSY.
func TestBusy(t *testing.T) {
	s := redistest.Start(t, "busy-reply-threshold 50")
	c := single(s)
	c.CheckEvery = time.Hour
	e := open(t, c)
	blocked := make(chan error, 1)
	go func() {
		other := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ReadTimeout: 20 * time.Second})
		defer other.Close()
		blocked <- other.Eval(context.Background(), "while true do end", nil).Err()
	}()
	for s.Client().Ping(t.Context()).Err() == nil { // until the server says BUSY
	}
	wantUnavailable(t, e, "BUSY")
	s.Do("SCRIPT KILL")
	<-blocked
	wantWorks(t, e)
}

// The answer to a call does not wait for a server that hangs.
func TestHangs(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	c.Timeout = 30 * time.Second
	c.CheckEvery = time.Hour
	e := open(t, c)
	wantWorks(t, e)
	s.Pause()
	for name, call := range calls(e) {
		ctx, cancel := context.WithCancel(t.Context())
		called := make(chan error, 1)
		go func() { called <- call(ctx) }()
		cancel()
		err := <-called
		if !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrUnknown) && name != "Commit" {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrUnknown) != (name == "Commit") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	s.Resume()
	wantWorks(t, e)
}

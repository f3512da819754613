package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// steady opens an engine and waits for the check that follows its first connection, after which the group stays the same.
func steady(t *testing.T, c Config) *Engine {
	t.Helper()
	c.CheckEvery = time.Hour
	e := open(t, c)
	// The first check may be replaced before this goroutine sees it; a fresh one then is what is waited for.
	first := e.checked.Load()
	e.kick <- struct{}{}
	eventually(t, func() bool { return e.checked.Load() != first && len(e.kick) == 0 })
	now := e.checked.Load()
	eventually(t, func() bool { // no check is under way
		select {
		case e.checking <- struct{}{}:
			<-e.checking
			return now == e.checked.Load()
		default:
			return false
		}
	})
	return e
}

// gathering holds an engine's senders, so that calls gather.
type gathering struct {
	t       *testing.T
	g       *group
	results []chan error
	held    int    // senders
	checks  func() // lets the server be checked again; nil once it did
}

func gather(t *testing.T, e *Engine) *gathering {
	// A check, which each new connection asks for, puts a new server with a group of its own in the place of this one.
	e.checking <- struct{}{}
	g := &e.checked.Load().group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.senders += maxSenders
	g.moved = time.Now().Add(time.Hour) // no stall
	q := &gathering{t: t, g: g, held: maxSenders, checks: func() { <-e.checking }}
	t.Cleanup(q.end)
	return q
}

// call makes a call and waits until it waits.
func (q *gathering) call(call func() error) {
	q.t.Helper()
	result := make(chan error, 1)
	go func() { result <- call() }()
	q.results = append(q.results, result)
	eventually(q.t, func() bool {
		q.g.mu.Lock()
		defer q.g.mu.Unlock()
		return len(q.g.waiting) == len(q.results)
	})
}

// gathered says that no more calls come.
func (q *gathering) gathered() {
	if q.checks != nil {
		q.checks()
		q.checks = nil
	}
}

// end lets all that were held go on, so that a test that fails can close its engine.
func (q *gathering) end() {
	q.gathered()
	for ; q.held > 0; q.held-- {
		q.g.pass(time.Now())
	}
}

func (q *gathering) commit(ctx context.Context, e *Engine, b storage.Batch) {
	q.t.Helper()
	q.call(func() error { return e.Commit(ctx, b) })
}

// release lets one sender go on with all that have gathered.
func (q *gathering) release() {
	q.gathered()
	q.held--
	q.g.pass(time.Now())
}

// wait returns the outcomes, in the order of the calls, and lets the other senders go on.
func (q *gathering) wait() []error {
	errs := make([]error, len(q.results))
	for i, result := range q.results {
		errs[i] = <-result
	}
	q.end()
	eventually(q.t, func() bool {
		q.g.mu.Lock()
		defer q.g.mu.Unlock()
		return q.g.senders == 0
	})
	return errs
}

func absent(key storage.Key) storage.Batch {
	return storage.Batch{
		Version:    storage.NewVersion(),
		Conditions: []storage.Condition{{Key: key, Want: storage.Absent}},
		Puts:       []storage.Put{{Key: key, Value: []byte(key)}},
	}
}

func commits(t *testing.T, s *redistest.Server, e *Engine) int {
	t.Helper()
	n, err := strconv.Atoi(s.Client().Get(t.Context(), e.keys.commits()).Val())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The lost reply to a pipeline leaves each of its commits unknown and each of its reads unavailable. Reading settles each;
// none was sent twice.
func TestGroupLostReply(t *testing.T) {
	s := redistest.Start(t)
	way := &detour{t: t}
	c := single(s)
	c.Dial = way.dial
	e := steady(t, c)
	if err := e.Commit(t.Context(), absent("before")); err != nil {
		t.Fatal(err)
	}
	q := gather(t, e)
	batches := []storage.Batch{absent("a"), absent("b"), absent("before"), absent("c"), absent("c")}
	for _, b := range batches {
		q.commit(t.Context(), e, b)
	}
	q.call(func() error { _, err := e.Get(t.Context(), "a"); return err })
	way.loseReply()
	q.release()
	errs := q.wait()
	for i, err := range errs[:len(batches)] {
		if !errors.Is(err, storage.ErrUnknown) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("commit %d: %v, want ErrUnknown", i, err)
		}
	}
	if err := errs[len(batches)]; !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) {
		t.Errorf("a read: %v, want ErrUnavailable", err)
	}
	for i, happened := range []bool{true, true, false, true, false} { // of the last two, the one that called first
		items, err := e.Get(t.Context(), batches[i].Puts[0].Key)
		if err != nil || (items[0].Version == batches[i].Version) != happened {
			t.Errorf("commit %d: %+v, %v; happened must be %v", i, items, err, happened)
		}
	}
	if n := commits(t, s, e); n != 4 {
		t.Errorf("%d commits were applied, want 4", n)
	}
}

// A caller that goes while it waits returns at once, nothing of it is sent, and the others notice nothing, whoever sends.
func TestGroupCancelledWaiting(t *testing.T) {
	s := redistest.Start(t)
	e := steady(t, single(s))
	for _, gone := range []int{0, 1, 3} {
		q := gather(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		batches := make([]storage.Batch, 4)
		for i := range batches {
			batches[i] = absent(storage.Key(fmt.Sprintf("%d/%d", gone, i)))
			if i == gone {
				q.commit(ctx, e, batches[i])
			} else {
				q.commit(t.Context(), e, batches[i])
			}
		}
		cancel()
		if err := <-q.results[gone]; !errors.Is(err, storage.ErrUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("the one that goes: %v", err)
		}
		q.results[gone] <- nil
		q.release()
		for i, err := range q.wait() {
			items, readErr := e.Get(t.Context(), batches[i].Puts[0].Key)
			if err != nil || readErr != nil || items[0].Found != (i != gone) {
				t.Errorf("%d goes; commit %d: %v, the record is %+v, %v", gone, i, err, items, readErr)
			}
		}
	}
}

// A caller whose deadline ends while the pipeline is under way takes nothing from the others.
func TestGroupImpatient(t *testing.T) {
	f := startFake(t, "7.0.15")
	e := steady(t, Config{Addrs: []string{f.addr}})
	for impatient := range 3 {
		asked, answer := make(chan struct{}, 3), make(chan struct{})
		f.handleWith(func(*script, []string) string {
			asked <- struct{}{}
			<-answer
			return done
		})
		q := gather(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 3 {
			if i == impatient {
				ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				q.call(func() error { return calls(e)["Commit"](ctx) })
			} else {
				q.call(func() error { return calls(e)["Commit"](t.Context()) })
			}
		}
		q.release()
		err := <-q.results[impatient]
		if !errors.Is(err, storage.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient one: %v", err)
		}
		q.results[impatient] <- nil
		close(answer)
		for i, err := range q.wait() {
			if err != nil {
				t.Errorf("%d is impatient, and %d gets %v", impatient, i, err)
			}
		}
		cancel()
	}
}

// Each call gets its own reply, and what was surely not executed is asked again for it alone.
func TestGroupReplies(t *testing.T) {
	f := startFake(t, "7.0.15")
	replies := []struct {
		first string
		want  error
		runs  int
	}{
		{done, nil, 1},
		{"-NOSCRIPT No matching script. Please use EVAL.\r\n", nil, 2},
		{"*1\r\n:1\r\n", storage.ErrConflict, 1},
		{"*1\r\n:2\r\n", nil, 2},
		{"-OOM command not allowed when used memory > 'maxmemory'.\r\n", storage.ErrUnavailable, 1},
		{"-MOVED 3999 127.0.0.1:6381\r\n", nil, 2},
		{"-WRONGTYPE Operation against a key script: 3f1a, on @user_script:40.\r\n", storage.ErrUnknown, 1},
		{"-READONLY You can't write against a read only replica.\r\n", storage.ErrUnavailable, 1},
		{done, nil, 1},
	}
	for turn := range replies { // each once in front
		f.answer(done)
		e := steady(t, Config{Addrs: []string{f.addr}})
		runs := make([]int, len(replies))
		f.handleWith(func(_ *script, args []string) string {
			for i, r := range replies {
				if strings.Contains(strings.Join(args, " "), fmt.Sprintf("reply-%d ", i)) {
					if runs[i]++; runs[i] == 1 {
						return r.first
					}
				}
			}
			return done
		})
		q := gather(t, e)
		for i := range replies {
			q.commit(t.Context(), e, absent(storage.Key(fmt.Sprintf("reply-%d", (i+turn)%len(replies)))))
		}
		q.release()
		for i, err := range q.wait() {
			at := (i + turn) % len(replies)
			if want := replies[at]; !errors.Is(err, want.want) || want.want == nil && err != nil || runs[at] != want.runs {
				t.Errorf("to %q: %v after %d runs, want %v after %d", want.first, err, runs[at], want.want, want.runs)
			}
		}
	}
}

// A pipeline for which no connection can be made was not sent: all of it is asked again.
func TestGroupDialFails(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	var failures atomic.Int64
	conns := make(chan net.Conn, 100)
	c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if failures.Add(-1) >= 0 {
			return nil, errors.New("refused")
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			conns <- conn
		}
		return conn, err
	}
	e := steady(t, c)
	q := gather(t, e)
	for i := range 5 {
		q.commit(t.Context(), e, absent(storage.Key(fmt.Sprint(i))))
	}
	failures.Store(1)
	for len(conns) > 0 {
		(<-conns).Close() // the library finds that out, and dials
	}
	q.release()
	for i, err := range q.wait() {
		if err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	if n := commits(t, s, e); n != 5 || failures.Load() >= 0 {
		t.Errorf("%d commits were applied, want 5, and %d dials are still to fail", n, failures.Load())
	}
}

// Close lets what waits finish.
func TestGroupClose(t *testing.T) {
	s := redistest.Start(t)
	e := steady(t, single(s))
	q := gather(t, e)
	for i := range 5 {
		q.commit(t.Context(), e, absent(storage.Key(fmt.Sprint(i))))
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	eventually(t, func() bool {
		e.admit.RLock()
		defer e.admit.RUnlock()
		return e.closed
	})
	q.release()
	for i, err := range q.wait() {
		if err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if n := commits(t, s, e); n != 5 {
		t.Errorf("%d commits were applied, want 5", n)
	}
}

// What travels together is bounded, keeps its order, and waits only while all senders are out and none is stuck.
func TestGroupBounds(t *testing.T) {
	var g group
	one := func(size int) *grouped { return &grouped{ctx: t.Context(), size: size} }
	for range maxSenders {
		if !g.enter(one(1)) {
			t.Fatal("a sender is free and a request waits")
		}
	}
	first := one(1)
	var waiting []*grouped
	for i := range 2 * maxGroup {
		waiting = append(waiting, one(1))
		if g.moved = time.Now(); g.enter(waiting[i]) {
			t.Fatal("no sender is free and a request is sent")
		}
	}
	_, batch := g.take(first)
	if len(batch) != maxGroup || batch[0] != first || batch[1] != waiting[0] || batch[maxGroup-1] != waiting[maxGroup-2] {
		t.Errorf("%d travel together, or not in their order", len(batch))
	}
	half := func() *grouped { c := one(maxGroupBytes / 2); c.turn = make(chan struct{}); return c }
	g.waiting = []*grouped{half(), half()}
	if _, batch := g.take(half()); len(batch) != 2 || len(g.waiting) != 1 {
		t.Errorf("%d half pipelines travel together", len(batch))
	}
	g.moved = time.Now().Add(-2 * senderStall)
	if extra := one(1); !g.enter(extra) || g.senders != maxSenders+1 {
		t.Error("all senders are stuck and a request waits")
	}
	if g.pass(time.Now()); g.senders != maxSenders+1 || len(g.waiting) != 0 {
		t.Error("the one that is not stuck does not go on")
	}
	g.waiting = []*grouped{{ctx: t.Context(), turn: make(chan struct{})}}
	if g.pass(time.Now().Add(-2 * senderStall)); g.senders != maxSenders || len(g.waiting) != 1 {
		t.Error("a stuck sender does not end")
	}
	if _, ok := (&request{script: scriptScan}).fits(); ok {
		t.Error("a scan travels with others")
	}
	if _, ok := (&request{script: scriptGet, keys: make([]string, maxGroupKeys+1)}).fits(); ok {
		t.Error("a long read travels with others")
	}
	if _, ok := (&request{script: scriptCommit, args: []any{make([]byte, maxGroupBytes)}}).fits(); ok {
		t.Error("a long commit travels with others")
	}
}

package work

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// in runs f in a bubble with a group that logs to a buffer and is drained at the end.
func in(t *testing.T, f func(t *testing.T, g *Group, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		f(t, g, &log)
		if err := g.Drain(context.Background()); err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
}

func TestWorkHasItsOwnDeadline(t *testing.T) {
	in(t, func(t *testing.T, g *Group, _ *bytes.Buffer) {
		began := time.Now()
		took := make(chan time.Duration, 1)
		if !g.Go("slow", 3*time.Second, func(ctx context.Context) {
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("ended by %v", ctx.Err())
			}
			took <- time.Since(began)
		}) {
			t.Fatal("not started")
		}
		if d := <-took; d != 3*time.Second {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestPanicEndsThatWorkAlone(t *testing.T) {
	in(t, func(t *testing.T, g *Group, log *bytes.Buffer) {
		turns := 0
		g.Every("sweep", time.Minute, func(context.Context) error {
			turns++
			panic("sweep broke")
		})
		g.Go("single", time.Second, func(context.Context) { panic("single broke") })
		g.Go("exits", time.Second, func(context.Context) { runtime.Goexit() })
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if turns < 2 {
			t.Errorf("%d turns: a panic ended the sweep", turns)
		}
		for _, want := range []string{"single broke", "sweep broke", "work_test.go", "work=single"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q", want)
			}
		}
	})
}

func TestEveryTakesATurnEachInterval(t *testing.T) {
	in(t, func(t *testing.T, g *Group, log *bytes.Buffer) {
		began := time.Now()
		var turns []time.Duration
		g.Every("sweep", time.Minute, func(context.Context) error {
			turns = append(turns, time.Since(began))
			return errors.New("store is away")
		})
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if len(turns) < 5 || len(turns) > 6 || turns[0] >= time.Minute {
			t.Fatalf("turns at %v", turns)
		}
		for i := range turns[1:] {
			if d := turns[i+1] - turns[i]; d != time.Minute {
				t.Errorf("turn %d came %v after the one before", i+1, d)
			}
		}
		if n := strings.Count(log.String(), "store is away"); n != len(turns) {
			t.Errorf("%d errors logged of %d", n, len(turns))
		}
	})
}

func TestStartsAreSpread(t *testing.T) {
	in(t, func(t *testing.T, g *Group, _ *bytes.Buffer) {
		began := time.Now()
		firsts := make(chan time.Duration, 200)
		for i := range 100 {
			first := true
			g.Every(string(rune('a'+i)), time.Hour, func(context.Context) error {
				if first {
					first = false
					firsts <- time.Since(began)
				}
				return nil
			})
		}
		late := 0
		for range 100 {
			if <-firsts > 30*time.Minute {
				late++
			}
		}
		if late < 20 || late > 80 {
			t.Errorf("%d of 100 sweeps began in the second half of the interval", late)
		}
	})
}

func TestKicksMergeIntoOneTurn(t *testing.T) {
	in(t, func(t *testing.T, g *Group, _ *bytes.Buffer) {
		var turns atomic.Int32
		hold := make(chan struct{})
		g.Every("sweep", 1000*time.Hour, func(context.Context) error {
			turns.Add(1)
			<-hold
			return nil
		})
		g.Kick("sweep")
		synctest.Wait()
		if n := turns.Load(); n != 1 {
			t.Fatalf("%d turns after a kick", n)
		}
		for range 10 {
			g.Kick("sweep") // during the turn
		}
		g.Kick("nobody")
		close(hold)
		synctest.Wait()
		if n := turns.Load(); n != 2 {
			t.Errorf("%d turns, want one for the kick and one for the ten during it", n)
		}
	})
}

func TestDrainWaitsAndTakesNothingNew(t *testing.T) {
	in(t, func(t *testing.T, g *Group, _ *bytes.Buffer) {
		var finished, swept atomic.Bool
		g.Go("slow", time.Minute, func(ctx context.Context) {
			time.Sleep(10 * time.Second)
			finished.Store(ctx.Err() == nil)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := g.Drain(ctx); err != nil || !finished.Load() {
			t.Errorf("Drain: %v, finished %v", err, finished.Load())
		}
		if g.Go("late", time.Second, func(context.Context) { t.Error("work started after draining") }) {
			t.Error("Go took work after draining")
		}
		g.Every("late", time.Millisecond, func(context.Context) error { swept.Store(true); return nil })
		time.Sleep(time.Second)
		if swept.Load() {
			t.Error("a sweep began after draining")
		}
	})
}

func TestDrainCutsOffWhatRemains(t *testing.T) {
	in(t, func(t *testing.T, g *Group, _ *bytes.Buffer) {
		began := time.Now()
		cut := make(chan time.Duration, 2)
		g.Go("endless", time.Hour, func(ctx context.Context) {
			<-ctx.Done()
			cut <- time.Since(began)
		})
		g.Every("sweep", time.Hour, func(ctx context.Context) error {
			<-ctx.Done()
			cut <- time.Since(began)
			return ctx.Err()
		})
		g.Kick("sweep")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := g.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
		for range 2 {
			if d := <-cut; d != 5*time.Second {
				t.Errorf("cut off after %v", d)
			}
		}
	})
}

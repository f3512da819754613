package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// measured runs b.N calls from n goroutines, and reports the median and the server's CPU for one call.
func measured(b *testing.B, s *redistest.Server, n int, call func() error) {
	if err := call(); err != nil { // connects
		b.Fatal(err)
	}
	cpu := func() float64 {
		var sum float64
		for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
			seconds, err := strconv.ParseFloat(s.Field(field), 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += seconds
		}
		return sum
	}
	var next atomic.Int64
	var all sync.WaitGroup
	took := make([]time.Duration, b.N)
	before := cpu()
	b.ResetTimer()
	for range n {
		all.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				start := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric((cpu()-before)*1e6/float64(b.N), "server-µs/op")
}

func Benchmark(b *testing.B) {
	s := redistest.Start(b)
	e, err := Open(b.Context(), Config{Addrs: []string{s.Addr}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	value := make([]byte, 300)
	calls := map[string]func(ctx context.Context) error{
		"commit of 5": func(ctx context.Context) error {
			batch, run := storage.Batch{Version: storage.NewVersion()}, rand.Text()
			for j := range 5 {
				key := storage.Key(fmt.Sprintf("%s/%d", run, j))
				batch.Conditions = append(batch.Conditions, storage.Condition{Key: key, Want: storage.Absent})
				batch.Puts = append(batch.Puts, storage.Put{Key: key, Value: value})
				batch.Adds = append(batch.Adds, storage.Entry{Index: "all", Member: []byte(key)})
			}
			return e.Commit(ctx, batch)
		},
		"get of 2": func(ctx context.Context) error {
			_, err := e.Get(ctx, "one", "two")
			return err
		},
		"spend": func(ctx context.Context) error {
			now := time.Now()
			token := storage.Token{Value: []byte(rand.Text()), Made: now, Until: now.Add(time.Minute)}
			_, err := e.Spend(ctx, token, []storage.Limit{{Key: "a", Interval: time.Nanosecond, Burst: 1000, Cost: 1}, {Key: "b", Interval: time.Nanosecond, Burst: 1000, Cost: 1}}, "one", "two")
			return err
		},
	}
	if err := e.Commit(b.Context(), storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "one", Value: value}, {Key: "two", Value: value}}}); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"commit of 5", "get of 2", "spend"} {
		for _, n := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				measured(b, s, n, func() error { return calls[name](b.Context()) })
			})
		}
	}
}

// A page of 100 in the middle of an index of a million.
func BenchmarkList(b *testing.B) {
	s := redistest.Start(b, "appendfsync no") // filling is not what is measured
	s.Do("CONFIG SET appendfsync always")
	e, err := Open(b.Context(), Config{Addrs: []string{s.Addr}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	const million = 1_000_000
	for i := 0; i < million; i += 5000 {
		batch := storage.Batch{Version: storage.NewVersion()}
		for j := range 5000 {
			batch.Adds = append(batch.Adds, storage.Entry{Index: "all", Member: fmt.Appendf(nil, "%08d", i+j)})
		}
		if err := e.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for name, call := range map[string]func() error{
		"after a member": func() error {
			_, err := e.Scan(b.Context(), "all", storage.Range{}, storage.Page{After: []byte("00500000"), Limit: 100})
			return err
		},
		"by offset": func() error {
			_, err := e.Scan(b.Context(), "all", storage.Range{}, storage.Page{Offset: 500_000, Limit: 100, Reverse: true})
			return err
		},
		"count": func() error {
			_, err := e.Count(b.Context(), "all", storage.Range{From: []byte("00100000"), To: []byte("00900000")})
			return err
		},
		"total": func() error { _, err := e.Count(b.Context(), "all", storage.Range{}); return err },
	} {
		b.Run(name, func(b *testing.B) { measured(b, s, 4, call) })
	}
}

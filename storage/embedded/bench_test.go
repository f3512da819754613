package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// A commit like those of an issuance: three records, one of them new, two indexes.
func issuanceBatch(worker, i int) storage.Batch {
	id := binary.BigEndian.AppendUint64(nil, uint64(worker)<<32|uint64(i))
	return storage.Batch{
		Version:    storage.NewVersion(),
		Conditions: []storage.Condition{{Key: storage.Key(fmt.Sprintf("cert/%d/%d", worker, i)), Want: storage.Absent}},
		Puts: []storage.Put{
			{Key: storage.Key(fmt.Sprintf("cert/%d/%d", worker, i)), Value: make([]byte, 900)},
			{Key: storage.Key(fmt.Sprintf("order/%d", worker)), Value: make([]byte, 300)},
			{Key: storage.Key(fmt.Sprintf("enrollment/%d", worker)), Value: make([]byte, 400)},
		},
		Adds: []storage.Entry{{Index: "org/1/enrollments", Member: id}, {Index: fmt.Sprintf("account/%d/orders", worker), Member: id}},
	}
}

// BenchmarkCommit reports the latency of durable commits with so many closed-loop clients.
func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 2, 8, 32, 128} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			e, err := Open(Config{Dir: b.TempDir() + "/store"})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			var next atomic.Int64
			latencies := make([][]time.Duration, clients)
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range clients {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						batch := issuanceBatch(w, int(i))
						began := time.Now()
						if err := e.Commit(context.Background(), batch); err != nil {
							b.Error(err)
							return
						}
						latencies[w] = append(latencies[w], time.Since(began))
					}
				})
			}
			all.Wait()
			b.StopTimer()
			sorted := slices.Sorted(slices.Values(slices.Concat(latencies...)))
			b.ReportMetric(float64(sorted[len(sorted)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(sorted[len(sorted)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

package audit

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

func certificate() Event {
	e := signed(1)
	e.DER = bytes.Repeat([]byte{0x30, 0x82, 0xa7, 0x5c}, 300)
	return e
}

// BenchmarkEncode is the cost of a line besides its sync: event, chain and hash.
func BenchmarkEncode(b *testing.B) {
	e := certificate()
	w := &writer{chain: chain{seq: 1}}
	p := &waiting{}
	for b.Loop() {
		p.body, _ = appendEvent(p.body[:0], &e)
		p.ends = append(p.ends[:0], len(p.body))
		w.chain = w.encode([]*waiting{p})
	}
	b.SetBytes(int64(len(w.buf)))
}

// BenchmarkAppend is one durable append by so many goroutines at once; the folder can be chosen, as disks differ.
func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			dir := b.TempDir()
			if root := os.Getenv("GATEHOUSE_BENCH_DIR"); root != "" {
				dir = root + fmt.Sprintf("/%d-%d", clients, b.N)
				defer os.RemoveAll(dir)
			}
			j := mustOpen(b, Config{Dir: dir, New: true})
			defer mustClose(b, j)
			e := certificate()
			var n atomic.Int64
			done := make(chan error, clients)
			b.ResetTimer()
			for range clients {
				go func() {
					for n.Add(1) <= int64(b.N) {
						if err := j.Append(b.Context(), e); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify is the cost of following the chain, by line.
func BenchmarkVerify(b *testing.B) {
	e := certificate()
	w := &writer{chain: chain{journal: "00112233445566778899aabbccddeeff"}}
	w.chain.hash = genesis(w.chain.journal)
	p := &waiting{}
	var text []byte
	const lines = 1000
	for range lines {
		p.body, _ = appendEvent(p.body[:0], &e)
		p.ends = append(p.ends[:0], len(p.body))
		w.chain = w.encode([]*waiting{p})
		text = append(text, w.buf...)
	}
	dir := b.TempDir()
	if err := os.WriteFile(dir+"/"+plainName(1), text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text) / lines))
	for i := 0; i < b.N; i += lines {
		if _, err := Verify(dir); err != nil {
			b.Fatal(err)
		}
	}
}

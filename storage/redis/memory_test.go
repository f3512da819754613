package redis

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// What a certificate with two names costs in the server beyond the octets that are its own: two records, a claim, and
// entries in the nine indexes that lists need, by the server's own account, over enough of them that tables have grown.
func TestMemory(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, Config{Addrs: []string{s.Addr}})
	const n = 5000
	used := func() (bytes int64) {
		var got int64
		if _, err := fmt.Sscan(s.Field("used_memory_dataset"), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := used()
	var payload, keys int
	for i := range n {
		id := binary.BigEndian.AppendUint64(nil, uint64(i))
		due := append(binary.BigEndian.AppendUint64(nil, uint64(1_800_000_000+i)), id...)
		names := [2]string{fmt.Sprintf("com.example.host-%d", i), fmt.Sprintf("com.example.www-%d", i)}
		b := storage.Batch{
			Version: storage.NewVersion(),
			Puts: []storage.Put{
				{Key: storage.Key(fmt.Sprintf("enrollment/%d", i)), Value: make([]byte, 250)},
				{Key: storage.Key(fmt.Sprintf("certificate/issuing/%034x", i)), Value: make([]byte, 200)}, // and the DER
				{Key: storage.Key(fmt.Sprintf("claim/acme/0//%022x", i)), Value: make([]byte, 8)},
			},
			Adds: []storage.Entry{
				{Index: "all", Member: id}, {Index: "org/1", Member: id}, {Index: "phase/1/3", Member: due},
				{Index: "profile/1/tls", Member: id}, {Index: "requester/1/acme:abcdefgh", Member: id}, {Index: "notafter", Member: due},
				{Index: "names", Member: append([]byte(names[0]+"\x00"), id...)}, {Index: "names", Member: append([]byte(names[1]+"\x00"), id...)},
				{Index: "cn", Member: append([]byte(names[0]+"\x00"), id...)},
			},
		}
		for _, p := range b.Puts {
			payload += len(p.Value)
			keys += len(p.Key)
		}
		if err := e.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	total := (used() - before) / n
	record := s.Client().MemoryUsage(t.Context(), e.keys.record("enrollment/77")).Val()
	claim := s.Client().MemoryUsage(t.Context(), e.keys.record(storage.Key(fmt.Sprintf("claim/acme/0//%022x", 77)))).Val()
	ids := s.Client().MemoryUsage(t.Context(), e.keys.index("all"), 0).Val() / n
	dues := s.Client().MemoryUsage(t.Context(), e.keys.index("notafter"), 0).Val() / n
	named := s.Client().MemoryUsage(t.Context(), e.keys.index("names"), 0).Val() / (2 * n)
	t.Logf("a certificate: %d octets, of which %d are values and %d are keys; a record of 250: %d; a claim of 8: %d; an entry of 8: %d, of 16: %d, of 35: %d",
		total, payload/n, keys/n, record, claim, ids, dues, named)
	const budget = 2600 // architecture.md section 9: 2.6 KiB and the DER
	if total > budget {
		t.Errorf("a certificate with two names costs %d octets and its DER; the budget is %d", total, budget)
	}
}

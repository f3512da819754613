package storage_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// On Redis the server's clock ends a lease, and with it what its holder may do.
func TestLeaseOnRedis(t *testing.T) {
	redistest.Need(t)
	server := redistest.Start(t)
	e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr}, Name: "lease"})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	db, err := storage.Open(t.Context(), storage.Config{Engine: e, Issuers: []string{"main"}})
	must(t, err)
	ctx := t.Context()

	a, err := db.TakeCRLLease(ctx, readLease(t, db), "a", time.Second)
	must(t, err)
	must(t, db.SaveCRL(ctx, publish.CRL{Issuer: "main", Number: 1}, nil, a))
	stored, err := db.CRL(ctx, "main", 0)
	must(t, err)
	_, err = db.TakeCRLLease(ctx, publish.Lease{Issuer: "main"}, "b", time.Minute)
	conflicts(t, "a lease that is not free", err)
	for start := time.Now(); readLease(t, db).Holder != ""; {
		if time.Since(start) > time.Minute {
			t.Fatal("the lease does not run out")
		}
		time.Sleep(20 * time.Millisecond)
	}
	second := publish.CRL{Issuer: "main", Number: 2}
	conflicts(t, "saving under a lease that ran out", db.SaveCRL(ctx, second, stored, a))
	b := take(t, db, "b")
	conflicts(t, "saving under a lease that another has", db.SaveCRL(ctx, second, stored, a))
	must(t, db.SaveCRL(ctx, second, stored, b))
	must(t, db.ReturnCRLLease(ctx, b))
	if seen := readLease(t, db); seen.Holder != "" {
		t.Errorf("the lease was given back and is %+v", seen)
	}
}

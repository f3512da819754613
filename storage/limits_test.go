package storage_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// TestLimitsAreTaken holds Admit, Take and UsableAuthorizations to what acme.Store says of limits: all or none, in one trip.
func TestLimitsAreTaken(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	take := func(limit acme.Limit, of string, burst int) acme.Take {
		return acme.Take{Limit: limit, Of: of, Interval: time.Hour, Burst: burst, Cost: 1}
	}
	wide, tight := take(acme.LimitOrgNewOrders, "1", 4), take(acme.LimitAccountNewOrders, "a", 2)
	refusedAt := func(err error, at int) {
		t.Helper()
		refused, ok := errors.AsType[*acme.Refused](err)
		if !ok || refused.Take != at || refused.Wait <= 59*time.Minute || refused.Wait > time.Hour {
			t.Errorf("%+v, want a refusal by %d", err, at)
		}
	}
	c.Reset()
	must(t, db.Take(ctx, wide, tight))
	_, err := db.UsableAuthorizations(ctx, "a", names(t, "www.example.com"), wide, tight)
	must(t, err)
	_, err = db.UsableAuthorizations(ctx, "a", names(t, "www.example.com"), wide, tight)
	refusedAt(err, 1)
	refusedAt(db.Take(ctx, tight, wide), 0)
	_, err = db.Admit(ctx, acme.Admission{Account: "a", Takes: []acme.Take{tight}})
	refusedAt(err, 0)
	if trips := c.Reset(); trips.Total != 5 || trips.By[storetest.Spend] != 5 {
		t.Errorf("five calls took %v", trips)
	}
	must(t, db.Take(ctx, wide)) // of which the refusals took nothing
	must(t, db.Take(ctx, wide))
	refusedAt(db.Take(ctx, wide), 0)
	must(t, db.Take(ctx, take(acme.LimitOrgNewOrders, "a", 2))) // the limit's name tells keys apart
	c.Reset()
	must(t, db.Take(ctx))
	_, err = db.UsableAuthorizations(ctx, "a", names(t, "www.example.com"))
	must(t, err)
	if trips := c.Reset(); trips.Total != 1 || trips.By[storetest.Get] != 1 {
		t.Errorf("nothing to take took %v", trips)
	}
}

// TestLimitsAreTheDeployments: on one Redis what one gateway takes is gone for the others.
func TestLimitsAreTheDeployments(t *testing.T) {
	redistest.Need(t)
	server := redistest.Start(t)
	take := acme.Take{Limit: acme.LimitAddressRequests, Of: "192.0.2.1", Interval: time.Hour, Burst: 3, Cost: 1}
	var gateways []*storage.DB
	for range 2 {
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr}, Name: "limits"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		db, err := storage.Open(t.Context(), storage.Config{Engine: e})
		must(t, err)
		gateways = append(gateways, db)
	}
	for i := range 3 {
		must(t, gateways[i%2].Take(t.Context(), take))
	}
	for _, db := range gateways {
		if _, ok := errors.AsType[*acme.Refused](db.Take(t.Context(), take)); !ok {
			t.Error("a gateway grants what the others used")
		}
	}
}

// BenchmarkAdmit measures what limits cost an embedded gateway's request.
func BenchmarkAdmit(b *testing.B) {
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(b.TempDir(), "store")})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	db, err := storage.Open(b.Context(), storage.Config{Engine: e})
	if err != nil {
		b.Fatal(err)
	}
	for _, limits := range []int{0, 2} {
		b.Run(fmt.Sprint(limits), func(b *testing.B) {
			a := acme.Admission{Account: "a"}
			for i := range limits {
				a.Takes = append(a.Takes, acme.Take{Limit: acme.LimitAddressRequests, Of: fmt.Sprint(i), Interval: time.Nanosecond, Burst: 10, Cost: 1})
			}
			for b.Loop() {
				if _, err := db.Admit(b.Context(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

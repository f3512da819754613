package storage_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// quotaWorld is two gateways on one store.
type quotaWorld struct {
	t   *testing.T
	dbs [2]*storage.DB
}

// bothEngines runs a test with two gateways on each engine. Two processes cannot share a folder; two DBs on one engine stand
// for them, because nothing but the engine is common to them.
func bothEngines(t *testing.T, test func(t *testing.T, w *quotaWorld)) {
	t.Run("embedded", func(t *testing.T) {
		e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		test(t, newQuotaWorld(t, e, e))
	})
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		server := redistest.Start(t)
		var engines [2]storage.Engine
		for i := range engines {
			e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{server.Addr}, Name: "quota"})
			must(t, err)
			t.Cleanup(func() { e.Close() })
			engines[i] = e
		}
		test(t, newQuotaWorld(t, engines[0], engines[1]))
	})
}

func newQuotaWorld(t *testing.T, a, b storage.Engine) *quotaWorld {
	w := &quotaWorld{t: t}
	for i, e := range []storage.Engine{a, b} {
		var err error
		w.dbs[i], err = storage.Open(t.Context(), storage.Config{Engine: e, Issuers: []string{"main"}})
		must(t, err)
	}
	return w
}

// begin begins a certificate at one of the gateways.
func (w *quotaWorld) begin(gateway int, quota policy.Quota, profile string, list ...string) (*ra.Issuance, ca.Intent, error) {
	i := unbegun(w.t, w.dbs[gateway])
	i.Quota, i.Enrollment.Profile = quota, profile
	if len(list) > 0 {
		i.Enrollment.Names = names(w.t, list...)
	}
	in := intent(i.Enrollment)
	return i, in, w.dbs[gateway].RecordIntent(context.WithoutCancel(w.t.Context()), in, i)
}

// finish makes it a certificate.
func (w *quotaWorld) finish(i *ra.Issuance, in ca.Intent) *ca.Certificate {
	w.t.Helper()
	must(w.t, w.dbs[0].RecordCertificate(w.t.Context(), ca.Certificate{Intent: in, DER: []byte(in.Serial), Issued: now()}, i))
	c, err := w.dbs[0].Certificate(w.t.Context(), in.Issuer, in.Serial)
	must(w.t, err)
	return c
}

func (w *quotaWorld) use(profile string, at time.Time, list ...string) policy.QuotaUse {
	w.t.Helper()
	u, err := w.dbs[1].QuotaUse(w.t.Context(), 1, profile, names(w.t, list...), at)
	must(w.t, err)
	return u
}

// TestQuotaIsNotOverrun: of forty who begin at once at two gateways, as many get through as the quota has room for.
func TestQuotaIsNotOverrun(t *testing.T) {
	bothEngines(t, func(t *testing.T, w *quotaWorld) {
		for name, tt := range map[string]struct {
			quota policy.Quota
			room  int64
		}{
			"certificates": {policy.Quota{Certificates: 7}, 7},
			"per-name":     {policy.Quota{PerName: 3}, 3},
		} {
			t.Run(name, func(t *testing.T) {
				var mu sync.Mutex
				var all sync.WaitGroup
				begun, refused := int64(0), 0
				for n := range 40 {
					all.Go(func() {
						_, _, err := w.begin(n%2, tt.quota, name, "shared.example.com", fmt.Sprintf("h%d.example.com", n))
						mu.Lock()
						defer mu.Unlock()
						switch {
						case err == nil:
							begun++
						case problem.Is(err, problem.RateLimited):
							refused++
						default:
							t.Errorf("it is neither begun nor refused by the quota: %v", err)
						}
					})
				}
				all.Wait()
				if begun != tt.room || refused != 40-int(tt.room) {
					t.Errorf("%d were begun and %d refused; there was room for %d", begun, refused, tt.room)
				}
				if u := w.use(name, now(), "shared.example.com"); u.Certificates != tt.room || u.Names[0].Certificates != tt.room {
					t.Errorf("held are %+v", u)
				}
			})
		}
	})
}

// TestQuotaCounts: what is held is what has been begun and is neither revoked, failed nor expired.
func TestQuotaCounts(t *testing.T) {
	bothEngines(t, func(t *testing.T, w *quotaWorld) {
		quota := policy.Quota{Certificates: 3, PerName: 2}
		held := func(what string, want int64) {
			t.Helper()
			if u := w.use("web", now(), "www.example.com"); u.Certificates != want || u.Names[0].Certificates != want {
				t.Errorf("%s: held are %+v, want %d", what, u, want)
			}
		}
		held("nothing", 0)
		first, in, err := w.begin(0, quota, "web")
		must(t, err)
		held("one is begun", 1)
		cert := w.finish(first, in)
		held("one is issued", 1)
		// Another profile, another organisation: each has its own.
		_, _, err = w.begin(0, quota, "mail")
		must(t, err)
		held("another profile's is begun", 1)

		second, in2, err := w.begin(1, quota, "web")
		must(t, err)
		_, _, err = w.begin(0, quota, "web")
		if !problem.Is(err, problem.RateLimited) {
			t.Fatalf("a third for one name: %v", err)
		}
		held("a third is refused", 2)
		// A later attempt of what is held already needs no room.
		again := intent(second.Enrollment)
		must(t, w.dbs[0].RecordIntent(t.Context(), again, second))
		held("the second is tried again", 2)
		must(t, w.dbs[0].AbandonIntent(t.Context(), in2.Issuer, in2.Serial, now()))
		held("its first intent is abandoned", 2)
		must(t, w.dbs[0].FailEnrollment(t.Context(), second.Enrollment, ra.Failure{Kind: problem.BadCSR, At: now()}))
		held("it failed", 1)
		must(t, w.dbs[1].RecordRevocation(t.Context(), *cert, ca.Revocation{At: now(), Actor: "uid:0"}))
		held("the first is revoked", 0)

		third, in3, err := w.begin(0, quota, "web")
		must(t, err)
		w.finish(third, in3)
		if u := w.use("web", in3.NotAfter, "www.example.com"); u.Certificates != 1 || u.Names[0].Certificates != 1 {
			t.Errorf("in its last second held are %+v", u)
		}
		if u := w.use("web", in3.NotAfter.Add(time.Second), "www.example.com"); u.Certificates != 0 || u.Names[0].Certificates != 0 {
			t.Errorf("after its end held are %+v", u)
		}
	})
}

// TestQuotaConflict: a conflict over something else than the quota is one, and leaves the quota as it was.
func TestQuotaConflict(t *testing.T) {
	bothEngines(t, func(t *testing.T, w *quotaWorld) {
		quota := policy.Quota{Certificates: 3}
		i, in, err := w.begin(0, quota, "web")
		must(t, err)
		same := unbegun(t, w.dbs[1])
		same.Quota, same.Enrollment.Profile = quota, "web"
		conflicts(t, "another intent under one serial", w.dbs[1].RecordIntent(t.Context(), in, same))
		if u := w.use("web", now()); u.Certificates != 1 {
			t.Errorf("held are %+v after a conflict", u)
		}
		w.finish(i, in)
	})
}

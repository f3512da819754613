package acme

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// limited makes a world with limits.
func limited(t *testing.T, l Limits) *world {
	t.Helper()
	return newWorld(t, func(c *Config) { c.Limits = l })
}

// wantLimited holds an answer to a refusal by a limit (RFC 8555, 6.6).
func (a answer) wantLimited(t *testing.T, limit Limit, rate string, retryAfter string) {
	t.Helper()
	doc := a.wantProblem(t, http.StatusTooManyRequests, "rateLimited")
	detail := doc["detail"].(string)
	if want := "the limit " + string(limit) + " is " + rate + "; try again in "; !strings.Contains(detail, want) {
		t.Errorf("the detail is %q, want in it %q", detail, want)
	}
	if got := a.header.Get("Retry-After"); got != retryAfter {
		t.Errorf("RFC 8555, 6.6: Retry-After is %q, want %q", got, retryAfter)
	}
}

func TestLimitRequestsPerAddress(t *testing.T) {
	w := limited(t, Limits{AddressRequests: Rate{6, time.Minute, 3}, Help: "https://ca.example.com/limits",
		Except: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	w.remote = "192.0.2.1:1"
	c := w.account() // one request
	for range 2 {
		c.read(c.kid).want(t, http.StatusOK)
	}
	w.remote = "192.0.2.1:2" // another port is the same address
	a := c.read(c.kid)
	a.wantLimited(t, LimitAddressRequests, "6/1m burst 3", "10")
	if links := strings.Join(a.header["Link"], ","); !strings.Contains(links, `<https://ca.example.com/limits>;rel="help"`) {
		t.Errorf("RFC 8555, 6.6: Link is %s", links)
	}
	w.store.taken()
	for range 20 { // what is known to be refused does not reach the store, whoever's account it names
		c.read(c.kid).wantLimited(t, LimitAddressRequests, "6/1m burst 3", "10")
		w.client().post("/acme/r/new-account", map[string]any{}).want(t, http.StatusTooManyRequests)
	}
	if trips := w.store.taken(); len(trips) != 0 {
		t.Errorf("refused requests asked the store: %v", trips)
	}
	for _, free := range []string{"192.0.2.2:1", "198.51.100.7:1", "[::ffff:198.51.100.7]:1", "[2001:db8::1]:1"} {
		w.remote = free
		c.read(c.kid).want(t, http.StatusOK)
	}
	w.remote = "[::ffff:192.0.2.1]:1" // the same, as a socket for both families has it
	c.read(c.kid).want(t, http.StatusTooManyRequests)

	// The generic cell rate algorithm's edge: a unit is back after 10 s, not a nanosecond before.
	w.clock.advance(10*time.Second - 1)
	c.read(c.kid).wantLimited(t, LimitAddressRequests, "6/1m burst 3", "1")
	w.clock.advance(1)
	c.read(c.kid).want(t, http.StatusOK)
	c.read(c.kid).wantLimited(t, LimitAddressRequests, "6/1m burst 3", "10")
}

func TestLimitPerAddressTakesIPv6SitesTogether(t *testing.T) {
	w := limited(t, Limits{AddressRequests: Rate{1, time.Hour, 2}})
	w.remote = "[2001:db8:1::1]:1"
	c := w.account()
	w.remote = "[2001:db8:1:ffff::1]:1"
	c.read(c.kid).want(t, http.StatusOK)
	w.remote = "[2001:db8:1:8000:1:2:3:4]:1"
	c.read(c.kid).wantLimited(t, LimitAddressRequests, "1/1h burst 2", "3600")
	w.remote = "[2001:db8:2::1]:1"
	c.read(c.kid).want(t, http.StatusOK)
	// What has no address is not unlimited.
	w.remote = "@"
	c.read(c.kid).want(t, http.StatusOK)
	w.remote = "elsewhere"
	c.read(c.kid).want(t, http.StatusOK)
	c.read(c.kid).want(t, http.StatusTooManyRequests)
}

// TestLimitCountsFailedRequests: a used nonce and a wrong signature take nothing in the trip to the store, but cost work.
func TestLimitCountsFailedRequests(t *testing.T) {
	w := limited(t, Limits{AddressRequests: Rate{1, time.Hour, 5}})
	c := w.account()
	r := c.prepare(strings.TrimPrefix(c.kid, base), nil)
	c.send(r).want(t, http.StatusOK)
	for range 3 {
		c.send(r).wantProblem(t, http.StatusBadRequest, "badNonce")
	}
	c.send(r).wantLimited(t, LimitAddressRequests, "1/1h burst 5", "3600")

	w.remote = "192.0.2.9:1"
	other := w.client()
	spoilt := other.prepare("/acme/r/new-account", map[string]any{})
	other.key = w.client().key
	for range 5 {
		other.send(spoilt).wantProblem(t, http.StatusBadRequest, "malformed")
	}
	other.send(spoilt).want(t, http.StatusTooManyRequests)
	w.remote = "192.0.2.10:1"
	for range 5 { // also of an account, whose signature is verified after the trip
		other.kid, other.key = c.kid, w.client().key
		other.read(c.kid).wantProblem(t, http.StatusBadRequest, "malformed")
	}
	other.read(c.kid).want(t, http.StatusTooManyRequests)
}

func TestLimitRequestsPerAccount(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{AccountRequests: Rate{60, time.Minute, 4}},
		Organisations: map[string]OrgLimits{"other": {AccountRequests: Rate{60, time.Minute, 2}}}})
	c, neighbour, other := w.account(), w.account(), w.accountAt("/acme/r/new-account/in/other")
	for range 4 {
		c.read(c.kid).want(t, http.StatusOK)
	}
	c.read(c.kid).wantLimited(t, LimitAccountRequests, "60/1m burst 4", "1")
	neighbour.read(neighbour.kid).want(t, http.StatusOK)
	for range 2 { // an override
		other.read(other.kid).want(t, http.StatusOK)
	}
	other.read(other.kid).wantLimited(t, LimitAccountRequests, "60/1m burst 2", "1")
	w.clock.advance(time.Second - 1)
	c.read(c.kid).want(t, http.StatusTooManyRequests)
	w.clock.advance(1)
	c.read(c.kid).want(t, http.StatusOK)
	c.read(c.kid).wantLimited(t, LimitAccountRequests, "60/1m burst 4", "1")
	w.clock.advance(time.Hour)
	for range 3 { // and one that the last request before the rest owed
		c.read(c.kid).want(t, http.StatusOK)
	}
	c.read(c.kid).want(t, http.StatusTooManyRequests)
}

// TestStrangersCannotUseUpAnAccount: "kid" is public, so a request costs the account nothing before it is known to be its.
func TestStrangersCannotUseUpAnAccount(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{AccountRequests: Rate{1, time.Hour, 5}}})
	victim, stranger := w.account(), w.client()
	stranger.kid = victim.kid
	for i := range 4 {
		for range 20 {
			stranger.read(victim.kid).wantProblem(t, http.StatusBadRequest, "malformed")
		}
		if i > 0 {
			victim.read(victim.kid).want(t, http.StatusOK)
		}
	}
	replayed := victim.prepare(strings.TrimPrefix(victim.kid, base), nil)
	victim.send(replayed).want(t, http.StatusOK)
	for range 20 {
		victim.send(replayed).wantProblem(t, http.StatusBadRequest, "badNonce")
	}
	victim.read(victim.kid).want(t, http.StatusOK)
	victim.read(victim.kid).wantLimited(t, LimitAccountRequests, "1/1h burst 5", "3600")
}

// leaving is a store as the one on Redis: it answers nobody who has gone away, and does what was asked all the same.
type leaving struct{ *memStore }

func (l leaving) Admit(ctx context.Context, a Admission) (Admitted, error) {
	out, err := l.memStore.Admit(ctx, a)
	if ctx.Err() != nil {
		return Admitted{}, problem.Wrap(ctx.Err(), problem.Unavailable, "gone")
	}
	return out, err
}

// TestStrangersWhoLeaveCannotUseUpAnAccount: what an account owes is paid once, also by a request that nobody waits for.
func TestStrangersWhoLeaveCannotUseUpAnAccount(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Limits = Limits{Default: OrgLimits{AccountRequests: Rate{1, time.Hour, 5}}}
		c.Store = leaving{c.Store.(*memStore)}
	})
	victim, stranger := w.account(), w.client()
	stranger.kid = victim.kid
	victim.read(victim.kid).want(t, http.StatusOK)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		path := strings.TrimPrefix(victim.kid, base)
		r := httptest.NewRequestWithContext(gone, http.MethodPost, path, bytes.NewReader(stranger.sign(stranger.prepare(path, nil))))
		r.Header.Set("Content-Type", "application/jose+json")
		w.server.ServeHTTP(httptest.NewRecorder(), r)
	}
	for range 4 {
		victim.read(victim.kid).want(t, http.StatusOK)
	}
	victim.read(victim.kid).wantLimited(t, LimitAccountRequests, "1/1h burst 5", "3600")
}

// TestDebtsAreNotLost: requests at once, store failures and refusals leave an account owing what it used.
func TestDebtsAreNotLost(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{AccountRequests: Rate{1, time.Hour, 10}}})
	c := w.account()
	for i := range 10 {
		w.store.failing("Admit", errDisk)
		c.read(c.kid).want(t, http.StatusInternalServerError)
		w.store.failing("Admit", nil)
		if c.read(c.kid).want(t, http.StatusOK); i < 9 {
			continue
		}
		c.read(c.kid).wantLimited(t, LimitAccountRequests, "1/1h burst 10", "3600")
	}
	w.clock.advance(20 * time.Hour)
	var requests []*http.Request
	for range 40 {
		r := httptest.NewRequest(http.MethodPost, strings.TrimPrefix(c.kid, base), bytes.NewReader(c.sign(c.prepare(strings.TrimPrefix(c.kid, base), nil))))
		r.Header.Set("Content-Type", "application/jose+json")
		requests = append(requests, r)
	}
	var all sync.WaitGroup
	for _, r := range requests {
		all.Go(func() { w.server.ServeHTTP(httptest.NewRecorder(), r) })
	}
	all.Wait()
	c.read(c.kid)
	c.read(c.kid).want(t, http.StatusTooManyRequests)
	w.clock.advance(20 * time.Hour)
	// Whatever came at once is paid with the burst at most: nobody is shut out for longer than it takes to come back.
	w.server.owe(c.id(), debt{1, 40})
	c.read(c.kid).want(t, http.StatusOK)
	c.read(c.kid).want(t, http.StatusTooManyRequests)
}

func TestLimitNewAccountsPerAddress(t *testing.T) {
	w := limited(t, Limits{AddressNewAccounts: Rate{1, time.Hour, 2}})
	c := w.account()
	again := &client{w: w, key: c.key}
	for range 3 { // finding the account that there is makes none
		again.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusOK)
	}
	w.client().post("/acme/r/new-account", map[string]any{"onlyReturnExisting": true}).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist")
	w.client().post("/acme/r/new-account", map[string]any{"contact": []string{"nonsense"}}).want(t, http.StatusBadRequest)
	w.accountAt("/acme/r/new-account/in/other")
	for range 3 {
		w.client().post("/acme/r/new-account", map[string]any{}).wantLimited(t, LimitAddressNewAccounts, "1/1h burst 2", "3600")
	}
	if len(w.store.accounts) != 2 {
		t.Errorf("%d accounts", len(w.store.accounts))
	}
	again.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusOK)
	w.remote = "198.51.100.1:1"
	w.account()
	w.remote = ""
	w.clock.advance(time.Hour)
	w.account()
}

func TestLimitRenewalInfo(t *testing.T) {
	w := limited(t, Limits{AddressRenewalInfo: Rate{1, time.Minute, 2}})
	c := w.account()
	path := "/acme/r/renewal-info/" + idOf(t, c.issued("a.example.com"))
	w.store.taken()
	w.get(http.MethodGet, "/acme/r/renewal-info/nonsense").want(t, http.StatusBadRequest) // reads nothing, costs nothing
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w.get(method, path).want(t, http.StatusOK)
	}
	for range 20 {
		w.get(http.MethodGet, path).wantLimited(t, LimitAddressRenewalInfo, "1/1m burst 2", "60")
	}
	if trips := w.store.taken(); !slices.Equal(trips, []string{"Admit", "Admit", "Admit"}) {
		t.Errorf("a stranger made the store be asked: %v", trips)
	}
	c.read(path).want(t, http.StatusOK) // signed, it counts as a request
	w.remote = "198.51.100.1:1"
	w.get(http.MethodGet, path).want(t, http.StatusOK)
}

// TestNothingElseIsLimited: nonces and directories need neither store nor limit.
func TestNothingElseIsLimited(t *testing.T) {
	one := Rate{1, time.Hour, 2}
	w := limited(t, Limits{AddressRequests: one, AddressNewAccounts: one, AddressRenewalInfo: one, Default: OrgLimits{one, one, one, one, one}})
	for range 10 {
		w.get(http.MethodHead, "/acme/r/new-nonce").want(t, http.StatusOK)
		w.get(http.MethodGet, "/acme/directory").want(t, http.StatusOK)
		w.get(http.MethodOptions, "/acme/r/new-order").want(t, http.StatusNoContent)
	}
	if trips := w.store.taken(); len(trips) != 0 {
		t.Error(trips)
	}
}

func TestLimitedIsTold(t *testing.T) {
	var told atomic.Int32
	w := newWorld(t, func(c *Config) {
		c.Limits = Limits{AddressRequests: Rate{1, time.Hour, 1}}
		c.Limited = func(limit Limit) {
			if limit == LimitAddressRequests {
				told.Add(1)
			}
		}
	})
	w.account()
	for range 3 {
		a := w.client().post("/acme/r/new-account", map[string]any{}).want(t, http.StatusTooManyRequests)
		if slices.ContainsFunc(a.header["Link"], func(l string) bool { return strings.Contains(l, "help") }) {
			t.Error("a link to a page that is not configured")
		}
	}
	if told.Load() != 3 {
		t.Errorf("told of %d refusals of 3", told.Load())
	}
}

func TestLimitsCheck(t *testing.T) {
	if err := DefaultLimits().Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Rate{
		{0, time.Hour, 1}, {-1, time.Hour, 1}, {1, 0, 1}, {1, -1, 1}, {1, time.Hour, 0}, {1, 367 * 24 * time.Hour, 1},
		{2_000_000, time.Second, 1}, {1, time.Hour, 88_000},
	} {
		if (Limits{AddressNewAccounts: bad}).Check() == nil {
			t.Errorf("%+v passes", bad)
		}
		err := Limits{Organisations: map[string]OrgLimits{"main": {DomainNewOrders: bad}}}.Check()
		if err == nil || !strings.Contains(err.Error(), "organisations.main.per_domain.new_orders: ") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if (Limits{Default: OrgLimits{AccountRequests: Rate{1, time.Hour, 1}}}).Check() == nil {
		t.Error("a burst of 1 passes for the requests of an account")
	}
	for rate, want := range map[Rate]string{
		{}: "off", {300, time.Hour, 300}: "300/1h", {300, 3 * time.Hour, 1000}: "300/3h burst 1000", {1, 90 * time.Minute, 1}: "1/90m",
		{5, 1500 * time.Millisecond, 6}: "5/1.5s burst 6",
	} {
		if got := rate.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent[int, int]
	r.init(100)
	for i := range 10_000 {
		r.put(i, func(int) int { return i })
		for _, j := range []int{i, max(0, i-99)} {
			if v, ok := r.get(j); !ok || v != j {
				t.Fatalf("after %d, %d is %d, %t", i, j, v, ok)
			}
		}
		if n := len(r.young) + len(r.old); n > 200 {
			t.Fatalf("%d are kept", n)
		}
	}
	r.put(9_999, func(v int) int { return v + 1 })
	if v, ok := r.take(9_999); !ok || v != 10_000 {
		t.Errorf("%d, %t", v, ok)
	}
	if _, ok := r.take(9_999); ok {
		t.Error("taken twice")
	}
}

package acme

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/policy"
)

func TestNewOrder(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	a := c.post("/acme/r/new-order", identifiers("b.example.com", "A.example.com", "b.EXAMPLE.com")).want(t, http.StatusCreated)
	o := a.order(t)
	got := a.decode(t)
	// RFC 8555, 7.4 and 7.1.3: names folded, one authorization each.
	want := []any{map[string]any{"type": "dns", "value": "a.example.com"}, map[string]any{"type": "dns", "value": "b.example.com"}}
	if diff := cmp.Diff(want, got["identifiers"]); diff != "" {
		t.Error(diff)
	}
	if o.Status != "pending" || len(o.Authorizations) != 2 || o.Finalize != o.url+"/finalize" || !o.Expires.Equal(testTime.Add(7*24*time.Hour)) {
		t.Errorf("%s", a.body)
	}
	for _, absent := range []string{"certificate", "error", "notBefore", "notAfter"} {
		if _, ok := got[absent]; ok {
			t.Errorf("a new order has %q", absent)
		}
	}
	if diff := cmp.Diff(o, c.read(o.url).want(t, http.StatusOK).order(t), cmp.AllowUnexported(orderDoc{})); diff != "" {
		t.Error("read back:", diff)
	}
	authz := c.read(o.Authorizations[0]).want(t, http.StatusOK).decode(t)
	if diff := cmp.Diff(want[0], authz["identifier"]); diff != "" {
		t.Error(diff)
	}
	challenges := authz["challenges"].([]any)
	if authz["status"] != "pending" || authz["expires"] != "2026-05-11T12:00:00Z" || len(challenges) != 1 {
		t.Errorf("%v", authz)
	}
	ch := challenges[0].(map[string]any)
	if ch["type"] != "http-01" || ch["status"] != "pending" || len(ch["token"].(string)) < 22 { // RFC 8555, 8.1: 128 bits
		t.Errorf("%v", ch)
	}
}

func TestNewOrderRefusals(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	many := make([]string, maxIdentifiers+1)
	for i := range many {
		many[i] = fmt.Sprintf("h%d.example.com", i)
	}
	with := func(in map[string]any, key string, value any) map[string]any { in[key] = value; return in }
	one := func(typ, value string) map[string]any {
		return map[string]any{"identifiers": []map[string]string{{"type": typ, "value": value}}}
	}
	for _, tc := range []struct {
		name   string
		in     any
		status int
		word   string
	}{
		{"RFC 8555, 7.4: no identifiers", map[string]any{}, 400, "malformed"},
		{"RFC 8555, 7.4: empty", identifiers(), 400, "malformed"},
		{"RFC 8555, 7.4: not an array", map[string]any{"identifiers": "a.example.com"}, 400, "malformed"},
		{"too many", identifiers(many...), 400, "malformed"},
		{"RFC 8555, 7.4: notBefore", with(identifiers("a.example.com"), "notBefore", "2026-06-01T00:00:00Z"), 400, "malformed"},
		{"RFC 8555, 7.4: notAfter", with(identifiers("a.example.com"), "notAfter", "2026-06-01T00:00:00Z"), 400, "malformed"},
		{"RFC 8738, 3: an address in other words", one("ip", "2001:DB8::1"), 400, "malformed"},
		{"RFC 8738, 3: a range", one("ip", "192.0.2.0/24"), 400, "malformed"},
		{"RFC 8738, 3: a name as an address", one("ip", "www.example.com"), 400, "malformed"},
		{"RFC 8555, 7.4: unknown type", one("email", "a@example.com"), 400, "unsupportedIdentifier"},
		{"RFC 8555, 7.1.4: not a name", one("dns", "a b"), 400, "malformed"},
		{"RFC 8555, 7.1.4: U-label", one("dns", "bücher.example"), 400, "malformed"},
		{"an address as a name", one("dns", "192.0.2.1"), 400, "malformed"},
		{"RFC 8555, 8.3: wildcard by http-01", one("dns", "*.example.com"), 403, "rejectedIdentifier"},
		{"public suffix", one("dns", "co.uk"), 403, "rejectedIdentifier"},
		{"denied by the profile", one("dns", "forbidden.example.com"), 403, "rejectedIdentifier"},
		{"member in other case", map[string]any{"Identifiers": []any{}}, 400, "malformed"},
	} {
		c.post("/acme/r/new-order", tc.in).wantProblem(t, tc.status, tc.word)
	}
	// RFC 8555, 6.7.1
	in := map[string]any{"identifiers": []map[string]string{
		{"type": "dns", "value": "a.example.com"}, {"type": "dns", "value": "*.example.com"}, {"type": "email", "value": "a@example.com"}, {"type": "dns", "value": "a_b"},
	}}
	doc := c.post("/acme/r/new-order", in).wantProblem(t, http.StatusForbidden, "compound")
	var got []string
	for _, sub := range doc["subproblems"].([]any) {
		m := sub.(map[string]any)
		id, _ := m["identifier"].(map[string]any)
		got = append(got, fmt.Sprint(strings.TrimPrefix(m["type"].(string), urn), " ", id["value"]))
	}
	if diff := cmp.Diff([]string{"rejectedIdentifier *.example.com", "unsupportedIdentifier <nil>", "malformed <nil>"}, got); diff != "" {
		t.Error(diff)
	}
	if len(w.store.orders) != 0 {
		t.Error("orders were made")
	}
}

func TestHundredNames(t *testing.T) {
	w := newWorld(t)
	names := make([]string, maxIdentifiers)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.example.com", i)
	}
	if o := w.account().newOrder(names...); len(o.Authorizations) != maxIdentifiers {
		t.Error(len(o.Authorizations))
	}
}

func TestHundredOrdersAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if a := c.post("/acme/r/new-order", identifiers("a.example.com")); a.status != http.StatusCreated {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if len(w.store.orders) != 100 {
		t.Error(len(w.store.orders))
	}
}

// TestAuthorizationReuse proves a name once and looks whose orders that serves.
func TestAuthorizationReuse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		meddy func(w *world, a *Authorization)
		path  string
		names string
		reuse bool
	}{
		{"RFC 8555, 7.4: same account", nil, "", "", true},
		{"another profile", nil, "/acme/r/new-order/in/main/second", "", false},
		{"another name", nil, "", "b.example.com", false},
		{"another account's", func(_ *world, a *Authorization) { a.Account = AccountID(newID()) }, "", "", false},
		{"another organisation's", func(_ *world, a *Authorization) { a.Org = 2 }, "", "", false},
		{"a method the profile does not allow", func(_ *world, a *Authorization) { a.Challenges[0].Proof.Method = "dns-99" }, "", "", false},
		{"expired", func(w *world, _ *Authorization) { w.clock.advance(policy.DefaultProofLifetime) }, "", "", false},
		{"lapses within the margin", func(w *world, _ *Authorization) {
			w.clock.advance(policy.DefaultProofLifetime - reuseMargin)
		}, "", "", false},
		{"just outside the margin", func(w *world, _ *Authorization) {
			w.clock.advance(policy.DefaultProofLifetime - reuseMargin - time.Second)
		}, "", "", true},
		{"older than the profile allows now", func(_ *world, a *Authorization) {
			a.Challenges[0].Proof.At = testTime.Add(-policy.DefaultProofLifetime)
		}, "", "", false},
	} {
		w := newWorld(t)
		c := w.account()
		o := c.readyOrder("a.example.com")
		if tc.meddy != nil {
			w.store.edit(func() {
				for _, a := range w.store.authzs {
					tc.meddy(w, a)
				}
			})
		}
		if tc.path == "" {
			tc.path = "/acme/r/new-order"
		}
		if tc.names == "" {
			tc.names = "a.example.com"
		}
		again := c.post(tc.path, identifiers(tc.names)).want(t, http.StatusCreated).order(t)
		if got := slices.Equal(again.Authorizations, o.Authorizations); got != tc.reuse {
			t.Errorf("%s: reused %v, want %v", tc.name, got, tc.reuse)
		}
		if want := map[bool]string{true: "ready", false: "pending"}[tc.reuse]; again.Status != want {
			t.Errorf("%s: the order is %s, want %s", tc.name, again.Status, want)
		}
		if tc.reuse && !again.Expires.Equal(testTime.Add(policy.DefaultProofLifetime)) {
			t.Errorf("%s: the order outlives its authorization: %s", tc.name, again.Expires)
		}
	}
}

func TestOrdersList(t *testing.T) {
	w := newWorld(t)
	c, other := w.account(), w.account()
	other.newOrder("a.example.com")
	lapsed := c.newOrder("lapsed.example.com")
	w.clock.advance(8 * 24 * time.Hour)
	var want []string
	for i := range ordersPage + 3 {
		w.clock.advance(time.Second)
		want = append([]string{c.newOrder(fmt.Sprintf("h%d.example.com", i)).url}, want...)
	}
	var got []string
	pages := 0
	for url := c.kid + "/orders"; url != ""; pages++ { // RFC 8555, 7.1.2.1
		a := c.read(url).want(t, http.StatusOK)
		for _, o := range a.decode(t)["orders"].([]any) {
			got = append(got, o.(string))
		}
		url = ""
		for _, link := range a.header.Values("Link") {
			if rest, ok := strings.CutSuffix(link, `>;rel="next"`); ok {
				url = strings.TrimPrefix(rest, "<")
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 2 || slices.Contains(got, lapsed.url) {
		t.Errorf("%d pages: %s", pages, diff)
	}
}

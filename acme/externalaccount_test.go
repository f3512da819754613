package acme

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// external keeps keys for external account binding beside the accounts, so that a commit can depend on them.
type external struct {
	store *memStore
	err   error
}

func (x *external) Open(_ context.Context, kid string) (*auth.EABKey, []byte, error) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if x.err != nil {
		return nil, nil, x.err
	}
	key, ok := x.store.external[kid]
	if !ok {
		return nil, nil, problem.New(problem.NotFound, "there is no key %q", kid)
	}
	return &key, macOf(kid), nil
}

func (x *external) Key(_ context.Context, kid string) (*auth.EABKey, error) {
	key, _, err := x.Open(context.Background(), kid)
	return key, err
}

func macOf(kid string) []byte { return []byte("the MAC key of " + kid) }

// withKeys is a world whose /acme/directory has a mode, whose organisation "main" has none, and "other" requires a binding.
func withKeys(t *testing.T, mode auth.EABMode, change ...func(*Config)) *world {
	t.Helper()
	orgs, err := auth.NewDirectory([]auth.Org{
		{ID: 1, Slug: "main", Name: "Main"}, {ID: 2, Slug: "other", Name: "Other", EAB: auth.EABRequired}, {ID: 3, Slug: "open", Name: "Open", EAB: auth.EABOptional},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, append([]func(*Config){func(c *Config) {
		c.EAB, c.Organisations, c.External = mode, orgs, &external{store: c.Store.(*memStore)}
	}}, change...)...)
	for _, k := range []auth.EABKey{
		{ID: "once", Org: 2},
		{ID: "often", Org: 2, Reusable: true},
		{ID: "mains", Org: 1, Reusable: true},
		{ID: "expired", Org: 2, Reusable: true, Expires: testTime},
		{ID: "revoked", Org: 2, Reusable: true, Revoked: testTime.Add(-time.Hour)},
		{ID: "used", Org: 2, Account: "somebody"},
		{ID: "narrow", Org: 2, Reusable: true, Profiles: []string{"second", "secret"}, Names: []string{"*.example.com", "10.0.0.0/8"}},
		{ID: "single", Org: 2, Reusable: true, Profiles: []string{"secret"}},
		{ID: "lost", Org: 2, Reusable: true, Profiles: []string{"gone"}},
	} {
		k.Version = newVersion()
		w.store.external[k.ID] = k
	}
	return w
}

// binding is what a client sends along with newAccount at a path, with the MAC key mac.
func (c *client) binding(path, kid string, mac []byte) map[string]string {
	c.w.t.Helper()
	payload, err := json.Marshal(c.jwk())
	if err != nil {
		c.w.t.Fatal(err)
	}
	return bindingOf(fmt.Sprintf(`{"alg":"HS256","kid":%q,"url":%q}`, kid, base+path), string(payload), mac)
}

func bindingOf(protected, payload string, mac []byte) map[string]string {
	signing := b64([]byte(protected)) + "." + b64([]byte(payload))
	h := hmac.New(sha256.New, mac)
	h.Write([]byte(signing))
	return map[string]string{"protected": b64([]byte(protected)), "payload": b64([]byte(payload)), "signature": b64(h.Sum(nil))}
}

const newAccountPath = "/acme/r/new-account"

// register sends newAccount with a binding by the key kid.
func (c *client) register(path, kid string) answer {
	return c.post(path, map[string]any{"externalAccountBinding": c.binding(path, kid, macOf(kid))})
}

// bound is a client with an account that a key bound at the default directory.
func (w *world) bound(kid string) *client {
	w.t.Helper()
	c := w.client()
	c.kid = c.register(newAccountPath, kid).want(w.t, http.StatusCreated).header.Get("Location")
	return c
}

// TestExternalAccountRequiredInMeta: RFC 8555, 7.1.1.
func TestExternalAccountRequiredInMeta(t *testing.T) {
	for mode, want := range map[auth.EABMode]map[string]bool{
		auth.EABOff:      {"/acme/directory": false, "/acme/in/other/directory": true, "/acme/in/other/secret/directory": true, "/acme/in/open/directory": false},
		auth.EABOptional: {"/acme/directory": false, "/acme/in/main/directory": false},
		auth.EABRequired: {"/acme/directory": true, "/acme/in/main/directory": false},
	} {
		w := withKeys(t, mode)
		for path, required := range want {
			meta := w.get(http.MethodGet, path).want(t, http.StatusOK).decode(t)["meta"].(map[string]any)
			if meta["externalAccountRequired"] != required {
				t.Errorf("%s with %s: %v", path, mode, meta)
			}
		}
	}
}

// TestExternalAccountModes: RFC 8555, 7.3.4.
func TestExternalAccountModes(t *testing.T) {
	const none = ""
	for _, tc := range []struct {
		mode      auth.EABMode
		path, kid string
		status    int
		word      string // of an error
		org       auth.OrgID
	}{
		{auth.EABOff, newAccountPath, none, 201, "", 1},
		{auth.EABOff, newAccountPath, "once", 201, "", 1}, // not looked at
		{auth.EABOff, newAccountPath, "nothing", 201, "", 1},
		{auth.EABOptional, newAccountPath, none, 201, "", 1},
		{auth.EABOptional, newAccountPath, "once", 201, "", 2},
		{auth.EABOptional, newAccountPath, "mains", 201, "", 1},
		{auth.EABOptional, newAccountPath, "nothing", 403, "unauthorized", 0},
		{auth.EABRequired, newAccountPath, none, 403, "externalAccountRequired", 0},
		{auth.EABRequired, newAccountPath, "often", 201, "", 2},
		{auth.EABOff, newAccountPath + "/in/other", none, 403, "externalAccountRequired", 0},
		{auth.EABOff, newAccountPath + "/in/other", "once", 201, "", 2},
		{auth.EABOff, newAccountPath + "/in/other", "mains", 403, "unauthorized", 0}, // another organisation's key
		{auth.EABOff, newAccountPath + "/in/open", none, 201, "", 3},
		{auth.EABOff, newAccountPath + "/in/open", "once", 403, "unauthorized", 0},
		{auth.EABRequired, newAccountPath + "/in/main", none, 201, "", 1}, // its own directory is its own to open
	} {
		w := withKeys(t, tc.mode)
		c := w.client()
		in := map[string]any{}
		if tc.kid != none {
			in["externalAccountBinding"] = c.binding(tc.path, tc.kid, macOf(tc.kid))
		}
		a := c.post(tc.path, in)
		if tc.word != "" {
			a.wantProblem(t, tc.status, tc.word)
			if len(w.store.accounts) != 0 {
				t.Errorf("%+v: an account was made", tc)
			}
			continue
		}
		a.want(t, tc.status)
		c.kid = a.header.Get("Location")
		stored := w.store.accounts[c.id()]
		if stored.Org != tc.org {
			t.Errorf("%+v: organisation %d", tc, stored.Org)
		}
		// RFC 8555, 7.3.4: the account shows the binding as it was sent; one that was not looked at, it does not.
		shown, used := a.decode(t)["externalAccountBinding"], tc.mode != auth.EABOff || tc.path != newAccountPath
		if want := tc.kid != none && used; (shown != nil) != want || (stored.Binding != nil) != want {
			t.Errorf("%+v: %v, %+v", tc, shown, stored.Binding)
		}
		if shown != nil {
			sent := map[string]any{}
			for name, value := range in["externalAccountBinding"].(map[string]string) {
				sent[name] = value
			}
			for _, again := range []any{shown, c.read(c.kid).want(t, 200).decode(t)["externalAccountBinding"]} {
				if diff := cmp.Diff(sent, again); diff != "" {
					t.Error(diff)
				}
			}
		}
		w.sameAfterReplay()
	}
}

// TestExternalAccountRefusals: RFC 8555, 7.3.4. What is wrong with a key is for those alone who have its MAC key; others cannot
// tell it from one that does not exist.
func TestExternalAccountRefusals(t *testing.T) {
	w := withKeys(t, auth.EABRequired)
	unknown := w.client().register(newAccountPath, "nothing").wantProblem(t, 403, "unauthorized")["detail"]
	for _, kid := range []string{"once", "often", "expired", "revoked", "used", "mains", "nothing"} {
		for _, path := range []string{newAccountPath, newAccountPath + "/in/other"} {
			c := w.client()
			in := map[string]any{"externalAccountBinding": c.binding(path, kid, []byte("another MAC key"))}
			if got := c.post(path, in).wantProblem(t, 403, "unauthorized")["detail"]; got != unknown {
				t.Errorf("%s at %s: a stranger is told %q, and of one that does not exist %q", kid, path, got, unknown)
			}
		}
	}
	for kid, says := range map[string]string{"expired": "expired at", "revoked": "was revoked", "used": "was used by another account"} {
		got := w.client().register(newAccountPath, kid).wantProblem(t, 403, "unauthorized")["detail"].(string)
		if !strings.Contains(got, says) {
			t.Errorf("%s: %s", kid, got)
		}
	}
	got := w.client().register(newAccountPath+"/in/other", "mains").wantProblem(t, 403, "unauthorized")["detail"].(string)
	if !strings.Contains(got, "not for this organisation's directory") || strings.Contains(got, "main ") {
		t.Error(got)
	}
	for name, in := range map[string]any{
		"a number": 7, "a text": "x", "a list": []any{}, "empty": map[string]any{},
		"another client's": w.client().binding(newAccountPath, "often", macOf("often")),
		"of another URL":   nil,
	} {
		c := w.client()
		if in == nil {
			in = c.binding(newAccountPath+"/in/other", "often", macOf("often"))
		}
		detail := c.post(newAccountPath, map[string]any{"externalAccountBinding": in}).wantProblem(t, 400, "malformed")["detail"].(string)
		if !strings.HasPrefix(detail, `"externalAccountBinding": `) {
			t.Errorf("%s: the field is not named: %s", name, detail)
		}
	}
	w.client().post(newAccountPath, map[string]any{"externalAccountBinding": nil}).wantProblem(t, 403, "externalAccountRequired")
	if len(w.store.accounts) != 0 || w.store.external["once"].Account != "" {
		t.Errorf("%+v", w.store.accounts)
	}
	// A key that cannot be opened now is no answer about it.
	w.server.External.(*external).err = problem.New(problem.Unavailable, "the token does not answer").After(time.Second)
	w.client().register(newAccountPath, "often").wantProblem(t, 503, "serverInternal")
	w.client().register(newAccountPath, "nothing").wantProblem(t, 503, "serverInternal")
}

// TestDirectoryWithoutAMode: an organisation whose mode is none of the three, or keys that nobody finds, make no account.
func TestDirectoryWithoutAMode(t *testing.T) {
	w := withKeys(t, auth.EABOptional)
	w.server.EAB = 9
	w.client().post(newAccountPath, map[string]any{}).wantProblem(t, 500, "serverInternal")
	w.server.EAB, w.server.External = auth.EABOptional, nil
	w.client().register(newAccountPath, "often").wantProblem(t, 500, "serverInternal")
	w.client().post(newAccountPath, map[string]any{}).want(t, 201)
	if _, err := New(t.Context(), Config{}); err == nil {
		t.Error("accepted")
	}
	cfg := w.server.Config
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "external account bindings") {
		t.Error(err)
	}
}

// TestExistingAccountUsesNoBindingUp: RFC 8555, 7.3.1.
func TestExistingAccountUsesNoBindingUp(t *testing.T) {
	w := withKeys(t, auth.EABRequired)
	c := w.bound("once")
	if got := w.store.external["once"].Account; got != string(c.id()) {
		t.Fatalf("used by %q", got)
	}
	key := &client{w: w, key: c.key}
	for _, kid := range []string{"once", "often", "revoked", "nothing", "narrow"} {
		before := w.store.external[kid]
		a := key.register(newAccountPath, kid).want(t, http.StatusOK)
		if a.header.Get("Location") != c.kid || w.store.external[kid].Version != before.Version || w.store.accounts[c.id()].Binding.KeyID != "once" {
			t.Errorf("%s: %v", kid, a.header)
		}
	}
	key.post(newAccountPath, map[string]any{}).want(t, http.StatusOK) // required of new accounts only
	key.post(newAccountPath, map[string]any{"onlyReturnExisting": true}).want(t, http.StatusOK)
	w.client().register(newAccountPath, "once").wantProblem(t, 403, "unauthorized")
	// Edits leave the binding alone.
	c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}, "externalAccountBinding": c.binding(newAccountPath, "often", macOf("often"))}).want(t, 200)
	if b := w.store.accounts[c.id()].Binding; b == nil || b.KeyID != "once" {
		t.Errorf("%+v", b)
	}
	w.sameAfterReplay()
}

// TestSingleUseKeyRace: of forty accounts that are made by one key at once, one is.
func TestSingleUseKeyRace(t *testing.T) {
	w := withKeys(t, auth.EABRequired)
	requests := make([]*request, 40)
	clients := make([]*client, len(requests))
	for i := range requests {
		clients[i] = w.client()
		requests[i] = clients[i].prepare(newAccountPath, map[string]any{"externalAccountBinding": clients[i].binding(newAccountPath, "once", macOf("once"))})
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for i, c := range clients {
		wg.Go(func() {
			a := c.send(requests[i])
			mu.Lock()
			defer mu.Unlock()
			answers[a.status]++
		})
	}
	wg.Wait()
	if answers[201] != 1 || answers[403] != 39 || len(w.store.accounts) != 1 {
		t.Errorf("%v, %d accounts", answers, len(w.store.accounts))
	}
}

// TestKeyThatChangesMeanwhile: between the reading of a key and the commit.
func TestKeyThatChangesMeanwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(k *auth.EABKey)
		status int
	}{
		"revoked":            {func(k *auth.EABKey) { k.Revoked = testTime }, 403},
		"used":               {func(k *auth.EABKey) { k.Account = "somebody" }, 403},
		"another label":      {func(k *auth.EABKey) { k.Label = "x" }, 201},
		"other restrictions": {func(k *auth.EABKey) { k.Names = []string{"example.com"} }, 201},
	} {
		w := withKeys(t, auth.EABRequired)
		c := w.client()
		w.store.meanwhile("CreateAccount", func() {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			k := w.store.external["once"]
			tc.change(&k)
			k.Version = newVersion()
			w.store.external["once"] = k
		})
		a := c.register(newAccountPath, "once").want(t, tc.status)
		if (a.status == 201) != (len(w.store.accounts) == 1) {
			t.Errorf("%s: %d accounts", name, len(w.store.accounts))
		}
		for _, account := range w.store.accounts {
			if !slices.Equal(account.Binding.Restriction.Names, w.store.external["once"].Names) {
				t.Errorf("%s: %+v", name, account.Binding)
			}
		}
	}
}

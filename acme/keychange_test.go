package acme

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
)

const keyChangePath = "/acme/r/key-change"

// inner is the inner JWS of a key change before it is signed, for tests to spoil.
type inner struct {
	header  map[string]any
	payload map[string]any
}

func (c *client) innerTo(next *client) *inner {
	return &inner{
		header:  map[string]any{"alg": "ES256", "jwk": next.jwk(), "url": base + keyChangePath},
		payload: map[string]any{"account": c.kid, "oldKey": c.jwk()},
	}
}

func (in *inner) signedBy(signer *client) json.RawMessage {
	payload, err := json.Marshal(in.payload)
	if err != nil {
		signer.w.t.Error(err)
	}
	return signer.sign(&request{header: in.header, payload: payload})
}

// rollTo asks for another key.
func (c *client) rollTo(next *client) answer {
	return c.post(keyChangePath, c.innerTo(next).signedBy(next))
}

// with is the account under another key.
func (c *client) with(next *client) *client { return &client{w: c.w, key: next.key, kid: c.kid} }

// TestKeyChange: RFC 8555, 7.3.5: the account has the new key, the old one is refused, and nothing else has changed.
func TestKeyChange(t *testing.T) {
	w := newWorld(t)
	c, next := w.account(), w.client()
	valid, pending := c.readyOrder("a.example.com"), c.newOrder("b.example.com")
	a := c.rollTo(next).want(t, http.StatusOK)
	if a.header.Get("Location") != c.kid || a.decode(t)["status"] != "valid" {
		t.Errorf("%v %s", a.header, a.body)
	}
	c.read(c.kid).wantProblem(t, http.StatusBadRequest, "malformed")
	c.post("/acme/r/new-order", identifiers("c.example.com")).wantProblem(t, http.StatusBadRequest, "malformed")
	rolled := c.with(next)
	rolled.read(c.kid).want(t, http.StatusOK)
	// RFC 8555, 7.3.5: pending orders and authorizations go on, now with the new key.
	rolled.to(valid.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
	challenge := rolled.challengeOf(pending.Authorizations[0])
	rolled.to(challenge, map[string]any{}).want(t, http.StatusOK)
	asked := w.validator.seen()
	if last := asked[len(asked)-1]; last.KeyAuthorization != rolled.keyAuthorization(last.Token) {
		t.Error("RFC 8555, 8.1: the challenge is not answered with the account's new key")
	}
	// The new key finds the account, the old one none.
	find := map[string]any{"onlyReturnExisting": true}
	if a := next.post("/acme/r/new-account", find).want(t, http.StatusOK); a.header.Get("Location") != c.kid {
		t.Error(a.header)
	}
	(&client{w: w, key: c.key}).post("/acme/r/new-account", find).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist")
	w.sameAfterReplay()
}

// TestKeyChangeRefusals has one row for each step of RFC 8555, 7.3.5.
func TestKeyChangeRefusals(t *testing.T) {
	w := newWorld(t)
	c, next, other := w.account(), w.client(), w.account()
	foreign := w.accountAt("/acme/r/new-account/in/other")
	for name, tc := range map[string]struct {
		spoil  func(in *inner)
		signer *client
		status int
		word   string
	}{
		"3: no jwk": {func(in *inner) { delete(in.header, "jwk") }, next, 400, "malformed"},
		"3: kid in place of jwk": {func(in *inner) {
			delete(in.header, "jwk")
			in.header["kid"] = c.kid
		}, next, 400, "malformed"},
		"3: kid besides jwk":               {func(in *inner) { in.header["kid"] = c.kid }, next, 400, "malformed"},
		"4: signed by the old key":         {func(*inner) {}, c, 400, "malformed"},
		"4: another algorithm":             {func(in *inner) { in.header["alg"] = "ES384" }, next, 400, "badSignatureAlgorithm"},
		"6.2: no signature":                {func(in *inner) { in.header["alg"] = "none" }, next, 400, "badSignatureAlgorithm"},
		"5: no account":                    {func(in *inner) { delete(in.payload, "account") }, next, 400, "malformed"},
		"5: account is no string":          {func(in *inner) { in.payload["account"] = 1 }, next, 400, "malformed"},
		"5: no oldKey":                     {func(in *inner) { delete(in.payload, "oldKey") }, next, 400, "malformed"},
		"5: oldKey is no key":              {func(in *inner) { in.payload["oldKey"] = map[string]any{"kty": "EC"} }, next, 400, "malformed"},
		"5: oldKey is null":                {func(in *inner) { in.payload["oldKey"] = nil }, next, 400, "malformed"},
		"6: another url":                   {func(in *inner) { in.header["url"] = base + "/acme/r/new-order" }, next, 400, "malformed"},
		"6: another of our public URLs":    {func(in *inner) { in.header["url"] = "https://old.example.com" + keyChangePath }, next, 400, "malformed"},
		"6: no url":                        {func(in *inner) { delete(in.header, "url") }, next, 400, "malformed"},
		"nonce":                            {func(in *inner) { in.header["nonce"] = w.nonce() }, next, 400, "malformed"},
		"nonce, empty":                     {func(in *inner) { in.header["nonce"] = "" }, next, 400, "malformed"},
		"7: another account":               {func(in *inner) { in.payload["account"] = other.kid }, next, 400, "malformed"},
		"7: no account's URL":              {func(in *inner) { in.payload["account"] = base + "/acme/directory" }, next, 400, "malformed"},
		"8: oldKey is another's":           {func(in *inner) { in.payload["oldKey"] = other.jwk() }, next, 400, "malformed"},
		"8: oldKey is the new one":         {func(in *inner) { in.payload["oldKey"] = next.jwk() }, next, 400, "malformed"},
		"9: the new key has an account":    {func(in *inner) { in.header["jwk"] = other.jwk() }, other, 409, "malformed"},
		"9: in another organisation":       {func(in *inner) { in.header["jwk"] = foreign.jwk() }, foreign, 409, "malformed"},
		"9: the new key is the old one":    {func(in *inner) { in.header["jwk"] = c.jwk() }, c, 409, "malformed"},
		"case-variant member of keyChange": {func(in *inner) { in.payload["Account"] = c.kid }, next, 400, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			in := c.innerTo(next)
			tc.spoil(in)
			a := c.post(keyChangePath, in.signedBy(tc.signer))
			a.wantProblem(t, tc.status, tc.word)
			// RFC 8555, 7.3.5: Location is the account in the way, if it is of the caller's organisation.
			location := ""
			if tc.status == 409 && tc.signer != foreign {
				location = tc.signer.kid
			}
			if got := a.header.Get("Location"); got != location {
				t.Errorf("Location %q, want %q", got, location)
			}
		})
	}
	for name, payload := range map[string]any{"2: no JWS": map[string]any{}, "2: an array": []any{}, "2: a string": "x"} {
		t.Run(name, func(t *testing.T) { c.post(keyChangePath, payload).wantProblem(t, 400, "malformed") })
	}
	t.Run("1: no account", func(t *testing.T) {
		next.post(keyChangePath, c.innerTo(next).signedBy(next)).wantProblem(t, 400, "malformed")
	})
	t.Run("1: a deactivated account", func(t *testing.T) {
		gone := w.account()
		gone.to(gone.kid, map[string]any{"status": "deactivated"}).want(t, 200)
		gone.rollTo(next).wantProblem(t, 401, "unauthorized")
	})
	c.read(c.kid).want(t, http.StatusOK)
	if n := len(w.store.accounts); n != 4 {
		t.Errorf("%d accounts", n)
	}
}

// TestKeyChangeAgainstOthers: what is recorded between a key change's read and its commit.
func TestKeyChangeAgainstOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(c, next, third *client)
		status    int
		word      string
		key       func(c, next, third *client) *client // that the account then has
	}{
		"another key change": {func(c, _, third *client) { c.rollTo(third).want(c.w.t, 200) }, 403, "unauthorized",
			func(_, _, third *client) *client { return third }},
		"the same key change": {func(c, next, _ *client) { c.rollTo(next).want(c.w.t, 200) }, 409, "malformed",
			func(_, next, _ *client) *client { return next }},
		"a deactivation": {func(c, _, _ *client) { c.to(c.kid, map[string]any{"status": "deactivated"}).want(c.w.t, 200) }, 401, "unauthorized", nil},
		"an update": {func(c, _, _ *client) {
			c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).want(c.w.t, 200)
		}, 200, "", func(_, next, _ *client) *client { return next }},
		"newAccount with the new key": {func(_, next, _ *client) { next.post("/acme/r/new-account", map[string]any{}).want(next.w.t, 201) }, 409, "malformed",
			func(c, _, _ *client) *client { return c }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, next, third := w.account(), w.client(), w.client()
			// Another process: within one, changes of an account take turns.
			other := w.another()
			w.store.meanwhile("RollKey", func() {
				here := w.server
				w.server = other
				defer func() { w.server = here }()
				tc.meanwhile(c, next, third)
			})
			a := c.rollTo(next)
			if tc.status == 200 {
				a.want(t, 200)
			} else {
				a.wantProblem(t, tc.status, tc.word)
			}
			if tc.key != nil {
				a := c.with(tc.key(c, next, third)).read(c.kid).want(t, 200)
				if name == "an update" && !strings.Contains(string(a.body), "mailto:a@example.com") {
					t.Errorf("the update is lost: %s", a.body)
				}
			}
			w.sameAfterReplay()
		})
	}
}

// TestUpdateByAKeyThatWasGivenUp: an update that was admitted before the key change is not carried out after it.
func TestUpdateByAKeyThatWasGivenUp(t *testing.T) {
	for name, in := range map[string]map[string]any{
		"contacts": {"contact": []string{"mailto:a@example.com"}}, "deactivation": {"status": "deactivated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, next := w.account(), w.client()
			other := w.another()
			w.store.meanwhile("UpdateAccount", func() {
				here := w.server
				w.server = other
				defer func() { w.server = here }()
				c.rollTo(next).want(t, 200)
			})
			c.to(c.kid, in).wantProblem(t, 403, "unauthorized")
			a := c.with(next).read(c.kid).want(t, 200).decode(t)
			if a["status"] != "valid" || a["contact"] != nil {
				t.Error(a)
			}
		})
	}
}

// TestKeyChangesAtOnce: of many at once one wins, and its key alone is taken.
func TestKeyChangesAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	next := make([]*client, 8)
	answers := make([]answer, len(next))
	var group sync.WaitGroup
	for i := range next {
		next[i] = w.client()
		request := c.prepare(keyChangePath, c.innerTo(next[i]).signedBy(next[i]))
		group.Go(func() { answers[i] = c.send(request) })
	}
	group.Wait()
	won := 0
	for i, a := range answers {
		works := c.with(next[i]).read(c.kid).status == http.StatusOK
		if works != (a.status == http.StatusOK) {
			t.Errorf("key %d was answered with %d, and works: %v", i, a.status, works)
		}
		if works {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d key changes won", won)
	}
	w.sameAfterReplay()
}

// TestOldKeyMakesAnotherAccount: the id that follows from a key is that of its first account, which has another key now.
func TestOldKeyMakesAnotherAccount(t *testing.T) {
	w := newWorld(t)
	c, next := w.account(), w.client()
	c.rollTo(next).want(t, 200)
	again := &client{w: w, key: c.key}
	again.kid = again.post("/acme/r/new-account", map[string]any{}).want(t, 201).header.Get("Location")
	if again.kid == c.kid {
		t.Fatal("two accounts have one URL")
	}
	for _, account := range []*client{again, c.with(next)} {
		account.read(account.kid).want(t, 200)
	}
	if a := again.with(again).post("/acme/r/new-order", identifiers("a.example.com")); a.status != 201 {
		t.Errorf("%s", a.body)
	}
	c.read(c.kid).wantProblem(t, 400, "malformed")
	w.sameAfterReplay()
}

// TestKeyChangeIsNotAcknowledgedBeforeItIsJournaled: the store has it, and so the old key is refused; the client hears of
// it once the journal has it, too.
func TestKeyChangeIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	w := newWorld(t)
	c, next := w.account(), w.client()
	w.journal.fails(errDisk)
	c.rollTo(next).wantUnrecorded(t)
	c.rollTo(next).wantProblem(t, 400, "malformed")
	c.with(next).read(c.kid).wantUnrecorded(t)
	w.journal.fails(nil)
	c.with(next).read(c.kid).want(t, 200)
	w.sameAfterReplay()
}

// TestReplayedKeys: of two keys the one with more rollovers holds, in whatever order journals are replayed.
func TestReplayedKeys(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	for range 2 {
		next := w.client()
		c.rollTo(next).want(t, 200)
		c = c.with(next)
	}
	events := w.journal.all()
	said := make([]*Account, len(events))
	for i, e := range events {
		if e.Kind == audit.AccountMade && i > 0 {
			t.Fatal("one account")
		}
		var err error
		if said[i], err = AccountFromEvent(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ have, said, want int }{
		{0, 1, 1}, {0, 2, 2}, {1, 2, 2}, {2, 1, -1}, {2, 0, -1}, {1, 0, -1}, {2, 2, -1},
	} {
		for _, restored := range []bool{false, true} {
			got := Replayed(said[tc.have], said[tc.said], restored)
			switch {
			case tc.want < 0 && got != nil:
				t.Errorf("%+v: it is changed to %+v", tc, got)
			case tc.want >= 0 && (got == nil || got.Thumbprint != said[tc.want].Thumbprint || string(got.Key) != string(said[tc.want].Key)):
				t.Errorf("%+v: %+v", tc, got)
			}
		}
	}
	// A deactivation under a key of before holds as well.
	gone := said[0].clone()
	gone.Deactivated = testTime.Add(time.Hour)
	if got := Replayed(said[2], gone, false); got == nil || got.Thumbprint != said[2].Thumbprint || got.Deactivated.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestKeyChangeGivesUpWhenTheStoreFails leaves the account as it is.
func TestKeyChangeGivesUpWhenTheStoreFails(t *testing.T) {
	w := newWorld(t)
	c, next := w.account(), w.client()
	w.store.failing("RollKey", context.DeadlineExceeded)
	c.rollTo(next).wantProblem(t, 500, "serverInternal")
	w.store.failing("RollKey", nil)
	c.read(c.kid).want(t, 200)
}

// TestOrderUnderWayWhileTheKeyChanges: what was admitted before goes on; the old key can do nothing with it.
func TestOrderUnderWayWhileTheKeyChanges(t *testing.T) {
	w := newWorld(t)
	c, next := w.account(), w.client()
	w.store.meanwhile("CreateOrder", func() { c.rollTo(next).want(t, http.StatusOK) })
	o := c.post("/acme/r/new-order", identifiers("a.example.com")).want(t, http.StatusCreated).order(t)
	c.read(o.url).wantProblem(t, http.StatusBadRequest, "malformed")
	c.with(next).read(o.url).want(t, http.StatusOK)
}

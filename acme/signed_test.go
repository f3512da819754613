package acme

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestSignedRequestRefusals spoils a request that is right in one way at a time.
func TestSignedRequestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(c *client, r *request)
		status int
		word   string
	}{
		{"RFC 8555, 6.2: Content-Type", func(_ *client, r *request) { r.contentType = "application/json" }, 415, "malformed"},
		{"RFC 8555, 6.2: no Content-Type", func(_ *client, r *request) { r.contentType = "" }, 415, "malformed"},
		{"RFC 8555, 6.2: alg none", func(_ *client, r *request) { r.header["alg"] = "none" }, 400, "badSignatureAlgorithm"},
		{"RFC 8555, 6.2: alg HS256", func(_ *client, r *request) { r.header["alg"] = "HS256" }, 400, "badSignatureAlgorithm"},
		{"RFC 8555, 6.2: alg of another key", func(_ *client, r *request) { r.header["alg"] = "ES384" }, 400, "badSignatureAlgorithm"},
		{"RFC 8555, 6.2: jwk and kid", func(c *client, r *request) { r.header["jwk"] = c.jwk() }, 400, "malformed"},
		{"RFC 8555, 6.2: neither", func(_ *client, r *request) { delete(r.header, "kid") }, 400, "malformed"},
		{"RFC 8555, 6.2: jwk where an account is needed", func(c *client, r *request) {
			delete(r.header, "kid")
			r.header["jwk"] = c.jwk()
		}, 400, "malformed"},
		{"RFC 8555, 6.3: GET", func(_ *client, r *request) { r.method = http.MethodGet }, 405, "malformed"},
		{"RFC 8555, 6.3: PUT", func(_ *client, r *request) { r.method = http.MethodPut }, 405, "malformed"},
		{"RFC 8555, 6.4: no url", func(_ *client, r *request) { delete(r.header, "url") }, 400, "malformed"},
		{"RFC 8555, 6.4: another resource", func(_ *client, r *request) { r.header["url"] = base + "/acme/r/new-account" }, 403, "unauthorized"},
		{"RFC 8555, 6.4: another host", func(_ *client, r *request) { r.header["url"] = "https://example.com" + r.path }, 403, "unauthorized"},
		{"RFC 8555, 6.4: query added", func(_ *client, r *request) { r.path += "?x=y" }, 403, "unauthorized"},
		{"RFC 8555, 6.5: no nonce", func(_ *client, r *request) { delete(r.header, "nonce") }, 400, "badNonce"},
		{"RFC 8555, 6.5: foreign nonce", func(_ *client, r *request) { r.header["nonce"] = b64(bytes.Repeat([]byte{1}, 32)) }, 400, "badNonce"},
		{"RFC 8555, 6.5: old nonce", func(c *client, _ *request) { c.w.clock.advance(nonceLifetime) }, 400, "badNonce"},
		{"RFC 8555, 6.2: no such account", func(c *client, r *request) { r.header["kid"] = c.w.server.links.account(AccountID(newID())) }, 400, "accountDoesNotExist"},
		{"RFC 8555, 6.2: kid is no account URL", func(_ *client, r *request) { r.header["kid"] = base + "/acme/r/new-order" }, 400, "accountDoesNotExist"},
		{"RFC 8555, 6.2: kid elsewhere", func(c *client, r *request) {
			r.header["kid"] = strings.Replace(c.kid, base, "https://example.com", 1)
		}, 400, "accountDoesNotExist"},
		{"RFC 8555, 6.2: signed by another key", func(c *client, _ *request) { c.key = c.w.client().key }, 400, "malformed"},
		{"RFC 8555, 7.3.6: deactivated", func(c *client, _ *request) {
			c.w.store.edit(func() { c.w.store.accounts[c.id()].Deactivated = testTime })
		}, 401, "unauthorized"},
		{"RFC 8555, 6.3: payload missing", func(_ *client, r *request) { r.payload = nil }, 400, "malformed"},
		{"payload is no JSON", func(_ *client, r *request) { r.payload = []byte("{") }, 400, "malformed"},
		{"payload names a member twice", func(_ *client, r *request) {
			r.payload = []byte(`{"identifiers":[{"type":"dns","value":"a.example.com"}],"identifiers":[]}`)
		}, 400, "malformed"},
		{"payload is too large", func(_ *client, r *request) { r.payload = bytes.Repeat([]byte(" "), maxBody) }, 413, "malformed"},
		{"no such resource", func(_ *client, r *request) { r.path = "/acme/r/no-such-thing" }, 404, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.account()
			r := c.prepare("/acme/r/new-order", identifiers("a.example.com"))
			tc.spoil(c, r)
			a := c.send(r)
			doc := a.wantProblem(t, tc.status, tc.word)
			if tc.word == "badSignatureAlgorithm" && doc["algorithms"] == nil {
				t.Error("RFC 8555, 6.2: the answer does not list what is supported")
			}
			if tc.status == http.StatusMethodNotAllowed && a.header.Get("Allow") != "POST" {
				t.Error("RFC 9110, 15.5.6: no Allow header")
			}
			if len(w.store.orders) != 0 {
				t.Error("an order was made all the same")
			}
			// The fresh nonce in the refusal serves the next request.
			if tc.status != 401 && tc.word != "accountDoesNotExist" {
				again := c.prepare("/acme/r/new-order", identifiers("a.example.com"))
				again.header["nonce"] = a.header.Get("Replay-Nonce")
				if tc.name != "RFC 8555, 6.2: signed by another key" {
					c.send(again).want(t, http.StatusCreated)
				}
			}
		})
	}
}

func TestRefusedBeforeTheStoreIsAsked(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	w.store.taken()
	for name, spoil := range map[string]func(r *request){
		"foreign nonce": func(r *request) { r.header["nonce"] = b64(make([]byte, 32)) },
		"other URL":     func(r *request) { r.header["url"] = base + "/acme/r/revoke-cert" },
		"foreign kid":   func(r *request) { r.header["kid"] = "https://example.com/1" },
	} {
		r := c.prepare("/acme/r/new-order", identifiers("a.example.com"))
		spoil(r)
		c.send(r)
		if trips := w.store.taken(); len(trips) != 0 {
			t.Errorf("%s: the store was asked: %v", name, trips)
		}
	}
	// A request that carries its key is verified before the store hears of it.
	r := w.client().prepare("/acme/r/new-account", map[string]any{})
	w.client().send(r)
	if trips := w.store.taken(); len(trips) != 0 {
		t.Errorf("bad signature: the store was asked: %v", trips)
	}
}

func TestContentTypeMayHaveParameters(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	r := c.prepare("/acme/r/new-order", identifiers("a.example.com"))
	r.contentType = "application/jose+json; charset=utf-8"
	c.send(r).want(t, http.StatusCreated)
}

func TestOlderPublicURLsAreAccepted(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	c.kid = strings.Replace(c.kid, base, "https://old.example.com", 1)
	r := c.prepare("/acme/r/new-order", identifiers("a.example.com"))
	r.header["url"] = "https://old.example.com" + r.path
	o := c.send(r).want(t, http.StatusCreated).order(t)
	if !strings.HasPrefix(o.url, base) {
		t.Error("the first public URL is the one that is written:", o.url)
	}
}

func TestHostHeaderIsNeverBelieved(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodGet, "/acme/directory", nil)
	r.Host = "evil.example.com"
	r.Header.Set("X-Forwarded-Host", "evil.example.com")
	if a := w.send(r).want(t, http.StatusOK); bytes.Contains(a.body, []byte("evil")) {
		t.Errorf("%s", a.body)
	}
}

func TestEd25519Account(t *testing.T) {
	w := newWorld(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{w: w, key: key}
	c.kid = c.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusCreated).header.Get("Location")
	c.newOrder("a.example.com")
}

// TestForeignObjectsLookAbsent asks for another account's objects: the answer is, to the byte, that for no object.
func TestForeignObjectsLookAbsent(t *testing.T) {
	w := newWorld(t)
	owner, stranger := w.account(), w.account()
	o := owner.readyOrder("a.example.com")
	done := owner.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t)
	challenge := owner.challengeOf(o.Authorizations[0])
	absent := stranger.read("/acme/r/order/"+newID()).want(t, http.StatusNotFound).body
	for _, tc := range []struct {
		url     string
		payload any
	}{
		{o.url, nil}, {o.Finalize, w.csr("a.example.com")}, {o.Authorizations[0], nil}, {challenge, nil}, {challenge, map[string]any{}},
		{done.Certificate, nil}, {owner.kid, nil}, {owner.kid, map[string]any{"status": "deactivated"}}, {owner.kid + "/orders", nil},
		{"/acme/r/authz/" + newID(), nil}, {"/acme/r/certificate/test.01ab", nil}, {"/acme/r/certificate/nobody.01ab", nil},
	} {
		if a := stranger.to(tc.url, tc.payload); a.status != http.StatusNotFound || !bytes.Equal(a.body, absent) {
			t.Errorf("%s: %d %s", tc.url, a.status, a.body)
		}
	}
	owner.read(owner.kid).want(t, http.StatusOK)
}

// TestObjectsOfAnotherOrganisationLookAbsent: an id of an account can come back in another organisation after the loss of a
// store, so an object must be of both.
func TestObjectsOfAnotherOrganisationLookAbsent(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	challenge := c.challengeOf(o.Authorizations[0])
	authz := AuthzID(o.Authorizations[0][len(o.Authorizations[0])-idLength:])
	w.store.edit(func() { w.store.orders[o.id()].Org, w.store.authzs[authz].Org = 2, 2 })
	absent := c.read("/acme/r/order/"+newID()).want(t, http.StatusNotFound).body
	for url, payload := range map[string]any{
		o.url: nil, o.Finalize: w.csr("a.example.com"), o.Authorizations[0]: deactivate, challenge: map[string]any{},
	} {
		if a := c.to(url, payload); a.status != http.StatusNotFound || !bytes.Equal(a.body, absent) {
			t.Errorf("%s: %d %s", url, a.status, a.body)
		}
	}
}

func TestReadOnlyResourcesTakeNoPayload(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	for _, url := range []string{o.url, o.Authorizations[0], c.kid + "/orders"} {
		c.to(url, map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed") // RFC 8555, 6.3
	}
	for _, url := range []string{"/acme/r/new-order", o.Finalize, "/acme/r/revoke-cert"} {
		c.read(url).wantProblem(t, http.StatusBadRequest, "malformed")
	}
}

// FuzzRequest sends whatever it likes to every kind of URL: the door refuses, and never fails.
func FuzzRequest(f *testing.F) {
	id := newID()
	for _, path := range []string{
		"/acme/directory", "/acme/r/new-account", "/acme/r/new-order/in/main/web", "/acme/r/account/" + id, "/acme/r/order/" + id + "/finalize",
		"/acme/r/challenge/" + id + ".0", "/acme/r/certificate/test.01ab", "/acme/r/revoke-cert", "/acme/%zz", "*",
	} {
		f.Add(http.MethodPost, path, []byte(`{"protected":"e30","payload":"","signature":"AA"}`))
		f.Add(http.MethodGet, path, []byte{})
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		w := newWorld(t)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Method, r.URL.Path = method, path
		r.Header.Set("Content-Type", "application/jose+json")
		if a := w.send(r); a.status >= http.StatusInternalServerError {
			t.Errorf("%d %s", a.status, a.body)
		}
		if len(w.store.accounts) != 0 {
			t.Error("an account was made without a nonce of ours")
		}
	})
}

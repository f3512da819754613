package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const base = "https://acme.example.com"

// world is a Server with fakes around it.
type world struct {
	t         *testing.T
	clock     *clock
	store     *memStore
	registrar *registrar
	validator *validator
	journal   *journal
	server    *Server
	key       crypto.Signer // one certificate key for all: making them is not what is tested
	remote    string        // address and port of clients; empty: whatever httptest has
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	c := &clock{t: testTime}
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	orgs, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main", Name: "Main"}, {ID: 2, Slug: "other", Name: "Other"}})
	if err != nil {
		t.Fatal(err)
	}
	profiles := map[string]*policy.Profile{}
	for _, cfg := range []policy.Config{
		{Name: "web", Description: "for web servers", Issuer: "test", DenyNames: []string{"forbidden.example.com"}},
		{Name: "second", Issuer: "test"},
		{Name: "secret", Issuer: "test"},
	} {
		if profiles[cfg.Name], err = policy.New(cfg); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, clock: c, store: newMemStore(), journal: &journal{}}
	w.store.now = c.now
	w.registrar = &registrar{store: w.store, hierarchy: hierarchy, now: c.now}
	w.validator = &validator{now: c.now, errs: map[identifier.Identifier]error{}}
	if w.key, err = testca.NewKey(testca.P256); err != nil {
		t.Fatal(err)
	}
	group := work.New(work.Config{})
	// The test's context has ended by then, so what a test left behind closed gates is cut off.
	t.Cleanup(func() { _ = group.Drain(t.Context()) })
	cfg := Config{
		PublicURLs: []string{base, "https://old.example.com"}, Organisations: orgs, Profiles: profiles, DefaultProfile: "web",
		Allowed: func(org auth.OrgID, profile string) bool { return profile != "secret" || org == 2 },
		Issuers: []string{"test"}, Chain: func(string) []byte { return pemOf(hierarchy.Chain()) },
		Store: w.store, Registrar: w.registrar, Validator: w.validator, Journal: w.journal, Work: group, Now: c.now,
		// Waits that never end by themselves: tests that want "processing" set their own.
		ChallengeWait: time.Minute, FinalizeWait: time.Minute,
	}
	for _, f := range change {
		f(&cfg)
	}
	if w.server, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w.store.taken()
	return w
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) send(r *http.Request) answer {
	rec := httptest.NewRecorder()
	if w.remote != "" {
		r.RemoteAddr = w.remote
	}
	w.server.ServeHTTP(rec, r)
	body, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		w.t.Error(err)
	}
	return answer{rec.Code, rec.Header(), body}
}

func (w *world) get(method, path string) answer {
	return w.send(httptest.NewRequest(method, path, nil))
}

func (w *world) nonce() string {
	return w.get(http.MethodHead, "/acme/r/new-nonce").header.Get("Replay-Nonce")
}

// decode reads a JSON body into a map.
func (a answer) decode(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
	}
	return m
}

func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// wantProblem holds an answer to an error type of RFC 8555, 6.7, by its last word.
func (a answer) wantProblem(t *testing.T, status int, word string) map[string]any {
	t.Helper()
	m := a.want(t, status).decode(t)
	if m["type"] != urn+word || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%v (%s), want type %s", m["type"], a.body, word)
	}
	if a.header.Get("Replay-Nonce") == "" {
		t.Fatal("RFC 8555, 6.5: an error without a fresh nonce")
	}
	return m
}

// client signs requests with one key.
type client struct {
	w   *world
	key crypto.Signer
	kid string // empty: requests carry the key
}

func (w *world) client() *client {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{w: w, key: key}
}

// account is a client with an account at the default directory.
func (w *world) account() *client { return w.accountAt("/acme/r/new-account") }

func (w *world) accountAt(path string) *client {
	w.t.Helper()
	c := w.client()
	a := c.post(path, map[string]any{"termsOfServiceAgreed": true}).want(w.t, http.StatusCreated)
	c.kid = a.header.Get("Location")
	return c
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (c *client) jwk() map[string]string {
	switch pub := c.key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			c.w.t.Fatal(err)
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(pub)}
	}
	c.w.t.Fatal("unknown key type")
	return nil
}

// request is a signed request before it is sent, for tests to spoil.
type request struct {
	path        string
	header      map[string]any
	payload     []byte
	contentType string
	method      string
}

// prepare makes a request that is right. A nil payload is a POST-as-GET.
func (c *client) prepare(path string, payload any) *request {
	r := &request{path: path, contentType: "application/jose+json", method: http.MethodPost}
	r.header = map[string]any{"alg": "ES256", "nonce": c.w.nonce(), "url": base + path}
	if _, ok := c.key.Public().(ed25519.PublicKey); ok {
		r.header["alg"] = "EdDSA"
	}
	if c.kid != "" {
		r.header["kid"] = c.kid
	} else {
		r.header["jwk"] = c.jwk()
	}
	if payload != nil {
		encoded, err := json.Marshal(payload)
		if err != nil {
			c.w.t.Fatal(err)
		}
		r.payload = encoded
	}
	return r
}

func (c *client) sign(r *request) []byte {
	header, err := json.Marshal(r.header)
	if err != nil {
		c.w.t.Error(err)
	}
	signing := b64(header) + "." + b64(r.payload)
	var signature []byte
	switch key := c.key.(type) {
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256([]byte(signing))
		R, S, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			c.w.t.Error(err)
		}
		signature = append(R.FillBytes(make([]byte, 32)), S.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(signing))
	}
	return fmt.Appendf(nil, `{"protected":%q,"payload":%q,"signature":%q}`, b64(header), b64(r.payload), b64(signature))
}

func (c *client) send(r *request) answer {
	req := httptest.NewRequest(r.method, r.path, bytes.NewReader(c.sign(r)))
	req.Header.Set("Content-Type", r.contentType)
	return c.w.send(req)
}

func (c *client) post(path string, payload any) answer { return c.send(c.prepare(path, payload)) }

// read is a POST-as-GET of a URL or path.
func (c *client) read(url string) answer { return c.post(strings.TrimPrefix(url, base), nil) }

// to posts to a URL of ours.
func (c *client) to(url string, payload any) answer {
	return c.post(strings.TrimPrefix(url, base), payload)
}

func (c *client) id() AccountID { return AccountID(c.kid[strings.LastIndexByte(c.kid, '/')+1:]) }

func identifiers(names ...string) map[string]any {
	ids := []map[string]string{}
	for _, name := range names {
		ids = append(ids, map[string]string{"type": "dns", "value": name})
	}
	return map[string]any{"identifiers": ids}
}

// orderDoc is an order as a client reads it.
type orderDoc struct {
	url            string
	Status         string
	Expires        time.Time
	Authorizations []string
	Finalize       string
	Certificate    string
	Error          map[string]any
}

func (a answer) order(t *testing.T) orderDoc {
	t.Helper()
	o := orderDoc{url: a.header.Get("Location")}
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return o
}

func (c *client) newOrder(names ...string) orderDoc {
	c.w.t.Helper()
	return c.post("/acme/r/new-order", identifiers(names...)).want(c.w.t, http.StatusCreated).order(c.w.t)
}

// challengeOf is the URL of an authorization's one challenge.
func (c *client) challengeOf(authz string) string {
	c.w.t.Helper()
	doc := c.read(authz).want(c.w.t, http.StatusOK).decode(c.w.t)
	return doc["challenges"].([]any)[0].(map[string]any)["url"].(string)
}

// readyOrder is an order whose names were all validated.
func (c *client) readyOrder(names ...string) orderDoc {
	c.w.t.Helper()
	o := c.newOrder(names...)
	for _, authz := range o.Authorizations {
		c.to(c.challengeOf(authz), map[string]any{}).want(c.w.t, http.StatusOK)
	}
	o = c.read(o.url).want(c.w.t, http.StatusOK).order(c.w.t)
	if o.Status != "ready" {
		c.w.t.Fatalf("the order is %s", o.Status)
	}
	return o
}

func (w *world) csr(names ...string) map[string]any {
	w.t.Helper()
	return csrFor(w.t, w.key, names...)
}

func csrFor(t *testing.T, key crypto.Signer, names ...string) map[string]any {
	t.Helper()
	der, err := testca.CSR(key, names...)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"csr": b64(der)}
}

func dnsName(t *testing.T, s string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// keyAuthorization is what a challenge of this client's is answered with.
func (c *client) keyAuthorization(token string) string {
	encoded, err := json.Marshal(c.jwk())
	if err != nil {
		c.w.t.Fatal(err)
	}
	key, err := jws.ParsePublicKey(encoded)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return key.KeyAuthorization(token)
}

// settled waits until no validation and no issuance is under way.
func (w *world) settled() {
	for {
		var done chan struct{}
		w.server.validations.mu.Lock()
		for _, v := range w.server.validations.running {
			done = v.done
		}
		w.server.validations.mu.Unlock()
		w.server.finalizing.mu.Lock()
		for _, i := range w.server.finalizing.byID {
			done = i.done
		}
		w.server.finalizing.mu.Unlock()
		if done == nil {
			return
		}
		<-done
	}
}

// until waits for a condition on the store that the beginning of an enrollment can bring about.
func (w *world) until(holds func() bool) {
	for {
		w.store.mu.Lock()
		ok, changed := holds(), w.store.changed
		w.store.mu.Unlock()
		if ok {
			return
		}
		<-changed
	}
}

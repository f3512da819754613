package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// rawClient is an ACME client without a will of its own: it signs and sends exactly what a test says, never retries, and
// hands back whatever comes. It shares no code with the gateway or with the client libraries. Its methods may be called
// from several goroutines.
type rawClient struct {
	t         testing.TB
	http      *http.Client
	key       *ecdsa.PrivateKey // P-256
	kid       string            // account URL; empty: requests carry the key
	directory map[string]any

	mu     sync.Mutex
	nonces []string
}

// newRawClient reads the directory. It has a new key and no account.
func newRawClient(i *instance) *rawClient {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	c := &rawClient{t: i.t, http: i.client(), key: key}
	a := c.do(http.MethodGet, i.directory, nil)
	a.want(http.StatusOK)
	a.decode(&c.directory)
	return c
}

// registered is a rawClient with an account.
func registered(i *instance) *rawClient {
	i.t.Helper()
	c := newRawClient(i)
	a := c.post(c.url("newAccount"), map[string]any{"termsOfServiceAgreed": true})
	a.want(http.StatusCreated)
	c.kid = a.header.Get("Location")
	return c
}

// url is an entry of the directory.
func (c *rawClient) url(name string) string {
	u, _ := c.directory[name].(string)
	return u
}

// rawAnswer is what came back.
type rawAnswer struct {
	t      testing.TB
	what   string // the request
	status int    // 0: nothing came
	header http.Header
	body   []byte
}

// want fails the test, but does not end it, for another status.
func (a *rawAnswer) want(status int) bool {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%s: status %d, want %d\n%s", a.what, a.status, status, a.body)
	}
	return a.status == status
}

// wantProblem fails the test for anything but a problem document (RFC 7807) of an ACME type.
func (a *rawAnswer) wantProblem(status int, kind string) {
	a.t.Helper()
	if a.want(status) && a.problem() != kind {
		a.t.Errorf("%s: problem %q, want %q\n%s", a.what, a.problem(), kind, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: a problem of type %q", a.what, got)
	}
}

// problem is the type of a problem document without its prefix (RFC 8555, 6.7).
func (a *rawAnswer) problem() string {
	var p struct{ Type string }
	json.Unmarshal(a.body, &p)
	return strings.TrimPrefix(p.Type, "urn:ietf:params:acme:error:")
}

func (a *rawAnswer) decode(into any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		a.t.Errorf("%s: %v\n%s", a.what, err, a.body)
	}
}

// do sends a request and keeps the nonce of the answer. A transport error fails the test.
func (c *rawClient) do(method, url string, body []byte) *rawAnswer {
	c.t.Helper()
	a := &rawAnswer{t: c.t, what: method + " " + url}
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return a
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/jose+json") // RFC 8555, 6.2
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Error(err)
		return a
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		c.t.Errorf("%s: %v", a.what, err)
	}
	if nonce := resp.Header.Get("Replay-Nonce"); nonce != "" {
		c.mu.Lock()
		c.nonces = append(c.nonces, nonce)
		c.mu.Unlock()
	}
	return a
}

// nonce is one that was not used yet (RFC 8555, 7.2).
func (c *rawClient) nonce() string {
	c.t.Helper()
	for range 2 {
		c.mu.Lock()
		if n := len(c.nonces); n > 0 {
			nonce := c.nonces[n-1]
			c.nonces = c.nonces[:n-1]
			c.mu.Unlock()
			return nonce
		}
		c.mu.Unlock()
		c.do(http.MethodHead, c.url("newNonce"), nil)
	}
	c.t.Error("the answer to newNonce holds no nonce")
	return ""
}

// post sends a payload, or, if that is nil, a POST-as-GET (RFC 8555, 6.3).
func (c *rawClient) post(url string, payload any) *rawAnswer {
	c.t.Helper()
	return c.do(http.MethodPost, url, c.sign(url, c.nonce(), payload))
}

// sign makes a flattened JWS (RFC 7515, 7.2.2) as RFC 8555, 6.2 restricts it, with ES256.
func (c *rawClient) sign(url, nonce string, payload any) []byte {
	c.t.Helper()
	return signRaw(c.t, c.key, c.kid, url, nonce, payload)
}

func signRaw(t testing.TB, key *ecdsa.PrivateKey, kid, url, nonce string, payload any) []byte {
	t.Helper()
	header := map[string]any{"alg": "ES256", "url": url, "nonce": nonce}
	if kid != "" {
		header["kid"] = kid
	} else {
		header["jwk"] = json.RawMessage(jwk(t, key))
	}
	protected := b64(mustJSON(t, header))
	content := ""
	if payload != nil {
		content = b64(mustJSON(t, payload))
	}
	sum := sha256.Sum256([]byte(protected + "." + content))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64) // RFC 7518, 3.4
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return mustJSON(t, map[string]string{"protected": protected, "payload": content, "signature": b64(sig)})
}

// jwk is the public key with its members in the order that RFC 7638, 3 hashes.
func jwk(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	point, err := key.PublicKey.Bytes() // 04, x, y
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, b64(point[1:33]), b64(point[33:]))
}

// keyAuthorization is RFC 8555, 8.1.
func (c *rawClient) keyAuthorization(token string) string {
	sum := sha256.Sum256([]byte(jwk(c.t, c.key)))
	return token + "." + b64(sum[:])
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

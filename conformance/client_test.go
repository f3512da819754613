package conformance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// client signs and sends exactly what a test says. It never retries, and takes each nonce from the answer before.
type client struct {
	g         *gateway
	key       crypto.Signer
	kid       string // the account's URL; empty: requests carry the key
	directory map[string]any
	nonce     string
}

// request is one request on its way. Tests change what an honest client would send.
type request struct {
	method      string
	url         string // where it is sent
	contentType string
	header      map[string]any // the protected header
	rawHeader   string         // instead of header, if not empty
	payload     []byte
	key         crypto.Signer
	// body makes the body of the three encoded parts; nil: the flattened serialization.
	body func(protected, payload, signature string) string
}

// stranger is a client with a new key and no account.
func (g *gateway) stranger(t *testing.T) *client {
	t.Helper()
	return g.with(t, newKey(t))
}

// with is a client with a key that has no account yet.
func (g *gateway) with(t *testing.T, key crypto.Signer) *client {
	t.Helper()
	return g.at(t, g.base+"/acme/directory", key)
}

// at is a client of one of the gateway's directories.
func (g *gateway) at(t *testing.T, directory string, key crypto.Signer) *client {
	t.Helper()
	c := &client{g: g, key: key}
	a := c.plain(t, http.MethodGet, directory).want(t, http.StatusOK)
	c.directory = a.object(t)
	return c
}

// account is a client with an account.
func (g *gateway) account(t *testing.T) *client {
	t.Helper()
	return g.stranger(t).register(t)
}

// register makes the client's account.
func (c *client) register(t *testing.T) *client {
	t.Helper()
	a := c.post(t, c.url("newAccount"), map[string]any{"termsOfServiceAgreed": true}).want(t, http.StatusCreated)
	c.kid = a.header.Get("Location")
	return c
}

// url is an entry of the directory.
func (c *client) url(name string) string {
	u, _ := c.directory[name].(string)
	return u
}

// via sends a request for one gateway to its sibling, which knows it by the same URL.
func via(g, sibling *gateway) func(*request) {
	return func(r *request) { r.url = sibling.base + strings.TrimPrefix(r.url, g.base) }
}

// plain sends a request without a body.
func (c *client) plain(t *testing.T, method, url string) *answer {
	t.Helper()
	return c.do(t, method, url, "", nil)
}

// fresh is a nonce that was not used yet (RFC 8555, 7.2).
func (c *client) fresh(t *testing.T) string {
	t.Helper()
	if c.nonce == "" {
		c.plain(t, http.MethodHead, c.url("newNonce"))
	}
	nonce := c.nonce
	if nonce == "" {
		t.Fatal("newNonce gave no nonce")
	}
	c.nonce = ""
	return nonce
}

// post signs a payload and sends it. Nil is the empty payload of a POST-as-GET, a string or octets are sent as they are,
// and anything else as JSON.
func (c *client) post(t *testing.T, url string, payload any, changes ...func(*request)) *answer {
	t.Helper()
	r := &request{
		method: http.MethodPost, url: url, contentType: "application/jose+json", key: c.key,
		header: map[string]any{"alg": algorithm(c.key), "url": url, "nonce": c.fresh(t)},
	}
	if c.kid != "" {
		r.header["kid"] = c.kid
	} else {
		r.header["jwk"] = json.RawMessage(jwk(c.key))
	}
	switch p := payload.(type) {
	case nil:
	case string:
		r.payload = []byte(p)
	case []byte:
		r.payload = p
	default:
		r.payload = encode(t, p)
	}
	for _, change := range changes {
		change(r)
	}
	return c.do(t, r.method, r.url, r.contentType, []byte(r.sign(t)))
}

// read is a POST-as-GET (RFC 8555, 6.3).
func (c *client) read(t *testing.T, url string, changes ...func(*request)) *answer {
	t.Helper()
	return c.post(t, url, nil, changes...)
}

// do sends a request, keeps the nonce of the answer, and holds the answer to what is true of all.
func (c *client) do(t *testing.T, method, url, contentType string, body []byte) *answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "conformance/1")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := &answer{what: method + " " + url, status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if nonce := resp.Header.Get("Replay-Nonce"); nonce != "" {
		c.nonce = nonce
	}
	a.check(t, method)
	return a
}

// sign makes the body.
func (r *request) sign(t *testing.T) string {
	t.Helper()
	header := r.rawHeader
	if header == "" {
		header = string(encode(t, r.header))
	}
	protected, payload := b64([]byte(header)), b64(r.payload)
	signature := b64(signWith(t, r.key, protected+"."+payload))
	if r.body != nil {
		return r.body(protected, payload, signature)
	}
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, protected, payload, signature)
}

func signWith(t *testing.T, key crypto.Signer, text string) []byte {
	t.Helper()
	var sig []byte
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		hash := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[k.Params().BitSize]
		h := hash.New()
		h.Write([]byte(text))
		r, s, e := ecdsa.Sign(rand.Reader, k, h.Sum(nil))
		if err = e; err == nil {
			size := (k.Params().BitSize + 7) / 8 // RFC 7518, 3.4
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(text))
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(text))
		sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	}
	if err != nil || sig == nil {
		t.Fatalf("signing with %T: %v", key, err)
	}
	return sig
}

func algorithm(key crypto.Signer) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Params().BitSize]
	case ed25519.PrivateKey:
		return "EdDSA"
	}
	return "RS256"
}

// jwk is a public key with its members in the order that RFC 7638, 3 hashes.
func jwk(key crypto.Signer) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		point, _ := k.PublicKey.Bytes() // 04, x, y
		half := (len(point) - 1) / 2
		return fmt.Sprintf(`{"crv":"P-%d","kty":"EC","x":%q,"y":%q}`, k.Params().BitSize, b64(point[1:1+half]), b64(point[1+half:]))
	case ed25519.PrivateKey:
		return fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, b64(k.Public().(ed25519.PublicKey)))
	case *rsa.PrivateKey:
		return fmt.Sprintf(`{"e":"AQAB","kty":"RSA","n":%q}`, b64(k.N.Bytes()))
	}
	return ""
}

// keyAuthorization is RFC 8555, 8.1.
func keyAuthorization(key crypto.Signer, token string) string {
	sum := sha256.Sum256([]byte(jwk(key)))
	return token + "." + b64(sum[:])
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

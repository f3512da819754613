package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
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

// rawOrder is RFC 8555, 7.1.3, with its URL.
type rawOrder struct {
	URL            string `json:"-"`
	Status         string
	Authorizations []string
	Finalize       string
	Certificate    string
}

func dnsNames(names ...string) []map[string]string {
	var list []map[string]string
	for _, n := range names {
		list = append(list, map[string]string{"type": "dns", "value": n})
	}
	return list
}

// order makes a new order.
func (c *rawClient) order(names ...string) rawOrder {
	c.t.Helper()
	a := c.post(c.url("newOrder"), map[string]any{"identifiers": dnsNames(names...)})
	var o rawOrder
	if a.want(http.StatusCreated) {
		a.decode(&o)
		o.URL = a.header.Get("Location")
	}
	return o
}

// look reads an order again.
func (c *rawClient) look(o rawOrder) rawOrder {
	c.t.Helper()
	a := c.post(o.URL, nil)
	a.want(http.StatusOK)
	a.decode(&o)
	return o
}

// prove answers the http-01 challenge of each of an order's authorizations that is pending.
func (c *rawClient) prove(o rawOrder, at *testca.HTTP) {
	c.t.Helper()
	for _, url := range o.Authorizations {
		for asked := false; ; asked = true {
			var authz struct {
				Status     string
				Challenges []struct{ Type, URL, Token string }
			}
			a := c.post(url, nil)
			a.want(http.StatusOK)
			a.decode(&authz)
			if authz.Status == "valid" {
				break
			}
			if authz.Status != "pending" || len(authz.Challenges) != 1 || authz.Challenges[0].Type != "http-01" {
				c.t.Errorf("authorization: %s", a.body)
				return
			}
			if challenge := authz.Challenges[0]; !asked {
				at.Set(challenge.Token, c.keyAuthorization(challenge.Token))
				defer at.Remove(challenge.Token)
				c.post(challenge.URL, map[string]any{}).want(http.StatusOK)
			} else if !pause(c.t.Context()) {
				return
			}
		}
	}
}

// ready is an order whose names are proven.
func (c *rawClient) ready(at *testca.HTTP, names ...string) rawOrder {
	c.t.Helper()
	o := c.order(names...)
	c.prove(o, at)
	if o = c.look(o); o.Status != "ready" {
		c.t.Fatalf("the order is %s, not ready", o.Status)
	}
	return o
}

// finalize asks for the certificate and returns the answer, whatever it is.
func (c *rawClient) finalize(o rawOrder, csr []byte) *rawAnswer {
	c.t.Helper()
	return c.post(o.Finalize, map[string]string{"csr": b64(csr)})
}

// await polls an order until its certificate is there, and downloads it.
func (c *rawClient) await(o rawOrder) []*x509.Certificate {
	c.t.Helper()
	for {
		o = c.look(o)
		if o.Status == "valid" {
			return c.download(o.Certificate)
		}
		if o.Status != "processing" || !pause(c.t.Context()) {
			c.t.Fatalf("the order is %s", o.Status)
		}
	}
}

// download is the certificate with its chain.
func (c *rawClient) download(url string) []*x509.Certificate {
	c.t.Helper()
	a := c.post(url, nil)
	a.want(http.StatusOK)
	return parseChain(c.t, a.body)
}

// parseChain reads PEM certificates.
func parseChain(t testing.TB, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		t.Fatal("no certificate")
	}
	return chain
}

// issue gets a certificate.
func (c *rawClient) issue(at *testca.HTTP, names ...string) (chain []*x509.Certificate, key crypto.Signer) {
	c.t.Helper()
	o := c.ready(at, names...)
	key, csr := newCSR(c.t, names...)
	c.finalize(o, csr).want(http.StatusOK)
	return c.await(o), key
}

// revoke asks for a certificate's revocation with the account's key.
func (c *rawClient) revoke(cert *x509.Certificate, reason int) *rawAnswer {
	c.t.Helper()
	return c.post(c.url("revokeCert"), map[string]any{"certificate": b64(cert.Raw), "reason": reason})
}

func newCSR(t testing.TB, names ...string) (crypto.Signer, []byte) {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := testca.CSR(key, names...)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

// pause is the time between two questions to another process; false if there is no more time.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(20 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// verifyChain checks that a chain leads from a certificate for the names to the gateway's root.
func (i *instance) verifyChain(chain []*x509.Certificate, names ...string) {
	i.t.Helper()
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	for _, name := range names {
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: i.roots(), Intermediates: intermediates}); err != nil {
			i.t.Error(err)
		}
	}
	if len(chain[0].DNSNames) != len(names) {
		i.t.Errorf("the certificate is for %v, not for %v", chain[0].DNSNames, names)
	}
}

// crlOf fetches the CRL that a certificate names and verifies it with the issuer's certificate that it names.
func crlOf(t testing.TB, leaf *x509.Certificate) *x509.RevocationList {
	t.Helper()
	if len(leaf.CRLDistributionPoints) != 1 || len(leaf.IssuingCertificateURL) != 1 {
		t.Fatalf("CRL at %v, issuer at %v; want one of each", leaf.CRLDistributionPoints, leaf.IssuingCertificateURL)
	}
	der, err := fetch(t.Context(), leaf.IssuingCertificateURL[0])
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = fetch(t.Context(), leaf.CRLDistributionPoints[0]); err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		t.Fatal(err)
	}
	return list
}

// revokedOn is a certificate's entry on a CRL, nil if it has none.
func revokedOn(list *x509.RevocationList, leaf *x509.Certificate) *x509.RevocationListEntry {
	for i, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return &list.RevokedCertificateEntries[i]
		}
	}
	return nil
}

// awaitRevoked reads the CRL until it lists a certificate, and checks the reason (RFC 5280, 5.3.1).
func awaitRevoked(t testing.TB, leaf *x509.Certificate, reason int) {
	t.Helper()
	for {
		if e := revokedOn(crlOf(t, leaf), leaf); e != nil {
			if e.ReasonCode != reason {
				t.Errorf("the CRL gives reason %d, want %d", e.ReasonCode, reason)
			}
			return
		}
		if !pause(t.Context()) {
			t.Fatal("the CRL never listed the certificate")
		}
	}
}

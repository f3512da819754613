package conformance

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// ident is RFC 8555, 9.7.7.
type ident struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// order is RFC 8555, 7.1.3, with its URL.
type order struct {
	URL                                    string `json:"-"`
	Status, Expires, Finalize, Certificate string
	NotBefore, NotAfter, Profile, Replaces string
	Identifiers                            []ident
	Authorizations                         []string
	Error                                  *problemDoc
}

// authz is RFC 8555, 7.1.4, with its URL.
type authz struct {
	URL             string `json:"-"`
	Status, Expires string
	Identifier      ident
	Wildcard        *bool
	Challenges      []challenge
}

// challenge is RFC 8555, 7.1.5 and 8.
type challenge struct {
	Type, URL, Status, Token, Validated string
	Error                               *problemDoc
}

// dnsNames are identifiers of the type dns.
func dnsNames(names ...string) map[string]any {
	ids := []ident{}
	for _, name := range names {
		ids = append(ids, ident{"dns", name})
	}
	return map[string]any{"identifiers": ids}
}

// dnsNamesIn are identifiers for an order under a profile.
func dnsNamesIn(profile string, names ...string) map[string]any {
	request := dnsNames(names...)
	request["profile"] = profile
	return request
}

// order makes a new order.
func (c *client) order(t *testing.T, names ...string) order {
	t.Helper()
	return c.orderOf(t, dnsNames(names...))
}

func (c *client) orderOf(t *testing.T, payload any) order {
	t.Helper()
	a := c.post(t, c.url("newOrder"), payload).want(t, http.StatusCreated)
	return c.parseOrder(t, a, a.header.Get("Location"))
}

func (c *client) parseOrder(t *testing.T, a *answer, url string) order {
	t.Helper()
	o := order{URL: url}
	a.into(t, &o)
	return o
}

// look reads an order again.
func (c *client) look(t *testing.T, o order) order {
	t.Helper()
	return c.parseOrder(t, c.read(t, o.URL).want(t, http.StatusOK), o.URL)
}

// authz reads an authorization.
func (c *client) authz(t *testing.T, url string) authz {
	t.Helper()
	a := authz{URL: url}
	c.read(t, url).want(t, http.StatusOK).into(t, &a)
	return a
}

// of is the challenge of a type.
func (a authz) of(t *testing.T, kind string) challenge {
	t.Helper()
	for _, c := range a.Challenges {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("%s offers no %s", a.URL, kind)
	return challenge{}
}

// answers publishes what answers a challenge, where validation looks for it.
func (c *client) answers(t *testing.T, a authz, ch challenge) {
	t.Helper()
	keyAuth := keyAuthorization(c.key, ch.Token)
	switch ch.Type {
	case "http-01":
		c.g.web.Set(ch.Token, keyAuth)
	case "dns-01":
		c.g.addDNS(t, fmt.Sprintf("_acme-challenge.%s. 60 IN TXT %q", a.Identifier.Value, digest(keyAuth)))
	case "tls-alpn-01":
		c.g.alpn.Set(parse(t, a.Identifier), keyAuth)
	}
}

func digest(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	return b64(sum[:])
}

func parse(t *testing.T, i ident) identifier.Identifier {
	t.Helper()
	id, err := identifier.Parse(i.Type, i.Value)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// validate has the server look, and waits for the outcome of the authorization.
func (c *client) validate(t *testing.T, url, kind string) authz {
	t.Helper()
	a := c.authz(t, url)
	c.post(t, a.of(t, kind).URL, map[string]any{}).want(t, http.StatusOK)
	for deadline := time.Now().Add(time.Minute); ; {
		if a = c.authz(t, url); a.Status != "pending" {
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s stays pending", url)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// prove answers a challenge honestly.
func (c *client) prove(t *testing.T, url, kind string) authz {
	t.Helper()
	a := c.authz(t, url)
	if a.Status == "valid" {
		return a
	}
	c.answers(t, a, a.of(t, kind))
	if a = c.validate(t, url, kind); a.Status != "valid" {
		t.Fatalf("%s: %+v", kind, a)
	}
	return a
}

// ready is an order whose names are proved by a method.
func (c *client) ready(t *testing.T, kind string, names ...string) order {
	t.Helper()
	return c.proved(t, c.order(t, names...), kind)
}

// proved is an order after its names were proved.
func (c *client) proved(t *testing.T, o order, kind string) order {
	t.Helper()
	for _, url := range o.Authorizations {
		c.prove(t, url, kind)
	}
	if o = c.look(t, o); o.Status != "ready" {
		t.Fatalf("the order is %s", o.Status)
	}
	return o
}

// csr is the payload of a finalize request.
func csr(t *testing.T, key crypto.Signer, names ...string) map[string]any {
	t.Helper()
	der, err := testca.CSR(key, names...)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"csr": b64(der)}
}

// finalized is an order after its finalization.
func (c *client) finalized(t *testing.T, o order, payload any) order {
	t.Helper()
	o = c.parseOrder(t, c.post(t, o.Finalize, payload).want(t, http.StatusOK), o.URL)
	for deadline := time.Now().Add(time.Minute); o.Status == "processing" && time.Now().Before(deadline); o = c.look(t, o) {
		<-time.After(5 * time.Millisecond)
	}
	if o.Status != "valid" || o.Certificate == "" {
		t.Fatalf("the order is %+v", o)
	}
	return o
}

// issued is a certificate and how it came about.
type issued struct {
	order order
	key   crypto.Signer
	leaf  *x509.Certificate
	chain []*x509.Certificate // behind the leaf
	text  []byte
}

// issue gets a certificate, by dns-01 if a name is a wildcard, else by http-01.
func (c *client) issue(t *testing.T, names ...string) issued {
	t.Helper()
	return c.complete(t, c.order(t, names...), names...)
}

// complete takes an order to its certificate.
func (c *client) complete(t *testing.T, o order, names ...string) issued {
	t.Helper()
	kind := "http-01"
	if strings.HasPrefix(strings.Join(names, ""), "*") {
		kind = "dns-01"
	}
	i := issued{key: newKey(t)}
	i.order = c.finalized(t, c.proved(t, o, kind), csr(t, i.key, names...))
	i.text = c.read(t, i.order.Certificate).want(t, http.StatusOK).body
	certificates := parsePEM(t, i.text)
	i.leaf, i.chain = certificates[0], certificates[1:]
	return i
}

func parsePEM(t *testing.T, text []byte) (list []*x509.Certificate) {
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
		list = append(list, cert)
	}
	if len(list) == 0 {
		t.Fatal("no certificate")
	}
	return list
}

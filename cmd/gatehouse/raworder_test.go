package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

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
			n := slices.IndexFunc(authz.Challenges, func(ch struct{ Type, URL, Token string }) bool { return ch.Type == "http-01" })
			if authz.Status != "pending" || n < 0 {
				c.t.Errorf("authorization: %s", a.body)
				return
			}
			if challenge := authz.Challenges[n]; !asked {
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

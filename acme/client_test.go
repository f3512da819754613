package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	xacme "golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestClientLibrary drives the whole door with somebody else's client, over real HTTP.
func TestClientLibrary(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	public := "http://" + web.Listener.Addr().String()
	w := newWorld(t, func(c *Config) { c.PublicURLs, c.TermsURL = []string{public}, "https://example.com/terms" })
	web.Config.Handler = w.server
	web.Start()
	t.Cleanup(web.Close)
	ctx := t.Context()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &xacme.Client{Key: key, DirectoryURL: public + "/acme/directory", HTTPClient: web.Client()}
	account, err := c.Register(ctx, &xacme.Account{Contact: []string{"mailto:admin@example.com"}}, xacme.AcceptTOS)
	if err != nil || account.Status != xacme.StatusValid {
		t.Fatal(account, err)
	}
	if _, err := c.Register(ctx, &xacme.Account{}, xacme.AcceptTOS); err != xacme.ErrAccountAlreadyExists {
		t.Error("RFC 8555, 7.3.1:", err)
	}
	if _, err := c.UpdateReg(ctx, &xacme.Account{Contact: []string{"mailto:other@example.com"}}); err != nil {
		t.Error(err)
	}
	order, err := c.AuthorizeOrder(ctx, xacme.DomainIDs("a.example.com", "b.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range order.AuthzURLs {
		authz, err := c.GetAuthorization(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Accept(ctx, authz.Challenges[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.WaitAuthorization(ctx, url); err != nil {
			t.Fatal(err)
		}
	}
	if order, err = c.WaitOrder(ctx, order.URI); err != nil {
		t.Fatal(err)
	}
	csr, err := testca.CSR(w.key, "a.example.com", "b.example.com")
	if err != nil {
		t.Fatal(err)
	}
	chain, certURL, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil || len(chain) != 2 {
		t.Fatal(len(chain), err)
	}
	if err := leaf.VerifyHostname("b.example.com"); err != nil {
		t.Error(err)
	}
	if again, err := c.FetchCert(ctx, certURL, true); err != nil || len(again) != 2 {
		t.Error(err)
	}
	if err := c.RevokeCert(ctx, w.key, leaf.Raw, xacme.CRLReasonKeyCompromise); err != nil {
		t.Error("RFC 8555, 7.6: by the certificate's key:", err)
	}
	if err := c.DeactivateReg(ctx); err != nil {
		t.Error(err)
	}
	if _, err := c.AuthorizeOrder(ctx, xacme.DomainIDs("a.example.com")); err == nil {
		t.Error("RFC 8555, 7.3.6: a deactivated account orders")
	} else if e, ok := err.(*xacme.Error); !ok || e.StatusCode != http.StatusUnauthorized {
		t.Error(err)
	}
}

package main

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// xClient is golang.org/x/crypto/acme against a gateway.
type xClient struct {
	*acme.Client
	i  *instance
	at *testca.HTTP
}

func newXClient(i *instance, at *testca.HTTP) *xClient {
	i.t.Helper()
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		i.t.Fatal(err)
	}
	return &xClient{&acme.Client{Key: key, DirectoryURL: i.directory, HTTPClient: i.client()}, i, at}
}

// ready is an order whose names were proven.
func (c *xClient) ready(names ...string) *acme.Order {
	t := c.i.t
	t.Helper()
	order, err := c.AuthorizeOrder(t.Context(), acme.DomainIDs(names...))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range order.AuthzURLs {
		if err := c.prove(url); err != nil {
			t.Fatal(err)
		}
	}
	if order, err = c.WaitOrder(t.Context(), order.URI); err != nil {
		t.Fatal(err)
	}
	if order.Status != acme.StatusReady {
		t.Fatalf("the order is %s", order.Status)
	}
	return order
}

func (c *xClient) prove(url string) error {
	ctx := c.i.t.Context()
	authz, err := c.GetAuthorization(ctx, url)
	if err != nil || authz.Status == acme.StatusValid {
		return err
	}
	n := slices.IndexFunc(authz.Challenges, func(ch *acme.Challenge) bool { return ch.Type == "http-01" })
	if n < 0 {
		return fmt.Errorf("%s offers no http-01", url)
	}
	answer, err := c.HTTP01ChallengeResponse(authz.Challenges[n].Token)
	if err != nil {
		return err
	}
	c.at.Set(authz.Challenges[n].Token, answer)
	if _, err := c.Accept(ctx, authz.Challenges[n]); err != nil {
		return err
	}
	_, err = c.WaitAuthorization(ctx, url)
	return err
}

// finish finalizes an order and returns the verified chain with its key.
func (c *xClient) finish(order *acme.Order, names ...string) ([]*x509.Certificate, crypto.Signer) {
	t := c.i.t
	t.Helper()
	key, csr := newCSR(t, names...)
	ders, url, err := c.CreateCertFromOrder(t.Context(), order, csr, true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.FetchCert(t.Context(), url, true)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for k, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if k >= len(again) || string(again[k]) != string(der) {
			t.Error("a second download differs from the first")
		}
		chain = append(chain, cert)
	}
	c.i.verifyChain(chain, names...)
	return chain, key
}

// isProblem checks an error for the type and the status of a problem document.
func isProblem(t testing.TB, err error, status int, kind string) {
	t.Helper()
	p, ok := errors.AsType[*acme.Error](err)
	if !ok || p.StatusCode != status || p.ProblemType != "urn:ietf:params:acme:error:"+kind {
		t.Errorf("error is %v, want %s with status %d", err, kind, status)
	}
}

// TestCryptoACME is one account's life with golang.org/x/crypto/acme.
func TestCryptoACME(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := newXClient(i, i.answers())
	ctx := t.Context()

	if _, err := c.GetReg(ctx, ""); !errors.Is(err, acme.ErrNoAccount) { // onlyReturnExisting, RFC 8555, 7.3.1
		t.Errorf("before registration: %v", err)
	}
	account, err := c.Register(ctx, &acme.Account{Contact: []string{"mailto:admin@example.com"}}, acme.AcceptTOS)
	if err != nil || account.Status != acme.StatusValid {
		t.Fatal(account, err)
	}
	if _, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS); !errors.Is(err, acme.ErrAccountAlreadyExists) {
		t.Errorf("registering again: %v", err)
	}
	if found, err := c.GetReg(ctx, ""); err != nil || found.URI != account.URI {
		t.Errorf("onlyReturnExisting finds %v, %v", found, err)
	}
	changed, err := c.UpdateReg(ctx, &acme.Account{Contact: []string{"mailto:other@example.com"}})
	if err != nil || !slices.Equal(changed.Contact, []string{"mailto:other@example.com"}) {
		t.Errorf("update: %v, %v", changed, err)
	}

	names := []string{"one.example.com", "two.example.com"}
	order := c.ready(names...)
	_, wrong := newCSR(t, "one.example.com", "three.example.com")
	_, _, err = c.CreateCertFromOrder(ctx, order, wrong, true)
	isProblem(t, err, 400, "badCSR")
	if again, err := c.GetOrder(ctx, order.URI); err != nil || again.Status != acme.StatusReady {
		t.Fatalf("a bad CSR left the order %v, %v", again, err)
	}
	chain, _ := c.finish(order, names...)
	if err := c.RevokeCert(ctx, nil, chain[0].Raw, acme.CRLReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	awaitRevoked(t, chain[0], int(acme.CRLReasonSuperseded))

	chain, key := c.finish(c.ready("three.example.com"), "three.example.com")
	stranger := newXClient(i, nil) // who holds a certificate's key needs no account
	if err := stranger.RevokeCert(ctx, key, chain[0].Raw, acme.CRLReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	awaitRevoked(t, chain[0], int(acme.CRLReasonKeyCompromise))

	if err := c.DeactivateReg(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = c.AuthorizeOrder(ctx, acme.DomainIDs("late.example.com")) // RFC 8555, 7.3.6
	isProblem(t, err, 401, "unauthorized")
	_, err = c.GetOrder(ctx, order.URI)
	isProblem(t, err, 401, "unauthorized")
}

// TestCryptoACMERefusals is what an order may not ask for, and who may not ask.
func TestCryptoACMERefusals(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := newXClient(i, i.answers())
	ctx := t.Context()
	if _, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	many := make([]string, 101)
	for k := range many {
		many[k] = fmt.Sprintf("n%d.example.com", k)
	}
	_, err := c.AuthorizeOrder(ctx, acme.DomainIDs(many...))
	isProblem(t, err, 400, "malformed")
	if _, err := c.AuthorizeOrder(ctx, acme.DomainIDs(many[:100]...)); err != nil {
		t.Errorf("100 names are refused: %v", err)
	}
	_, err = c.AuthorizeOrder(ctx, acme.DomainIDs("*.co.uk")) // a public suffix
	isProblem(t, err, 403, "rejectedIdentifier")
	_, err = c.AuthorizeOrder(ctx, []acme.AuthzID{{Type: "email", Value: "a@example.com"}})
	isProblem(t, err, 400, "unsupportedIdentifier")

	order := c.ready("mine.example.com")
	other := newXClient(i, nil)
	if _, err := other.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	_, err = other.GetOrder(ctx, order.URI)
	isProblem(t, err, 404, "malformed")
	_, _, err = other.CreateCertFromOrder(ctx, order, nil, true)
	isProblem(t, err, 404, "malformed")

	unknown := newXClient(i, nil)
	unknown.KID = acme.KeyID(elsewhere(string(c.KID)))
	_, err = unknown.AuthorizeOrder(ctx, acme.DomainIDs("unknown.example.com"))
	isProblem(t, err, 400, "accountDoesNotExist")
}

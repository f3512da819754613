package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// webSolver answers http-01 for acmez.
type webSolver struct{ at *testca.HTTP }

func (s webSolver) Present(_ context.Context, c acme.Challenge) error {
	s.at.Set(c.Token, c.KeyAuthorization)
	return nil
}

func (s webSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.at.Remove(c.Token)
	return nil
}

func acmezAccount(t testing.TB) acme.Account {
	t.Helper()
	key, err := testca.NewKey(testca.P384)
	if err != nil {
		t.Fatal(err)
	}
	return acme.Account{Contact: []string{"mailto:admin@example.com"}, TermsOfServiceAgreed: true, PrivateKey: key}
}

// isAcmezProblem checks an error for the type of a problem document.
func isAcmezProblem(t testing.TB, err error, status int, kind string) {
	t.Helper()
	if p, ok := errors.AsType[acme.Problem](err); !ok || p.Status != status || p.Type != "urn:ietf:params:acme:error:"+kind {
		t.Errorf("error is %v, want %s with status %d", err, kind, status)
	}
}

// TestAcmez is one account's life with acmez, as Caddy and certmagic use it.
func TestAcmez(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	ctx := t.Context()
	c := &acmez.Client{
		Client:           &acme.Client{Directory: i.directory, HTTPClient: i.client()},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: webSolver{i.answers()}},
	}
	account := acmezAccount(t)
	_, err := c.GetAccount(ctx, account) // onlyReturnExisting, RFC 8555, 7.3.1
	isAcmezProblem(t, err, 400, "accountDoesNotExist")
	if account, err = c.NewAccount(ctx, account); err != nil {
		t.Fatal(err)
	}
	if found, err := c.GetAccount(ctx, account); err != nil || found.Location != account.Location {
		t.Errorf("onlyReturnExisting finds %v, %v", found, err)
	}
	account.Contact = []string{"mailto:other@example.com"}
	if account, err = c.UpdateAccount(ctx, account); err != nil || account.Contact[0] != "mailto:other@example.com" {
		t.Errorf("update: %v, %v", account.Contact, err)
	}

	leaf, _ := obtain(t, i, c, account, "one.example.com", "two.example.com")
	if err := c.RevokeCertificate(ctx, account, leaf, account.PrivateKey, acme.ReasonCessationOfOperation); err != nil {
		t.Fatal(err)
	}
	awaitRevoked(t, leaf, acme.ReasonCessationOfOperation)
	err = c.RevokeCertificate(ctx, account, leaf, account.PrivateKey, acme.ReasonCessationOfOperation)
	isAcmezProblem(t, err, 400, "alreadyRevoked")
	leaf, key := obtain(t, i, c, account, "three.example.com")
	if err := c.RevokeCertificate(ctx, account, leaf, key, acme.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	awaitRevoked(t, leaf, acme.ReasonKeyCompromise)

	account.Status = "deactivated"
	if account, err = c.UpdateAccount(ctx, account); err != nil || account.Status != "deactivated" {
		t.Errorf("deactivate: %v, %v", account.Status, err)
	}
	_, err = c.NewOrder(ctx, account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "late.example.com"}}})
	isAcmezProblem(t, err, 401, "unauthorized")
}

// obtain is a verified certificate with its key.
func obtain(t testing.TB, i *instance, c *acmez.Client, account acme.Account, names ...string) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := testca.NewKey(testca.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ObtainCertificateForSANs(t.Context(), account, key, names)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d chains; one is published", len(got))
	}
	chain := parseChain(t, got[0].ChainPEM)
	i.verifyChain(chain, names...)
	return chain[0], key
}

// TestAcmezRefusals is what an order may not ask for, a CSR that does not fit, and an order of somebody else's.
func TestAcmezRefusals(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	ctx, at := t.Context(), i.answers()
	c := &acme.Client{Directory: i.directory, HTTPClient: i.client()}
	account, err := c.NewAccount(ctx, acmezAccount(t))
	if err != nil {
		t.Fatal(err)
	}
	order := func(account acme.Account, ids ...acme.Identifier) (acme.Order, error) {
		return c.NewOrder(ctx, account, acme.Order{Identifiers: ids})
	}
	many := make([]acme.Identifier, 101)
	for k := range many {
		many[k] = acme.Identifier{Type: "dns", Value: fmt.Sprintf("n%d.example.com", k)}
	}
	_, err = order(account, many...)
	isAcmezProblem(t, err, 400, "malformed")
	_, err = order(account, acme.Identifier{Type: "dns", Value: "*.co.uk"})
	isAcmezProblem(t, err, 403, "rejectedIdentifier")
	_, err = order(account, acme.Identifier{Type: "ip", Value: "224.0.0.1"})
	isAcmezProblem(t, err, 403, "rejectedIdentifier")
	_, err = order(account, acme.Identifier{Type: "email", Value: "a@example.com"})
	isAcmezProblem(t, err, 400, "unsupportedIdentifier")

	mine, err := order(account, many[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := c.NewAccount(ctx, acmezAccount(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetOrder(ctx, stranger, mine)
	isAcmezProblem(t, err, 404, "malformed")
	stranger.Location = account.Location // the right account's name with another key
	_, err = c.GetOrder(ctx, stranger, mine)
	isAcmezProblem(t, err, 400, "malformed")

	authz, err := c.GetAuthorization(ctx, account, mine.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	challenge := authz.Challenges[slices.IndexFunc(authz.Challenges, func(ch acme.Challenge) bool { return ch.Type == acme.ChallengeTypeHTTP01 })]
	at.Set(challenge.Token, challenge.KeyAuthorization)
	if _, err := c.InitiateChallenge(ctx, account, challenge); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PollAuthorization(ctx, account, authz); err != nil {
		t.Fatal(err)
	}
	_, wrong := newCSR(t, "other.example.com")
	_, err = c.FinalizeOrder(ctx, account, mine, wrong)
	isAcmezProblem(t, err, 400, "badCSR")
	if mine, err = c.GetOrder(ctx, account, mine); err != nil || mine.Status != acme.StatusReady {
		t.Fatalf("a bad CSR left the order %s, %v", mine.Status, err)
	}
	_, right := newCSR(t, many[0].Value)
	if mine, err = c.FinalizeOrder(ctx, account, mine, right); err != nil || mine.Status != acme.StatusValid {
		t.Fatalf("after the bad CSR the good one made the order %s, %v", mine.Status, err)
	}
}

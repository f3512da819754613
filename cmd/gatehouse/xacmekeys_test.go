package main

import (
	"crypto"
	"errors"
	"testing"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestCryptoACMEKeyRollover changes an account's key (RFC 8555, 7.3.5): the new one finds it, the old one may make another.
func TestCryptoACMEKeyRollover(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := newXClient(i, i.answers())
	ctx := t.Context()
	account, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if err != nil {
		t.Fatal(err)
	}
	order := c.ready("rolled.example.com")
	old := c.Key
	next, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AccountKeyRollover(ctx, next); err != nil {
		t.Fatal(err)
	}
	c.finish(order, "rolled.example.com") // RFC 8555, 7.3.5: the order goes on

	with := func(key crypto.Signer) *xClient {
		x := newXClient(i, c.at)
		x.Key = key
		return x
	}
	if found, err := with(next).GetReg(ctx, ""); err != nil || found.URI != account.URI {
		t.Errorf("the new key finds %v, %v", found, err)
	}
	if _, err := with(old).GetReg(ctx, ""); !errors.Is(err, acme.ErrNoAccount) {
		t.Errorf("the old key: %v", err)
	}
	stale := with(old)
	stale.KID = c.KID
	_, err = stale.AuthorizeOrder(ctx, acme.DomainIDs("rolled.example.com"))
	isProblem(t, err, 400, "malformed")
	again, err := with(old).Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if err != nil || again.URI == account.URI {
		t.Errorf("another account with the old key: %v, %v", again, err)
	}
	isProblem(t, c.AccountKeyRollover(ctx, old), 409, "malformed")
}

// TestCryptoACMEPreauthorization authorizes a name ahead of its order (RFC 8555, 7.4.1), and gives it up (7.5.2).
func TestCryptoACMEPreauthorization(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := newXClient(i, i.answers())
	ctx := t.Context()
	if _, err := c.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	const name = "ahead.example.com"
	authz, err := c.Authorize(ctx, name)
	if err != nil || authz.Status != acme.StatusPending {
		t.Fatal(authz, err)
	}
	if err := c.prove(authz.URI); err != nil {
		t.Fatal(err)
	}
	if again, err := c.Authorize(ctx, name); err != nil || again.Status != acme.StatusValid || again.URI != authz.URI {
		t.Errorf("again: %v, %v", again, err)
	}
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil || order.Status != acme.StatusReady {
		t.Fatal(order, err)
	}
	waiting, err := c.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		t.Fatal(err)
	}
	chain, _ := c.finish(order, name)
	_, err = c.Authorize(ctx, "*.example.com")
	isProblem(t, err, 403, "rejectedIdentifier")

	// RFC 8555, 7.6: another account that controls the name may revoke; one that does not may not.
	other := newXClient(i, c.at)
	if _, err := other.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	isProblem(t, other.RevokeCert(ctx, nil, chain[0].Raw, acme.CRLReasonSuperseded), 403, "unauthorized")
	other.ready(name)
	if err := other.RevokeCert(ctx, nil, chain[0].Raw, acme.CRLReasonSuperseded); err != nil {
		t.Error(err)
	}
	awaitRevoked(t, chain[0], int(acme.CRLReasonSuperseded))

	if err := c.RevokeAuthorization(ctx, authz.URI); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetAuthorization(ctx, authz.URI); err != nil || got.Status != acme.StatusDeactivated {
		t.Errorf("given up: %v, %v", got, err)
	}
	if got, err := c.GetOrder(ctx, waiting.URI); err != nil || got.Status != acme.StatusInvalid {
		t.Errorf("the order that relied on it: %v, %v", got, err)
	}
	if fresh, err := c.AuthorizeOrder(ctx, acme.DomainIDs(name)); err != nil || fresh.Status != acme.StatusPending {
		t.Errorf("a new order: %v, %v", fresh, err)
	}
}

package main

import (
	"testing"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestAcmezKeyRollover changes an account's key with acmez (RFC 8555, 7.3.5), and goes on with the new one.
func TestAcmezKeyRollover(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	ctx := t.Context()
	c := &acmez.Client{
		Client:           &acme.Client{Directory: i.directory, HTTPClient: i.client()},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: webSolver{i.answers()}},
	}
	account, err := c.NewAccount(ctx, acmezAccount(t))
	must(t, err)
	old := account
	next, err := testca.NewKey(testca.P256)
	must(t, err)
	account, err = c.AccountKeyRollover(ctx, account, next)
	must(t, err)
	obtain(t, i, c, account, "rolled.example.com")
	if found, err := c.GetAccount(ctx, account); err != nil || found.Location != old.Location {
		t.Errorf("the new key finds %v, %v", found.Location, err)
	}
	_, err = c.GetAccount(ctx, old)
	isAcmezProblem(t, err, 400, "accountDoesNotExist")

	other, err := c.NewAccount(ctx, acmezAccount(t))
	must(t, err)
	_, err = c.AccountKeyRollover(ctx, other, next)
	isAcmezProblem(t, err, 409, "malformed")
}

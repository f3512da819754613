package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestAcmezRenews is a renewal as Caddy and certmagic do it: by the window of RFC 9773, under a profile, naming the
// certificate that it replaces, and once more after somebody else was first.
func TestAcmezRenews(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	ctx := t.Context()
	c := &acmez.Client{
		Client:           &acme.Client{Directory: i.directory, HTTPClient: i.client()},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: webSolver{i.answers()}},
	}
	account, err := c.NewAccount(ctx, acmezAccount(t))
	if err != nil {
		t.Fatal(err)
	}
	directory, err := c.GetDirectory(ctx)
	if err != nil || directory.RenewalInfo == "" || len(directory.Meta.Profiles) != 1 || directory.Meta.Profiles["dev"] == "" {
		t.Fatalf("the directory has renewalInfo %q and profiles %v, %v", directory.RenewalInfo, directory.Meta.Profiles, err)
	}
	first, _ := obtain(t, i, c, account, "a.example.com", "b.example.com")
	info, err := c.GetRenewalInfo(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	w := info.SuggestedWindow
	if !w.Start.After(time.Now()) || !w.End.Before(first.NotAfter) || info.RetryAfter == nil {
		t.Errorf("the window of a certificate that ends at %v is %+v, ask again at %v", first.NotAfter, w, info.RetryAfter)
	}

	second := replace(t, i, c, account, first, "dev", "b.example.com", "c.example.com")
	if got := i.lineage(first); got != "replaced by 2" {
		t.Errorf("the first: %q", got)
	}
	if got := i.lineage(second); got != "replaces 1" {
		t.Errorf("the second: %q", got)
	}
	if out := i.mustCommand("cert", "show", "1"); !regexp.MustCompile(`(?m)^replaced by +enrollment 2$`).MatchString(out) {
		t.Error(out)
	}
	// RFC 9773, 5: only once. The client is told in a way that it understands, and goes on without.
	third := replace(t, i, c, account, first, "", "b.example.com")
	if got := i.lineage(third); got != "" {
		t.Errorf("the third: %q", got)
	}
	_, err = c.NewOrder(ctx, account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "b.example.com"}}, Replaces: info.UniqueIdentifier})
	isAcmezProblem(t, err, 409, "alreadyReplaced")

	if err := c.RevokeCertificate(ctx, account, second, account.PrivateKey, acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if info, err = c.GetRenewalInfo(ctx, second); err != nil || !info.SuggestedWindow.End.Before(time.Now()) {
		t.Errorf("RFC 9773, 4.2: after the revocation the window is %+v, %v", info.SuggestedWindow, err)
	}
}

// replace obtains a certificate in place of another.
func replace(t *testing.T, i *instance, c *acmez.Client, account acme.Account, old *x509.Certificate, profile string, names ...string) *x509.Certificate {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := acmez.NewCSR(key, names)
	if err != nil {
		t.Fatal(err)
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		t.Fatal(err)
	}
	params.Profile, params.Replaces = profile, old
	got, err := c.ObtainCertificate(context.WithoutCancel(t.Context()), params)
	if err != nil {
		t.Fatal(err)
	}
	chain := parseChain(t, got[0].ChainPEM)
	i.verifyChain(chain, names...)
	return chain[0]
}

// lineage is what cert show says of a certificate's.
func (i *instance) lineage(leaf *x509.Certificate) string {
	i.t.Helper()
	var e enrollmentView
	out := i.mustCommand("cert", "show", leaf.SerialNumber.Text(16), "--json")
	if err := json.NewDecoder(bytes.NewBufferString(out)).Decode(&e); err != nil {
		i.t.Fatal(err)
	}
	var words []string
	if e.Replaces != 0 {
		words = append(words, "replaces "+strconv.FormatInt(e.Replaces, 10))
	}
	if e.ReplacedBy != 0 {
		words = append(words, "replaced by "+strconv.FormatInt(e.ReplacedBy, 10))
	}
	return strings.Join(words, ", ")
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/registration"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	xacme "golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// bindingRequired is a gateway whose directory takes no account without a key for external account binding.
func bindingRequired(t *testing.T) (*instance, *testca.DNS) {
	t.Helper()
	w, folder, dns := proofByDNS(t)
	edit(t, filepath.Join(folder, initConfig), "  default_profile: tls", "  default_profile: tls\n  eab: required")
	i := w.serveConfig(folder)
	i.dns = dns.Addr()
	return i, dns
}

// bindingKey is what an operator makes and hands over.
func (w *world) bindingKey(flags ...string) (key eabView) {
	w.t.Helper()
	out := w.mustCommand(append([]string{"eab", "add", "--org", "main", "--json"}, flags...)...)
	must(w.t, json.Unmarshal([]byte(out), &key))
	return key
}

// binds fails the test unless the key has bound that many accounts.
func (w *world) binds(key eabView, accounts int64) {
	w.t.Helper()
	var now eabView
	must(w.t, json.Unmarshal([]byte(w.mustCommand("eab", "show", key.KID, "--json")), &now))
	if now.Bound != accounts {
		w.t.Errorf("the key %s has bound %d accounts, want %d", key.Label, now.Bound, accounts)
	}
}

// TestCertbotExternalAccount is certbot with a key, without one, with one that is used up and with half of another one.
func TestCertbotExternalAccount(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	i, _ := bindingRequired(t)
	key, other := i.bindingKey(), i.bindingKey()
	refused := func(want string, flags ...string) {
		t.Helper()
		c := newCertbot(i)
		out, err := c.try(append([]string{"register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email"}, flags...)...)
		if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("certbot with %q: %v\n%s", flags, err, out)
		}
	}
	refused("external account binding")
	refused("", "--eab-kid", key.KID, "--eab-hmac-key", other.HMACKey)

	c := newCertbot(i)
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email", "--eab-kid", key.KID, "--eab-hmac-key", key.HMACKey)
	c.run("certonly", "--manual", "--preferred-challenges", "dns", "--manual-auth-hook", "dns01-hook add "+i.dns,
		"--manual-cleanup-hook", "dns01-hook remove "+i.dns, "-d", "one.example.com")
	c.verifies("one.example.com")
	i.binds(key, 1)
	i.binds(other, 0)
	refused("", "--eab-kid", key.KID, "--eab-hmac-key", key.HMACKey) // it is for one account
}

// TestLegoExternalAccount is lego with a key for many accounts, and what a key's own rules refuse.
func TestLegoExternalAccount(t *testing.T) {
	t.Parallel()
	i, _ := bindingRequired(t)
	key := i.bindingKey("--reusable", "--name", "*.team.example.com")
	c := newLego(i, i.directory, certcrypto.EC256)
	_, err := c.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
	isLegoProblem(t, err, 403, "externalAccountRequired") // RFC 8555, 7.3.4
	bind := func(kid, mac string) (*legoClient, error) {
		c := newLego(i, i.directory, certcrypto.EC256).byDNS(t, i.dns)
		r, err := c.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: kid, HmacEncoded: mac})
		c.resource = r
		return c, err
	}
	_, err = bind(key.KID, base64.RawURLEncoding.EncodeToString(make([]byte, 32)))
	isLegoProblem(t, err, 403, "unauthorized")
	_, err = bind("no-such-key", key.HMACKey)
	isLegoProblem(t, err, 403, "unauthorized")
	for _, name := range []string{"one.team.example.com", "two.team.example.com"} {
		c, err = bind(key.KID, key.HMACKey)
		must(t, err)
		c.obtain(t, certificate.ObtainRequest{Domains: []string{name}})
	}
	_, err = c.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"www.example.com"}})
	isLegoProblem(t, err, 403, "rejectedIdentifier")
	i.binds(key, 2)
	i.mustCommand("eab", "revoke", key.KID)
	_, err = bind(key.KID, key.HMACKey)
	isLegoProblem(t, err, 403, "unauthorized")
	c.obtain(t, certificate.ObtainRequest{Domains: []string{"three.team.example.com"}}) // what it has bound goes on
}

// TestLibrariesExternalAccount is the same for the libraries of Caddy and of the Go project.
func TestLibrariesExternalAccount(t *testing.T) {
	t.Parallel()
	i, _ := bindingRequired(t)
	ctx := t.Context()
	t.Run("acmez", func(t *testing.T) {
		key := i.bindingKey()
		c := &acmez.Client{
			Client:           &acme.Client{Directory: i.directory, HTTPClient: i.client()},
			ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeDNS01: dnsSolver{i.dns}},
		}
		account := acmezAccount(t)
		_, err := c.NewAccount(ctx, account)
		isAcmezProblem(t, err, 403, "externalAccountRequired")
		must(t, account.SetExternalAccountBinding(ctx, c.Client, acme.EAB{KeyID: key.KID, MACKey: key.HMACKey}))
		account, err = c.NewAccount(ctx, account)
		must(t, err)
		obtain(t, i, c, account, "one.example.com")
		i.binds(key, 1)
	})
	t.Run("certmagic", func(t *testing.T) {
		key := i.bindingKey()
		m := newMagic(t, i, &certmagic.FileStorage{Path: t.TempDir()}, certmagic.ACMEIssuer{
			DNS01Solver: dnsSolver{i.dns}, ExternalAccount: &acme.EAB{KeyID: key.KID, MACKey: key.HMACKey},
		})
		m.manage(t, "two.example.com")
		i.binds(key, 1)
	})
	t.Run("x/crypto/acme", func(t *testing.T) {
		key := i.bindingKey()
		mac, err := base64.RawURLEncoding.DecodeString(key.HMACKey)
		must(t, err)
		c := newXClient(i, nil)
		_, err = c.Register(ctx, &xacme.Account{}, xacme.AcceptTOS)
		isProblem(t, err, 403, "externalAccountRequired")
		_, err = c.Register(ctx, &xacme.Account{ExternalAccountBinding: &xacme.ExternalAccountBinding{KID: key.KID, Key: mac}}, xacme.AcceptTOS)
		must(t, err)
		i.binds(key, 1)
	})
}

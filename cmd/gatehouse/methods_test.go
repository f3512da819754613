package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// dns01Hook is a program for certbot's --manual-auth-hook and --manual-cleanup-hook: "dns01-hook add|remove HOST:PORT"
// changes the TXT record of the challenge at that DNS server (RFC 2136), as nsupdate would; "spoil" adds a wrong one.
func dns01Hook() {
	verb, value := os.Args[1], os.Getenv("CERTBOT_VALIDATION")
	if verb == "spoil" {
		value = "wrong"
	}
	if err := updateTXT(context.Background(), os.Args[2], verb != "remove", os.Getenv("CERTBOT_DOMAIN"), value); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func updateTXT(ctx context.Context, server string, add bool, domain, value string) error {
	rr, err := dns.NewRR(fmt.Sprintf("_acme-challenge.%s. 1 IN TXT %q", domain, value))
	if err != nil {
		return err
	}
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(domain))
	if add {
		m.Insert([]dns.RR{rr})
	} else {
		m.Remove([]dns.RR{rr})
	}
	client := &dns.Client{Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeContext(ctx, m, server)
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("the update of %s was answered with %s", domain, dns.RcodeToString[reply.Rcode])
	}
	return err
}

// TestCertbotDNS01 gets a certificate for a name and its wildcard, renews it, and sees an order fail whose record is wrong.
func TestCertbotDNS01(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t))
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email")
	manual := []string{"--manual", "--preferred-challenges", "dns", "--manual-auth-hook", "dns01-hook add " + c.dns,
		"--manual-cleanup-hook", "dns01-hook remove " + c.dns}
	c.run(append([]string{"certonly", "--cert-name", "wild", "-d", "example.com", "-d", "*.example.com", "-d", "*.lab.example.com"}, manual...)...)
	names := openssl(t, "x509", "-in", c.live("wild", "cert.pem"), "-noout", "-ext", "subjectAltName")
	for _, want := range []string{"DNS:example.com", "DNS:*.example.com", "DNS:*.lab.example.com"} {
		if !strings.Contains(names, want) {
			t.Errorf("%s is not in the certificate:\n%s", want, names)
		}
	}
	for host, covered := range map[string]bool{"example.com": true, "www.example.com": true, "x.lab.example.com": true, "a.b.example.com": false, "example.org": false} {
		out := openssl(t, "x509", "-in", c.live("wild", "cert.pem"), "-noout", "-checkhost", host)
		if covered == strings.Contains(out, "does NOT match") {
			t.Errorf("%s covered: want %v, openssl says %s", host, covered, out)
		}
	}
	openssl(t, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", c.root, "-untrusted", c.live("wild", "chain.pem"), c.live("wild", "cert.pem"))
	first := c.serial("wild")
	c.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
	if c.serial("wild") == first {
		t.Error("renew left the old certificate in place")
	}
	wrong := append([]string{"certonly", "-d", "*.wrong.example.com"}, manual...)
	wrong[slices.Index(wrong, "--manual-auth-hook")+1] = "dns01-hook spoil " + c.dns
	out, err := c.try(wrong...)
	if err == nil || !strings.Contains(out, "none of 1 TXT records is") {
		t.Errorf("with a wrong record: %v\n%s", err, out)
	}
}

// alpnSolver answers tls-alpn-01 for acmez.
type alpnSolver struct{ at *testca.TLSALPN }

func (s alpnSolver) Present(_ context.Context, c acme.Challenge) error {
	id, err := identifier.Parse(c.Identifier.Type, c.Identifier.Value)
	if err == nil {
		s.at.Set(id, c.KeyAuthorization)
	}
	return err
}

func (s alpnSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	id, err := identifier.Parse(c.Identifier.Type, c.Identifier.Value)
	if err == nil {
		s.at.Remove(id)
	}
	return err
}

// dnsSolver answers dns-01 for acmez.
type dnsSolver struct{ server string }

func (s dnsSolver) Present(ctx context.Context, c acme.Challenge) error {
	return updateTXT(ctx, s.server, true, c.Identifier.Value, c.DNS01KeyAuthorization())
}

func (s dnsSolver) CleanUp(ctx context.Context, c acme.Challenge) error {
	return updateTXT(ctx, s.server, false, c.Identifier.Value, c.DNS01KeyAuthorization())
}

// TestAcmezMethods proves names by tls-alpn-01 and dns-01, and addresses by http-01 and tls-alpn-01.
func TestAcmezMethods(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	server, err := testca.NewTLSALPN(testca.TLSALPNConfig{Addr: fmt.Sprintf("127.0.0.1:%d", i.alpn01)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	web := i.answers()
	for name, row := range map[string]struct {
		solvers map[string]acmez.Solver
		names   []string
	}{
		"tls-alpn-01": {map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: alpnSolver{server}}, []string{"one.example.com", "two.example.com", "127.0.0.1"}},
		"dns-01":      {map[string]acmez.Solver{acme.ChallengeTypeDNS01: dnsSolver{i.dns}}, []string{"three.example.com"}},
		"http-01":     {map[string]acmez.Solver{acme.ChallengeTypeHTTP01: webSolver{web}}, []string{"127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &acmez.Client{Client: &acme.Client{Directory: i.directory, HTTPClient: i.client()}, ChallengeSolvers: row.solvers}
			account, err := c.NewAccount(t.Context(), acmezAccount(t))
			if err != nil {
				t.Fatal(err)
			}
			obtain(t, i, c, account, row.names...)
		})
	}
	if len(server.Hellos()) != 3 {
		t.Errorf("the TLS server was visited %d times, want 3", len(server.Hellos()))
	}
}

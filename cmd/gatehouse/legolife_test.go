package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/registration"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestLego is one account's life with lego.
func TestLego(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registeredLego(i, certcrypto.EC256).byHTTP()
	lost := newLegoFor(i, i.directory, &legoUser{key: c.key}, certcrypto.EC256)
	if found, err := lost.Registration.ResolveAccountByKey(); err != nil || found.URI != c.resource.URI { // RFC 8555, 7.3.1
		t.Errorf("the key finds %+v, %v", found, err)
	}
	c.email = "other@example.com"
	if r, err := c.Registration.UpdateRegistration(registration.RegisterOptions{TermsOfServiceAgreed: true}); err != nil ||
		!slices.Equal(r.Body.Contact, []string{"mailto:other@example.com"}) {
		t.Errorf("update: %+v, %v", r, err)
	}
	if r, err := c.Registration.QueryRegistration(); err != nil || r.Body.Status != "valid" || !slices.Equal(r.Body.Contact, []string{"mailto:other@example.com"}) {
		t.Errorf("query: %+v, %v", r, err)
	}

	names := []string{"one.example.com", "two.example.com"}
	first, leaf := c.obtain(t, certificate.ObtainRequest{Domains: names})
	if again, err := c.Certificate.Get(first.CertURL, true); err != nil || string(again.Certificate) != string(first.Certificate) {
		t.Errorf("a second download differs from the first: %v", err)
	}
	// RenewWithOptions keeps the key that it is given, as programs with reuse-key do.
	renewed, err := c.Certificate.RenewWithOptions(*first, &certificate.RenewOptions{Bundle: true})
	must(t, err)
	second := c.check(t, renewed, names...)
	if second.Equal(leaf) || !second.PublicKey.(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
		t.Error("the renewal is not another certificate for the same key")
	}

	// With the account's key, RFC 8555, 7.6; lego has no way to use the certificate's.
	must(t, c.Certificate.RevokeWithReason(first.Certificate, new(uint(4))))
	awaitRevoked(t, leaf, 4)
	isLegoProblem(t, c.Certificate.Revoke(first.Certificate), 400, "alreadyRevoked")
	isLegoProblem(t, c.Certificate.RevokeWithReason(renewed.Certificate, new(uint(6))), 400, "badRevocationReason") // certificateHold
	stranger := registeredLego(i, certcrypto.EC256)
	isLegoProblem(t, stranger.Certificate.Revoke(renewed.Certificate), 403, "unauthorized")

	must(t, c.Registration.DeleteRegistration())
	_, err = c.Certificate.Obtain(certificate.ObtainRequest{Domains: names})
	isLegoProblem(t, err, 401, "unauthorized") // RFC 8555, 7.3.6
}

// TestLegoMethods proves names and addresses in each way, with each kind of key.
func TestLegoMethods(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	for name, row := range map[string]struct {
		keyType certcrypto.KeyType
		answer  func(*legoClient) *legoClient
		names   []string
	}{
		"http-01, RSA 2048":          {certcrypto.RSA2048, (*legoClient).byHTTP, []string{"one.example.com", "two.example.com", "three.example.com"}},
		"http-01, address":           {certcrypto.EC256, (*legoClient).byHTTP, []string{"127.0.0.1"}},
		"tls-alpn-01, P-256":         {certcrypto.EC256, (*legoClient).byTLS, []string{"four.example.com", "five.example.com"}},
		"tls-alpn-01, address":       {certcrypto.EC384, (*legoClient).byTLS, []string{"127.0.0.1"}},
		"dns-01 with wildcard, P384": {certcrypto.EC384, func(c *legoClient) *legoClient { return c.byDNS(t, i.dns) }, []string{"example.com", "*.example.com", "*.lab.example.com"}},
		"dns-01, RSA 3072":           {certcrypto.RSA3072, func(c *legoClient) *legoClient { return c.byDNS(t, i.dns) }, []string{"six.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := row.answer(registeredLego(i, row.keyType))
			_, leaf := c.obtain(t, certificate.ObtainRequest{Domains: row.names})
			if got := kindOfKey(leaf); got != row.keyType {
				t.Errorf("the key is %s, want %s", got, row.keyType)
			}
		})
	}
}

// kindOfKey names a certificate's key as lego does.
func kindOfKey(leaf *x509.Certificate) certcrypto.KeyType {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return certcrypto.KeyType(fmt.Sprint(key.N.BitLen()))
	case *ecdsa.PublicKey:
		return certcrypto.KeyType(strings.Replace(key.Curve.Params().Name, "-", "", 1))
	}
	return ""
}

// TestLegoRefusals is what an order may not ask for, as lego's users see it.
func TestLegoRefusals(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	obtain := func(c *legoClient, request certificate.ObtainRequest) error {
		_, err := c.Certificate.Obtain(request)
		return err
	}
	c := registeredLego(i, certcrypto.EC256).byHTTP()
	isLegoProblem(t, obtain(c, certificate.ObtainRequest{Domains: []string{"a.example.com"}, Profile: "other"}), 400, "invalidProfile")
	isLegoProblem(t, obtain(c, certificate.ObtainRequest{Domains: []string{"a.example.com"}, ReplacesCertID: "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA.AQID"}), 404, "malformed")
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(t, err)
	isLegoProblem(t, obtain(c, certificate.ObtainRequest{Domains: []string{"a.example.com"}, PrivateKey: p521}), 400, "badCSR")
	// http-01 proves no wildcard (RFC 8555, 8.3), and is not offered for one.
	if err := obtain(c, certificate.ObtainRequest{Domains: []string{"*.example.com"}}); err == nil || !strings.Contains(err.Error(), "could not determine solvers") {
		t.Errorf("a wildcard without dns-01: %v", err)
	}
	// Nobody answers: the gateway says what it met, and lego shows it.
	c = registeredLego(i, certcrypto.EC256)
	must(t, c.Challenge.SetHTTP01Provider(silent{}))
	err = obtain(c, certificate.ObtainRequest{Domains: []string{"silent.example.com"}})
	if err == nil || !strings.Contains(err.Error(), "urn:ietf:params:acme:error:connection") || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("where nobody answers: %v", err)
	}
}

// silent is a provider for lego that publishes nothing.
type silent struct{}

func (silent) Present(_, _, _ string) error { return nil }
func (silent) CleanUp(_, _, _ string) error { return nil }

// TestLegoRenewsByARI is what "lego renew" does since RFC 9773: it asks for the window, and names what it replaces.
func TestLegoRenewsByARI(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registeredLego(i, certcrypto.EC256).byTLS()
	_, first := c.obtain(t, certificate.ObtainRequest{Domains: []string{"a.example.com"}, Profile: "dev"})
	info, err := c.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: first})
	must(t, err)
	now := time.Now()
	if at := info.ShouldRenewAt(now, 24*time.Hour); at == nil || !at.After(now) || !at.Before(first.NotAfter) || info.RetryAfter <= 0 {
		t.Errorf("lego would renew at %v, and ask again after %s; the certificate ends at %v", at, info.RetryAfter, first.NotAfter)
	}
	id, err := certificate.MakeARICertID(first)
	must(t, err)
	_, second := c.obtain(t, certificate.ObtainRequest{Domains: []string{"a.example.com"}, ReplacesCertID: id, Profile: "dev"})
	if got := i.lineage(second); got != "replaces 1" {
		t.Errorf("the second: %q", got)
	}
	// RFC 9773, 5: once replaced, lego is told so in a way that it understands, and orders without it.
	_, third := c.obtain(t, certificate.ObtainRequest{Domains: []string{"a.example.com"}, ReplacesCertID: id})
	if got := i.lineage(third); got != "" {
		t.Errorf("the third: %q", got)
	}
	i.mustCommand("cert", "revoke", second.SerialNumber.Text(16), "--reason", "superseded")
	if info, err = c.Certificate.GetRenewalInfo(certificate.RenewalInfoRequest{Cert: second}); err != nil || info.ShouldRenewAt(now, 0) == nil {
		t.Errorf("RFC 9773, 4.2: after the revocation the window is %+v, %v", info, err)
	}
}

// proofByDNS is a gateway with a configuration file that is not started yet, and that proves names by DNS alone, so that it has
// nothing to contact on loopback, which no such gateway does; and its DNS server, which takes updates.
func proofByDNS(t *testing.T) (w *world, folder string, dns *testca.DNS) {
	t.Helper()
	w = newWorld(t)
	dns, err := testca.NewDNS(testca.DNSConfig{Updates: true})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	must(t, dns.Add(". 60 IN NS ns.example.com."))
	folder = w.initialized(dns)
	edit(t, filepath.Join(folder, initConfig), "    backdate: 1m", "    backdate: 1m\n    dcv_methods: [dns-01]\n    allow_wildcards: true")
	return w, folder, dns
}

// TestLegoPrefersAChain downloads the alternate of two chains (RFC 8555, 7.4.2).
func TestLegoPrefersAChain(t *testing.T) {
	t.Parallel()
	w, folder, dns := proofByDNS(t)
	cross := filepath.Join(folder, "cross.pem")
	other := crossSign(t, filepath.Join(folder, initIssuers, initIssuer, "issuer.pem"), cross)
	edit(t, filepath.Join(folder, initConfig), "    key:", fmt.Sprintf("    alternates: [%q]\n    key:", cross))
	i := w.serveConfig(folder)
	c := registeredLego(i, certcrypto.EC256).byDNS(t, dns.Addr())

	_, ours := c.obtain(t, certificate.ObtainRequest{Domains: []string{"*.example.com"}})
	got, err := c.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{"*.example.com"}, Bundle: true, PreferredChain: other.Subject.CommonName})
	must(t, err)
	chain := parseChain(t, got.Certificate)
	if len(chain) != 2 || chain[1].Issuer.String() != other.Subject.String() || ours.Issuer.String() != chain[0].Issuer.String() {
		t.Errorf("the chain is of %d certificates and ends below %s", len(chain), chain[len(chain)-1].Issuer)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(other)
	between.AddCert(chain[1])
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "www.example.com", Roots: roots, Intermediates: between}); err != nil {
		t.Error(err)
	}
}

// crossSign certifies the issuer of one file by another root, which it returns, and writes that certificate to the other file.
func crossSign(t *testing.T, issuer, to string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(issuer)
	must(t, err)
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	template := parseChain(t, text)[0]
	template.CRLDistributionPoints, template.IssuingCertificateURL, template.AuthorityKeyId = nil, nil, nil
	if end := h.Root.Certificate.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	der, err := x509.CreateCertificate(rand.Reader, template, h.Root.Certificate, template.PublicKey, h.Root.Key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	must(t, os.WriteFile(to, testca.CertificatePEM(cert), 0o644))
	return h.Root.Certificate
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// magic is certmagic against a gateway: what manages certificates in Caddy. Two with one storage are one site, started again.
type magic struct {
	*certmagic.Config
	i *instance
}

// newMagic has one issuer, the gateway. How it proves names is up to the caller.
func newMagic(t *testing.T, i *instance, storage certmagic.Storage, issuer certmagic.ACMEIssuer) *magic {
	t.Helper()
	m := &magic{i: i}
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.Config, nil }, Logger: zap.NewNop(),
	})
	t.Cleanup(cache.Stop)
	m.Config = certmagic.New(cache, certmagic.Config{Storage: storage, Logger: zap.NewNop()})
	issuer.CA, issuer.TrustedRoots, issuer.Email, issuer.Agreed = i.directory, i.roots(), "admin@example.com", true
	issuer.ListenHost, issuer.AltHTTPPort, issuer.AltTLSALPNPort = "127.0.0.1", int(i.http01), int(i.alpn01)
	issuer.Logger = zap.NewNop()
	m.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(m.Config, issuer)}
	return m
}

// manage has certmagic obtain or renew what it has not, and returns the verified certificates that it would show.
func (m *magic) manage(t *testing.T, names ...string) []*x509.Certificate {
	t.Helper()
	must(t, m.ManageSync(t.Context(), names))
	var out []*x509.Certificate
	for _, name := range names {
		out = append(out, m.shown(t, name))
	}
	return out
}

func (m *magic) shown(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	got, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	must(t, err)
	var chain []*x509.Certificate
	for _, der := range got.Certificate {
		c, err := x509.ParseCertificate(der)
		must(t, err)
		chain = append(chain, c)
	}
	m.i.verifyChain(chain, name)
	return chain[0]
}

// TestCertmagic manages certificates by each method, starts again with what it kept, and renews on demand.
func TestCertmagic(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	for name, row := range map[string]struct {
		issuer certmagic.ACMEIssuer
		names  []string
	}{
		"http-01":     {certmagic.ACMEIssuer{DisableTLSALPNChallenge: true}, []string{"one.example.com", "two.example.com"}},
		"tls-alpn-01": {certmagic.ACMEIssuer{DisableHTTPChallenge: true, Profile: "dev"}, []string{"three.example.com"}},
		"dns-01":      {certmagic.ACMEIssuer{DNS01Solver: dnsSolver{i.dns}}, []string{"*.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			storage := &certmagic.FileStorage{Path: t.TempDir()}
			before := len(i.certList())
			first := newMagic(t, i, storage, row.issuer).manage(t, row.names...)

			again := newMagic(t, i, storage, row.issuer)
			if second := again.manage(t, row.names...); !second[0].Equal(first[0]) {
				t.Error("after a restart there is another certificate")
			}
			if made := len(i.certList()) - before; made != len(row.names) {
				t.Errorf("%d certificates for %d names", made, len(row.names))
			}
			must(t, again.RenewCertSync(t.Context(), row.names[0], true))
			if made := len(i.certList()) - before; made != len(row.names)+1 {
				t.Errorf("%d certificates for %d names and a renewal", made, len(row.names))
			}
		})
	}
}

// TestCertmagicRenewsByARI lets certmagic find out by itself that a certificate was revoked, by its window of RFC 9773, and
// replace it.
func TestCertmagicRenewsByARI(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	const name = "one.example.com"
	m := newMagic(t, i, storage, certmagic.ACMEIssuer{DisableTLSALPNChallenge: true})
	first := m.manage(t, name)[0]
	info := keptRenewalInfo(t, m, name)
	if info.RetryAfter == nil || !info.SuggestedWindow.Start.After(time.Now()) || !info.SelectedTime.Before(first.NotAfter) {
		t.Fatalf("certmagic keeps %+v", info)
	}
	i.mustCommand("cert", "revoke", first.SerialNumber.Text(16), "--reason", "superseded")

	m = newMagic(t, i, storage, certmagic.ACMEIssuer{DisableTLSALPNChallenge: true})
	if again := m.manage(t, name)[0]; !again.Equal(first) {
		t.Error("certmagic asks sooner than Retry-After says")
	}
	askAgainNow(t, m, name)
	m = newMagic(t, i, storage, certmagic.ACMEIssuer{DisableTLSALPNChallenge: true})
	second := m.manage(t, name)[0]
	if second.Equal(first) {
		t.Fatal("certmagic keeps a certificate whose window has passed")
	}
	if got := i.lineage(second); got != "replaces 1" {
		t.Errorf("the renewal: %q", got)
	}
}

// kept is certmagic's file about a certificate.
func kept(m *magic, name string) string {
	return certmagic.StorageKeys.SiteMeta(m.Issuers[0].IssuerKey(), name)
}

func keptRenewalInfo(t *testing.T, m *magic, name string) acme.RenewalInfo {
	t.Helper()
	text, err := m.Storage.Load(t.Context(), kept(m, name))
	must(t, err)
	var about struct {
		IssuerData struct {
			RenewalInfo acme.RenewalInfo `json:"renewal_info"`
		} `json:"issuer_data"`
	}
	must(t, json.Unmarshal(text, &about))
	return about.IssuerData.RenewalInfo
}

// askAgainNow is what Retry-After does when its time has come: certmagic's note of it is in the past.
func askAgainNow(t *testing.T, m *magic, name string) {
	t.Helper()
	text, err := m.Storage.Load(t.Context(), kept(m, name))
	must(t, err)
	var about map[string]any
	must(t, json.Unmarshal(text, &about))
	info := about["issuer_data"].(map[string]any)["renewal_info"].(map[string]any)
	info["_retryAfter"] = time.Now().Add(-time.Minute).Format(time.RFC3339)
	text, err = json.Marshal(about)
	must(t, err)
	must(t, m.Storage.Store(t.Context(), kept(m, name), text))
}

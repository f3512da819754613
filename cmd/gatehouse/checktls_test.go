package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// leafFor is a certificate of a hierarchy's issuer, with its key.
func leafFor(t *testing.T, h *hierarchy, from, to time.Time, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template, err := authorityTemplate("leaf", key.Public(), from, 1)
	must(t, err)
	template.IsCA, template.KeyUsage, template.NotAfter, template.DNSNames = false, x509.KeyUsageDigitalSignature, to, names
	leaf, err := certify(template, h.issuer, key.Public(), h.issuerKey)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// TestCheckTLSFiles is what check says of a certificate that somebody else renews.
func TestCheckTLSFiles(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h, err := newHierarchy("Test", now)
	must(t, err)
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		from, to time.Duration
		names    string
		proxied  bool
		ok       bool
		says     string
	}{
		"good":              {-day, 30 * day, "ca.example.com other.example.com", false, true, "of files, valid to "},
		"a wildcard's":      {-day, 30 * day, "*.example.com", false, true, "of files, valid to "},
		"early":             {day, 30 * day, "ca.example.com", false, false, "is not valid before"},
		"expired":           {-2 * day, -day, "ca.example.com", false, false, "expired at"},
		"nearly expired":    {-2 * day, 6*day + time.Hour, "ca.example.com", false, false, "expires in 6 days"},
		"another's":         {-day, 30 * day, "www.example.com", false, false, "is not for ca.example.com, which public_urls names"},
		"a proxy's concern": {-day, 30 * day, "www.example.com", true, true, "of files, valid to "},
	} {
		cert := leafFor(t, h, now.Add(tt.from), now.Add(tt.to), strings.Fields(tt.names)...)
		s := &settings{
			publicURLs: []string{"http://plain.example.com", "https://ca.example.com"},
			tls:        &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }},
		}
		if tt.proxied {
			s.trustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}
		}
		if r := checkCertificate(s, false, now); r.OK != tt.ok || !strings.Contains(r.Detail, tt.says) {
			t.Errorf("%s: %+v, want %v and %q", name, r, tt.ok, tt.says)
		}
	}
}

// TestCheckOwnCertificate is what check says of one that the gateway issues itself.
func TestCheckOwnCertificate(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t, &ownJournal{})
	o, r := w.open("ca.example.com")
	s := &settings{folder: w.folder, own: o.ownCertificate, publicURLs: []string{"https://CA.example.com:8443"}}
	says := func(serving bool, at time.Duration, ok bool, text string) {
		t.Helper()
		if r := checkCertificate(s, serving, w.clock().Add(at)); r.OK != ok || !strings.Contains(r.Detail, text) {
			t.Errorf("%+v, want %v and %q", r, ok, text)
		}
	}
	const day = 24 * time.Hour
	says(false, 0, true, "the gateway's own from issuer main for ca.example.com: the first start issues it")
	says(true, 0, false, "the running gateway has none yet; its log says why")
	must(t, o.first(t.Context(), r))
	says(true, 0, true, "renewed from 2026-03-22 ")
	says(true, 31*day, false, "was not renewed; the gateway's log says why")
	says(false, 31*day, true, "the next start renews it")
	says(false, 5*365*day, false, "would outlive its issuer, which ends at")
	must(t, os.Chmod(o.file, 0o644))
	says(false, 0, true, "can be read by others; the next start issues another")
	says(true, 0, false, "can be read by others")
	s.publicURLs = append(s.publicURLs, "https://www.example.com")
	says(false, 0, false, "clients that reach the gateway as www.example.com will refuse it; add www.example.com to tls.names")
}

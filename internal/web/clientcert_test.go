package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"
)

// selfSigned is a certificate that nobody knows, with so many octets of something in it.
func selfSigned(t *testing.T, name string, filler int) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: make([]byte, filler)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestAskClients: who has no certificate is let in, and so is who has one of an issuer that nobody knows; a handler sees it, in a
// session that is resumed as well. More than anybody needs is refused.
func TestAskClients(t *testing.T) {
	t.Parallel()
	shown := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %t", name, r.TLS.DidResume)
	})
	plain := &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "gateway", 0)}}
	s := start(t, Config{Handler: shown, TLS: AskClients(plain)})
	if plain.ClientAuth != tls.NoClientCert {
		t.Error("the configuration itself was changed")
	}
	cache := tls.NewLRUClientSessionCache(4)
	long := selfSigned(t, "long", 0)
	for range maxClientCertificates {
		long.Certificate = append(long.Certificate, long.Certificate[0])
	}
	for _, tt := range []struct {
		name   string
		config *tls.Config
		want   string // empty: no answer
	}{
		{"no certificate", &tls.Config{}, "nobody false"},
		{"a stranger's", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "eve", 0)}, ClientSessionCache: cache}, "eve false"},
		{"the same, resumed", &tls.Config{ClientSessionCache: cache}, "eve true"},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "old", 0)}, MaxVersion: tls.VersionTLS12}, "old false"},
		{"a large one", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "large", maxClientChain-2000)}}, "large false"},
		{"one too large", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "large", maxClientChain)}}, ""},
		{"too many", &tls.Config{Certificates: []tls.Certificate{long}}, ""},
	} {
		tt.config.InsecureSkipVerify = true
		tt.config.ServerName = "gateway"
		transport := &http.Transport{TLSClientConfig: tt.config}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr().String())
		got := ""
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			got = string(body)
		}
		transport.CloseIdleConnections()
		if got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

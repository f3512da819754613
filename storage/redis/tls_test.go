package redis

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientCertificate is signed by the hierarchy's intermediate, for client authentication.
func clientCertificate(t *testing.T, h *testca.Hierarchy) tls.Certificate {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, DNSNames: []string{"gateway.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, h.Intermediate.Certificate, key.Public(), h.Intermediate.Key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, h.Intermediate.Certificate.Raw}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	redistest.Need(t)
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := h.Leaf("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := testca.KeyPEM(leaf.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	files := redistest.TLSFiles{
		Cert:     write(t, "cert.pem", testca.CertificatePEM(leaf.Leaf, h.Intermediate.Certificate)),
		Key:      write(t, "key.pem", key),
		ClientCA: write(t, "ca.pem", testca.CertificatePEM(h.Root.Certificate)),
	}
	trusted := &tls.Config{RootCAs: h.Pool(), Certificates: []tls.Certificate{clientCertificate(t, h)}}
	s := redistest.StartTLS(t, files, trusted)

	c := single(s)
	c.TLS = trusted
	e := open(t, c)
	workout(t, e)

	for what, config := range map[string]*tls.Config{
		"plain TCP":                   nil,
		"no client certificate":       {RootCAs: h.Pool()},
		"a server nobody vouches for": {RootCAs: x509.NewCertPool(), Certificates: trusted.Certificates},
		"another server's name":       {RootCAs: h.Pool(), Certificates: trusted.Certificates, ServerName: "redis.example.com"},
	} {
		c.TLS = config
		if _, err := Open(t.Context(), c); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if trusted.ServerName != "" {
		t.Error("the caller's TLS configuration was changed")
	}
}

package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

var hierarchy = sync.OnceValue(func() *testca.Hierarchy {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		panic(err)
	}
	return h
})

// keys has one of each kind; RSA ones are made once, because they are slow to make.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	out := map[string]crypto.Signer{}
	add := func(name string, key crypto.Signer, err error) {
		if err != nil {
			panic(err)
		}
		out[name] = key
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	add("rsa-2048", rsaKey, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	add("p-256", p256, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	add("p-384", p384, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	add("ed25519", edKey, err)
	return out
})

// leafTemplate is for a server of that name.
func leafTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), NotAfter: time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
}

// sign has parent certify a template; without a parent it certifies itself.
func sign(t testing.TB, tmpl *x509.Certificate, key crypto.Signer, parent *testca.Authority) *x509.Certificate {
	t.Helper()
	signer, by := tmpl, key
	if parent != nil {
		signer, by = parent.Certificate, parent.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issued is a chain of three with a leaf for the key.
func issued(t testing.TB, key crypto.Signer) *Chain {
	t.Helper()
	h := hierarchy()
	leaf := sign(t, leafTemplate("www.example.com"), key, &h.Intermediate)
	return chainOf(t, leaf.Raw, h.Intermediate.Certificate.Raw, h.Root.Certificate.Raw)
}

func chainOf(t testing.TB, leaf []byte, issuers ...[]byte) *Chain {
	t.Helper()
	c, err := NewChain(leaf, issuers)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(t testing.TB, c *Chain, f Format, o Options) []byte {
	t.Helper()
	out, err := c.Encode(f, o)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return out
}

// refused demands an error of a kind whose detail begins with the field.
func refused(t testing.TB, err error, kind problem.Kind, field string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: nothing was refused", field)
	}
	if p := problem.From(err); p.Kind != kind || !strings.HasPrefix(p.Detail, field) {
		t.Errorf("refused with %v, want %s that begins with %q", err, kind, field)
	}
}

// file writes a file for a program to read.
func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run gives what a program wrote to standard output, and its error.
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	testneed.Programs(t, name)
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s %s: %v: %s%s", name, args[0], err, out, errs.String())
	}
	return string(out), err
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goldenChain is of the certificates in testdata, which openssl made.
func goldenChain(t testing.TB) *Chain {
	t.Helper()
	return chainOf(t, golden(t, "leaf.der"), golden(t, "issuer.der"), golden(t, "root.der"))
}

package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestNewRefuses(t *testing.T) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	soft := func(h *testca.Hierarchy) Backend {
		b, err := NewSoftCAS(h.Chain(), h.Intermediate.Key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	certify := func(change func(c *x509.Certificate)) []*x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Throw-away"}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		change(c)
		der, err := x509.CreateCertificate(rand.Reader, c, h.Root.Certificate, h.Intermediate.Key.Public(), h.Root.Key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{cert, h.Root.Certificate}
	}
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		says   string
	}{
		{"no store", func(c *Config) { c.Store = nil }, "store"},
		{"no journal", func(c *Config) { c.Journal = nil }, "journal"},
		{"no issuer", func(c *Config) { c.Issuers = nil }, "issuer"},
		{"name", func(c *Config) { c.Issuers[0].Name = "Main CA" }, "a-z"},
		{"name too long", func(c *Config) { c.Issuers[0].Name = strings.Repeat("a", 41) }, "40"},
		{"no back end", func(c *Config) { c.Issuers[0].Backend = nil }, "back end"},
		{"no chain", func(c *Config) { c.Issuers[0].Chain = nil }, "chain"},
		{"another's key", func(c *Config) { c.Issuers[0].Backend = soft(stranger) }, "key"},
		{"chain does not link", func(c *Config) { c.Issuers[0].Chain[1] = stranger.Root.Certificate }, "signed by"},
		{"RFC 5280 4.2.1.9: not a CA", func(c *Config) { c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.IsCA = false }) }, "CA:TRUE"},
		{"RFC 5280 4.2.1.3: no certSign", func(c *Config) {
			c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
		}, "keyCertSign"},
		{"RFC 5280 4.2.1.3: no cRLSign", func(c *Config) {
			c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
		}, "cRLSign"},
		{"expired", func(c *Config) {
			c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, "expired"},
		{"not yet valid", func(c *Config) {
			c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		}, "not valid before"},
		{"RFC 5280 4.1.2.4: empty subject", func(c *Config) {
			c.Issuers[0].Chain = certify(func(c *x509.Certificate) { c.Subject = pkix.Name{} })
		}, "empty subject"},
		{"https CRL", func(c *Config) { c.Issuers[0].CRLURL = "https://pki.example.com/x.crl" }, "http URL"},
		{"relative issuer URL", func(c *Config) { c.Issuers[0].IssuerURL = "/issuer" }, "http URL"},
		{"timeout", func(c *Config) { c.Issuers[0].SignTimeout = time.Minute }, "timeout"},
		{"concurrency", func(c *Config) { c.Issuers[0].MaxConcurrent = -1 }, "concurrency"},
		{"one name twice", func(c *Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) }, "two issuers"},
		{"one issuer twice", func(c *Config) {
			c.Issuers = append(c.Issuers, c.Issuers[0])
			c.Issuers[1].Name = "again"
		}, "same certificate authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Store: newFakeStore(), Journal: &fakeJournal{}, Issuers: []Issuer{mainIssuer(h, soft(h))}}
			tt.change(&c)
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
}

// RFC 5280, 4.2.1.9: a root that allows no CA below it cannot stand above an issuer.
func TestNewRefusesPathLength(t *testing.T) {
	k := newKey(t, "p256")
	chain := selfMade(t, k)
	tight := *chain[1]
	tight.MaxPathLen, tight.MaxPathLenZero = 0, true
	if err := checkChain([]*x509.Certificate{chain[0], &tight}, time.Now()); err == nil || !strings.Contains(err.Error(), "pathLenConstraint") {
		t.Error(err)
	}
	if err := checkChain(chain, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestIssuersAndChain(t *testing.T) {
	w := newWorld(t, nil)
	if err := CheckIssuer(w.config.Issuers[0], time.Now()); err != nil {
		t.Error(err)
	}
	if err := CheckIssuer(w.config.Issuers[0], w.hierarchy.Intermediate.Certificate.NotAfter.Add(time.Second)); err == nil {
		t.Error("an expired issuer passes")
	}
	list := w.authority.Issuers()
	if len(list) != 1 || list[0].Name != "main" || list[0].SignTimeout != DefaultSignTimeout || list[0].MaxConcurrent != DefaultMaxConcurrent {
		t.Errorf("issuers %+v", list)
	}
	if is, ok := w.authority.Issuer("main"); !ok || is.CRLURL == "" {
		t.Errorf("issuer %+v, %t", is, ok)
	}
	if _, ok := w.authority.Issuer("other"); ok {
		t.Error("found an issuer that is not there")
	}
	// RFC 8555, 9.1: without the root.
	chain, err := w.authority.Chain("main")
	if err != nil || !bytes.Equal(chain, testca.CertificatePEM(w.hierarchy.Intermediate.Certificate)) {
		t.Errorf("chain %s, %v", chain, err)
	}
	if _, err := w.authority.Chain("other"); !problem.Is(err, problem.NotFound) {
		t.Error(err)
	}
	if got := encodeChain([]*x509.Certificate{w.hierarchy.Root.Certificate}); len(got) == 0 {
		t.Error("an issuer that is a root has no chain")
	}
}

func TestLoadKeyAndChain(t *testing.T) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := h.Write(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := LoadKey(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if !k.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(h.Intermediate.Key.Public()) {
		t.Error("another key")
	}
	chain, err := LoadChain(files.Chain)
	if err != nil || len(chain) != 1 || !chain[0].Equal(h.Intermediate.Certificate) {
		t.Errorf("chain %v, %v", chain, err)
	}
	ec, err := x509.MarshalECPrivateKey(mustECDSA(t, h.Intermediate.Key))
	if err != nil {
		t.Fatal(err)
	}
	sec1 := slices.Concat(block("EC PARAMETERS", []byte{6, 1, 0}), block("EC PRIVATE KEY", ec))
	if _, err := LoadKey(writeFile(t, sec1, 0o600)); err != nil {
		t.Errorf("RFC 5915 key: %v", err)
	}
	pkcs1 := block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(mustRSA(t, newKey(t, "rsa2048"))))
	if _, err := LoadKey(writeFile(t, pkcs1, 0o400)); err != nil {
		t.Errorf("RFC 8017 key: %v", err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	good, err := testca.KeyPEM(newKey(t, "p256"))
	if err != nil {
		t.Fatal(err)
	}
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}})
	for _, tt := range []struct {
		name string
		data []byte
		mode os.FileMode
		says string
	}{
		{"group may read", good, 0o640, "chmod 600"},
		{"world may read", good, 0o604, "chmod 600"},
		{"RFC 5958 3: encrypted", block("ENCRYPTED PRIVATE KEY", []byte{1}), 0o600, "encrypted"},
		{"RFC 1421: encrypted", legacy, 0o600, "encrypted"},
		{"two keys", slices.Concat(good, good), 0o600, "more than one"},
		{"no key", []byte("hello"), 0o600, "no private key"},
		{"damaged", block("PRIVATE KEY", []byte{1, 2}), 0o600, "cannot be read"},
		{"a certificate", block("CERTIFICATE", []byte{1}), 0o600, "not a private key"},
		{"too large", bytes.Repeat([]byte{'\n'}, maxPEMFile+1), 0o600, "larger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.data, tt.mode)
			if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to say %q and the path", err, tt.says)
			}
		})
	}
	if _, err := LoadKey(t.TempDir()); err == nil {
		t.Error("a folder is no key")
	}
	if _, err := LoadKey(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestLoadChainRefuses(t *testing.T) {
	for name, data := range map[string][]byte{
		"no certificate": []byte("hello"),
		"block does not": block("PRIVATE KEY", []byte{1}),
		"certificate 1":  block("CERTIFICATE", []byte{1}),
	} {
		if _, err := LoadChain(writeFile(t, data, 0o644)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writeFile(t *testing.T, data []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// RFC 5280, 4.1.2.2.
func TestSerials(t *testing.T) {
	shape := regexp.MustCompile(`^(0[1-9a-f]|[1-7][0-9a-f])[0-9a-f]{32}$`)
	seen := map[Serial]bool{}
	for range 2000 {
		s, n := newSerial()
		if !shape.MatchString(string(s)) || SerialOf(n) != s || n.Sign() <= 0 || seen[s] {
			t.Fatalf("serial %s, %s", s, n)
		}
		seen[s] = true
		if back, err := s.Int(); err != nil || back.Cmp(n) != 0 {
			t.Fatalf("%s: %v", s, err)
		}
	}
	for in, want := range map[string]Serial{
		"01AB": "01ab", "1ab": "01ab", "01:ab": "01ab", "0001ab": "01ab", "7f": "7f",
		"": "", "0": "", "xyz": "", "-1": "", strings.Repeat("11", 21): "",
	} {
		if got, err := ParseSerial(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, s := range []Serial{"", "1ab", "01AB", "0001ab", "zz"} {
		if _, err := s.Int(); err == nil {
			t.Errorf("%q passes for a serial", s)
		}
	}
}

func mustECDSA(t *testing.T, k crypto.Signer) *ecdsa.PrivateKey {
	t.Helper()
	e, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("a %T", k)
	}
	return e
}

func mustRSA(t *testing.T, k crypto.Signer) *rsa.PrivateKey {
	t.Helper()
	r, ok := k.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("a %T", k)
	}
	return r
}

package testca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHierarchy(t *testing.T) {
	for _, kind := range []KeyType{P256, RSA2048} {
		t.Run(string(kind), func(t *testing.T) {
			now := time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
			h, err := NewHierarchy(HierarchyConfig{Key: kind, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			root, mid := h.Root.Certificate, h.Intermediate.Certificate
			if root.Subject.CommonName != "Gatehouse Throw-away Root" || mid.Subject.CommonName != "Gatehouse Throw-away Intermediate" {
				t.Errorf("names %q, %q", root.Subject, mid.Subject)
			}
			for _, c := range []*x509.Certificate{root, mid} {
				// RFC 5280, 4.2.1.2, 4.2.1.3, 4.2.1.9
				if !c.IsCA || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.SubjectKeyId) == 0 {
					t.Errorf("%s: CA %v, usage %b, key id %x", c.Subject, c.IsCA, c.KeyUsage, c.SubjectKeyId)
				}
				// RFC 5280, 4.1.2.2
				if c.SerialNumber.Sign() <= 0 || len(c.SerialNumber.Bytes()) != 16 {
					t.Errorf("%s: serial %x", c.Subject, c.SerialNumber)
				}
			}
			if root.MaxPathLen != 1 || mid.MaxPathLen != 0 || !mid.MaxPathLenZero {
				t.Errorf("path lengths %d, %d", root.MaxPathLen, mid.MaxPathLen)
			}
			if !bytes.Equal(mid.AuthorityKeyId, root.SubjectKeyId) { // RFC 5280, 4.2.1.1
				t.Error("the intermediate does not name the root's key")
			}
			if !mid.NotAfter.Before(root.NotAfter) {
				t.Error("the intermediate outlives the root")
			}
			leaf, err := h.Leaf("www.example.com", "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			between := x509.NewCertPool()
			between.AddCert(mid)
			for _, name := range []string{"www.example.com", "192.0.2.1"} {
				if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: h.Pool(), Intermediates: between, CurrentTime: now}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := NewHierarchy(HierarchyConfig{Key: "dsa"}); err == nil {
		t.Error("an unknown key type was accepted")
	}
}

func TestHierarchyWrite(t *testing.T) {
	h, err := NewHierarchy(HierarchyConfig{Name: "Somebody's"})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "issuer")
	files, err := h.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(files.Chain, files.Key); err != nil {
		t.Errorf("chain and key do not belong together: %v", err)
	}
	info, err := os.Stat(files.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", info.Mode(), err)
	}
	raw, err := os.ReadFile(files.Root)
	if err != nil {
		t.Fatal(err)
	}
	if block, rest := pem.Decode(raw); block == nil || len(rest) != 0 || !bytes.Equal(block.Bytes, h.Root.Certificate.Raw) {
		t.Error("the root file does not hold the root")
	}
	if _, err := h.Write(dir); err == nil {
		t.Error("existing files were overwritten")
	}
}

func TestCSR(t *testing.T) {
	key, err := NewKey(P256)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() ([]byte, error){
		"":                func() ([]byte, error) { return CSR(key, "www.example.com", "*.example.com", "192.0.2.1") },
		"www.example.com": func() ([]byte, error) { return CSRWithCommonName(key, "www.example.com", "*.example.com", "192.0.2.1") },
	} {
		der, err := make()
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := csr.CheckSignature(); err != nil {
			t.Error(err)
		}
		if len(csr.DNSNames) != 2 || len(csr.IPAddresses) != 1 || csr.Subject.CommonName != name {
			t.Errorf("names %v, %v, subject %q", csr.DNSNames, csr.IPAddresses, csr.Subject)
		}
		if block, _ := pem.Decode(CSRPEM(der)); block == nil || block.Type != "CERTIFICATE REQUEST" {
			t.Error("no PEM")
		}
	}
}

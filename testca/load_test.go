package testca_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestWrittenHierarchyLoads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if _, err := testca.Load(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("loading what is not there: %v", err)
	}
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write(dir); err != nil {
		t.Fatal(err)
	}
	loaded, err := testca.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := loaded.Leaf("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	intermediates := x509.NewCertPool()
	intermediates.AddCert(loaded.Intermediate.Certificate)
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: "www.example.com", Roots: h.Pool(), Intermediates: intermediates}); err != nil {
		t.Errorf("a leaf of the loaded hierarchy does not verify against the written root: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "issuer.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := testca.Load(dir); err == nil {
		t.Error("a file that is no key was taken for one")
	}
}

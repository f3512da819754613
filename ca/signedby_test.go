package ca

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestSignedBy: the signature says whose a certificate is, not the name of its issuer.
func TestSignedBy(t *testing.T) {
	w := newWorld(t, nil)
	issued, err := x509.ParseCertificate(w.issue(t, "www.example.com").DER)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.authority.SignedBy(issued); got != "main" {
		t.Errorf("our own is signed by %q", got)
	}
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	forged := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, forged, &x509.Certificate{RawSubject: issued.RawIssuer}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if forged, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if got := w.authority.SignedBy(forged); got != "" {
		t.Errorf("one with our name and another's signature is signed by %q", got)
	}
}

package publish

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

func TestOpenSSLReadsAndVerifiesTheList(t *testing.T) {
	testneed.Programs(t, "openssl")
	store := newStore()
	p := newPublisher(t, store, nil)
	now := time.Now()
	store.revoke(Revoked{Serial: "01ab", At: now, Reason: 1, NotAfter: now.Add(time.Hour)})
	store.revoke(Revoked{Serial: serialOf(3), At: now, NotAfter: now.Add(time.Hour)})
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	crl, issuer := filepath.Join(dir, "leaf.crl"), filepath.Join(dir, "issuer.pem")
	if err := os.WriteFile(crl, get(t, p, "GET", "/crl/leaf/0.crl").Body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(issuer, testca.CertificatePEM(authority().Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "crl", "-inform", "DER", "-in", crl, "-CAfile", issuer, "-text", "-noout").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"verify OK", "Serial Number: 01AB", "Key Compromise", "Serial Number: " + strings.ToUpper(string(serialOf(3)))} {
		if !strings.Contains(string(out), want) {
			t.Errorf("openssl does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "Unspecified") {
		t.Error("RFC 5280, 5.3.1: the reason unspecified is stated")
	}
}

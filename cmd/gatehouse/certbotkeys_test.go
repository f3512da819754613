package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestCertbotKeys has certificates for each kind of key that certbot makes, several names in each, renewed with a new key and
// with the same.
func TestCertbotKeys(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t))
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email")
	for name, row := range map[string]struct {
		flags []string
		kind  string // in openssl's words
	}{
		"rsa":  {[]string{"--key-type", "rsa", "--rsa-key-size", "3072"}, "(3072 bit)"},
		"p256": {[]string{"--key-type", "ecdsa", "--elliptic-curve", "secp256r1"}, "ASN1 OID: prime256v1"},
		"p384": {[]string{"--key-type", "ecdsa", "--elliptic-curve", "secp384r1"}, "ASN1 OID: secp384r1"},
	} {
		names := []string{name + ".example.com", "www." + name + ".example.com", "xn--bcher-kva." + name + ".example.com"}
		args := append([]string{"certonly", "--cert-name", names[0], "-d", strings.Join(names, ",")}, row.flags...)
		c.run(append(args, c.standalone()...)...)
		c.verifies(names...)
		if text := c.text(names[0]); !strings.Contains(text, row.kind) {
			t.Errorf("%s: the certificate's key is no %s:\n%s", name, row.kind, text)
		}
		key, serial := c.publicKey(names[0]), c.serial(names[0])
		renew := append([]string{"renew", "--force-renewal", "--no-random-sleep-on-renew", "--cert-name", names[0]}, c.standalone()...)
		c.run(renew...)
		other := c.publicKey(names[0])
		if other == key || c.serial(names[0]) == serial || !strings.Contains(c.text(names[0]), row.kind) {
			t.Errorf("%s: the renewal has the old key, the old serial or another kind of key", name)
		}
		serial = c.serial(names[0])
		c.run(append(renew, "--reuse-key")...)
		if c.publicKey(names[0]) != other || c.serial(names[0]) == serial {
			t.Errorf("%s: the renewal with --reuse-key has another key or the old serial", name)
		}
		c.verifies(names...)
	}
	if list := c.certList(); len(list) != 9 {
		t.Errorf("the inventory has %d certificates, want 9", len(list))
	}
}

// TestCertbotDryRun is what people try first: certbot renew --dry-run, against the directory that it is told to take.
func TestCertbotDryRun(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t))
	out := c.run(append([]string{"certonly", "--dry-run", "-d", "dry.example.com", "--agree-tos", "-m", "admin@example.com", "--no-eff-email"}, c.standalone()...)...)
	if !strings.Contains(out, "The dry run was successful") {
		t.Error(out)
	}
	if kept, _ := filepath.Glob(c.live("*", "*.pem")); kept != nil {
		t.Errorf("a dry run leaves %v", kept)
	}
}

// text is a certificate as openssl prints it.
func (c *certbot) text(name string) string {
	c.t.Helper()
	return openssl(c.t, "x509", "-in", c.live(name, "cert.pem"), "-noout", "-text")
}

func (c *certbot) publicKey(name string) string {
	c.t.Helper()
	return openssl(c.t, "x509", "-in", c.live(name, "cert.pem"), "-noout", "-pubkey")
}

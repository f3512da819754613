package main

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// certbot is one installation of the program, with folders of its own.
type certbot struct {
	*instance
	folder string
}

func newCertbot(i *instance) *certbot {
	return &certbot{i, i.t.(*testing.T).TempDir()}
}

// try runs a certbot command as a person would, without the questions.
func (c *certbot) try(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), "certbot", append(args, "--non-interactive", "--server", c.directory,
		"--config-dir", c.folder, "--work-dir", c.folder, "--logs-dir", filepath.Join(c.folder, "logs"))...)
	cmd.Env = append(os.Environ(), "REQUESTS_CA_BUNDLE="+c.root)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *certbot) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		debug, _ := os.ReadFile(filepath.Join(c.folder, "logs", "letsencrypt.log"))
		c.t.Fatalf("certbot %s: %v\n%s\n%s", strings.Join(args, " "), err, out, debug)
	}
	return out
}

func (c *certbot) certonly(names ...string) {
	c.t.Helper()
	args := append([]string{"certonly"}, c.standalone()...)
	for _, n := range names {
		args = append(args, "-d", n)
	}
	c.run(args...)
}

// standalone makes certbot answer http-01 itself.
func (c *certbot) standalone() []string {
	return []string{"--standalone", "--http-01-port", strconv.Itoa(int(c.http01)), "--http-01-address", "127.0.0.1"}
}

// live is a file of a certificate as certbot lays them out.
func (c *certbot) live(name, file string) string { return filepath.Join(c.folder, "live", name, file) }

// serial is a certificate's serial as openssl prints it.
func (c *certbot) serial(name string) string {
	c.t.Helper()
	out := openssl(c.t, "x509", "-in", c.live(name, "cert.pem"), "-noout", "-serial")
	return strings.TrimPrefix(strings.TrimSpace(out), "serial=")
}

func openssl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestCertbot is one account's life with Debian's certbot, judged by openssl.
func TestCertbot(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t))
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email")

	c.certonly("one.example.com", "two.example.com")
	first := c.serial("one.example.com")
	c.verifies("one.example.com", "two.example.com")

	c.run(append([]string{"renew", "--force-renewal", "--no-random-sleep-on-renew"}, c.standalone()...)...)
	second := c.serial("one.example.com")
	if second == first {
		t.Fatal("renew left the old certificate in place")
	}
	c.verifies("one.example.com", "two.example.com")

	// With the account's key (RFC 8555, 7.6).
	c.run("revoke", "--cert-path", c.live("one.example.com", "cert.pem"), "--reason", "superseded", "--no-delete-after-revoke")
	c.isRevoked("one.example.com", "Superseded")
	// With the certificate's own key.
	c.certonly("three.example.com")
	c.run("revoke", "--cert-path", c.live("three.example.com", "cert.pem"), "--key-path", c.live("three.example.com", "privkey.pem"),
		"--reason", "keycompromise", "--no-delete-after-revoke")
	c.isRevoked("three.example.com", "Key Compromise")

	c.run("update_account", "-m", "other@example.com", "--no-eff-email")
	if out := c.run("show_account"); !strings.Contains(out, "other@example.com") {
		t.Errorf("after update_account, show_account says\n%s", out)
	}
	c.run("unregister")
	if out, err := c.try(append([]string{"certonly", "-d", "late.example.com"}, c.standalone()...)...); err == nil {
		t.Errorf("after unregister certbot still gets certificates\n%s", out)
	}
	c.inventory(map[string]string{first: "issued", second: "revoked", c.serial("three.example.com"): "revoked"})
}

// TestCertbotWithCSR serves a client of the old kind: certbot's own option for a CSR of the user's, here with an RSA
// key and the name in the subject as well.
func TestCertbotWithCSR(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t))
	csr := filepath.Join(c.folder, "own.csr")
	openssl(t, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", filepath.Join(c.folder, "own.key"), "-out", csr,
		"-subj", "/CN=own.example.com", "-addext", "subjectAltName=DNS:own.example.com")
	cert, chain := filepath.Join(c.folder, "own.pem"), filepath.Join(c.folder, "own-chain.pem")
	args := append([]string{"certonly", "--csr", csr, "--cert-path", cert, "--chain-path", chain,
		"--fullchain-path", filepath.Join(c.folder, "own-full.pem"), "--agree-tos", "--register-unsafely-without-email"}, c.standalone()...)
	c.run(args...)
	openssl(t, "verify", "-x509_strict", "-CAfile", c.root, "-untrusted", chain, "-verify_hostname", "own.example.com", cert)
}

// verifies asks openssl whether the chain leads to the root, strictly, for each name.
func (c *certbot) verifies(names ...string) {
	c.t.Helper()
	for _, name := range names {
		openssl(c.t, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", c.root, "-untrusted", c.live(names[0], "chain.pem"),
			"-verify_hostname", name, c.live(names[0], "cert.pem"))
	}
}

// isRevoked is [instance.isRevoked] of what certbot keeps under a name.
func (c *certbot) isRevoked(name, reason string) {
	c.t.Helper()
	c.instance.isRevoked(c.live(name, "cert.pem"), c.live(name, "chain.pem"), reason)
}

// isRevoked asks openssl to find the CRL in a certificate, to verify it, to show the serial on it, and to refuse the
// certificate because of it.
func (i *instance) isRevoked(cert, chain, reason string) {
	i.t.Helper()
	points := openssl(i.t, "x509", "-in", cert, "-noout", "-ext", "crlDistributionPoints")
	url := regexp.MustCompile(`URI:(\S+)`).FindStringSubmatch(points)
	if url == nil {
		i.t.Fatalf("the certificate names no CRL:\n%s", points)
	}
	serial := strings.TrimPrefix(strings.TrimSpace(openssl(i.t, "x509", "-in", cert, "-noout", "-serial")), "serial=")
	crl := filepath.Join(i.t.(*testing.T).TempDir(), "crl.pem")
	for {
		der, err := fetch(i.t.Context(), url[1])
		must(i.t, err)
		must(i.t, os.WriteFile(crl, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600))
		if out := openssl(i.t, "crl", "-in", crl, "-noout", "-verify", "-CAfile", chain); !strings.Contains(out, "verify OK") {
			i.t.Fatalf("openssl crl -verify says %s", out)
		}
		_, entry, listed := strings.Cut(openssl(i.t, "crl", "-in", crl, "-noout", "-text"), "Serial Number: "+serial)
		if listed {
			entry, _, _ = strings.Cut(entry, "Serial Number: ")
			if !strings.Contains(entry, reason) {
				i.t.Errorf("the CRL's entry does not say %q:\n%s", reason, entry)
			}
			break
		}
		if !pause(i.t.Context()) {
			i.t.Fatal("the CRL never listed the certificate")
		}
	}
	out, err := exec.Command("openssl", "verify", "-crl_check", "-CRLfile", crl, "-CAfile", i.root, "-untrusted", chain, cert).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "certificate revoked") {
		i.t.Errorf("openssl verify -crl_check: %v\n%s", err, out)
	}
}

// inventory compares the operator's list with the serials and states that are expected.
func (c *certbot) inventory(want map[string]string) {
	c.t.Helper()
	got := map[string]string{}
	for _, e := range c.certList() {
		got[strings.ToUpper(e.Serial)] = e.Status
	}
	if len(got) != len(want) {
		c.t.Errorf("the inventory is %v, want %v", got, want)
	}
	for serial, status := range want {
		if got[serial] != status {
			c.t.Errorf("the inventory has %s as %q, want %q", serial, got[serial], status)
		}
	}
}

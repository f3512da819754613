package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// selfMade is a hierarchy whose issuer has a given key.
func selfMade(t *testing.T, k crypto.Signer) []*x509.Certificate {
	t.Helper()
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	root := newKey(t, "p384")
	tmpl := func(name string, serial int64, pathLen int) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: start, NotAfter: start.Add(1000 * time.Hour),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
			MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
		}
	}
	sign := func(c, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, root)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	top := sign(tmpl("Throw-away Root", 1, 1), tmpl("Throw-away Root", 1, 1), root.Public())
	return []*x509.Certificate{sign(tmpl("Throw-away Issuer", 2, 0), top, k.Public()), top}
}

// keyOnly makes a world whose issuer has a given key.
func keyOnly(t *testing.T, k crypto.Signer) *world {
	chain := selfMade(t, k)
	return newWorld(t, func(w *world) {
		b, err := NewSoftCAS(chain, k)
		if err != nil {
			t.Fatal(err)
		}
		w.config.Issuers[0].Chain, w.config.Issuers[0].Backend = chain, b
	})
}

func TestIssuerAndLeafKeys(t *testing.T) {
	leaves := map[string]crypto.Signer{}
	for _, kind := range []string{"rsa2048", "p256", "p384", "p521", "ed25519"} {
		leaves[kind] = newKey(t, kind)
	}
	for _, tt := range []struct {
		kind      string
		algorithm x509.SignatureAlgorithm
	}{
		{"rsa2048", x509.SHA256WithRSA}, {"p256", x509.ECDSAWithSHA256}, {"p384", x509.ECDSAWithSHA384},
		{"p521", x509.ECDSAWithSHA512}, {"ed25519", x509.PureEd25519},
	} {
		w := keyOnly(t, newKey(t, tt.kind))
		is := w.authority.issuers["main"]
		for kind, leaf := range leaves {
			t.Run(tt.kind+"/"+kind, func(t *testing.T) {
				c, err := w.authority.Issue(t.Context(), w.requestFor(t, leaf, "db.internal", "api.internal.example.com", "2001:db8::1"))
				if err != nil {
					t.Fatal(err)
				}
				cert, err := x509.ParseCertificate(c.DER)
				if err != nil {
					t.Fatal(err)
				}
				if err := cert.CheckSignatureFrom(is.cert); err != nil || cert.SignatureAlgorithm != tt.algorithm {
					t.Errorf("signature %s, %v", cert.SignatureAlgorithm, err)
				}
				checkContents(t, w, cert, leaf.Public())
			})
		}
	}
}

// checkContents reads a certificate as a relying party would.
func checkContents(t *testing.T, w *world, cert *x509.Certificate, pub crypto.PublicKey) {
	t.Helper()
	is := w.authority.issuers["main"]
	if k, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(pub) {
		t.Error("not for the key that was asked for")
	}
	if cert.KeyUsage != w.profile.KeyUsage(pub) || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("usages %v, %v", cert.KeyUsage, cert.ExtKeyUsage)
	}
	if !cert.BasicConstraintsValid || cert.IsCA || len(cert.SubjectKeyId) != 20 || string(cert.AuthorityKeyId) != string(is.cert.SubjectKeyId) {
		t.Error("basic constraints or key identifiers are wrong")
	}
	if !slices.Equal(cert.CRLDistributionPoints, []string{is.CRLURL}) || !slices.Equal(cert.IssuingCertificateURL, []string{is.IssuerURL}) {
		t.Errorf("locations %v, %v", cert.CRLDistributionPoints, cert.IssuingCertificateURL)
	}
	if len(cert.DNSNames) != 2 || len(cert.IPAddresses) != 1 || cert.IPAddresses[0].String() != "2001:db8::1" {
		t.Errorf("names %v, %v", cert.DNSNames, cert.IPAddresses)
	}
	if len(cert.UnhandledCriticalExtensions) != 0 {
		t.Errorf("unhandled %v", cert.UnhandledCriticalExtensions)
	}
}

// RFC 4055, 3.1: a key that is bound to RSASSA-PSS signs everything with it.
type pssSigner struct{ crypto.Signer }

func (pssSigner) SignatureAlgorithm() x509.SignatureAlgorithm { return x509.SHA256WithRSAPSS }

func TestSignerBoundToPSS(t *testing.T) {
	w := keyOnly(t, pssSigner{newKey(t, "rsa2048")})
	cert, err := x509.ParseCertificate(w.issue(t).DER)
	if err != nil || cert.SignatureAlgorithm != x509.SHA256WithRSAPSS {
		t.Errorf("signed with %v, %v", cert.SignatureAlgorithm, err)
	}
}

// Subjects: RFC 5280, 4.1.2.6 and 4.2.1.6.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *policy.Config)
		want   string
	}{
		{"empty subject, critical SAN", func(c *policy.Config) { c.CommonName = policy.CommonNameNone }, ""},
		{"first name", nil, "CN=www.example.com"},
		{"attributes", func(c *policy.Config) {
			c.Subject = policy.Subject{Country: "DE", Organization: "Example", OrganizationalUnit: "Web", Locality: "Bonn", Province: "NRW"}
		}, "CN=www.example.com,OU=Web,O=Example,L=Bonn,ST=NRW,C=DE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.profile = newProfile(t, tt.change) })
			cert, err := x509.ParseCertificate(w.issue(t).DER)
			if err != nil || cert.Subject.String() != tt.want {
				t.Errorf("subject %q, %v", cert.Subject, err)
			}
		})
	}
}

// A public profile passes the Forum's lints with the hierarchy and URLs at hand.
func TestPublicProfile(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.profile = newProfile(t, func(c *policy.Config) {
			c.Mode, c.Now, c.KeyTypes, c.Validity = policy.Public, time.Now(), nil, 47*24*time.Hour
		})
	})
	w.authority.caa = &fakeCAA{}
	for _, kind := range []string{"p256", "p384", "rsa2048"} {
		c, err := w.authority.Issue(t.Context(), w.requestFor(t, newKey(t, kind), "www.example.com", "example.com"))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		cert, err := x509.ParseCertificate(c.DER)
		if err != nil || len(cert.Policies) != 1 || cert.Policies[0].String() != "2.23.140.1.2.1" {
			t.Errorf("policies %v, %v", cert.Policies, err)
		}
	}
}

func TestOpenSSLReadsWhatIsSigned(t *testing.T) {
	testneed.Programs(t, "openssl")
	w := newWorld(t, nil)
	c := w.issue(t, "www.example.com", "192.0.2.1")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	leaf := write("leaf.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER}))
	chain, err := w.authority.Chain("main")
	if err != nil {
		t.Fatal(err)
	}
	mid := write("chain.pem", chain)
	root := write("root.pem", testca.CertificatePEM(w.hierarchy.Root.Certificate))
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := run("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, "-untrusted", mid, leaf); !strings.Contains(out, "OK") {
		t.Errorf("verify: %s", out)
	}
	text := run("x509", "-in", leaf, "-noout", "-text")
	for _, want := range []string{"DNS:www.example.com, IP Address:192.0.2.1", "CA:FALSE", "URI:http://pki.example.com/crl/main/0.crl"} {
		if !strings.Contains(text, want) {
			t.Errorf("openssl does not see %q in\n%s", want, text)
		}
	}
	crl, err := w.authority.SignCRL(t.Context(), crlRequest(CRLEntry{Serial: c.Serial, At: time.Now(), Reason: KeyCompromise}))
	if err != nil {
		t.Fatal(err)
	}
	list := write("crl.pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}))
	if text := run("crl", "-in", list, "-noout", "-text", "-CAfile", mid); !strings.Contains(strings.ToLower(text), string(c.Serial)) ||
		!strings.Contains(text, "Key Compromise") || !strings.Contains(text, "verify OK") {
		t.Errorf("openssl reads the list as\n%s", text)
	}
}

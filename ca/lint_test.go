package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// lintWorld is a world with a decision and its template, to be spoiled.
func lintWorld(t testing.TB, names ...string) (*world, *issuer, *policy.Decision, *x509.Certificate) {
	t.Helper()
	w := newWorld(t, nil)
	d, err := w.profile.Decide(w.request(t, names...).Policy)
	if err != nil {
		t.Fatal(err)
	}
	is := w.authority.issuers["main"]
	_, number := newSerial()
	tmpl, err := is.template(d, number)
	if err != nil {
		t.Fatal(err)
	}
	return w, is, d, tmpl
}

// spoiledBytes are the to-be-signed bytes of a template within a placeholder.
func spoiledBytes(t testing.TB, is *issuer, tmpl *x509.Certificate, pub any) []byte {
	t.Helper()
	tbs, err := is.capture(tmpl, pub)
	if err != nil {
		t.Fatal(err)
	}
	der, err := placeholder(tbs)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOwnLints(t *testing.T) {
	extension := func(oid asn1.ObjectIdentifier, critical bool, value ...byte) []pkix.Extension {
		return []pkix.Extension{{Id: oid, Critical: critical, Value: value}}
	}
	for _, tt := range []struct {
		name   string
		change func(c *x509.Certificate, d *policy.Decision)
		lint   string
	}{
		{"clean", func(*x509.Certificate, *policy.Decision) {}, ""},
		{"RFC 5280 4.1.2.2: another serial", func(c *x509.Certificate, _ *policy.Decision) {
			c.SerialNumber = new(big.Int).Add(c.SerialNumber, big.NewInt(1))
		}, "gatehouse_serial"},
		{"RFC 5280 4.1.2.5: a second longer", func(c *x509.Certificate, _ *policy.Decision) { c.NotAfter = c.NotAfter.Add(time.Second) }, "gatehouse_validity"},
		{"decision longer than the profile", func(c *x509.Certificate, d *policy.Decision) {
			c.NotAfter = c.NotAfter.Add(time.Second)
			d.NotAfter = c.NotAfter
		}, "gatehouse_validity"},
		{"ends before it begins", func(c *x509.Certificate, d *policy.Decision) {
			c.NotAfter = c.NotBefore.Add(-time.Second)
			d.NotAfter = c.NotAfter
		}, "gatehouse_validity"},
		{"RFC 5280 4.1.2.6: an attribute more", func(c *x509.Certificate, _ *policy.Decision) { c.Subject.Organization = []string{"Example"} }, "gatehouse_subject"},
		{"common name outside the SAN", func(c *x509.Certificate, d *policy.Decision) {
			c.Subject.CommonName, d.CommonName = "other.example.com", "other.example.com"
		}, "gatehouse_subject"},
		{"RFC 5280 4.2.1.2: another key id", func(c *x509.Certificate, _ *policy.Decision) { c.SubjectKeyId = []byte{1} }, "gatehouse_public_key"},
		{"RFC 5280 4.2: unknown extension", func(c *x509.Certificate, _ *policy.Decision) {
			c.ExtraExtensions = extension(asn1.ObjectIdentifier{1, 2, 3}, false, 5, 0)
		}, "gatehouse_extensions"},
		{"RFC 5280 4.2.1.6: SAN critical beside a subject", func(c *x509.Certificate, _ *policy.Decision) {
			c.ExtraExtensions = extension(oidSubjectAltName, true, 0x30, 3, 0x82, 1, 'a')
		}, "gatehouse_extensions"},
		{"RFC 5280 4.2.1.6: no name", func(c *x509.Certificate, _ *policy.Decision) { c.DNSNames, c.IPAddresses = nil, nil }, "gatehouse_subject_alternative_name"},
		{"a name more", func(c *x509.Certificate, _ *policy.Decision) { c.DNSNames = append(c.DNSNames, "b.example.com") }, "gatehouse_subject_alternative_name"},
		{"a name less", func(c *x509.Certificate, _ *policy.Decision) { c.IPAddresses = nil }, "gatehouse_subject_alternative_name"},
		{"a name twice", func(c *x509.Certificate, _ *policy.Decision) { c.DNSNames = append(c.DNSNames, c.DNSNames[0]) }, "gatehouse_subject_alternative_name"},
		{"a name in upper case", func(c *x509.Certificate, _ *policy.Decision) { c.DNSNames = []string{"WWW.example.com"} }, "gatehouse_subject_alternative_name"},
		{"an address as a DNS name", func(c *x509.Certificate, _ *policy.Decision) {
			c.DNSNames, c.IPAddresses = append(c.DNSNames, "192.0.2.1"), nil
		}, "gatehouse_subject_alternative_name"},
		{"an e-mail address", func(c *x509.Certificate, _ *policy.Decision) { c.EmailAddresses = []string{"a@example.com"} }, "gatehouse_subject_alternative_name"},
		{"an otherName, which x509 passes over", func(c *x509.Certificate, _ *policy.Decision) {
			c.ExtraExtensions = extension(oidSubjectAltName, false, 0x30, 0x02, 0xa0, 0x00)
		}, "gatehouse_subject_alternative_name"},
		{"no name decided", func(_ *x509.Certificate, d *policy.Decision) {
			d.CommonName, d.Names = "", nil
		}, "gatehouse_subject"},
		{"RFC 5280 4.2.1.3: a usage more", func(c *x509.Certificate, _ *policy.Decision) { c.KeyUsage |= x509.KeyUsageCertSign }, "gatehouse_usages"},
		{"RFC 5280 4.2.1.12: a usage more", func(c *x509.Certificate, _ *policy.Decision) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning)
		}, "gatehouse_usages"},
		{"RFC 5280 4.2.1.9: CA:TRUE", func(c *x509.Certificate, _ *policy.Decision) { c.IsCA = true }, "gatehouse_basic_constraints"},
		{"RFC 5280 4.2.1.9: absent", func(c *x509.Certificate, _ *policy.Decision) { c.BasicConstraintsValid = false }, "gatehouse_basic_constraints"},
		{"RFC 5280 4.2.1.4: a policy", func(c *x509.Certificate, _ *policy.Decision) { c.Policies = []x509.OID{domainValidated} }, "gatehouse_policies"},
		{"RFC 5280 4.2.1.13: another list", func(c *x509.Certificate, _ *policy.Decision) {
			c.CRLDistributionPoints = []string{"http://other.example.com/"}
		}, "gatehouse_locations"},
		{"RFC 5280 4.2.2.1: a responder", func(c *x509.Certificate, _ *policy.Decision) { c.OCSPServer = []string{"http://ocsp.example.com/"} }, "gatehouse_locations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, is, d, tmpl := lintWorld(t, "www.example.com", "192.0.2.1")
			number := tmpl.SerialNumber
			tt.change(tmpl, d)
			cert, err := x509.ParseCertificate(spoiledBytes(t, is, tmpl, d.PublicKey))
			if err != nil {
				t.Fatal(err)
			}
			err = (&candidate{cert, d, is, number}).lint()
			got := ""
			if l, ok := errors.AsType[*lintError](err); ok {
				got = l.Name
			}
			if got != tt.lint {
				t.Errorf("got %v, want %q", err, tt.lint)
			}
		})
	}
}

// A certificate that another authority would have signed, and an extension that is there twice.
func TestOwnLintsOnForeignBytes(t *testing.T) {
	w, is, d, tmpl := lintWorld(t)
	number := tmpl.SerialNumber
	der, err := x509.CreateCertificate(rand.Reader, tmpl, w.hierarchy.Root.Certificate, d.PublicKey, w.hierarchy.Root.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got := checkIssuer(&candidate{cert, d, is, number}); got == "" {
		t.Error("another issuer's certificate passes")
	}
	cert, err = x509.ParseCertificate(spoiledBytes(t, is, tmpl, d.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	cert.Extensions = append(cert.Extensions, cert.Extensions[0])
	if got := checkExtensions(&candidate{cert, d, is, number}); got == "" {
		t.Error("an extension twice passes")
	}
}

// Wildcards and long lists of names are within what the own lints accept (RFC 8555, 7.1.3).
func TestLintsAcceptWildcard(t *testing.T) {
	w, is, d, _ := lintWorld(t)
	d.Names = identifier.SortUnique([]identifier.Identifier{mustDNS(t, "*.example.com"), mustDNS(t, "example.com")})
	d.CommonName = "*.example.com"
	_, number := newSerial()
	tmpl, err := is.template(d, number)
	if err != nil {
		t.Fatal(err)
	}
	der := spoiledBytes(t, is, tmpl, d.PublicKey)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&candidate{cert, d, is, number}).lint(); err != nil {
		t.Error(err)
	}
	if err := w.authority.linters[lintRFC].run(der); err != nil {
		t.Error(err)
	}
}

// Running lints directly gives the verdict of zlint's own way, lint by lint, on clean and on spoiled certificates.
func TestLinterAgreesWithZlint(t *testing.T) {
	for name, change := range map[string]func(c *x509.Certificate){
		"clean":       func(*x509.Certificate) {},
		"CA:TRUE":     func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"long CN":     func(c *x509.Certificate) { c.Subject.CommonName = string(make([]byte, 80)) },
		"no names":    func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "" },
		"bad name":    func(c *x509.Certificate) { c.DNSNames = []string{"a_b..example.com"} },
		"no key id":   func(c *x509.Certificate) { c.SubjectKeyId = nil },
		"not for TLS": func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} },
		"long life":   func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(4, 0, 0) },
		"first year":  func(c *x509.Certificate) { c.NotBefore = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			w, is, d, tmpl := lintWorld(t)
			change(tmpl)
			der := spoiledBytes(t, is, tmpl, d.PublicKey)
			cert, err := zx509.ParseCertificate(der)
			if err != nil {
				t.Skipf("zcrypto refuses it: %v", err) // and so does linter.run
			}
			for level, l := range w.authority.linters {
				for _, one := range l.lints {
					refused := one.Execute(cert, lint.NewEmptyConfig()).Status >= lint.Error
					if got := (&linter{lints: []*lint.CertificateLint{one}, config: l.config}).check(cert); (got != nil) != refused {
						t.Errorf("%s/%s: got %v, zlint refuses: %t", level, one.Name, got, refused)
					}
				}
			}
		})
	}
}

// A lint that panics refuses, as in zlint.
func TestLintPanicRefuses(t *testing.T) {
	_, is, d, tmpl := lintWorld(t)
	l := &linter{lints: []*lint.CertificateLint{{
		LintMetadata: lint.LintMetadata{Name: "e_bomb", Source: lint.RFC5280},
		Lint:         func() lint.CertificateLintInterface { panic("bomb") },
	}}}
	if e, ok := errors.AsType[*lintError](l.run(spoiledBytes(t, is, tmpl, d.PublicKey))); !ok || e.Name != "e_bomb" {
		t.Errorf("got %v", e)
	}
}

func BenchmarkLints(b *testing.B) {
	w, is, d, tmpl := lintWorld(b)
	der := spoiledBytes(b, is, tmpl, d.PublicKey)
	zcert, err := zx509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("rfc", func(b *testing.B) {
		for b.Loop() {
			if err := w.authority.linters[lintRFC].check(zcert); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cabf", func(b *testing.B) {
		for b.Loop() {
			_ = w.authority.linters[lintCABF].check(zcert)
		}
	})
	b.Run("own", func(b *testing.B) {
		c := &candidate{cert, d, is, tmpl.SerialNumber}
		for b.Loop() {
			if err := c.lint(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse-for-zlint", func(b *testing.B) {
		for b.Loop() {
			_, _ = zx509.ParseCertificate(der)
		}
	})
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			_, _ = x509.ParseCertificate(der)
		}
	})
}

func BenchmarkCapture(b *testing.B) {
	_, is, d, tmpl := lintWorld(b)
	for b.Loop() {
		if _, err := is.capture(tmpl, d.PublicKey); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	w := newWorld(b, nil)
	req := w.request(b, "www.example.com", "example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.authority.Issue(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// certifier is a throw-away root.
type certifier struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newCertifier(t *testing.T, name string) *certifier {
	t.Helper()
	r := &certifier{key: newKey(t, "p384")}
	r.cert = r.certify(t, nil, caTemplate(name, -1), r.key.Public())
	return r
}

// caTemplate is a CA that allows so many CAs below it, any number if it is negative.
func caTemplate(name string, pathLen int) *x509.Certificate {
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: start, NotAfter: start.Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
		MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
	}
}

// certify signs a certificate; without a parent it is self-signed.
func (r *certifier) certify(t *testing.T, parent, template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, r.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// selfMadeAs is a hierarchy whose issuer has a given name and key.
func selfMadeAs(t *testing.T, name string, k crypto.Signer) []*x509.Certificate {
	t.Helper()
	r := newCertifier(t, "Throw-away Root of "+name)
	return []*x509.Certificate{r.certify(t, r.cert, caTemplate(name, 0), k.Public()), r.cert}
}

// crossSigned is a chain for the authority of an issuer's certificate from another root.
func crossSigned(t *testing.T, issuer *x509.Certificate, change ...func(c *x509.Certificate)) []*x509.Certificate {
	t.Helper()
	r := newCertifier(t, "Throw-away Cross Root")
	template := caTemplate(issuer.Subject.CommonName, 0)
	template.RawSubject, template.SubjectKeyId = issuer.RawSubject, issuer.SubjectKeyId
	for _, f := range change {
		f(template)
	}
	return []*x509.Certificate{r.certify(t, r.cert, template, issuer.PublicKey), r.cert}
}

// RFC 8555, 7.4.2: what is issued verifies with every chain, and lists too.
func TestAlternateChains(t *testing.T) {
	k := newKey(t, "p256")
	old, grand := newCertifier(t, "Throw-away Old Root"), newCertifier(t, "Throw-away Grand Root")
	issuer := old.certify(t, old.cert, caTemplate("Throw-away Issuer", 0), k.Public())
	// The same root key, certified by a greater root: another upper chain for the same issuer certificate.
	above := grand.certify(t, grand.cert, caTemplate("Throw-away Old Root", 1), old.key.Public())
	cross := crossSigned(t, issuer)
	b, err := NewSoftCAS([]*x509.Certificate{issuer, old.cert}, k)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(w *world) {
		is := &w.config.Issuers[0]
		is.Chain, is.Backend = []*x509.Certificate{issuer, old.cert}, b
		is.Alternates = [][]*x509.Certificate{cross, {issuer, above, grand.cert}}
	})
	chains := w.authority.Chains("main")
	for n, want := range [][]byte{
		testca.CertificatePEM(issuer), testca.CertificatePEM(cross[0]), testca.CertificatePEM(issuer, above),
	} {
		if n >= len(chains) || !bytes.Equal(chains[n], want) {
			t.Fatalf("chain %d of %d", n, len(chains))
		}
	}
	if c, err := w.authority.Chain("main"); err != nil || !bytes.Equal(c, chains[0]) {
		t.Errorf("the default is %s, %v", c, err)
	}
	chains[1][0] = 0 // the caller's own
	if w.authority.Chains("main")[1][0] == 0 || w.authority.Chains("other") != nil {
		t.Error("chains are shared, or there for an issuer that is not")
	}
	cert, err := x509.ParseCertificate(w.issue(t).DER)
	if err != nil {
		t.Fatal(err)
	}
	for root, between := range map[*x509.Certificate][]*x509.Certificate{
		old.cert: {issuer}, cross[1]: {cross[0]}, grand.cert: {issuer, above},
	} {
		roots, others := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(root)
		for _, c := range between {
			others.AddCert(c)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: "www.example.com"}); err != nil {
			t.Errorf("%s: %v", root.Subject, err)
		}
	}
}

func TestNewRefusesAlternates(t *testing.T) {
	k := newKey(t, "p256")
	chain := selfMadeAs(t, "Throw-away Issuer", k)
	b, err := NewSoftCAS(chain, k)
	if err != nil {
		t.Fatal(err)
	}
	cross := crossSigned(t, chain[0])
	twin := newCertifier(t, "Throw-away Twin")
	for _, tt := range []struct {
		name string
		list [][]*x509.Certificate
		says string
	}{
		{"empty", [][]*x509.Certificate{cross, {}}, "alternate chain 2: its chain is empty"},
		{"does not link", [][]*x509.Certificate{{cross[0], chain[1]}}, "signed by"},
		{"another key", [][]*x509.Certificate{selfMadeAs(t, "Throw-away Issuer", newKey(t, "p256"))}, "another key"},
		{"another name", [][]*x509.Certificate{crossSigned(t, chain[0], func(c *x509.Certificate) {
			c.RawSubject, c.Subject = nil, pkix.Name{CommonName: "Another Issuer"}
		})}, "Another Issuer"},
		{"RFC 5280 4.2.1.1: another key identifier", [][]*x509.Certificate{crossSigned(t, chain[0], func(c *x509.Certificate) {
			c.SubjectKeyId = []byte{1, 2, 3}
		})}, "010203"},
		{"RFC 5280 4.2.1.3: no cRLSign", [][]*x509.Certificate{crossSigned(t, chain[0], func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageCertSign
		})}, "cRLSign"},
		{"expired", [][]*x509.Certificate{crossSigned(t, chain[0], func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		})}, "expired"},
		{"the main chain again", [][]*x509.Certificate{chain}, "the same but for the root"},
		{"twice", [][]*x509.Certificate{cross, cross[:1]}, "alternate chain 2"},
		{"begins with the root", [][]*x509.Certificate{{twin.cert}}, "another key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckIssuer(Issuer{Name: "main", Chain: chain, Backend: b, Alternates: tt.list}, time.Now())
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "alternate chain") {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
	if err := CheckIssuer(Issuer{Name: "main", Chain: chain, Backend: b, Alternates: [][]*x509.Certificate{cross}}, time.Now()); err != nil {
		t.Error(err)
	}
}

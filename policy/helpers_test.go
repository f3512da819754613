package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var testNow = time.Date(2026, 9, 1, 12, 0, 0, 123456789, time.UTC)

// basic is a profile in which everything is at its default.
func basic() Config { return Config{Name: "web", Issuer: "local"} }

func public() Config { return Config{Name: "web", Issuer: "local", Mode: Public, Now: testNow} }

func mustNew(t testing.TB, cfg Config) *Profile {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func dnsName(t testing.TB, s string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func names(t testing.TB, values ...string) []identifier.Identifier {
	t.Helper()
	var ids []identifier.Identifier
	for _, v := range values {
		id, err := identifier.ParseIP(v)
		if err != nil {
			id = dnsName(t, v)
		}
		ids = append(ids, id)
	}
	return ids
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rawCSR builds a CSR field by field, so that it can be wrong where a library's could not. Zero fields give a good one.
type rawCSR struct {
	spki      []byte // default: that of signer
	subject   []byte // whole Name; default empty
	attrs     []byte // contents of the attributes
	noAttrs   bool   // leave the field out
	version   int
	algorithm asn1.ObjectIdentifier // default ecdsa-with-SHA256
	breakSig  bool
	infoTail  []byte // behind the attributes
	csrTail   []byte // behind the signature
	tail      []byte // behind the CSR
}

func (r rawCSR) build(t testing.TB, signer crypto.Signer) []byte {
	t.Helper()
	if r.spki == nil {
		var err error
		if r.spki, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
			t.Fatal(err)
		}
	}
	if r.subject == nil {
		r.subject = []byte{0x30, 0}
	}
	if r.algorithm == nil {
		r.algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	}
	info := der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(r.version))
		b.AddBytes(r.subject)
		b.AddBytes(r.spki)
		if !r.noAttrs {
			b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(r.attrs) })
		}
		b.AddBytes(r.infoTail)
	})
	digest := sha256.Sum256(info)
	sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if r.breakSig {
		digest[0] ^= 1
		if sig, err = signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	out := der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(info)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(r.algorithm) })
		b.AddASN1BitString(sig)
		b.AddBytes(r.csrTail)
	})
	return append(out, r.tail...)
}

func der(t testing.TB, tag cbasn1.Tag, f func(*cryptobyte.Builder)) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { f(b) })
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// attr is an Attribute with the given values; ext an Extension; san a SubjectAltName extension of tagged names.
func attr(t testing.TB, oid asn1.ObjectIdentifier, values ...[]byte) []byte {
	return der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			for _, v := range values {
				b.AddBytes(v)
			}
		})
	})
}

func extensions(t testing.TB, exts ...[]byte) []byte {
	return der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range exts {
			b.AddBytes(e)
		}
	})
}

func extensionRequest(t testing.TB, exts ...[]byte) []byte {
	return attr(t, oidExtensionRequest, extensions(t, exts...))
}

func ext(t testing.TB, oid asn1.ObjectIdentifier, value []byte) []byte {
	return der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1OctetString(value)
	})
}

func general(t testing.TB, tag uint8, value string) []byte {
	return der(t, cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
}

const tagDNS, tagIP = 0x82, 0x87

func san(t testing.TB, members ...[]byte) []byte {
	return ext(t, oidSubjectAltName, der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, m := range members {
			b.AddBytes(m)
		}
	}))
}

// rdns is a Name with one attribute an RDN: pairs of OID and UTF8String.
func rdns(t testing.TB, pairs ...any) []byte {
	return der(t, cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for i := 0; i < len(pairs); i += 2 {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(pairs[i].(asn1.ObjectIdentifier))
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(pairs[i+1].(string))) })
				})
			})
		}
	})
}

// csrFor is a good CSR for some names, parsed.
func csrFor(t testing.TB, values ...string) *CSR {
	t.Helper()
	csr, err := ParseCSR(x509CSR(t, ecKey(t), values...))
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// x509CSR is what the standard library makes.
func x509CSR(t testing.TB, signer crypto.Signer, values ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	for _, id := range names(t, values...) {
		if id.Type() == identifier.IP {
			template.IPAddresses = append(template.IPAddresses, id.Addr().AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, id.Value())
		}
	}
	out, err := x509.CreateCertificateRequest(rand.Reader, template, signer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// proofs gives account 7 of organisation 1 a fresh http-01 proof for each name.
func proofs(t testing.TB, values ...string) []Proven {
	t.Helper()
	var all []Proven
	for _, id := range names(t, values...) {
		all = append(all, Proven{
			Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id.Base(), Secure: true, At: testNow.Add(-time.Hour).Truncate(time.Second)},
			Org:   1, Account: "7",
		})
	}
	return all
}

func goodRequest(t testing.TB, values ...string) Request {
	return Request{
		Requester: Requester{Org: 1, Door: "acme", Principal: "acme:7"},
		Names:     names(t, values...), CSR: csrFor(t, values...), Proofs: proofs(t, values...), Now: testNow,
	}
}

// wantProblem checks kind and text of a refusal.
func wantProblem(t testing.TB, err error, kind problem.Kind, says string) *problem.Error {
	t.Helper()
	pe, ok := errors.AsType[*problem.Error](err)
	if !ok || pe.Kind != kind || !strings.Contains(pe.Detail, says) {
		t.Fatalf("got %v; want %v that says %q", err, kind, says)
	}
	return pe
}

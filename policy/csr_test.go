package policy

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 such keys must be refused
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var (
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidChallenge    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
)

func TestParseCSRAccepts(t *testing.T) {
	key := ecKey(t)
	www := general(t, tagDNS, "www.example.com")
	utf8 := func(s string) []byte { return append([]byte{0x0c, byte(len(s))}, s...) }
	for _, c := range []struct {
		name string
		csr  rawCSR
		want string // names, sorted
		cn   string
	}{
		{"SAN", rawCSR{attrs: extensionRequest(t, san(t, www))}, "www.example.com", ""},
		{"RFC 8555 7.4 CN alone", rawCSR{subject: rdns(t, oidCommonName, "www.example.com")}, "www.example.com", "www.example.com"},
		{"RFC 8555 7.4 CN and SAN", rawCSR{subject: rdns(t, oidCommonName, "WWW.example.com"), attrs: extensionRequest(t, san(t, www))}, "www.example.com", "www.example.com"},
		{"CN beside SAN", rawCSR{subject: rdns(t, oidCommonName, "a.example"), attrs: extensionRequest(t, san(t, www))}, "a.example www.example.com", "a.example"},
		{"empty CN", rawCSR{subject: rdns(t, oidCommonName, ""), attrs: extensionRequest(t, san(t, www))}, "www.example.com", ""},
		{"CN is an address", rawCSR{subject: rdns(t, oidCommonName, "10.0.0.1")}, "10.0.0.1", "10.0.0.1"},
		{"repetition and case", rawCSR{attrs: extensionRequest(t, san(t, www, general(t, tagDNS, "WWW.EXAMPLE.com"), www))}, "www.example.com", ""},
		{"addresses", rawCSR{attrs: extensionRequest(t, san(t, general(t, tagIP, "\x0a\x00\x00\x01"), general(t, tagIP, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01")))}, "10.0.0.1 2001:db8::1", ""},
		{"wildcard", rawCSR{attrs: extensionRequest(t, san(t, general(t, tagDNS, "*.example.com")))}, "*.example.com", ""},
		{"other attributes", rawCSR{attrs: slices.Concat(attr(t, oidChallenge, utf8("secret")), extensionRequest(t, san(t, www)))}, "www.example.com", ""},
		{"other extensions", rawCSR{attrs: extensionRequest(t, ext(t, oidKeyUsage, []byte{3, 2, 1, 6}), san(t, www))}, "www.example.com", ""},
		{"basicConstraints without CA", rawCSR{attrs: extensionRequest(t, ext(t, oidBasicConstraints, []byte{0x30, 0}), san(t, www))}, "www.example.com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := c.csr.build(t, key)
			csr, err := ParseCSR(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := values(csr.Names); got != c.want || csr.CommonName != c.cn {
				t.Errorf("names %q, CN %q", got, csr.CommonName)
			}
			spki, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
			if !bytes.Equal(csr.Raw, in) || csr.SPKIHash != sha256.Sum256(spki) || !key.PublicKey.Equal(csr.PublicKey) {
				t.Error("bytes, key or hash are not those of the CSR")
			}
			in[5] ^= 0xff
			if bytes.Equal(csr.Raw, in) {
				t.Error("Raw shares memory with the caller")
			}
		})
	}
}

func values(ids []identifier.Identifier) string {
	var all []string
	for _, id := range ids {
		all = append(all, id.Value())
	}
	return strings.Join(all, " ")
}

func TestParseCSRRefuses(t *testing.T) {
	key := ecKey(t)
	www := general(t, tagDNS, "www.example.com")
	good := extensionRequest(t, san(t, www))
	sans := func(members ...[]byte) rawCSR { return rawCSR{attrs: extensionRequest(t, san(t, members...))} }
	var many [][]byte
	for i := range 101 {
		many = append(many, general(t, tagDNS, fmt.Sprintf("h%d.example.com", i)))
	}
	for _, c := range []struct {
		name string
		csr  rawCSR
		says string
	}{
		{"no names", rawCSR{}, "no names"},
		{"bytes behind", rawCSR{attrs: good, tail: []byte{0}}, "behind the end"},
		{"second CSR behind", rawCSR{attrs: good, tail: []byte{0x30, 0}}, "behind the end"},
		{"bytes inside", rawCSR{attrs: good, csrTail: []byte{5, 0}}, "PKCS #10"},
		{"bytes behind the attributes", rawCSR{attrs: good, infoTail: []byte{5, 0}}, "PKCS #10"},
		{"RFC 2986 4.1 version", rawCSR{attrs: good, version: 1}, "PKCS #10"},
		{"RFC 2986 4.1 no attributes", rawCSR{subject: rdns(t, oidCommonName, "a.example"), noAttrs: true}, "PKCS #10"},
		{"attribute twice", rawCSR{attrs: slices.Concat(good, good)}, "twice"},
		{"RFC 2985 5.4.2 two values", rawCSR{attrs: attr(t, oidExtensionRequest, extensions(t, san(t, www)), extensions(t, san(t, www)))}, "more than one value"},
		{"extensionRequest without value", rawCSR{attrs: attr(t, oidExtensionRequest)}, "PKCS #10"},
		{"RFC 5280 4.2 extension twice", rawCSR{attrs: extensionRequest(t, san(t, www), san(t, www))}, "twice"},
		{"unknown extension twice", rawCSR{attrs: extensionRequest(t, ext(t, oidKeyUsage, nil), ext(t, oidKeyUsage, nil), san(t, www))}, "twice"},
		{"RFC 5280 4.2.1.6 empty SAN", sans(), "is empty"},
		{"SAN with bytes behind", rawCSR{attrs: extensionRequest(t, ext(t, oidSubjectAltName, []byte{0x30, 0, 0}))}, "cannot be parsed"},
		{"otherName", sans(www, general(t, 0xa0, "\x06\x01\x2a\xa0\x02\x05\x00")), "otherName"},
		{"rfc822Name", sans(www, general(t, 0x81, "a@example.com")), "rfc822Name"},
		{"directoryName", sans(www, general(t, 0xa4, "\x30\x00")), "directoryName"},
		{"uniformResourceIdentifier", sans(www, general(t, 0x86, "https://example.com")), "uniformResourceIdentifier"},
		{"registeredID", sans(www, general(t, 0x88, "\x2a")), "registeredID"},
		{"constructed dNSName", sans(general(t, 0xa2, "\x16\x01a")), "primitive"},
		{"universal tag", sans(general(t, 0x0c, "www.example.com")), "tag 0xc"},
		{"empty dNSName", sans(general(t, tagDNS, "")), "empty"},
		{"NUL in dNSName", sans(general(t, tagDNS, "www.example.com\x00.evil.test")), "other than letters"},
		{"address as dNSName", sans(general(t, tagDNS, "10.0.0.1")), "IP address"},
		{"underscore", sans(general(t, tagDNS, "a_b.example.com")), "underscore"},
		{"iPAddress of 5 octets", sans(general(t, tagIP, "\x0a\x00\x00\x01\x00")), "5 octets"},
		{"iPAddress with mask", sans(general(t, tagIP, "\x0a\x00\x00\x00\xff\x00\x00\x00")), "8 octets"},
		{"mapped iPAddress", sans(general(t, tagIP, strings.Repeat("\x00", 10)+"\xff\xff\x0a\x00\x00\x01")), "send 4 octets"},
		{"101 names", sans(many...), "more than 100"},
		{"100 names and a CN", rawCSR{subject: rdns(t, oidCommonName, "cn.example.com"), attrs: extensionRequest(t, san(t, many[:100]...))}, "more than 100"},
		{"CA:TRUE", rawCSR{attrs: extensionRequest(t, ext(t, oidBasicConstraints, []byte{0x30, 3, 1, 1, 0xff}), san(t, www))}, "CA certificate"},
		{"broken basicConstraints", rawCSR{attrs: extensionRequest(t, ext(t, oidBasicConstraints, []byte{0x30, 3, 1, 1, 1}), san(t, www))}, "basicConstraints"},
		{"two CNs", rawCSR{subject: rdns(t, oidCommonName, "www.example.com", oidCommonName, "www.example.com"), attrs: good}, "2 CNs"},
		{"two CNs, one empty", rawCSR{subject: rdns(t, oidCommonName, "", oidCommonName, "evil.test"), attrs: good}, "2 CNs"},
		{"CN is no name", rawCSR{subject: rdns(t, oidCommonName, "My Server"), attrs: good}, "no name"},
		{"CN with NUL", rawCSR{subject: rdns(t, oidCommonName, "a.example\x00"), attrs: good}, "no name"},
		{"subject with bytes behind", rawCSR{subject: []byte{0x30, 2, 5, 0}, attrs: good}, "cannot be parsed"},
		{"RFC 2986 4.2 signature", rawCSR{attrs: good, breakSig: true}, "does not verify"},
		{"SHA-1", rawCSR{attrs: good, algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}}, "algorithm"},
		{"unknown signature algorithm", rawCSR{attrs: good, algorithm: asn1.ObjectIdentifier{1, 2, 3}}, "algorithm"},
		{"signature algorithm of another key", rawCSR{attrs: good, algorithm: asn1.ObjectIdentifier{1, 3, 101, 112}}, "does not verify"},
	} {
		t.Run(c.name, func(t *testing.T) {
			csr, err := ParseCSR(c.csr.build(t, key))
			wantProblem(t, err, problem.BadCSR, c.says)
			if csr != nil {
				t.Error("a refusal came with a CSR")
			}
		})
	}
}

func TestParseCSRRefusesBytes(t *testing.T) {
	good := x509CSR(t, ecKey(t), "www.example.com")
	wantProblem(t, second(ParseCSR(nil)), problem.BadCSR, "empty")
	wantProblem(t, second(ParseCSR(make([]byte, MaxCSR+1))), problem.BadCSR, "65537 bytes")
	wantProblem(t, second(ParseCSR([]byte("-----BEGIN CERTIFICATE REQUEST-----"))), problem.BadCSR, "PKCS #10")
	for cut := range len(good) {
		if _, err := ParseCSR(good[:cut]); !problem.Is(err, problem.BadCSR) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	// X.690, 8.1.3.6: the indefinite length is BER.
	ber := slices.Concat([]byte{0x30, 0x80}, good[len(good)-bodyLen(good):], []byte{0, 0})
	wantProblem(t, second(ParseCSR(ber)), problem.BadCSR, "PKCS #10")
}

func second[T any](_ T, err error) error { return err }

// bodyLen is the length of the contents of a DER sequence shorter than 64 KiB.
func bodyLen(der []byte) int {
	switch der[1] {
	case 0x81:
		return int(der[2])
	case 0x82:
		return int(der[2])<<8 | int(der[3])
	}
	return int(der[1])
}

// The size of a key is refused before a signature is verified with it: the signature here is of another key, and the
// refusal still speaks about the size.
func TestParseCSRChecksTheKeyFirst(t *testing.T) {
	key := ecKey(t)
	good := extensionRequest(t, san(t, general(t, tagDNS, "www.example.com")))
	rsaSPKI := func(bits uint, e int) []byte {
		n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(3), bits-2), big.NewInt(1))
		spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: e})
		if err != nil {
			t.Fatal(err)
		}
		return spki
	}
	dsaSPKI := func() []byte {
		spki, err := asn1.Marshal(struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}{
			pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, Parameters: asn1.RawValue{FullBytes: mustMarshal(t, dsa.Parameters{P: big.NewInt(23), Q: big.NewInt(11), G: big.NewInt(2)})}},
			asn1.BitString{Bytes: mustMarshal(t, big.NewInt(4)), BitLength: 24},
		})
		if err != nil {
			t.Fatal(err)
		}
		return spki
	}
	sha256RSA := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	for _, c := range []struct {
		name string
		spki []byte
		says string
	}{
		{"RSA 512", rsaSPKI(512, 65537), "512 bits"},
		{"RSA 1024", rsaSPKI(1024, 65537), "1024 bits"},
		{"RSA 4104", rsaSPKI(4104, 65537), "4104 bits"},
		{"RSA 65536", rsaSPKI(65536, 65537), "65536 bits"},
		{"RSA exponent", rsaSPKI(2048, 1<<31-1), "65537"},
		{"DSA", dsaSPKI(), "not certified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := rawCSR{spki: c.spki, attrs: good, algorithm: sha256RSA}.build(t, key)
			wantProblem(t, second(ParseCSR(in)), problem.BadCSR, c.says)
		})
	}
	// An unknown algorithm leaves crypto/x509 without a key.
	unknown := mustMarshal(t, struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}}, asn1.BitString{Bytes: []byte{1}, BitLength: 8}})
	wantProblem(t, second(ParseCSR(rawCSR{spki: unknown, attrs: good}.build(t, key))), problem.BadCSR, "not certified")
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseCSRReadsTheSubject(t *testing.T) {
	in := rawCSR{subject: rdns(t, oidCommonName, "a.example", oidOrganization, "Example", oidOrganization, "Other",
		asn1.ObjectIdentifier{2, 5, 4, 6}, "NO", asn1.ObjectIdentifier{2, 5, 4, 12}, "Dr")}.build(t, ecKey(t))
	csr, err := ParseCSR(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Subject{Country: "NO", Organization: "Example"}); csr.Subject != want {
		t.Errorf("subject %+v", csr.Subject)
	}
	if !slices.Equal(csr.unusable, []SubjectField{Organization}) {
		t.Errorf("unusable %v", csr.unusable)
	}
}

// Whatever names a CSR of the standard library asks for come back as a sorted set.
func TestParseCSRKeepsEveryName(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := rapid.OneOf(rapid.StringMatching(`[a-z]{1,5}(-[a-z0-9]{1,3})?\.example\.(com|org)`), rapid.StringMatching(`10\.[1-9]\.[1-9]\.[1-9]`))
	rapid.Check(t, func(rt *rapid.T) {
		in := rapid.SliceOfN(name, 1, 20).Draw(rt, "names")
		csr, err := ParseCSR(x509CSR(t, key, in...))
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(csr.Names, identifier.SortUnique(names(t, in...))) {
			rt.Fatalf("%v became %v", in, csr.Names)
		}
	})
}

// FuzzParseCSR holds what is accepted to what the rest of the house relies on.
func FuzzParseCSR(f *testing.F) {
	key := ecKey(f)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	www := general(f, tagDNS, "www.example.com")
	f.Add(x509CSR(f, key, "www.example.com", "*.example.org", "10.0.0.1", "2001:db8::1"))
	f.Add(x509CSR(f, ed, "localhost"))
	f.Add(rawCSR{subject: rdns(f, oidCommonName, "a.example"), noAttrs: true}.build(f, key))
	f.Add(rawCSR{subject: rdns(f, oidCommonName, "a.example", oidOrganization, "Example"), attrs: extensionRequest(f, san(f, www))}.build(f, key))
	f.Add(rawCSR{attrs: extensionRequest(f, ext(f, oidBasicConstraints, []byte{0x30, 3, 1, 1, 0xff}), san(f, www))}.build(f, key))
	f.Add(rawCSR{attrs: extensionRequest(f, san(f, www, general(f, 0xa0, "\x06\x01\x2a")))}.build(f, key))
	f.Fuzz(func(t *testing.T, in []byte) {
		csr, err := ParseCSR(in)
		if err != nil {
			if csr != nil || !problem.Is(err, problem.BadCSR) {
				t.Fatalf("refused with %v and %v", csr, err)
			}
			return
		}
		if !bytes.Equal(csr.Raw, in) || len(in) > MaxCSR {
			t.Fatal("Raw is not the input")
		}
		if len(csr.Names) == 0 || len(csr.Names) > MaxNames || !slices.Equal(csr.Names, identifier.SortUnique(csr.Names)) {
			t.Fatalf("names %v", csr.Names)
		}
		if csr.CommonName != "" && !slices.ContainsFunc(csr.Names, func(id identifier.Identifier) bool { return id.Value() == csr.CommonName }) {
			t.Fatalf("the CN %q is none of %v", csr.CommonName, csr.Names)
		}
		if _, err := keyTypeOf(csr.PublicKey); err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificateRequest(in)
		if err != nil || parsed.CheckSignature() != nil {
			t.Fatalf("the signature does not verify: %v", err)
		}
		// What crypto/x509 sees is a part of what is seen here, and never more.
		for _, name := range parsed.DNSNames {
			if id, err := identifier.ParseDNS(name); err != nil || !slices.Contains(csr.Names, id) {
				t.Fatalf("%q is lost", name)
			}
		}
		if len(parsed.EmailAddresses)+len(parsed.URIs) > 0 {
			t.Fatal("a name of another kind passed")
		}
	})
}

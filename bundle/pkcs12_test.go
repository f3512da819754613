package bundle

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

const secret = "pässwörd € 中"

// certificatesIn are the certificates of a text, as PEM and nothing else.
func certificatesIn(text string) (certs [][]byte) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == labelCertificate {
			certs = append(certs, block.Bytes)
		}
	}
	return certs
}

func rawOf(c *Chain) (out [][]byte) {
	for _, cert := range c.certs {
		out = append(out, cert.Raw)
	}
	return out
}

func sameCertificates(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// keyIn is the unencrypted private key of a text.
func keyIn(t testing.TB, text string) crypto.PrivateKey {
	t.Helper()
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == labelKey {
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
	}
	t.Fatalf("there is no key in\n%s", text)
	return nil
}

func sameKey(a, b crypto.PrivateKey) bool {
	x, ok := a.(interface{ Equal(crypto.PrivateKey) bool })
	return ok && x.Equal(b)
}

// TestPKCS12IsReadByAnotherImplementation in Go.
func TestPKCS12IsReadByAnotherImplementation(t *testing.T) {
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			c := issued(t, key)
			der := encode(t, c, PKCS12, Options{Content: FullChain, Key: key, Password: []byte(secret)})
			gotKey, leaf, issuers, err := pkcs12.DecodeChain(der, secret)
			if err != nil {
				t.Fatal(err)
			}
			got := [][]byte{leaf.Raw}
			for _, cert := range issuers {
				got = append(got, cert.Raw)
			}
			if !sameKey(key, gotKey) || !sameCertificates(got, rawOf(c)) {
				t.Error("other things are read than were written")
			}
			if name != "p-256" {
				return // the password works alike for every key, and each try costs a derivation
			}
			for _, wrong := range []string{"", "password", secret + " ", secret[:len(secret)-3]} {
				if _, _, _, err := pkcs12.DecodeChain(der, wrong); !errors.Is(err, pkcs12.ErrIncorrectPassword) {
					t.Errorf("password %q: %v", wrong, err)
				}
			}
		})
	}
}

// TestOpensslReadsPKCS12 with the algorithms that are meant and the name that was given.
func TestOpensslReadsPKCS12(t *testing.T) {
	testneed.Programs(t, "openssl")
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			c := issued(t, key)
			path := file(t, "bundle.p12", encode(t, c, PKCS12, Options{Content: FullChain, Key: key, Password: []byte(secret), Name: "Zürich www"}))
			pass := "file:" + file(t, "password", []byte(secret))
			out, err := run(t, "openssl", "pkcs12", "-in", path, "-passin", pass, "-nodes")
			if err != nil {
				t.Fatal(err)
			}
			if !sameKey(key, keyIn(t, out)) || !sameCertificates(certificatesIn(out), rawOf(c)) {
				t.Errorf("openssl reads\n%s", out)
			}
			// openssl shows the letter between in one encoding or another; TestFriendlyName looks at the octets.
			if n := strings.Count(out, "rich www\n"); n != 2 {
				t.Errorf("%d entries have the name, not key and leaf:\n%s", n, out)
			}
			if n := strings.Count(out, "localKeyID: "); n != 2 {
				t.Errorf("%d entries have a key identifier, not key and leaf", n)
			}
			if _, err := run(t, "openssl", "pkcs12", "-in", path, "-passin", "pass:another one", "-nodes"); err == nil {
				t.Error("openssl opens it with another password")
			}
		})
	}
}

// TestFriendlyName finds the name as a BMPString, which is big-endian UCS-2 (X.690, 8.23.9), in the part that is not encrypted.
func TestFriendlyName(t *testing.T) {
	key := keys()["p-256"]
	c := issued(t, key)
	for name, want := range map[string]string{
		"Zürich中": "\x1e\x0e\x00Z\x00\xfc\x00r\x00i\x00c\x00h\x4e\x2d",
		"":        "\x1e\x1e\x00w\x00w\x00w\x00.\x00e\x00x\x00a\x00m\x00p\x00l\x00e\x00.\x00c\x00o\x00m",
	} {
		der := encode(t, c, PKCS12, Options{Content: Leaf, Key: key, Password: []byte("correct horse"), Name: name})
		if !bytes.Contains(der, []byte(want)) {
			t.Errorf("the name %q is not in\n%x", name, der)
		}
	}
}

// TestAttributesAreSorted as DER has a SET OF, where the shorter comes first: with a short name that, otherwise the identifier.
func TestAttributesAreSorted(t *testing.T) {
	for _, name := range []string{"a", strings.Repeat("a", MaxName)} {
		der, err := entry{certs: goldenChain(t).certs, name: name}.attributes()
		if err != nil {
			t.Fatal(err)
		}
		var members []asn1.RawValue
		if rest, err := asn1.UnmarshalWithParams(der, &members, "set"); err != nil || len(rest) != 0 || len(members) != 2 {
			t.Fatalf("%d attributes: %v", len(members), err)
		}
		if bytes.Compare(members[0].FullBytes, members[1].FullBytes) >= 0 {
			t.Errorf("the name %.5s… is not sorted in: %x", name, der)
		}
	}
}

func TestPKCS12Algorithms(t *testing.T) {
	key := keys()["p-256"]
	path := file(t, "bundle.p12", encode(t, issued(t, key), PKCS12, Options{Content: Leaf, Key: key, Password: []byte("correct horse")}))
	testneed.Programs(t, "openssl")
	out, err := exec.CommandContext(t.Context(), "openssl", "pkcs12", "-info", "-in", path, "-passin", "pass:correct horse", "-noout").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"MAC: sha256, Iteration 100000", "MAC length: 32, salt length: 16",
		"Encrypted data: PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256",
		"Keybag: PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

func TestEmptyPassword(t *testing.T) {
	key := keys()["p-256"]
	c := issued(t, key)
	der := encode(t, c, PKCS12, Options{Content: Leaf, Key: key, EmptyPassword: true})
	got, leaf, issuers, err := pkcs12.DecodeChain(der, "")
	if err != nil || !sameKey(key, got) || !bytes.Equal(leaf.Raw, c.certs[0].Raw) || len(issuers) != 0 {
		t.Errorf("other things are read than were written: %v", err)
	}
	if _, _, _, err := pkcs12.DecodeChain(der, "x"); err == nil {
		t.Error("any password opens it")
	}
	path := file(t, "bundle.p12", der)
	if out, err := run(t, "openssl", "pkcs12", "-in", path, "-passin", "pass:", "-nodes"); err != nil || !sameKey(key, keyIn(t, out)) {
		t.Errorf("openssl: %v", err)
	}
}

func TestOpensslReadsEncryptedKeys(t *testing.T) {
	testneed.Programs(t, "openssl")
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			c := issued(t, key)
			pass := "file:" + file(t, "password", []byte(secret))
			path := file(t, "key.pem", encode(t, c, PEMEncryptedKey, Options{Content: FullChain, Key: key, Password: []byte(secret)}))
			out, err := run(t, "openssl", "pkcs8", "-in", path, "-passin", pass)
			if err != nil || !sameKey(key, keyIn(t, out)) {
				t.Errorf("openssl: %v", err)
			}
			if _, err := run(t, "openssl", "pkcs8", "-in", path, "-passin", "pass:another one"); err == nil {
				t.Error("openssl opens it with another password")
			}
		})
	}
}

// TestNoKeyInClear looks for the key's octets in what is encrypted.
func TestNoKeyInClear(t *testing.T) {
	key := keys()["rsa-2048"]
	c := issued(t, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	canary := der[len(der)-64:]
	for _, f := range Formats() {
		if !f.NeedsKey() {
			continue
		}
		o := Options{Key: key}
		if f.traits().certs != none {
			o.Content = Leaf
		}
		if f.NeedsPassword() {
			o.Password = []byte("correct horse")
		}
		out := encode(t, c, f, o)
		for block, rest := pem.Decode(out); block != nil; block, rest = pem.Decode(rest) {
			out = append(out, block.Bytes...)
		}
		if got := bytes.Contains(out, canary); got == f.NeedsPassword() {
			t.Errorf("%s holds the key in clear: %v", f, got)
		}
		if bytes.Contains(out, []byte("correct horse")) {
			t.Errorf("%s holds the password", f)
		}
	}
}

func BenchmarkPKCS12(b *testing.B) {
	key := keys()["p-256"]
	c := issued(b, key)
	for b.Loop() {
		encode(b, c, PKCS12, Options{Content: FullChain, Key: key, Password: []byte("correct horse")})
	}
}

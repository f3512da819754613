package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// same reports whether two private keys are one.
func same(a, b crypto.PrivateKey) bool {
	k, ok := a.(interface{ Equal(crypto.PrivateKey) bool })
	return ok && k.Equal(b)
}

// forms are a key in every form that is read without a password.
func forms(t *testing.T, key crypto.Signer) map[string][]byte {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"PKCS #8": pkcs8, "PKCS #8 in PEM": block(labelKey, pkcs8, CRLF)}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		out["PKCS #1"] = x509.MarshalPKCS1PrivateKey(key)
		out["PKCS #1 in PEM"] = append([]byte("a key\n"), block(labelRSAKey, out["PKCS #1"], LF)...)
	case *ecdsa.PrivateKey:
		if out["SEC 1"], err = x509.MarshalECPrivateKey(key); err != nil {
			t.Fatal(err)
		}
		out["SEC 1 in PEM"] = append(block(labelECParameters, []byte{6, 1, 0}, LF), block(labelECKey, out["SEC 1"], LF)...)
	}
	return out
}

func TestParseKey(t *testing.T) {
	for name, key := range keys() {
		for form, data := range forms(t, key) {
			got, err := ParseKey(data, nil)
			if err != nil || !same(got, key) {
				t.Errorf("%s, %s: %v", name, form, err)
			}
			_, err = ParseKey(data, []byte("a password"))
			refused(t, err, problem.Malformed, "password")
		}
		e := entry{key: forms(t, key)["PKCS #8"], password: []byte("correct horse")}
		text, err := e.encryptedKeyPEM(LF)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := pem.Decode(text)
		for _, data := range [][]byte{text, b.Bytes} {
			if got, err := ParseKey(data, []byte("correct horse")); err != nil || !same(got, key) {
				t.Errorf("%s, encrypted: %v", name, err)
			}
			for _, wrong := range []string{"", "correct hors", strings.Repeat("x", 1025)} {
				_, err := ParseKey(data, []byte(wrong))
				refused(t, err, problem.Malformed, "p") // private key or password
			}
		}
	}
}

// TestParseKeyOfOpenSSL: what people have on their disks.
func TestParseKeyOfOpenSSL(t *testing.T) {
	testneed.Programs(t, "openssl")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(args ...string) {
		t.Helper()
		if _, err := run(t, "openssl", args...); err != nil {
			t.Fatal(err)
		}
	}
	must("ecparam", "-name", "prime256v1", "-genkey", "-out", at("sec1.pem"))
	must("pkcs8", "-topk8", "-nocrypt", "-in", at("sec1.pem"), "-out", at("pkcs8.pem"))
	for _, how := range [][]string{
		{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"}, {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"}, {"-iter", "20000"}, {"-outform", "DER"},
	} {
		must(append([]string{"pkcs8", "-topk8", "-in", at("sec1.pem"), "-out", at("enc.pem"), "-passout", "pass:hunter22"}, how...)...)
		var all []crypto.PrivateKey
		for _, name := range []string{"sec1.pem", "pkcs8.pem", "enc.pem"} {
			data, err := os.ReadFile(at(name))
			if err != nil {
				t.Fatal(err)
			}
			var password []byte
			if name == "enc.pem" {
				password = []byte("hunter22")
			}
			key, err := ParseKey(data, password)
			if err != nil {
				t.Fatalf("%s %v: %v", name, how, err)
			}
			all = append(all, key)
		}
		if !same(all[0], all[1]) || !same(all[0], all[2]) {
			t.Errorf("%v: three keys from one", how)
		}
	}
	must("pkcs8", "-topk8", "-in", at("sec1.pem"), "-out", at("old.pem"), "-passout", "pass:hunter22", "-v1", "PBE-SHA1-3DES")
	must("ec", "-in", at("sec1.pem"), "-out", at("older.pem"), "-aes128", "-passout", "pass:hunter22")
	for _, name := range []string{"old.pem", "older.pem"} {
		data, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseKey(data, []byte("hunter22"))
		refused(t, err, problem.Malformed, "private key: it is encrypted")
	}
}

func TestParseKeyRefuses(t *testing.T) {
	key := keys()["p-256"]
	good := forms(t, key)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	c := issued(t, key)
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"text":               []byte("no key"),
		"something behind":   append(bytes.Clone(good["PKCS #8"]), 0),
		"two keys":           append(bytes.Clone(good["PKCS #8 in PEM"]), good["PKCS #8 in PEM"]...),
		"a certificate":      encode(t, c, PEM, Options{Content: Leaf}),
		"a certificate, DER": encode(t, c, DER, Options{Content: Leaf}),
		"another label":      block(labelRSAKey, good["PKCS #8"], LF),
		"an encrypted label": block(labelEncryptedKey, good["PKCS #8"], LF),
		"X25519":             agreement,
		"a BEGIN alone":      []byte("-----BEGIN PRIVATE KEY-----\n"),
	} {
		if got, err := ParseKey(data, nil); got != nil || err == nil {
			t.Errorf("%s: %T, %v", name, got, err)
		} else {
			refused(t, err, problem.Malformed, "private key")
		}
	}
	_, err = ParseKey(make([]byte, MaxKey+1), nil)
	refused(t, err, problem.TooLarge, "private key")

	dear := encryption{salt: []byte("salt salt"), iv: make([]byte, 16), ciphertext: make([]byte, 16)}
	der, err := built(sequence(sequence(oid(oidPBES2), sequence(
		sequence(oid(oidPBKDF2), sequence(octets(dear.salt), number(maxIterations+1), sequence(oid(oidHMACWithSHA256), null))),
		sequence(oid(oidAES256CBC), octets(dear.iv)),
	)), octets(dear.ciphertext)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseKey(der, []byte("password"))
	refused(t, err, problem.Malformed, "private key: the parameters")
}

// FuzzParseKey: whatever is sent, nothing breaks, and what is read can be written.
func FuzzParseKey(f *testing.F) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(keys()["p-256"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pkcs8, "")
	f.Add(block(labelKey, pkcs8, LF), "")
	enc, err := encryptedKeyInfo(pkcs8, []byte("password"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enc, "password")
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		key, err := ParseKey(data, []byte(password))
		if err != nil {
			return
		}
		if _, err := x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Error(err)
		}
	})
}

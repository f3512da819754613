package bundle

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"

	keystore "github.com/pavlo-v-chernykh/keystore-go/v4"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

func TestJKS(t *testing.T) {
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			c := issued(t, key)
			out := encode(t, c, JKS, Options{Content: FullChain, Key: key, Password: []byte("correct horse"), Name: "Zürich"})
			store := keystore.New()
			if err := store.Load(bytes.NewReader(out), []byte("correct horse")); err != nil {
				t.Fatal(err)
			}
			entry, err := store.GetPrivateKeyEntry("zürich", []byte("correct horse"))
			if err != nil {
				t.Fatal(err)
			}
			var chain [][]byte
			for _, cert := range entry.CertificateChain {
				chain = append(chain, cert.Content)
			}
			got, err := x509.ParsePKCS8PrivateKey(entry.PrivateKey)
			if err != nil || !sameKey(key, got) || !sameCertificates(chain, rawOf(c)) {
				t.Errorf("other things are read than were written: %v", err)
			}
			if !entry.CreationTime.Equal(c.certs[0].NotBefore) {
				t.Errorf("the entry is of %s", entry.CreationTime)
			}
			if len(store.Aliases()) != 1 {
				t.Errorf("the entries are %q", store.Aliases())
			}
			fresh := keystore.New()
			if err := fresh.Load(bytes.NewReader(out), []byte("another one")); err == nil {
				t.Error("another password opens it")
			}
		})
	}
}

// TestKeytoolReads has Java's own program list, and take the key out of, both keystores.
func TestKeytoolReads(t *testing.T) {
	testneed.Programs(t, "keytool", "openssl")
	password := "correct horse"
	for _, tt := range []struct {
		f         Format
		kind, key string
	}{{JKS, "JKS", "rsa-2048"}, {PKCS12, "PKCS12", "p-256"}} {
		t.Run(tt.kind, func(t *testing.T) {
			key := keys()[tt.key]
			c := issued(t, key)
			store := file(t, "store", encode(t, c, tt.f, Options{Content: FullChain, Key: key, Password: []byte(password)}))
			out, err := run(t, "keytool", "-list", "-rfc", "-keystore", store, "-storetype", tt.kind, "-storepass", password)
			if err != nil || !strings.Contains(out, "Alias name: www.example.com") || !strings.Contains(out, "Entry type: PrivateKeyEntry") ||
				!sameCertificates(certificatesIn(out), rawOf(c)) {
				t.Errorf("keytool lists\n%s", out)
			}
			if _, err := run(t, "keytool", "-list", "-keystore", store, "-storetype", tt.kind, "-storepass", "another one"); err == nil {
				t.Error("keytool opens it with another password")
			}
			copied := store + ".p12"
			if _, err := run(t, "keytool", "-importkeystore", "-noprompt", "-srckeystore", store, "-srcstoretype", tt.kind, "-srcstorepass", password,
				"-destkeystore", copied, "-deststoretype", "PKCS12", "-deststorepass", password); err != nil {
				t.Fatal(err)
			}
			out, err = run(t, "openssl", "pkcs12", "-in", copied, "-passin", "pass:"+password, "-nodes")
			if err != nil || !sameKey(key, keyIn(t, out)) {
				t.Errorf("the key that keytool took out differs: %v", err)
			}
		})
	}
}

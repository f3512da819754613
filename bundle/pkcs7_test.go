package bundle

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/smallstep/pkcs7"
)

// TestGoldenPKCS7 compares with what openssl crl2pkcs7 made of the same certificates.
func TestGoldenPKCS7(t *testing.T) {
	c := goldenChain(t)
	for name, order := range map[string]Order{"leaf-first.p7b": LeafFirst, "leaf-last.p7b": LeafLast} {
		want := golden(t, name)
		o := Options{Content: FullChain, Order: order}
		if got := encode(t, c, PKCS7PEM, o); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		block, _ := pem.Decode(want)
		if got := encode(t, c, PKCS7, o); !bytes.Equal(got, block.Bytes) {
			t.Errorf("%s: DER differs", name)
		}
		o.LineEnding = CRLF
		if got := encode(t, c, PKCS7PEM, o); !bytes.Equal(got, bytes.ReplaceAll(want, []byte("\n"), []byte("\r\n"))) {
			t.Errorf("%s: with CRLF it is %q", name, got)
		}
	}
}

func TestOpensslReadsPKCS7(t *testing.T) {
	c := issued(t, keys()["rsa-2048"])
	for _, order := range []Order{LeafFirst, LeafLast} {
		for f, inform := range map[Format]string{PKCS7: "DER", PKCS7PEM: "PEM"} {
			o := Options{Content: FullChain, Order: order}
			path := file(t, "chain.p7b", encode(t, c, f, o))
			out, err := run(t, "openssl", "pkcs7", "-inform", inform, "-in", path, "-print_certs")
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			var got []byte
			for block, rest := pem.Decode([]byte(out)); block != nil; block, rest = pem.Decode(rest) {
				got = append(got, pem.EncodeToMemory(block)...)
			}
			if want := encode(t, c, PEM, o); !bytes.Equal(got, want) {
				t.Errorf("%s: openssl reads\n%s\nwant\n%s", f, got, want)
			}
		}
	}
	path := file(t, "leaf.p7b", encode(t, c, PKCS7, Options{Content: Leaf}))
	out, err := run(t, "openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", path)
	if err != nil || !strings.Contains(out, "version: 1") || strings.Contains(out, "signerInfos:\n    version") {
		t.Errorf("openssl cms: %v\n%s", err, out)
	}
}

// FuzzPKCS7 has another implementation read what certsOnly writes: each octet of the input chooses a certificate.
func FuzzPKCS7(f *testing.F) {
	pool := [][]byte{golden(f, "leaf.der"), golden(f, "issuer.der"), golden(f, "root.der"), issued(f, keys()["rsa-2048"]).certs[0].Raw, issued(f, keys()["ed25519"]).certs[0].Raw}
	f.Add([]byte{0})
	f.Add([]byte{0, 1, 2})
	f.Add([]byte{2, 1, 0, 3, 4, 4})
	f.Fuzz(func(t *testing.T, choice []byte) {
		if len(choice) == 0 || len(choice) > 1+MaxIssuers {
			return
		}
		var certs [][]byte
		for _, i := range choice {
			certs = append(certs, pool[int(i)%len(pool)])
		}
		der, err := certsOnly(certs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pkcs7.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Signers) != 0 || len(got.CRLs) != 0 || len(got.Content) != 0 || len(got.Certificates) != len(certs) {
			t.Fatalf("%d signers, %d CRLs, %d octets and %d of %d certificates are read",
				len(got.Signers), len(got.CRLs), len(got.Content), len(got.Certificates), len(certs))
		}
		for i, cert := range got.Certificates {
			if !bytes.Equal(cert.Raw, certs[i]) {
				t.Errorf("certificate %d is another", i)
			}
		}
	})
}

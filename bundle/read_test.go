package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestReadWhatIsWritten(t *testing.T) {
	c := goldenChain(t)
	all := [][]byte{c.certs[0].Raw, c.certs[1].Raw, c.certs[2].Raw}
	full, leaf := Options{Content: FullChain}, Options{Content: Leaf}
	trusted := pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: slices.Concat(all[0], []byte{0x30, 0})})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	for name, f := range map[string]struct {
		data []byte
		want [][]byte
	}{
		"PEM":                  {encode(t, c, PEM, full), all},
		"PEM with text":        {slices.Concat([]byte("subject=/CN=x\n"), encode(t, c, PEM, leaf), []byte("\nthe rest\n")), all[:1]},
		"PEM with a key":       {slices.Concat(key, encode(t, c, PEM, leaf)), all[:1]},
		"PEM with CRLF":        {encode(t, c, PEM, Options{Content: FullChain, LineEnding: CRLF}), all},
		"trusted PEM":          {trusted, all[:1]},
		"DER":                  {encode(t, c, DER, leaf), all[:1]},
		"DER, several":         {slices.Concat(all...), all},
		"PKCS #7":              {encode(t, c, PKCS7, full), all},
		"PKCS #7 in PEM":       {encode(t, c, PKCS7PEM, full), all},
		"PKCS #7 of openssl":   {golden(t, "leaf-last.p7b"), [][]byte{all[2], all[1], all[0]}},
		"base64":               {encode(t, c, Base64, leaf), all[:1]},
		"base64 in lines":      {[]byte(" " + base64.StdEncoding.EncodeToString(all[0][:60]) + "\r\n" + base64.StdEncoding.EncodeToString(all[0][60:]) + "\n"), all[:1]},
		"base64 of a PKCS #7":  {[]byte(base64.StdEncoding.EncodeToString(encode(t, c, PKCS7, full))), all},
		"PEM with a bad block": {slices.Concat(encode(t, c, PEM, leaf), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")})), [][]byte{all[0], []byte("hello")}},
		"PEM and PKCS #7 both": {slices.Concat(encode(t, c, PEM, leaf), encode(t, c, PKCS7PEM, Options{Content: Issuers})), all},
	} {
		got, err := Read(f.data)
		if err != nil || !slices.EqualFunc(got, f.want, bytes.Equal) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	c := goldenChain(t)
	whole := encode(t, c, PKCS7, Options{Content: FullChain})
	empty, err := certsOnly(nil)
	if err != nil {
		t.Fatal(err)
	}
	indefinite := slices.Concat([]byte{0x30, 0x80}, c.certs[0].Raw[4:], []byte{0, 0})
	for name, data := range map[string][]byte{
		"nothing": nil, "blanks": []byte(" \n\t"), "text": []byte("hello there"), "base64 of text": []byte("aGVsbG8="),
		"a key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")}), "an empty PEM block": []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		"DER cut short": c.certs[0].Raw[:100], "DER and more": slices.Concat(c.certs[0].Raw, []byte("more")), "BER": indefinite,
		"a PKCS #7 cut short": whole[:200], "an empty PKCS #7": empty,
		"PEM of a PKCS #7 cut short": pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: whole[:50]}),
		"another kind of PKCS #7":    {0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01},
	} {
		got, err := Read(data)
		if !problem.Is(err, problem.Malformed) || got != nil {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("canary")) {
			t.Errorf("%s: the error shows what is in the file: %v", name, err)
		}
	}
}

// FuzzRead demands that what is read lies in the file, and that reading what was read again gives the same.
func FuzzRead(f *testing.F) {
	c := goldenChain(f)
	for _, format := range []Format{PEM, PKCS7, PKCS7PEM} {
		f.Add(encode(f, c, format, Options{Content: FullChain}))
	}
	f.Add(encode(f, c, Base64, Options{Content: Leaf}))
	f.Add([]byte{0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := Read(data)
		if (err == nil) != (len(certs) > 0) {
			t.Fatalf("%d certificates, %v", len(certs), err)
		}
		var length int
		for _, der := range certs {
			length += len(der)
			if len(der) == 0 || der[0] != sequenceTag && !bytes.Contains(data, []byte("-----BEGIN")) {
				t.Fatalf("%x is no SEQUENCE", der)
			}
		}
		if length > len(data) {
			t.Fatalf("%d octets of certificates come from %d", length, len(data))
		}
	})
}

package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestGoldenPEM(t *testing.T) {
	c := goldenChain(t)
	first, last := golden(t, "leaf-first.pem"), golden(t, "leaf-last.pem")
	blocks := strings.SplitAfter(string(first), "-----END CERTIFICATE-----\n")
	leaf, issuer, root := blocks[0], blocks[1], blocks[2]
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"leaf", Options{Content: Leaf}, leaf},
		{"leaf, last", Options{Content: Leaf, Order: LeafLast}, leaf},
		{"chain", Options{Content: FullChain}, string(first)},
		{"chain, leaf last", Options{Content: FullChain, Order: LeafLast}, string(last)},
		{"chain without root", Options{Content: FullChain, OmitRoot: true}, leaf + issuer},
		{"chain without root, leaf last", Options{Content: FullChain, OmitRoot: true, Order: LeafLast}, issuer + leaf},
		{"issuers", Options{Content: Issuers}, issuer + root},
		{"issuers, root first", Options{Content: Issuers, Order: LeafLast}, root + issuer},
		{"issuers without root", Options{Content: Issuers, OmitRoot: true}, issuer},
		{"CRLF", Options{Content: Leaf, LineEnding: CRLF}, strings.ReplaceAll(leaf, "\n", "\r\n")},
	} {
		if got := string(encode(t, c, PEM, tt.o)); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
	if string(encode(t, c, PEM, Options{Content: FullChain})) != string(first) {
		t.Error("encoding in another order changed the chain")
	}
}

func TestOneCertificate(t *testing.T) {
	c, leaf := goldenChain(t), golden(t, "leaf.der")
	if got := encode(t, c, DER, Options{Content: Leaf}); !bytes.Equal(got, leaf) {
		t.Error("DER differs")
	}
	if got := string(encode(t, c, Base64, Options{Content: Leaf})); got != base64.StdEncoding.EncodeToString(leaf) {
		t.Errorf("base64 is %q", got)
	}
	if got := encode(t, c, DER, Options{Content: Issuers, OmitRoot: true}); !bytes.Equal(got, golden(t, "issuer.der")) {
		t.Error("the one issuer differs")
	}
	for _, f := range []Format{DER, Base64} {
		_, err := c.Encode(f, Options{Content: FullChain})
		refused(t, err, problem.Conflict, "content: "+f.String()+" holds one certificate, and 3")
	}
	rootless := chainOf(t, golden(t, "leaf.der"), golden(t, "issuer.der"))
	if got := encode(t, rootless, DER, Options{Content: Issuers, OmitRoot: true}); !bytes.Equal(got, golden(t, "issuer.der")) {
		t.Error("an issuer that is no root was left out")
	}
	alone := chainOf(t, golden(t, "root.der"))
	if got := encode(t, alone, DER, Options{Content: FullChain, OmitRoot: true}); !bytes.Equal(got, golden(t, "root.der")) {
		t.Error("a root that is the certificate itself was left out")
	}
	for _, c := range []*Chain{alone, chainOf(t, golden(t, "issuer.der"), golden(t, "root.der"))} {
		_, err := c.Encode(PEM, Options{Content: Issuers, OmitRoot: true})
		refused(t, err, problem.Conflict, "content: the certificate has no issuers")
	}
}

func TestKeyFormats(t *testing.T) {
	key := keys()["p-256"]
	c := issued(t, key)
	want := func(f Format, o Options, labels ...string) {
		t.Helper()
		o.Key = key
		if f.NeedsPassword() {
			o.Password = []byte("correct horse")
		}
		out := encode(t, c, f, o)
		if o.LineEnding == CRLF && bytes.Count(out, []byte("\n")) != bytes.Count(out, []byte("\r\n")) {
			t.Errorf("%s: line ends are mixed", f)
		}
		var got []string
		for block, rest := pem.Decode(out); block != nil; block, rest = pem.Decode(rest) {
			got = append(got, block.Type)
		}
		if strings.Join(got, ",") != strings.Join(labels, ",") {
			t.Errorf("%s holds %v, want %v", f, got, labels)
		}
	}
	want(Key, Options{}, "PRIVATE KEY")
	want(Key, Options{LineEnding: CRLF}, "PRIVATE KEY")
	want(EncryptedKey, Options{}, "ENCRYPTED PRIVATE KEY")
	want(PEMKey, Options{Content: Leaf}, "CERTIFICATE", "PRIVATE KEY")
	want(PEMKey, Options{Content: FullChain, OmitRoot: true}, "CERTIFICATE", "CERTIFICATE", "PRIVATE KEY")
	want(PEMEncryptedKey, Options{Content: FullChain, LineEnding: CRLF}, "CERTIFICATE", "CERTIFICATE", "CERTIFICATE", "ENCRYPTED PRIVATE KEY")
}

// TestEncodeRefuses what does not go together, naming the field, and writes nothing.
func TestEncodeRefuses(t *testing.T) {
	key := keys()["p-256"]
	c := issued(t, key)
	good := func() []byte { return []byte("correct horse") }
	for _, tt := range []struct {
		name  string
		f     Format
		o     Options
		kind  problem.Kind
		field string
	}{
		{"no format", 0, Options{Content: Leaf}, problem.Malformed, "format: none"},
		{"unknown format", formatCount, Options{Content: Leaf}, problem.Malformed, "format: none"},
		{"no content", PEM, Options{}, problem.Malformed, "content: say which"},
		{"unknown content", PEM, Options{Content: 4}, problem.Malformed, "content: say which"},
		{"content of a key", Key, Options{Key: key, Content: Leaf}, problem.Malformed, "content: key holds no"},
		{"root of a key", EncryptedKey, Options{Key: key, Password: good(), OmitRoot: true}, problem.Malformed, "content: encrypted-key holds no"},
		{"key without its certificate", PKCS12, Options{Key: key, Password: good(), Content: Issuers}, problem.Malformed, "content: pkcs12 holds the"},
		{"key without its certificate", PEMKey, Options{Key: key, Content: Issuers}, problem.Malformed, "content: pem-key holds the"},
		{"unknown order", PEM, Options{Content: Leaf, Order: 2}, problem.Malformed, "order: it is none"},
		{"order of one", DER, Options{Content: Leaf, Order: LeafLast}, problem.Malformed, "order: der"},
		{"order of a keystore", JKS, Options{Key: key, Password: good(), Content: FullChain, Order: LeafLast}, problem.Malformed, "order: jks"},
		{"unknown line ending", PEM, Options{Content: Leaf, LineEnding: 2}, problem.Malformed, "line ending: it is none"},
		{"line ending of octets", PKCS7, Options{Content: Leaf, LineEnding: CRLF}, problem.Malformed, "line ending: pkcs7"},
		{"line ending of one line", Base64, Options{Content: Leaf, LineEnding: CRLF}, problem.Malformed, "line ending: base64"},
		{"key where none goes", PEM, Options{Content: Leaf, Key: key}, problem.Malformed, "private key: pem holds none"},
		{"no key", PKCS12, Options{Content: Leaf, Password: good()}, problem.Conflict, "private key: pkcs12 needs it"},
		{"no key", Key, Options{}, problem.Conflict, "private key: key needs it"},
		{"another key", PKCS12, Options{Content: Leaf, Key: keys()["p-384"], Password: good()}, problem.Malformed, "private key: it does not belong"},
		{"another key", Key, Options{Key: keys()["rsa-2048"]}, problem.Malformed, "private key: it does not belong"},
		{"key that only signs", JKS, Options{Content: Leaf, Key: signOnly{key}, Password: good()}, problem.Malformed, "private key: it is none that can be encoded"},
		{"password in clear", PEMKey, Options{Content: Leaf, Key: key, Password: good()}, problem.Malformed, "password: pem-key is not encrypted"},
		{"password of a certificate", PKCS7, Options{Content: Leaf, Password: good()}, problem.Malformed, "password: pkcs7 is not encrypted"},
		{"no password", PKCS12, Options{Content: Leaf, Key: key}, problem.Malformed, "password: pkcs12 needs one of at least 6"},
		{"short password", JKS, Options{Content: Leaf, Key: key, Password: []byte("abcde")}, problem.Malformed, "password: jks needs one of at least 6"},
		{"empty password elsewhere", JKS, Options{Content: Leaf, Key: key, EmptyPassword: true}, problem.Malformed, "password: only pkcs12"},
		{"empty password elsewhere", PEM, Options{Content: Leaf, EmptyPassword: true}, problem.Malformed, "password: only pkcs12"},
		{"empty password and one", PKCS12, Options{Content: Leaf, Key: key, EmptyPassword: true, Password: good()}, problem.Malformed, "password: one is given"},
		{"name of PEM", PEM, Options{Content: Leaf, Name: "www"}, problem.Malformed, "name: pem cannot"},
		{"long name", PKCS12, Options{Content: Leaf, Key: key, Password: good(), Name: strings.Repeat("a", MaxName+1)}, problem.Malformed, "name: send"},
		{"name with a line", JKS, Options{Content: Leaf, Key: key, Password: good(), Name: "a\nb"}, problem.Malformed, "name: send"},
		{"name outside the plane", PKCS12, Options{Content: Leaf, Key: key, Password: good(), Name: "😀"}, problem.Malformed, "name: send"},
		{"name not UTF-8", PKCS12, Options{Content: Leaf, Key: key, Password: good(), Name: "\xff"}, problem.Malformed, "name: send"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := tt.o.Password
			out, err := c.Encode(tt.f, tt.o)
			refused(t, err, tt.kind, tt.field)
			if out != nil {
				t.Error("something was written all the same")
			}
			if len(bytes.Trim(given, "\x00")) != 0 {
				t.Error("the password was not overwritten")
			}
		})
	}
}

// TestDeterministic: what needs no randomness has none.
func TestDeterministic(t *testing.T) {
	key := keys()["p-256"]
	c := issued(t, key)
	for _, f := range Formats() {
		o := Options{}
		if f.traits().certs != none {
			o.Content = Leaf
		}
		if f.NeedsKey() {
			o.Key = key
		}
		encodeOnce := func() []byte {
			if f.NeedsPassword() {
				o.Password = []byte("correct horse")
			}
			return encode(t, c, f, o)
		}
		if same := bytes.Equal(encodeOnce(), encodeOnce()); same == f.NeedsPassword() {
			t.Errorf("%s twice: the same is %v", f, same)
		}
	}
}

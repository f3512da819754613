package bundle

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestCheckPassword(t *testing.T) {
	long := strings.Repeat("é", MaxPassword)
	for _, tt := range []struct {
		password string
		refused  []Format
	}{
		{"abcdef", nil},
		{"with blanks, \"quotes\" & more", nil},
		{strings.Repeat("a", MaxPassword), nil},
		{long, []Format{JKS}},
		{"pässwörd", []Format{JKS}},
		{"пароль", []Format{JKS}},
		{"\ufffd\uffef\u0100\u00ff\u4e2d\uffff", []Format{JKS}},
		{"smiling 😀", []Format{JKS, PKCS12}},
		{"", passwordFormats()},
		{"abcde", passwordFormats()},
		{"éééé\u00e9", passwordFormats()}, // characters count, not octets
		{long + "é", passwordFormats()},
		{"line\nend", passwordFormats()},
		{"nul\x00nul", passwordFormats()},
		{"delete\x7f", passwordFormats()},
		{"c1 \u0085 control", passwordFormats()},
		{"latin-1 p\xe4ss", passwordFormats()},
		{"surrogate \xed\xa0\x80", passwordFormats()},
	} {
		for _, f := range passwordFormats() {
			err := CheckPassword(f, []byte(tt.password))
			want := false
			for _, r := range tt.refused {
				want = want || r == f
			}
			switch {
			case !want && err != nil:
				t.Errorf("%s refuses %q: %v", f, tt.password, err)
			case want:
				refused(t, err, problem.Malformed, "password: ")
				if err != nil && len(tt.password) > 3 && strings.Contains(err.Error(), tt.password) {
					t.Errorf("%s shows the password: %v", f, err)
				}
			}
		}
	}
	for _, f := range []Format{0, PEM, Key, PEMKey, 200} {
		refused(t, CheckPassword(f, []byte("correct horse")), problem.Malformed, "password: ")
	}
}

func passwordFormats() []Format {
	var out []Format
	for _, f := range Formats() {
		if f.NeedsPassword() {
			out = append(out, f)
		}
	}
	return out
}

func TestDefaultName(t *testing.T) {
	for _, tt := range []struct {
		cert x509.Certificate
		want string
	}{
		{x509.Certificate{DNSNames: []string{"*.example.com", "a.example.com"}, Subject: pkix.Name{CommonName: "cn"}}, "*.example.com"},
		{x509.Certificate{IPAddresses: []net.IP{net.ParseIP("2001:db8::1")}, Subject: pkix.Name{CommonName: "cn"}}, "2001:db8::1"},
		{x509.Certificate{Subject: pkix.Name{CommonName: "Example Issuer"}}, "Example Issuer"},
		{x509.Certificate{Subject: pkix.Name{CommonName: "a\x00b"}}, "certificate"},
		{x509.Certificate{DNSNames: []string{strings.Repeat("a", 129)}, Subject: pkix.Name{CommonName: "cn"}}, "cn"},
		{x509.Certificate{}, "certificate"},
	} {
		if got := defaultName(&tt.cert); got != tt.want {
			t.Errorf("the name is %q, want %q", got, tt.want)
		}
	}
}

// FuzzPassword holds the rules to what the formats can encode.
func FuzzPassword(f *testing.F) {
	for _, seed := range []string{"", "abcdef", "pässwörd", "smiling 😀", "nul\x00nul", "\xff\xfe\xfd\xfc\xfb\xfa", "\ufeffabcdef"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, password []byte) {
		before := bytes.Clone(password)
		for _, format := range passwordFormats() {
			err := CheckPassword(format, password)
			if err != nil {
				refused(t, err, problem.Malformed, "password: ")
				continue
			}
			if n := utf8.RuneCount(password); !utf8.Valid(password) || n < MinPassword || n > MaxPassword || bytes.ContainsAny(password, "\x00\r\n") {
				t.Errorf("%s takes %q", format, password)
			}
			if format == JKS && len(password) != utf8.RuneCount(password) {
				t.Errorf("jks takes %q", password)
			}
			if format != PKCS12 {
				continue
			}
			text := bmpString(password)
			units := make([]uint16, 0, len(text)/2)
			for i := 0; i < len(text); i += 2 {
				units = append(units, uint16(text[i])<<8|uint16(text[i+1]))
			}
			if got := string(utf16.Decode(units)); got != string(password) {
				t.Errorf("%q is encoded as %q", password, got)
			}
			if cap(text) < len(text)+2 {
				t.Error("the end mark would leave a copy of the password behind")
			}
		}
		if !bytes.Equal(before, password) {
			t.Error("checking changed the password")
		}
	})
}

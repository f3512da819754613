package bundle

import (
	"crypto/x509"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MinPassword is the fewest characters of a password. Java's keytool opens no keystore with a shorter one.
	MinPassword = 6
	// MaxPassword is the most characters of a password.
	MaxPassword = 128
	// MaxName is the most characters of an entry's name.
	MaxName = 128
)

// lastBMP is the last character that a BMPString can hold: two octets each (X.690, 8.23.9).
const lastBMP = 0xffff

// CheckPassword says whether a password will do for a format that takes one: UTF-8, [MinPassword] to [MaxPassword] characters,
// none of them a control character, which nobody can type. In a PKCS12 they are of the Basic Multilingual Plane, because the
// format counts in UCS-2 (RFC 7292, B.1); in a JKS they are ASCII, because Java and other programs disagree about the
// rest. The error is a [problem.Malformed] that never shows the password.
func CheckPassword(f Format, password []byte) error {
	switch n := utf8.RuneCount(password); {
	case !f.NeedsPassword():
		return problem.New(problem.Malformed, "password: %s is not encrypted and takes none; ask for a format that does", f)
	case !utf8.Valid(password):
		return problem.New(problem.Malformed, "password: it is not UTF-8")
	case n < MinPassword:
		return problem.New(problem.Malformed, "password: %s needs one of at least %d characters", f, MinPassword)
	case n > MaxPassword:
		return problem.New(problem.Malformed, "password: it has more than %d characters", MaxPassword)
	}
	for rest := password; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch {
		case unicode.IsControl(r):
			return problem.New(problem.Malformed, "password: it holds a control character; leave line ends and the like out")
		case f == PKCS12 && r > lastBMP:
			return problem.New(problem.Malformed, "password: it holds a character that PKCS #12 cannot encode; leave emoji and the like out")
		case f == JKS && r > unicode.MaxASCII:
			return problem.New(problem.Malformed, "password: JKS is opened everywhere only with ASCII; use letters without accents, digits and signs")
		}
	}
	return nil
}

// checkPassword applies CheckPassword where a password belongs, and demands that there is none elsewhere.
func (o *Options) checkPassword(f Format) error {
	switch {
	case o.EmptyPassword && f != PKCS12:
		return problem.New(problem.Malformed, "password: only pkcs12 opens with an empty one")
	case o.EmptyPassword && len(o.Password) > 0:
		return problem.New(problem.Malformed, "password: one is given, and the empty one is asked for; do one of the two")
	case o.EmptyPassword, !f.NeedsPassword() && len(o.Password) == 0:
		return nil
	}
	return CheckPassword(f, o.Password)
}

// checkName holds a name to what a BMPString and a keystore can show.
func (o *Options) checkName(f Format) error {
	switch {
	case o.Name == "":
		return nil
	case !f.traits().named:
		return problem.New(problem.Malformed, "name: %s cannot hold one; leave it out", f)
	case !nameable(o.Name):
		return problem.New(problem.Malformed, "name: send 1 to %d characters of the Basic Multilingual Plane, without control characters", MaxName)
	}
	return nil
}

func nameable(name string) bool {
	n := utf8.RuneCountInString(name)
	return utf8.ValidString(name) && n >= 1 && n <= MaxName && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r > lastBMP
	})
}

// defaultName is a certificate's first name that can be one.
func defaultName(cert *x509.Certificate) string {
	names := cert.DNSNames
	for _, addr := range cert.IPAddresses {
		names = append(names[:len(names):len(names)], addr.String())
	}
	for _, name := range append(names[:len(names):len(names)], cert.Subject.CommonName) {
		if nameable(name) {
			return name
		}
	}
	return "certificate"
}

// bmpString is UTF-16 in network order, which for checked text is UCS-2. The caller overwrites it if it is secret.
func bmpString[T string | []byte](text T) []byte {
	out := make([]byte, 0, 2*len(text)+2) // room for the end mark as well, so that appending leaves no copy behind
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
		out = append(out, byte(r>>8), byte(r))
		i += size
	}
	return out
}

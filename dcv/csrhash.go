package dcv

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// uniqueDigits is how long [CSRHash].Unique is. Sixty bits are no Random Value in the sense of the Baseline Requirements (1.6.1,
// at least 112) and need not be: they make the Request Token, which the SHA-256 is, one that is used once.
const uniqueDigits = 15

// CSRHash is what proves control for one request to those who know its CSR: hashes of its DER, and a value that no other request
// has, not even one for the same CSR. It is the Request Token of Baseline Requirements 1.6.1 in the form in which several vendors'
// APIs have their clients publish it. MD5 gives a place its name and proves nothing.
type CSRHash struct {
	MD5    [md5.Size]byte
	SHA256 [sha256.Size]byte
	Unique string // 15 lower-case hexadecimal digits
	Suffix string // DNS name of the authority, the last of the CNAME's target: each API's clients know one
}

// NewCSRHash derives it from a CSR's DER, with a new random Unique.
func NewCSRHash(csr []byte, suffix string) (CSRHash, error) {
	id, err := identifier.ParseDNS(suffix)
	if err != nil || id.IsWildcard() || id.Value() != suffix {
		return CSRHash{}, fmt.Errorf("%q is no DNS name in lower case that validations from a CSR could end with; give for example ca.example.com", suffix)
	}
	if len(csr) == 0 {
		return CSRHash{}, fmt.Errorf("there is no CSR that a validation could be derived from")
	}
	var b [uniqueDigits/2 + 1]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return CSRHash{MD5: md5.Sum(csr), SHA256: sha256.Sum256(csr), Unique: hex.EncodeToString(b[:])[:uniqueDigits], Suffix: suffix}, nil
}

// IsZero reports whether there is none.
func (h CSRHash) IsZero() bool { return h == CSRHash{} }

// Label is the MD5 in upper-case hexadecimal digits: what files and records are named by.
func (h CSRHash) Label() string { return upperHex(h.MD5[:]) }

// Lines are those of the file.
func (h CSRHash) Lines() []string { return []string{upperHex(h.SHA256[:]), h.Suffix, h.Unique} }

// Target is where the CNAME record leads, without a final dot.
func (h CSRHash) Target() string {
	sum := upperHex(h.SHA256[:]) // in two labels, because one has at most 63 characters (RFC 1035, 2.3.4)
	return strings.Join([]string{sum[:32], sum[32:], h.Unique, h.Suffix}, ".")
}

// Publication is what a method looks for that is [Method.FromCSR]; false for any other, and from no CSR.
func (h CSRHash) Publication(m Method) (Publication, bool) {
	if h.IsZero() {
		return Publication{}, false
	}
	switch m {
	case CSRHashHTTP, CSRHashHTTPS:
		return Publication{Place: h.Label() + ".txt", Value: strings.Join(h.Lines(), "\n")}, true
	case CSRHashCNAME:
		return Publication{Place: "_" + h.Label(), Value: h.Target()}, true
	default:
		return Publication{}, false
	}
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// Location is where a publication for a name belongs: a URL, or a DNS name.
func Location(m Method, id identifier.Identifier, p Publication) string {
	host := id.Base().Value()
	switch {
	case m.byRecord():
		return p.Place + "." + host
	case id.Addr().Is6():
		host = "[" + host + "]"
	}
	if m == HTTPSFile || m == CSRHashHTTPS {
		return "https://" + host + FilePath + p.Place
	}
	return "http://" + host + FilePath + p.Place
}

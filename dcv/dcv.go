// Package dcv proves control over identifiers.
//
// It decides whether what an applicant published is what was asked for, from which address it may be fetched and which
// network a validation may touch. It trusts its configured resolvers to answer honestly and nothing that a validated
// server says. It never keeps state, never retries across calls, never shows a response body, and never dials an address
// it has not checked against the IANA special-purpose registries.
package dcv

import (
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Method is a way to prove control, by its word in the ACME validation-method registry (RFC 8555, 9.7.8).
type Method string

// The methods that are built.
const (
	HTTP01    Method = "http-01"     // RFC 8555, 8.3; addresses by RFC 8738, 4
	DNS01     Method = "dns-01"      // RFC 8555, 8.4
	TLSALPN01 Method = "tls-alpn-01" // RFC 8737; addresses by RFC 8738, 5

	// The methods of domains and of doors other than ACME. Their words begin with "ca-", as RFC 8657, section 4 has it for those
	// of no registry, so that a CAA record can name them in its validationmethods.
	HTTPFile  Method = "ca-http-file"  // a file at /.well-known/pki-validation/ (Baseline Requirements 3.2.2.4.18)
	HTTPSFile Method = "ca-https-file" // the same, first asked for by HTTPS
	DNSTXT    Method = "ca-dns-txt"    // a TXT record at a label in front of the name (Baseline Requirements 3.2.2.4.7)
	DNSCNAME  Method = "ca-dns-cname"  // a CNAME record there (the same)

	// Those by which a person at an address of the domain confirms a mail: nothing is looked for, see [Validator.EmailContacts].
	EmailConstructed Method = "ca-email-constructed" // admin@ and the like (Baseline Requirements 3.2.2.4.4)
	EmailCAA         Method = "ca-email-caa"         // an address in the name's CAA records (3.2.2.4.13)
	EmailTXT         Method = "ca-email-txt"         // an address in a TXT record in front of the name (3.2.2.4.14)

	// Those whose publication is derived from a CSR ([CSRHash]) and proves control for that CSR alone: a Request Token of the
	// Baseline Requirements, 1.6.1. Of what several vendors' APIs have their clients publish.
	CSRHashHTTP  Method = "ca-csr-hash-http"  // a file as of HTTPFile, without redirects
	CSRHashHTTPS Method = "ca-csr-hash-https" // the same, asked for by HTTPS
	CSRHashCNAME Method = "ca-csr-hash-cname" // a CNAME record as of DNSCNAME
)

// Published reports whether a method looks for a [Publication], and not for the answer to an ACME challenge.
func (m Method) Published() bool { return m.byFile() || m.byRecord() }

// FromCSR reports whether a method's publication is derived from a CSR.
func (m Method) FromCSR() bool {
	return m == CSRHashHTTP || m == CSRHashHTTPS || m == CSRHashCNAME
}

// byFile reports whether a method looks for a file.
func (m Method) byFile() bool {
	return m == HTTPFile || m == HTTPSFile || m == CSRHashHTTP || m == CSRHashHTTPS
}

// byRecord reports whether a method looks for a DNS record in front of the name.
func (m Method) byRecord() bool { return m == DNSTXT || m == DNSCNAME || m == CSRHashCNAME }

// Publication is what the methods look for that are [Method.Published].
type Publication struct {
	// Place is where: the file's name, of letters, digits, hyphens, underscores and dots, which must not tell the value; or one DNS
	// label that begins with an underscore, in front of the name.
	Place string
	// Value is what: at least 128 random bits, or a hash of a CSR. A file's lines are separated by "\n", and the white space at its
	// end is not compared, of a file from a CSR no white space but that it is there; a CNAME's target is a DNS name without a
	// final dot, in any letter case.
	Value string
}

// Proof is evidence that control of an identifier was validated once.
type Proof struct {
	Method     Method
	Identifier identifier.Identifier // never a wildcard: what dns-01 shows about one, it shows about its base name
	At         time.Time             // when the validation ended, UTC, to the second
	// Seen says where the proof was found, for the record: the URL of the last hop and the address dialled, or the DNS
	// question and the server that answered it.
	Seen string
	// Until is when the proof may no longer be used for issuance (policy sets it); zero means not yet decided.
	Until time.Time
	// Secure says that every DNS answer it rests on was authenticated by DNSSEC: a resolver said so whose word counts. It is
	// true of an address that was validated without asking the DNS, and false if nobody asked (DNSSECOff).
	Secure bool
	// CAA is the permission that was found with it; zero if none was asked for.
	CAA CAA
}

// Request is one validation.
type Request struct {
	Method           Method
	Identifier       identifier.Identifier // a wildcard is refused by all but DNS01, an address by DNS01
	Token            string                // RFC 8555, 8.1: base64url, at least 128 bits
	KeyAuthorization string                // RFC 8555, 8.1
	Publication      Publication           // instead of both, for the methods that have one
	// Private lists the special-purpose ranges the profile opens for validation, on top of global addresses. Loopback,
	// link-local, multicast and the clouds' metadata addresses stay shut whatever it says (Config.AllowLoopback is for
	// throw-away gateways).
	Private []netip.Prefix
	// DNSSEC is what the validation wants of the DNS, for CAA as well.
	DNSSEC DNSSEC
	// CAA makes the validation fail unless CAA lets this gateway issue; nil: it is not asked.
	CAA *CAAFor
}

// CAAFor is for whom a validation asks CAA.
type CAAFor struct {
	Identifier identifier.Identifier // as it is to be certified, also where the method proves its base name
	Accounts   []string              // as in [CAARequest]
}

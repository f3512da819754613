package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// Mode says whose rules bind a profile.
type Mode string

// The modes.
const (
	Private Mode = "private" // the operator's own
	Public  Mode = "public"  // the CA/Browser Forum Baseline Requirements as well
)

// CommonNameRule says where the subject's CN comes from. A CN is one of the certificate's names; one over 64 characters
// is left out (RFC 5280, A.1: ub-common-name).
type CommonNameRule string

// The rules.
const (
	CommonNameFirstSAN CommonNameRule = "first-san" // the first name, in sorted order, that fits
	CommonNameFromCSR  CommonNameRule = "from-csr"  // what the CSR asks for, if it asks
	CommonNameNone     CommonNameRule = "none"
)

// Lint is the set of lints a to-be-signed certificate must pass. There is none that lets everything pass.
type Lint string

// The levels.
const (
	LintRFC  Lint = "rfc"  // RFC 5280 and its companions
	LintCABF Lint = "cabf" // the Baseline Requirements as well
)

// The defaults of a profile that says nothing.
const (
	DefaultValidityPrivate = 90 * day
	DefaultValidityPublic  = 47 * day // inside every row of the limits' table
	DefaultProofLifetime   = 24 * time.Hour

	DefaultDomainProofLifetimePrivate = 90 * day
	DefaultDomainProofLifetimePublic  = 10 * day
	MaxNames                          = 100 // the most names any request may carry, and the default of a profile
)

// Config is one profile as an operator writes it. The zero value of a field means its default, where one is given.
type Config struct {
	Name        string // unique; required
	Description string // one line for people, as ACME's directory shows it; affects nothing
	Number      int32  // above zero, unique, for those who know profiles by number; zero: it has none. Affects nothing
	Issuer      string // the name of the issuer that signs; required
	Mode        Mode   // default Private

	// Validity is notAfter - notBefore + 1 s (RFC 5280, 4.1.2.5: both ends are inside). Whole seconds. Default 90 days,
	// 47 in public mode. In public mode more than the limit that holds at Now is refused here, and a limit that falls
	// later shortens what is issued from that day on: see [Profile.Decide].
	Validity time.Duration
	// Terms are the validities that a request may choose from, in whole days; Validity, which must be one of them, is what a
	// request gets that names none. Without Validity that is the shortest. In public mode each is held to the limit that holds at
	// Now, and one that a later limit rules out is refused from that day on. Empty: Validity alone.
	Terms []time.Duration
	// Backdate is how far notBefore lies before the moment of issuance, for clients whose clocks are slow; it is part of
	// Validity. Whole seconds, less than Validity, at most 48 h in public mode. Zero: none.
	Backdate time.Duration
	// RequestedValidity says whether a request may name a validity of its own, inside this profile's. Default
	// RefuseRequested.
	RequestedValidity RequestedRule
	// Approvals says who else must consent before a certificate is signed. Default: nobody.
	Approvals ApprovalRule

	KeyTypes     []KeyType // default RSA 2048, 3072, 4096, P-256 and P-384; no others in public mode
	KeyUsages    []string  // by their names in RFC 5280, 4.2.1.3; default digitalSignature and keyEncipherment
	ExtKeyUsages []string  // serverAuth, clientAuth; default serverAuth, which public mode requires

	// BlockedKeys are SHA-256 sums of SubjectPublicKeyInfo of keys never to be certified, such as the Debian weak keys.
	// They are no part of the profile's hash: the list grows while orders and approvals are open, and it only refuses.
	BlockedKeys [][32]byte

	// AllowNames and DenyNames hold DNS names ("www.example.com": exactly that), patterns ("*.example.com": exactly one
	// label more, the wildcard name itself included), addresses and CIDR ranges. Denial wins. A wildcard name is also
	// denied if it would cover a denied one. Once AllowNames holds anything, only what it lists passes, for DNS names and
	// addresses alike. Empty: everything that the other rules let pass.
	AllowNames []string
	DenyNames  []string
	// AllowWildcards lets names like *.example.com pass; needs dns-01 in DCVMethods, which alone proves them.
	AllowWildcards bool
	// AllowInternalNames lets names without a listed public suffix ("db.corp") and special-purpose addresses
	// ("10.0.0.1") pass. Default true; in public mode always false, and true is refused.
	AllowInternalNames *bool
	MaxNames           int // most names in one certificate, 1 to 100; default 100

	CommonName CommonNameRule // default CommonNameFirstSAN
	// Subject is put into every certificate as it stands. Empty in public mode: nothing here validates organisations.
	Subject Subject
	// SubjectFromCSR lists the attributes that are copied from the CSR if it has them. An attribute is either fixed or
	// copied. Empty in public mode.
	SubjectFromCSR []SubjectField

	Lint Lint // default LintRFC, in public mode LintCABF, which it requires

	// DCV says which validation a certificate needs. Default PerRequest. PerDomain takes proofs of domains, as if DelegatedDomains
	// were set, and nothing else. NoValidation needs AllowNames and is refused in public mode. With either of them there are no
	// DCVMethods, ProofLifetime and PrivateRanges.
	DCV Requirement
	// DCVMethods are the methods whose proofs count: http-01, dns-01 and tls-alpn-01, which ACME offers as challenges, and those
	// that other doors have something published for, for one request alone: ca-http-file, ca-https-file, ca-dns-txt, ca-dns-cname,
	// ca-csr-hash-http, ca-csr-hash-https and ca-csr-hash-cname. Default http-01. Addresses are proved by those that contact
	// the host, wildcards by those that ask the DNS, other names by all.
	DCVMethods []dcv.Method
	// ProofLifetime is how long after its validation a proof may be used for issuance. Default 24 h. In public mode held
	// to the limits' table as Validity is.
	ProofLifetime time.Duration
	// DelegatedDomains lets the proofs of domains that the requester's organisation owns, or that are delegated to it, stand where
	// a validation by the requester would: see [Proven.Owner]. It is in addition to DCVMethods; PerDomain sets it.
	DelegatedDomains bool
	// DomainProofLifetime is ProofLifetime for such proofs. Default 90 days, 10 in public mode, which is inside every row of the
	// limits' table. It needs DelegatedDomains.
	DomainProofLifetime time.Duration
	// CAA says whether CAA records are asked. Default off; in public mode always on, and off is refused. CAALifetime is how
	// old an answer may be at signing before it is asked again; whole seconds, default 8 h, in public mode no more.
	CAA         CAARule
	CAALifetime time.Duration
	// DNSSEC is what validation and CAA want of the DNS. Default off; in public mode require, and nothing else. A proof or a
	// permission that does not rest on authenticated answers is none where they are required.
	DNSSEC dcv.DNSSEC
	// Own makes this the profile of the gateway's own certificate: the principal [System] alone may use it, for names that
	// AllowNames lists one by one, and a proof is that they are configured ([Configured]). It belongs to the program:
	// nothing that an operator writes and nothing that a client sends sets it.
	Own bool
	// PrivateRanges are the special-purpose ranges that validation may enter. Loopback, link-local, multicast and
	// unspecified addresses are refused here, because validation never enters them. Empty in public mode.
	PrivateRanges []netip.Prefix

	// ServerKeys says whether private keys may be made and kept here for certificates under the profile. Default off; always off
	// in public mode. It is no part of the profile's hash: it decides where a key comes from, and not what is issued for it.
	ServerKeys ServerKeyRule

	// Fields are the custom fields of the deployment, the same in each of its profiles; nil: there are none. MandatoryFields names
	// those that every request under this profile must have, by ACME excepted. Neither is a part of the hash: nothing of them
	// goes into a certificate.
	Fields          *Fields
	MandatoryFields []string

	// Quota bounds how many certificates one organisation may hold under the profile. Zero fields bound nothing.
	Quota Quota

	// Now is the time at which the limits of public mode are looked up; required there, unused in private mode.
	Now time.Time
}

// ConfigError is one thing wrong with one field of a profile, for the configuration's reader, who knows the line.
type ConfigError struct {
	Profile string
	Field   string // as in the configuration file: "key_types"
	Reason  string // what is wrong and what would pass
}

// Error is "profile "web": key_types: …".
func (e *ConfigError) Error() string {
	return fmt.Sprintf("profile %q: %s: %s", e.Profile, e.Field, e.Reason)
}

// checker collects every fault of a profile, so that an operator sees them all at once.
type checker struct {
	profile string
	faults  []error
}

func (c *checker) refuse(field, format string, args ...any) {
	c.faults = append(c.faults, &ConfigError{Profile: c.profile, Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (c *checker) err() error { return errors.Join(c.faults...) }

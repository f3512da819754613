package policy

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"time"

	"github.com/letsencrypt/boulder/goodkey"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Profile is a [Config] that was checked once, with its defaults filled in. It is immutable and safe for concurrent use.
type Profile struct {
	name, description, issuer string
	number                    int32
	quota                     Quota
	public, own               bool
	validity, backdate        time.Duration
	terms                     []time.Duration // sorted, validity among them
	requested                 RequestedRule
	approvals                 ApprovalRule
	fields                    *Fields // of the deployment
	mandatoryFields           []int32 // of those, by number
	serverKeys                bool

	keyTypes    []KeyType
	rsa         goodkey.KeyPolicy
	blocked     map[[32]byte]bool
	keyUsage    x509.KeyUsage
	extKeyUsage []x509.ExtKeyUsage

	lists         *nameLists
	wildcards     bool
	internalNames bool
	maxNames      int

	commonName CommonNameRule
	subject    Subject
	fromCSR    []SubjectField
	lint       Lint

	requirement   Requirement
	methods       []dcv.Method
	proofLifetime time.Duration
	domains       bool
	domainReuse   time.Duration // zero without domains
	privateRanges []netip.Prefix
	caa           bool
	caaLifetime   time.Duration
	dnssec        dcv.DNSSEC

	hash string
}

// Name is the profile's name, as orders and requests say it.
func (p *Profile) Name() string { return p.name }

// Description is one line for people; it may be empty.
func (p *Profile) Description() string { return p.description }

// Issuer is the name of the issuer that signs.
func (p *Profile) Issuer() string { return p.issuer }

// Public reports whether the Baseline Requirements bind the profile.
func (p *Profile) Public() bool { return p.public }

// Hash is the SHA-256, in hex, of everything that decides what is issued and to whom; requests pin it, so that a profile
// changed meanwhile is noticed. Description, Number, Quota, ServerKeys, BlockedKeys and custom fields are no part of it. It is the same in every process and
// release that gives the configuration the same meaning.
func (p *Profile) Hash() string { return p.hash }

// Validity is the configured validity, notAfter - notBefore + 1 s, of a request that names no term. What is issued may be
// shorter: see [Profile.Decide].
func (p *Profile) Validity() time.Duration { return p.validity }

// Backdate is how far notBefore lies before the moment of issuance.
func (p *Profile) Backdate() time.Duration { return p.backdate }

// Lint is the level of lints a to-be-signed certificate must pass.
func (p *Profile) Lint() Lint { return p.lint }

// Methods lists the validation methods whose proofs count. The caller owns the slice.
func (p *Profile) Methods() []dcv.Method { return slices.Clone(p.methods) }

// MethodsFor lists the methods that can prove one identifier, by ACME challenge or by publication. It is empty if none can.
func (p *Profile) MethodsFor(id identifier.Identifier) []dcv.Method {
	return slices.DeleteFunc(p.Methods(), func(m dcv.Method) bool { return !canProve(m, id) })
}

// PrivateRanges lists the special-purpose ranges that validation may enter. The caller owns the slice.
func (p *Profile) PrivateRanges() []netip.Prefix { return slices.Clone(p.privateRanges) }

// MaxNames is the most names one certificate may carry.
func (p *Profile) MaxNames() int { return p.maxNames }

// KeyUsage is the key usage of a certificate for the key: the profile's, without the bits that have no meaning for the
// key's algorithm: RSA keys do not agree on keys, EC keys do not encrypt, Ed25519 keys only sign (RFC 3279, 2.3.1;
// RFC 5480, section 3; RFC 8410, section 5).
func (p *Profile) KeyUsage(pub any) x509.KeyUsage { return usageFor(p.keyUsage, pub) }

// ExtKeyUsage lists the extended key usages of a certificate. The caller owns the slice.
func (p *Profile) ExtKeyUsage() []x509.ExtKeyUsage { return slices.Clone(p.extKeyUsage) }

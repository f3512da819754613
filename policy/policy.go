// Package policy decides what may be issued, to whom and after which proofs.
//
// Every decision is a pure function of a profile, a request and a time. It trusts its callers for who the requester is
// and for the proofs' origin (account and organisation); it re-checks everything else. It never reads a store, a clock
// or a network, and never signs.
package policy

import (
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Requester is who asks: the identity that proofs, approvals and audit entries are bound to.
type Requester struct {
	Org       int32  // organisation number
	Door      string // "acme", …
	Principal string // "acme:<account id>", "uid:<number>", …
}

// Proven is a proof together with whose it is. A proof made in an ACME challenge belongs to that account alone.
type Proven struct {
	dcv.Proof
	Org     int32
	Account string
	// Principal is who asked for the one request that a publication was made for ([dcv.Method.Published]); empty for every other
	// proof. It serves that principal alone.
	Principal string
	// CSR is the SHA-256 of the CSR that the publication was derived from ([dcv.Method.FromCSR]); zero for every other proof. It
	// serves that CSR alone.
	CSR [32]byte
	// Owner is the organisation whose domain record holds the proof, of a proof that was made for a domain; zero of every other.
	// Org is then the organisation that may use it: the owner, or one that the domain is delegated to. Account is empty.
	Owner int32
	// Uses are what names Org may have by the proof of a domain, of those that it covers. It is read anew with each proof of a domain, and
	// not kept.
	Uses Uses
}

// Request is what a decision is made about.
type Request struct {
	Requester   Requester
	Restriction Restriction             // the requester's own; zero: none
	NameRules   []NameRules             // of the requester's organisation and of those above it, as they are now
	ProfileHash string                  // as pinned when the request began; empty if it begins now
	Names       []identifier.Identifier // what the order or request asked for, any order
	CSR         *CSR
	Proofs      []Proven
	Now         time.Time
	// Requested is the validity that the request asks for, if its profile takes one. It is part of what was requested, as
	// the names are: whoever tries the request again asks for the same.
	Requested Period
	// Term is the validity that the request chose of its profile's ([Profile.Terms]); zero leaves it to the profile. It is part
	// of what was requested, too. A Requested period lies inside it.
	Term time.Duration
	// CustomFields are what was said of the certificate to come that is no part of it ([Field]).
	CustomFields []FieldValue
	// Accepted says that the request was taken before and is tried again, so that its custom fields are not asked for anew.
	Accepted bool
	// Within is the issuer's own validity, which bounds a requested one; the signing gate sets it. Zero: it bounds nothing.
	Within Period
	// Approvals are what other people have consented to; those that do not count are passed over.
	Approvals []Approval
	// Renews is the content ([Profile.Content]) of a certificate that was issued with approvals, or renews one that was, and
	// that is valid and not revoked; empty if there is none.
	Renews string
}

// Decision is what will be issued: the only input from which a to-be-signed certificate is built. It carries nothing
// of the CSR but the public key and, where the profile allows, the subject.
type Decision struct {
	Profile    *Profile
	Requester  Requester
	CommonName string                  // empty: no CN
	Subject    Subject                 // the other attributes of the subject, resolved
	Names      []identifier.Identifier // sorted, without duplicates
	PublicKey  any                     // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey
	Term       time.Duration           // the longest validity that the request can have; NotAfter keeps to it
	NotBefore  time.Time               // UTC, whole seconds
	NotAfter   time.Time               // inclusive: validity is NotAfter - NotBefore + 1 s (RFC 5280, 4.1.2.5)
	CAA        []CAA                   // one for each DNS name, in their order; empty if the profile does not ask
	// Content is what was approved, and Approvers are the principals who did: none for a free renewal of the same content.
	// Both are empty if the profile demands no approvals.
	Content   string
	Approvers []string
}

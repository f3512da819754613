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
	HTTP01 Method = "http-01" // RFC 8555, 8.3
)

// Proof is evidence that control of an identifier was validated once.
type Proof struct {
	Method     Method
	Identifier identifier.Identifier
	At         time.Time // when the validation ended, UTC, to the second
	// Seen says where the proof was found, for the record: the URL of the last hop and the address dialled.
	Seen string
	// Until is when the proof may no longer be used for issuance (policy sets it); zero means not yet decided.
	Until time.Time
}

// Request is one validation.
type Request struct {
	Method           Method
	Identifier       identifier.Identifier // a wildcard is refused for HTTP01
	Token            string                // RFC 8555, 8.1: base64url, at least 128 bits
	KeyAuthorization string                // RFC 8555, 8.1
	// Private lists the special-purpose ranges the profile opens for validation, on top of global addresses. Loopback,
	// link-local, multicast and the clouds' metadata addresses stay shut whatever it says (Config.AllowLoopback is for
	// throw-away gateways).
	Private []netip.Prefix
}

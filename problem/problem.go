// Package problem is the one error type that crosses Gatehouse's packages.
//
// It decides nothing about wire formats: each door has one table from [Kind] to its own words (RFC 7807
// documents for ACME, vendor numbers for a REST dialect) and a test that walks [Kinds] through it. An [Error] is
// made where the decision is made; wrapping it with %w never changes its kind.
//
// It trusts the maker of an Error to put into Detail only what a stranger may read. It never shows the cause:
// that is for the log. Any error that is not an *Error is [Internal], shows nothing and is logged whole.
package problem

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Kind says what went wrong, in terms of what the caller can do about it. The zero value is [Internal], so that
// an Error made carelessly reveals nothing. Kinds are compared, never their texts.
type Kind uint8

// The kinds. Comments name the RFC that defines the condition, where one does.
const (
	Internal                Kind = iota // our fault, or unknown; nothing inside is shown
	Unavailable                         // store, journal or signer cannot serve now; RetryAfter says when to come back
	Malformed                           // the request breaks its format
	TooLarge                            // the request exceeds a size limit
	UnsupportedMedia                    // wrong Content-Type (RFC 8555, 6.2)
	MethodNotAllowed                    // wrong HTTP method
	NotFound                            // absent, or belonging to somebody else: the two look alike
	Conflict                            // the object's state no longer allows it
	Unauthorized                        // the caller is not allowed to do this
	AccountDoesNotExist                 // RFC 8555, 6.7
	AlreadyRevoked                      // RFC 8555, 7.6
	BadCSR                              // RFC 8555, 7.4
	BadNonce                            // RFC 8555, 6.5
	BadPublicKey                        // RFC 8555, 6.7
	BadRevocationReason                 // RFC 8555, 7.6
	BadSignatureAlgorithm               // RFC 8555, 6.2
	InvalidContact                      // RFC 8555, 7.3
	UnsupportedContact                  // RFC 8555, 7.3
	UserActionRequired                  // RFC 8555, 7.3.3
	OrderNotReady                       // RFC 8555, 7.4
	RejectedIdentifier                  // RFC 8555, 7.4: policy forbids the name
	UnsupportedIdentifier               // RFC 8555, 7.4: a type we do not issue for
	RateLimited                         // RFC 8555, 6.6
	CAA                                 // RFC 8659 forbids, or its answer could not be had
	Connection                          // validation could not connect (RFC 8555, 6.7)
	DNS                                 // validation could not resolve (RFC 8555, 6.7)
	TLS                                 // validation met a TLS error (RFC 8555, 6.7)
	IncorrectResponse                   // validation was answered wrongly (RFC 8555, 6.7)
	AlreadyReplaced                     // another order replaces the certificate (RFC 9773, 7.4)
	InvalidProfile                      // the profile is not offered (draft-ietf-acme-profiles, 4)
	ExternalAccountRequired             // RFC 8555, 6.7 and 7.3.4
	kindCount
)

var kindNames = [kindCount]string{
	"internal", "unavailable", "malformed", "too-large", "unsupported-media", "method-not-allowed", "not-found",
	"conflict", "unauthorized", "account-does-not-exist", "already-revoked", "bad-csr", "bad-nonce",
	"bad-public-key", "bad-revocation-reason", "bad-signature-algorithm", "invalid-contact", "unsupported-contact",
	"user-action-required", "order-not-ready", "rejected-identifier", "unsupported-identifier", "rate-limited",
	"caa", "connection", "dns", "tls", "incorrect-response", "already-replaced", "invalid-profile",
	"external-account-required",
}

// String is the kind's label in logs and metrics. An unknown kind prints as "internal".
func (k Kind) String() string {
	if k >= kindCount {
		return kindNames[Internal]
	}
	return kindNames[k]
}

// ParseKind is the inverse of [Kind.String], for records that keep a kind by name. An unknown name is [Internal].
func ParseKind(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return Internal
}

// Kinds lists every kind, for tests that hold a door's table to be complete.
func Kinds() []Kind {
	all := make([]Kind, kindCount)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Part is what went wrong with one identifier of a request (RFC 8555, 6.7.1).
type Part struct {
	Identifier identifier.Identifier
	Kind       Kind
	Detail     string
}

// Error is a refusal or failure on its way to a door. It is immutable once made and safe for concurrent use.
type Error struct {
	Kind       Kind
	Detail     string        // shown to the client: what is wrong, which field, what to do; never a secret
	RetryAfter time.Duration // zero: not said. Doors round it up to whole seconds
	Parts      []Part        // per-identifier causes, in the request's order
	cause      error
}

// New makes an Error whose detail may be shown to the client.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error that shows detail to the client and keeps cause for the log. A nil cause is allowed.
func Wrap(cause error, kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...), cause: cause}
}

// WithParts returns a copy that carries per-identifier causes.
func (e *Error) WithParts(parts []Part) *Error {
	c := *e
	c.Parts = parts
	return &c
}

// After returns a copy that tells the client when to come back.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Error is the text for logs: kind, detail and cause.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.Detail, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Kind, e.Detail)
}

// Unwrap gives the cause, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.cause }

// From finds the *Error in err's chain. Anything else becomes an [Internal] Error with no detail and err as cause,
// so that a door can render whatever it is handed. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, cause: err}
}

// Is reports whether err carries an Error of the given kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

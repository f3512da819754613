// Package jws turns the body of an ACME request into a verified message.
//
// It decides whether bytes are a JSON Web Signature of the one shape that RFC 8555, 6.2 allows, which algorithms and
// keys may sign, and whether a signature is that of a given key. It trusts nothing in a body; what a [Message] says
// before [Message.Verify] is a claim, good for finding the key, spending the nonce and nothing else, and the payload
// cannot be had without it.
//
// It never decides whether a nonce is ours, whether the url is the one asked for, or who owns a key: those need state
// and are the business of package acme. No other package of Gatehouse sees JOSE.
//
// Every refusal is a *problem.Error whose detail a client may read. Everything here is safe for concurrent use.
package jws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxMessageBytes is the largest body that [Parse] looks at. The largest honest message is a finalize request with a
// CSR of one hundred names and a 4096-bit key, about 12 KiB; the rest is margin for what the web layer may be told to
// let through.
const MaxMessageBytes = 256 << 10

// A Message is a JWS whose form has been checked and whose signature has not. It is immutable.
type Message struct {
	header    header
	signed    []byte // RFC 7515, 5.1: protected header and payload as they arrived, joined by a dot
	payload   []byte
	signature []byte
}

// Payload is the verified content of a message: a JSON document, or nothing at all in a POST-as-GET request
// (RFC 8555, 6.3). [DecodeStrict] reads it. Callers must not change it.
type Payload []byte

// envelope is the flattened JSON serialization (RFC 7515, 7.2.2), with the members that are there to be refused.
type envelope struct {
	protected, payload, signature json.RawMessage
	header, signatures            json.RawMessage
}

// Parse checks the form of an ACME request body: everything that RFC 8555, 6.2 asks for and that can be judged
// without state. It looks at no more than [MaxMessageBytes] and does no public-key arithmetic beyond checking an
// embedded key's point. The errors are of kind Malformed, TooLarge, BadSignatureAlgorithm (for which the door adds
// [Algorithms]), BadPublicKey and BadNonce.
func Parse(body []byte) (*Message, error) { return parse(body, false) }

// ParseInner checks the form of the JWS inside a key-change request (RFC 8555, 7.3.5), which differs in its header alone:
// it carries its key in "jwk", and no nonce. The errors are those of [Parse] but BadNonce.
func ParseInner(payload Payload) (*Message, error) {
	m, err := parse(payload, true)
	if err != nil {
		return nil, within("inner JWS", err)
	}
	return m, nil
}

func parse(body []byte, inner bool) (*Message, error) {
	if len(body) > MaxMessageBytes {
		return nil, problem.New(problem.TooLarge, "the request is %d bytes long; at most %d are read", len(body), MaxMessageBytes)
	}
	// RFC 8555, 6.2: the flattened JSON serialization. The compact one is no JSON object.
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, problem.New(problem.Malformed, "the body must be a JWS in the flattened JSON serialization")
	}
	var e envelope
	if err := decodeMembers(body, []member{
		{"protected", &e.protected}, {"payload", &e.payload}, {"signature", &e.signature},
		{"header", &e.header}, {"signatures", &e.signatures},
	}); err != nil {
		return nil, within("JWS", err)
	}
	// RFC 8555, 6.2: no multiple signatures, hence no general serialization, not even with a single one.
	if e.signatures != nil {
		return nil, problem.New(problem.Malformed, `the JWS has a member "signatures"; use the flattened JSON serialization with one signature`)
	}
	// RFC 8555, 6.2: the unprotected header must not be used.
	if e.header != nil {
		return nil, problem.New(problem.Malformed, `the JWS has an unprotected "header"; put every parameter into "protected"`)
	}
	return e.message(inner)
}

// message decodes the three members of the envelope.
func (e *envelope) message(inner bool) (*Message, error) {
	protected64, protected, err := encodedMember("protected", e.protected)
	if err != nil {
		return nil, err
	}
	// RFC 8555, 6.2: the payload is not detached: it may be empty but not absent.
	payload64, payload, err := encodedMember("payload", e.payload)
	if err != nil {
		return nil, err
	}
	_, signature, err := encodedMember("signature", e.signature)
	if err != nil {
		return nil, err
	}
	if len(signature) == 0 {
		return nil, problem.New(problem.Malformed, `the JWS has an empty "signature"`)
	}
	h, err := parseHeader(protected, inner)
	if err != nil {
		return nil, err
	}
	signed := make([]byte, 0, len(protected64)+1+len(payload64))
	signed = append(signed, protected64...)
	signed = append(signed, '.')
	signed = append(signed, payload64...)
	return &Message{header: *h, signed: signed, payload: payload, signature: signature}, nil
}

// KeyID is the account URL in "kid", or "" when the message carries its key. Unverified.
func (m *Message) KeyID() string { return m.header.keyID }

// Key is the key in "jwk", or nil when the message names an account. A message has exactly one of Key and KeyID.
func (m *Message) Key() *PublicKey { return m.header.key }

// Nonce is the anti-replay nonce (RFC 8555, 6.5): base64url, empty only in an inner JWS. Unverified.
func (m *Message) Nonce() string { return m.header.nonce }

// URL is what the client says it asked for (RFC 8555, 6.4), never empty, to be compared as a string. Unverified.
func (m *Message) URL() string { return m.header.url }

// Verify checks the signature with key and gives the payload. For a message that carries its key, key is [Message.Key]
// itself; otherwise it is the key of the account that KeyID names.
//
// A key of another algorithm is BadSignatureAlgorithm. A signature that does not fit is Malformed, as deployed servers
// answer: RFC 8555, 6.7 has no type of its own for it, and unauthorized would say that a known client was refused,
// while here nobody is known. An error of no kind means that the caller passed a key the message does not name.
func (m *Message) Verify(key *PublicKey) (Payload, error) {
	if key == nil {
		return nil, errors.New("jws: no key to verify with")
	}
	if m.header.key != nil && !m.header.key.Equal(key) {
		return nil, errors.New("jws: the message carries another key than the one to verify with")
	}
	if err := key.fits(m.header.algorithm); err != nil {
		return nil, err
	}
	if !key.verify(m.signed, m.signature) {
		return nil, problem.New(problem.Malformed, "the JWS signature does not verify with the key of the request")
	}
	return m.payload, nil
}

// encodedMember reads a member of the envelope that is a base64url string, and gives its text and its octets.
func encodedMember(name string, raw json.RawMessage) (text string, octets []byte, err error) {
	if raw == nil {
		return "", nil, problem.New(problem.Malformed, "the JWS has no %q", name)
	}
	text, err = stringValue(name, raw)
	if err != nil {
		return "", nil, within("JWS", err)
	}
	octets, err = decode64(text)
	if err != nil {
		return "", nil, problem.Wrap(err, problem.Malformed, "the JWS member %q is not base64url without padding", name)
	}
	return text, octets, nil
}

// stringValue reads a member that must be a JSON string; null is none.
func stringValue(name string, raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		return "", problem.New(problem.Malformed, "%q must be a string", name)
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", problem.Wrap(err, problem.Malformed, "%q must be a string", name)
	}
	return s, nil
}

// base64url is the encoding of RFC 7515, 2, except that Go's decoder skips line breaks.
var base64url = base64.RawURLEncoding.Strict()

var errLineBreak = errors.New("line break in base64url")

// decode64 decodes base64url as RFC 7515, 2 defines it: no padding, no line breaks. Trailing bits must be zero, so that
// octets have one text only.
func decode64(text string) ([]byte, error) {
	if strings.IndexByte(text, '\n') >= 0 || strings.IndexByte(text, '\r') >= 0 {
		return nil, errLineBreak
	}
	return base64url.DecodeString(text)
}

// within says in which part of a message the problem err lies.
func within(part string, err error) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return err
	}
	return problem.Wrap(err, p.Kind, "%s: %s", part, p.Detail)
}

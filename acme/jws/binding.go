package jws

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"hash"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxBindingBytes is the largest external account binding that [ParseBinding] looks at. One that holds a 4096-bit key has
// 1.5 KiB; the account keeps it as it was sent.
const MaxBindingBytes = 8 << 10

// MACAlgorithm is a MAC algorithm by its JOSE name (RFC 7518, 3.2). None of them can sign a request: they are for bindings
// alone.
type MACAlgorithm string

// The algorithms that a binding may have (RFC 8555, 7.3.4: a MAC-based one).
const (
	HS256 MACAlgorithm = "HS256"
	HS384 MACAlgorithm = "HS384"
	HS512 MACAlgorithm = "HS512"
)

// MACAlgorithms lists them. The slice is the caller's.
func MACAlgorithms() []string { return []string{string(HS256), string(HS384), string(HS512)} }

// newHash is the hash function under an algorithm, nil for what is no algorithm of ours.
func (a MACAlgorithm) newHash() func() hash.Hash {
	switch a {
	case HS256:
		return sha256.New
	case HS384:
		return sha512.New384
	case HS512:
		return sha512.New
	default:
		return nil
	}
}

// A Binding is an external account binding (RFC 8555, 7.3.4) of which everything but its MAC has been checked. It is
// immutable.
type Binding struct {
	algorithm MACAlgorithm
	keyID     string
	signed    []byte // RFC 7515, 5.1
	mac       []byte
}

// ParseBinding checks the JWS in the "externalAccountBinding" of a newAccount request that was sent to url and signed by
// key: its form, that its header has alg, kid and url and nothing else, that its algorithm is one of [MACAlgorithms], and
// that it is about this url and this very key (RFC 8555, 7.3.4). The errors are of kind Malformed, or TooLarge beyond
// [MaxBindingBytes].
func ParseBinding(data []byte, url string, key *PublicKey) (*Binding, error) {
	b, err := parseBinding(data, url, key)
	if err != nil {
		p := problem.From(err)
		if p.Kind != problem.TooLarge {
			p = problem.Wrap(err, problem.Malformed, "%s", p.Detail)
		}
		return nil, within(`"externalAccountBinding"`, p)
	}
	return b, nil
}

func parseBinding(data []byte, url string, key *PublicKey) (*Binding, error) {
	if len(data) > MaxBindingBytes {
		return nil, problem.New(problem.TooLarge, "the JWS is %d bytes long; at most %d are read", len(data), MaxBindingBytes)
	}
	var protectedJSON, payloadJSON, macJSON json.RawMessage
	if err := exactMembers(data, []member{
		{"protected", &protectedJSON}, {"payload", &payloadJSON}, {"signature", &macJSON},
	}); err != nil {
		return nil, within("JWS", err)
	}
	protected64, protected, err := encodedMember("protected", protectedJSON)
	if err != nil {
		return nil, err
	}
	payload64, payload, err := encodedMember("payload", payloadJSON)
	if err != nil {
		return nil, err
	}
	_, mac, err := encodedMember("signature", macJSON)
	if err != nil {
		return nil, err
	}
	b := &Binding{signed: []byte(protected64 + "." + payload64), mac: mac}
	if err := b.readHeader(protected, url); err != nil {
		return nil, within("protected header", err)
	}
	// RFC 8555, 7.3.4: the payload is the account key, as in the outer "jwk".
	bound, err := parseJWK(payload)
	switch {
	case err != nil:
		return nil, within("payload", err)
	case key == nil || !bound.Equal(key):
		return nil, problem.New(problem.Malformed, `the payload must be the key that signs the request, as in its "jwk"`)
	}
	return b, nil
}

// readHeader checks the protected header. RFC 8555, 7.3.4 says what it has; what else it might say, nobody would act upon.
func (b *Binding) readHeader(protected []byte, url string) error {
	var algJSON, kidJSON, urlJSON json.RawMessage
	if err := exactMembers(protected, []member{{"alg", &algJSON}, {"kid", &kidJSON}, {"url", &urlJSON}}); err != nil {
		return err
	}
	alg, err := required("alg", algJSON)
	if err != nil {
		return err
	}
	if b.algorithm = MACAlgorithm(alg); b.algorithm.newHash() == nil {
		return problem.New(problem.Malformed, "%s is not an algorithm for a binding; use one of %s", quote(alg), strings.Join(MACAlgorithms(), ", "))
	}
	if b.keyID, err = required("kid", kidJSON); err != nil {
		return err
	}
	inner, err := required("url", urlJSON)
	if err != nil {
		return err
	}
	if inner != url { // RFC 8555, 7.3.4: the same value as in the outer JWS
		return problem.New(problem.Malformed, `"url" must be the same as that of the request itself`)
	}
	return nil
}

// exactMembers is [decodeMembers] for an object that must have the known members and no others.
func exactMembers(data []byte, known []member) error {
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return problem.New(problem.Malformed, "the JSON must be an object")
	}
	if err := decodeMembers(data, known); err != nil {
		return err
	}
	s, err := newScanner(data)
	if err != nil {
		return err
	}
	s.peek()
	return s.members(func(name []byte, at int) error {
		for _, m := range known {
			if string(name) == m.name {
				return s.value(nil, 1)
			}
		}
		return problem.New(problem.Malformed, "member %s at byte %d must be left out", quote(string(name)), at)
	})
}

// KeyID is the "kid": by which name the client knows its MAC key. Unverified.
func (b *Binding) KeyID() string { return b.keyID }

// Verify reports whether the binding was made with a MAC key. It compares in constant time. An empty key made nothing.
func (b *Binding) Verify(key []byte) bool {
	h := b.algorithm.newHash()
	if h == nil || len(key) == 0 {
		return false
	}
	m := hmac.New(h, key)
	m.Write(b.signed)
	return hmac.Equal(m.Sum(nil), b.mac)
}

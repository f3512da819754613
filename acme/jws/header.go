package jws

import (
	"encoding/json"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// header is what a protected header says. Exactly one of keyID and key is set.
type header struct {
	algorithm Algorithm
	keyID     string
	key       *PublicKey
	nonce     string
	url       string
}

// rawHeader holds the parameters we know (RFC 7515, 4.1; RFC 8555, 6.4.1 and 6.5.2). Others are ignored, as RFC 7515, 4
// demands; that includes x5c, x5u and jku, which would name a key in ways that ACME does not have.
type rawHeader struct {
	alg, jwk, kid, nonce, url json.RawMessage
	crit, b64                 json.RawMessage
}

// parseHeader checks a protected header, by the clauses of RFC 8555, 6.2, or those of an inner JWS by 7.3.5.
func parseHeader(protected []byte, inner bool) (*header, error) {
	var raw rawHeader
	if err := decodeMembers(protected, []member{
		{"alg", &raw.alg}, {"jwk", &raw.jwk}, {"kid", &raw.kid}, {"nonce", &raw.nonce}, {"url", &raw.url},
		{"crit", &raw.crit}, {"b64", &raw.b64},
	}); err != nil {
		return nil, within("protected header", err)
	}
	h, err := raw.check(inner)
	if err != nil {
		return nil, within("protected header", err)
	}
	return h, nil
}

func (raw *rawHeader) check(inner bool) (*header, error) {
	var h header
	var err error
	if h.algorithm, err = raw.readAlgorithm(); err != nil {
		return nil, err
	}
	// RFC 8555, 6.2: the unencoded payload option (RFC 7797) must not be used.
	if raw.b64 != nil {
		return nil, problem.New(problem.Malformed, `"b64" must not be used`)
	}
	// RFC 7515, 4.1.11: an extension marked critical and not understood makes the JWS invalid. We understand none.
	if raw.crit != nil {
		return nil, problem.New(problem.Malformed, `"crit" names extensions; none is understood here`)
	}
	if h.keyID, h.key, err = raw.readSigner(h.algorithm); err != nil {
		return nil, err
	}
	switch {
	case !inner:
		if h.nonce, err = raw.readNonce(); err != nil {
			return nil, err
		}
	case h.key == nil: // RFC 8555, 7.3.5: the new key
		return nil, problem.New(problem.Malformed, `the new key must be in "jwk"; "kid" is for the outer JWS`)
	case raw.nonce != nil: // RFC 8555, 7.3.5: the outer one has it
		return nil, problem.New(problem.Malformed, `"nonce" must be left out`)
	}
	if h.url, err = required("url", raw.url); err != nil { // RFC 8555, 6.4.1
		return nil, err
	}
	return &h, nil
}

// readAlgorithm reads "alg" and refuses what is not on the list: "none" and the MAC algorithms first of all.
func (raw *rawHeader) readAlgorithm() (Algorithm, error) {
	text, err := required("alg", raw.alg)
	if err != nil {
		return "", err
	}
	alg := Algorithm(text)
	if !alg.supported() {
		// RFC 8555, 6.2: the answer lists what is supported.
		return "", problem.New(problem.BadSignatureAlgorithm, "%s is not a supported algorithm; use one of %s",
			quote(text), strings.Join(Algorithms(), ", "))
	}
	return alg, nil
}

// readSigner reads who says to have signed: "jwk" or "kid", never both (RFC 8555, 6.2).
func (raw *rawHeader) readSigner(alg Algorithm) (keyID string, key *PublicKey, err error) {
	switch {
	case raw.jwk != nil && raw.kid != nil:
		return "", nil, problem.New(problem.Malformed, `"jwk" and "kid" exclude each other`)
	case raw.kid != nil:
		keyID, err = required("kid", raw.kid)
		return keyID, nil, err
	case raw.jwk == nil:
		return "", nil, problem.New(problem.Malformed, `one of "jwk" and "kid" is needed`)
	}
	if key, err = parseJWK(raw.jwk); err != nil {
		return "", nil, within("jwk", err)
	}
	// The algorithm follows from the key; what the message says about it must agree.
	if err := key.fits(alg); err != nil {
		return "", nil, err
	}
	return "", key, nil
}

// readNonce reads "nonce". One that is absent or empty is a bad nonce, which makes a client try again with the fresh one
// of our answer (RFC 8555, 6.5); one that is not base64url makes the JWS malformed (RFC 8555, 6.5.2).
func (raw *rawHeader) readNonce() (string, error) {
	if raw.nonce == nil {
		return "", problem.New(problem.BadNonce, `"nonce" is missing`)
	}
	nonce, err := stringValue("nonce", raw.nonce)
	if err != nil {
		return "", err
	}
	if nonce == "" {
		return "", problem.New(problem.BadNonce, `"nonce" is empty`)
	}
	if _, err := decode64(nonce); err != nil {
		return "", problem.Wrap(err, problem.Malformed, `"nonce" is not base64url without padding`)
	}
	return nonce, nil
}

// required reads a parameter that must be a string with something in it.
func required(name string, raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", problem.New(problem.Malformed, "%q is missing", name)
	}
	text, err := stringValue(name, raw)
	if err != nil {
		return "", err
	}
	if text == "" {
		return "", problem.New(problem.Malformed, "%q is empty", name)
	}
	return text, nil
}

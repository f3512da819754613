package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestMessagesOfEveryAlgorithm(t *testing.T) {
	for _, name := range Algorithms() {
		s := newSigner(t, Algorithm(name))
		key := s.publicKey(t)
		for _, payload := range []string{`{"identifiers":[]}`, ""} {
			for _, kid := range []string{"", testKeyID} {
				t.Run(fmt.Sprintf("%s kid=%q payload=%q", name, kid, payload), func(t *testing.T) {
					m, err := Parse(s.sign(t, s.header(kid), payload))
					if err != nil {
						t.Fatal(err)
					}
					if m.header.algorithm != s.algorithm || m.Nonce() != testNonce || m.URL() != testURL || m.KeyID() != kid {
						t.Errorf("read alg %q nonce %q url %q kid %q", m.header.algorithm, m.Nonce(), m.URL(), m.KeyID())
					}
					if embedded := kid == ""; embedded != (m.Key() != nil) || embedded && !m.Key().Equal(key) {
						t.Errorf("embedded key %v", m.Key())
					}
					got, err := m.Verify(key)
					if err != nil || string(got) != payload {
						t.Errorf("Verify = %q, %v", got, err)
					}
				})
			}
		}
	}
}

// What another implementation signs is read here, and its key has the same thumbprint there.
func TestMessagesOfAnotherImplementation(t *testing.T) {
	for _, name := range Algorithms() {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, Algorithm(name))
			opts := (&jose.SignerOptions{EmbedJWK: true}).WithHeader("nonce", testNonce).WithHeader("url", testURL)
			other, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(name), Key: s.private}, opts)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := other.Sign([]byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse([]byte(signed.FullSerialize()))
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := m.Verify(m.Key()); err != nil || string(payload) != "{}" {
				t.Errorf("Verify = %q, %v", payload, err)
			}
		})
	}
}

// One row for each rule about the envelope: what is around the header, the payload and the signature.
func TestParseRefusesEnvelope(t *testing.T) {
	s := newSigner(t, ES256)
	good := string(s.sign(t, s.header(""), "{}"))
	field := func(name string) string { // the member as it stands in good
		start := strings.Index(good, `"`+name+`"`)
		end := start + strings.IndexAny(good[start:], ",}")
		return good[start:end]
	}
	parts := func() []string {
		var out []string
		for _, name := range []string{"protected", "payload", "signature"} {
			out = append(out, strings.Split(field(name), `"`)[3])
		}
		return out
	}()
	tests := []struct {
		clause string
		body   string
		want   problem.Kind
		detail string
	}{
		{"byte cap", good + strings.Repeat(" ", MaxMessageBytes), problem.TooLarge, "at most 262144"},
		{"RFC 8555 6.2 empty body", "", problem.Malformed, "flattened"},
		{"RFC 8555 6.2 compact serialization", strings.Join(parts, "."), problem.Malformed, "flattened"},
		{"RFC 8555 6.2 array of JWS", "[" + good + "]", problem.Malformed, "flattened"},
		{"RFC 8555 6.2 general serialization", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]), problem.Malformed, `"signatures"`},
		{"RFC 8555 6.2 general beside flattened", swap(t, good, "{", `{"signatures":[],`), problem.Malformed, `"signatures"`},
		{"RFC 8555 6.2 null signatures", swap(t, good, "{", `{"signatures":null,`), problem.Malformed, `"signatures"`},
		{"RFC 8555 6.2 unprotected header", swap(t, good, "{", `{"header":{"x":1},`), problem.Malformed, `unprotected "header"`},
		{"RFC 8555 6.2 empty unprotected header", swap(t, good, "{", `{"header":{},`), problem.Malformed, `unprotected "header"`},
		{"RFC 8555 6.2 null unprotected header", swap(t, good, "{", `{"header":null,`), problem.Malformed, `unprotected "header"`},
		{"RFC 8555 6.2 detached payload", swap(t, good, field("payload")+",", ""), problem.Malformed, `no "payload"`},
		{"RFC 8555 6.2 null payload", swap(t, good, field("payload"), `"payload":null`), problem.Malformed, `"payload" must be a string`},
		{"RFC 8555 6.2 payload as JSON", swap(t, good, field("payload"), `"payload":{}`), problem.Malformed, `"payload" must be a string`},
		{"RFC 8555 6.2 no protected header", swap(t, good, field("protected")+",", ""), problem.Malformed, `no "protected"`},
		{"RFC 8555 6.2 no signature", swap(t, good, ","+field("signature"), ""), problem.Malformed, `no "signature"`},
		{"RFC 7515 5.2 empty signature", swap(t, good, field("signature"), `"signature":""`), problem.Malformed, `empty "signature"`},
		{"RFC 7515 2 padding", swap(t, good, field("payload"), `"payload":"e30="`), problem.Malformed, "base64url"},
		{"RFC 7515 2 line break", swap(t, good, field("payload"), `"payload":"e3\n0"`), problem.Malformed, "base64url"},
		{"RFC 7515 2 carriage return", swap(t, good, field("payload"), `"payload":"e3\r0"`), problem.Malformed, "base64url"},
		{"RFC 7515 2 white space", swap(t, good, field("payload"), `"payload":"e3 0"`), problem.Malformed, "base64url"},
		{"RFC 7515 2 standard alphabet", swap(t, good, field("payload"), `"payload":"++//"`), problem.Malformed, "base64url"},
		{"RFC 4648 3.5 trailing bits", swap(t, good, field("payload"), `"payload":"e31"`), problem.Malformed, "base64url"},
		{"RFC 7515 4 repeated member", swap(t, good, "{", "{"+field("payload")+","), problem.Malformed, "was there before"},
		{"case-variant member beside", swap(t, good, "{", `{"Payload":"e30",`), problem.Malformed, `must be written "payload"`},
		{"case-variant member instead", swap(t, good, `"payload"`, `"PAYLOAD"`), problem.Malformed, `must be written "payload"`},
		{"unknown members that vary in case", swap(t, good, "{", `{"a":1,"A":1,`), problem.Malformed, "was there before"},
		{"RFC 8259 trailing data", good + "{}", problem.Malformed, "not valid at byte"},
		{"RFC 8259 truncated", good[:len(good)-1], problem.Malformed, "not valid at byte"},
		{"RFC 8259 8.1 not UTF-8", swap(t, good, "{", "{\"\xff\":1,"), problem.Malformed, "UTF-8"},
		{"depth", swap(t, good, "{", `{"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+","), problem.Malformed, "nests deeper"},
		{"protected header not JSON", string(s.sign(t, "x", "{}")), problem.Malformed, "protected header: the JSON is not valid"},
		{"protected header empty", string(s.sign(t, "", "{}")), problem.Malformed, "protected header: the JSON is not valid"},
		{"protected header null", string(s.sign(t, "null", "{}")), problem.Malformed, "must not be null"},
		{"protected header an array", string(s.sign(t, "[]", "{}")), problem.Malformed, "must be an object"},
	}
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.clause, func(t *testing.T) {
			_, err := Parse([]byte(tt.body))
			refused(t, err, tt.want, tt.detail)
		})
	}
}

// refused checks a refusal by its kind and by a piece of its detail, so that a row cannot pass for another's reason.
func refused(t *testing.T, err error, want problem.Kind, detail string) {
	t.Helper()
	p := problem.From(err)
	if p == nil {
		t.Fatalf("accepted; want %v with %q", want, detail)
	}
	if p.Kind != want || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v with %q; want %v with %q", p.Kind, p.Detail, want, detail)
	}
}

func TestParseIgnoresWhatItDoesNotKnow(t *testing.T) {
	s := newSigner(t, ES256)
	header := swap(t, s.header(testKeyID), "{", `{"typ":"JWT","x5u":"https://example.com","x5c":["!"],"ext":{"deep":[1,{"a":null}]},`)
	body := swap(t, string(s.sign(t, header, "{}")), "{", " \r\n\t{ \"extra\" : [ 1 , \"\\\"}\" ] ,\n")
	m, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Verify(s.publicKey(t)); err != nil {
		t.Error(err)
	}
}

// A name or value with JSON escapes is the same name or value.
func TestParseReadsEscapes(t *testing.T) {
	s := newSigner(t, ES256)
	header := swap(t, swap(t, s.header(testKeyID), `"alg"`, `"\u0061lg"`), "https://", `https:\/\/`)
	m, err := Parse(s.sign(t, header, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	if m.KeyID() != testKeyID {
		t.Errorf("kid %q", m.KeyID())
	}
}

func TestVerifyRefuses(t *testing.T) {
	s, other := newSigner(t, ES256), newSigner(t, ES256)
	header := s.header(testKeyID)
	input := b64([]byte(header)) + "." + b64([]byte("{}"))
	signature := s.signature(t, input)
	flipped := bytes.Clone(signature)
	flipped[5] ^= 1
	der, err := s.private.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	order := s.private.Public().(*ecdsa.PublicKey).Params().N
	tests := []struct {
		clause string
		body   []byte
		key    *PublicKey
		want   problem.Kind
		detail string
	}{
		{clause: "RFC 7515 5.2 another key", body: envelopeOf(header, "{}", signature), key: other.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7515 5.2 another payload", body: envelopeOf(header, "{} ", signature), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7515 5.2 another header", body: envelopeOf(header+" ", "{}", signature), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7515 5.2 flipped bit", body: envelopeOf(header, "{}", flipped), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7518 3.4 short", body: envelopeOf(header, "{}", signature[:63]), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7518 3.4 long", body: envelopeOf(header, "{}", append(bytes.Clone(signature), 0)), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7518 3.4 DER", body: envelopeOf(header, "{}", der), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7518 3.4 zeros", body: envelopeOf(header, "{}", make([]byte, 64)), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 7518 3.4 S not below the order", body: envelopeOf(header, "{}", addToS(signature, order)), key: s.publicKey(t), want: problem.Malformed, detail: "does not verify"},
		{clause: "RFC 8555 6.2 key of another algorithm", body: envelopeOf(header, "{}", signature), key: newSigner(t, ES384).publicKey(t), want: problem.BadSignatureAlgorithm, detail: `signs with ES384, but the header says "ES256"`},
		{clause: "RFC 8555 6.2 key of another type", body: envelopeOf(header, "{}", signature), key: newSigner(t, EdDSA).publicKey(t), want: problem.BadSignatureAlgorithm, detail: `signs with EdDSA`},
	}
	for _, tt := range tests {
		t.Run(tt.clause, func(t *testing.T) {
			m, err := Parse(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := m.Verify(tt.key)
			refused(t, err, tt.want, tt.detail)
			if payload != nil {
				t.Errorf("payload %q was given away", payload)
			}
		})
	}
}

// addToS adds the group's order to S where that still fits, which makes a number that means the same.
func addToS(signature []byte, order *big.Int) []byte {
	out := bytes.Clone(signature)
	s := new(big.Int).SetBytes(out[32:])
	if s.Add(s, order); s.BitLen() > 256 {
		s.SetBytes(bytes.Repeat([]byte{0xff}, 32))
	}
	s.FillBytes(out[32:])
	return out
}

func TestVerifyRefusesEveryAlgorithmsForgeries(t *testing.T) {
	for _, name := range Algorithms() {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, Algorithm(name))
			good := s.signature(t, "x.y")
			for at := 0; at < len(good); at += 5 {
				bad := bytes.Clone(good)
				bad[at] ^= 0x10
				m, err := Parse(envelopeOf(s.header(""), "{}", bad))
				if err != nil {
					t.Fatal(err)
				}
				_, err = m.Verify(m.Key())
				refused(t, err, problem.Malformed, "does not verify")
			}
			for _, size := range []int{1, len(good) - 1, len(good) + 1, 70000} {
				m, err := Parse(envelopeOf(s.header(""), "{}", make([]byte, size)))
				if err != nil {
					t.Fatal(err)
				}
				_, err = m.Verify(m.Key())
				refused(t, err, problem.Malformed, "does not verify")
			}
		})
	}
}

// Mistakes of a caller are not told to clients.
func TestVerifyWithTheWrongArgument(t *testing.T) {
	s, other := newSigner(t, ES256), newSigner(t, ES256)
	m, err := Parse(s.sign(t, s.header(""), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*PublicKey{nil, other.publicKey(t)} {
		if payload, err := m.Verify(key); problem.From(err).Kind != problem.Internal || payload != nil {
			t.Errorf("Verify = %q, %v", payload, err)
		}
	}
}

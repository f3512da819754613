package jws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// FuzzParse holds three properties for whatever a stranger sends. What is refused is refused with a problem and nothing
// else. What is accepted has one encoding: written again from its parts it parses to the same message, and its key
// written again is the same key. And another implementation that accepts it reads the same and judges the signature alike.
func FuzzParse(f *testing.F) {
	for _, name := range Algorithms() {
		s := newSigner(f, Algorithm(name))
		f.Add(s.sign(f, s.header(""), `{"termsOfServiceAgreed":true}`))
		f.Add(s.sign(f, s.header(testKeyID), ""))
	}
	f.Fuzz(checkProperties)
}

// FuzzHeader is FuzzParse for the protected header alone, which mutation does not reach through its base64.
func FuzzHeader(f *testing.F) {
	for _, name := range Algorithms() {
		s := newSigner(f, Algorithm(name))
		f.Add([]byte(s.header("")))
		f.Add([]byte(s.header(testKeyID)))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		checkProperties(t, envelopeOf(string(header), "{}", make([]byte, 64)))
	})
}

func checkProperties(t *testing.T, body []byte) {
	m, err := Parse(body)
	if err != nil {
		if p := problem.From(err); p.Kind == problem.Internal || p.Detail == "" || len(p.Detail) > 1000 {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	if (m.KeyID() == "") != (m.Key() != nil) || m.Nonce() == "" || m.URL() == "" || !slices.Contains(Algorithms(), string(m.header.algorithm)) {
		t.Fatalf("accepted a message without its parts: %+v", m.header)
	}
	signed := bytes.Split(m.signed, []byte("."))
	again, err := Parse(fmt.Appendf(nil, `{"protected":%q,"payload":%q,"signature":%q}`, signed[0], b64(m.payload), b64(m.signature)))
	if err != nil || !reflect.DeepEqual(m, again) {
		t.Fatalf("written again: %v\n%+v\n%+v", err, m, again)
	}
	if m.Key() == nil {
		return
	}
	key, err := ParsePublicKey(m.Key().Marshal())
	if err != nil || !reflect.DeepEqual(key, m.Key()) {
		t.Fatalf("key written again: %v, %s", err, m.Key().Marshal())
	}
	payload, err := m.Verify(m.Key())
	compareWithOracle(t, body, m, payload, err)
}

func compareWithOracle(t *testing.T, body []byte, m *Message, payload Payload, verdict error) {
	t.Helper()
	other, err := jose.ParseSignedJSON(string(body), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(m.header.algorithm)})
	if err != nil {
		return // it reads certificates and other members that we ignore
	}
	read := other.Signatures[0].Protected
	if read.Nonce != m.Nonce() || read.ExtraHeaders["url"] != any(m.URL()) {
		t.Fatalf("the other implementation reads nonce %q, url %q", read.Nonce, read.ExtraHeaders["url"])
	}
	otherPayload, err := other.Verify(read.JSONWebKey)
	if (err == nil) != (verdict == nil) || !bytes.Equal(otherPayload, payload) {
		t.Fatalf("the other implementation: %q, %v; here: %q, %v", otherPayload, err, payload, verdict)
	}
}

// FuzzDecodeStrict: what is accepted decodes as encoding/json decodes it, and a field holds what the one member of exactly
// its name says, so that no two readers can see different things. What is refused is refused as malformed.
func FuzzDecodeStrict(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"kind":"a","value":"b"}`, `{"Kind":"a"}`, `{"kind":"a","kind":"b"}`, `[{"kind":null}]`, `"x"`, `{"q":{"a":[1,{"b":"\u0000"}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var rich outer
		if err := DecodeStrict(data, &rich); err != nil && problem.From(err).Kind == problem.Internal {
			t.Fatal(err)
		}
		var got inner
		err := DecodeStrict(data, &got)
		if err != nil {
			refused(t, err, problem.Malformed, "")
			return
		}
		var want inner
		if err := json.Unmarshal(data, &want); err != nil || got != want {
			t.Fatalf("%+v; encoding/json: %+v, %v", got, want, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatal(err)
		}
		for name, field := range map[string]string{"kind": got.Kind, "value": got.Value} {
			var exact string
			if raw, ok := members[name]; ok {
				if err := json.Unmarshal(raw, &exact); err != nil {
					t.Fatal(err)
				}
			}
			if exact != field {
				t.Fatalf("field %q is %q, but the member of that name is %q", name, field, exact)
			}
		}
	})
}

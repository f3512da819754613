package jws

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const bindingURL = "https://ca.example.com/acme/r/new-account"

// bindingKey is as long as the longest hash: the other implementation refuses shorter keys.
var bindingKey = bytes.Repeat([]byte("0123456789abcdef"), 4)

func bindingHeader(alg MACAlgorithm) string {
	return fmt.Sprintf(`{"alg":%q,"kid":"key-1","url":%q}`, alg, bindingURL)
}

// bind makes a binding by hand, with a MAC of the algorithm even where the header says another.
func bind(alg MACAlgorithm, key []byte, protected, payload string) []byte {
	m := hmac.New(alg.newHash(), key)
	m.Write([]byte(b64([]byte(protected)) + "." + b64([]byte(payload))))
	return envelopeOf(protected, payload, m.Sum(nil))
}

// TestPublishedBindings: the keys of RFC 7515, A.1 and A.3; the MACs were computed with Python's hmac.
func TestPublishedBindings(t *testing.T) {
	const (
		jwk     = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
		payload = "eyJrdHkiOiJFQyIsImNydiI6IlAtMjU2IiwieCI6ImY4M09KM0QyeEYxQmc4dnViOXRMZTFnSE16Vjc2ZThUdXM5dVBIdlJWRVUiLCJ5IjoieF9GRXpSdTltMzZITE5fdHVlNjU5TE5wWFc2cEN5U3Rpa1lqS0lXSTVhMCJ9"
		secret  = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	)
	mac, err := decode64(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey([]byte(jwk))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		algorithm            MACAlgorithm
		protected, signature string
	}{
		{HS256, "eyJhbGciOiJIUzI1NiIsImtpZCI6Ik5FNUdITUtaTDdUNCIsInVybCI6Imh0dHBzOi8vY2EuZXhhbXBsZS5jb20vYWNtZS9yL25ldy1hY2NvdW50In0",
			"4pviv3EsdTIltB8ASkQAcKkjDO_wpGpYI1v8Bl69RyU"},
		{HS384, "eyJhbGciOiJIUzM4NCIsImtpZCI6Ik5FNUdITUtaTDdUNCIsInVybCI6Imh0dHBzOi8vY2EuZXhhbXBsZS5jb20vYWNtZS9yL25ldy1hY2NvdW50In0",
			"maZBS1vR4PPfVjFCRmNTvjmAXH_G_vESoK6u9t1zoUjuFCwBYSAqXRczURimPrSB"},
		{HS512, "eyJhbGciOiJIUzUxMiIsImtpZCI6Ik5FNUdITUtaTDdUNCIsInVybCI6Imh0dHBzOi8vY2EuZXhhbXBsZS5jb20vYWNtZS9yL25ldy1hY2NvdW50In0",
			"WyXHPzsiP4DONMooyXagfv5fVdyDMZKtIwHfDdXK5TIqfZ5fHl3gmBNs833mR8a8f_mQbfda5YdciyuFuR7rMw"},
	} {
		data := fmt.Appendf(nil, `{"protected":%q,"payload":%q,"signature":%q}`, tc.protected, payload, tc.signature)
		b, err := ParseBinding(data, bindingURL, key)
		if err != nil {
			t.Errorf("%s: %v", tc.algorithm, err)
			continue
		}
		if b.algorithm != tc.algorithm || b.KeyID() != "NE5GHMKZL7T4" || !b.Verify(mac) {
			t.Errorf("%s: %s, %s, verified: %t", tc.algorithm, b.algorithm, b.KeyID(), b.Verify(mac))
		}
	}
}

// TestBindingMAC: RFC 8555, 7.3.4: only the MAC of this algorithm, under this key, over these very octets.
func TestBindingMAC(t *testing.T) {
	s := newSigner(t, ES256)
	key := s.publicKey(t)
	for _, name := range MACAlgorithms() {
		alg := MACAlgorithm(name)
		good := bind(alg, bindingKey, bindingHeader(alg), s.jwk)
		verify := func(data, mac []byte) bool {
			t.Helper()
			b, err := ParseBinding(data, bindingURL, key)
			if err != nil {
				t.Fatal(err)
			}
			return b.Verify(mac)
		}
		if !verify(good, bindingKey) {
			t.Errorf("%s: a right MAC is refused", alg)
		}
		if verify(good, bindingKey[:31]) || verify(good, append(bytes.Clone(bindingKey), 'x')) || verify(good, nil) {
			t.Errorf("%s: another key verifies", alg)
		}
		if empty := bind(alg, nil, bindingHeader(alg), s.jwk); verify(empty, nil) || verify(empty, []byte{}) {
			t.Errorf("%s: an empty key verifies", alg)
		}
		var e map[string]string
		if err := json.Unmarshal(good, &e); err != nil {
			t.Fatal(err)
		}
		mac, err := decode64(e["signature"])
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(mac)
		flipped[len(mac)-1] ^= 1
		for what, sig := range map[string][]byte{"cut": mac[:len(mac)/2], "one octet": mac[:1], "empty": {}, "longer": append(bytes.Clone(mac), 0), "flipped": flipped} {
			if verify(envelopeOf(bindingHeader(alg), s.jwk, sig), bindingKey) {
				t.Errorf("%s: a MAC that is %s verifies", alg, what)
			}
		}
		for _, other := range MACAlgorithms() {
			if other != name && verify(bind(MACAlgorithm(other), bindingKey, bindingHeader(alg), s.jwk), bindingKey) {
				t.Errorf("the header says %s, and a MAC of %s verifies", alg, other)
			}
		}
		// The same key written otherwise is the same key, and other octets.
		spaced := strings.Replace(s.jwk, ",", ", ", 1)
		if !verify(bind(alg, bindingKey, bindingHeader(alg), spaced), bindingKey) {
			t.Errorf("%s: the octets that were sent must be what the MAC is over", alg)
		}
		if verify(envelopeOf(bindingHeader(alg), spaced, mac), bindingKey) {
			t.Errorf("%s: a MAC of other octets verifies", alg)
		}
	}
	if (&Binding{algorithm: "HS1"}).Verify(bindingKey) {
		t.Error("an unknown algorithm verifies")
	}
}

// TestBindingRefused: every clause of RFC 8555, 7.3.4 about the form.
func TestBindingRefused(t *testing.T) {
	s, stranger := newSigner(t, ES256), newSigner(t, ES256)
	key, good := s.publicKey(t), bindingHeader(HS256)
	secret := swap(t, s.jwk, `{"kty"`, `{"d":"AAAA","kty"`)
	envelope := func(old, new string) []byte {
		return []byte(swap(t, string(bind(HS256, bindingKey, good, s.jwk)), old, new))
	}
	header := func(old, new string) []byte { return bind(HS256, bindingKey, swap(t, good, old, new), s.jwk) }
	payload := func(payload string) []byte { return bind(HS256, bindingKey, good, payload) }
	if _, err := ParseBinding(payload(s.jwk), bindingURL, key); err != nil {
		t.Fatal(err)
	}
	for clause, tc := range map[string]struct {
		data   []byte
		detail string
	}{
		"null":                    {[]byte("null"), "must be an object"},
		"a compact JWS":           {[]byte(`"e30.e30.e30"`), "must be an object"},
		"a list":                  {[]byte(`[]`), "must be an object"},
		"nothing":                 {nil, "must be an object"},
		"empty":                   {[]byte(`{}`), `no "protected"`},
		"no payload":              {[]byte(`{"protected":"e30","signature":"AA"}`), `no "payload"`},
		"no signature":            {[]byte(`{"protected":"e30","payload":""}`), `no "signature"`},
		"another member":          {envelope(`{"protected"`, `{"x":1,"protected"`), `member "x"`},
		"unprotected header":      {envelope(`{"protected"`, `{"header":{},"protected"`), `member "header"`},
		"general serialization":   {envelope(`{"protected"`, `{"signatures":[],"protected"`), `member "signatures"`},
		"member twice":            {envelope(`{"protected"`, `{"payload":"","protected"`), "was there before"},
		"member in other case":    {envelope(`"protected"`, `"Protected"`), "must be written"},
		"signature with padding":  {envelope(`"}`, `="}`), "base64url"},
		"alg none":                {header("HS256", "none"), "use one of HS256, HS384, HS512"},
		"alg of a public key":     {header("HS256", "ES256"), "use one of HS256, HS384, HS512"},
		"alg in other case":       {header("HS256", "hs256"), "use one of"},
		"alg empty":               {header(`"HS256"`, `""`), `"alg" is empty`},
		"alg a number":            {header(`"HS256"`, `256`), `"alg" must be a string`},
		"no alg":                  {header(`"alg":"HS256",`, ``), `"alg" is missing`},
		"no kid":                  {header(`"kid":"key-1",`, ``), `"kid" is missing`},
		"kid empty":               {header(`"key-1"`, `""`), `"kid" is empty`},
		"kid null":                {header(`"key-1"`, `null`), `"kid" must be a string`},
		"kid twice":               {header(`"kid"`, `"kid":"key-2","kid"`), "was there before"},
		"nonce":                   {header(`{"alg"`, `{"nonce":"`+testNonce+`","alg"`), `"nonce" at byte 1 must be left out`},
		"jwk":                     {header(`{"alg"`, `{"jwk":`+s.jwk+`,"alg"`), `"jwk" at byte 1 must be left out`},
		"crit":                    {header(`{"alg"`, `{"crit":["b64"],"alg"`), `"crit" at byte 1 must be left out`},
		"unencoded payload":       {header(`{"alg"`, `{"b64":false,"alg"`), `"b64" at byte 1 must be left out`},
		"no url":                  {header(`,"url":"`+bindingURL+`"`, ``), `"url" is missing`},
		"another url":             {header(bindingURL, bindingURL+"/in/other"), `"url" must be the same`},
		"url spelled otherwise":   {header("ca.example.com", "CA.example.com"), `"url" must be the same`},
		"header no object":        {bind(HS256, bindingKey, `[]`, s.jwk), "protected header: the JSON must be an object"},
		"header empty":            {bind(HS256, bindingKey, ``, s.jwk), "protected header"},
		"payload empty":           {payload(""), "payload: the JSON is not valid"},
		"another key":             {payload(stranger.jwk), "must be the key that signs the request"},
		"payload is a thumbprint": {payload(`"` + key.Thumbprint() + `"`), "payload: the JSON must be an object"},
		"key member twice":        {payload(swap(t, s.jwk, `{"kty"`, `{"kty":"RSA","kty"`)), "was there before"},
		"key with a private part": {payload(secret), "private or symmetric key"},
		"key for another purpose": {payload(swap(t, s.jwk, `{"kty"`, `{"use":"enc","kty"`)), `"use" must be "sig"`},
	} {
		t.Run(clause, func(t *testing.T) {
			_, err := ParseBinding(tc.data, bindingURL, key)
			refused(t, err, problem.Malformed, tc.detail)
			if p := problem.From(err); !strings.HasPrefix(p.Detail, `"externalAccountBinding": `) {
				t.Errorf("it does not name the field: %s", p.Detail)
			}
		})
	}
	_, err := ParseBinding(payload(s.jwk), bindingURL, nil)
	refused(t, err, problem.Malformed, "must be the key")
	_, err = ParseBinding(bytes.Repeat([]byte{' '}, MaxBindingBytes+1), bindingURL, key)
	refused(t, err, problem.TooLarge, "at most 8192")
}

// TestMACsSignNothing: an algorithm of bindings is none of requests.
func TestMACsSignNothing(t *testing.T) {
	s := newSigner(t, ES256)
	for _, alg := range MACAlgorithms() {
		_, err := Parse(s.sign(t, swap(t, s.header(""), `"alg":"ES256"`, `"alg":"`+alg+`"`), "{}"))
		refused(t, err, problem.BadSignatureAlgorithm, "use one of ES256")
	}
}

// FuzzBinding: what is refused is refused with a problem; what is accepted is about this url and this key, and another
// implementation judges its MAC alike.
func FuzzBinding(f *testing.F) {
	s := newSigner(f, ES256)
	key := s.publicKey(f)
	for _, name := range MACAlgorithms() {
		f.Add([]byte(bindingHeader(MACAlgorithm(name))), []byte(s.jwk), []byte{})
	}
	f.Fuzz(func(t *testing.T, protected, payload, rest []byte) {
		for _, name := range MACAlgorithms() {
			data := bind(MACAlgorithm(name), bindingKey, string(protected), string(payload))
			data = append(data[:len(data)-1], rest...)
			data = append(data, '}')
			b, err := ParseBinding(data, bindingURL, key)
			if err != nil {
				if p := problem.From(err); p.Kind == problem.Internal || p.Detail == "" || len(p.Detail) > 1000 {
					t.Fatalf("refused with %v", err)
				}
				continue
			}
			other, err := jose.ParseSignedJSON(string(data), []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512})
			if err != nil {
				t.Fatalf("accepted what another implementation does not parse: %v\n%s", err, data)
			}
			read, _ := other.Verify(bindingKey)
			if got := other.Signatures[0].Protected; got.KeyID != b.KeyID() || got.ExtraHeaders["url"] != any(bindingURL) || got.Algorithm != string(b.algorithm) {
				t.Fatalf("the other implementation reads %+v", got)
			}
			if verified := b.Verify(bindingKey); verified != (read != nil) || verified != (string(b.algorithm) == name) {
				t.Fatalf("verified: %t; the other implementation: %t; the MAC is of %s", verified, read != nil, name)
			}
			if bound, err := parseJWK(payload); err != nil || !bound.Equal(key) {
				t.Fatalf("accepted for %s, %v", payload, err)
			}
		}
	})
}

package jws

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestParseInner: RFC 8555, 7.3.5: the new key in "jwk", a "url", and no nonce.
func TestParseInner(t *testing.T) {
	s := newSigner(t, ES256)
	nonce := `"nonce":"` + testNonce + `"`
	good := swap(t, s.header(""), nonce+",", "")
	m, err := ParseInner(s.sign(t, good, `{"account":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := m.Verify(m.Key()); err != nil || string(payload) != `{"account":"x"}` || m.URL() != testURL || m.Nonce() != "" {
		t.Errorf("%s, %v; url %q, nonce %q", payload, err, m.URL(), m.Nonce())
	}
	for clause, tc := range map[string]struct {
		header string
		want   problem.Kind
		detail string
	}{
		"7.3.5 nonce":            {s.header(""), problem.Malformed, `"nonce" must be left out`},
		"7.3.5 empty nonce":      {swap(t, s.header(""), nonce, `"nonce":""`), problem.Malformed, `"nonce" must be left out`},
		"7.3.5 null nonce":       {swap(t, s.header(""), nonce, `"nonce":null`), problem.Malformed, `"nonce" must be left out`},
		"7.3.5 kid":              {swap(t, s.header(testKeyID), nonce+",", ""), problem.Malformed, `must be in "jwk"`},
		"6.2 none":               {swap(t, good, `"alg":"ES256"`, `"alg":"none"`), problem.BadSignatureAlgorithm, "use one of"},
		"6.2 alg of another key": {swap(t, good, `"alg":"ES256"`, `"alg":"ES384"`), problem.BadSignatureAlgorithm, `signs with ES256`},
		"6.4 no url":             {swap(t, good, `,"url":"`+testURL+`"`, ""), problem.Malformed, `"url" is missing`},
	} {
		t.Run(clause, func(t *testing.T) {
			_, err := ParseInner(s.sign(t, tc.header, "{}"))
			refused(t, err, tc.want, tc.detail)
			if p := problem.From(err); !strings.HasPrefix(p.Detail, "inner JWS: ") {
				t.Errorf("it does not say which JWS: %s", p.Detail)
			}
		})
	}
	// An outer one is none without its nonce, and an inner one is none at all.
	_, err = Parse(s.sign(t, good, "{}"))
	refused(t, err, problem.BadNonce, "")
	_, err = ParseInner(Payload("{}"))
	refused(t, err, problem.Malformed, `no "protected"`)
}

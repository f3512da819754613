package jws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// One row for each rule about the protected header. Rows begin with a good header and spoil it once; the signature is
// always good, so nothing else can be the reason.
func TestParseRefusesHeader(t *testing.T) {
	s := newSigner(t, ES256)
	withKey, withID := s.header(""), s.header(testKeyID)
	alg, nonce, url := `"alg":"ES256"`, `"nonce":"`+testNonce+`"`, `"url":"`+testURL+`"`
	kid := fmt.Sprintf(`"kid":%q`, testKeyID)
	tests := []struct {
		clause string
		header string
		want   problem.Kind
		detail string
	}{
		{"RFC 8555 6.2 no alg", swap(t, withID, alg+",", ""), problem.Malformed, `"alg" is missing`},
		{"RFC 8555 6.2 alg null", swap(t, withID, alg, `"alg":null`), problem.Malformed, `"alg" must be a string`},
		{"RFC 8555 6.2 alg a number", swap(t, withID, alg, `"alg":256`), problem.Malformed, `"alg" must be a string`},
		{"RFC 8555 6.2 alg empty", swap(t, withID, alg, `"alg":""`), problem.Malformed, `"alg" is empty`},
		{"RFC 8555 6.2 none", swap(t, withID, alg, `"alg":"none"`), problem.BadSignatureAlgorithm, "use one of ES256, ES384, ES512, EdDSA, RS256"},
		{"RFC 8555 6.2 MAC HS256", swap(t, withID, alg, `"alg":"HS256"`), problem.BadSignatureAlgorithm, `"HS256" is not a supported`},
		{"RFC 8555 6.2 MAC HS512", swap(t, withKey, alg, `"alg":"HS512"`), problem.BadSignatureAlgorithm, "HS512"},
		{"RFC 8555 6.2 PS256", swap(t, withID, alg, `"alg":"PS256"`), problem.BadSignatureAlgorithm, "PS256"},
		{"RFC 8555 6.2 RS512", swap(t, withID, alg, `"alg":"RS512"`), problem.BadSignatureAlgorithm, "RS512"},
		{"RFC 8812 3.2 ES256K", swap(t, withID, alg, `"alg":"ES256K"`), problem.BadSignatureAlgorithm, "ES256K"},
		{"RFC 7515 4.1.1 alg is case-sensitive", swap(t, withID, alg, `"alg":"es256"`), problem.BadSignatureAlgorithm, "es256"},
		{"long alg is cut", swap(t, withID, alg, `"alg":"`+strings.Repeat("A", 5000)+`"`), problem.BadSignatureAlgorithm, strings.Repeat("A", 64) + `"…`},
		{"RFC 8555 6.2 alg of another key", swap(t, withKey, alg, `"alg":"ES384"`), problem.BadSignatureAlgorithm, `signs with ES256, but the header says "ES384"`},
		{"RFC 8555 6.2 RS256 for an EC key", swap(t, withKey, alg, `"alg":"RS256"`), problem.BadSignatureAlgorithm, `signs with ES256`},

		{"RFC 8555 6.2 b64", swap(t, withID, "{", `{"b64":false,`), problem.Malformed, `"b64"`},
		{"RFC 8555 6.2 b64 true", swap(t, withID, "{", `{"b64":true,"crit":["b64"],`), problem.Malformed, `"b64"`},
		{"RFC 7515 4.1.11 crit", swap(t, withID, "{", `{"crit":["exp"],"exp":1,`), problem.Malformed, `"crit"`},
		{"RFC 7515 4.1.11 empty crit", swap(t, withID, "{", `{"crit":[],`), problem.Malformed, `"crit"`},
		{"RFC 7515 4.1.11 null crit", swap(t, withID, "{", `{"crit":null,`), problem.Malformed, `"crit"`},

		{"RFC 8555 6.2 jwk and kid", swap(t, withKey, "{", "{"+kid+","), problem.Malformed, "exclude"},
		{"RFC 8555 6.2 jwk null and kid", swap(t, withID, "{", `{"jwk":null,`), problem.Malformed, "exclude"},
		{"RFC 8555 6.2 jwk and kid null", swap(t, withKey, "{", `{"kid":null,`), problem.Malformed, "exclude"},
		{"RFC 8555 6.2 neither jwk nor kid", swap(t, withID, kid+",", ""), problem.Malformed, "is needed"},
		{"RFC 8555 6.2 kid null", swap(t, withID, kid, `"kid":null`), problem.Malformed, `"kid" must be a string`},
		{"RFC 8555 6.2 kid a number", swap(t, withID, kid, `"kid":1`), problem.Malformed, `"kid" must be a string`},
		{"RFC 8555 6.2 kid empty", swap(t, withID, kid, `"kid":""`), problem.Malformed, `"kid" is empty`},
		{"RFC 8555 6.7 jwk null", swap(t, withKey, s.jwk, "null"), problem.BadPublicKey, "jwk: the JSON must not be null"},
		{"RFC 8555 6.7 jwk a string", swap(t, withKey, s.jwk, `"x"`), problem.BadPublicKey, "jwk: "},

		{"RFC 8555 6.5 no nonce", swap(t, withID, nonce+",", ""), problem.BadNonce, `"nonce" is missing`},
		{"RFC 8555 6.5 empty nonce", swap(t, withID, nonce, `"nonce":""`), problem.BadNonce, `"nonce" is empty`},
		{"RFC 8555 6.5.2 nonce null", swap(t, withID, nonce, `"nonce":null`), problem.Malformed, `"nonce" must be a string`},
		{"RFC 8555 6.5.2 nonce with padding", swap(t, withID, nonce, `"nonce":"YQ=="`), problem.Malformed, `"nonce" is not base64url`},
		{"RFC 8555 6.5.2 nonce of the standard alphabet", swap(t, withID, nonce, `"nonce":"++//"`), problem.Malformed, `"nonce" is not base64url`},
		{"RFC 8555 6.5.2 nonce with a line break", swap(t, withID, nonce, `"nonce":"YWFh\nYWFh"`), problem.Malformed, `"nonce" is not base64url`},

		{"RFC 8555 6.4.1 no url", swap(t, withID, ","+url, ""), problem.Malformed, `"url" is missing`},
		{"RFC 8555 6.4.1 url empty", swap(t, withID, url, `"url":""`), problem.Malformed, `"url" is empty`},
		{"RFC 8555 6.4.1 url a list", swap(t, withID, url, `"url":["`+testURL+`"]`), problem.Malformed, `"url" must be a string`},

		{"RFC 7515 4 repeated parameter", swap(t, withID, "{", "{"+alg+","), problem.Malformed, "was there before"},
		{"RFC 7515 4 repeated with an escape", swap(t, withID, "{", `{"\u0061lg":"none",`), problem.Malformed, "was there before"},
		{"case-variant parameter beside", swap(t, withID, "{", `{"Alg":"ES256",`), problem.Malformed, `must be written "alg"`},
		{"case-variant parameter instead", swap(t, withID, `"url"`, `"URL"`), problem.Malformed, `must be written "url"`},
		{"case-variant by Unicode folding", swap(t, withID, `"kid"`, "\"\u212aid\""), problem.Malformed, `must be written "kid"`},
		{"repeated member of jwk", swap(t, withKey, `"kty"`, `"kty":"RSA","kty"`), problem.Malformed, "was there before"},
		{"case-variant members of jwk", swap(t, withKey, `"kty"`, `"KTY":"RSA","kty"`), problem.Malformed, "was there before"},
		{"case-variant member of jwk instead", swap(t, withKey, `"kty"`, `"KTY"`), problem.BadPublicKey, `must be written "kty"`},
		{"repeated member of an unknown object", swap(t, withID, "{", `{"ext":[{"a":{"b":1,"B":2}}],`), problem.Malformed, "was there before"},
		{"RFC 8259 trailing data", withID + "{}", problem.Malformed, "not valid at byte"},
	}
	for _, tt := range tests {
		t.Run(tt.clause, func(t *testing.T) {
			_, err := Parse(s.sign(t, tt.header, "{}"))
			refused(t, err, tt.want, tt.detail)
		})
	}
}

func TestAlgorithmsIsTheCallers(t *testing.T) {
	Algorithms()[0] = "none"
	if Algorithms()[0] != "ES256" {
		t.Error("Algorithms gave away its own slice")
	}
}

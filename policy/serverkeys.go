package policy

import (
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// ServerKeyRule says whether the gateway may make private keys, and keep such as are uploaded.
type ServerKeyRule string

// The rules.
const (
	ServerKeysOff ServerKeyRule = "off"
	ServerKeysOn  ServerKeyRule = "on"
)

// setServerKeys reads the rule. The issuers of this gateway are its own, and a certificate authority that is publicly trusted
// neither makes nor archives its subscribers' keys (Baseline Requirements 6.1.1.3 and 6.1.2).
func (p *Profile) setServerKeys(c *checker, cfg Config) {
	switch cfg.ServerKeys {
	case ServerKeysOn:
		p.serverKeys = true
		if p.public {
			c.refuse("server_keys", "public trust forbids an issuer to make or keep subscribers' keys (Baseline Requirements 6.1.1.3); leave it out")
		}
		if cfg.Own {
			c.refuse("server_keys", "the gateway's own key is in its data folder; leave it out")
		}
	case ServerKeysOff, "":
	default:
		c.refuse("server_keys", `%q is none of "on" and "off"`, cfg.ServerKeys)
	}
}

// KeyTypeOf is the type of a public key: an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey. The error says what is wrong
// with it and may be shown.
func KeyTypeOf(public any) (KeyType, error) { return keyTypeOf(public) }

// ServerKeys reports whether private keys may be made and kept here for certificates under the profile.
func (p *Profile) ServerKeys() bool { return p.serverKeys }

// CheckServerKey refuses to have a key of a type made here: Unauthorized where the profile has no keys made, Malformed for a type
// that it does not allow.
func (p *Profile) CheckServerKey(t KeyType) error {
	switch {
	case !p.serverKeys:
		return problem.New(problem.Unauthorized, "under the profile %q no keys are made or kept here; make the key yourself and send a CSR, or ask for server_keys: on in the profile", p.name)
	case !slices.Contains(p.keyTypes, t):
		return problem.New(problem.Malformed, "key: %q is no type that the profile %q allows; choose one of %s", t, p.name, list(p.keyTypes))
	}
	return nil
}

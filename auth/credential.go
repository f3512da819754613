package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// CredentialKind is what a credential is. The zero value is none: whoever meets it refuses.
type CredentialKind uint8

// The kinds.
const (
	APIKey            CredentialKind = iota + 1 // a secret that is sent with each request
	OAuthClient                                 // client id and secret for access tokens (RFC 6749, 4.4)
	ClientCertificate                           // one certificate of TLS, whoever issued it
	ClientKey                                   // the public key of certificates of TLS
)

var credentialKinds = map[CredentialKind]string{
	APIKey: "api", OAuthClient: "oauth", ClientCertificate: "certificate", ClientKey: "certificate-key",
}

// String is the kind's word in commands and records; "unknown" for what is no kind.
func (k CredentialKind) String() string {
	if s, ok := credentialKinds[k]; ok {
		return s
	}
	return "unknown"
}

// ParseCredentialKind is the inverse of [CredentialKind.String]; ok is false for any other word.
func ParseCredentialKind(word string) (k CredentialKind, ok bool) {
	for k, s := range credentialKinds {
		if s == word {
			return k, true
		}
	}
	return 0, false
}

// certificate reports whether TLS proves it.
func (k CredentialKind) certificate() bool { return k == ClientCertificate || k == ClientKey }

// Credential is something besides a password that a principal is known by. Its ID stays when it is rotated.
type Credential struct {
	ID    string // 12 characters, A to Z and 2 to 7; in the key or client id that people see
	Kind  CredentialKind
	Label string // for people
	// Hash is the SHA-256 of the secret, of the certificate (DER) or of its SubjectPublicKeyInfo. A plain hash is enough: a
	// secret here has 200 random bits, which nobody finds by trying, however fast the hash is.
	Hash [32]byte
	// Previous is the hash before the last rotation, which counts until PreviousUntil.
	Previous      [32]byte
	PreviousUntil time.Time
	Subject       string // of the certificate, for people
	Created       time.Time
	Rotated       time.Time // zero: never
	Expires       time.Time // the first moment at which it does not count any more; zero: never
	Revoked       time.Time // zero: not revoked
}

// Status is the credential's state in a word: usable, expired or revoked.
func (c *Credential) Status(now time.Time) string {
	switch {
	case !c.Revoked.IsZero():
		return "revoked"
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return "expired"
	default:
		return "usable"
	}
}

// works is nil if the credential counts at a time.
func (c *Credential) works(now time.Time) error {
	if s := c.Status(now); s != "usable" {
		return errors.New("the credential is " + s)
	}
	return nil
}

// matches reports whether a hash is the credential's at a time.
func (c *Credential) matches(hash [32]byte, now time.Time) bool {
	current := subtle.ConstantTimeCompare(hash[:], c.Hash[:]) == 1
	previous := subtle.ConstantTimeCompare(hash[:], c.Previous[:]) == 1
	return current || previous && now.Before(c.PreviousUntil)
}

// lookups are what the credential is found by. A certificate that was revoked can be given to another principal.
func (c *Credential) lookups() []string {
	list := []string{idLookup(c.ID)}
	if !c.Kind.certificate() || !c.Revoked.IsZero() {
		return list
	}
	list = append(list, hashLookup(c.Kind, c.Hash))
	if !c.PreviousUntil.IsZero() && c.Previous != c.Hash {
		list = append(list, hashLookup(c.Kind, c.Previous))
	}
	return list
}

func idLookup(id string) string { return "id/" + id }

func hashLookup(k CredentialKind, hash [32]byte) string {
	return k.String() + "/" + hex.EncodeToString(hash[:])
}

const (
	keyPrefix    = "ghk_" // of API keys: prefix, id, _, secret
	clientPrefix = "ghc_" // of client ids: prefix, id
	secretPrefix = "ghs_" // of client secrets: prefix, secret
	tokenPrefix  = "ght_" // of access tokens: prefix, secret

	idLength     = 12
	secretLength = 40 // of five bits each
)

func newCredentialID() string { return rand.Text()[:idLength] }

// newSecret is 200 random bits in letters and digits that need no escaping anywhere.
func newSecret() string { return (rand.Text() + rand.Text())[:secretLength] }

// base32 reports whether a text has a length and nothing but A to Z and 2 to 7.
func base32(text string, length int) bool {
	if len(text) != length {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// splitKey takes an API key apart. Nothing is hashed or looked up that has not its form.
func splitKey(key string) (id string, hash [32]byte, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	id, secret, cut := strings.Cut(rest, "_")
	if !ok || !cut || !base32(id, idLength) || !base32(secret, secretLength) {
		return "", hash, false
	}
	return id, sha256.Sum256([]byte(secret)), true
}

// splitClient reads a client id and its secret.
func splitClient(client, secret string) (id string, hash [32]byte, ok bool) {
	id, one := strings.CutPrefix(client, clientPrefix)
	text, two := strings.CutPrefix(secret, secretPrefix)
	if !one || !two || !base32(id, idLength) || !base32(text, secretLength) {
		return "", hash, false
	}
	return id, sha256.Sum256([]byte(text)), true
}

// Secret is what whoever a credential was made for needs, once.
type Secret struct {
	Key          string // of an APIKey
	ClientID     string // of an OAuthClient
	ClientSecret string // of an OAuthClient
}

// shown is how a secret is handed out for a credential.
func (c *Credential) shown(secret string) Secret {
	switch c.Kind {
	case APIKey:
		return Secret{Key: keyPrefix + c.ID + "_" + secret}
	case OAuthClient:
		return Secret{ClientID: c.Public(), ClientSecret: secretPrefix + secret}
	default:
		return Secret{}
	}
}

// Public is what is no secret of what the holder has: how its key begins, its client id; for a certificate the hash.
func (c *Credential) Public() string {
	switch c.Kind {
	case APIKey:
		return keyPrefix + c.ID + "_…"
	case OAuthClient:
		return clientPrefix + c.ID
	default:
		return "sha256:" + hex.EncodeToString(c.Hash[:])
	}
}

// certificateHash is what a kind keeps of a certificate.
func certificateHash(k CredentialKind, c *x509.Certificate) [32]byte {
	if k == ClientKey {
		return sha256.Sum256(c.RawSubjectPublicKeyInfo)
	}
	return sha256.Sum256(c.Raw)
}

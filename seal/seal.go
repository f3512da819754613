// Package seal keeps small secrets that must lie in a store: MAC keys of external account bindings, private keys,
// credentials of other services.
//
// It decides how a secret is enveloped: a random data key of its own encrypts it, and a key-encryption key of the operator's
// encrypts the data key. It trusts whoever holds a key-encryption key, and the callers to name what a secret is for. It never
// keeps, logs or returns a secret but to a caller that names the same purpose and object as when it was sealed, and never
// opens what was altered.
//
// # Format
//
// A sealed value is, with lengths in octets:
//
//	1   version, 1
//	1   how the data key is wrapped: 1 AES-256-GCM, 2 RSA-OAEP with SHA-256, 3 RSA-OAEP with SHA-1
//	8   id of the key-encryption key
//	2   length of the wrapped data key, big endian
//	…   wrapped data key; for AES-256-GCM nonce (12), ciphertext (32), tag (16)
//	…   nonce (12), ciphertext, tag (16): the secret under the data key
//
// The secret's additional data are the purpose and the object's id, so that a value which was moved to another object does
// not open. Those of a data key that AES wraps are the ten octets before it.
package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Purpose says what a secret is for. It is bound into the sealed value.
type Purpose string

// EABKey is the MAC key of an external account binding (RFC 8555, 7.3.4); the object's id is its key identifier.
const EABKey Purpose = "eab-mac-key"

// PasswordHash is the hash of a password; the object's id is the principal, "user:<number>".
const PasswordHash Purpose = "password-hash"

// MailSecret is a secret in a mail that waits to be sent; the object's id is the mail's.
const MailSecret Purpose = "mail-secret"

// PrivateKey is the private key of a certificate, PKCS #8 in DER; the object is its public key: the SHA-256 of
// SubjectPublicKeyInfo in lower-case hex, which stays the same whatever number the certificate is filed under.
const PrivateKey Purpose = "private-key"

// DownloadPassword is the password of a file with a private key, chosen when the link to it was made; the object is the SHA-256 of
// the link's secret in lower-case hex.
const DownloadPassword Purpose = "download-password"

// MaxSecret is the longest secret that can be sealed, in octets.
const MaxSecret = 64 << 10

// ErrNoKey: something was to be sealed or opened, and no key-encryption key is configured.
var ErrNoKey = problem.New(problem.Conflict, "secrets cannot be kept without a key to seal them with; make one "+
	"(umask 077; openssl rand -base64 32 >/etc/gatehouse/seal.key), give the configuration of every gateway the word "+
	"seal: {key: /etc/gatehouse/seal.key}, and restart")

// UnknownKeyError: a value is sealed under a key-encryption key that is not configured.
type UnknownKeyError struct{ ID KeyID }

// Error names the key and the remedy.
func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("it is sealed under the key %s, which is not configured; add that key to the list old under seal", e.ID)
}

// errDamaged is all that is said of a value that does not open: which octet is wrong is nobody's business.
var errDamaged = errors.New("a sealed value does not open: it was altered, cut short, or belongs to another object")

// Sealer seals under the first of its keys and opens under all. It is safe for concurrent use. A nil Sealer has no keys:
// its methods return [ErrNoKey].
type Sealer struct {
	keys []*Key
}

// New makes a Sealer. There must be at least one key, and none twice.
func New(keys ...*Key) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no key was given")
	}
	seen := map[KeyID]bool{}
	for _, k := range keys {
		if seen[k.id] {
			return nil, fmt.Errorf("the key %s is given twice; remove one", k.id)
		}
		seen[k.id] = true
	}
	return &Sealer{keys: keys}, nil
}

// Keys lists the ids of the keys, the one that seals first.
func (s *Sealer) Keys() []KeyID {
	if s == nil {
		return nil
	}
	ids := make([]KeyID, len(s.keys))
	for i, k := range s.keys {
		ids[i] = k.id
	}
	return ids
}

// Opens is nil if the key that a value is sealed under is configured; [ErrNoKey], *[UnknownKeyError], or that it is no
// sealed value. It does not open it.
func (s *Sealer) Opens(sealed []byte) error {
	e, err := parse(sealed)
	if err != nil {
		return err
	}
	_, err = s.key(e.key)
	return err
}

// KeyOf is the id of the key that a value is sealed under.
func KeyOf(sealed []byte) (KeyID, error) {
	e, err := parse(sealed)
	if err != nil {
		return KeyID{}, err
	}
	return e.key, nil
}

func (s *Sealer) key(id KeyID) (*Key, error) {
	if s == nil {
		return nil, ErrNoKey
	}
	for _, k := range s.keys {
		if k.id == id {
			return k, nil
		}
	}
	return nil, &UnknownKeyError{id}
}

// Seal envelopes a secret of at most [MaxSecret] octets. purpose and id must be named again to open it; id is the object's
// and unique for the purpose.
func (s *Sealer) Seal(ctx context.Context, purpose Purpose, id string, secret []byte) ([]byte, error) {
	switch {
	case s == nil:
		return nil, ErrNoKey
	case purpose == "" || id == "":
		return nil, errors.New("seal: a secret needs a purpose and an object")
	case len(secret) == 0 || len(secret) > MaxSecret:
		return nil, fmt.Errorf("seal: a secret has 1 to %d octets, not %d", MaxSecret, len(secret))
	}
	var dataKey [keySize]byte
	defer clear(dataKey[:])
	rand.Read(dataKey[:])
	body, err := encrypt(dataKey[:], secret, additional(purpose, id))
	if err != nil {
		return nil, err
	}
	return s.envelope(ctx, dataKey[:], body)
}

// envelope wraps a data key under the first key and puts its ciphertext behind it.
func (s *Sealer) envelope(ctx context.Context, dataKey, body []byte) ([]byte, error) {
	k := s.keys[0]
	e := envelope{wrapping: k.wrapping, key: k.id, body: body}
	var err error
	if e.wrapped, err = k.wrap(ctx, dataKey, e.head()); err != nil {
		return nil, fmt.Errorf("sealing under the key %s: %w", k.id, err)
	}
	return e.bytes(), nil
}

// Open gives the secret back. The caller wipes it (clear) when it is done. Errors are [ErrNoKey], *[UnknownKeyError], that a
// token does not answer, or one that says that the value does not open; none holds a secret.
func (s *Sealer) Open(ctx context.Context, purpose Purpose, id string, sealed []byte) ([]byte, error) {
	secret, dataKey, err := s.open(ctx, purpose, id, sealed)
	clear(dataKey)
	return secret, err
}

func (s *Sealer) open(ctx context.Context, purpose Purpose, id string, sealed []byte) (secret, dataKey []byte, err error) {
	e, err := parse(sealed)
	if err != nil {
		return nil, nil, err
	}
	k, err := s.key(e.key)
	if err != nil {
		return nil, nil, err
	}
	if dataKey, err = k.unwrap(ctx, e.wrapping, e.wrapped, e.head()); err != nil {
		return nil, nil, err
	}
	if secret, err = decrypt(dataKey, e.body, additional(purpose, id)); err != nil {
		clear(dataKey)
		return nil, nil, err
	}
	return secret, dataKey, nil
}

// Rewrap is the same secret under the first key: the data key is wrapped anew, the ciphertext stays. changed is false if it
// is under the first key already.
func (s *Sealer) Rewrap(ctx context.Context, purpose Purpose, id string, sealed []byte) (next []byte, changed bool, err error) {
	secret, dataKey, err := s.open(ctx, purpose, id, sealed)
	defer clear(dataKey)
	clear(secret)
	if err != nil {
		return nil, false, err
	}
	e, err := parse(sealed)
	if err != nil || e.key == s.keys[0].id && e.wrapping == s.keys[0].wrapping {
		return sealed, false, err
	}
	next, err = s.envelope(ctx, dataKey, e.body)
	return next, err == nil, err
}

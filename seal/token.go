package seal

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	minRSA = 2048 // bits
	maxRSA = 8192
	// tokenCalls bounds how many decryptions a token is given at once. One that hangs keeps its place, so that a token which
	// never answers costs no more than so many goroutines.
	tokenCalls = 8
	// tokenTime is how long a decryption may take before its caller is told to come back.
	tokenTime = 10 * time.Second
)

// token is an RSA key whose private half a token keeps.
type token struct {
	private crypto.Decrypter
	public  *rsa.PublicKey
	calls   chan struct{}
}

// NewTokenKey makes a key-encryption key of an RSA key of 2048 to 8192 bits that can decrypt by OAEP, such as one on a
// PKCS#11 token. Data keys are wrapped here with the public half and unwrapped by the token. SHA-256 is used, or SHA-1 where
// the token has nothing else (OAEP does not rest on the hash's resistance to collisions): what it can do is tried now. An
// error says what to change.
func NewTokenKey(ctx context.Context, private crypto.Decrypter) (*Key, error) {
	public, ok := private.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a %T cannot wrap keys; name an RSA key", private.Public())
	}
	if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("the RSA key has %d bits; use one of %d to %d", bits, minRSA, maxRSA)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	k := &Key{id: KeyID(sum[:8]), token: &token{private: private, public: public, calls: make(chan struct{}, tokenCalls)}}
	var refusals []error
	for _, k.wrapping = range []wrapping{wrapOAEP, wrapOAEPSHA1} {
		err := k.token.try(ctx, k.wrapping)
		if err == nil {
			return k, nil
		}
		if problem.Is(err, problem.Unavailable) {
			return nil, err
		}
		refusals = append(refusals, err)
	}
	return nil, fmt.Errorf("the key cannot decrypt by RSA-OAEP, neither with SHA-256 nor with SHA-1; was it made for decryption (CKA_DECRYPT)? %w", errors.Join(refusals...))
}

// try wraps something and has the token unwrap it.
func (t *token) try(ctx context.Context, how wrapping) error {
	var probe [keySize]byte
	rand.Read(probe[:])
	wrapped, err := t.wrap(probe[:], how)
	if err != nil {
		return err
	}
	back, err := t.unwrap(ctx, wrapped, how)
	if err == nil && subtle.ConstantTimeCompare(back, probe[:]) != 1 {
		err = errors.New("what it decrypts is not what was encrypted; are both halves of the key one pair?")
	}
	return err
}

// oaepHash is the hash of a way of wrapping, for label and mask.
func oaepHash(how wrapping) (func() hash.Hash, crypto.Hash) {
	if how == wrapOAEPSHA1 {
		return sha1.New, crypto.SHA1
	}
	return sha256.New, crypto.SHA256
}

func (t *token) wrap(dataKey []byte, how wrapping) ([]byte, error) {
	h, _ := oaepHash(how)
	return rsa.EncryptOAEP(h(), rand.Reader, t.public, dataKey, nil)
}

// unwrap asks the token, which may hang: no caller waits longer than tokenTime, or than its context lasts.
func (t *token) unwrap(ctx context.Context, wrapped []byte, how wrapping) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTime)
	defer cancel()
	select {
	case t.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, errTokenBusy
	}
	type result struct {
		key []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.calls }()
		_, h := oaepHash(how)
		key, err := t.private.Decrypt(rand.Reader, wrapped, &rsa.OAEPOptions{Hash: h})
		done <- result{key, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("the token does not unwrap a data key: %w", r.err)
		}
		return r.key, nil
	case <-ctx.Done():
		return nil, errTokenBusy
	}
}

var errTokenBusy = problem.New(problem.Unavailable, "the token that holds the seal key does not answer; try again later").After(tokenTime)

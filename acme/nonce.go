package acme

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// A nonce is 32 bytes: when it expires (Unix milliseconds, 6 bytes), 10 random bytes, and the first 16 bytes of an
// HMAC-SHA-256 over both. It is made without touching the store. A stranger's nonce is refused without touching the
// store either: the store only has to remember which of the genuine, unexpired ones were used.
const (
	nonceLifetime = 5 * time.Minute
	nonceExpiry   = 6
	nonceBody     = 16
	nonceLength   = 32

	nonceRotation = 24 * time.Hour // a key signs for a day and is accepted for another
	// nonceGrace is how long a new key is accepted before it signs, so that every gateway process of a deployment, each
	// reading the keys every nonceRefresh, knows it before it meets a nonce of it.
	nonceGrace   = 3 * time.Minute
	nonceRefresh = time.Minute
)

// nonces makes and checks nonces. It is safe for concurrent use.
type nonces struct {
	store Store
	now   func() time.Time
	keys  atomic.Pointer[NonceKeys]
}

func newNonces(ctx context.Context, store Store, now func() time.Time) (*nonces, error) {
	n := &nonces{store: store, now: now}
	return n, n.read(ctx)
}

func (n *nonces) read(ctx context.Context) error {
	keys, err := n.store.NonceKeys(ctx)
	if err != nil {
		return err
	}
	n.keys.Store(&keys)
	return nil
}

// refresh reads the keys and puts new ones in their place once they are a day old. Of several processes that find them
// old one succeeds; the others read its keys.
func (n *nonces) refresh(ctx context.Context) error {
	if err := n.read(ctx); err != nil {
		return err
	}
	keys, now := n.keys.Load(), n.now()
	if now.Sub(keys.Made) < nonceRotation {
		return nil
	}
	next := NonceKeys{Previous: keys.Current, Made: now.UTC().Truncate(time.Second), Version: keys.Version}
	rand.Read(next.Current[:]) // never fails: crypto/rand aborts the process instead
	if err := n.store.RotateNonceKeys(ctx, next); err != nil && !problem.Is(err, problem.Conflict) {
		return err
	}
	return n.read(ctx)
}

// fresh makes a nonce (RFC 8555, 6.5.1: base64url, and nobody can guess it).
func (n *nonces) fresh() string {
	var b [nonceLength]byte
	now := n.now()
	var expiry [8]byte
	binary.BigEndian.PutUint64(expiry[:], uint64(now.Add(nonceLifetime).UnixMilli()))
	copy(b[:nonceExpiry], expiry[2:])
	rand.Read(b[nonceExpiry:nonceBody]) // never fails: crypto/rand aborts the process instead
	keys := n.keys.Load()
	key := &keys.Current
	if now.Sub(keys.Made) < nonceGrace && keys.Previous != [32]byte{} {
		key = &keys.Previous
	}
	mac := nonceMAC(key, b[:nonceBody])
	copy(b[nonceBody:], mac[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// check puts a genuine, unexpired nonce into a; anything else is BadNonce (RFC 8555, 6.5). Whether it was used before is
// for the store to say.
func (n *nonces) check(nonce string, a *Admission) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceLength {
		return problem.New(problem.BadNonce, "the nonce was not made here; use the one in this answer")
	}
	keys := n.keys.Load()
	if !genuine(&keys.Current, b) && !genuine(&keys.Previous, b) {
		return problem.New(problem.BadNonce, "the nonce was not made here, or long ago; use the one in this answer")
	}
	var expiry [8]byte
	copy(expiry[2:], b[:nonceExpiry])
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(expiry[:]))).UTC()
	if !n.now().Before(until) {
		return problem.New(problem.BadNonce, "the nonce is older than %s; use the one in this answer", nonceLifetime)
	}
	a.Nonce, a.NonceMade, a.NonceUntil = b, until.Add(-nonceLifetime), until
	return nil
}

// genuine compares MACs in constant time. The zero key is no key: there is none before the first rotation, and anybody
// could compute with it.
func genuine(key *[32]byte, nonce []byte) bool {
	if *key == [32]byte{} {
		return false
	}
	mac := nonceMAC(key, nonce[:nonceBody])
	return hmac.Equal(mac[:], nonce[nonceBody:])
}

func nonceMAC(key *[32]byte, body []byte) (mac [nonceLength - nonceBody]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(body)
	var sum [sha256.Size]byte
	copy(mac[:], h.Sum(sum[:0]))
	return mac
}

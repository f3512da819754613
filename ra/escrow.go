package ra

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"runtime"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// Private keys are kept for enrollments whose requester wants it and whose profile allows it: made here, or uploaded later. A key
// is sealed before it leaves memory, and recorded in one commit with the enrollment that says that it has one, so that there is
// never one without the other. It is opened for nothing but a download, and for being sealed anew.
//
// Whatever happens to a key is in the store first and leaves a note there; the journal comes next, then the note goes, and then
// whoever asked is told. An entry holds the key, sealed, and the certificate, so that any one of them gives both back.

// The defaults of [Escrow].
const (
	DefaultKeyWait      = 20 * time.Second
	DefaultKeysWaiting  = 16
	DefaultLinkLifetime = 15 * time.Minute
	MaxLinkLifetime     = 24 * time.Hour
	DefaultKeyRetention = 30 * 24 * time.Hour
	// NewestLinks is how many of the links that were made for one key can be used: to make another voids the oldest.
	NewestLinks = 10
	// DefaultLinksPerHour is how many links may be made for the keys of one organisation in an hour.
	DefaultLinksPerHour = 600
)

// Escrow is what keeping private keys needs. The zero value keeps none.
type Escrow struct {
	Store  KeyStore     // nil: none is kept
	Sealer *seal.Sealer // nil: none can be made, uploaded or downloaded
	// AtOnce is how many keys are made, and files of them written, at once; both take a processor each. Default: half of the
	// processors, one at least. Wait is how long a request waits for its turn; default [DefaultKeyWait].
	// Waiting is how many of one organisation wait for their turn; default [DefaultKeysWaiting]. Organisations take turns.
	AtOnce, Waiting int
	Wait            time.Duration
	// LinkLifetime is how long a link can be used. Default [DefaultLinkLifetime], at most [MaxLinkLifetime].
	LinkLifetime time.Duration
	// LinksPerHour is how many may be made for keys of one organisation, but for those of the operator. Default
	// [DefaultLinksPerHour]; below zero, any number.
	LinksPerHour int
	// Acting finds the caller that a principal is now, with the roles it has; an error if it may do nothing any more. A link of
	// one that may not download the key any more does not serve. Nil: a link serves whatever becomes of who made it.
	Acting func(ctx context.Context, principal string) (auth.Caller, error)
	// Retention is how long after its certificate has expired a key is kept. Default [DefaultKeyRetention].
	Retention time.Duration
}

func (c Escrow) withDefaults() Escrow {
	if c.AtOnce <= 0 {
		c.AtOnce = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if c.Waiting <= 0 {
		c.Waiting = DefaultKeysWaiting
	}
	if c.Wait <= 0 {
		c.Wait = DefaultKeyWait
	}
	if c.LinkLifetime <= 0 {
		c.LinkLifetime = DefaultLinkLifetime
	}
	c.LinkLifetime = min(c.LinkLifetime, MaxLinkLifetime)
	if c.LinksPerHour == 0 {
		c.LinksPerHour = DefaultLinksPerHour
	}
	if c.Retention <= 0 {
		c.Retention = DefaultKeyRetention
	}
	return c
}

// KeyOrigin says where a key came from.
type KeyOrigin uint8

// The origins.
const (
	KeyMade     KeyOrigin = iota + 1 // the gateway made it
	KeyUploaded                      // somebody uploaded it
)

// String is the origin's word; "unknown" for what is none.
func (o KeyOrigin) String() string {
	switch o {
	case KeyMade:
		return "made here"
	case KeyUploaded:
		return "uploaded"
	default:
		return "unknown"
	}
}

// StoredKey is a private key as it is kept. It has no secret in clear.
type StoredKey struct {
	Enrollment ID
	Origin     KeyOrigin
	By         string    // principal who had it made, or uploaded it
	At         time.Time // as [Enrollment].KeyStored
	Type       policy.KeyType
	Public     [32]byte // SHA-256 of its public key (SubjectPublicKeyInfo)
	Sealed     []byte   // PKCS #8 in DER, under seal.PrivateKey and Public in hex
	Rewraps    int      // how often it was sealed anew: of two states of one key the one with more is the later
}

// object is what the sealed key is bound to.
func (k *StoredKey) object() string { return hex.EncodeToString(k.Public[:]) }

// KeyNote says that a journal may lack what happened to an enrollment's key.
type KeyNote struct {
	Enrollment ID
	At         time.Time // to the millisecond
}

// KeyStore is what is kept of private keys. Keys are recorded, sealed anew and destroyed by the methods of [Store] that write
// enrollments: one that says that it has a key is recorded with it, one that does not any more takes it along. Errors are as
// those of Store.
type KeyStore interface {
	// PrivateKey reads an enrollment's key; NotFound if there is none.
	PrivateKey(ctx context.Context, id ID) (*StoredKey, error)
	// PrivateKeys lists keys by their enrollments' numbers, behind one, at most limit; fewer only if there are no more.
	PrivateKeys(ctx context.Context, after ID, limit int) ([]*StoredKey, error)
	// EndedKeys lists enrollments that have a key and a certificate whose notAfter is before a time, at most limit.
	EndedKeys(ctx context.Context, before time.Time, limit int) ([]*Enrollment, error)
	// UnjournaledKeys lists the notes that are older than a time, at most limit.
	UnjournaledKeys(ctx context.Context, before time.Time, limit int) ([]KeyNote, error)
	// KeyJournaled removes a note, if the enrollment is still as it was read; otherwise it stays. A nil enrollment is one that
	// there is not any more.
	KeyJournaled(ctx context.Context, note KeyNote, e *Enrollment) error
	// AddDownload records a link, and forgets it when it expires. Of those that were made for one enrollment so many of the newest
	// can be used; it voids the one before.
	AddDownload(ctx context.Context, d *Download, newest int) error
	// TakeLink counts a link that is made for an enrollment of an organisation, of which so many may be made in an hour. wait is how
	// long it is until there may be one, zero if there may be now.
	TakeLink(ctx context.Context, org auth.OrgID, perHour int) (wait time.Duration, err error)
	// Download reads a link by the hash of its secret; NotFound if there is none (any more).
	Download(ctx context.Context, hash [32]byte) (*Download, error)
	// UseDownload removes a link, as it was read; Conflict if somebody else did first, or the key was destroyed.
	UseDownload(ctx context.Context, d *Download) error
}

// note is the one that the last change of an enrollment's key left.
func (e *Enrollment) note() KeyNote { return KeyNote{Enrollment: e.ID, At: e.KeyChanged()} }

// KeyChanged is when an enrollment's key was recorded or, if it has none any more, destroyed; zero if it never had one.
func (e *Enrollment) KeyChanged() time.Time {
	if !e.KeyStored.IsZero() {
		return e.KeyStored
	}
	return e.KeyDestroyed
}

// DestroyKey makes it an enrollment without a private key, also if that is kept somewhere else and comes back by a replay. Once it
// is recorded the key is gone from the store.
func (e *Enrollment) DestroyKey(at time.Time) {
	at = at.UTC().Truncate(time.Millisecond)
	if at.Before(e.KeyStored) {
		at = e.KeyStored
	}
	if at.After(e.KeyDestroyed) {
		e.KeyDestroyed = at
	}
	e.KeyStored, e.Key = time.Time{}, nil
}

// endKey is DestroyKey for what ends without a certificate, if it has a key: nobody can do anything with that.
func (e *Enrollment) endKey(at time.Time) {
	if !e.KeyStored.IsZero() {
		e.DestroyKey(at)
	}
}

// storeKey makes it an enrollment with a private key.
func (e *Enrollment) storeKey(k *StoredKey, now time.Time) {
	at := now.UTC().Truncate(time.Millisecond)
	if !at.After(e.KeyDestroyed) { // what a replay tells the two apart by
		at = e.KeyDestroyed.Add(time.Millisecond)
	}
	k.Enrollment, k.At = e.ID, at
	e.KeyStored, e.Key = at, k
}

// mayHandleKey is nil for the one who asked for an enrollment, while he may still ask for others there, and for administrators.
// Those who may not know of the enrollment hear that there is none.
func (r *Registrar) mayHandleKey(caller auth.Caller, e *Enrollment) error {
	if err := r.may(caller, auth.View, e.Org, absent(e.ID)); err != nil {
		return err
	}
	if caller.Principal != "" && caller.Principal == e.Requester {
		if err := r.may(caller, auth.Request, e.Org, absent(e.ID)); err == nil {
			return nil
		}
	}
	err := r.may(caller, auth.ReadKeys, e.Org, absent(e.ID))
	if problem.Is(err, problem.Unauthorized) {
		return problem.New(problem.Unauthorized, "the private key of enrollment %d is for its requester and for administrators", e.ID)
	}
	return err
}

// escrowed reads an enrollment whose key the caller may handle.
func (r *Registrar) escrowed(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	if err := r.mayHandleKey(caller, e); err != nil {
		return nil, err
	}
	if r.Escrow.Store == nil {
		return nil, noKey(e)
	}
	return e, nil
}

// ErrNoKeyKept is in the chain of the refusal of what would need a private key that is kept, for doors that have a word for it.
var ErrNoKeyKept = errors.New("ra: no private key is kept")

// noKey says that there is none.
func noKey(e *Enrollment) error {
	if !e.KeyDestroyed.IsZero() {
		return problem.Wrap(ErrNoKeyKept, problem.Conflict, "the private key of enrollment %d was destroyed at %s", e.ID, e.KeyDestroyed.Format(time.RFC3339))
	}
	return problem.Wrap(ErrNoKeyKept, problem.Conflict, "no private key is kept for enrollment %d; it is with whoever made the CSR", e.ID)
}

// KeyOf says what is kept of an enrollment's private key: nothing secret. For those who may download it.
func (r *Registrar) KeyOf(ctx context.Context, caller auth.Caller, id ID) (*StoredKey, error) {
	e, err := r.escrowed(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return r.storedKey(ctx, e)
}

func (r *Registrar) storedKey(ctx context.Context, e *Enrollment) (*StoredKey, error) {
	if e.KeyStored.IsZero() {
		return nil, noKey(e)
	}
	k, err := r.Escrow.Store.PrivateKey(ctx, e.ID)
	if problem.Is(err, problem.NotFound) { // destroyed meanwhile
		return nil, noKey(e)
	}
	return k, err
}

// publicHash is the SHA-256 of a public key.
func publicHash(public crypto.PublicKey) ([32]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	return sha256.Sum256(spki), err
}

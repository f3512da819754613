package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Admission is what a signed request claims about itself before its signature is verified.
type Admission struct {
	Nonce       []byte // whose MAC and expiry have been checked
	NonceMade   time.Time
	NonceUntil  time.Time
	Account     AccountID // from kid; empty for a jwk request
	Thumbprint  string    // of the jwk; empty for a kid request. Finds the account whose key it is, if any
	Order       OrderID   // the object the URL names; at most one of the three
	Authz       AuthzID
	Certificate *CertificateID
	Takes       []Take // what it costs, if the nonce was not used before
}

// Admitted is what the store knows of them. A nil pointer means absent.
type Admitted struct {
	Fresh       bool // the nonce was not used before
	Account     *Account
	Order       *Order
	Authz       *Authorization
	Certificate *ca.Certificate
}

// Facts are what an order's status depends on besides itself: its authorizations in the order's sequence, and its
// enrollment once finalize began (nil before).
type Facts struct {
	Authorizations []*Authorization
	Enrollment     *ra.Enrollment
}

// OrderBegun is the fact that goes into the commit of the first intent (ra.Issuance.Begin): the order, as it was read,
// now has the enrollment, and a certificate that it replaces is replaced by it. If the order changed meanwhile, or is no
// longer the one that replaces that certificate, the commit is a Conflict.
type OrderBegun struct {
	Order      *Order
	Enrollment ra.ID
	// Authorizations are those the issuance relies on, as they were read. One that was given up meanwhile (RFC 8555, 7.5.2)
	// makes the commit a Conflict, too.
	Authorizations []*Authorization
}

// NonceKeys are the keys nonces are authenticated with.
type NonceKeys struct {
	Current, Previous [32]byte
	Made              time.Time // of Current
	Version           [16]byte
}

// Store is what the ACME door keeps. Every write is durable on return and a transition: it applies only if the object is
// as it was read (its Version), else it is a Conflict and nothing changes. On success the object passed in carries its
// new version. Every method is safe for concurrent use. Errors are *problem.Error: NotFound, Conflict or Unavailable; of
// methods that take from limits also *Refused.
type Store interface {
	// Admit marks the nonce used, takes from the limits and reads what the request is about, in one round trip. The nonce is
	// used up also if a limit refuses.
	Admit(ctx context.Context, a Admission) (Admitted, error)
	// CreateAccount puts a new account; Conflict if its key has one already. An account that was bound by an external account
	// key becomes one of that key's accounts, and the account of one that serves only one: Conflict if the key is not as by is
	// any more. by is nil for others, and is not changed.
	CreateAccount(ctx context.Context, a *Account, by *auth.EABKey) error
	// AccountByKey finds the account of a key's thumbprint, if it still has that key.
	AccountByKey(ctx context.Context, thumbprint string) (*Account, error)
	// RollKey gives an account the key that it has in a, in place of the key with the thumbprint old, by which it is not
	// found any more. Conflict also if the new key has an account.
	RollKey(ctx context.Context, a *Account, old string) error
	// UpdateAccount records changed contacts, terms or status.
	UpdateAccount(ctx context.Context, a *Account) error
	// Take takes from all the limits or from none.
	Take(ctx context.Context, takes ...Take) error
	// UsableAuthorizations finds, per name, the account's newest authorization that became valid, or nil. It takes from the
	// limits in the same trip.
	UsableAuthorizations(ctx context.Context, account AccountID, names []identifier.Identifier, takes ...Take) ([]*Authorization, error)
	// CreateAuthorization puts a new authorization of no order.
	CreateAuthorization(ctx context.Context, a *Authorization) error
	// DeactivateAuthorization records that the account gave it up. Its validation, if one is under way, is not due any more,
	// and newOrder does not find it.
	DeactivateAuthorization(ctx context.Context, a *Authorization) error
	// Predecessor reads a certificate that an order is to replace, and which order replaces it. What is absent is nil.
	Predecessor(ctx context.Context, id CertificateID) (Predecessor, error)
	// CreateOrder puts an order and those of its authorizations that are new. An order that replaces a certificate becomes
	// the one that does; Conflict if another became that since Replaces.Mark was read.
	CreateOrder(ctx context.Context, o *Order, fresh []*Authorization) error
	// OrderFacts reads what the order's status depends on, in one round trip.
	OrderFacts(ctx context.Context, o *Order) (Facts, error)
	// FinalizeFacts is OrderFacts that also tells, in the same round trip, whether AccountByKey would have an account to look at
	// for a key's thumbprint: it can find one only if claimed.
	FinalizeFacts(ctx context.Context, o *Order, thumbprint string) (f Facts, claimed bool, err error)
	// Orders lists an account's orders, newest first, behind a cursor ("" from the start); the second result is the next
	// cursor, "" at the end. Cursors are any octets, and NotFound means that this is none that Orders could have given.
	Orders(ctx context.Context, account AccountID, cursor string, limit int) ([]*Order, string, error)
	// BeginChallenge records that a validation is under way until due, when a sweep may start it again.
	BeginChallenge(ctx context.Context, a *Authorization, due time.Time) error
	// FinishChallenge records a validation's outcome: a proof or an error. If valid, newOrder finds the authorization by
	// account and name from then on.
	FinishChallenge(ctx context.Context, a *Authorization) error
	// DueChallenges lists authorizations whose validation is under way and due, at most limit.
	DueChallenges(ctx context.Context, now time.Time, limit int) ([]*Authorization, error)
	// Failures lists authorizations of which a validation failed, newest first, of an organisation or, if that is zero, of all,
	// behind a cursor ("" from the start). A cursor that is none is Malformed.
	Failures(ctx context.Context, org auth.OrgID, cursor string, limit int) ([]ListedFailure, error)
	// SweepFailures takes those from the list that failed FailureDays before now, and the oldest beyond the store's bound, at
	// most limit; it returns how many.
	SweepFailures(ctx context.Context, now time.Time, limit int) (int, error)
	// NonceKeys reads the keys, making them the first time.
	NonceKeys(ctx context.Context) (NonceKeys, error)
	// RotateNonceKeys puts next in place of the keys as they were read.
	RotateNonceKeys(ctx context.Context, next NonceKeys) error
	// SweepOrders removes list entries of orders that expired before now, at most limit; it returns how many.
	SweepOrders(ctx context.Context, now time.Time, limit int) (int, error)
}

package auth

import (
	"context"
	"time"
)

// PrincipalStore is what is kept of principals, by the rules of [Store].
type PrincipalStore interface {
	// Principal reads one; NotFound if there is none.
	Principal(ctx context.Context, id PrincipalID) (*Principal, error)
	// PrincipalByLogin finds who has a login below a customer; NotFound.
	PrincipalByLogin(ctx context.Context, customer OrgID, login string) (PrincipalID, error)
	// PrincipalByLookup finds whose credential one of [Principal.Lookups] names; NotFound.
	PrincipalByLookup(ctx context.Context, lookup string) (PrincipalID, error)
	// Principals lists principals, newest first, whose home is an organisation, or (zero) all, behind a cursor ("" from the
	// start); the second result is the next cursor, "" at the end. NotFound if a cursor is none of its own.
	Principals(ctx context.Context, org OrgID, cursor string, limit int) ([]*Principal, string, error)
	// CreatePrincipal puts a new one; Conflict if its number, login or one of its lookups is another's.
	CreatePrincipal(ctx context.Context, p *Principal) (Note, error)
	// UpdatePrincipal puts a changed one in place of old, as which it was read; Conflict also if a new lookup is another's.
	UpdatePrincipal(ctx context.Context, old, p *Principal) (Note, error)

	// What follows is in no journal and may be lost with the store.

	// CredentialUsed reads when credentials were last used, zero if never; CredentialUse writes it.
	CredentialUsed(ctx context.Context, ids ...string) ([]time.Time, error)
	CredentialUse(ctx context.Context, id string, at time.Time) error
	// KnownAddress reports whether RememberAddress was told of a principal at an address, until a time that has not come.
	KnownAddress(ctx context.Context, id PrincipalID, address string) (bool, error)
	RememberAddress(ctx context.Context, id PrincipalID, address string, until time.Time) error
	// PutToken keeps an access token under its hash until it expires; AccessToken reads it, NotFound.
	PutToken(ctx context.Context, hash [32]byte, t AccessToken) error
	AccessToken(ctx context.Context, hash [32]byte) (AccessToken, error)
	// Attempt takes one unit from every rate, or from none and says how long to wait until that would succeed. Units are not durable.
	Attempt(ctx context.Context, rates ...AttemptRate) (wait time.Duration, err error)
}

// AccessToken is what is kept of an access token of OAuth2.
type AccessToken struct {
	Principal  PrincipalID
	Credential string   // the id of its OAuthClient
	Secret     [32]byte // the hash of the client's secret that it was given for
	Expires    time.Time
}

// Rate is how often something may be tried: Burst times at once, and once more after each Interval.
type Rate struct {
	Burst    int
	Interval time.Duration
}

// AttemptRate is a rate and whose it is: Name and Of together are one counter.
type AttemptRate struct {
	Rate
	Name string // one of a few words
	Of   string // at most 200 octets
}

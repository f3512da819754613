package auth

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// Store is what this package keeps. Every write is durable on return and a transition: it applies only if what it rests on
// is as it was read, else it is a Conflict and nothing changes. On success the object passed in carries its new version.
// Each write of an organisation, a key or a principal also leaves a note that the journal may not have it, which Journaled takes away.
// All methods are safe for concurrent use. Errors are *problem.Error: NotFound, Conflict or Unavailable.
type Store interface {
	// OrgsVersion changes with every change of any organisation; zero while there are none. One cheap round trip.
	OrgsVersion(ctx context.Context) ([16]byte, error)
	// Orgs reads every organisation as of one moment, by number, and the version of that moment.
	Orgs(ctx context.Context) ([]*Org, [16]byte, error)
	// NextOrg gives a number that no organisation has had.
	NextOrg(ctx context.Context) (OrgID, error)
	// CreateOrg puts a new one, if the organisations still have a version; Conflict also if its number or slug is another's.
	CreateOrg(ctx context.Context, o *Org, orgs [16]byte) (Note, error)
	// UpdateOrg puts a changed one, if the organisations still have a version.
	UpdateOrg(ctx context.Context, o *Org, orgs [16]byte) (Note, error)
	// WatchOrgs hints that organisations have changed, until ctx ends. Hints may be merged or lost.
	WatchOrgs(ctx context.Context) <-chan string

	// EABKey reads a key; NotFound if there is none.
	EABKey(ctx context.Context, id string) (*EABKey, error)
	// EABKeys lists keys, newest first, of one organisation or (zero) of all, behind a cursor ("" from the start); the second
	// result is the next cursor, "" at the end. NotFound if a cursor is none of its own.
	EABKeys(ctx context.Context, org OrgID, cursor string, limit int) ([]*EABKey, string, error)
	// EABAccounts lists accounts that were bound by a key, at most limit, and counts them all.
	EABAccounts(ctx context.Context, id string, limit int) ([]string, int64, error)
	// EABKeysOf lists keys of an organisation that were not removed, oldest first, limit of them behind the first offset, and
	// counts them all.
	EABKeysOf(ctx context.Context, org OrgID, offset, limit int) ([]*EABKey, int64, error)
	// EABKeyOfNumber reads the key with a number; NotFound if none has it.
	EABKeyOfNumber(ctx context.Context, n int32) (*EABKey, error)
	// EABClients lists accounts that were bound by a key, limit of them behind the first offset, and counts them all.
	EABClients(ctx context.Context, id string, offset, limit int) ([]EABClient, int64, error)
	// NextEABNumber gives a number that no key has had.
	NextEABNumber(ctx context.Context) (int32, error)
	// CreateEABKey puts a new one; Conflict also if its number is another's.
	CreateEABKey(ctx context.Context, k *EABKey) (Note, error)
	// UpdateEABKey puts a changed one, whose number is as it was. One that was removed leaves the list of its organisation.
	UpdateEABKey(ctx context.Context, k *EABKey) (Note, error)
	// NumberEABKey puts one that had no number and has one now; Conflict also if the number is another's.
	NumberEABKey(ctx context.Context, k *EABKey) (Note, error)

	PrincipalStore

	// Unjournaled lists notes that were left before a time, at most limit.
	Unjournaled(ctx context.Context, before time.Time, limit int) ([]Note, error)
	// Journaled takes a note away.
	Journaled(ctx context.Context, n Note) error
}

// Note says that an object was changed, and that the journal may not hold that.
type Note struct {
	Org       OrgID  // one of the three
	EABKey    string // its ID
	Principal PrincipalID
	At        time.Time
}

// Journal is the audit journal as this package needs it: durable on return, or an error.
type Journal interface {
	Append(ctx context.Context, events ...audit.Event) error
}

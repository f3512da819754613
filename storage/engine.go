// Package storage keeps the typed state of every other package, written once over a small [Engine].
//
// It decides how records are encoded, which key and which index they stand in, and which commit carries them
// (docs/storage.md is the table). It trusts the engine for atomicity and durability, and its callers for their own
// state rules. It never answers in protocol terms: absence, conflict and unavailability are all it knows.
package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// Errors that an [Engine] returns, wrapped. Anything else is a programming error.
var (
	// ErrConflict: a precondition of a Commit did not hold. Nothing was changed.
	ErrConflict = errors.New("storage: a precondition does not hold")
	// ErrUnknown: the engine does not know whether a Commit happened. One Get of a key the batch puts settles it: the
	// commit happened if the key carries the batch's version.
	ErrUnknown = errors.New("storage: unknown whether the commit happened")
	// ErrUnavailable: the engine cannot serve now; surely nothing was changed. Retry later.
	ErrUnavailable = errors.New("storage: unavailable")
)

// Key names one record, in 1 to 512 bytes; the engine may prefix it.
type Key string

// Version identifies one write of a record: 16 random bytes made by the committer, so that a committer can recognise
// its own write after a timeout.
type Version [16]byte

// NewVersion makes a version nobody else will make.
func NewVersion() (v Version) {
	rand.Read(v[:]) // never fails: crypto/rand aborts the process instead
	return v
}

// Item is what a Get found under one key. Absent and expired records look alike: Found is false, the rest zero.
type Item struct {
	Found   bool
	Value   []byte // the caller may keep it, and must not change it
	Version Version
}

// Put writes one record under the batch's version.
type Put struct {
	Key   Key
	Value []byte
	// Expires removes the record at that time, to the second or better; zero keeps it for ever. An expired record is
	// never returned, whether or not its bytes are gone yet.
	Expires time.Time
}

// Entry is one member of an index. An index is an ordered set of byte strings of at most 512 bytes each, the empty one
// included; its name has 1 to 512 bytes, like that of a sequence.
type Entry struct {
	Index  string
	Member []byte
}

// Want says what a [Condition] demands of its key.
type Want uint8

// The demands. Absent and Present treat an expired record as absent.
const (
	Absent  Want = iota + 1
	Present      // any version
	Equals       // present with exactly Condition.Version
)

// Condition is a precondition of a commit, on any key, also one the batch does not write.
type Condition struct {
	Key     Key
	Want    Want
	Version Version // for Equals
}

// Batch is one atomic change. A batch that names a key twice among Puts and Deletes is refused as a programming error.
type Batch struct {
	Version    Version // of every put; the engine refuses the zero value
	Conditions []Condition
	Puts       []Put
	Deletes    []Key
	Adds       []Entry // adding a member that is there changes nothing
	Removes    []Entry // removing one that is not there changes nothing; applied before Adds

	aside aside // what rides along; engines never see it
}

// Limit is a rate limit by the generic cell rate algorithm: on average one unit per Interval, Burst units at once. One
// Spend names each Key once.
type Limit struct {
	Key      Key
	Interval time.Duration // time in which one unit comes back; above zero
	Burst    int           // units available at rest; at least 1
	Cost     int           // units taken, zero or more; above Burst is always refused
}

// Token is something that may be used once: a nonce. The zero Token asks for no mark.
type Token struct {
	Value []byte    // at most 64 bytes
	Made  time.Time // an engine whose marks live in memory refuses tokens made before it started
	Until time.Time // the mark may be forgotten from then on, and the token is not fresh any more
}

// Spent is the outcome of a Spend.
type Spent struct {
	Fresh   bool // the token had not been used before (true for the zero token)
	Limited int  // position in limits of the one with the longest wait; -1 if all were granted or Fresh is false
	// RetryAfter is how long until all limits would grant; zero unless Limited >= 0. A Cost above Burst, which no wait
	// helps, counts as if the bucket could be overdrawn.
	RetryAfter time.Duration
	Items      []Item // one per key, always read
}

// Range is a half-open interval of an index's members: From <= m < To. A nil bound is open; an empty one that is not nil
// is the empty member.
type Range struct{ From, To []byte }

// Prefix is the range of all members that start with p.
func Prefix(p []byte) Range {
	to := append([]byte(nil), p...)
	for i := len(to) - 1; i >= 0; i-- {
		if to[i]++; to[i] != 0 {
			return Range{From: p, To: to[:i+1]}
		}
	}
	return Range{From: p}
}

// Page selects part of a range. After and Offset exclude each other.
type Page struct {
	After   []byte // if not nil, continue behind this member, whether or not it still exists
	Offset  int    // skip so many
	Limit   int    // 1 to 1000; the engine refuses others
	Reverse bool   // from the end of the range
}

// Health says what durability the engine has. Err is nil if it can serve and keep what it acknowledges.
type Health struct {
	Engine     string // "embedded", "redis"
	Durability string // one line for an operator
	Err        error
}

// Engine is what storage asks of a database. All methods are safe for concurrent use and honour ctx; a method that
// returns for ctx returns ErrUnavailable or, for a Commit that may have been applied, ErrUnknown, joined with ctx.Err().
// docs/storage.md says what each engine does to keep the contract; storage/storetest holds every engine to it.
type Engine interface {
	// Get reads all keys at one moment, in one round trip.
	Get(ctx context.Context, keys ...Key) ([]Item, error)
	// Spend marks the token used, takes from every limit or from none, and reads the keys, in one round trip. A used
	// token takes from no limit; a token is used up also when a limit refuses. Marks and counters need not be durable
	// against the loss of the machine, but a token is never accepted twice.
	Spend(ctx context.Context, token Token, limits []Limit, keys ...Key) (Spent, error)
	// Commit applies the batch if every condition holds, all or nothing, and is durable when it returns nil.
	Commit(ctx context.Context, b Batch) error
	// Scan lists members of an index in order. An index that does not exist is empty.
	Scan(ctx context.Context, index string, r Range, p Page) ([][]byte, error)
	// Count is exact; O(1) for the open range.
	Count(ctx context.Context, index string, r Range) (int64, error)
	// NextID reserves n consecutive numbers (1 to 10,000) of a sequence that starts at 1, and returns the first. Numbers
	// may be skipped. A reserved block is never handed out again as long as the store does not go back; callers create
	// records under the precondition Absent and call LiftID if it fails.
	NextID(ctx context.Context, sequence string, n int) (int64, error)
	// LiftID makes sure that NextID hands out no number up to and including last. It never lowers the sequence.
	LiftID(ctx context.Context, sequence string, last int64) error
	// Watch delivers a hint after each Wake of one of the topics until ctx ends or the engine is closed, then closes the
	// channel. Hints may be merged or lost.
	Watch(ctx context.Context, topics ...string) <-chan string
	// Wake hints to all watchers of the topic, in every process.
	Wake(ctx context.Context, topic string)
	// Health reports durability; it makes one cheap round trip.
	Health(ctx context.Context) Health
	// Now is the store's clock, by which leases are compared.
	Now(ctx context.Context) (time.Time, error)
	// Close lets outstanding commits finish and releases the store. Later calls return ErrUnavailable; a second Close does
	// nothing.
	Close() error
}

package storage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/ra"
)

var (
	_ acme.Store    = (*DB)(nil)
	_ ca.Store      = (*DB)(nil)
	_ publish.Store = (*DB)(nil)
	_ ra.Store      = (*DB)(nil)
)

// retryAfter is what a client is told when the store cannot serve.
const retryAfter = 5 * time.Second

// Config is what a DB needs.
type Config struct {
	Engine  Engine
	Issuers []string     // the names of the configured issuers, whose revocations WatchRevocations tells of
	Log     *slog.Logger // nil: discarded
	// Deployment is the id of the deployment whose store this must be; a store that has none takes it. Empty accepts any
	// store, and gives a new one an id of its own.
	Deployment string
	// KeptFailures bounds how many failed ACME authorizations are kept for people. Default 50,000.
	KeptFailures int64
	// Receives reports whether somebody is to be told of an event; only such events are recorded. It is called within commits
	// and must be quick. Nil: nobody is told of anything.
	Receives func(*ra.Event) bool
	// Recorded is called after a commit that put something into the outbox. It must not block. Nil: nobody waits for that.
	Recorded func()
}

// DB is the typed state of every package over one engine. It is safe for concurrent use.
type DB struct {
	engine  Engine
	issuers []string
	log     *slog.Logger
	marker  Version // of the store's marker as read at Open: a condition of every commit
	// deployment is the store's id, which a data folder remembers, so that it is never joined with another store.
	deployment string
	restored   bool
	numbers    numbers
	turns      turns // of commits under a quota

	maxFailures int64
	wants       func(*ra.Event) bool // nil: nobody is told of anything
	recorded    func()
}

// numbers is a block of enrollment numbers taken from the sequence and not handed out yet.
type numbers struct {
	sync.Mutex
	next, end int64 // next <= n < end
}

// numberBlock is how many are taken at once. What is left of a block is lost when the process ends.
const numberBlock = 100

// markerRecord is the newest schema ever written to the store, and whose store it is.
type markerRecord struct {
	Schema     int    `cbor:"1,keyasint"`
	Deployment string `cbor:"2,keyasint,omitempty"`
	// Restored: the store was begun for a deployment that had one before, which was lost.
	Restored bool `cbor:"3,keyasint,omitempty"`
}

// ErrForeign: the store belongs to another deployment than the one that was asked for.
var ErrForeign = errors.New("storage: the store belongs to another deployment")

// Open reads the store's marker, writing it the first time, and lifts sequences that stand behind the records.
//
// A store whose marker names a newer schema can be read, but every commit is refused: an older process must not write
// what it would lose. The marker's version is a condition of each commit, so a gateway that was running when a newer one
// raised the schema stops writing at that moment.
func Open(ctx context.Context, c Config) (*DB, error) {
	db := &DB{engine: c.Engine, issuers: c.Issuers, log: c.Log, maxFailures: cmp.Or(c.KeptFailures, maxFailures), wants: c.Receives, recorded: c.Recorded}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	m, err := db.readMarker(ctx)
	if err != nil {
		return nil, err
	}
	if m.Schema < schema || m.Schema == schema && m.Deployment == "" {
		next := markerRecord{Schema: schema, Deployment: m.Deployment, Restored: m.Restored}
		if next.Deployment == "" {
			next.Deployment, next.Restored = cmp.Or(c.Deployment, rand.Text()), c.Deployment != "" && m.Schema == 0
		}
		if err := db.writeMarker(ctx, next); err != nil {
			return nil, err
		}
		if m, err = db.readMarker(ctx); err != nil { // ours, or that of whoever was first
			return nil, err
		}
		if m.Deployment == "" {
			return nil, fmt.Errorf("writing the store's marker: %w: it is not there", ErrUnavailable)
		}
	}
	if c.Deployment != "" && m.Deployment != c.Deployment {
		return nil, fmt.Errorf("%w: it is %s, and %s was expected", ErrForeign, m.Deployment, c.Deployment)
	}
	db.deployment, db.restored = m.Deployment, m.Restored
	if err := db.liftNumbers(ctx); err != nil {
		return db, err
	}
	return db, db.listCommonNames(ctx)
}

// Deployment is the id of the deployment that the store belongs to. It stays the same for as long as the store, and every
// gateway on it, lives.
func (db *DB) Deployment() string { return db.deployment }

// Restored reports that the store was begun for a deployment that had one before: others may know what was in that.
func (db *DB) Restored() bool { return db.restored }

func (db *DB) readMarker(ctx context.Context) (m markerRecord, err error) {
	items, err := db.engine.Get(ctx, keyMarker)
	if err != nil {
		return m, fmt.Errorf("reading the store's marker: %w", err)
	}
	db.marker = Version{}
	if !items[0].Found {
		return m, nil
	}
	if err := decode(items[0].Value, &m); err != nil {
		return m, fmt.Errorf("reading the store's marker: %w", err)
	}
	if m.Schema <= schema {
		db.marker = items[0].Version
	}
	return m, nil
}

func (db *DB) writeMarker(ctx context.Context, m markerRecord) error {
	value, err := encode(m)
	if err != nil {
		return err
	}
	b := Batch{Version: NewVersion(), Puts: []Put{{Key: keyMarker, Value: value}}}
	if db.marker == (Version{}) {
		b.Conditions = []Condition{{Key: keyMarker, Want: Absent}}
	} else {
		b.Conditions = []Condition{{Key: keyMarker, Want: Equals, Version: db.marker}}
	}
	err = db.engine.Commit(ctx, b)
	if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
		return fmt.Errorf("writing the store's marker: %w", err)
	}
	return nil
}

// liftNumbers makes sure that no number of an existing enrollment is handed out, should the sequence have gone back.
func (db *DB) liftNumbers(ctx context.Context) error {
	for _, index := range []string{indexAll, indexRemoved} {
		last, err := db.engine.Scan(ctx, index, Range{}, Page{Limit: 1, Reverse: true})
		if err != nil {
			return fmt.Errorf("finding the last enrollment: %w", err)
		}
		if len(last) == 0 {
			continue
		}
		n, _, ok := memberParts(last[0])
		if !ok {
			return fmt.Errorf("index %q holds a member that is no enrollment number", index)
		}
		if err := db.engine.LiftID(ctx, seqEnrollment, n); err != nil {
			return err
		}
	}
	return nil
}

// commit applies a batch and answers in the consumers' terms. On success b.Version is the version of all it put.
func (db *DB) commit(ctx context.Context, b *Batch) error {
	if err := db.tell(ctx, b); err != nil {
		return err
	}
	b.Version = NewVersion()
	b.Conditions = append(b.Conditions, Condition{Key: keyMarker, Want: Equals, Version: db.marker})
	err := db.engine.Commit(ctx, *b)
	if errors.Is(err, ErrUnknown) {
		err = db.settle(ctx, b, err)
	}
	switch {
	case err == nil:
		for _, e := range b.aside.kept {
			e.Key = nil
		}
		if b.aside.outbox && db.recorded != nil {
			db.recorded()
		}
		return nil
	case errors.Is(err, ErrConflict):
		return db.conflict(ctx, err)
	default:
		return unavailable(err)
	}
}

// settle finds out whether a commit of unknown outcome happened: it did if a key it put carries its version.
func (db *DB) settle(ctx context.Context, b *Batch, unknown error) error {
	if len(b.Puts) == 0 {
		return unknown // only hints for sweeps: whoever asked comes again
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	items, err := db.engine.Get(ctx, b.Puts[0].Key)
	if err != nil {
		return errors.Join(unknown, err)
	}
	if items[0].Found && items[0].Version == b.Version {
		return nil
	}
	return unknown
}

// conflict tells a state that moved on from a marker that moved on.
func (db *DB) conflict(ctx context.Context, cause error) error {
	items, err := db.engine.Get(ctx, keyMarker)
	if err != nil {
		return unavailable(err)
	}
	if items[0].Version != db.marker {
		return problem.Wrap(cause, problem.Unavailable, "the store is written by a newer version of the gateway; this one only reads").After(retryAfter)
	}
	return problem.Wrap(cause, problem.Conflict, "the object was changed at the same time; read it again")
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return problem.Wrap(err, problem.Unavailable, "the store does not answer; nothing was lost, try again").After(retryAfter)
}

// read gets keys, with errors in the consumers' terms.
func (db *DB) read(ctx context.Context, keys ...Key) ([]Item, error) {
	items, err := db.engine.Get(ctx, keys...)
	if err != nil {
		return nil, unavailable(err)
	}
	return items, nil
}

// damaged is a record that cannot be decoded: never "not found".
func damaged(key Key, err error) error {
	return problem.Wrap(fmt.Errorf("record %s: %w", key, err), problem.Internal, "")
}

// Healthy is nil if the store can serve and keep what it acknowledges.
func (db *DB) Healthy(ctx context.Context) error { return db.engine.Health(ctx).Err }

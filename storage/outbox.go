package storage

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// eventRetention is how long an event waits for its receivers, if no gateway tells them: then it is of no use any more.
const eventRetention = 7 * 24 * time.Hour

// aside is what a commit has to tell others of. Engines never see it.
type aside struct {
	events []ra.Event
	outbox bool             // something was put into the outbox
	kept   []*ra.Enrollment // whose private keys the commit records: afterwards they are the store's alone
}

// untoldKey marks the contexts of commits that tell nobody anything.
type untoldKey struct{}

// untold is a context whose commits tell nobody of anything, because nothing of what they record has happened now: of
// replays, and of loads for measurements.
func untold(ctx context.Context) context.Context { return context.WithValue(ctx, untoldKey{}, true) }

// eventRecord is an ra.Event under its id.
type eventRecord struct {
	Kind       string `cbor:"1,keyasint"`
	At         millis `cbor:"2,keyasint"`
	Org        int32  `cbor:"3,keyasint"`
	Actor      string `cbor:"4,keyasint,omitempty"`
	Enrollment int64  `cbor:"5,keyasint,omitempty"`
	Door       string `cbor:"6,keyasint,omitempty"`
	Profile    string `cbor:"7,keyasint,omitempty"`
	Replaces   int64  `cbor:"8,keyasint,omitempty"`
	Domain     string `cbor:"9,keyasint,omitempty"`
	Days       int    `cbor:"10,keyasint,omitempty"`
}

// tell adds to a batch the events that somebody is to be told of.
func (db *DB) tell(ctx context.Context, b *Batch) error {
	events := b.aside.events
	b.aside.events = nil
	if db.wants == nil || ctx.Value(untoldKey{}) != nil {
		return nil
	}
	for _, e := range events {
		if e.At.IsZero() {
			e.At = time.Now().UTC()
		}
		if !db.wants(&e) {
			continue
		}
		if err := b.putEvent(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *Batch) putEvent(e ra.Event) error {
	value, err := encode(eventRecord{
		Kind: string(e.Kind), At: toMillis(e.At), Org: int32(e.Org), Actor: e.Actor, Enrollment: int64(e.Enrollment), Door: string(e.Door),
		Profile: e.Profile, Replaces: int64(e.Replaces), Domain: e.Domain, Days: e.Days,
	})
	if err != nil {
		return err
	}
	id := rand.Text()
	b.Puts = append(b.Puts, Put{Key: keyEvent(id), Value: value, Expires: e.At.Add(eventRetention)})
	b.Adds = append(b.Adds, Entry{Index: indexEvents, Member: timeMember(e.At, id)})
	b.aside.outbox = true
	return nil
}

func decodeEvent(id string, it Item) (*ra.Event, error) {
	var r eventRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyEvent(id), err)
	}
	return &ra.Event{
		ID: id, Kind: ra.EventKind(r.Kind), At: r.At.time(), Org: auth.OrgID(r.Org), Actor: r.Actor, Enrollment: ra.ID(r.Enrollment),
		Door: ra.Door(r.Door), Profile: r.Profile, Replaces: ra.ID(r.Replaces), Domain: r.Domain, Days: r.Days, Version: it.Version,
	}, nil
}

// Events implements notify.Store: those that nobody was told of yet, oldest first. List entries of events whose time is over
// are removed.
func (db *DB) Events(ctx context.Context, limit int) ([]*ra.Event, error) {
	members, err := db.engine.Scan(ctx, indexEvents, Range{}, Page{Limit: limit})
	if err != nil || len(members) == 0 {
		return nil, unavailable(err)
	}
	keys, ids := make([]Key, len(members)), make([]string, len(members))
	for i, m := range members {
		_, ids[i], _ = memberParts(m)
		keys[i] = keyEvent(ids[i])
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var list []*ra.Event
	stale := &Batch{}
	for i, it := range items {
		if !it.Found {
			stale.Removes = append(stale.Removes, Entry{Index: indexEvents, Member: members[i]})
			continue
		}
		e, err := decodeEvent(ids[i], it)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	if len(stale.Removes) > 0 {
		return list, db.commit(ctx, stale)
	}
	return list, nil
}

// HandOver implements notify.Store: the events are gone, and the mails that they became recorded, in one commit.
func (db *DB) HandOver(ctx context.Context, events []*ra.Event, mails []*ra.Mail) error {
	if len(events)+len(mails) == 0 {
		return nil
	}
	b := &Batch{}
	for _, e := range events {
		b.Conditions = append(b.Conditions, Condition{Key: keyEvent(e.ID), Want: Equals, Version: e.Version})
		b.Deletes = append(b.Deletes, keyEvent(e.ID))
		b.Removes = append(b.Removes, Entry{Index: indexEvents, Member: timeMember(e.At, e.ID)})
	}
	if err := b.putMails(mails...); err != nil {
		return err
	}
	return db.commit(ctx, b)
}

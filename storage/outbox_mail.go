package storage

import (
	"bytes"
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// lostRetention is how long a mail that was given up is kept for people to see, and keptLost how many at most.
	lostRetention = 30 * 24 * time.Hour
	keptLost      = 10_000
)

// mailRecord is a mail that waits to be sent, or that could not be.
type mailRecord struct {
	Org      int32             `cbor:"1,keyasint"`
	Kind     string            `cbor:"2,keyasint"`
	To       string            `cbor:"3,keyasint"`
	Data     map[string]string `cbor:"4,keyasint,omitempty"`
	Sealed   []byte            `cbor:"5,keyasint,omitempty"`
	Created  seconds           `cbor:"6,keyasint"`
	Until    seconds           `cbor:"7,keyasint"`
	Due      millis            `cbor:"8,keyasint,omitempty"`
	Attempts int               `cbor:"9,keyasint,omitempty"`
	Trouble  string            `cbor:"10,keyasint,omitempty"`
	GivenUp  millis            `cbor:"11,keyasint,omitempty"`
	Taken    bool              `cbor:"12,keyasint,omitempty"`
}

// putMails adds new mails to the commit of what they tell of. They are due when they were made, unless they say otherwise.
func (b *Batch) putMails(mails ...*ra.Mail) error {
	for _, m := range mails {
		if m.Due.IsZero() {
			m.Due = m.Created
		}
		if err := b.putMail(m, nil); err != nil {
			return err
		}
		b.aside.outbox = true
	}
	return nil
}

// putMail adds a mail's record, in place of what was read (nil: there must be none), and moves its list entry with it.
func (b *Batch) putMail(after, before *ra.Mail) error {
	value, err := encode(mailRecord{
		Org: int32(after.Org), Kind: string(after.Kind), To: after.To, Data: after.Data, Sealed: after.Sealed, Created: toSeconds(after.Created),
		Until: toSeconds(after.Until), Due: toMillis(after.Due), Attempts: after.Attempts, Trouble: after.Trouble, GivenUp: toMillis(after.GivenUp), Taken: after.Taken,
	})
	if err != nil {
		return err
	}
	key := keyMail(after.ID)
	b.Puts = append(b.Puts, Put{Key: key, Value: value})
	if before == nil {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Absent})
	} else {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Equals, Version: before.Version})
		b.Removes = append(b.Removes, mailEntry(before))
	}
	b.Adds = append(b.Adds, mailEntry(after))
	return nil
}

// mailEntry is the one list entry that a mail has.
func mailEntry(m *ra.Mail) Entry {
	if !m.GivenUp.IsZero() {
		return Entry{Index: indexMailsLost, Member: timeMember(m.GivenUp, m.ID)}
	}
	return Entry{Index: indexMails, Member: timeMember(m.Due, m.ID)}
}

func decodeMail(id string, it Item) (*ra.Mail, error) {
	var r mailRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyMail(id), err)
	}
	return &ra.Mail{
		ID: id, Org: auth.OrgID(r.Org), Kind: ra.MailKind(r.Kind), To: r.To, Data: r.Data, Sealed: r.Sealed, Created: r.Created.time(),
		Until: r.Until.time(), Due: r.Due.time(), Attempts: r.Attempts, Trouble: r.Trouble, GivenUp: r.GivenUp.time(), Taken: r.Taken, Version: it.Version,
	}, nil
}

// Mail implements notify.Store.
func (db *DB) Mail(ctx context.Context, id string) (*ra.Mail, error) {
	absent := problem.New(problem.NotFound, "there is no mail %q", id)
	if id == "" || len(id) > 100 {
		return nil, absent
	}
	items, err := db.read(ctx, keyMail(id))
	if err != nil {
		return nil, err
	}
	if !items[0].Found {
		return nil, absent
	}
	return decodeMail(id, items[0])
}

// DueMails implements notify.Store.
func (db *DB) DueMails(ctx context.Context, now time.Time, limit int) ([]*ra.Mail, error) {
	members, err := db.engine.Scan(ctx, indexMails, until(now), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	return db.mails(ctx, indexMails, members)
}

// Mails implements notify.Store.
func (db *DB) Mails(ctx context.Context, lost bool, after *ra.Mail, limit int) ([]*ra.Mail, error) {
	index, page := indexMails, Page{Limit: limit, Reverse: lost}
	if lost {
		index = indexMailsLost
	}
	if after != nil {
		page.After = mailEntry(after).Member
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil {
		return nil, unavailable(err)
	}
	return db.mails(ctx, index, members)
}

// mails reads those of some list entries. An entry and its mail change in one commit, so an entry that is not its mail's was
// read a moment too early.
func (db *DB) mails(ctx context.Context, index string, members [][]byte) ([]*ra.Mail, error) {
	if len(members) == 0 {
		return nil, nil
	}
	keys, ids := make([]Key, len(members)), make([]string, len(members))
	for i, m := range members {
		_, ids[i], _ = memberParts(m)
		keys[i] = keyMail(ids[i])
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var list []*ra.Mail
	for i, it := range items {
		if !it.Found {
			continue // sent in this moment
		}
		m, err := decodeMail(ids[i], it)
		if err != nil {
			return nil, err
		}
		if e := mailEntry(m); e.Index == index && bytes.Equal(e.Member, members[i]) {
			list = append(list, m)
		}
	}
	return list, nil
}

// MoveMail implements notify.Store.
func (db *DB) MoveMail(ctx context.Context, next, m *ra.Mail) error {
	b := &Batch{}
	if err := b.putMail(next, m); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	next.Version = b.Version
	return nil
}

// RemoveMail implements notify.Store.
func (db *DB) RemoveMail(ctx context.Context, m *ra.Mail) error {
	key := keyMail(m.ID)
	return db.commit(ctx, &Batch{
		Conditions: []Condition{{Key: key, Want: Equals, Version: m.Version}}, Deletes: []Key{key}, Removes: []Entry{mailEntry(m)},
	})
}

// SweepLostMails implements notify.Store: those that were given up before the retention go, and the oldest of too many.
func (db *DB) SweepLostMails(ctx context.Context, now time.Time, limit int) (more bool, err error) {
	count, err := db.engine.Count(ctx, indexMailsLost, Range{})
	if err != nil || count == 0 {
		return false, unavailable(err)
	}
	old := until(now.Add(-lostRetention))
	if over := count - keptLost; over > 0 {
		old, limit = Range{}, min(limit, int(over))
	}
	members, err := db.engine.Scan(ctx, indexMailsLost, old, Page{Limit: limit})
	if err != nil || len(members) == 0 {
		return false, unavailable(err)
	}
	lost, err := db.mails(ctx, indexMailsLost, members)
	if err != nil {
		return false, err
	}
	b := &Batch{}
	for _, m := range lost { // unless somebody has one tried again at this moment
		b.Conditions = append(b.Conditions, Condition{Key: keyMail(m.ID), Want: Equals, Version: m.Version})
		b.Deletes = append(b.Deletes, keyMail(m.ID))
		b.Removes = append(b.Removes, mailEntry(m))
	}
	return len(members) == limit, db.commit(ctx, b)
}

// MailQueue implements notify.Store.
func (db *DB) MailQueue(ctx context.Context) (queued, lost int64, err error) {
	if queued, err = db.engine.Count(ctx, indexMails, Range{}); err == nil {
		lost, err = db.engine.Count(ctx, indexMailsLost, Range{})
	}
	return queued, lost, unavailable(err)
}

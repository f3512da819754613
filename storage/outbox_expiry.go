package storage

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// sameNames bounds how many certificates of one name are looked through for one that took another's place.
const sameNames = 100

// expiryRecord is how far somebody was told what of an organisation expires.
type expiryRecord struct {
	Member []byte `cbor:"1,keyasint"` // the last of the organisation's list by notAfter
}

func keyExpiryNotes(org auth.OrgID, days int) Key {
	return Key("expiry-notes/" + strconv.Itoa(int(org)) + "/" + strconv.Itoa(days))
}

// NoteExpiring implements notify.Store. The events and how far they go are one commit, so each is recorded once.
func (db *DB) NoteExpiring(ctx context.Context, n ra.ExpiryNote) (more bool, err error) {
	org := auth.OrgID(n.Org)
	key, index := keyExpiryNotes(org, n.Days), indexExpiry(org)
	items, err := db.read(ctx, key)
	if err != nil {
		return false, err
	}
	condition := Condition{Key: key, Want: Absent}
	from := member(n.From.Unix()+1, "") // behind every member of that second
	if items[0].Found {
		var r expiryRecord
		if err := decode(items[0].Value, &r); err != nil {
			return false, damaged(key, err)
		}
		condition = fence(key, items[0].Version)
		if next := append(slices.Clone(r.Member), 0); bytes.Compare(next, from) > 0 {
			from = next
		}
	}
	to := member(n.To.Unix()+1, "")
	if bytes.Compare(from, to) >= 0 {
		return false, nil
	}
	members, err := db.engine.Scan(ctx, index, Range{From: from, To: to}, Page{Limit: n.Limit})
	if err != nil || len(members) == 0 {
		return false, unavailable(err)
	}
	b := &Batch{Conditions: []Condition{condition}}
	if b.aside.events, err = db.expiring(ctx, n, members); err != nil {
		return false, err
	}
	value, err := encode(expiryRecord{Member: members[len(members)-1]})
	if err != nil {
		return false, err
	}
	b.Puts = []Put{{Key: key, Value: value}}
	return len(members) == n.Limit, db.commit(ctx, b)
}

// expiring are the events about some members of a list by notAfter.
func (db *DB) expiring(ctx context.Context, n ra.ExpiryNote, members [][]byte) ([]ra.Event, error) {
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok {
			ids = append(ids, id)
		}
	}
	found, err := db.enrollments(ctx, ids)
	if err != nil {
		return nil, err
	}
	var events []ra.Event
	for _, e := range found {
		if e.Phase != ra.Issued || e.SuspendNotifications || !e.RenewedManually.IsZero() || !e.Removed.IsZero() || e.NotAfter.Before(n.At) {
			continue
		}
		over, err := db.superseded(ctx, e, n.Replaced)
		if err != nil {
			return nil, err
		}
		if over {
			continue
		}
		events = append(events, ra.Event{
			Kind: ra.EventExpiring, At: n.At.UTC().Truncate(time.Second), Org: e.Org, Enrollment: e.ID, Door: e.Door, Profile: e.Profile, Days: n.Days,
		})
	}
	return events, nil
}

// superseded reports whether another certificate has taken an enrollment's place: one that replaced it, or one of the
// organisation that has the same names, whichever door it came in by, and ends later.
func (db *DB) superseded(ctx context.Context, e *ra.Enrollment, replaced func(context.Context, *ra.Enrollment) (ra.ID, error)) (bool, error) {
	if replaced != nil {
		if id, err := replaced(ctx, e); err != nil || id != 0 {
			return id != 0, err
		}
	}
	if len(e.Names) == 0 {
		return false, nil
	}
	members, err := db.engine.Scan(ctx, indexName(e.Org), Prefix(nameMember(e.Names[0].Value(), nil)), Page{Limit: sameNames, Reverse: true})
	if err != nil {
		return false, unavailable(err)
	}
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok && id != e.ID {
			ids = append(ids, id)
		}
	}
	others, err := db.enrollments(ctx, ids)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(others, func(o *ra.Enrollment) bool {
		return o.Phase == ra.Issued && o.Org == e.Org && o.NotAfter.After(e.NotAfter) && equalNames(o.Names, e.Names)
	}), nil
}

// equalNames reports whether two lists have the same names in any order.
func equalNames(a, b []identifier.Identifier) bool {
	if len(a) != len(b) {
		return false
	}
	return !slices.ContainsFunc(a, func(n identifier.Identifier) bool { return !slices.Contains(b, n) })
}

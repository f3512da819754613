package storage

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var _ auth.Store = (*DB)(nil)

// orgPage is how many organisations are read in one round trip.
const orgPage = 500

// orgsRecord stands for all organisations: its version changes with each of them, and is a condition of each change, so
// that what was checked against all still holds. It holds nothing.
type orgsRecord struct {
	Changed seconds `cbor:"1,keyasint"`
}

// ReadOnly is the records of an engine for who only reads them: every commit is refused. Nothing is checked or written.
func ReadOnly(e Engine) *DB { return &DB{engine: e, log: slog.New(slog.DiscardHandler)} }

// OrgsVersion implements auth.Store.
func (db *DB) OrgsVersion(ctx context.Context) ([16]byte, error) {
	items, err := db.read(ctx, keyOrgs)
	if err != nil {
		return [16]byte{}, err
	}
	return items[0].Version, nil
}

// Orgs implements auth.Store. They are read in pages, and once more if they changed meanwhile.
func (db *DB) Orgs(ctx context.Context) ([]*auth.Org, [16]byte, error) {
	for range 10 {
		before, err := db.OrgsVersion(ctx)
		if err != nil || before == [16]byte{} {
			return nil, before, err
		}
		list, err := db.orgs(ctx)
		if err != nil {
			return nil, before, err
		}
		after, err := db.OrgsVersion(ctx)
		if err != nil || after == before {
			return list, before, err
		}
	}
	return nil, [16]byte{}, problem.New(problem.Unavailable, "the organisations change faster than they can be read; try again").After(retryAfter)
}

func (db *DB) orgs(ctx context.Context) ([]*auth.Org, error) {
	var list []*auth.Org
	for page := (Page{Limit: orgPage}); ; {
		members, err := db.engine.Scan(ctx, indexOrganisations, Range{}, page)
		if err != nil {
			return nil, unavailable(err)
		}
		if len(members) == 0 {
			return list, nil
		}
		keys := make([]Key, len(members))
		for i, m := range members {
			n, _, ok := memberParts(m)
			if !ok {
				return nil, damaged(Key(indexOrganisations), errors.New("a member that is no number"))
			}
			keys[i] = keyOrg(auth.OrgID(n))
		}
		items, err := db.read(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, it := range items {
			n, _, _ := memberParts(members[i])
			o, err := decodeOrg(auth.OrgID(n), it)
			if err != nil {
				return nil, err
			}
			if o == nil {
				return nil, damaged(keys[i], errors.New("it is listed and not there"))
			}
			list = append(list, o)
		}
		if len(members) < orgPage {
			return list, nil
		}
		page.After = members[len(members)-1]
	}
}

// orgNumbers is when numbers by the clock began to be given. A number is at least as many minutes later.
var orgNumbers = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// NextOrg implements auth.Store. A tenant's number must never become another's.
func (db *DB) NextOrg(ctx context.Context) (auth.OrgID, error) {
	n, err := db.nextByClock(ctx, seqOrganisation, "an organisation")
	return auth.OrgID(n), err
}

// nextByClock is the next number of a sequence that is kept in step with the clock, a number a minute: should the store go back,
// what it gives next has still not been given before, unless more were given at one time than minutes have passed since.
func (db *DB) nextByClock(ctx context.Context, sequence, what string) (int32, error) {
	now, err := db.engine.Now(ctx)
	if err != nil {
		return 0, unavailable(err)
	}
	if minutes := int64(now.Sub(orgNumbers) / time.Minute); minutes > 0 {
		if err := db.engine.LiftID(ctx, sequence, minutes); err != nil {
			return 0, unavailable(err)
		}
	}
	n, err := db.engine.NextID(ctx, sequence, 1)
	if err != nil {
		return 0, unavailable(err)
	}
	if n >= 1<<31 {
		return 0, problem.New(problem.Conflict, "no number below 2^31 is left for %s; is the clock right?", what)
	}
	return int32(n), nil
}

// CreateOrg implements auth.Store.
func (db *DB) CreateOrg(ctx context.Context, o *auth.Org, orgs [16]byte) (auth.Note, error) {
	return db.putOrg(ctx, o, orgs, &Batch{
		Conditions: []Condition{{Key: keyOrg(o.ID), Want: Absent}, {Key: keyOrgSlug(o.Slug), Want: Absent}},
		Puts:       []Put{{Key: keyOrgSlug(o.Slug), Value: []byte(strconv.Itoa(int(o.ID)))}},
		Adds:       []Entry{{Index: indexOrganisations, Member: member(int64(o.ID), "")}},
	})
}

// UpdateOrg implements auth.Store.
func (db *DB) UpdateOrg(ctx context.Context, o *auth.Org, orgs [16]byte) (auth.Note, error) {
	return db.putOrg(ctx, o, orgs, &Batch{Conditions: []Condition{{Key: keyOrg(o.ID), Want: Equals, Version: o.Version}}})
}

// putOrg adds an organisation, the mark of all, and the note for the journal to a batch, and commits it.
func (db *DB) putOrg(ctx context.Context, o *auth.Org, orgs [16]byte, b *Batch) (auth.Note, error) {
	now, err := db.engine.Now(ctx)
	if err != nil {
		return auth.Note{}, unavailable(err)
	}
	value, err := encodeOrg(o)
	if err != nil {
		return auth.Note{}, err
	}
	mark, err := encode(orgsRecord{Changed: toSeconds(now)})
	if err != nil {
		return auth.Note{}, err
	}
	all := Condition{Key: keyOrgs, Want: Absent}
	if orgs != [16]byte{} {
		all = Condition{Key: keyOrgs, Want: Equals, Version: orgs}
	}
	note := auth.Note{Org: o.ID, At: now.UTC().Truncate(time.Millisecond)}
	b.Conditions = append(b.Conditions, all)
	b.Puts = append(b.Puts, Put{Key: keyOrg(o.ID), Value: value}, Put{Key: keyOrgs, Value: mark})
	b.Adds = append(b.Adds, noteEntry(note))
	if err := db.commit(ctx, b); err != nil {
		return auth.Note{}, err
	}
	o.Version = b.Version
	db.engine.Wake(ctx, topicOrganisations)
	return note, nil
}

// WatchOrgs implements auth.Store.
func (db *DB) WatchOrgs(ctx context.Context) <-chan string {
	return db.engine.Watch(ctx, topicOrganisations)
}

// noteEntry is a note in the index of what a journal may lack.
func noteEntry(n auth.Note) Entry {
	what := "eab/" + n.EABKey
	switch {
	case n.Principal != 0:
		what = "usr/" + strconv.Itoa(int(n.Principal))
	case n.EABKey == "":
		what = "org/" + strconv.Itoa(int(n.Org))
	}
	return Entry{Index: indexUnjournaled, Member: timeMember(n.At, what)}
}

// Unjournaled implements auth.Store.
func (db *DB) Unjournaled(ctx context.Context, before time.Time, limit int) ([]auth.Note, error) {
	members, err := db.engine.Scan(ctx, indexUnjournaled, until(before), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	notes := make([]auth.Note, 0, len(members))
	for _, m := range members {
		n, ok := readNote(m)
		if !ok {
			return nil, damaged(Key(indexUnjournaled), errors.New("a member that is no note"))
		}
		notes = append(notes, n)
	}
	return notes, nil
}

func readNote(m []byte) (n auth.Note, ok bool) {
	at, what, ok := memberParts(m)
	if !ok || len(what) < 4 {
		return n, false
	}
	n.At = millis(at).time()
	switch name := what[4:]; what[:4] {
	case "eab/":
		n.EABKey = name
		return n, name != ""
	case "usr/":
		id, err := strconv.ParseInt(name, 10, 32)
		n.Principal = auth.PrincipalID(id)
		return n, err == nil && id > 0
	case "org/":
		id, err := strconv.ParseInt(name, 10, 32)
		n.Org = auth.OrgID(id)
		return n, err == nil && id > 0
	default:
		return n, false
	}
}

// Journaled implements auth.Store.
func (db *DB) Journaled(ctx context.Context, n auth.Note) error {
	return db.commit(ctx, &Batch{Removes: []Entry{noteEntry(n)}})
}

package storage

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// linksRecord are the links to one private key that have not expired, used or not, oldest first.
type linksRecord struct {
	Links []linkEntry `cbor:"1,keyasint"`
}

type linkEntry struct {
	Hash    []byte `cbor:"1,keyasint"`
	Expires millis `cbor:"2,keyasint"`
}

// linkTries is how often a link is added anew because another one of the same key was added at the same time.
const linkTries = 20

// AddDownload implements ra.KeyStore.
func (db *DB) AddDownload(ctx context.Context, d *ra.Download, newest int) error {
	value, err := encode(downloadRecord{
		Enrollment: int64(d.Enrollment), Org: int32(d.Org), Key: toMillis(d.Key), By: d.By, Format: d.Format, Content: d.Content, Clear: d.Clear,
		Created: toMillis(d.Created), Expires: toMillis(d.Expires), Sealed: d.Sealed,
	})
	if err != nil {
		return err
	}
	key := keyDownload(d.Hash)
	for try := 1; ; try++ {
		b := &Batch{Conditions: []Condition{{Key: key, Want: Absent}}, Puts: []Put{{Key: key, Value: value, Expires: d.Expires.Add(time.Second)}}}
		if err := db.bound(ctx, b, d, newest); err != nil {
			return err
		}
		err := db.commit(ctx, b)
		if problem.Is(err, problem.Conflict) && try < linkTries {
			continue
		}
		if err == nil {
			d.Version = b.Version
		}
		return err
	}
}

// bound adds a link to those of its key, under the condition that they are as they were read, and voids those that are too many.
func (db *DB) bound(ctx context.Context, b *Batch, d *ra.Download, newest int) error {
	at := keyLinks(d.Enrollment)
	items, err := db.read(ctx, at)
	if err != nil {
		return err
	}
	var r linksRecord
	condition := Condition{Key: at, Want: Absent}
	if items[0].Found {
		if err := decode(items[0].Value, &r); err != nil {
			return damaged(at, err)
		}
		condition = Condition{Key: at, Want: Equals, Version: items[0].Version}
	}
	r.Links = slices.DeleteFunc(r.Links, func(l linkEntry) bool { return !d.Created.Before(l.Expires.time()) })
	for len(r.Links) >= max(newest, 1) {
		var hash [32]byte
		copy(hash[:], r.Links[0].Hash)
		b.Deletes = append(b.Deletes, keyDownload(hash))
		r.Links = r.Links[1:]
	}
	r.Links = append(r.Links, linkEntry{Hash: d.Hash[:], Expires: toMillis(d.Expires)})
	end := d.Expires
	for _, l := range r.Links { // a shorter lifetime may have been configured since
		if l.Expires.time().After(end) {
			end = l.Expires.time()
		}
	}
	value, err := encode(r)
	if err != nil {
		return err
	}
	b.Conditions = append(b.Conditions, condition)
	b.Puts = append(b.Puts, Put{Key: at, Value: value, Expires: end.Add(time.Second)})
	return nil
}

// TakeLink implements ra.KeyStore.
func (db *DB) TakeLink(ctx context.Context, org auth.OrgID, perHour int) (time.Duration, error) {
	limit := Limit{Key: keyLinkRate(org), Interval: time.Hour / time.Duration(perHour), Burst: perHour, Cost: 1}
	spent, err := db.engine.Spend(ctx, Token{}, []Limit{limit})
	if err != nil {
		return 0, unavailable(err)
	}
	if spent.Limited < 0 {
		return 0, nil
	}
	return max(spent.RetryAfter, time.Millisecond), nil
}

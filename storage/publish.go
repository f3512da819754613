package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/publish"
)

// crlRecord is the newest list of an issuer's shard.
type crlRecord struct {
	Number     int64   `cbor:"1,keyasint"`
	ThisUpdate seconds `cbor:"2,keyasint"`
	NextUpdate seconds `cbor:"3,keyasint"`
	DER        []byte  `cbor:"4,keyasint"`
}

// revokedEntry is a certificate's entry among its issuer's revoked serials. The member alone makes the CRL entry: the
// expiry, by which it is found and dropped, the time of revocation, the reason and the serial.
func revokedEntry(c *ca.Certificate) Entry {
	m := make([]byte, 17, 17+len(c.Serial)/2)
	binary.BigEndian.PutUint64(m, uint64(c.NotAfter.Unix()))
	binary.BigEndian.PutUint64(m[8:], uint64(c.Revocation.At.Unix()))
	m[16] = byte(c.Revocation.Reason)
	serial, err := hex.DecodeString(string(c.Serial))
	if err != nil { // a serial of our own is whole octets of hex; keep whatever else came as it is
		serial = []byte(c.Serial)
	}
	return Entry{Index: indexRevoked(c.Issuer), Member: append(m, serial...)}
}

func parseRevoked(m []byte) (publish.Revoked, error) {
	if len(m) < 18 {
		return publish.Revoked{}, errors.New("a member of a revoked index is too short")
	}
	return publish.Revoked{
		NotAfter: time.Unix(int64(binary.BigEndian.Uint64(m)), 0).UTC(),
		At:       time.Unix(int64(binary.BigEndian.Uint64(m[8:])), 0).UTC(),
		Reason:   ca.Reason(m[16]),
		Serial:   ca.Serial(hex.EncodeToString(m[17:])),
	}, nil
}

// Revoked implements publish.Store. It reads the index in pages; a revocation during the read may or may not be seen, and
// its own hint brings the next build.
func (db *DB) Revoked(ctx context.Context, issuer string, from time.Time) ([]publish.Revoked, error) {
	var list []publish.Revoked
	page := Page{Limit: 1000}
	for {
		members, err := db.engine.Scan(ctx, indexRevoked(issuer), Range{From: member(from.Unix(), "")}, page)
		if err != nil {
			return nil, unavailable(err)
		}
		for _, m := range members {
			r, err := parseRevoked(m)
			if err != nil {
				return nil, damaged(Key(indexRevoked(issuer)), err)
			}
			list = append(list, r)
		}
		if len(members) < page.Limit {
			return list, nil
		}
		page.After = bytes.Clone(members[len(members)-1])
	}
}

// CRL implements publish.Store.
func (db *DB) CRL(ctx context.Context, issuer string, shard int) (*publish.CRL, error) {
	key := keyCRL(issuer, shard)
	items, err := db.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if !items[0].Found {
		return nil, problem.New(problem.NotFound, "no list of issuer %s has been made", issuer)
	}
	var r crlRecord
	if err := decode(items[0].Value, &r); err != nil {
		return nil, damaged(key, err)
	}
	return &publish.CRL{
		Issuer: issuer, Shard: shard, Number: r.Number, ThisUpdate: r.ThisUpdate.time(), NextUpdate: r.NextUpdate.time(),
		DER: r.DER, Version: items[0].Version,
	}, nil
}

// SaveCRL implements publish.Store.
func (db *DB) SaveCRL(ctx context.Context, next publish.CRL, prev *publish.CRL, by publish.Lease) error {
	key := keyCRL(next.Issuer, next.Shard)
	value, err := encode(crlRecord{
		Number: next.Number, ThisUpdate: toSeconds(next.ThisUpdate), NextUpdate: toSeconds(next.NextUpdate), DER: next.DER,
	})
	if err != nil {
		return err
	}
	c := Condition{Key: key, Want: Absent}
	if prev != nil {
		c = Condition{Key: key, Want: Equals, Version: prev.Version}
	}
	b := &Batch{
		Conditions: []Condition{c, fence(keyCRLLease(next.Issuer, next.Shard), by.Version)},
		Puts:       []Put{{Key: key, Value: value}},
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	db.engine.Wake(ctx, topicCRL(next.Issuer))
	return nil
}

// Expiries implements publish.Store.
func (db *DB) Expiries(ctx context.Context, issuer string, serials []ca.Serial) (map[ca.Serial]time.Time, error) {
	ends := make(map[ca.Serial]time.Time, len(serials))
	for chunk := range slices.Chunk(serials, 500) {
		keys := make([]Key, len(chunk))
		for i, serial := range chunk {
			keys[i] = keyCertificate(issuer, serial)
		}
		items, err := db.read(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, it := range items {
			c, err := decodeCertificate(issuer, chunk[i], it)
			if err != nil {
				return nil, err
			}
			if c != nil {
				ends[chunk[i]] = c.NotAfter
			}
		}
	}
	return ends, nil
}

// CRLLease implements publish.Store.
func (db *DB) CRLLease(ctx context.Context, issuer string, shard int) (publish.Lease, error) {
	l, err := db.readLease(ctx, keyCRLLease(issuer, shard))
	return publish.Lease{Issuer: issuer, Shard: shard, Holder: l.holder, Left: l.left, Version: l.version}, err
}

// TakeCRLLease implements publish.Store.
func (db *DB) TakeCRLLease(ctx context.Context, read publish.Lease, holder string, d time.Duration) (publish.Lease, error) {
	as := lease{holder: read.Holder, left: read.Left, version: read.Version}
	l, err := db.takeLease(ctx, keyCRLLease(read.Issuer, read.Shard), as, holder, d)
	return publish.Lease{Issuer: read.Issuer, Shard: read.Shard, Holder: l.holder, Left: l.left, Version: l.version}, err
}

// ReturnCRLLease implements publish.Store.
func (db *DB) ReturnCRLLease(ctx context.Context, l publish.Lease) error {
	if err := db.returnLease(ctx, keyCRLLease(l.Issuer, l.Shard), l.Version); err != nil {
		return err
	}
	db.engine.Wake(ctx, topicCRL(l.Issuer))
	return nil
}

// WatchRevocations implements publish.Store, for the issuers of the configuration.
func (db *DB) WatchRevocations(ctx context.Context) <-chan string {
	return db.watchIssuers(ctx, topicRevoked)
}

// WatchCRLs implements publish.Store, for the issuers of the configuration.
func (db *DB) WatchCRLs(ctx context.Context) <-chan string { return db.watchIssuers(ctx, topicCRL) }

// watchIssuers delivers the issuer of each hint of one kind.
func (db *DB) watchIssuers(ctx context.Context, topic func(issuer string) string) <-chan string {
	topics := make([]string, len(db.issuers))
	for i, issuer := range db.issuers {
		topics[i] = topic(issuer)
	}
	out := make(chan string)
	go func() {
		defer close(out)
		for hint := range db.engine.Watch(ctx, topics...) {
			select {
			case out <- strings.TrimPrefix(hint, topic("")):
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// DropExpired implements publish.Store.
func (db *DB) DropExpired(ctx context.Context, by publish.Lease, before time.Time, limit int) (int, error) {
	index := indexRevoked(by.Issuer)
	members, err := db.engine.Scan(ctx, index, Range{To: member(before.Unix(), "")}, Page{Limit: limit})
	if err != nil {
		return 0, unavailable(err)
	}
	if len(members) == 0 {
		return 0, nil
	}
	b := &Batch{Conditions: []Condition{fence(keyCRLLease(by.Issuer, by.Shard), by.Version)}}
	for _, m := range members {
		b.Removes = append(b.Removes, Entry{Index: index, Member: m})
	}
	return len(members), db.commit(ctx, b)
}

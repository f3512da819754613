package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

var _ ra.KeyStore = (*DB)(nil)

// privateKeyRecord is a private key, sealed, under its enrollment's number: apart from the enrollment, so that a list of those
// reads no keys.
type privateKeyRecord struct {
	Origin  uint8  `cbor:"1,keyasint"`
	By      string `cbor:"2,keyasint"`
	At      millis `cbor:"3,keyasint"`
	Type    string `cbor:"4,keyasint"`
	Public  []byte `cbor:"5,keyasint"`
	Sealed  []byte `cbor:"6,keyasint"`
	Rewraps int    `cbor:"7,keyasint,omitempty"`
}

// downloadRecord is a link, under the hash of its secret.
type downloadRecord struct {
	Enrollment int64  `cbor:"1,keyasint"`
	Org        int32  `cbor:"2,keyasint"`
	Key        millis `cbor:"3,keyasint"`
	By         string `cbor:"4,keyasint"`
	Format     string `cbor:"5,keyasint"`
	Content    string `cbor:"6,keyasint,omitempty"`
	Clear      bool   `cbor:"7,keyasint,omitempty"`
	Created    millis `cbor:"8,keyasint"`
	Expires    millis `cbor:"9,keyasint"`
	Sealed     []byte `cbor:"10,keyasint,omitempty"`
}

// putPrivateKey keeps an enrollment's key in step with what the enrollment says of it, in the commit that says it.
func (b *Batch) putPrivateKey(after, before *ra.Enrollment) error {
	had := before.Version != [16]byte{} && !before.KeyStored.IsZero()
	has := !after.KeyStored.IsZero()
	switch {
	case has != (after.Key != nil) && (after.Key != nil || !had), after.Key != nil && after.Key.Enrollment != after.ID:
		return problem.Wrap(fmt.Errorf("storage: enrollment %d and its private key do not go together", after.ID), problem.Internal, "")
	case had && !has:
		b.destroyKey(after.ID)
	case after.Key != nil:
		k := after.Key
		value, err := encode(privateKeyRecord{
			Origin: uint8(k.Origin), By: k.By, At: toMillis(k.At), Type: string(k.Type), Public: k.Public[:], Sealed: k.Sealed, Rewraps: k.Rewraps,
		})
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, Put{Key: keyPrivateKey(after.ID), Value: value})
		b.aside.kept = append(b.aside.kept, after)
	}
	issued := has && before.Issued.IsZero() && !after.Issued.IsZero() // its word in the journal has no certificate yet
	if after.Key != nil || had && !has || issued {
		b.Adds = append(b.Adds, keyNoteEntry(ra.KeyNote{Enrollment: after.ID, At: after.KeyChanged()}))
	}
	return nil
}

// destroyKey removes an enrollment's private key. The enrollment's own record must say so in the same batch; putEnrollment, which
// sees to both, calls it.
func (b *Batch) destroyKey(id ra.ID) {
	if key := keyPrivateKey(id); !slices.Contains(b.Deletes, key) {
		b.Deletes = append(b.Deletes, key)
	}
}

func decodePrivateKey(id ra.ID, it Item) (*ra.StoredKey, error) {
	var r privateKeyRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyPrivateKey(id), err)
	}
	k := &ra.StoredKey{
		Enrollment: id, Origin: ra.KeyOrigin(r.Origin), By: r.By, At: r.At.time(), Type: policy.KeyType(r.Type), Sealed: r.Sealed, Rewraps: r.Rewraps,
	}
	if copy(k.Public[:], r.Public) != len(k.Public) {
		return nil, damaged(keyPrivateKey(id), errors.New("the hash of its public key is cut short"))
	}
	return k, nil
}

// PrivateKey implements ra.KeyStore.
func (db *DB) PrivateKey(ctx context.Context, id ra.ID) (*ra.StoredKey, error) {
	items, err := db.read(ctx, keyPrivateKey(id))
	if err != nil {
		return nil, err
	}
	if !items[0].Found {
		return nil, problem.New(problem.NotFound, "there is no private key of enrollment %d", id)
	}
	return decodePrivateKey(id, items[0])
}

// PrivateKeys implements ra.KeyStore. Those that are destroyed while the page is read leave their places to the ones behind.
func (db *DB) PrivateKeys(ctx context.Context, after ra.ID, limit int) ([]*ra.StoredKey, error) {
	var list []*ra.StoredKey
	for place := idMember(after); ; {
		members, err := db.engine.Scan(ctx, indexPrivateKeys, Range{}, Page{After: place, Limit: limit - len(list)})
		if err != nil || len(members) == 0 {
			return list, unavailable(err)
		}
		found, err := db.privateKeys(ctx, members)
		if err != nil {
			return nil, err
		}
		list, place = append(list, found...), members[len(members)-1]
		if len(list) >= limit {
			return list, nil
		}
	}
}

// privateKeys reads the keys that are there of some members of the index.
func (db *DB) privateKeys(ctx context.Context, members [][]byte) ([]*ra.StoredKey, error) {
	var keys []Key
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok {
			ids, keys = append(ids, id), append(keys, keyPrivateKey(id))
		}
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var list []*ra.StoredKey
	for i, it := range items {
		if !it.Found { // destroyed since the scan
			continue
		}
		k, err := decodePrivateKey(ids[i], it)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// EndedKeys implements ra.KeyStore.
func (db *DB) EndedKeys(ctx context.Context, before time.Time, limit int) ([]*ra.Enrollment, error) {
	members, err := db.engine.Scan(ctx, indexKeyEnds, Range{To: member(max(0, before.Unix()), "")}, Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok {
			ids = append(ids, id)
		}
	}
	found, err := db.enrollments(ctx, ids)
	return slices.DeleteFunc(found, func(e *ra.Enrollment) bool { return e.KeyStored.IsZero() }), err
}

func keyNoteEntry(n ra.KeyNote) Entry {
	return Entry{Index: indexKeyNotes, Member: timeMember(n.At, string(idMember(n.Enrollment)))}
}

// UnjournaledKeys implements ra.KeyStore.
func (db *DB) UnjournaledKeys(ctx context.Context, before time.Time, limit int) ([]ra.KeyNote, error) {
	members, err := db.engine.Scan(ctx, indexKeyNotes, until(before), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	notes := make([]ra.KeyNote, 0, len(members))
	for _, m := range members {
		at, _, ok := memberParts(m)
		id, ok2 := lastID(m)
		if !ok || !ok2 || len(m) != 16 {
			return nil, damaged(Key(indexKeyNotes), errors.New("a member that is no note"))
		}
		notes = append(notes, ra.KeyNote{Enrollment: id, At: millis(at).time()})
	}
	return notes, nil
}

// KeyJournaled implements ra.KeyStore.
func (db *DB) KeyJournaled(ctx context.Context, note ra.KeyNote, e *ra.Enrollment) error {
	b := &Batch{Removes: []Entry{keyNoteEntry(note)}, Conditions: []Condition{{Key: keyEnrollment(note.Enrollment), Want: Absent}}}
	if e != nil {
		b.Conditions[0].Want, b.Conditions[0].Version = Equals, e.Version
	}
	return db.commit(ctx, b)
}

// Download implements ra.KeyStore.
func (db *DB) Download(ctx context.Context, hash [32]byte) (*ra.Download, error) {
	items, err := db.read(ctx, keyDownload(hash))
	if err != nil {
		return nil, err
	}
	if !items[0].Found {
		return nil, problem.New(problem.NotFound, "there is no such link")
	}
	var r downloadRecord
	if err := decode(items[0].Value, &r); err != nil {
		return nil, damaged(keyDownload(hash), err)
	}
	return &ra.Download{
		Offer: ra.Offer{Format: r.Format, Content: r.Content, Clear: r.Clear}, Hash: hash, Enrollment: ra.ID(r.Enrollment), Org: auth.OrgID(r.Org),
		Key: r.Key.time(), By: r.By, Created: r.Created.time(), Expires: r.Expires.time(), Sealed: r.Sealed, Version: items[0].Version,
	}, nil
}

// UseDownload implements ra.KeyStore.
func (db *DB) UseDownload(ctx context.Context, d *ra.Download) error {
	return db.commit(ctx, &Batch{
		Conditions: []Condition{{Key: keyDownload(d.Hash), Want: Equals, Version: d.Version}, {Key: keyPrivateKey(d.Enrollment), Want: Present}},
		Deletes:    []Key{keyDownload(d.Hash)},
	})
}

package storage

import (
	"context"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// replacementRecord says what replaces a certificate, under the certificate's issuer and serial. It is put in the commit of
// the order, and again, for good, in the one that begins the issuance. By other doors there is no order.
type replacementRecord struct {
	Order      string `cbor:"1,keyasint,omitempty"`
	Enrollment int64  `cbor:"2,keyasint,omitempty"` // zero until then
}

// replacesRecord is acme.Replaces in an order's record.
type replacesRecord struct {
	ID         string `cbor:"1,keyasint"`
	Issuer     string `cbor:"2,keyasint"`
	Serial     []byte `cbor:"3,keyasint"` // by hexOctets
	Enrollment int64  `cbor:"4,keyasint"`
}

func toReplaces(r *acme.Replaces) *replacesRecord {
	if r == nil {
		return nil
	}
	return &replacesRecord{
		ID: r.ID, Issuer: r.Certificate.Issuer, Serial: hexOctets(string(r.Certificate.Serial)), Enrollment: int64(r.Enrollment),
	}
}

func (r *replacesRecord) replaces() *acme.Replaces {
	if r == nil {
		return nil
	}
	return &acme.Replaces{
		ID: r.ID, Certificate: acme.CertificateID{Issuer: r.Issuer, Serial: ca.Serial(octetsHex(r.Serial))}, Enrollment: ra.ID(r.Enrollment),
	}
}

func decodeReplacement(key Key, it Item) (r replacementRecord, err error) {
	if !it.Found {
		return r, nil
	}
	if err := decode(it.Value, &r); err != nil {
		return r, damaged(key, err)
	}
	if r.Order == "" && r.Enrollment == 0 {
		return r, damaged(key, fmt.Errorf("it names neither order nor enrollment"))
	}
	return r, nil
}

// Predecessor implements acme.Store: one read if nothing replaces the certificate, up to three if something does.
func (db *DB) Predecessor(ctx context.Context, id acme.CertificateID) (p acme.Predecessor, err error) {
	key := keyReplacement(id.Issuer, id.Serial)
	items, err := db.read(ctx, keyCertificate(id.Issuer, id.Serial), key)
	if err != nil {
		return p, err
	}
	if p.Certificate, err = decodeCertificate(id.Issuer, id.Serial, items[0]); err != nil {
		return p, err
	}
	mark, err := decodeReplacement(key, items[1])
	if err != nil || !items[1].Found {
		return p, err
	}
	p.Mark = items[1].Version
	if mark.Enrollment != 0 {
		// The enrollment alone decides, and it outlives the order.
		p.Order = &acme.Order{ID: acme.OrderID(mark.Order), Enrollment: ra.ID(mark.Enrollment)}
	} else if p.Order, err = db.order(ctx, acme.OrderID(mark.Order)); err != nil || p.Order == nil {
		return p, err
	}
	p.Facts, err = db.OrderFacts(ctx, p.Order)
	return p, err
}

// order reads one, nil if absent.
func (db *DB) order(ctx context.Context, id acme.OrderID) (*acme.Order, error) {
	items, err := db.read(ctx, keyOrder(id))
	if err != nil {
		return nil, err
	}
	return decodeOrder(id, items[0])
}

// Replacement implements ra.Store.
func (db *DB) Replacement(ctx context.Context, e *ra.Enrollment) (ra.ID, error) {
	key := keyReplacementOf(e)
	items, err := db.read(ctx, key)
	if err != nil {
		return 0, err
	}
	mark, err := decodeReplacement(key, items[0])
	return ra.ID(mark.Enrollment), err
}

// putReplacing adds to the batch that makes an order that it replaces its certificate, if nothing else was recorded since
// that was found to be possible. The record goes with the order's.
func (b *Batch) putReplacing(o *acme.Order) error {
	if o.Replaces == nil {
		return nil
	}
	value, err := encode(replacementRecord{Order: string(o.ID)})
	if err != nil {
		return err
	}
	key := keyReplacement(o.Replaces.Certificate.Issuer, o.Replaces.Certificate.Serial)
	condition := Condition{Key: key, Want: Absent}
	if o.Replaces.Mark != [16]byte{} {
		condition = Condition{Key: key, Want: Equals, Version: o.Replaces.Mark}
	}
	b.Conditions = append(b.Conditions, condition)
	b.Puts = append(b.Puts, Put{Key: key, Value: value, Expires: orderEnd(o)})
	return nil
}

// putReplaced adds to the batch that begins an order's issuance that the certificate is replaced by it. The condition is
// the version of the order before: an order is written when it is made and when it begins, so the record still has it
// exactly if no other order became the one that replaces the certificate, because this one looked invalid there.
func (b *Batch) putReplaced(before, after *acme.Order) error {
	if before.Replaces == nil {
		return nil
	}
	value, err := encode(replacementRecord{Order: string(after.ID), Enrollment: int64(after.Enrollment)})
	if err != nil {
		return err
	}
	key := keyReplacement(before.Replaces.Certificate.Issuer, before.Replaces.Certificate.Serial)
	b.Conditions = append(b.Conditions, Condition{Key: key, Want: Equals, Version: before.Version})
	b.Puts = append(b.Puts, Put{Key: key, Value: value})
	return nil
}

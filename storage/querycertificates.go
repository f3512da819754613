package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// certificatesOf reads the certificates of enrollments, in DER, wherever they were issued; nil for one that has none.
func (db *DB) certificatesOf(ctx context.Context, list []*ra.Enrollment) ([][]byte, error) {
	ders := make([][]byte, len(list))
	var keys []Key
	var at []int // the place of each key's enrollment
	for n, e := range list {
		switch {
		case e.Imported:
			keys, at = append(keys, keyImported(e.ID)), append(at, n)
		case !e.Issued.IsZero():
			keys, at = append(keys, keyCertificate(e.Issuer, e.Serial)), append(at, n)
		}
	}
	if len(keys) == 0 {
		return ders, nil
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for i, it := range items {
		e := list[at[i]]
		switch {
		case !it.Found: // it was removed meanwhile
		case e.Imported:
			var r importRecord
			if err := decode(it.Value, &r); err != nil {
				return nil, damaged(keys[i], err)
			}
			ders[at[i]] = r.DER
		default:
			c, err := decodeCertificate(e.Issuer, e.Serial, it)
			if err != nil {
				return nil, err
			}
			ders[at[i]] = c.DER
		}
	}
	return ders, nil
}

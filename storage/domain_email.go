package storage

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// emailRecord is a domain's newest validation by e-mail.
type emailRecord struct {
	Begun   seconds           `cbor:"1,keyasint"`
	Expires seconds           `cbor:"2,keyasint"`
	Links   []emailLinkRecord `cbor:"3,keyasint"`
	Wrong   int               `cbor:"4,keyasint,omitempty"`
	Outcome string            `cbor:"5,keyasint"`
	Ended   seconds           `cbor:"6,keyasint,omitempty"`
	Address string            `cbor:"7,keyasint,omitempty"`
	From    string            `cbor:"8,keyasint,omitempty"`
}

type emailLinkRecord struct {
	ID      string  `cbor:"1,keyasint"`
	Code    []byte  `cbor:"2,keyasint"` // SHA-256
	Address string  `cbor:"3,keyasint"`
	Method  string  `cbor:"4,keyasint"`
	Source  string  `cbor:"5,keyasint"`
	Secure  bool    `cbor:"6,keyasint,omitempty"`
	Sent    seconds `cbor:"7,keyasint"`
	Sends   int     `cbor:"8,keyasint"`
}

// emailPlace says whose a link is, under its ID.
type emailPlace struct {
	Domain string `cbor:"1,keyasint"`
}

func toEmail(v *ra.EmailValidation) *emailRecord {
	if v == nil {
		return nil
	}
	r := &emailRecord{
		Begun: toSeconds(v.Begun), Expires: toSeconds(v.Expires), Wrong: v.Wrong, Outcome: string(v.Outcome), Ended: toSeconds(v.Ended),
		Address: v.Address, From: v.From,
	}
	for _, l := range v.Links {
		r.Links = append(r.Links, emailLinkRecord{
			ID: l.ID, Code: l.Code[:], Address: l.Address, Method: string(l.Method), Source: l.Source, Secure: l.Secure,
			Sent: toSeconds(l.Sent), Sends: l.Sends,
		})
	}
	return r
}

// validation reads a record; nil of a nil one.
func (r *emailRecord) validation() (*ra.EmailValidation, error) {
	if r == nil {
		return nil, nil
	}
	v := &ra.EmailValidation{
		Begun: r.Begun.time(), Expires: r.Expires.time(), Wrong: r.Wrong, Outcome: ra.EmailOutcome(r.Outcome), Ended: r.Ended.time(),
		Address: r.Address, From: r.From,
	}
	for _, l := range r.Links {
		link := ra.EmailLink{
			ID: l.ID, Address: l.Address, Method: dcv.Method(l.Method), Source: l.Source, Secure: l.Secure, Sent: l.Sent.time(), Sends: l.Sends,
		}
		if copy(link.Code[:], l.Code) != len(link.Code) || len(l.Code) != len(link.Code) {
			return nil, errors.New("the hash of a code is none")
		}
		v.Links = append(v.Links, link)
	}
	return v, v.Check()
}

// moveEmailLinks makes the links of a domain lead to it, and those that it had before nowhere.
func (b *Batch) moveEmailLinks(next, before *ra.Domain) error {
	var old []string
	if before != nil {
		old = before.EmailLinks()
	}
	now := next.EmailLinks()
	for _, id := range old {
		if !slices.Contains(now, id) {
			b.Deletes = append(b.Deletes, keyEmailLink(id))
		}
	}
	for _, id := range now {
		if slices.Contains(old, id) {
			continue
		}
		value, err := encode(emailPlace{Domain: next.Name.Value()})
		if err != nil {
			return err
		}
		b.Puts = append(b.Puts, Put{Key: keyEmailLink(id), Value: value})
	}
	return nil
}

// DomainOfEmailLink implements ra.DomainStore.
func (db *DB) DomainOfEmailLink(ctx context.Context, id string) (*ra.Domain, error) {
	key := keyEmailLink(id)
	items, err := db.read(ctx, key)
	if err != nil || !items[0].Found {
		return nil, err
	}
	var place emailPlace
	if err := decode(items[0].Value, &place); err != nil {
		return nil, damaged(key, err)
	}
	name, err := identifier.ParseDNS(place.Domain)
	if err != nil {
		return nil, damaged(key, err)
	}
	found, err := db.Domains(ctx, []identifier.Identifier{name})
	if err != nil {
		return nil, err
	}
	if d := found[0]; d != nil && slices.Contains(d.EmailLinks(), id) {
		return d, nil
	}
	return nil, nil // the two reads are of different moments
}

package storage

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// orgRecord is an organisation of the store under its number.
type orgRecord struct {
	Slug     string   `cbor:"1,keyasint"`
	Name     string   `cbor:"2,keyasint,omitempty"`
	Parent   int32    `cbor:"3,keyasint,omitempty"`
	Limited  bool     `cbor:"4,keyasint,omitempty"` // Profiles says all; false: those of the parent
	Profiles []string `cbor:"5,keyasint,omitempty"`
	EAB      string   `cbor:"6,keyasint"` // the mode by its word: numbers may be assigned anew
	Disabled seconds  `cbor:"7,keyasint,omitempty"`
	Created  seconds  `cbor:"8,keyasint"`
	Edits    int64    `cbor:"9,keyasint,omitempty"`
	Allow    []string `cbor:"10,keyasint,omitempty"`
	Deny     []string `cbor:"11,keyasint,omitempty"`
	Closed   seconds  `cbor:"12,keyasint,omitempty"`

	Details *orgDetailsRecord `cbor:"13,keyasint,omitempty"`
}

// orgDetailsRecord is what people note of an organisation.
type orgDetailsRecord struct {
	AlternativeName string   `cbor:"1,keyasint,omitempty"`
	Alias           string   `cbor:"2,keyasint,omitempty"`
	ContactEmails   []string `cbor:"3,keyasint,omitempty"`
	Address1        string   `cbor:"4,keyasint,omitempty"`
	Address2        string   `cbor:"5,keyasint,omitempty"`
	Address3        string   `cbor:"6,keyasint,omitempty"`
	City            string   `cbor:"7,keyasint,omitempty"`
	State           string   `cbor:"8,keyasint,omitempty"`
	PostalCode      string   `cbor:"9,keyasint,omitempty"`
	Country         string   `cbor:"10,keyasint,omitempty"`
}

func encodeOrg(o *auth.Org) ([]byte, error) {
	var details *orgDetailsRecord
	if !o.Details.Empty() {
		d := orgDetailsRecord(o.Details)
		details = &d
	}
	return encode(orgRecord{
		Slug: o.Slug, Name: o.Name, Parent: int32(o.Parent), Limited: o.Profiles != nil, Profiles: o.Profiles, EAB: o.EAB.String(),
		Disabled: toSeconds(o.Disabled), Created: toSeconds(o.Created), Edits: o.Edits,
		Allow: o.AllowNames, Deny: o.DenyNames, Closed: toSeconds(o.Closed), Details: details,
	})
}

func decodeOrg(id auth.OrgID, it Item) (*auth.Org, error) {
	if !it.Found {
		return nil, nil
	}
	var r orgRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyOrg(id), err)
	}
	mode, ok := auth.ParseEABMode(r.EAB)
	if !ok {
		return nil, damaged(keyOrg(id), fmt.Errorf("an unknown mode of external account binding: %q", r.EAB))
	}
	o := &auth.Org{
		ID: id, Slug: r.Slug, Name: r.Name, Parent: auth.OrgID(r.Parent), EAB: mode, Disabled: r.Disabled.time(), Created: r.Created.time(),
		Edits: r.Edits, Version: it.Version, AllowNames: r.Allow, DenyNames: r.Deny, Closed: r.Closed.time(),
	}
	if r.Details != nil {
		o.Details = auth.OrgDetails(*r.Details)
	}
	if r.Limited {
		o.Profiles = append([]string{}, r.Profiles...)
	}
	return o, nil
}

// eabRecord is a key for external account binding under its id. The MAC key is sealed.
type eabRecord struct {
	Org      int32    `cbor:"1,keyasint"`
	Label    string   `cbor:"2,keyasint,omitempty"`
	Profiles []string `cbor:"3,keyasint,omitempty"`
	Names    []string `cbor:"4,keyasint,omitempty"`
	Reusable bool     `cbor:"5,keyasint,omitempty"`
	Created  seconds  `cbor:"6,keyasint"`
	Expires  seconds  `cbor:"7,keyasint,omitempty"`
	Revoked  seconds  `cbor:"8,keyasint,omitempty"`
	Account  string   `cbor:"9,keyasint,omitempty"`
	Sealed   []byte   `cbor:"10,keyasint"`
	Edits    int64    `cbor:"11,keyasint,omitempty"`

	Number    int32    `cbor:"12,keyasint,omitempty"`
	ByDomains bool     `cbor:"13,keyasint,omitempty"`
	Domains   []string `cbor:"14,keyasint,omitempty"`
	Removed   seconds  `cbor:"15,keyasint,omitempty"`
}

func encodeEABKey(k *auth.EABKey) ([]byte, error) {
	return encode(eabRecord{
		Org: int32(k.Org), Label: k.Label, Profiles: k.Profiles, Names: k.Names, Reusable: k.Reusable, Created: toSeconds(k.Created),
		Expires: toSeconds(k.Expires), Revoked: toSeconds(k.Revoked), Account: k.Account, Sealed: k.Sealed, Edits: k.Edits,
		Number: k.Number, ByDomains: k.ByDomains, Domains: k.Domains, Removed: toSeconds(k.Removed),
	})
}

func decodeEABKey(id string, it Item) (*auth.EABKey, error) {
	if !it.Found {
		return nil, nil
	}
	var r eabRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyEAB(id), err)
	}
	return &auth.EABKey{
		ID: id, Org: auth.OrgID(r.Org), Label: r.Label, Profiles: r.Profiles, Names: r.Names, Reusable: r.Reusable, Created: r.Created.time(),
		Expires: r.Expires.time(), Revoked: r.Revoked.time(), Account: r.Account, Sealed: r.Sealed, Edits: r.Edits, Version: it.Version,
		Number: r.Number, ByDomains: r.ByDomains, Domains: r.Domains, Removed: r.Removed.time(),
	}, nil
}

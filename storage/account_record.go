package storage

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// bindingRecord says which key for external account binding an account was made by.
type bindingRecord struct {
	KeyID       string             `cbor:"1,keyasint"`
	JWS         []byte             `cbor:"2,keyasint"`
	Restriction *restrictionRecord `cbor:"3,keyasint,omitempty"`
}

func toBinding(b *acme.Binding) *bindingRecord {
	if b == nil {
		return nil
	}
	return &bindingRecord{KeyID: b.KeyID, JWS: b.JWS, Restriction: toRestriction(b.Restriction)}
}

func (r *bindingRecord) binding() *acme.Binding {
	if r == nil {
		return nil
	}
	return &acme.Binding{KeyID: r.KeyID, JWS: r.JWS, Restriction: r.Restriction.restriction()}
}

// restrictionRecord is what a requester may ask for at most.
type restrictionRecord struct {
	Profiles []string `cbor:"1,keyasint,omitempty"`
	Names    []string `cbor:"2,keyasint,omitempty"`

	ByDomains bool     `cbor:"3,keyasint,omitempty"`
	Domains   []string `cbor:"4,keyasint,omitempty"`
}

func toRestriction(r policy.Restriction) *restrictionRecord {
	if r.IsZero() {
		return nil
	}
	return &restrictionRecord{Profiles: r.Profiles, Names: r.Names, ByDomains: r.ByDomains, Domains: r.Domains}
}

func (r *restrictionRecord) restriction() policy.Restriction {
	if r == nil {
		return policy.Restriction{}
	}
	return policy.Restriction{Profiles: r.Profiles, Names: r.Names, ByDomains: r.ByDomains, Domains: r.Domains}
}

// putBound adds to a batch that puts a new account what it is to the external account key that bound it: one of the key's
// accounts and, where the key serves one only, that one. The key must still be as it was read.
func (b *Batch) putBound(a *acme.Account, by *auth.EABKey) error {
	if by == nil {
		return nil
	}
	if a.Binding == nil || a.Binding.KeyID != by.ID || !by.Reusable && by.Account != "" {
		return fmt.Errorf("storage: account %s is not bound by the external account key %s", a.ID, by.ID)
	}
	b.Conditions = append(b.Conditions, Condition{Key: keyEAB(by.ID), Want: Equals, Version: by.Version})
	b.Adds = append(b.Adds, Entry{Index: indexEABAccounts(by.ID), Member: []byte(a.ID)})
	if by.Reusable {
		return nil
	}
	used := *by
	used.Account = string(a.ID)
	value, err := encodeEABKey(&used)
	if err != nil {
		return err
	}
	b.Puts = append(b.Puts, Put{Key: keyEAB(by.ID), Value: value})
	return nil
}

package storage

import (
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// principalRecord is a principal under its number. Of secrets it has the hashes, and the password's is sealed.
type principalRecord struct {
	Org         int32              `cbor:"1,keyasint"`
	Customer    int32              `cbor:"2,keyasint"`
	Login       string             `cbor:"3,keyasint"`
	Name        string             `cbor:"4,keyasint,omitempty"`
	Mail        string             `cbor:"5,keyasint,omitempty"`
	Grants      []grantRecord      `cbor:"6,keyasint,omitempty"`
	Created     seconds            `cbor:"7,keyasint"`
	Expires     seconds            `cbor:"8,keyasint,omitempty"`
	Disabled    seconds            `cbor:"9,keyasint,omitempty"`
	Password    []byte             `cbor:"10,keyasint,omitempty"`
	Changed     seconds            `cbor:"11,keyasint,omitempty"`
	Credentials []credentialRecord `cbor:"12,keyasint,omitempty"`
	Pruned      seconds            `cbor:"13,keyasint,omitempty"`
	Edits       int64              `cbor:"14,keyasint,omitempty"`
}

type grantRecord struct {
	Org  int32  `cbor:"1,keyasint"`
	Role string `cbor:"2,keyasint"` // by its word: numbers may be assigned anew
}

type credentialRecord struct {
	ID            string  `cbor:"1,keyasint"`
	Kind          string  `cbor:"2,keyasint"`
	Label         string  `cbor:"3,keyasint,omitempty"`
	Hash          []byte  `cbor:"4,keyasint"`
	Previous      []byte  `cbor:"5,keyasint,omitempty"`
	PreviousUntil seconds `cbor:"6,keyasint,omitempty"`
	Subject       string  `cbor:"7,keyasint,omitempty"`
	Created       seconds `cbor:"8,keyasint"`
	Rotated       seconds `cbor:"9,keyasint,omitempty"`
	Expires       seconds `cbor:"10,keyasint,omitempty"`
	Revoked       seconds `cbor:"11,keyasint,omitempty"`
}

func encodePrincipal(p *auth.Principal) ([]byte, error) {
	r := principalRecord{
		Org: int32(p.Org), Customer: int32(p.Customer), Login: p.Login, Name: p.Name, Mail: p.Mail, Created: toSeconds(p.Created), Expires: toSeconds(p.Expires),
		Disabled: toSeconds(p.Disabled), Password: p.Password.Sealed, Changed: toSeconds(p.Password.Changed), Pruned: toSeconds(p.Pruned), Edits: p.Edits,
	}
	for _, g := range p.Grants {
		r.Grants = append(r.Grants, grantRecord{int32(g.Org), g.Role.String()})
	}
	for _, c := range p.Credentials {
		e := credentialRecord{
			ID: c.ID, Kind: c.Kind.String(), Label: c.Label, Hash: c.Hash[:], PreviousUntil: toSeconds(c.PreviousUntil), Subject: c.Subject,
			Created: toSeconds(c.Created), Rotated: toSeconds(c.Rotated), Expires: toSeconds(c.Expires), Revoked: toSeconds(c.Revoked),
		}
		if !c.PreviousUntil.IsZero() {
			e.Previous = c.Previous[:]
		}
		r.Credentials = append(r.Credentials, e)
	}
	return encode(r)
}

// decodePrincipal refuses a role or a kind that it does not know: what a newer version has granted is not guessed at.
func decodePrincipal(id auth.PrincipalID, it Item) (*auth.Principal, error) {
	if !it.Found {
		return nil, nil
	}
	var r principalRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyPrincipal(id), err)
	}
	p := &auth.Principal{
		ID: id, Org: auth.OrgID(r.Org), Customer: auth.OrgID(r.Customer), Login: r.Login, Name: r.Name, Mail: r.Mail, Created: r.Created.time(),
		Expires: r.Expires.time(), Disabled: r.Disabled.time(), Password: auth.Password{Sealed: r.Password, Changed: r.Changed.time()},
		Pruned: r.Pruned.time(), Edits: r.Edits, Version: it.Version,
	}
	for _, g := range r.Grants {
		role, ok := auth.ParseRole(g.Role)
		if !ok {
			return nil, damaged(keyPrincipal(id), fmt.Errorf("an unknown role: %q", g.Role))
		}
		p.Grants = append(p.Grants, auth.Grant{Org: auth.OrgID(g.Org), Role: role})
	}
	for _, c := range r.Credentials {
		kind, ok := auth.ParseCredentialKind(c.Kind)
		if !ok || len(c.Hash) != 32 || len(c.Previous) != 0 && len(c.Previous) != 32 {
			return nil, damaged(keyPrincipal(id), fmt.Errorf("a credential of an unknown kind or form: %q", c.Kind))
		}
		n := auth.Credential{
			ID: c.ID, Kind: kind, Label: c.Label, Hash: [32]byte(c.Hash), PreviousUntil: c.PreviousUntil.time(), Subject: c.Subject,
			Created: c.Created.time(), Rotated: c.Rotated.time(), Expires: c.Expires.time(), Revoked: c.Revoked.time(),
		}
		copy(n.Previous[:], c.Previous)
		p.Credentials = append(p.Credentials, n)
	}
	return p, nil
}

// timeRecord is one time.
type timeRecord struct {
	At seconds `cbor:"1,keyasint"`
}

// decodeTime reads a timeRecord, zero if absent.
func decodeTime(key Key, it Item) (time.Time, error) {
	if !it.Found {
		return time.Time{}, nil
	}
	var r timeRecord
	if err := decode(it.Value, &r); err != nil {
		return time.Time{}, damaged(key, err)
	}
	return r.At.time(), nil
}

// tokenRecord is an access token under its hash.
type tokenRecord struct {
	Principal  int32  `cbor:"1,keyasint"`
	Credential string `cbor:"2,keyasint"`
	Secret     []byte `cbor:"3,keyasint"` // SHA-256
	Expires    millis `cbor:"4,keyasint"`
}

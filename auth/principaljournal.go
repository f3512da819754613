package auth

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// principalEntry is a principal as the journal holds it: the password's hash sealed, of secrets the hashes. Its home is the
// event's Org.
type principalEntry struct {
	ID          PrincipalID       `json:"id"`
	Customer    OrgID             `json:"customer"`
	Login       string            `json:"login"`
	Name        string            `json:"name,omitempty"`
	Mail        string            `json:"mail,omitempty"`
	Grants      []grantEntry      `json:"grants,omitempty"`
	Created     time.Time         `json:"created"`
	Expires     time.Time         `json:"expires,omitzero"`
	Disabled    time.Time         `json:"disabled,omitzero"`
	Password    []byte            `json:"password,omitempty"`
	Changed     time.Time         `json:"passwordChanged,omitzero"`
	Credentials []credentialEntry `json:"credentials,omitempty"`
	Pruned      time.Time         `json:"pruned,omitzero"`
	Edits       int64             `json:"edits,omitempty"`
}

type grantEntry struct {
	Org  OrgID  `json:"org"`
	Role string `json:"role"`
}

type credentialEntry struct {
	ID            string    `json:"id"`
	Kind          string    `json:"kind"`
	Label         string    `json:"label,omitempty"`
	Hash          []byte    `json:"sha256"`
	Previous      []byte    `json:"previousSha256,omitempty"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
	Subject       string    `json:"subject,omitempty"`
	Created       time.Time `json:"created"`
	Rotated       time.Time `json:"rotated,omitzero"`
	Expires       time.Time `json:"expires,omitzero"`
	Revoked       time.Time `json:"revoked,omitzero"`
}

// principalEvent is what the journal is told of a principal as it stands.
func principalEvent(kind audit.Kind, p *Principal, actor, what string, at time.Time) (audit.Event, error) {
	entry := principalEntry{
		ID: p.ID, Customer: p.Customer, Login: p.Login, Name: p.Name, Mail: p.Mail, Created: p.Created, Expires: p.Expires, Disabled: p.Disabled,
		Password: p.Password.Sealed, Changed: p.Password.Changed, Pruned: p.Pruned, Edits: p.Edits,
	}
	for _, g := range p.Grants {
		entry.Grants = append(entry.Grants, grantEntry{g.Org, g.Role.String()})
	}
	for _, c := range p.Credentials {
		e := credentialEntry{
			ID: c.ID, Kind: c.Kind.String(), Label: c.Label, Hash: c.Hash[:], PreviousUntil: c.PreviousUntil, Subject: c.Subject,
			Created: c.Created, Rotated: c.Rotated, Expires: c.Expires, Revoked: c.Revoked,
		}
		if !c.PreviousUntil.IsZero() {
			e.Previous = c.Previous[:]
		}
		entry.Credentials = append(entry.Credentials, e)
	}
	return objectEvent(kind, p.Org, strings.TrimSpace(p.Login+" "+what), actor, at, entry)
}

// PrincipalFromEvent is the principal after an event of kind PrincipalMade or PrincipalEdited, all of it. Its Version is zero.
func PrincipalFromEvent(e audit.Event) (*Principal, error) {
	var entry principalEntry
	if err := readEntry(e, audit.PrincipalMade, audit.PrincipalEdited, "principal", &entry); err != nil {
		return nil, err
	}
	login, ok := foldLogin(entry.Login)
	if e.Org <= 0 || entry.ID <= 0 || entry.Customer <= 0 || !ok || login != entry.Login {
		return nil, fmt.Errorf("auth: a journal entry of kind %q holds no whole principal", e.Kind)
	}
	p := &Principal{
		ID: entry.ID, Org: OrgID(e.Org), Customer: entry.Customer, Login: entry.Login, Name: entry.Name, Mail: entry.Mail, Created: entry.Created,
		Expires: entry.Expires, Disabled: entry.Disabled, Password: Password{entry.Password, entry.Changed}, Pruned: entry.Pruned, Edits: entry.Edits,
	}
	for _, g := range entry.Grants {
		role, ok := ParseRole(g.Role)
		if !ok || g.Org <= 0 {
			return nil, fmt.Errorf("auth: a journal entry of kind %q holds an unknown role", e.Kind)
		}
		p.Grants = append(p.Grants, Grant{g.Org, role})
	}
	for _, c := range entry.Credentials {
		kind, ok := ParseCredentialKind(c.Kind)
		if !ok || !base32(c.ID, idLength) || len(c.Hash) != 32 || len(c.Previous) != 0 && len(c.Previous) != 32 {
			return nil, fmt.Errorf("auth: a journal entry of kind %q holds no whole credential", e.Kind)
		}
		n := Credential{
			ID: c.ID, Kind: kind, Label: c.Label, Hash: [32]byte(c.Hash), PreviousUntil: c.PreviousUntil, Subject: c.Subject, Created: c.Created,
			Rotated: c.Rotated, Expires: c.Expires, Revoked: c.Revoked,
		}
		copy(n.Previous[:], c.Previous)
		p.Credentials = append(p.Credentials, n)
	}
	return p, nil
}

// ReplayedPrincipal is what a replay of a journal's entry makes of the principal that the store has under its number: the one
// that was changed more often, with the credentials that only the other has, and each revoked that either says is. The
// result is to be written in place of have; nil means that there is nothing to write. Another principal under the same
// number is an error, and so nothing may go on.
func ReplayedPrincipal(have, said *Principal) (*Principal, error) {
	if have == nil {
		return said.clone(), nil
	}
	if !have.same(said) {
		return nil, fmt.Errorf("%s is %q in the store, made at %s, and %q in this journal, made at %s: the store went back, and the number was given anew before this journal was replayed. "+
			"Nothing of either is given to the other; keep this gateway away from that store", have.ID, have.Login, have.Created.Format(time.RFC3339), said.Login, said.Created.Format(time.RFC3339))
	}
	next, other := have.clone(), said
	if said.Edits > have.Edits {
		next, other = said.clone(), have
		next.Login, next.Version = have.Login, have.Version
	}
	changed := said.Edits > have.Edits
	if said.Edits == have.Edits && next.Disabled.IsZero() && !said.Disabled.IsZero() {
		// Two states that do not follow from one another: the store went back in between.
		next.Disabled, changed = said.Disabled, true
	}
	for _, c := range other.Credentials {
		i := slices.IndexFunc(next.Credentials, func(n Credential) bool { return n.ID == c.ID })
		switch {
		case i >= 0 && said.Edits == have.Edits && c.Rotated.After(next.Credentials[i].Rotated):
			// As with disabling: a secret that was replaced in the other past must not count again.
			c.Revoked = cmp.Or(next.Credentials[i].Revoked, c.Revoked)
			next.Credentials[i], changed = c, true
		case i < 0 && c.Created.After(next.Pruned):
			next.Credentials, changed = append(next.Credentials, c), true
		case i >= 0 && next.Credentials[i].Revoked.IsZero() && !c.Revoked.IsZero():
			next.Credentials[i].Revoked, changed = c.Revoked, true
		}
	}
	if !changed {
		return nil, nil
	}
	return next, nil
}

// same reports whether two states are of one principal. Numbers are equal.
func (p *Principal) same(other *Principal) bool {
	return p.Org == other.Org && p.Customer == other.Customer && p.Created.Equal(other.Created) &&
		(p.Login == other.Login || p.Login == other.Displaced() || other.Login == p.Displaced())
}

// Displaced is the login of a principal that a replay brings back after its login was given to another one: with its number.
func (p *Principal) Displaced() string {
	end := "-" + strconv.Itoa(int(p.ID))
	return p.Login[:min(len(p.Login), maxLogin-len(end))] + end
}

// DropLookups revokes the credentials that are found by what another principal's are: of two that bind one certificate the
// one that was there first stays.
func (p *Principal) DropLookups(taken map[string]bool, at time.Time) {
	for i := range p.Credentials {
		c := &p.Credentials[i]
		if c.Revoked.IsZero() && slices.ContainsFunc(c.lookups(), func(l string) bool { return taken[l] }) {
			c.Revoked = at
		}
	}
}

package auth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// What is kept here is in the store and in the journal. A change goes to the store first, which decides between changes
// that collide, and leaves a note there that the journal may lack it. The journal comes next, then the note goes, and then
// whoever asked is told. If the process dies in between the note stays, and the next gateway that looks (settle.go) tells
// the journal what the store has. An entry holds all of the object and how often it was changed, so any one entry is enough
// to give it back, repeated entries do no harm, and of two the later is known, in whichever sequence they come.

// orgEntry is an organisation as the journal holds it (audit.Event.Data). Its number is the event's Org.
type orgEntry struct {
	Slug     string    `json:"slug"`
	Name     string    `json:"name,omitempty"`
	Parent   OrgID     `json:"parent,omitempty"`
	Limited  bool      `json:"limited,omitempty"` // Profiles says all; false: those of its parent
	Profiles []string  `json:"profiles,omitempty"`
	Allow    []string  `json:"allowNames,omitempty"`
	Deny     []string  `json:"denyNames,omitempty"`
	EAB      string    `json:"eab"`
	Disabled time.Time `json:"disabled,omitzero"`
	Closed   time.Time `json:"closed,omitzero"`
	Created  time.Time `json:"created"`
	Edits    int64     `json:"edits,omitempty"`

	Details *OrgDetails `json:"details,omitempty"`
}

// orgEvent is what the journal is told of an organisation as it stands.
func orgEvent(kind audit.Kind, o *Org, actor string, at time.Time) (audit.Event, error) {
	entry := orgEntry{
		Slug: o.Slug, Name: o.Name, Parent: o.Parent, Limited: o.Profiles != nil, Profiles: o.Profiles, EAB: o.EAB.String(),
		Allow: o.AllowNames, Deny: o.DenyNames, Disabled: o.Disabled, Closed: o.Closed, Created: o.Created, Edits: o.Edits,
	}
	if !o.Details.Empty() {
		entry.Details = &o.Details
	}
	return objectEvent(kind, o.ID, o.Slug, actor, at, entry)
}

// objectEvent is what the journal is told of an object of an organisation: all of it.
func objectEvent(kind audit.Kind, org OrgID, detail, actor string, at time.Time, entry any) (audit.Event, error) {
	data, err := json.Marshal(entry)
	return audit.Event{Kind: kind, At: at.UTC(), Actor: actor, Org: int32(org), Data: data, Detail: detail}, err
}

// readEntry reads into entry what an event of one of two kinds says of an object.
func readEntry(e audit.Event, made, edited audit.Kind, object string, entry any) error {
	if e.Kind != made && e.Kind != edited {
		return fmt.Errorf("auth: a journal entry of kind %q holds no %s", e.Kind, object)
	}
	if err := json.Unmarshal(e.Data, entry); err != nil {
		return fmt.Errorf("auth: the %s in a journal entry: %w", object, err)
	}
	return nil
}

// OrgFromEvent is the organisation after an event of kind OrgMade or OrgEdited, all of it. Its Version is zero.
func OrgFromEvent(e audit.Event) (*Org, error) {
	var entry orgEntry
	if err := readEntry(e, audit.OrgMade, audit.OrgEdited, "organisation", &entry); err != nil {
		return nil, err
	}
	mode, ok := ParseEABMode(entry.EAB)
	if e.Org <= 0 || !usableSlug(entry.Slug) || entry.Parent < 0 || !ok {
		return nil, fmt.Errorf("auth: a journal entry of kind %q holds no whole organisation", e.Kind)
	}
	o := &Org{
		ID: OrgID(e.Org), Slug: entry.Slug, Name: entry.Name, Parent: entry.Parent, EAB: mode, Disabled: entry.Disabled, Closed: entry.Closed, Created: entry.Created, Edits: entry.Edits,
		AllowNames: entry.Allow, DenyNames: entry.Deny,
	}
	if entry.Details != nil {
		o.Details = *entry.Details
	}
	if entry.Limited {
		o.Profiles = append([]string{}, entry.Profiles...)
	}
	return o, nil
}

// ReplayedOrg is what a replay of a journal's entry makes of the organisation that the store has under its number: the one
// that was changed more often. The result is to be written under have's Version; nil means that there is nothing to write.
// An organisation that is another one under the same number is an error, and so nothing may go on: its accounts are another
// tenant's.
func ReplayedOrg(have, said *Org) (*Org, error) {
	switch {
	case have == nil:
		return said.clone(), nil
	case !have.same(said):
		return nil, fmt.Errorf("organisation %d is %q in the store, made at %s, and %q in this journal, made at %s: the store went back, and the number was given anew before this journal was replayed. "+
			"Nothing of either is given to the other; keep this gateway away from that store, and let its clients make accounts at the others",
			have.ID, have.Slug, have.Created.Format(time.RFC3339), said.Slug, said.Created.Format(time.RFC3339))
	case said.Edits <= have.Edits:
		return nil, nil
	}
	next := said.clone()
	next.Slug, next.Version = have.Slug, have.Version
	return next, nil
}

// same reports whether two states are of one organisation. Numbers are equal.
func (o *Org) same(other *Org) bool {
	return o.Parent == other.Parent && o.Created.Equal(other.Created) &&
		(o.Slug == other.Slug || o.Slug == other.Displaced() || other.Slug == o.Displaced())
}

// Displaced is the slug of an organisation that a replay brings back after its slug was given to another one: with its number,
// which nobody else has.
func (o *Org) Displaced() string {
	end := "-" + strconv.Itoa(int(o.ID))
	slug := o.Slug[:min(len(o.Slug), 63-len(end))]
	return strings.TrimRight(slug, "-") + end
}

// eabEntry is an external account binding key as the journal holds it. The MAC key is sealed.
type eabEntry struct {
	ID       string    `json:"id"`
	Label    string    `json:"label,omitempty"`
	Profiles []string  `json:"profiles,omitempty"`
	Names    []string  `json:"names,omitempty"`
	Reusable bool      `json:"reusable,omitempty"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
	Account  string    `json:"account,omitempty"`
	Sealed   []byte    `json:"sealed"`
	Edits    int64     `json:"edits,omitempty"`

	Number    int32     `json:"number,omitempty"`
	ByDomains bool      `json:"byDomains,omitempty"`
	Domains   []string  `json:"domains,omitempty"`
	Removed   time.Time `json:"removed,omitzero"`
}

// eabEvent is what the journal is told of a key as it stands.
func eabEvent(kind audit.Kind, k *EABKey, actor string, at time.Time) (audit.Event, error) {
	return objectEvent(kind, k.Org, k.ID, actor, at, eabEntry{
		ID: k.ID, Label: k.Label, Profiles: k.Profiles, Names: k.Names, Reusable: k.Reusable, Created: k.Created, Expires: k.Expires,
		Revoked: k.Revoked, Account: k.Account, Sealed: k.Sealed, Edits: k.Edits,
		Number: k.Number, ByDomains: k.ByDomains, Domains: k.Domains, Removed: k.Removed,
	})
}

// EABKeyFromEvent is the key after an event of kind EABKeyMade or EABKeyEdited, all of it. Its Version is zero.
func EABKeyFromEvent(e audit.Event) (*EABKey, error) {
	var entry eabEntry
	if err := readEntry(e, audit.EABKeyMade, audit.EABKeyEdited, "external account binding key", &entry); err != nil {
		return nil, err
	}
	if e.Org <= 0 || !validEABID(entry.ID) || len(entry.Sealed) == 0 || entry.Number < 0 {
		return nil, fmt.Errorf("auth: a journal entry of kind %q holds no whole key", e.Kind)
	}
	return &EABKey{
		ID: entry.ID, Org: OrgID(e.Org), Label: entry.Label, Profiles: entry.Profiles, Names: entry.Names, Reusable: entry.Reusable,
		Created: entry.Created, Expires: entry.Expires, Revoked: entry.Revoked, Account: entry.Account, Sealed: entry.Sealed, Edits: entry.Edits,
		Number: entry.Number, ByDomains: entry.ByDomains, Domains: entry.Domains, Removed: entry.Removed,
	}, nil
}

// ReplayedEABKey is what a replay of a journal's entry makes of the key that the store has: the one that was changed more
// often, revoked and removed if either is, and used by the account that either names, the store's first. Its number is the
// store's, if that has one. The result is to be written under have's Version; nil means that there is nothing to write.
func ReplayedEABKey(have, said *EABKey) *EABKey {
	if have == nil {
		return said
	}
	next := *have
	if said.Edits > have.Edits {
		next = *said
		next.Version, next.Org = have.Version, have.Org
		next.Account = cmp.Or(have.Account, said.Account)
	}
	if next.Revoked.IsZero() {
		next.Revoked = cmp.Or(have.Revoked, said.Revoked)
	}
	if next.Removed.IsZero() {
		next.Removed = cmp.Or(have.Removed, said.Removed)
	}
	next.Account = cmp.Or(next.Account, said.Account)
	next.Number = cmp.Or(have.Number, said.Number)
	if next.Edits == have.Edits && next.Account == have.Account && next.Revoked.Equal(have.Revoked) && next.Removed.Equal(have.Removed) &&
		next.Number == have.Number && slices.Equal(next.Sealed, have.Sealed) {
		return nil
	}
	return &next
}

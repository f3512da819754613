package ra

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// keyJournalTime bounds what the journal, and the note behind it, may take.
const keyJournalTime = 10 * time.Second

// keyEntry is a private key as the journal holds it (audit.Event.Data), whose public key's hash is the event's Hash.
type keyEntry struct {
	Sealed    []byte         `json:"sealed,omitempty"`
	Made      bool           `json:"made,omitempty"` // here; otherwise it was uploaded
	By        string         `json:"by,omitempty"`
	At        time.Time      `json:"at,omitzero"`
	Type      policy.KeyType `json:"type,omitempty"`
	Rewraps   int            `json:"rewraps,omitempty"`
	Destroyed time.Time      `json:"destroyed,omitzero"`
}

// journalKey tells the journal of an enrollment's key as it stands, and removes the note of that. Whoever is told after it knows
// that both have it.
func (r *Registrar) journalKey(ctx context.Context, e *Enrollment, actor, what string) error {
	return r.journalNote(ctx, e, e.note(), actor, what)
}

func (r *Registrar) journalNote(ctx context.Context, e *Enrollment, note KeyNote, actor, what string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyJournalTime)
	defer cancel()
	event, err := r.keyWord(ctx, e, actor, what)
	if err != nil {
		return err
	}
	if event.Kind == "" { // it had a key, says the note, in a past that the store has lost
		return r.Escrow.Store.KeyJournaled(ctx, note, e)
	}
	if err := r.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "what became of the private key could not be journaled; ask again later")
	}
	if err := r.Escrow.Store.KeyJournaled(ctx, note, e); err != nil { // it stays, and a journal will be told once more
		r.Log.Debug("a note about a private key stays in the store", "enrollment", e.ID, "error", err)
	}
	return nil
}

// keyWord is what the journal is told of an enrollment's key as it stands; without a Kind if there is nothing to tell.
func (r *Registrar) keyWord(ctx context.Context, e *Enrollment, actor, what string) (audit.Event, error) {
	if e.KeyStored.IsZero() {
		if e.KeyDestroyed.IsZero() {
			return audit.Event{}, nil
		}
		return r.keyEvent(ctx, audit.KeyDestroyed, e, nil, keyEntry{Destroyed: e.KeyDestroyed}, actor, what)
	}
	k, err := r.Escrow.Store.PrivateKey(ctx, e.ID)
	if problem.Is(err, problem.NotFound) { // destroyed since e was read, which has left a note of its own
		return audit.Event{}, nil
	}
	if err != nil {
		return audit.Event{}, err
	}
	entry := keyEntry{Sealed: k.Sealed, Made: k.Origin == KeyMade, By: k.By, At: k.At, Type: k.Type, Rewraps: k.Rewraps}
	return r.keyEvent(ctx, audit.KeyStored, e, k.Public[:], entry, actor, what)
}

// keyEvent is an entry about an enrollment's key, with the certificate if there is one, so that it alone brings both back.
func (r *Registrar) keyEvent(ctx context.Context, kind audit.Kind, e *Enrollment, public []byte, entry keyEntry, actor, what string) (audit.Event, error) {
	data, err := json.Marshal(entry)
	if err != nil {
		return audit.Event{}, err
	}
	event := audit.Event{
		Kind: kind, At: r.Now().UTC(), Actor: actor, Org: int32(e.Org), Enrollment: int64(e.ID), Door: string(e.Door), Profile: e.Profile,
		ProfileHash: e.ProfileHash, Requester: e.Requester, Hash: public, Data: data, Detail: what,
	}
	if e.Issued.IsZero() || e.Issuer == "" {
		return event, nil
	}
	c, err := r.Certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return audit.Event{}, err
	}
	event.Issuer, event.Serial, event.NotAfter, event.DER = c.Issuer, string(c.Serial), c.NotAfter, c.DER
	event.Requester, event.Issued, event.Door = c.Requester.Principal, c.Issued, c.Requester.Door
	event.Profile, event.ProfileHash = c.Profile, c.ProfileHash
	event.Content, event.Approvers = e.Content, e.approvers()
	return event, nil
}

// KeyWord is what a journal says of an enrollment's private key: that there is one, or that it was destroyed.
type KeyWord struct {
	Key       *StoredKey // without its Enrollment; nil: it was destroyed
	Destroyed time.Time
}

// KeyFromEvent reads the word of an event of kind KeyStored or KeyDestroyed.
func KeyFromEvent(e audit.Event) (*KeyWord, error) {
	var entry keyEntry
	if err := json.Unmarshal(e.Data, &entry); err != nil {
		return nil, fmt.Errorf("ra: the private key in a journal entry: %w", err)
	}
	switch {
	case e.Kind == audit.KeyDestroyed && !entry.Destroyed.IsZero():
		return &KeyWord{Destroyed: entry.Destroyed}, nil
	case e.Kind == audit.KeyStored && len(entry.Sealed) > 0 && len(e.Hash) == 32 && !entry.At.IsZero():
		k := &StoredKey{Origin: KeyUploaded, By: entry.By, At: entry.At, Type: entry.Type, Public: [32]byte(e.Hash), Sealed: entry.Sealed, Rewraps: entry.Rewraps}
		if entry.Made {
			k.Origin = KeyMade
		}
		return &KeyWord{Key: k}, nil
	}
	return nil, fmt.Errorf("ra: a journal entry of kind %q holds no whole word about a private key", e.Kind)
}

// ReplayedKey is what a replay of a word makes of the enrollment that it is about, and of the key that the store has for it (nil:
// none); nil if nothing. A key that was destroyed stays so, whichever of the two words comes first: one that is no younger than
// the destruction does not come back. Of two states of a key the one that was sealed anew more often holds.
func ReplayedKey(e *Enrollment, have *StoredKey, said *KeyWord) *Enrollment {
	next := *e
	if said.Key == nil {
		if !said.Destroyed.After(e.KeyDestroyed) {
			return nil
		}
		next.KeyDestroyed = said.Destroyed
		if !e.KeyStored.After(said.Destroyed) {
			next.KeyStored = time.Time{}
		}
		return &next
	}
	k := *said.Key
	switch {
	case !k.At.After(e.KeyDestroyed), !e.Removed.IsZero(), k.At.Before(e.KeyStored):
		return nil
	case k.At.Equal(e.KeyStored) && have != nil && k.Rewraps <= have.Rewraps:
		return nil
	}
	k.Enrollment = e.ID
	next.KeyStored, next.Key = k.At, &k
	return &next
}

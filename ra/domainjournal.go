package ra

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// A change of a domain goes to the store first, which decides between changes that collide, and leaves a note there; the
// journal comes next, then the note goes, and then whoever asked is told. An entry holds all of the domain, so any one of
// them gives it back, and of two the later is known.

// domainEntry is a domain as the journal holds it (audit.Event.Data). Its owner is the event's Org. Looks that found nothing
// are no part of it.
type domainEntry struct {
	Name        string            `json:"name"`
	Number      DomainNumber      `json:"number,omitempty"`
	Description string            `json:"description,omitempty"`
	Created     time.Time         `json:"created"`
	Removed     time.Time         `json:"removed,omitzero"`
	Suspended   time.Time         `json:"suspended,omitzero"`
	Own         []Privilege       `json:"own,omitempty"`
	Delegations []delegationEntry `json:"delegations,omitempty"`
	Proof       *proofEntry       `json:"proof,omitempty"`
	Validation  *validationEntry  `json:"validation,omitempty"`
	Email       *emailEntry       `json:"email,omitempty"`
	Edits       int64             `json:"edits"`
}

type delegationEntry struct {
	Org        auth.OrgID      `json:"org"`
	State      DelegationState `json:"state"`
	Requested  time.Time       `json:"requested"`
	Decided    time.Time       `json:"decided,omitzero"`
	Privileges []Privilege     `json:"privileges,omitempty"`
}

type proofEntry struct {
	Method dcv.Method `json:"method"`
	At     time.Time  `json:"at"`
	Seen   string     `json:"seen"`
	Secure bool       `json:"dnssec,omitempty"`
}

type validationEntry struct {
	Method  dcv.Method `json:"method"`
	Place   string     `json:"place"`
	Value   string     `json:"value"`
	Begun   time.Time  `json:"begun"`
	Expires time.Time  `json:"expires"`
	// Awaiting is a validation that nobody has submitted yet. Entries from before there was that lack Submitted: it is Begun.
	Awaiting  bool      `json:"awaiting,omitempty"`
	Submitted time.Time `json:"submitted,omitzero"`
}

// domainEvent is what the journal is told of a domain as it stands.
func domainEvent(d *Domain, actor, what string, at time.Time) (audit.Event, error) {
	e := domainEntry{
		Name: d.Name.Value(), Number: d.Number, Description: d.Description, Created: d.Created, Removed: d.Removed, Suspended: d.Suspended, Own: d.Own, Edits: d.Edits,
	}
	for _, l := range d.Delegations {
		e.Delegations = append(e.Delegations, delegationEntry(l))
	}
	if p := d.Proof; p != nil {
		e.Proof = &proofEntry{Method: p.Method, At: p.At, Seen: p.Seen, Secure: p.Secure}
	}
	if v := d.Validation; v != nil {
		e.Validation = &validationEntry{
			Method: v.Method, Place: v.Publication.Place, Value: v.Publication.Value, Begun: v.Begun, Expires: v.Expires,
			Awaiting: v.Submitted.IsZero(), Submitted: v.Submitted,
		}
	}
	e.Email = newEmailEntry(d.Email)
	data, err := json.Marshal(e)
	return audit.Event{Kind: audit.DomainChanged, At: at.UTC(), Actor: actor, Org: int32(d.Org), Data: data, Detail: d.Name.Value() + ": " + what}, err
}

// DomainFromEvent is the domain after an event of kind DomainChanged, all of it. Its Version is zero, and a validation that
// was submitted is due.
func DomainFromEvent(e audit.Event) (*Domain, error) {
	if e.Kind != audit.DomainChanged {
		return nil, fmt.Errorf("ra: a journal entry of kind %q holds no domain", e.Kind)
	}
	var entry domainEntry
	if err := json.Unmarshal(e.Data, &entry); err != nil {
		return nil, fmt.Errorf("ra: the domain in a journal entry: %w", err)
	}
	name, err := identifier.ParseDNS(entry.Name)
	if err != nil || name.IsWildcard() || e.Org <= 0 || entry.Edits <= 0 || entry.Number < 0 {
		return nil, fmt.Errorf("ra: a journal entry of kind %q holds no whole domain", e.Kind)
	}
	d := &Domain{
		Name: name, Number: entry.Number, Org: auth.OrgID(e.Org), Description: entry.Description, Created: entry.Created, Removed: entry.Removed,
		Suspended: entry.Suspended, Own: entry.Own, Edits: entry.Edits,
	}
	if err := CheckPrivileges(d.Own); err != nil {
		return nil, fmt.Errorf("ra: a journal entry of the domain %s with %w", entry.Name, err)
	}
	for _, l := range entry.Delegations {
		switch l.State {
		case DelegationRequested, DelegationApproved, DelegationRejected:
		default:
			return nil, fmt.Errorf("ra: a journal entry has a delegation of %s in an unknown state", entry.Name)
		}
		if err := CheckPrivileges(l.Privileges); err != nil {
			return nil, fmt.Errorf("ra: a journal entry has a delegation of %s with %w", entry.Name, err)
		}
		d.Delegations = append(d.Delegations, Delegation(l))
	}
	if p := entry.Proof; p != nil {
		d.Proof = &dcv.Proof{Method: p.Method, Identifier: name, At: p.At, Seen: p.Seen, Secure: p.Secure}
	}
	if v := entry.Validation; v != nil {
		d.Validation = &DomainValidation{
			Method: v.Method, Publication: dcv.Publication{Place: v.Place, Value: v.Value}, Begun: v.Begun, Expires: v.Expires,
		}
		if !v.Awaiting {
			d.Validation.Due, d.Validation.Submitted = v.Begun, v.Submitted
			if v.Submitted.IsZero() {
				d.Validation.Submitted = v.Begun
			}
		}
	}
	if d.Email, err = entry.Email.validation(); err != nil {
		return nil, fmt.Errorf("ra: a journal entry of %s: %w", entry.Name, err)
	}
	return d, nil
}

// ReplayedDomain is what a replay of a journal's entry makes of the domain that the store has under its name, nil if there is
// none: the later of the two, whosever it was, with the number that the store has. The result is to be written in place of
// have; nil means that there is nothing to write.
func ReplayedDomain(have, said *Domain) *Domain {
	if have == nil {
		return said
	}
	if said.Edits <= have.Edits {
		return nil
	}
	next := said.clone()
	if have.Number != 0 {
		next.Number = have.Number
	}
	return next
}

// note is the end of a change: the journal has it, then the note in the store goes.
func (m *Domains) journal(ctx context.Context, d *Domain, actor, what string, note DomainNote) error {
	event, err := domainEvent(d, actor, what, m.Now())
	if err != nil {
		return err
	}
	if err := m.Journal.Append(ctx, event); err != nil {
		return err
	}
	if err := m.Store.DomainJournaled(ctx, note); err != nil { // it stays, and the journal will be told once more
		m.Log.Warn("a note about a domain stays in the store", "domain", d.Name.Value(), "error", err)
	}
	return nil
}

// settleAge is how old a note is whose process did not live to tell its journal.
const settleAge = 30 * time.Second

// Settle tells this gateway's journal of changes that another's may lack: of all that there are, as at a start, or of those
// that nobody can be about to tell.
func (m *Domains) Settle(ctx context.Context, all bool) error {
	before := m.Now().Add(-settleAge)
	if all {
		before = m.Now().Add(time.Hour) // whatever the clock
	}
	var last DomainNote
	for {
		notes, err := m.Store.UnjournaledDomains(ctx, before, sweepBatch)
		if err != nil || len(notes) == 0 || notes[0] == last { // that one stays
			return err
		}
		if err := m.settle(ctx, notes); err != nil || len(notes) < sweepBatch {
			return err
		}
		last = notes[0]
	}
}

func (m *Domains) settle(ctx context.Context, notes []DomainNote) error {
	names := make([]identifier.Identifier, len(notes))
	for i, n := range notes {
		names[i] = n.Name
	}
	found, err := m.Store.Domains(ctx, names)
	if err != nil {
		return err
	}
	for i, d := range found {
		if d == nil { // the store went back: what it lacks is the journals' to tell
			if err := m.Store.DomainJournaled(ctx, notes[i]); err != nil {
				return err
			}
			continue
		}
		if err := m.journal(ctx, d, "system", "as the store has it", notes[i]); err != nil {
			return err
		}
	}
	return nil
}

package ra

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// What goes with an enrollment is in the store first, which decides between changes that collide, and then in the journal. An
// entry holds all of it, and the certificate, so that any one of them gives both back, and of two the later is known.

// detailsEntry is what goes with an enrollment, as the journal holds it (audit.Event.Data).
type detailsEntry struct {
	Created            time.Time           `json:"created"` // of the enrollment: numbers can be another's in a store that went back
	Edits              int64               `json:"edits"`
	Comments           string              `json:"comments,omitempty"`
	ExternalRequesters []string            `json:"externalRequesters,omitempty"`
	CustomFields       []policy.FieldValue `json:"customFields,omitempty"`
	Term               int64               `json:"term,omitempty"` // in seconds
	AutoRenewDays      int                 `json:"autoRenewDays,omitempty"`
	AutoRenew          bool                `json:"autoRenew,omitempty"`
	Suspended          bool                `json:"suspendNotifications,omitempty"`
	Locations          []locationEntry     `json:"locations,omitempty"`
	LastLocation       int                 `json:"lastLocation,omitempty"`
	RenewedManually    time.Time           `json:"renewedManually,omitzero"`
	Removed            time.Time           `json:"removed,omitzero"`
	Remover            string              `json:"remover,omitempty"`
	Revoked            *revokedEntry       `json:"revoked,omitempty"` // elsewhere, of what was imported
}

type revokedEntry struct {
	At      time.Time `json:"at"`
	Reason  ca.Reason `json:"reason"`
	Actor   string    `json:"actor"`
	Comment string    `json:"comment,omitempty"`
}

type locationEntry struct {
	ID      int               `json:"id"`
	Name    string            `json:"name,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// event is what every entry about an enrollment says.
func (e *Enrollment) event(kind audit.Kind, actor, detail string, at time.Time) audit.Event {
	event := audit.Event{
		Kind: kind, At: at.UTC(), Actor: actor, Org: int32(e.Org), Enrollment: int64(e.ID), Door: string(e.Door), Profile: e.Profile,
		Requester: e.Requester, Detail: detail,
	}
	if !e.Issued.IsZero() || e.Imported {
		event.Issuer, event.Serial = e.Issuer, string(e.Serial)
	}
	return event
}

// detailsEvent is what the journal is told of what goes with an enrollment as it stands. Certificates that were imported are in
// an entry of their own.
func (r *Registrar) detailsEvent(ctx context.Context, kind audit.Kind, e *Enrollment, actor, what string, at time.Time) (audit.Event, error) {
	event := e.event(kind, actor, what, at)
	var locations []locationEntry
	for _, l := range e.Locations {
		locations = append(locations, locationEntry(l))
	}
	var revoked *revokedEntry
	if e.Imported && e.Revocation != nil {
		revoked = new(revokedEntry(*e.Revocation))
	}
	data, err := json.Marshal(detailsEntry{
		Created: e.Created, Edits: e.Edits, Comments: e.Comments, ExternalRequesters: e.ExternalRequesters, CustomFields: e.CustomFields,
		AutoRenew: e.AutoRenew.On, AutoRenewDays: e.AutoRenew.Days, Suspended: e.SuspendNotifications, Locations: locations,
		Term: int64(e.Term / time.Second), LastLocation: e.LastLocation, RenewedManually: e.RenewedManually, Removed: e.Removed, Remover: e.Remover, Revoked: revoked,
	})
	if err != nil {
		return event, err
	}
	event.Data = data
	if e.Imported {
		event.Hash = e.Fingerprint[:]
	}
	if event.Issuer == "" {
		return event, nil
	}
	c, err := r.Certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return event, err
	}
	event.NotAfter, event.DER, event.Issued, event.ProfileHash = c.NotAfter, c.DER, c.Issued, c.ProfileHash
	event.Requester = c.Requester.Principal
	event.Content, event.Approvers = e.Content, e.approvers() // which it has used, whoever's journal has its "signed"
	return event, nil
}

func (e *Enrollment) approvers() (list []string) {
	for _, a := range e.Approvals {
		list = append(list, a.Approver)
	}
	return list
}

// Details is what goes with an enrollment, as an entry of a journal says it.
type Details struct {
	entry detailsEntry
	event audit.Event
}

// DetailsFromEvent reads an entry of kind EnrollmentEdited or EnrollmentRemoved.
func DetailsFromEvent(e audit.Event) (*Details, error) {
	d := &Details{event: e}
	if err := json.Unmarshal(e.Data, &d.entry); err != nil {
		return nil, fmt.Errorf("ra: what goes with an enrollment, in a journal entry: %w", err)
	}
	removed := e.Kind == audit.EnrollmentRemoved
	if !removed && e.Kind != audit.EnrollmentEdited || removed == d.entry.Removed.IsZero() || d.entry.Created.IsZero() || d.entry.Edits < 0 {
		return nil, fmt.Errorf("ra: a journal entry of kind %q does not say what goes with an enrollment", e.Kind)
	}
	return d, nil
}

// About reports whether an enrollment that was found under the entry's number is the one that it is about: numbers can be
// another's in a store that went back.
func (d *Details) About(e *Enrollment) bool {
	if e.Imported != (len(d.event.Hash) > 0) {
		return false
	}
	if d.event.Issuer != "" {
		return e.Issuer == d.event.Issuer && string(e.Serial) == d.event.Serial
	}
	return e.Org == auth.OrgID(d.event.Org) && string(e.Door) == d.event.Door && e.Requester == d.event.Requester && e.Profile == d.event.Profile &&
		(!e.Imported || bytes.Equal(d.event.Hash, e.Fingerprint[:])) && e.Created.Equal(d.entry.Created)
}

// raises reports whether an entry marks what was imported as revoked, or raises the reason to keyCompromise.
func (d *detailsEntry) raises(have *Enrollment) bool {
	return d.Revoked != nil && have.Imported &&
		(have.Revocation == nil || d.Revoked.Reason == ca.KeyCompromise && have.Revocation.Reason != ca.KeyCompromise)
}

// Replayed is the enrollment with what the entry says: the later of the two, except that what was removed or marked as revoked
// stays so, whatever else is said of it. Nil means that there is nothing to change.
func (d *Details) Replayed(have *Enrollment) *Enrollment {
	said, next := d.entry, *have
	if said.Edits > have.Edits {
		next.Edits, next.Term = said.Edits, time.Duration(said.Term)*time.Second
		next.Comments, next.ExternalRequesters, next.CustomFields = said.Comments, slices.Clone(said.ExternalRequesters), slices.Clone(said.CustomFields)
		next.SuspendNotifications, next.Locations, next.LastLocation = said.Suspended, nil, max(said.LastLocation, have.LastLocation)
		for _, l := range said.Locations {
			next.Locations = append(next.Locations, Location(l))
		}
		next.RenewedManually, next.AutoRenew = said.RenewedManually, AutoRenew{On: said.AutoRenew, Days: said.AutoRenewDays}
		if !have.Removed.IsZero() {
			next.AutoRenew = AutoRenew{}
		}
	} else if (said.Removed.IsZero() || !have.Removed.IsZero()) && !said.raises(have) {
		return nil
	}
	if said.raises(have) {
		revocation := ca.Revocation(*said.Revoked)
		if have.Revocation != nil {
			revocation.At = have.Revocation.At
		}
		next = *next.Revoke(revocation)
	}
	if !said.Removed.IsZero() && have.Removed.IsZero() {
		edits := next.Edits
		next = *next.Remove(said.Remover, said.Removed)
		next.Edits = edits
	}
	return &next
}

// absentOr turns what was removed into what is not there, for callers who are not the operator.
func absentOr(caller auth.Caller, e *Enrollment) error {
	if e.Removed.IsZero() || caller.Operator {
		return nil
	}
	return problem.New(problem.NotFound, "there is no enrollment %d", e.ID)
}

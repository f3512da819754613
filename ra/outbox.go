package ra

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// EventKind says what happened.
type EventKind string

// The kinds of events. The words stand in configurations.
const (
	EventRequested EventKind = "requested" // an enrollment was begun
	EventWaiting   EventKind = "waiting"   // it lacks nothing but approvals
	EventApproved  EventKind = "approved"  // it has them
	EventDeclined  EventKind = "declined"  // somebody declined it
	EventIssued    EventKind = "issued"    // its certificate is recorded; with Replaces it renews or replaces another
	EventRevoked   EventKind = "revoked"   // its certificate is revoked
	EventFailed    EventKind = "failed"    // it will not be issued, or nobody decided in time
	EventRemoved   EventKind = "removed"   // it was taken out of every list
	EventExpiring  EventKind = "expiring"  // its certificate ends in Days days or less, and none has taken its place

	EventDomainValidated EventKind = "domain-validated" // there is a newer proof of a domain
)

// EventKinds lists all kinds.
func EventKinds() []EventKind {
	return []EventKind{EventRequested, EventWaiting, EventApproved, EventDeclined, EventIssued, EventRevoked, EventFailed, EventRemoved,
		EventExpiring, EventDomainValidated}
}

// Event is something that happened to an enrollment or a domain and that a receiver is to be told of. It is recorded in the
// commit that makes it so, if there is a receiver for it, and goes when the receivers have it, or after a week.
type Event struct {
	ID         string // made by the store
	Kind       EventKind
	At         time.Time
	Org        auth.OrgID
	Actor      string // the principal that did it; "" if time did
	Enrollment ID     // zero for a domain's
	Door       Door
	Profile    string
	Replaces   ID
	Domain     string // "" for an enrollment's
	Days       int    // of EventExpiring
	Version    [16]byte
}

// EnrollmentEvents are what happened between two states of an enrollment; before is nil for a new one. An event without a
// time happened when it was recorded. An import is none: what was imported was issued elsewhere, and long ago.
func EnrollmentEvents(after, before *Enrollment) []Event {
	if before == nil && after.Imported {
		return nil
	}
	base := Event{Org: after.Org, Enrollment: after.ID, Door: after.Door, Profile: after.Profile, Replaces: after.Replaces}
	var list []Event
	add := func(kind EventKind, at time.Time, actor string) {
		e := base
		e.Kind, e.At, e.Actor = kind, at, actor
		list = append(list, e)
	}
	switch {
	case before == nil:
		add(EventRequested, after.Created, after.Requester)
	case before.Removed.IsZero() && !after.Removed.IsZero():
		add(EventRemoved, after.Removed, after.Remover) // and with that declined, if it waited
		return list
	case before.Phase == after.Phase:
		return nil
	}
	switch after.Phase {
	case Waiting:
		add(EventWaiting, time.Time{}, after.Requester)
	case Approved:
		add(EventApproved, time.Time{}, lastApprover(after))
	case Requested:
		if before != nil && before.Phase == Waiting {
			add(EventApproved, time.Time{}, lastApprover(after))
		}
	case Declined:
		add(EventDeclined, failedAt(after), after.Decliner)
	case Issued:
		add(EventIssued, after.Issued, after.Requester)
	case Revoked:
		if r := after.Revocation; r != nil {
			add(EventRevoked, r.At, r.Actor)
		}
	case Failed:
		add(EventFailed, failedAt(after), after.Canceller)
	default: // what is not known here is told to nobody
	}
	return list
}

func lastApprover(e *Enrollment) string {
	if n := len(e.Approvals); n > 0 {
		return e.Approvals[n-1].Approver
	}
	return ""
}

func failedAt(e *Enrollment) time.Time {
	if e.Failure == nil {
		return time.Time{}
	}
	return e.Failure.At
}

// DomainEvents are what happened between two states of a domain; before is nil for a new one.
func DomainEvents(after, before *Domain) []Event {
	if after.Proof == nil || before != nil && before.Proof != nil && !after.Proof.At.After(before.Proof.At) {
		return nil
	}
	return []Event{{Kind: EventDomainValidated, At: after.Proof.At, Org: after.Org, Domain: after.Name.Value()}}
}

// ExpiryNote asks for an [EventExpiring] for each certificate of an organisation that ends after From and not after To, and of
// which none was recorded for these Days before: of those that are issued, of which nobody was told to be silent, and whose
// place none has taken, neither as Replaced knows nor by having the same names and ending later.
type ExpiryNote struct {
	Org      int32
	Days     int
	At       time.Time
	From, To time.Time
	// Limit bounds the enrollments that are looked at; if there are more, it is to be asked again.
	Limit int
	// Replaced is the enrollment whose certificate took the place of one's; zero if none did. Nil: none ever does.
	Replaced func(ctx context.Context, e *Enrollment) (ID, error)
}

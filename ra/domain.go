package ra

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Domain is a DNS name that one organisation owns here: whoever asks on its behalf, or on behalf of an organisation that the
// domain is delegated to, may use its proof where the profile allows (policy.Config.DelegatedDomains). Values that a Store
// returned are not to be changed.
type Domain struct {
	Name        identifier.Identifier // never a wildcard or a public suffix
	Number      DomainNumber          // the name's for ever; zero: it was recorded before there were numbers, and gets one when it is next looked at or changed
	Org         auth.OrgID            // the owner
	Description string                // people's own, of one line
	Created     time.Time
	Removed     time.Time    // zero: it is there. The record stays, so that a replay does not bring back what was removed
	Suspended   time.Time    // since when nothing is issued for it; zero: it is active
	Own         []Privilege  // what names the owner itself has by it, as in Delegation.Privileges
	Delegations []Delegation // by organisation
	// Proof is the newest; nil if it was never validated. How long it counts is up to each profile, so its Until is zero.
	Proof      *dcv.Proof
	Validation *DomainValidation // the newest that did not succeed; nil if there is none
	Email      *EmailValidation  // the newest by e-mail, also one that has ended, until another validation is begun; nil: none
	// Edits rises with each change that the journal has, also from one life of the name to the next: it is the time of the
	// change in Unix milliseconds, or one more than before. Of two states the one with more is the later.
	Edits   int64
	Version [16]byte // of the record as read; zero before it exists
}

// Delegation is an organisation below the owner that uses the domain, or wants to.
type Delegation struct {
	Org        auth.OrgID
	State      DelegationState
	Requested  time.Time
	Decided    time.Time   // zero: not yet
	Privileges []Privilege // what names it is for, in the order of Privileges; nil: all that the proof covers
}

// DomainNumber is what programs know a domain by: above zero, below 2^31, unique in the deployment. It belongs to the name, also
// from one life of the name to the next, so that a number never comes to mean another domain.
type DomainNumber int32

// DelegationState is what became of a delegation. Only an approved one has effect.
type DelegationState string

// The states.
const (
	DelegationRequested DelegationState = "requested"
	DelegationApproved  DelegationState = "approved"
	DelegationRejected  DelegationState = "rejected" // also one that was approved before
)

// DomainValidation is an attempt to prove control of a domain, from the command on until what was to be published is found or
// has become too old.
type DomainValidation struct {
	Method      dcv.Method
	Publication dcv.Publication // made for this validation alone
	Begun       time.Time
	Submitted   time.Time // when it was said to be published, from which on the gateway looks; zero: not yet
	Expires     time.Time // when its value may no longer be used
	Due         time.Time // of the next look; while one is under way, when another worker may take it over; zero: there is none any more
	Attempts    int
	Failed      *DomainFailure // what the last look found; nil before the first
}

// DomainFailure is why a look at a domain did not prove control, and what was seen.
type DomainFailure struct {
	Kind   problem.Kind
	Detail string
	At     time.Time
	Record []byte // dcv.Record as JSON; never a body
}

// DomainStatus is where a domain stands at a moment.
type DomainStatus string

// The statuses.
const (
	DomainNotValidated DomainStatus = "not validated"
	DomainValidated    DomainStatus = "validated"
	DomainExpired      DomainStatus = "expired" // no profile takes its proof any more
)

// delegation finds that to an organisation, or nil.
func (d *Domain) delegation(org auth.OrgID) *Delegation {
	if i := slices.IndexFunc(d.Delegations, func(l Delegation) bool { return l.Org == org }); i >= 0 {
		return &d.Delegations[i]
	}
	return nil
}

// ServesOrg reports whether an organisation may use the domain: its owner, or one that it is delegated to.
func (d *Domain) ServesOrg(org auth.OrgID) bool {
	l := d.delegation(org)
	return d.Removed.IsZero() && org > 0 && (d.Org == org || l != nil && l.State == DelegationApproved)
}

// Lists are the organisations in whose lists the domain stands: the owner, and those with a delegation that was not rejected.
func (d *Domain) Lists() []auth.OrgID {
	if !d.Removed.IsZero() {
		return nil
	}
	orgs := []auth.OrgID{d.Org}
	for _, l := range d.Delegations {
		if l.State != DelegationRejected {
			orgs = append(orgs, l.Org)
		}
	}
	return orgs
}

// clone is a copy to change.
func (d *Domain) clone() *Domain {
	c := *d
	c.Delegations = slices.Clone(d.Delegations) // lists of privileges are never changed in place
	if d.Validation != nil {
		v := *d.Validation
		c.Validation = &v
	}
	if d.Email != nil {
		e := *d.Email
		e.Links = slices.Clone(e.Links)
		c.Email = &e
	}
	return &c
}

// DomainStore keeps domains. Every write is durable on return and a transition: it applies only if the record is as it was
// read, else it is a Conflict and nothing changes. All methods are safe for concurrent use. Errors are *problem.Error:
// Conflict or Unavailable.
type DomainStore interface {
	// Domains reads the records of names at one moment, removed ones too; nil where there never was one.
	Domains(ctx context.Context, names []identifier.Identifier) ([]*Domain, error)
	// ListDomains lists those that stand in the lists of an organisation or (zero) all, in the order of their names, behind a
	// name ("" from the start), at most limit.
	ListDomains(ctx context.Context, org auth.OrgID, after string, limit int) ([]*Domain, error)
	// DomainNames lists their names alone, as ListDomains, behind a name or by an offset, at most limit, of at most 1000.
	DomainNames(ctx context.Context, org auth.OrgID, after string, offset, limit int) ([]identifier.Identifier, error)
	// CountDomains counts them.
	CountDomains(ctx context.Context, org auth.OrgID) (int64, error)
	// NextDomain gives a number that no domain has.
	NextDomain(ctx context.Context) (DomainNumber, error)
	// NumberedDomains reads the records of the domains with numbers, removed ones too; nil where there is none.
	NumberedDomains(ctx context.Context, numbers []DomainNumber) ([]*Domain, error)
	// PutDomain records next in place of before, nil if there never was a record; next then carries the new version. A number that
	// before had is kept; one that it lacked is claimed in the same commit, and a Conflict if another name has it. With a
	// time it also leaves a note from that time that the journal may lack the change. Mails are to be sent once it is recorded.
	PutDomain(ctx context.Context, next, before *Domain, noted time.Time, mails ...*Mail) error
	// DomainOfEmailLink reads the domain whose validation by e-mail has a link, nil if none has.
	DomainOfEmailLink(ctx context.Context, id string) (*Domain, error)
	// DueDomains lists domains with a look that is due, at most limit.
	DueDomains(ctx context.Context, now time.Time, limit int) ([]*Domain, error)
	// Attempt takes one unit from every rate, or from none and says how long to wait until that would succeed. Units are not durable.
	Attempt(ctx context.Context, rates ...auth.AttemptRate) (wait time.Duration, err error)
	// UnjournaledDomains lists notes that were left before a time, at most limit; DomainJournaled takes one away.
	UnjournaledDomains(ctx context.Context, before time.Time, limit int) ([]DomainNote, error)
	DomainJournaled(ctx context.Context, note DomainNote) error
}

// DomainNote says that a domain was changed at a time, and that the journal may not hold that.
type DomainNote struct {
	Name identifier.Identifier
	At   time.Time // to the millisecond
}

// Package ra is the registration authority: the life of an enrollment from request to end, the same behind every door.
//
// It decides who may see, ask for and revoke what, and drives an enrollment through its phases. It trusts the doors for
// having authenticated the caller and for the origin of proofs, policy for what may be issued, and ca for issuing it. It
// never speaks a door's protocol, never signs, and never shows a caller that another organisation's object exists.
package ra

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// ID is an enrollment's number, above zero and below 2^31 because doors show it as an int32.
type ID int64

// MaxID is the largest number an enrollment can have.
const MaxID ID = 1<<31 - 1

// Door is the protocol an enrollment came in by.
type Door string

// The doors that are built: ACME, the console, which means the operator's commands as well, and the REST dialects by their names.
// The gateway itself needs none: it asks for its own listener's certificate.
const (
	DoorACME    Door = "acme"
	DoorConsole Door = "console"
	DoorSCM     Door = "scm"
	DoorSystem  Door = "system"
)

// Claim is a door's own name for an enrollment: unique within (Door, Scope), made in the commit that creates it.
type Claim struct {
	Door  Door
	Scope string // what the name is unique in, "" for the whole door
	Name  string
}

// Phase is the last thing that happened. It only moves forward.
type Phase uint8

// The phases. Validating comes before Waiting, that before Approved, both before Requested, and that before Issued and Revoked; Failed and Declined
// end what has no certificate. The numbers stand in records, and those of the first four are older.
const (
	Requested  Phase = iota + 1 // accepted, an intent may be open, work is due
	Issued                      // the certificate is recorded
	Revoked                     // the certificate is revoked
	Failed                      // it will not be issued; Failure says why
	Waiting                     // it lacks nothing but approvals
	Approved                    // it has them, and is issued when its client asks next
	Declined                    // somebody has declined it; Failure says why
	Validating                  // its names lack proofs, for which something is to be published
)

// Status is what an enrollment is at a moment: a function of its facts and the time.
type Status string

// The statuses.
const (
	StatusRequested Status = "requested"
	StatusIssued    Status = "issued"
	StatusExpired   Status = "expired"
	StatusRevoked   Status = "revoked"
	StatusFailed    Status = "failed"
	StatusWaiting   Status = "awaiting approval"
	StatusApproved  Status = "approved"
	StatusDeclined  Status = "declined"

	StatusValidating Status = "pending validation"
)

// Enrollment is one managed certificate from request to end of life, whichever door opened it.
type Enrollment struct {
	ID          ID
	Org         auth.OrgID
	Door        Door
	Requester   string // principal
	Agent       string // the operator who asked in the requester's name ([Request].Agent); empty: nobody did
	Profile     string
	ProfileHash string // pinned when it was submitted
	Names       []identifier.Identifier
	CommonName  string
	Created     time.Time
	Claims      []Claim
	Replaces    ID            // the enrollment before this one in its lineage; zero: none
	Requested   policy.Period // the validity that was asked for; zero: the profile's
	Term        time.Duration // that was chosen of the profile's; zero: the profile's own
	// CustomFields are what was said of it by the fields of [policy.Field], with their numbers.
	CustomFields []policy.FieldValue
	Phase        Phase

	// Under a profile that demands approvals.
	Content   string            // what an approval binds ([policy.Profile.Content])
	Approvals []policy.Approval // that were given to it; empty if it renews freely
	Renews    bool              // it renews freely what was approved
	Holder    string            // the door's object that it is for ([Request].Holder), of the newest request
	Decliner  string            // principal

	// Of a request that waited for its names to be validated ([Request].Validate).
	Challenges []Challenge // one for each name; they stay, for the record
	CSRHash    dcv.CSRHash // what publications are derived from by methods that are dcv.Method.FromCSR; it stays too
	ValidateBy time.Time   // when it lapses
	Checking   time.Time   // while Validating: until when one worker alone looks; zero: none does
	Canceller  string      // principal that took it back ([Registrar.Cancel])

	// While Validating, Waiting, Approved or Requested: what a crash must not lose.
	CSR         []byte
	Proofs      []policy.Proven
	Restriction policy.Restriction // of what the requester may have, as it was when this was submitted
	Due         time.Time          // when another worker may take over, when to try again, or when what waits lapses
	Attempts    int

	// From the intent on.
	Issuer    string
	Serial    ca.Serial // of the newest intent, then of the certificate
	NotBefore time.Time
	NotAfter  time.Time

	// From the end of it.
	Issued      time.Time
	Fingerprint [32]byte // SHA-256 of the certificate's DER
	Revocation  *ca.Revocation
	Failure     *Failure

	// Of the private key, where the gateway keeps it (escrow.go), to the millisecond.
	KeyStored    time.Time // since when there is one; zero: there is none
	KeyDestroyed time.Time // when the last one that there was was destroyed; zero: none was
	// Key is the key that is recorded in the same commit, on the way into the store alone: what comes out of it has none.
	Key *StoredKey

	// Of a certificate that was issued elsewhere ([Registrar.Import]). Issuer, which names issuers of ours, is empty then, and
	// Issued is when it was imported.
	Imported  bool
	Authority string // the distinguished name of its issuer, as RFC 2253 writes it, cut to MaxAuthority characters

	// What goes with it and says nothing about its certificate: [Registrar.Update], [Registrar.Locate], [Registrar.Remove].
	KeptCSR            []byte   // DER, of its certificate, by a door other than ACME: it can be renewed without a new one
	Comments           string   // at most MaxComments characters
	ExternalRequesters []string // mail addresses of people who have no credentials here
	AutoRenew          AutoRenew
	// SuspendNotifications says that nobody is to be sent mail about it.
	SuspendNotifications bool
	Locations            []Location // where the certificate is used, at most MaxLocations, by number
	LastLocation         int        // the highest number that a location had
	RenewedManually      time.Time  // when somebody said that it needs no renewal here any more; zero: nobody did
	Reissue              bool       // it takes the place of another by [Registrar.Replace], not by a renewal
	ReplaceReason        string     // why it does, as its requester put it
	Edits                int64      // how often this was changed; a replay goes by it
	Removed              time.Time  // zero: it was not
	Remover              string     // principal

	// What the gateway does about it by itself.
	Trial      RenewalTrial // of AutoRenew
	RevokeFrom time.Time    // when it is revoked as superseded, once its successor has a certificate; zero: never

	Version [16]byte // of the record as read; zero before it exists
}

// Failure is why an enrollment will not be issued.
type Failure struct {
	Kind   problem.Kind
	Detail string
	At     time.Time
}

// Status is the enrollment's status at a moment.
func (e *Enrollment) Status(now time.Time) Status {
	switch e.Phase {
	case Requested:
		return StatusRequested
	case Issued:
		if now.After(e.NotAfter) { // RFC 5280, 4.1.2.5: notAfter itself is still valid
			return StatusExpired
		}
		return StatusIssued
	case Revoked:
		return StatusRevoked
	case Waiting:
		return StatusWaiting
	case Approved:
		return StatusApproved
	case Declined:
		return StatusDeclined
	case Validating:
		return StatusValidating
	default: // Failed, and whatever a newer version may write: nothing that could pass for a certificate
		return StatusFailed
	}
}

// Issuance is the ca.Owner of an enrollment's certificate. The store records Intended with the intent and Completed with
// the certificate, and after each commit puts what it recorded, with its new version, into Enrollment. It is used by one
// issuance at a time.
type Issuance struct {
	Enrollment *Enrollment // as last recorded; its Version is zero before the first intent
	// Quota is its profile's. The commit of the enrollment's first intent, which makes it a certificate that is held, is
	// refused (RateLimited) if it would be one too many, whoever else commits at the same time.
	Quota policy.Quota
	// Begin is the door's own fact that goes into the commit of the first intent; storage knows its type
	// (acme.OrderBegun). Nil if the door has none, or on a later attempt.
	Begin any
	// Mark is the Standing of the enrollment's content as it was read, which the first intent's commit makes this enrollment's,
	// or is a Conflict: approvals serve one certificate. Nil where none are used, and on a later attempt.
	Mark *[16]byte
}

// Intended is the enrollment as it stands once an intent is recorded.
func (i *Issuance) Intended(in ca.Intent) *Enrollment {
	e := *i.Enrollment
	e.Phase = Requested
	e.Issuer, e.Serial, e.NotBefore, e.NotAfter = in.Issuer, in.Serial, in.NotBefore, in.NotAfter
	return &e
}

// Completed is the enrollment as it stands once its certificate is recorded. What only an unfinished one needs is gone.
func (i *Issuance) Completed(c ca.Certificate) *Enrollment {
	e := *i.Enrollment
	e.Phase = Issued
	e.Issuer, e.Serial, e.NotBefore, e.NotAfter = c.Issuer, c.Serial, c.NotBefore, c.NotAfter
	e.Issued, e.Fingerprint = c.Issued, sha256.Sum256(c.DER)
	if e.Door.keepsCSR() && len(e.CSR) > 0 {
		e.KeptCSR = e.CSR
	}
	e.CSR, e.Restriction, e.Due, e.Attempts = nil, policy.Restriction{}, time.Time{}, 0
	return &e
}

// Revoke is the enrollment as it stands once its certificate is revoked, or the reason raised.
func (e *Enrollment) Revoke(r ca.Revocation) *Enrollment {
	n := *e
	n.Phase, n.Revocation = Revoked, &r
	return &n
}

// Store is what the registration authority keeps. Every write is durable on return; every method is safe for concurrent
// use. Errors are *problem.Error: NotFound, Conflict (a state had moved on; nothing was changed) or Unavailable. The
// intent and the certificate are recorded through ca.Store with an *Issuance as owner.
type Store interface {
	ImportStore
	// NextEnrollment hands out a number that no enrollment has.
	NextEnrollment(ctx context.Context) (ID, error)
	// Enrollment reads one.
	Enrollment(ctx context.Context, id ID) (*Enrollment, error)
	// Search answers a checked query at a moment. Malformed if several filters are set and none of them alone leaves at
	// most MaxCandidates.
	Search(ctx context.Context, q Query, now time.Time) (Found, error)
	// EnrollmentsBySerial finds the enrollments with a certificate of that serial, whichever issuer signed it.
	EnrollmentsBySerial(ctx context.Context, serial ca.Serial) ([]*Enrollment, error)
	// Replacement finds the enrollment that took the place of another; zero if none did. It may have failed.
	Replacement(ctx context.Context, e *Enrollment) (ID, error)
	// ClaimedEnrollment finds the enrollment that has a door's own name; NotFound if none does.
	ClaimedEnrollment(ctx context.Context, c Claim) (*Enrollment, error)
	// Succession reads at a moment what takes the place of an enrollment that has a certificate, or is about to.
	Succession(ctx context.Context, e *Enrollment, now time.Time) (Succession, error)
	// UpkeepEnrollments lists enrollments whose UpkeepDue is not after now, at most limit.
	UpkeepEnrollments(ctx context.Context, now time.Time, limit int) ([]*Enrollment, error)
	// ForgetRemoved deletes removed enrollments whose RemovedUntil is not after now, at most limit, and counts them.
	ForgetRemoved(ctx context.Context, now time.Time, limit int) (int, error)
	// QuotaUse counts what an organisation holds under a profile at a moment: enrollments with a certificate that is neither
	// expired nor revoked, and those whose certificate is being made; and of these, for each of names, those that have it.
	QuotaUse(ctx context.Context, org auth.OrgID, profile string, names []identifier.Identifier, now time.Time) (policy.QuotaUse, error)
	// DueEnrollments lists requested enrollments whose Due is not after now, at most limit.
	DueEnrollments(ctx context.Context, now time.Time, limit int) ([]*Enrollment, error)
	// TakeEnrollment moves Due and Attempts of a requested enrollment, so that one worker alone goes on with it. On return
	// e carries the new version.
	TakeEnrollment(ctx context.Context, e *Enrollment, due time.Time) error
	// FailEnrollment ends a requested enrollment.
	FailEnrollment(ctx context.Context, e *Enrollment, f Failure) error
	// Standing reads what there is about a content that may need approvals. It never fails because there is nothing.
	Standing(ctx context.Context, content string) (Standing, error)
	// AwaitEnrollment records a new enrollment that waits, with the door's own fact (nil if it has none), as the newest of its
	// content; Conflict if the Standing has another mark by now; RateLimited if it would be one more than the bounds allow,
	// whoever else commits at the same time.
	AwaitEnrollment(ctx context.Context, e *Enrollment, mark [16]byte, begin any, bounds WaitingBounds) error
	// WaitingUse counts what waits now, of a requester in an organisation and of the organisation.
	WaitingUse(ctx context.Context, org auth.OrgID, requester string) (WaitingUse, error)
	// BeginValidation records a new enrollment that waits for validation, with the door's own fact (nil if it has none).
	// RateLimited if its organisation would have more of them than a limit above zero allows.
	BeginValidation(ctx context.Context, e *Enrollment, begin any, limit int64) error
	// StandEnrollment is MoveEnrollment of one that becomes the newest of its content; Conflict if the Standing has another mark
	// by now, RateLimited if it comes to wait for people and the bounds do not allow one more.
	StandEnrollment(ctx context.Context, next, e *Enrollment, mark [16]byte, bounds WaitingBounds) error
	// DueValidations lists enrollments in phase Validating whose Due is not after now: at most so many of one organisation, and at
	// most limit.
	DueValidations(ctx context.Context, now time.Time, perOrg, limit int) ([]*Enrollment, error)
	// MoveEnrollment puts next in place of e, as it was read, with a door's own fact (nil if there is none), or that it takes
	// another's place (a *Linked). On return next
	// carries the new version.
	MoveEnrollment(ctx context.Context, next, e *Enrollment, begin any) error
	// WaitingEnrollments lists those in phase Waiting or Approved of an organisation, or with zero of all, by number, behind one,
	// at most limit.
	WaitingEnrollments(ctx context.Context, org auth.OrgID, after ID, limit int) ([]*Enrollment, error)
}

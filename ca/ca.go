// Package ca is the only road to a signature.
//
// It decides what bytes an issuer signs: built from a policy decision, linted, recorded as an intent before and compared
// after (docs/issuance.md numbers the steps, and so does the code). It trusts the policy for names, keys and proofs, the
// store for atomicity and the journal for durability; it does not trust a back end to sign what it was asked to. It never
// signs what was not first recorded, never releases what is not recorded after, and never reuses a serial.
package ca

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// Serial is a certificate's serial number as lower-case hex without leading zeros beyond whole octets: "01ab…".
type Serial string

// Owner is what a certificate is issued for. It is opaque here: storage knows the type and writes the owner's facts in
// the same commit as the certificate's.
type Owner any

// State is where a serial number stands. It only moves forward: Open to Issued or Abandoned. A store that went back may
// have abandoned what it had issued before; the certificate is then recorded again from the journal that has it, Issued and
// revoked since, because its serial has been on the CRL.
type State uint8

// The states.
const (
	Open      State = iota + 1 // an intent: it may have been signed, nothing was released
	Issued                     // the certificate is recorded
	Abandoned                  // no certificate is recorded and none will be; the serial is on the CRL until NotAfter
)

// Intent is the record of what is about to be signed, kept under (Issuer, Serial).
type Intent struct {
	Issuer      string
	Serial      Serial
	TBSHash     [32]byte // SHA-256 of the to-be-signed bytes
	Names       []identifier.Identifier
	NotBefore   time.Time
	NotAfter    time.Time
	Enrollment  int64
	Requester   policy.Requester
	Profile     string
	ProfileHash string
	Opened      time.Time
	// Content and Approvers are the decision's, for the journal alone: the certificate's record does not have them.
	Content   string
	Approvers []string
}

// Certificate is what became of an intent.
type Certificate struct {
	Intent
	State      State
	DER        []byte      // empty unless Issued
	Issued     time.Time   // when it was recorded
	Revocation *Revocation // nil if not revoked
	Renewal    *Renewal    // what an operator last said about its renewal; nil: nothing
	Version    [16]byte    // of the record as read; for the store's preconditions
}

// Revocation is when and why a certificate was revoked.
type Revocation struct {
	At     time.Time // UTC, whole seconds: the revocationDate of the CRL entry
	Reason Reason
	Actor  string // who asked
	// Comment is why, for people; it may be empty.
	Comment string
}

// Reason is a CRLReason (RFC 5280, 5.3.1).
type Reason int

// Store is what the gate keeps. Every method is durable on return and safe for concurrent use. Errors are
// *problem.Error: Conflict if a state had already moved on (nothing was changed), NotFound if there is no such record,
// Unavailable if the store cannot serve.
type Store interface {
	// RecordIntent puts the intent, absent before, and with it whatever the owner's beginning means: one commit.
	RecordIntent(ctx context.Context, in Intent, owner Owner) error
	// RecordCertificate turns the open intent into the issued certificate, with the owner's completion: one commit,
	// under the precondition that the intent is still open. Conflict means it was abandoned meanwhile.
	RecordCertificate(ctx context.Context, c Certificate, owner Owner) error
	// AbandonIntent closes an open intent: no certificate will be recorded, and the serial is revoked until NotAfter.
	// Conflict means it is no longer open.
	AbandonIntent(ctx context.Context, issuer string, serial Serial, at time.Time) error
	// RecordAbandoned records an intent of which the store has nothing as abandoned: it may have been signed, and the store
	// went back and lost it. Conflict means there is a record.
	RecordAbandoned(ctx context.Context, in Intent, at time.Time) error
	// OpenIntents lists intents opened before a time, oldest first, at most limit.
	OpenIntents(ctx context.Context, before time.Time, limit int) ([]Intent, error)
	// Certificate reads one record in any state.
	Certificate(ctx context.Context, issuer string, serial Serial) (*Certificate, error)
	// RecordRevocation marks an issued certificate revoked, or raises its reason, under the precondition that the record
	// is as it was read (c.Version); the enrollment's phase and the CRL's entries move in the same commit.
	RecordRevocation(ctx context.Context, c Certificate, r Revocation) error
	// RecordRenewal puts an operator's word on an issued certificate's renewal, under the precondition that the record is as
	// it was read (c.Version).
	RecordRenewal(ctx context.Context, c Certificate, r Renewal) error
}

// Journal is the audit journal as the gate needs it: durable on return, or an error and then nothing may be signed.
type Journal interface {
	Append(ctx context.Context, events ...audit.Event) error
}

// Request asks for one certificate.
type Request struct {
	Policy     policy.Request // its Now is replaced by the gate's own clock, its Within by the issuer's validity
	Profile    *policy.Profile
	Enrollment int64 // the enrollment's number, for records and the journal
	Owner      Owner
	// Begin, if set, is called once, after steps 1 to 5 and before anything is recorded; what it returns takes the place
	// of Enrollment and Owner. A request that policy or the lints refuse so uses up no number. Its error ends the
	// issuance and is returned as it is.
	Begin func(ctx context.Context, d *policy.Decision) (enrollment int64, owner Owner, err error)
}

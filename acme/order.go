package acme

import (
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// OrderID is the random name of an order, as in its URL.
type OrderID string

// CertificateID names a certificate in its URL.
type CertificateID struct {
	Issuer string
	Serial ca.Serial
}

// Order is a request for one certificate (RFC 8555, 7.1.3). Its status is computed from these facts, its authorizations,
// its enrollment and the time.
type Order struct {
	ID          OrderID
	Account     AccountID
	Org         auth.OrgID
	Profile     string
	ProfileHash string                  // pinned when the order was made
	Names       []identifier.Identifier // sorted, without duplicates
	Authzs      []AuthzID               // one per name, in the sequence of Names
	Created     time.Time
	Expires     time.Time
	Replaces    *Replaces     // nil: it replaces no certificate
	Requested   policy.Period // the validity that was asked for; zero: the profile's
	Enrollment  ra.ID         // zero until finalize began
	Version     [16]byte      // of the record as read; zero before it exists
}

// Status is one of pending, ready, processing, valid and invalid (RFC 8555, 7.1.6). Once finalize began, the enrollment
// alone decides: neither the order's expiry nor an authorization's takes a certificate back.
func (o *Order) Status(now time.Time, f Facts) Status {
	if o.Enrollment != 0 {
		if o.overtaken(f.Enrollment) {
			return StatusInvalid
		}
		return enrolled(f.Enrollment)
	}
	if !now.Before(o.Expires) || len(f.Authorizations) != len(o.Authzs) {
		return StatusInvalid
	}
	status := StatusReady
	for _, a := range f.Authorizations {
		if a == nil { // lapsed so long ago that its record is gone
			return StatusInvalid
		}
		switch a.Status(now) {
		case StatusValid:
		case StatusPending:
			status = StatusPending
		default:
			return StatusInvalid
		}
	}
	return status
}

// expiry is when an order can no longer be finalized: at its own expiry, or before that at the first of its
// authorizations', which a validation may have changed since the order was made. Once finalize began nothing ends the
// order, and its own expiry is what is left to say.
func (o *Order) expiry(f Facts) time.Time {
	first := o.Expires
	if o.Enrollment != 0 {
		return first
	}
	for _, a := range f.Authorizations {
		if a != nil && a.Expires.Before(first) {
			first = a.Expires
		}
	}
	return first
}

// enrolled is the status of an order whose finalize began. A revoked certificate was issued all the same.
func enrolled(e *ra.Enrollment) Status {
	if e == nil {
		return StatusInvalid
	}
	switch e.Phase {
	case ra.Requested, ra.Waiting, ra.Approved, ra.Validating: // the last of another door, whose certificate is to replace one
		return StatusProcessing
	case ra.Issued, ra.Revoked:
		return StatusValid
	default: // failed, and whatever a newer version may write
		return StatusInvalid
	}
}

// failure is the "error" of an invalid order (RFC 8555, 7.1.3): why issuance failed, or which names were not proven. Nil
// if time alone made it invalid.
func (o *Order) failure(f Facts) *problem.Error {
	if o.Enrollment != 0 {
		if o.overtaken(f.Enrollment) {
			return errOvertaken
		}
		if f.Enrollment != nil && f.Enrollment.Phase == ra.Declined {
			return problem.New(problem.Unauthorized, "the request was declined: %s", f.Enrollment.Failure.Detail)
		}
		if f.Enrollment != nil && f.Enrollment.Failure != nil {
			return problem.New(f.Enrollment.Failure.Kind, "%s", f.Enrollment.Failure.Detail)
		}
		return nil
	}
	var parts []problem.Part
	for _, a := range f.Authorizations {
		if a == nil {
			continue
		}
		if !a.Deactivated.IsZero() {
			parts = append(parts, problem.Part{Identifier: a.Identifier, Kind: problem.Unauthorized, Detail: "the account gave its authorization up"})
		} else if c := a.failed(); c != nil {
			parts = append(parts, problem.Part{Identifier: a.Identifier, Kind: c.Failed.Kind, Detail: c.Failed.Detail})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return problem.New(problem.Unauthorized, "control of %d of %d names is not proven", len(parts), len(o.Names)).WithParts(parts)
}

// proofs are what the order's authorizations proved, and whose that is. Only for a ready order.
func (o *Order) proofs(f Facts) []policy.Proven {
	proofs := make([]policy.Proven, 0, len(f.Authorizations))
	for _, a := range f.Authorizations {
		if p := a.proof(); p != nil {
			proofs = append(proofs, *p)
		}
	}
	return proofs
}

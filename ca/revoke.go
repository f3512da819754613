package ca

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// The reasons a certificate can be revoked for here (RFC 5280, 5.3.1).
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
)

var reasonNames = map[Reason]string{
	Unspecified: "unspecified", KeyCompromise: "keyCompromise", AffiliationChanged: "affiliationChanged",
	Superseded: "superseded", CessationOfOperation: "cessationOfOperation", PrivilegeWithdrawn: "privilegeWithdrawn",
}

// String is the reason's name in RFC 5280, 5.3.1.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", int(r))
}

// CheckReason refuses (BadRevocationReason) what a subscriber may not say (RFC 8555, 7.6: a server may disallow reasons). Not accepted are
// cACompromise (2) and aACompromise (10), which are about other certificates than subscribers'; certificateHold (6) and
// removeFromCRL (8), because a revocation here is final; 7, which is unused; and anything RFC 5280 does not define.
func CheckReason(r Reason) error {
	if _, ok := reasonNames[r]; !ok {
		return problem.New(problem.BadRevocationReason, "reason %d is not accepted; use 0 (unspecified), 1 (keyCompromise), "+
			"3 (affiliationChanged), 4 (superseded), 5 (cessationOfOperation) or 9 (privilegeWithdrawn)", int(r))
	}
	return nil
}

// RevokeRequest asks to revoke one certificate. Whether the actor may is the caller's decision.
type RevokeRequest struct {
	Issuer string
	Serial Serial
	Reason Reason
	Actor  string // for the record and the journal: "acme:<account>", "uid:<number>", …
	// Comment is why, for people; the caller bounds it. It may be empty. No list carries it.
	Comment string
}

// maxRaces bounds how often a revocation reads the record again because another change came first. Each loss means that
// somebody else's change was recorded, so this many in a row is a store that refuses without cause.
const maxRaces = 100

// Revoke revokes an issued certificate. It returns when both the journal and the store have it: every CRL signed from
// then on has the entry. The journal comes first: a revocation that only it has is given
// to the store as soon as that answers, or at the next start, while one that only the store had would be refused as already revoked and never
// journaled. A lost race is tried again on what the winner left, so a revocation loses against no other change; the entry
// of a request that then turns out to be too late says nothing that the store does not. The revocation date is the first
// one, also when the reason is raised to keyCompromise later.
//
// Errors are *problem.Error: BadRevocationReason; NotFound if no certificate of that serial was issued; AlreadyRevoked
// unless the reason is raised to keyCompromise; Conflict if the certificate has expired, because lists no longer name it
// (RFC 5280, 5) and an acknowledgement would promise what nobody can see; Unavailable if store or journal cannot serve,
// or if the issuer is not configured here, because then no list would carry it.
func (a *Authority) Revoke(ctx context.Context, req RevokeRequest) (*Revocation, error) {
	if err := CheckReason(req.Reason); err != nil {
		return nil, err
	}
	if _, ok := a.issuers[req.Issuer]; !ok {
		return nil, problem.New(problem.Unavailable, "the issuer %s is not configured here, so its lists cannot be published; configure it again to revoke", req.Issuer)
	}
	// The caller's going away must not leave one of the two without the other.
	return a.revoke(context.WithoutCancel(ctx), req, false)
}

// revoke is Revoke; journaled says that the journal has the request already.
func (a *Authority) revoke(ctx context.Context, req RevokeRequest, journaled bool) (*Revocation, error) {
	begun := !journaled
	for range maxRaces {
		c, err := a.store.Certificate(ctx, req.Issuer, req.Serial)
		if err != nil {
			if begun && journaled { // after a lost race
				a.unsettled.addRevocation(req)
			}
			return nil, err
		}
		r, err := a.revocation(c, req)
		if err != nil {
			return nil, err
		}
		if !journaled {
			if err := a.journalRevocation(ctx, c, r); err != nil {
				return nil, err
			}
			journaled = true
		}
		err = a.recordRevocation(ctx, c, r)
		switch {
		case err == nil:
			return &r, nil
		case !problem.Is(err, problem.Conflict):
			if begun {
				a.unsettled.addRevocation(req)
			}
			return nil, err
		}
	}
	if begun {
		a.unsettled.addRevocation(req)
	}
	return nil, problem.Wrap(errors.New("ca: the store refused a revocation again and again"), problem.Unavailable,
		"the certificate could not be revoked now").After(comeBack)
}

// revocation is what a request means for a certificate as it stands.
func (a *Authority) revocation(c *Certificate, req RevokeRequest) (Revocation, error) {
	now := a.second()
	switch {
	case c.State != Issued:
		// An abandoned serial is on the CRL already, an open one was never released: nobody can hold such a certificate.
		return Revocation{}, problem.New(problem.NotFound, "no certificate with the serial %s was issued by %s", req.Serial, req.Issuer)
	case now.After(c.NotAfter): // RFC 5280, 4.1.2.5: notAfter itself is still valid
		return Revocation{}, problem.New(problem.Conflict, "the certificate expired at %s and can no longer be revoked",
			c.NotAfter.UTC().Format("2006-01-02T15:04:05Z"))
	case c.Revocation == nil:
		return Revocation{At: now, Reason: req.Reason, Actor: req.Actor, Comment: req.Comment}, nil
	case req.Reason == KeyCompromise && c.Revocation.Reason != KeyCompromise:
		return Revocation{At: c.Revocation.At, Reason: KeyCompromise, Actor: req.Actor, Comment: cmp.Or(req.Comment, c.Revocation.Comment)}, nil
	}
	// RFC 8555, 7.6.
	return Revocation{}, problem.New(problem.AlreadyRevoked, "the certificate was revoked at %s for %s",
		c.Revocation.At.UTC().Format("2006-01-02T15:04:05Z"), c.Revocation.Reason)
}

// journalRevocation writes the entry with the certificate in it: a store that went back can be given the revocation before
// it is given the certificate, which may be in the journal of another gateway that comes later.
func (a *Authority) journalRevocation(ctx context.Context, c *Certificate, r Revocation) error {
	ctx, cancel := a.recording(ctx)
	defer cancel()
	e := eventFor(audit.Revoked, c.Intent)
	e.Names, e.Actor, e.Reason, e.Detail = nil, r.Actor, int(r.Reason), r.Comment // the DER has the names
	e.NotAfter, e.DER, e.Requester, e.Issued = c.NotAfter, c.DER, c.Requester.Principal, c.Issued
	return a.append(ctx, e)
}

func (a *Authority) recordRevocation(ctx context.Context, c *Certificate, r Revocation) error {
	ctx, cancel := a.recording(ctx)
	defer cancel()
	return a.store.RecordRevocation(ctx, *c, r)
}

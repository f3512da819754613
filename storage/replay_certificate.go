package storage

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// What becomes of a serial does not depend on the order in which the gateways replay, nor on what they issue meanwhile. (Of
// two revocations that differ the first that is replayed stays, unless the other says keyCompromise.)
//
//	one journal says      the store has            it then has
//	signed                nothing, an open intent  the certificate, issued
//	signed                abandoned                the certificate, revoked when the serial was abandoned
//	signed                the certificate          the same, with the approvals that it used, if it came back without
//	revoked               nothing, an open intent  the certificate, revoked
//	revoked               the certificate          the same revoked, or the reason raised to keyCompromise
//	revoked               abandoned                the certificate, revoked when the serial was abandoned
//	renewal suggested     anything                 as for signed; of two words on one certificate's renewal the later one
//	abandoned             nothing, an open intent  an abandoned serial
//	abandoned             the certificate          the same revoked then
//	announced, no end     nothing, an open intent  an abandoned serial
//
// Anything else changes nothing. "Signed" before "abandoned" in the same journal says that nobody was ever given the
// certificate, and is passed over. In different journals one cannot tell: the gateway that signed may have released the
// certificate before the store lost it, or the store refused it and the gateway died before it could say so. A serial that
// was abandoned has been on a CRL, for good; so the certificate is on record, with its bytes, and revoked.
//
// A certificate belongs to the enrollment under its number only if that is the same request's (sameRequest). The sequence
// went back with the store, so the number may by now be another tenant's.

// certificate reads the record an entry is about, nil if absent.
func (r *Replay) certificate(ctx context.Context, e audit.Event) (*ca.Certificate, error) {
	r.last = max(r.last, ra.ID(e.Enrollment))
	c, err := r.db.Certificate(ctx, e.Issuer, ca.Serial(e.Serial))
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	return c, err
}

// signed gives back a certificate and its enrollment, unless its own journal says in the end that it was abandoned.
func (r *Replay) signed(ctx context.Context, e audit.Event) (bool, error) {
	old, err := r.certificate(ctx, e)
	switch {
	case err != nil || r.void[e.Issuer+"/"+e.Serial]:
		return false, err
	case old != nil && old.State == ca.Issued:
		return r.spendFor(ctx, old, e)
	}
	return true, r.restore(ctx, old, e, nil)
}

// spendFor adds to a certificate that came back by another entry, which need not say what approved it, what did. The approvals may
// have been given back meanwhile, from another journal, and would serve again.
func (r *Replay) spendFor(ctx context.Context, c *ca.Certificate, e audit.Event) (bool, error) {
	if e.Content == "" {
		return false, nil
	}
	before, err := r.db.Enrollment(ctx, ra.ID(c.Enrollment))
	if problem.Is(err, problem.NotFound) {
		return false, nil
	}
	if err != nil || before.Content != "" || before.Issuer != c.Issuer || before.Serial != c.Serial {
		return false, err
	}
	after, b := *before, &Batch{}
	after.Content, after.Approvals, after.Renews = e.Content, usedApprovals(e, c.Opened), len(e.Approvers) == 0
	if err := r.useApprovals(ctx, b, &after); err != nil {
		return false, err
	}
	if err := b.putEnrollment(&after, before); err != nil {
		return false, err
	}
	return true, r.db.commit(ctx, b)
}

// revoked revokes a certificate again, or raises the reason (RFC 5280, 5.3.1: only to keyCompromise). A certificate that the
// store lacks comes back with it, whoever's journal its "signed" is in.
func (r *Replay) revoked(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	if err != nil {
		return false, err
	}
	next := ca.Revocation{At: e.At.UTC().Truncate(time.Second), Reason: ca.Reason(e.Reason), Actor: e.Actor, Comment: e.Detail}
	if c == nil || c.State != ca.Issued {
		if len(e.DER) == 0 {
			return false, nil // written when every revoked certificate was in the same journal, which has said what became of it
		}
		return true, r.restore(ctx, c, e, &next)
	}
	if !raises(c.Revocation, &next) {
		return false, nil
	}
	return true, r.db.RecordRevocation(ctx, *c, next)
}

// renewal gives back what an operator last said about a certificate's renewal, and with it the certificate.
func (r *Replay) renewal(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	if err != nil {
		return false, err
	}
	said, err := ca.RenewalFromEvent(e)
	switch {
	case err != nil:
		return false, err
	case c == nil || c.State != ca.Issued:
		return true, r.restore(ctx, c, e, nil)
	case !c.Renewal.Later(said):
		return false, nil
	}
	return true, r.db.RecordRenewal(ctx, *c, *said)
}

// raises reports whether a revocation changes the one there is, and gives it the date of that: the first one stays.
func raises(old, next *ca.Revocation) bool {
	if old == nil {
		return true
	}
	next.At = old.At
	return next.Reason == ca.KeyCompromise && old.Reason != ca.KeyCompromise
}

// abandoned closes a serial for good.
func (r *Replay) abandoned(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	switch {
	case err != nil:
		return false, err
	case c != nil && c.State == ca.Issued && c.Revocation == nil:
		return true, r.db.RecordRevocation(ctx, *c, ca.Revocation{At: e.At.UTC().Truncate(time.Second), Actor: "system"})
	}
	return r.closeOpen(ctx, c, e)
}

// unended closes a serial that the journal announced, and of which it does not say what became.
func (r *Replay) unended(ctx context.Context, e audit.Event) (bool, error) {
	c, err := r.certificate(ctx, e)
	if err != nil {
		return false, err
	}
	return r.closeOpen(ctx, c, e)
}

func (r *Replay) closeOpen(ctx context.Context, c *ca.Certificate, e audit.Event) (bool, error) {
	switch {
	case c == nil:
		in, err := intentOf(e)
		if err != nil {
			return false, err
		}
		return true, r.db.RecordAbandoned(ctx, in, e.At)
	case c.State == ca.Open:
		return true, r.db.AbandonIntent(ctx, c.Issuer, c.Serial, e.At)
	default:
		return false, nil
	}
}

// restore records a certificate, as revoked if revocation is not nil, in place of what the store has of its serial: nothing,
// an open intent, or an abandonment, whose date stays. Its enrollment moves in the same commit, so a certificate that is on
// record is done, however often replays were cut short.
func (r *Replay) restore(ctx context.Context, old *ca.Certificate, e audit.Event, revocation *ca.Revocation) error {
	c, leaf, err := certificateOf(e)
	if err != nil {
		return err
	}
	b := &Batch{Adds: []Entry{{Index: indexIssuers, Member: []byte(c.Issuer)}}}
	key := keyCertificate(c.Issuer, c.Serial)
	switch {
	case old == nil:
		b.Conditions = []Condition{{Key: key, Want: Absent}}
	case old.State == ca.Open:
		c.Opened = old.Opened
		b.Removes = []Entry{{Index: indexIntents, Member: intentMember(old.Intent)}}
	default:
		c.Opened = old.Opened
		b.Removes = []Entry{revokedEntry(old)}
		if revocation == nil || !raises(old.Revocation, revocation) {
			revocation = old.Revocation
		}
	}
	if old != nil {
		b.Conditions = []Condition{{Key: key, Want: Equals, Version: old.Version}}
	}
	if c.Revocation = revocation; revocation != nil {
		b.Adds = append(b.Adds, revokedEntry(c))
	}
	// What was abandoned left its enrollment to another attempt.
	if err := r.enroll(ctx, b, c, leaf, e, old != nil && old.State == ca.Abandoned); err != nil {
		return err
	}
	if err := b.putCertificate(c); err != nil {
		return err
	}
	if err := r.db.commit(ctx, b); err != nil {
		return err
	}
	if revocation != nil {
		r.db.engine.Wake(ctx, topicRevoked(c.Issuer))
	}
	return nil
}

// enroll adds to a batch the enrollment of a certificate that is given back: completed if it is there, made anew if there is
// none under its number, and made anew under a number that nobody has if another's is there, or if the certificate is to
// have one of its own. The certificate then carries that number.
func (r *Replay) enroll(ctx context.Context, b *Batch, c *ca.Certificate, leaf *x509.Certificate, said audit.Event, own bool) error {
	before, err := r.db.Enrollment(ctx, ra.ID(c.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound) && !own:
		before = enrollmentOf(c, leaf)
	case err != nil && !problem.Is(err, problem.NotFound):
		return err
	case own || !sameRequest(before, c, leaf):
		id, err := r.number(ctx)
		if err != nil {
			return err
		}
		c.Enrollment = int64(id)
		before = enrollmentOf(c, leaf)
	}
	if before.Content == "" {
		before.Content, before.Approvals = said.Content, usedApprovals(said, c.Opened)
		before.Renews = said.Content != "" && len(said.Approvers) == 0
	}
	after := (&ra.Issuance{Enrollment: before}).Completed(*c)
	if c.Revocation != nil {
		after = after.Revoke(*c.Revocation)
	}
	if err := r.useApprovals(ctx, b, after); err != nil {
		return err
	}
	return b.putEnrollment(after, before)
}

// number takes a number behind all that this journal has named so far, whose enrollments may still be on their way.
func (r *Replay) number(ctx context.Context) (ra.ID, error) {
	if !r.numbered {
		if err := r.db.renumber(ctx, r.last); err != nil {
			return 0, err
		}
		r.numbered = true
	}
	return r.db.NextEnrollment(ctx)
}

// sameRequest reports whether the enrollment that was found under a certificate's number is what the certificate was issued
// for, and waits for it. One that is finished is another certificate's. Until then it is the same if it is about this very
// serial, or if everything is equal that a certificate is issued by, the key included.
func sameRequest(e *ra.Enrollment, c *ca.Certificate, leaf *x509.Certificate) bool {
	if e.Phase != ra.Requested && !waits(e) {
		return false
	}
	if e.Issuer == c.Issuer && e.Serial == c.Serial {
		return true
	}
	if e.Org != auth.OrgID(c.Requester.Org) || string(e.Door) != c.Requester.Door || e.Requester != c.Requester.Principal ||
		e.Profile != c.Profile || e.ProfileHash != c.ProfileHash ||
		!slices.Equal(identifier.SortUnique(e.Names), identifier.SortUnique(c.Names)) {
		return false
	}
	csr, err := x509.ParseCertificateRequest(e.CSR)
	if err != nil {
		return false
	}
	key, ok := leaf.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && key.Equal(csr.PublicKey)
}

// enrollmentOf is an enrollment as far as a certificate tells of it, under the certificate's number.
func enrollmentOf(c *ca.Certificate, leaf *x509.Certificate) *ra.Enrollment {
	return &ra.Enrollment{
		ID: ra.ID(c.Enrollment), Org: auth.OrgID(c.Requester.Org), Door: ra.Door(c.Requester.Door), Requester: c.Requester.Principal,
		Profile: c.Profile, ProfileHash: c.ProfileHash, Names: c.Names, CommonName: leaf.Subject.CommonName, Created: c.Opened,
	}
}

// intentOf is the intent that an entry of any kind is about.
func intentOf(e audit.Event) (ca.Intent, error) {
	in := ca.Intent{
		Issuer: e.Issuer, Serial: ca.Serial(e.Serial), NotAfter: e.NotAfter, Enrollment: e.Enrollment,
		Requester: policy.Requester{Org: e.Org, Door: e.Door, Principal: e.Actor}, Profile: e.Profile, ProfileHash: e.ProfileHash,
		Opened: e.At.UTC().Truncate(time.Second),
	}
	copy(in.TBSHash[:], e.Hash)
	for _, n := range e.Names {
		id, err := nameOf(n)
		if err != nil {
			return in, err
		}
		in.Names = append(in.Names, id)
	}
	return in, nil
}

func nameOf(text string) (identifier.Identifier, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return identifier.FromAddr(addr), nil
	}
	return identifier.ParseDNS(text)
}

// certificateOf is the certificate in an entry of kind Signed, Revoked or RenewalSuggested.
func certificateOf(e audit.Event) (*ca.Certificate, *x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(e.DER)
	if err != nil {
		return nil, nil, err
	}
	if serial := ca.SerialOf(leaf.SerialNumber); serial != ca.Serial(e.Serial) {
		return nil, nil, fmt.Errorf("the certificate in the entry has the serial %s", serial)
	}
	var renewal *ca.Renewal
	if e.Kind == audit.RenewalSuggested {
		if renewal, err = ca.RenewalFromEvent(e); err != nil {
			return nil, nil, err
		}
	}
	if e.Kind != audit.Signed {
		e.Actor, e.At, e.Names = e.Requester, e.Issued, slices.Clone(leaf.DNSNames)
		for _, ip := range leaf.IPAddresses {
			e.Names = append(e.Names, ip.String())
		}
	}
	in, err := intentOf(e)
	if err != nil {
		return nil, nil, err
	}
	in.Names = identifier.SortUnique(in.Names)
	in.TBSHash, in.NotBefore, in.NotAfter = sha256.Sum256(leaf.RawTBSCertificate), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	return &ca.Certificate{Intent: in, State: ca.Issued, DER: e.DER, Issued: in.Opened, Renewal: renewal}, leaf, nil
}

package ra

import (
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Authority is the signing gate as the registration authority uses it (ca.Authority).
type Authority interface {
	Issue(ctx context.Context, req ca.Request) (*ca.Certificate, error)
	// Abandon closes an intent that may have been signed; Conflict if it is no longer open.
	Abandon(ctx context.Context, issuer string, serial ca.Serial) error
	Revoke(ctx context.Context, req ca.RevokeRequest) (*ca.Revocation, error)
	SuggestRenewal(ctx context.Context, req ca.SuggestRequest) (*ca.Renewal, error)
	// SignedBy names the issuer whose key signed a certificate; "" if none did.
	SignedBy(cert *x509.Certificate) (issuer string)
}

// Config is what a Registrar needs. All fields but Now and Log are required.
type Config struct {
	Store     Store
	Authority Authority
	// Certificate reads the record of a serial in any state; NotFound if there is none.
	Certificate func(ctx context.Context, issuer string, serial ca.Serial) (*ca.Certificate, error)
	Profiles    map[string]*policy.Profile
	// Allowed says whether an organisation may use a profile.
	Allowed func(org auth.OrgID, profile string) bool
	// Domains gives the proofs of domains. Nil: there are none.
	Domains *Domains
	// NameRules gives the rules about names that an organisation is held to now, its own and those from above. Nil: nobody
	// has any.
	NameRules func(org auth.OrgID) []policy.NameRules
	// May is nil for a caller who may do something to objects of an organisation; NotFound for one who may not know of them
	// (auth.Directory.May). Nil: who sees an organisation by itself may do all but approve and operate there.
	May func(caller auth.Caller, a auth.Action, org auth.OrgID) error
	// Below are the numbers of an organisation and of all below it (auth.Directory.Below). Nil: there are none below any.
	Below func(org auth.OrgID) []auth.OrgID
	// MayDecide is nil for a caller who may approve and decline an organisation's requests in a role; NotFound for one who may
	// not know of them. Nil: the operator alone may.
	MayDecide func(caller auth.Caller, role policy.ApproverRole, org auth.OrgID) error
	// WaitingBounds gives how many requests of an organisation may wait for people. Nil: any number.
	WaitingBounds func(org auth.OrgID) WaitingBounds
	// ImportBounds gives how much an organisation may have that was imported. Nil: any amount.
	ImportBounds func(org auth.OrgID) ImportBounds
	// Validation is how requests by doors other than ACME are validated one by one.
	Validation RequestValidation
	// Journal takes decisions about requests, durable on return. Nil: there are none, and every profile that demands approvals
	// issues nothing.
	Journal interface {
		Append(ctx context.Context, events ...audit.Event) error
	}
	// RevokeReplaced is how long after its successor was issued a certificate that [Registrar.Replace] replaced is revoked. Zero:
	// it is not.
	RevokeReplaced time.Duration
	// Escrow is where private keys are kept. Zero: none are.
	Escrow Escrow
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: discarded
}

// Registrar is the registration authority. It is safe for concurrent use.
type Registrar struct {
	Config
	checks  *checks
	keyWork *keyWork
}

// New makes a Registrar.
func New(c Config) *Registrar {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.NameRules == nil {
		c.NameRules = func(auth.OrgID) []policy.NameRules { return nil }
	}
	if c.May == nil {
		c.May = seesAndMay
	}
	if c.Below == nil {
		c.Below = func(org auth.OrgID) []auth.OrgID { return []auth.OrgID{org} }
	}
	if c.WaitingBounds == nil {
		c.WaitingBounds = func(auth.OrgID) WaitingBounds { return WaitingBounds{} }
	}
	if c.ImportBounds == nil {
		c.ImportBounds = func(auth.OrgID) ImportBounds { return ImportBounds{} }
	}
	if c.MayDecide == nil {
		c.MayDecide = operatorDecides
	}
	c.Escrow = c.Escrow.withDefaults()
	c.Validation = c.Validation.withDefaults()
	return &Registrar{Config: c, checks: newChecks(c.Validation.MaxChecks), keyWork: newKeyWork(c.Escrow.AtOnce, c.Escrow.Waiting, c.Escrow.Wait)}
}

// Profile finds a profile by name.
func (r *Registrar) Profile(name string) (*policy.Profile, bool) {
	p, ok := r.Profiles[name]
	return p, ok
}

// Get reads an enrollment of an organisation the caller sees. A foreign one is NotFound, as if it did not exist.
func (r *Registrar) Get(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.Store.Enrollment(ctx, id)
	if err != nil {
		return nil, err
	}
	if caller.Principal == policy.System && e.Requester == policy.System {
		return e, nil // the gateway's own certificate: it has no roles, and asks for nobody else's
	}
	if err := r.may(caller, auth.View, e.Org, absent(id)); err != nil {
		return nil, err
	}
	if err := absentOr(caller, e); err != nil {
		return nil, err
	}
	return e, nil
}

// may asks Config.May. Whatever the caller may not know of is absent: the same error as if it did not exist.
func (r *Registrar) may(caller auth.Caller, a auth.Action, org auth.OrgID, absent error) error {
	err := r.May(caller, a, org)
	if problem.Is(err, problem.NotFound) {
		return absent
	}
	return err
}

// seesAndMay is what callers may where nobody has roles.
func seesAndMay(caller auth.Caller, a auth.Action, org auth.OrgID) error {
	switch {
	case caller.Operator:
		return nil
	case !caller.Sees(org):
		return problem.New(problem.NotFound, "there is no such object")
	case a == auth.View, a == auth.Request, a == auth.Revoke:
		return nil
	default:
		return problem.New(problem.Unauthorized, "this caller may not do that here")
	}
}

// ReplacedBy is the enrollment whose certificate replaced that of e, which the caller has read; zero if there is none yet.
func (r *Registrar) ReplacedBy(ctx context.Context, e *Enrollment) (ID, error) {
	if e.Serial == "" {
		return 0, nil
	}
	id, err := r.Store.Replacement(ctx, e)
	if err != nil || id == 0 {
		return 0, err
	}
	next, err := r.Store.Enrollment(ctx, id)
	switch {
	case problem.Is(err, problem.NotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case next.Issued.IsZero(), next.Replaces != e.ID, !next.Removed.IsZero(): // under way or failed; another, since the store went back
		return 0, nil
	}
	return id, nil
}

// BySerial finds the caller's enrollments with a certificate of that serial. Two issuers may have used one number, so
// there can be more than one; none is NotFound.
func (r *Registrar) BySerial(ctx context.Context, caller auth.Caller, serial ca.Serial) ([]*Enrollment, error) {
	found, err := r.Store.EnrollmentsBySerial(ctx, serial)
	if err != nil {
		return nil, err
	}
	var seen []*Enrollment
	for _, e := range found {
		switch err := r.May(caller, auth.View, e.Org); {
		case err == nil && absentOr(caller, e) != nil:
		case err == nil:
			seen = append(seen, e)
		case !problem.Is(err, problem.NotFound):
			return nil, err
		}
	}
	if len(seen) == 0 {
		return nil, problem.New(problem.NotFound, "no certificate has serial %s", serial)
	}
	return seen, nil
}

// Revocation asks for one certificate to be revoked.
type Revocation struct {
	Issuer  string
	Serial  ca.Serial
	Reason  ca.Reason
	Comment string // for the record, one line of at most MaxRevocationComment characters; may be empty
}

// MaxRevocationComment is how long the comment on a revocation may be, in characters.
const MaxRevocationComment = 512

// Revoke revokes a certificate: for an ACME account one that it asked for itself, for a principal with a role that revokes
// any of its organisations, for the operator any. A certificate of another organisation is NotFound. Durable on return: the
// journal and the store hold the revocation.
func (r *Registrar) Revoke(ctx context.Context, caller auth.Caller, rev Revocation) error {
	c, err := r.issued(ctx, rev)
	if err != nil {
		return err
	}
	if err := r.may(caller, auth.Revoke, auth.OrgID(c.Requester.Org), problem.New(problem.NotFound, "no certificate has serial %s", rev.Serial)); err != nil {
		return err
	}
	if !caller.Operator && !caller.IsPrincipal() && c.Requester.Principal != caller.Principal {
		return problem.New(problem.Unauthorized, "this certificate was issued to another account; its own account or its private key can revoke it")
	}
	return r.revoke(ctx, rev, caller.Principal)
}

// RevokeByControl revokes a certificate for a caller who controls all its names (RFC 8555, 7.6), whoever in the caller's
// organisation asked for it. Controls, the door's, says for the certificate on record whether that is proven now; its error
// is the answer. A certificate of another organisation is NotFound.
//
// Control of names says nothing about a key, so keyCompromise is BadRevocationReason here: it is for those who had the
// certificate issued, who hold its key, and for the operator. Whoever took over a name could otherwise write it over the
// true reason of every certificate the former owner had, and it is the one reason that stays ([ca.Authority.Revoke]).
func (r *Registrar) RevokeByControl(ctx context.Context, caller auth.Caller, rev Revocation, controls func(context.Context, *ca.Certificate) error) error {
	c, err := r.issued(ctx, rev)
	if err != nil {
		return err
	}
	if caller.Org == 0 || caller.Principal == "" || auth.OrgID(c.Requester.Org) != caller.Org {
		return problem.New(problem.NotFound, "no certificate has serial %s", rev.Serial)
	}
	if err := controls(ctx, c); err != nil {
		return err
	}
	if rev.Reason == ca.KeyCompromise {
		return problem.New(problem.BadRevocationReason, "reason 1 (keyCompromise) is about the key: the account that the certificate "+
			"was issued to can give it, and a request signed by the key itself; use 4 (superseded) or 5 (cessationOfOperation)")
	}
	return r.revoke(ctx, rev, caller.Principal)
}

// RevokeByKey revokes a certificate for whoever proved possession of its private key (RFC 8555, 7.6): key is the proven
// public key, in the form x509 gives it.
func (r *Registrar) RevokeByKey(ctx context.Context, rev Revocation, key crypto.PublicKey) error {
	c, err := r.issued(ctx, rev)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return problem.Wrap(err, problem.Internal, "")
	}
	if k, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(key) {
		return problem.New(problem.Unauthorized, "the request is not signed by the certificate's own key")
	}
	return r.revoke(ctx, rev, "key:"+string(rev.Serial))
}

// issued reads the certificate that is to be revoked. A serial whose intent is open or abandoned is NotFound: no certificate
// was released for it, though its number may stand on a CRL for anybody to ask about.
func (r *Registrar) issued(ctx context.Context, rev Revocation) (*ca.Certificate, error) {
	c, err := r.Certificate(ctx, rev.Issuer, rev.Serial)
	if err == nil && c.State != ca.Issued {
		return nil, problem.New(problem.NotFound, "no certificate has serial %s", rev.Serial)
	}
	return c, err
}

func (r *Registrar) revoke(ctx context.Context, rev Revocation, actor string) error {
	if err := checkLine("the comment on a revocation", rev.Comment, MaxRevocationComment); err != nil {
		return err
	}
	_, err := r.Authority.Revoke(ctx, ca.RevokeRequest{Issuer: rev.Issuer, Serial: rev.Serial, Reason: rev.Reason, Actor: actor, Comment: rev.Comment})
	return err
}

func absent(id ID) error {
	return problem.New(problem.NotFound, "there is no enrollment %d", id)
}

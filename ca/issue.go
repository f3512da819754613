package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// issuance is one certificate on its way through the numbered steps. One goroutine works on it, two where steps run at
// the same time.
type issuance struct {
	a        *Authority
	is       *issuer
	decision *policy.Decision
	template *x509.Certificate
	number   *big.Int
	tbs      []byte
	intent   Intent
	owner    Owner
}

// Issue decides on a request and, if policy allows it, signs, records and returns a certificate: the steps of
// docs/issuance.md, by their numbers.
//
// A policy refusal and anything else up to step 5 leaves everything as it was. From step 6 on the issuance no longer ends
// with ctx but by its own deadlines, at most StoreTimeout, SignTimeout and StoreTimeout again: once its intent is
// recorded, giving up would only put a serial on the CRL. After an error from step 6 on, the intent was abandoned or will
// be by the sweep, unless the record or the journal alone failed at the end (docs/issuance.md says how that is found).
//
// Errors are *problem.Error: policy's own; CAA's, with RetryAfter if the records could not be had; Conflict if the owner's state had moved on or the intent was abandoned
// meanwhile; Unavailable, with RetryAfter, if the store, the journal or the issuer cannot serve; Internal otherwise.
func (a *Authority) Issue(ctx context.Context, req Request) (*Certificate, error) {
	if req.Profile == nil {
		return nil, problem.Wrap(errors.New("ca: a request without a profile"), problem.Internal, "")
	}
	is, ok := a.issuers[req.Profile.Issuer()]
	if !ok {
		return nil, problem.Wrap(fmt.Errorf("ca: profile %s names the unknown issuer %s", req.Profile.Name(), req.Profile.Issuer()),
			problem.Internal, "the profile's issuer is not configured")
	}
	if err := a.ready(); err != nil {
		return nil, err
	}
	n := &issuance{a: a, is: is}
	if err := n.decide(ctx, req); err != nil {
		return nil, err
	}
	// After the DNS has answered: whoever makes it slow shall not fill the issuer's places.
	leave, err := is.admit()
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := n.prepare(req); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, problem.Wrap(err, problem.Unavailable, "the request ended before anything was recorded")
	}
	if err := n.begin(ctx, req); err != nil {
		return nil, err
	}
	return n.finish(context.WithoutCancel(ctx))
}

// decide is steps 1 and 2: whether the certificate may be issued.
func (n *issuance) decide(ctx context.Context, req Request) error {
	// 1. Policy on requester, pinned profile hash, names, key, CSR, proofs and approvals, by the gate's own clock.
	var err error
	req.Policy.Now = n.a.now()
	req.Policy.Within = policy.Period{NotBefore: n.is.cert.NotBefore, NotAfter: n.is.cert.NotAfter}
	if n.decision, err = req.Profile.Decide(req.Policy); err != nil {
		return err
	}
	if err := n.is.covers(n.decision, n.a.now()); err != nil {
		return err
	}
	n.a.step(1)

	// 2. CAA of every name, asked again where the answer is too old.
	if len(n.decision.CAA) == 0 {
		return nil
	}
	if err := n.permit(ctx); err != nil {
		return err
	}
	n.a.step(2)
	return nil
}

// prepare is steps 3 to 5: what is to be signed, without recording anything.
func (n *issuance) prepare(req Request) (err error) {
	// 3. Serial number.
	var serial Serial
	serial, n.number = newSerial()
	n.a.step(3)

	// 4. The to-be-signed bytes, built from the decision and captured.
	if n.template, err = n.is.template(n.decision, n.number); err != nil {
		return problem.Wrap(err, problem.Internal, "the certificate cannot be built")
	}
	if n.tbs, err = n.is.capture(n.template, n.decision.PublicKey); err != nil {
		return problem.Wrap(err, problem.Internal, "the certificate cannot be built")
	}
	n.a.step(4)

	// 5. Lints on exactly those bytes.
	if err := n.lint(); err != nil {
		return err
	}
	n.a.step(5)

	n.intent = Intent{
		Issuer: n.is.Name, Serial: serial, TBSHash: sha256.Sum256(n.tbs), Names: n.decision.Names,
		NotBefore: n.decision.NotBefore, NotAfter: n.decision.NotAfter, Requester: n.decision.Requester,
		Profile: req.Profile.Name(), ProfileHash: req.Profile.Hash(), Opened: n.a.second(),
		Content: n.decision.Content, Approvers: n.decision.Approvers,
	}
	return nil
}

// covers refuses a validity that is not inside the issuer's. It is not cut to fit: requests and approvals bind the
// validity, and an operator shall learn that an issuer has to be renewed from a refusal, not from ever shorter
// certificates.
func (is *issuer) covers(d *policy.Decision, now time.Time) error {
	if early := is.cert.NotBefore.Sub(d.NotBefore); early > 0 {
		return problem.New(problem.Unavailable, "the issuer %s is valid from %s, and with the profile's backdate the "+
			"certificate would begin before that", is.Name, is.cert.NotBefore.Format(time.RFC3339)).After(early)
	}
	if d.NotAfter.After(is.cert.NotAfter) {
		return problem.New(problem.Unavailable, "the issuer %s expires at %s, before the certificate would; its operator "+
			"must renew it or shorten the profile's validity", is.Name, is.cert.NotAfter.Format(time.RFC3339)).After(time.Hour)
	}
	return nil
}

// lint is step 5. The client learns that its certificate would break a rule and which; the log has the bytes.
func (n *issuance) lint() error {
	der, err := placeholder(n.tbs)
	if err != nil {
		return problem.Wrap(err, problem.Internal, "the certificate cannot be built")
	}
	linter := n.a.linters[string(n.decision.Profile.Lint())]
	if linter == nil {
		return problem.Wrap(fmt.Errorf("ca: profile %s has the unknown lint level %q", n.decision.Profile.Name(),
			n.decision.Profile.Lint()), problem.Internal, "")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		err = &lintError{"gatehouse_parse", err.Error()}
	} else {
		err = (&candidate{cert, n.decision, n.is, n.number}).lint()
	}
	kind := problem.Internal // our own lints: what we built is not what was decided
	if err == nil {
		// What differs from one certificate of a profile to the next comes from its request.
		kind, err = problem.BadCSR, linter.run(der)
	}
	if err == nil {
		return nil
	}
	n.a.log.Warn("a certificate was refused by its lints; nothing was signed", "issuer", n.is.Name,
		"profile", n.decision.Profile.Name(), "lint", err, "names", len(n.decision.Names), "tbs", base64.StdEncoding.EncodeToString(n.tbs))
	detail := "the certificate would violate a rule of its profile's lint level"
	if l, ok := errors.AsType[*lintError](err); ok {
		detail = "the certificate would violate " + l.Name
	}
	return problem.Wrap(err, kind, "%s", detail)
}

// begin takes the enrollment and its owner from the request, then steps 6 and 7 at the same time: when it returns nil,
// what is about to be signed is recorded and journaled.
func (n *issuance) begin(ctx context.Context, req Request) error {
	n.intent.Enrollment, n.owner = req.Enrollment, req.Owner
	if req.Begin != nil {
		var err error
		if n.intent.Enrollment, n.owner, err = req.Begin(ctx, n.decision); err != nil {
			return err
		}
	}
	ctx, cancel := n.a.recording(context.WithoutCancel(ctx))
	defer cancel()
	var stored, journaled error
	var wg sync.WaitGroup
	wg.Go(func() {
		// 6. One commit: the intent, absent before under its serial, with what the owner begins.
		if stored = n.a.store.RecordIntent(ctx, n.intent, n.owner); stored == nil {
			n.a.step(6)
		}
	})
	// 7. Journal "will sign".
	e := n.event(audit.WillSign)
	e.Hash, e.NotAfter = n.intent.TBSHash[:], n.intent.NotAfter
	e.Detail = n.permittedAt()
	if journaled = n.a.append(ctx, e); journaled == nil {
		n.a.step(7)
	}
	wg.Wait()
	switch {
	case stored == nil && journaled == nil:
		return nil
	case problem.Is(stored, problem.Conflict), problem.Is(stored, problem.RateLimited): // a state moved on; a quota was used up
		// Nothing was changed, so there is nothing of ours to abandon: an open intent under this serial would be
		// somebody else's. Nothing was signed either; the journal's entry gets its end.
		n.a.closeEntry(ctx, n.intent)
	default:
		n.a.giveUp(ctx, n.intent, "intent", false)
	}
	if stored != nil {
		return stored
	}
	return journaled
}

// finish is steps 8 to 11. ctx has no deadline of its own.
func (n *issuance) finish(ctx context.Context) (*Certificate, error) {
	der, err := n.sign(ctx)
	if err != nil {
		n.a.giveUp(ctx, n.intent, "signing", true)
		return nil, err
	}
	c := &Certificate{Intent: n.intent, State: Issued, DER: der, Issued: n.a.second()}
	if err := n.record(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// sign is steps 8 and 9: the signature, and that it is one over the linted bytes and nothing else.
func (n *issuance) sign(ctx context.Context) ([]byte, error) {
	// 8. Sign through the back end, in the issuer's bounded pool, within its deadline.
	der, err := n.is.pool.sign(ctx, "certificate "+string(n.intent.Serial), func(ctx context.Context) ([]byte, error) {
		return n.is.Backend.Sign(ctx, n.template, n.decision.PublicKey)
	})
	if err != nil {
		n.a.log.Error("signing failed", "issuer", n.is.Name, "serial", n.intent.Serial, "enrollment", n.intent.Enrollment, "error", err)
		if _, ok := errors.AsType[*problem.Error](err); ok {
			return nil, err
		}
		return nil, problem.Wrap(err, problem.Unavailable, "the issuer %s cannot sign now", n.is.Name).After(comeBack)
	}
	n.a.step(8)

	// 9. Parse; the signed bytes must be the linted ones and the signature the issuer's.
	if err := n.is.verify(der, n.tbs); err != nil {
		// It has signed something that is not on record, which nobody can revoke by its serial: an operator must look.
		n.a.log.Error("the back end returned something else than it was asked to sign; it was refused and is not recorded",
			"issuer", n.is.Name, "serial", n.intent.Serial, "enrollment", n.intent.Enrollment, "error", err,
			"tbsHash", hex.EncodeToString(n.intent.TBSHash[:]), "returned", base64.StdEncoding.EncodeToString(der))
		return nil, problem.Wrap(err, problem.Internal, "the issuer %s returned a certificate that was not asked for", n.is.Name)
	}
	n.a.step(9)
	return der, nil
}

// verify checks that der is a certificate over exactly the bytes tbs, signed by the issuer's key.
func (is *issuer) verify(der, tbs []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("it does not parse: %w", err)
	}
	if !bytes.Equal(cert.RawTBSCertificate, tbs) {
		return fmt.Errorf("its to-be-signed bytes are not the linted ones (its serial is %s)", SerialOf(cert.SerialNumber))
	}
	if err := is.cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return fmt.Errorf("its signature is not the issuer's: %w", err)
	}
	return nil
}

// record is steps 10 and 11 at the same time. Only when both are durable may the certificate be shown to anybody.
func (n *issuance) record(ctx context.Context, c *Certificate) error {
	ctx, cancel := n.a.recording(ctx)
	defer cancel()
	var stored, journaled error
	var wg sync.WaitGroup
	wg.Go(func() {
		// 10. One commit, if the intent is still open: the certificate, with what the owner completes.
		if stored = n.a.store.RecordCertificate(ctx, *c, n.owner); stored == nil {
			n.a.step(10)
		}
	})
	// 11. Journal "signed".
	e := n.event(audit.Signed)
	e.DER = c.DER
	if journaled = n.a.append(ctx, e); journaled == nil {
		n.a.step(11)
	}
	wg.Wait()
	if stored != nil {
		// Also after a Conflict, which usually means that a sweep was first: "signed" may follow the sweep's "abandoned"
		// in the journal, and the last word must be that nothing was issued.
		n.a.giveUp(ctx, n.intent, "recording", true)
		return stored
	}
	// Recorded but not journaled: it is not released here. It is on record and revocable, so it is not abandoned either;
	// whoever asks again finds it issued, and by then the journal must have it.
	if journaled != nil {
		n.a.unsettled.add(n.intent, true)
	}
	return journaled
}

// event is a journal entry about this issuance.
func (n *issuance) event(kind audit.Kind) audit.Event { return eventFor(kind, n.intent) }

func eventFor(kind audit.Kind, in Intent) audit.Event {
	e := audit.Event{
		Kind: kind, Actor: in.Requester.Principal, Org: in.Requester.Org, Enrollment: in.Enrollment,
		Issuer: in.Issuer, Serial: string(in.Serial),
	}
	if kind != audit.Abandoned {
		e.Door, e.Profile, e.ProfileHash = in.Requester.Door, in.Profile, in.ProfileHash
		e.Content, e.Approvers = in.Content, in.Approvers
	}
	for _, name := range in.Names {
		e.Names = append(e.Names, name.Value())
	}
	return e
}

// recording bounds a step that writes to the store and the journal.
func (a *Authority) recording(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.storeTimeout)
}

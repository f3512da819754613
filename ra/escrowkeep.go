package ra

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// keysKept is nil if private keys can be kept at all.
func (r *Registrar) keysKept() error {
	if r.Escrow.Store == nil || r.Escrow.Sealer == nil || r.Journal == nil {
		return seal.ErrNoKey
	}
	return nil
}

// submitWithKey is certify for a request whose private key is kept. It answers when the journal has the key.
func (r *Registrar) submitWithKey(ctx context.Context, caller auth.Caller, profile *policy.Profile, req Request) (*Enrollment, error) {
	what, err := r.keyFor(ctx, caller, profile, &req)
	if err != nil {
		return nil, err
	}
	e, err := r.certify(ctx, caller, profile, req)
	if err != nil || req.made == nil || e.KeyStored.IsZero() {
		return e, err
	}
	return e, r.journalKey(ctx, e, caller.Principal, what)
}

// keyFor gives a request the key that is to be recorded with it: one that is made now, or the one of the enrollment whose place
// it takes, if it is for the same key and its requester may have that. what is what the journal is told.
func (r *Registrar) keyFor(ctx context.Context, caller auth.Caller, profile *policy.Profile, req *Request) (what string, err error) {
	old := req.follows
	switch {
	case req.Key != "":
		req.made, err = r.makeKey(ctx, caller, profile, req)
		return KeyMade.String(), err
	case old == nil || old.KeyStored.IsZero() || !profile.ServerKeys() || r.keysKept() != nil:
		return "", nil
	case caller.Principal != old.Requester && r.mayHandleKey(caller, old) != nil:
		return "", nil // who renews what somebody else asked for is not thereby given his key
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return "", nil // certify says what is wrong with it
	}
	k, err := r.Escrow.Store.PrivateKey(ctx, old.ID)
	switch {
	case problem.Is(err, problem.NotFound):
		return "", nil
	case err != nil:
		return "", err
	case k.Public == sha256.Sum256(csr.RawSubjectPublicKeyInfo):
		req.made = &StoredKey{Origin: k.Origin, By: k.By, Type: k.Type, Public: k.Public, Sealed: k.Sealed}
		// A rewrap that goes on meanwhile may be past the new one's place.
		if sealed, _, err := r.Escrow.Sealer.Rewrap(ctx, seal.PrivateKey, k.object(), k.Sealed); err == nil {
			req.made.Sealed = sealed
		}
	}
	return fmt.Sprintf("the key of enrollment %d, which it renews", old.ID), nil
}

// UploadKey keeps the private key of a certificate whose requester made it: an *rsa.PrivateKey, *ecdsa.PrivateKey or
// ed25519.PrivateKey. The same key once more changes nothing. Durable in store and journal on return.
//
// Errors: NotFound and Unauthorized for those who may not ([auth.ReadKeys]); Unauthorized where the profile has no keys kept;
// Conflict for what has no valid certificate; Malformed for another certificate's key; seal.ErrNoKey.
func (r *Registrar) UploadKey(ctx context.Context, caller auth.Caller, id ID, key crypto.PrivateKey) (*Enrollment, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, problem.New(problem.Malformed, "private key: it is none that can be kept")
	}
	for try := 1; ; try++ {
		e, err := r.escrowed(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		k, err := r.uploadable(ctx, e, signer)
		switch {
		case err != nil:
			return nil, err
		case !e.KeyStored.IsZero(): // that very key
			return e, r.journalKey(ctx, e, caller.Principal, KeyUploaded.String())
		}
		if k, err = r.sealKey(ctx, signer, StoredKey{Origin: KeyUploaded, By: caller.Principal, Type: k.Type}); err != nil {
			return nil, err
		}
		next := *e
		next.storeKey(k, r.Now())
		if err := r.Store.MoveEnrollment(ctx, &next, e, nil); problem.Is(err, problem.Conflict) && try < moveTries {
			continue
		} else if err != nil {
			return nil, err
		}
		return &next, r.journalKey(ctx, &next, caller.Principal, KeyUploaded.String())
	}
}

// uploadable refuses what is not the key of an enrollment's certificate, and certificates whose keys are not kept. The result
// has the key's type.
func (r *Registrar) uploadable(ctx context.Context, e *Enrollment, key crypto.Signer) (*StoredKey, error) {
	if err := r.keysKept(); err != nil {
		return nil, err
	}
	switch profile := r.Profiles[e.Profile]; {
	case e.Status(r.Now()) != StatusIssued:
		return nil, problem.New(problem.Conflict, "enrollment %d has no valid certificate, so its key is not kept", e.ID)
	case profile == nil || !profile.ServerKeys():
		return nil, problem.New(problem.Unauthorized, "under the profile %q no keys are kept here; ask for server_keys: on in the profile", e.Profile)
	}
	_, leaf, err := r.leaf(ctx, e)
	if err != nil {
		return nil, err
	}
	if !isPublicOf(key, leaf) {
		return nil, problem.New(problem.Malformed, "private key: it does not belong to the certificate of enrollment %d; send the key that the CSR was made with", e.ID)
	}
	t, err := policy.KeyTypeOf(leaf.PublicKey)
	return &StoredKey{Type: t}, err
}

func isPublicOf(key crypto.Signer, leaf *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(leaf.PublicKey)
}

// leaf reads an enrollment's certificate.
func (r *Registrar) leaf(ctx context.Context, e *Enrollment) (*ca.Certificate, *x509.Certificate, error) {
	if e.Issued.IsZero() || e.Issuer == "" {
		return nil, nil, problem.New(problem.Conflict, "enrollment %d has no certificate of an issuer of this gateway", e.ID)
	}
	c, err := r.Certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return nil, nil, problem.Wrap(err, problem.Internal, "")
	}
	return c, leaf, nil
}

// DestroyKey destroys an enrollment's private key. Its certificate stays as it is. Saying so again changes nothing. Durable in
// store and journal on return. Errors are as those of [Registrar.KeyOf].
//
// What the store has of the key is gone. The journal, which only grows, has it still, sealed.
func (r *Registrar) DestroyKey(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	for try := 1; ; try++ {
		e, err := r.escrowed(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		if e.KeyStored.IsZero() {
			if e.KeyDestroyed.IsZero() {
				return nil, noKey(e)
			}
			return e, r.journalKey(ctx, e, caller.Principal, "destroyed on request")
		}
		next, err := r.destroyKey(ctx, e)
		if problem.Is(err, problem.Conflict) && try < moveTries {
			continue
		} else if err != nil {
			return nil, err
		}
		return next, r.journalKey(ctx, next, caller.Principal, "destroyed on request")
	}
}

func (r *Registrar) destroyKey(ctx context.Context, e *Enrollment) (*Enrollment, error) {
	next := *e
	next.DestroyKey(r.Now())
	return &next, r.Store.MoveEnrollment(ctx, &next, e, nil)
}

// keySettleAge is how old a note is whose process did not live to tell its journal.
const keySettleAge = 30 * time.Second

// SweepKeys tells this gateway's journal what another's may lack about private keys, and destroys those whose certificates have
// expired long enough ago: at most 50 of each a turn. Safe in several processes at once.
func (r *Registrar) SweepKeys(ctx context.Context) error {
	if r.Escrow.Store == nil || r.Journal == nil {
		return nil
	}
	return errors.Join(r.settleKeys(ctx), r.endKeys(ctx))
}

func (r *Registrar) settleKeys(ctx context.Context) error {
	notes, err := r.Escrow.Store.UnjournaledKeys(ctx, r.Now().Add(-keySettleAge), sweepBatch)
	if err != nil {
		return err
	}
	for _, n := range notes {
		e, err := r.Store.Enrollment(ctx, n.Enrollment)
		switch {
		case problem.Is(err, problem.NotFound):
			err = r.Escrow.Store.KeyJournaled(ctx, n, nil)
		case err == nil:
			err = r.journalNote(ctx, e, n, "system", "as the store has it")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Registrar) endKeys(ctx context.Context) error {
	ended, err := r.Escrow.Store.EndedKeys(ctx, r.Now().Add(-r.Escrow.Retention), sweepBatch)
	if err != nil {
		return err
	}
	for _, e := range ended {
		next, err := r.destroyKey(ctx, e)
		if problem.Is(err, problem.Conflict) {
			continue
		}
		if err == nil {
			err = r.journalKey(ctx, next, "system", "destroyed because its certificate has expired")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

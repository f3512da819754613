package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// privateKey gives back what a journal says of an enrollment's private key, and the certificate with it.
func (r *Replay) privateKey(ctx context.Context, e audit.Event) (bool, error) {
	if len(e.DER) == 0 || r.void[e.Issuer+"/"+e.Serial] {
		return false, nil // of a request, which its client makes again, or of what nobody was given
	}
	said, err := ra.KeyFromEvent(e)
	if err != nil {
		return false, err
	}
	c, err := r.certificate(ctx, e)
	if err != nil {
		return false, err
	}
	if c == nil || c.State != ca.Issued {
		if err := r.restore(ctx, c, e, nil); err != nil {
			return false, err
		}
		if c, err = r.certificate(ctx, e); err != nil || c == nil {
			return true, err
		}
	}
	of, err := r.db.Enrollment(ctx, ra.ID(c.Enrollment))
	if problem.Is(err, problem.NotFound) { // it was removed, and its time is over; of what was revoked the certificate stays
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var have *ra.StoredKey
	if !of.KeyStored.IsZero() {
		if have, err = r.db.PrivateKey(ctx, of.ID); err != nil && !problem.Is(err, problem.NotFound) {
			return false, err
		}
	}
	next := ra.ReplayedKey(of, have, said)
	if next == nil || of.Issuer != c.Issuer || of.Serial != c.Serial {
		return false, nil
	}
	return true, r.db.MoveEnrollment(ctx, next, of, nil)
}

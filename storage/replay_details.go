package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// details gives back what goes with an enrollment, or that it was removed, by the rule of package ra. The entry has the
// certificate, so that it comes back with it whoever's journal its "signed" is in. Of a request that is gone there is nothing to
// give back.
func (r *Replay) details(ctx context.Context, e audit.Event) (bool, error) {
	said, err := ra.DetailsFromEvent(e)
	if err != nil {
		return false, err
	}
	id, restored, err := r.detailed(ctx, e)
	if err != nil || id == 0 {
		return restored, err
	}
	have, err := r.db.Enrollment(ctx, id)
	if problem.Is(err, problem.NotFound) { // it was removed, and its time is over
		return restored, nil
	}
	if err != nil || !said.About(have) {
		return restored, err
	}
	next := said.Replayed(have)
	if next == nil {
		return restored, nil
	}
	return true, r.db.MoveEnrollment(ctx, next, have, nil)
}

// detailed finds the number of the enrollment that an entry is about, after its certificate was given back if that is gone.
func (r *Replay) detailed(ctx context.Context, e audit.Event) (id ra.ID, restored bool, err error) {
	if e.Issuer == "" {
		r.last = max(r.last, ra.ID(e.Enrollment))
		id, err := r.importedAs(ctx, e)
		return id, false, err
	}
	c, err := r.certificate(ctx, e)
	if err != nil {
		return 0, false, err
	}
	if (c == nil || c.State != ca.Issued) && len(e.DER) > 0 {
		if err := r.restore(ctx, c, e, nil); err != nil {
			return 0, false, err
		}
		restored = true
		if c, err = r.db.Certificate(ctx, e.Issuer, ca.Serial(e.Serial)); err != nil {
			return 0, restored, err
		}
	}
	if c == nil {
		return ra.ID(e.Enrollment), restored, nil
	}
	return ra.ID(c.Enrollment), restored, nil
}

// importedAs is the number of an enrollment that has no certificate of ours: the entry's own, unless that is another's by now and
// the certificate was imported under a new one.
func (r *Replay) importedAs(ctx context.Context, e audit.Event) (ra.ID, error) {
	k := ra.ImportKey{Org: auth.OrgID(e.Org)}
	if copy(k.Fingerprint[:], e.Hash) != len(k.Fingerprint) {
		return ra.ID(e.Enrollment), nil
	}
	have, err := r.db.Enrollment(ctx, ra.ID(e.Enrollment))
	if err == nil && have.Imported && have.Fingerprint == k.Fingerprint || err != nil && !problem.Is(err, problem.NotFound) {
		return ra.ID(e.Enrollment), err
	}
	items, err := r.db.read(ctx, keyImport(k.Org, k.Fingerprint))
	if err != nil {
		return 0, err
	}
	return importedID(k, items[0])
}

package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// imported gives back an import under its own number: what was acknowledged is found again, also where the organisation has
// imported the same certificate once more meanwhile, into a store that had lost the first. Of two, the higher number is the one that
// further imports are told of, as it is where the first was removed. Where the number is another enrollment's by now, the
// import gets a new one, unless the certificate is there.
func (r *Replay) imported(ctx context.Context, e audit.Event) (bool, error) {
	r.last = max(r.last, ra.ID(e.Enrollment))
	said, err := ra.ImportFromEvent(e)
	if err != nil {
		return false, err
	}
	key := ra.ImportKey{Org: said.Enrollment.Org, Serial: said.Enrollment.Serial, Fingerprint: said.Enrollment.Fingerprint}
	items, err := r.db.read(ctx, keyImport(key.Org, key.Fingerprint))
	if err != nil {
		return false, err
	}
	claimant, err := importedID(key, items[0])
	if err != nil {
		return false, err
	}
	have, err := r.db.Enrollment(ctx, said.Enrollment.ID)
	switch {
	case problem.Is(err, problem.NotFound):
	case err != nil:
		return false, err
	case have.Imported && have.Fingerprint == said.Enrollment.Fingerprint || claimant != 0:
		return false, nil
	default:
		if said.Enrollment.ID, err = r.number(ctx); err != nil {
			return false, err
		}
	}
	said.Claim = items[0].Version
	b := &Batch{}
	if err := b.putImport(said, map[Key]bool{}); err != nil {
		return false, err
	}
	if claimant > said.Enrollment.ID {
		b.Puts = b.Puts[:len(b.Puts)-1] // the claim stays; what it is remains a condition
	}
	return true, r.db.commit(ctx, b)
}

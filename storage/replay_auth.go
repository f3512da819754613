package storage

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
)

// org gives back an organisation that a command made, by the rule of package auth. What is in the journal already leaves no
// note.
func (r *Replay) org(ctx context.Context, e audit.Event) (bool, error) {
	said, err := auth.OrgFromEvent(e)
	if err != nil {
		return false, err
	}
	all, version, err := r.db.Orgs(ctx)
	if err != nil {
		return false, err
	}
	var have *auth.Org
	if i := slices.IndexFunc(all, func(o *auth.Org) bool { return o.ID == said.ID }); i >= 0 {
		have = all[i]
	}
	next, err := auth.ReplayedOrg(have, said)
	if err != nil || next == nil {
		return false, err
	}
	var note auth.Note
	if have != nil {
		note, err = r.db.UpdateOrg(ctx, next, version)
	} else {
		if slices.ContainsFunc(all, func(o *auth.Org) bool { return o.Slug == said.Slug }) {
			// Its slug was given anew after the store had gone back. It comes back under its number, which its accounts
			// have, and another slug.
			next.Slug = said.Displaced()
		}
		note, err = r.db.CreateOrg(ctx, next, version)
	}
	if err != nil {
		return false, err
	}
	if next.Slug != said.Slug {
		return true, nil // the journal does not say so: the note stays, and it will
	}
	return true, r.db.Journaled(ctx, note)
}

// eabKey gives back a key for external account binding, by the rule of package auth.
func (r *Replay) eabKey(ctx context.Context, e audit.Event) (bool, error) {
	said, err := auth.EABKeyFromEvent(e)
	if err != nil {
		return false, err
	}
	have, err := r.db.eabKey(ctx, said.ID)
	if err != nil {
		return false, err
	}
	next := auth.ReplayedEABKey(have, said)
	if next == nil {
		return r.useEABKey(ctx, said.ID)
	}
	write, numbered := r.db.CreateEABKey, true
	if have != nil {
		write, numbered = r.db.UpdateEABKey, have.Number == 0 && next.Number > 0
	}
	if numbered && have != nil {
		write = r.db.NumberEABKey
	}
	renumbered := false
	if numbered {
		if renumbered, err = r.numberEABKey(ctx, next); err != nil {
			return false, err
		}
	}
	note, err := write(ctx, next)
	if err != nil {
		return false, err
	}
	if _, err := r.useEABKey(ctx, said.ID); err != nil {
		return false, err
	}
	if renumbered {
		return true, nil // the journal does not say so: the note stays, and it will
	}
	return true, r.db.Journaled(ctx, note)
}

// numberEABKey makes sure that the number of a key that comes back is given to no other one. If another has it already, since
// the store had gone back, the key gets a new one: programs that know the number mean the other by now.
func (r *Replay) numberEABKey(ctx context.Context, k *auth.EABKey) (renumbered bool, err error) {
	if k.Number == 0 {
		return false, nil
	}
	if err := r.db.engine.LiftID(ctx, seqEABKey, int64(k.Number)); err != nil {
		return false, unavailable(err)
	}
	items, err := r.db.read(ctx, keyEABNumber(k.Number))
	if err != nil || !items[0].Found {
		return false, err
	}
	k.Number, err = r.db.NextEABNumber(ctx)
	return true, err
}

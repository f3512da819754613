package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// principal gives back a principal with its credentials, by the rule of package auth. What is in the journal already leaves
// no note.
func (r *Replay) principal(ctx context.Context, e audit.Event) (bool, error) {
	said, err := auth.PrincipalFromEvent(e)
	if err != nil {
		return false, err
	}
	have, err := r.db.principal(ctx, said.ID)
	if err != nil {
		return false, err
	}
	next, err := auth.ReplayedPrincipal(have, said)
	if err != nil || next == nil {
		return false, err
	}
	taken, err := r.takenLookups(ctx, next)
	if err != nil {
		return false, err
	}
	next.DropLookups(taken, e.At)
	var note auth.Note
	if have != nil {
		note, err = r.db.UpdatePrincipal(ctx, have, next)
	} else {
		switch other, err := r.db.PrincipalByLogin(ctx, said.Customer, said.Login); {
		case err == nil && other != said.ID:
			// Its login was given anew after the store had gone back. It comes back under its number and another login.
			next.Login = said.Displaced()
		case err != nil && !problem.Is(err, problem.NotFound):
			return false, err
		}
		note, err = r.db.CreatePrincipal(ctx, next)
	}
	if err != nil {
		return false, err
	}
	if next.Login != said.Login || len(taken) > 0 {
		return true, nil // the journal does not say so: the note stays, and it will
	}
	return true, r.db.Journaled(ctx, note)
}

// takenLookups are those of a principal that are another's by now: a certificate was bound anew after the store had gone back.
func (r *Replay) takenLookups(ctx context.Context, p *auth.Principal) (map[string]bool, error) {
	taken := map[string]bool{}
	for _, l := range p.Lookups() {
		switch other, err := r.db.PrincipalByLookup(ctx, l); {
		case err == nil && other != p.ID:
			taken[l] = true
		case err != nil && !problem.Is(err, problem.NotFound):
			return nil, err
		}
	}
	return taken, nil
}

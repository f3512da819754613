package acme

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

func copyAuthz(a *Authorization) *Authorization {
	if a == nil {
		return nil
	}
	return a.clone()
}

func (m *memStore) CreateAuthorization(_ context.Context, a *Authorization) error {
	err := m.enter("CreateAuthorization")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	a.Version = newVersion()
	m.authzs[a.ID] = a.clone()
	return nil
}

func (m *memStore) DeactivateAuthorization(_ context.Context, a *Authorization) error {
	err := m.enter("DeactivateAuthorization")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) { c.Due = time.Time{} })
}

func (m *memStore) UsableAuthorizations(_ context.Context, account AccountID, names []identifier.Identifier, takes ...Take) ([]*Authorization, error) {
	err := m.enter("UsableAuthorizations")
	defer m.mu.Unlock()
	if err == nil {
		err = m.spend(takes)
	}
	if err != nil {
		return nil, err
	}
	out := make([]*Authorization, len(names))
	for i, name := range names {
		for _, a := range m.authzs {
			if a.Account == account && a.covers(name) && a.proven() != nil && (out[i] == nil || a.Expires.After(out[i].Expires)) {
				out[i] = a.clone()
			}
		}
	}
	return out, nil
}

func (m *memStore) BeginChallenge(_ context.Context, a *Authorization, due time.Time) error {
	err := m.enter("BeginChallenge")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) {
		if c.Status() == StatusProcessing {
			c.Due = due
		}
	})
}

func (m *memStore) FinishChallenge(_ context.Context, a *Authorization) error {
	err := m.enter("FinishChallenge")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) { c.Due = time.Time{} })
}

func (m *memStore) put(a *Authorization, each func(*Challenge)) error {
	if current := m.authzs[a.ID]; current == nil || current.Version != a.Version {
		return errConflict
	}
	next := a.clone()
	for i := range next.Challenges {
		each(&next.Challenges[i])
	}
	next.Version = newVersion()
	m.authzs[a.ID] = next.clone()
	*a = *next
	return nil
}

func (m *memStore) DueChallenges(_ context.Context, now time.Time, limit int) ([]*Authorization, error) {
	err := m.enter("DueChallenges")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var due []*Authorization
	for _, id := range slices.Sorted(maps.Keys(m.authzs)) {
		a := m.authzs[id]
		if a.find(func(c *Challenge) bool { return !c.Due.IsZero() && !c.Due.After(now) }) != nil && len(due) < limit {
			due = append(due, a.clone())
		}
	}
	return due, nil
}

func (m *memStore) Failures(_ context.Context, org auth.OrgID, cursor string, limit int) ([]ListedFailure, error) {
	err := m.enter("Failures")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var all []ListedFailure
	for _, a := range m.authzs {
		if c := a.failed(); c != nil && (org == 0 || a.Org == org) {
			all = append(all, ListedFailure{Cursor: c.Failed.At.Format(time.RFC3339) + string(a.ID), Authorization: a.clone()})
		}
	}
	slices.SortFunc(all, func(a, b ListedFailure) int { return cmp.Compare(b.Cursor, a.Cursor) })
	all = slices.DeleteFunc(all, func(f ListedFailure) bool { return cursor != "" && f.Cursor >= cursor })
	return all[:min(limit, len(all))], nil
}

func (m *memStore) SweepFailures(context.Context, time.Time, int) (int, error) {
	err := m.enter("SweepFailures")
	defer m.mu.Unlock()
	return 0, err
}

func (m *memStore) authz(id AuthzID) *Authorization {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyAuthz(m.authzs[id])
}

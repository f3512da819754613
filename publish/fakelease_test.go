package publish

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// standing is the lease as the store's clock sees it. mu is held.
func (s *fakeStore) standing() Lease {
	lease := s.lease
	lease.Issuer, lease.Left = "leaf", s.lease.Left-time.Now().Add(s.skew).Sub(s.leased)
	if lease.Left <= 0 {
		return Lease{Issuer: "leaf"}
	}
	return lease
}

func (s *fakeStore) CRLLease(context.Context, string, int) (Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing(), nil
}

func (s *fakeStore) TakeCRLLease(_ context.Context, read Lease, holder string, d time.Duration) (Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.standing(); now.Version != read.Version || now.Holder != "" && now.Holder != holder {
		return Lease{}, problem.New(problem.Conflict, "the lease is %s's", now.Holder)
	}
	s.lease = Lease{Issuer: "leaf", Holder: holder, Left: d}
	rand.Read(s.lease.Version[:])
	s.leased = time.Now().Add(s.skew)
	s.takes++
	return s.lease, nil
}

func (s *fakeStore) ReturnCRLLease(_ context.Context, lease Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fenced(lease) {
		return problem.New(problem.Conflict, "the lease has ended")
	}
	s.lease = Lease{}
	s.hint(s.saving)
	return nil
}

func (s *fakeStore) fenced(by Lease) bool {
	return by.Holder != "" && s.standing().Version == by.Version
}

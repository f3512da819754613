package ra_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// narrowing is a store in which what is due was submitted under a restriction.
type narrowing struct {
	ra.Store
	restriction policy.Restriction
}

func (s narrowing) DueEnrollments(ctx context.Context, until time.Time, limit int) ([]*ra.Enrollment, error) {
	due, err := s.Store.DueEnrollments(ctx, until, limit)
	for _, e := range due {
		e.Restriction = s.restriction
	}
	return due, err
}

// TestRestrictionIsKept: what a requester may have is known as long as a certificate is owed, and decides again at each attempt.
func TestRestrictionIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		later policy.Restriction
		want  ra.Phase
	}{
		"the same":        {policy.Restriction{Profiles: []string{"tls"}, Names: []string{"*.example.com"}}, ra.Issued},
		"another name":    {policy.Restriction{Names: []string{"*.example.net"}}, ra.Failed},
		"another profile": {policy.Restriction{Profiles: []string{"mail"}}, ra.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			req := w.request(alice, newKey(t), "a.example.com")
			req.Restriction = policy.Restriction{Profiles: []string{"tls"}, Names: []string{"*.example.com"}}
			w.signer.down.Store(true)
			e, err := w.Submit(t.Context(), alice, req)
			must(t, err)
			w.signer.down.Store(false)
			if got := w.read(e.ID); got.Phase != ra.Requested || !got.Restriction.Equal(req.Restriction) {
				t.Fatalf("it waits as %+v", got)
			}
			w.clock.set(e.Due)
			must(t, w.registrar(func(c *ra.Config) { c.Store = narrowing{c.Store, tt.later} }).Sweep(t.Context()))
			got := w.read(e.ID)
			if got.Phase != tt.want || !got.Restriction.IsZero() {
				t.Errorf("it is %+v, %+v", got, got.Failure)
			}
			if tt.want == ra.Failed && got.Failure.Kind != problem.Unauthorized && got.Failure.Kind != problem.RejectedIdentifier {
				t.Errorf("it failed by %+v", got.Failure)
			}
		})
	}
}

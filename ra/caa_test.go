package ra_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// caaRefusing is a gate that refuses everything.
type caaRefusing struct {
	ra.Authority
	err error
}

func (r caaRefusing) Issue(context.Context, ca.Request) (*ca.Certificate, error) { return nil, r.err }

// TestCAAAtALaterAttempt: records that forbid are the end of an enrollment, records that could not be had are not.
func TestCAAAtALaterAttempt(t *testing.T) {
	for err, want := range map[*problem.Error]ra.Phase{
		problem.New(problem.CAA, "it is forbidden"):                      ra.Failed,
		problem.New(problem.CAA, "it is not known").After(time.Second):   ra.Requested,
		problem.New(problem.Unauthorized, "the proof is no longer good"): ra.Failed,
	} {
		w := newWorld(t)
		e := w.postponed(alice, "a.example.com")
		w.clock.set(e.Due)
		r := w.registrar(func(c *ra.Config) { c.Authority = caaRefusing{c.Authority, err} })
		must(t, r.Sweep(t.Context()))
		got := w.read(e.ID)
		if got.Phase != want || got.Attempts != 2 {
			t.Errorf("%v: %+v", err, got)
		}
		if want == ra.Failed && (got.Failure == nil || got.Failure.Kind != err.Kind || got.Failure.Detail != err.Detail) {
			t.Errorf("%v: %+v", err, got.Failure)
		}
		if want == ra.Requested && !got.Due.After(w.clock.now()) {
			t.Errorf("%v: due %v", err, got.Due)
		}
	}
}

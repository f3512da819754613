package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// waitAfter is when the client of an order that people must decide about is asked to come back.
const waitAfter = time.Minute

// An order under a profile that demands approvals has, from finalize on, an enrollment that waits for them. A later order of the
// same content takes the enrollment over, for the key of its own CSR: ACME clients make a new key and order with each run, and
// one approval is for one certificate. The earlier order is invalid from then on. What was approved is signed when the client
// asks next, by polling or by another order, because a certificate for the key of a client that has gone would use the approval
// up for nobody.

// overtaken reports whether another order has taken over the enrollment that this one had.
func (o *Order) overtaken(e *ra.Enrollment) bool {
	return e != nil && e.Holder != "" && e.Holder != string(o.ID)
}

var errOvertaken = problem.New(problem.Unauthorized, "a newer order for the same certificate has taken this one's place, before this one was approved or issued")

// issueApproved has the certificate made of an order that was approved, while its client asks for it. Facts come back as they
// stand after that, or after a while: then it goes on in the background. The error may be what the external account binding of
// the account refuses by now; the order stays as it is then.
func (s *Server) issueApproved(ctx context.Context, req *signed, f Facts) (Facts, error) {
	o, e := req.order, f.Enrollment
	if e == nil || o.overtaken(e) || e.Phase != ra.Approved && (e.Phase != ra.Waiting || len(e.Approvals) == 0) {
		return f, nil
	}
	if err := s.restrict(ctx, req); err != nil {
		return f, err
	}
	if err := req.only.CheckNames(o.Names); err != nil {
		return f, err
	}
	done := make(chan struct{})
	started := s.Work.Go("acme-approved", submitTime, func(ctx context.Context) {
		defer close(done)
		if _, err := s.Registrar.Proceed(ctx, e); err != nil {
			s.Log.Warn("an approved order could not be issued; its client will ask again", "order", o.ID, "error", err)
		}
	})
	if !started {
		return f, errStopping
	}
	timer := time.NewTimer(s.FinalizeWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
		return f, ctx.Err()
	}
	return s.Store.OrderFacts(ctx, o)
}

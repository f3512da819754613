package ra

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// renewalBatch is how many enrollments one call looks at when renewals are suggested for many.
	renewalBatch = 200
	// renewalsAtOnce is how many of them are recorded at a time: what is under way together shares syncs of the disk.
	renewalsAtOnce = 16
	// windowShare is the part of the whole time that one certificate's window takes: long enough that a client which asks every
	// few hours meets it, short enough that the beginnings differ.
	windowShare = 4
)

// RenewalWord is what an operator says about renewals (RFC 9773, 4.2).
type RenewalWord struct {
	// From and By bound the time in which the certificates should be renewed. Spread gives each certificate a window of its
	// own, a quarter as long, which begins at a place that follows from its serial number: spread evenly, the same if the word
	// is said again, and without any two calls having to know of each other. Otherwise each has all of it.
	From, By    time.Time
	Spread      bool
	Explanation string // URL of a page that says why; may be empty
	Clear       bool   // take an earlier word back; the rest is not looked at
}

// window is that of one certificate: inside the word's time, and before the certificate ends.
func (w RenewalWord) window(serial ca.Serial, notAfter time.Time) (start, end time.Time) {
	by := w.By
	if by.After(notAfter) {
		by = notAfter
	}
	if least := w.From.Add(time.Second); by.Before(least) {
		by = least
	}
	whole := by.Sub(w.From)
	if !w.Spread || whole < windowShare*2*time.Second {
		return w.From, by
	}
	length := whole / windowShare
	start = w.From.Add(time.Duration(place(serial) * float64(whole-length))).Truncate(time.Second)
	return start, start.Add(length)
}

// place is a number from 0 to 1 that follows from a serial number, evenly spread over those with random octets.
func place(serial ca.Serial) float64 {
	octets, err := hex.DecodeString(string(serial))
	if err != nil || len(octets) < 5 {
		return 0
	}
	tail := octets[len(octets)-4:] // the first octet is no random one
	n := uint32(tail[0])<<24 | uint32(tail[1])<<16 | uint32(tail[2])<<8 | uint32(tail[3])
	return float64(n) / (1 << 32)
}

// SuggestRenewal says when one certificate should be renewed, or takes that back. Only an operator may. Durable on return.
func (r *Registrar) SuggestRenewal(ctx context.Context, caller auth.Caller, e *Enrollment, w RenewalWord) error {
	if err := suggester(caller); err != nil {
		return err
	}
	switch {
	case e.Issued.IsZero():
		return problem.New(problem.Conflict, "enrollment %d has no certificate yet", e.ID)
	case e.Imported:
		return problem.New(problem.Conflict, "the certificate of enrollment %d was imported: nobody asks here when to renew it", e.ID)
	}
	return r.suggest(ctx, caller, e, w)
}

func suggester(caller auth.Caller) error {
	if !caller.Operator || caller.Principal == "" {
		return problem.New(problem.Unauthorized, "only an operator of this gateway can suggest renewals")
	}
	return nil
}

func (r *Registrar) suggest(ctx context.Context, caller auth.Caller, e *Enrollment, w RenewalWord) error {
	req := ca.SuggestRequest{Issuer: e.Issuer, Serial: e.Serial, Actor: caller.Principal}
	if !w.Clear {
		req.Start, req.End = w.window(e.Serial, e.NotAfter)
		req.Explanation = w.Explanation
	}
	_, err := r.Authority.SuggestRenewal(ctx, req)
	return err
}

// RenewalFilter selects certificates whose renewal is suggested together. Filters that are set must all hold. Of what they
// select, only certificates count that are valid now and were not replaced.
type RenewalFilter struct {
	Org          auth.OrgID // zero: every organisation
	Profile      string
	Issuer       string
	IssuedBefore time.Time
	After        ID // continue behind this enrollment
}

// RenewalBatch is what one call has done.
type RenewalBatch struct {
	Looked  int // enrollments that were looked at
	Changed int // certificates whose renewal is suggested now; in a trial, those whose would be
	Next    ID  // where the next call continues; zero at the end
}

// SuggestRenewals says so for a batch of all certificates that a filter selects: of 200 enrollments, in the order of their
// numbers. Call it again with Next until that is zero; what is issued meanwhile comes last and is found. A trial changes
// nothing. An error says that some of the batch may be recorded; saying it again does no harm.
func (r *Registrar) SuggestRenewals(ctx context.Context, caller auth.Caller, f RenewalFilter, w RenewalWord, trial bool) (RenewalBatch, error) {
	if err := suggester(caller); err != nil {
		return RenewalBatch{}, err
	}
	if err := ca.CheckExplanation(w.Explanation); err != nil {
		return RenewalBatch{}, err
	}
	found, err := r.Store.Search(ctx, Query{Org: f.Org, After: f.After, Limit: renewalBatch}, r.Now())
	if err != nil {
		return RenewalBatch{}, err
	}
	batch := RenewalBatch{Looked: len(found.Enrollments)}
	if batch.Looked == renewalBatch {
		batch.Next = found.Enrollments[batch.Looked-1].ID
	}
	var chosen []*Enrollment
	for _, e := range found.Enrollments {
		if !f.selects(e, r.Now()) {
			continue
		}
		next, err := r.ReplacedBy(ctx, e)
		if err != nil {
			return batch, err
		}
		if next == 0 {
			chosen = append(chosen, e)
		}
	}
	if trial {
		batch.Changed = len(chosen)
		return batch, nil
	}
	batch.Changed, err = r.suggestAll(ctx, caller, chosen, w)
	return batch, err
}

func (f RenewalFilter) selects(e *Enrollment, now time.Time) bool {
	return e.Status(now) == StatusIssued && !e.Imported && (f.Profile == "" || e.Profile == f.Profile) && (f.Issuer == "" || e.Issuer == f.Issuer) &&
		(f.IssuedBefore.IsZero() || e.Issued.Before(f.IssuedBefore))
}

// suggestAll suggests several at a time, and counts. A certificate that was revoked or has expired at this moment needs
// nothing more.
func (r *Registrar) suggestAll(ctx context.Context, caller auth.Caller, chosen []*Enrollment, w RenewalWord) (changed int, first error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, renewalsAtOnce)
	for _, e := range chosen {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := r.suggest(ctx, caller, e, w)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				changed++
			case !problem.Is(err, problem.Conflict) && first == nil:
				first = err
			}
		})
	}
	wg.Wait()
	return changed, first
}

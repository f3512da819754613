package ra

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// namesAtOnce is how many names of one request are looked at at a time.
const namesAtOnce = 8

// checks are the requests that this process looks at now. The zero value takes none.
type checks struct {
	limit, share int

	mu      sync.Mutex
	running int
	of      map[auth.OrgID]int
}

func newChecks(limit int) *checks {
	return &checks{limit: limit, share: max(1, limit/4), of: make(map[auth.OrgID]int)}
}

// take takes a place, if there is one in all and of the organisation. done gives it back.
func (c *checks) take(org auth.OrgID) (done func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= c.limit || c.of[org] >= c.share {
		return nil, false
	}
	c.running++
	c.of[org]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
		if c.of[org]--; c.of[org] == 0 {
			delete(c.of, org)
		}
	}, true
}

// sight is what a look at one name came to.
type sight struct {
	challenge Challenge
	done      bool // nothing is to be looked at
	proof     *dcv.Proof
	record    *dcv.Record
	err       error
}

// check takes the lease of one look at a request, which next is with what was chosen for it and e is as it was read, looks, and
// records what was found. Durable on return.
func (r *Registrar) check(ctx context.Context, next, e *Enrollment) (*Enrollment, error) {
	now := r.Now().UTC()
	next.Checking = now.Add(lookLease).Truncate(time.Millisecond)
	next.Attempts, next.Due = e.Attempts+1, next.Checking
	if err := r.Store.MoveEnrollment(ctx, next, e, nil); problem.Is(err, problem.Conflict) {
		return nil, errOvertaken
	} else if err != nil {
		return nil, err
	}
	profile, missing, err := r.missing(ctx, next)
	if err != nil {
		return r.refuse(ctx, next, err)
	}
	seen := r.look(ctx, next, profile, missing)
	// What was found is recorded also if whoever asked has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), domainChange)
	defer cancel()
	return r.conclude(ctx, next, seen)
}

// missing are the names of a request that have no proof now. Any other refusal of policy is the error.
func (r *Registrar) missing(ctx context.Context, e *Enrollment) (*policy.Profile, []identifier.Identifier, error) {
	profile, csr, err := r.basis(e)
	if err != nil {
		return nil, nil, err
	}
	q := r.asked(e, csr)
	if q.Proofs, err = r.proofs(ctx, profile, q.Requester, q.Names, e.Proofs); err != nil {
		return nil, nil, err
	}
	missing, err := profile.Lacking(q)
	return profile, missing, err
}

// look looks at the names that have a method and no proof, those first that were not looked at for longest. What is not reached in
// time is looked at next time.
func (r *Registrar) look(ctx context.Context, e *Enrollment, profile *policy.Profile, missing []identifier.Identifier) []sight {
	var seen []sight
	for _, c := range e.Challenges {
		switch {
		case c.Method == "" || !slices.Contains(missing, c.Identifier):
		case profile.Public() && c.Method.FromCSR() && e.used(c):
			seen = append(seen, sight{challenge: c, err: errUsed, done: true})
		default:
			seen = append(seen, sight{challenge: c, err: errNotReached})
		}
	}
	slices.SortStableFunc(seen, func(a, b sight) int { return a.challenge.lastLook().Compare(b.challenge.lastLook()) })
	// Canceled, not timed out: dcv takes the end of a deadline for the name's own slowness.
	checking, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(lookTime, cancel).Stop()
	places := make(chan struct{}, namesAtOnce)
	var looks sync.WaitGroup
	for i := range seen {
		if seen[i].done {
			continue
		}
		select {
		case places <- struct{}{}:
		case <-checking.Done():
		}
		if checking.Err() != nil {
			break
		}
		looks.Go(func() {
			defer func() { <-places }()
			r.lookAt(checking, profile, &seen[i])
		})
	}
	looks.Wait()
	return seen
}

// used reports whether what a challenge wants published has made a proof before, which is over.
func (e *Enrollment) used(c Challenge) bool {
	return slices.ContainsFunc(e.Proofs, func(p policy.Proven) bool { return p.Method == c.Method && p.Identifier == c.Identifier.Base() })
}

// errUsed is for public trust: a Request Token without a time is used once (Baseline Requirements 1.6.1).
var errUsed = problem.New(problem.Unauthorized, "the proof of the name is over, and what follows from its CSR proves control once; choose a method with a random value")

var errNotReached = problem.New(problem.Unavailable, "the name was not reached in time")

func (c *Challenge) lastLook() time.Time {
	if c.Failed == nil {
		return time.Time{}
	}
	return c.Failed.At
}

// lookAt validates one name.
func (r *Registrar) lookAt(ctx context.Context, profile *policy.Profile, s *sight) {
	c := s.challenge
	req := dcv.Request{
		Method: c.Method, Identifier: c.Identifier.Base(), Publication: c.Publication, Private: profile.PrivateRanges(), DNSSEC: profile.DNSSEC(),
	}
	if profile.ChecksCAA() && c.Identifier.Type() == identifier.DNS {
		req.CAA = &dcv.CAAFor{Identifier: c.Identifier}
	}
	s.proof, s.record, s.err = r.Validation.Validator.Check(ctx, req)
	if s.err == nil && (s.proof == nil || s.proof.Method != c.Method || s.proof.Identifier != req.Identifier) {
		s.err = errors.New("the validator proved something else than it was asked to")
	}
}

// conclude records what a look found, on whatever else was changed of the request meanwhile, and sends it on if nothing is
// missing any more. What cannot be recorded is found again by another look, when the lease is over.
func (r *Registrar) conclude(ctx context.Context, looked *Enrollment, seen []sight) (*Enrollment, error) {
	e := looked
	for try := 1; ; try++ {
		next := *e
		next.Challenges, next.Proofs = slices.Clone(e.Challenges), slices.Clone(e.Proofs)
		for _, s := range seen {
			r.credit(&next, s)
		}
		profile, missing, err := r.missing(ctx, &next)
		if err != nil {
			return r.refuse(ctx, e, err)
		}
		now := r.Now().UTC()
		for i, p := range next.Proofs {
			next.Proofs[i].Until = profile.ProofUntil(p.At)
		}
		judge(next.Challenges, missing, next.Proofs, now)
		next.Checking = time.Time{}
		next.Due = now.Truncate(time.Millisecond)
		if len(missing) > 0 {
			next.Due = r.nextLook(&next, now)
		}
		err = r.Store.MoveEnrollment(ctx, &next, e, nil)
		switch {
		case err == nil && len(missing) > 0:
			return &next, nil
		case err == nil:
			return r.admit(ctx, &next)
		case !problem.Is(err, problem.Conflict) || try == moveTries:
			return nil, err
		}
		if e, err = r.Store.Enrollment(ctx, looked.ID); err != nil {
			return nil, err
		}
		if e.Phase != Validating || !e.Checking.Equal(looked.Checking) {
			return e, nil // it has ended, or another worker took it over
		}
	}
}

// credit adds what one look came to. What says nothing about the name leaves what was known of it.
func (r *Registrar) credit(e *Enrollment, s sight) {
	i := slices.IndexFunc(e.Challenges, func(c Challenge) bool {
		return c.Identifier == s.challenge.Identifier && c.Method == s.challenge.Method && c.Publication == s.challenge.Publication
	})
	if i < 0 {
		return
	}
	c := &e.Challenges[i]
	if s.err == nil {
		proven := policy.Proven{Proof: *s.proof, Org: int32(e.Org), Principal: e.Requester}
		if c.Method.FromCSR() {
			proven.CSR = e.CSRHash.SHA256
		}
		// The newest takes the place of an older one about the same, which may be over; a wildcard and its base name each keep theirs, because
		// CAA was asked for each.
		e.Proofs = slices.DeleteFunc(e.Proofs, func(p policy.Proven) bool {
			return p.Principal != "" && p.Identifier == proven.Identifier && p.Method == proven.Method && p.CAA.Identifier == proven.CAA.Identifier
		})
		e.Proofs = append(e.Proofs, proven)
		return
	}
	p := problem.From(s.err)
	switch p.Kind {
	case problem.Internal, problem.Unavailable, problem.RateLimited:
		r.Log.Warn("a name could not be looked at", "enrollment", e.ID, "name", c.Identifier.Value(), "error", s.err)
		return
	}
	c.Failed = &ChallengeFailure{Kind: p.Kind, Detail: p.Detail, At: r.Now().UTC().Truncate(time.Second)}
	if s.record != nil {
		c.Failed.Finding = s.record.Finding
		c.Failed.Record = s.record.Encoded(max(maxChallengeRecords/len(e.Challenges), 1<<10))
	}
}

// nextLook is when the gateway looks again by itself: more and more rarely, and once more when the request lapses.
func (r *Registrar) nextLook(e *Enrollment, now time.Time) time.Time {
	due := now.Add(min(firstLook<<min(cmp.Or(e.Attempts, 1), 10), lastLook)).Truncate(time.Millisecond)
	if due.After(e.ValidateBy) {
		return e.ValidateBy
	}
	return due
}

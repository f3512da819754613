package dcv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// CAA is a permission: the CAA records that govern a name were looked up and let this gateway issue for it (RFC 8659).
type CAA struct {
	// Identifier is the name as it is to be certified: a permission for *.example.com is none for example.com, and the reverse.
	Identifier identifier.Identifier
	At         time.Time // when the first of the questions was asked, UTC, to the second; zero: nothing was looked up
	Seen       string    // which records there are, or that there are none, for people
	Secure     bool      // as in [Proof]: every answer was authenticated by DNSSEC
}

// CAARequest asks for permissions.
type CAARequest struct {
	Names []CAAName
	// Accounts are all the URLs of the account that asks. A record with an accounturi lets nobody else pass, and nobody at
	// all if this is empty (RFC 8657, section 3).
	Accounts []string
	DNSSEC   DNSSEC // what is wanted of the DNS
}

// CAAName is one name of a [CAARequest].
type CAAName struct {
	Identifier identifier.Identifier
	// Methods are those that proved the name. A record with validationmethods must name one of them (RFC 8657, section 4).
	Methods []Method
}

// CAALookup is one CAA question to one DNS server.
type CAALookup struct {
	Lookup
	Records []string // as in a zone file, quoted
}

const (
	// caaAtOnce is how many names of one request are looked up at the same time.
	caaAtOnce = 8
	// caaAgain is when a lookup that failed is worth another request.
	caaAgain = 30 * time.Second
)

// CheckCAA looks up the CAA records of every name and reports the permissions, in the order of the names. It waits for a
// slot as long as ctx lets it; then Config.Timeout and ctx bound all of it. Answers are shared between the names of one
// call and kept no longer. An IP address has no CAA and passes.
//
// It is all or nothing. The error is a [*problem.Error] with a part for each name that is refused: CAA if the records of a
// name forbid it or could not be had, with RetryAfter if only the latter happened; Unavailable (no slot in time, or ctx
// was canceled).
func (v *Validator) CheckCAA(ctx context.Context, req CAARequest) ([]CAA, error) {
	switch {
	case len(req.Names) == 0:
		return nil, nil
	case len(v.cfg.CAAIdentities) == 0:
		return nil, problem.Wrap(errNoIdentity, problem.Internal, "")
	}
	if err := req.DNSSEC.check(); err != nil {
		return nil, err
	}
	release, err := v.slots.acquire(ctx, targetOf(req.Names[0].Identifier))
	if err != nil {
		return nil, problem.Wrap(err, problem.Unavailable, "no slot to look up CAA records became free in time").After(v.cfg.Timeout)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()

	lookups := newCAALookups(v.resolver, v.cfg.Now, req.DNSSEC)
	found, refused := make([]CAA, len(req.Names)), make([]*caaRefusal, len(req.Names))
	var wg sync.WaitGroup
	running := make(chan struct{}, caaAtOnce)
	for i, name := range req.Names {
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			found[i], refused[i] = v.caa(bounded, lookups, name, req.Accounts)
		})
	}
	wg.Wait()
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, problem.Wrap(ctx.Err(), problem.Unavailable, "looking up CAA records was interrupted").After(time.Second)
	}
	if err := refusedByCAA(req.Names, refused); err != nil {
		return nil, err
	}
	return found, nil
}

// refusedByCAA makes one error of the names' refusals, nil if there are none.
func refusedByCAA(names []CAAName, refused []*caaRefusal) error {
	var parts []problem.Part
	again := true
	for i, r := range refused {
		if r == nil {
			continue
		}
		again = again && r.again
		parts = append(parts, problem.Part{Identifier: names[i].Identifier, Kind: problem.CAA, Detail: r.text()})
	}
	var err *problem.Error
	switch len(parts) {
	case 0:
		return nil
	case 1:
		err = problem.New(problem.CAA, "%s", parts[0].Detail)
	default:
		err = problem.New(problem.CAA, "CAA does not permit %d of the %d names; each has its reason", len(parts), len(names))
	}
	if again {
		err = err.After(caaAgain)
	}
	return err.WithParts(parts)
}

var errNoIdentity = errors.New("dcv: CAA is asked for, and no CAA identity is configured")

// checkCAA is the CAA part of a validation: req's identifier must have a permission by the method that just proved it.
func (v *Validator) checkCAA(ctx context.Context, req Request, rec *Record) (CAA, *problem.Error) {
	switch {
	case len(v.cfg.CAAIdentities) == 0:
		return CAA{}, rec.failFor(errNoIdentity, problem.Internal, "", "the validation failed inside")
	case req.CAA.Identifier.Base() != req.Identifier.Base():
		return CAA{}, rec.fail(problem.Malformed, "", "the validation asks CAA about another name")
	}
	lookups := newCAALookups(v.resolver, v.cfg.Now, req.DNSSEC)
	name := CAAName{Identifier: req.CAA.Identifier, Methods: []Method{req.Method}}
	found, refused := v.caa(ctx, lookups, name, req.CAA.Accounts)
	rec.CAA = lookups.sent
	if refused == nil {
		return found, nil
	}
	err := rec.fail(problem.CAA, refused.advice, "%s", refused.detail)
	if refused.again {
		err = err.After(caaAgain)
	}
	return CAA{}, err
}

// caaRefusal is why a name has no permission.
type caaRefusal struct {
	detail, advice string // both may be read by a stranger
	again          bool   // the records could not be had, which may pass
}

func (r *caaRefusal) text() string { return r.detail + ". " + r.advice }

// caa looks up and judges one name.
func (v *Validator) caa(ctx context.Context, lookups *caaLookups, name CAAName, accounts []string) (CAA, *caaRefusal) {
	id := name.Identifier
	if id.Type() == identifier.IP {
		return CAA{Identifier: id, At: v.cfg.Now().UTC().Truncate(time.Second), Seen: "an IP address has no CAA records", Secure: true}, nil
	}
	set := lookups.climb(ctx, id.Base().Value())
	if set.refusal != nil {
		return CAA{}, set.refusal
	}
	j := caaJudge{identities: v.cfg.CAAIdentities, accounts: accounts, methods: name.Methods, wildcard: id.IsWildcard()}
	if refused := j.judge(id.Value(), set); refused != nil {
		return CAA{}, refused
	}
	return CAA{Identifier: id, At: set.at.UTC().Truncate(time.Second), Seen: set.seen(), Secure: set.secure}, nil
}

// checkIdentities refuses what could never be an issuer-domain-name (RFC 8659, 4.2).
func checkIdentities(names []string) error {
	for _, name := range names {
		if !isIssuerDomain(name) {
			return fmt.Errorf("dcv: the CAA identity %s is no domain name, as in ca.example.com", quote(name))
		}
	}
	return nil
}

// isIssuerDomain is the grammar's issuer-domain-name (RFC 8659, 4.2).
func isIssuerDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isCAALabel(label) {
			return false
		}
	}
	return true
}

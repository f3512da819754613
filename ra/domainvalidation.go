package ra

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// publicationLife is how long a random value may be used (Baseline Requirements 3.2.2.4.7 and .18).
	publicationLife = 30 * 24 * time.Hour
	// lookLease is when another worker may take a look over. It is longer than one can last.
	lookLease = 75 * time.Second
	lookTime  = 25 * time.Second // somebody may wait for it at the admin socket
	// firstLook is how long after the command the first look is taken by itself; the pauses then double up to lastLook.
	firstLook = time.Minute
	lastLook  = time.Hour
	// challengeLabel is where a TXT record is published.
	challengeLabel = "_gatehouse-challenge"
	// maxDomainRecord bounds a record that is kept, in bytes of JSON.
	maxDomainRecord = 16 << 10
)

// Validate begins a validation of a domain by a method, in place of one that is under way: the result says what is to be
// published. The gateway then looks for it by itself, more and more rarely, for thirty days. A proof that there is stays until
// there is a new one.
func (m *Domains) Validate(ctx context.Context, caller auth.Caller, domain string, method dcv.Method) (*Domain, error) {
	return m.edit(ctx, caller, domain, "validation by "+string(method)+" begun", func(d *Domain) error {
		if err := m.begin(d, method, ""); err != nil {
			return err
		}
		d.Validation.submit(m.second())
		return nil
	})
}

// begin begins a validation in place of one that is under way. It is not submitted yet.
func (m *Domains) begin(d *Domain, method dcv.Method, secondLine string) error {
	publication, err := newPublication(method, m.Target)
	if err != nil {
		return err
	}
	if secondLine != "" && (method == dcv.HTTPFile || method == dcv.HTTPSFile) {
		publication.Value += "\n" + secondLine
	}
	now := m.second()
	d.Email = nil
	d.Validation = &DomainValidation{Method: method, Publication: publication, Begun: now, Expires: now.Add(publicationLife)}
	return nil
}

// submit has the gateway look from now on.
func (v *DomainValidation) submit(now time.Time) { v.Submitted, v.Due = now, now.Add(firstLook) }

// newPublication makes what is to be published, with 128 random bits at least in its value. The targets of CNAME records are below a
// name of the gateway's own.
func newPublication(method dcv.Method, target string) (dcv.Publication, error) {
	switch method {
	case dcv.HTTPFile, dcv.HTTPSFile:
		return dcv.Publication{Place: randomHex() + ".txt", Value: randomHex() + randomHex()}, nil
	case dcv.DNSTXT:
		return dcv.Publication{Place: challengeLabel, Value: randomHex() + randomHex()}, nil
	case dcv.DNSCNAME:
		if target == "" {
			return dcv.Publication{}, problem.New(problem.Malformed, "method: the gateway has no DNS name that a CNAME record could lead to; use a TXT record, or give domains: {cname_target: NAME} in the configuration")
		}
		return dcv.Publication{Place: "_" + randomHex(), Value: randomHex() + "." + randomHex() + "." + target}, nil
	default:
		return dcv.Publication{}, problem.New(problem.Malformed, "method: %q is none by which domains are validated; give http, https, txt or cname", method)
	}
}

// randomHex is 128 random bits.
func randomHex() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return hex.EncodeToString(b[:])
}

// Check looks now whether what a validation wants is published. That it is not is no error: the result says what was seen.
func (m *Domains) Check(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	d, err := m.Get(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	if err := m.may(caller, auth.ManageDomains, d.Org, d.Name); err != nil {
		return nil, err
	}
	if d.Email != nil && d.Email.State(m.Now()) == EmailPending {
		return nil, problem.New(problem.Conflict, "the validation of %s by e-mail waits for somebody to answer; there is nothing to look for", d.Name.Value())
	}
	if d.Validation == nil || !m.Now().Before(d.Validation.Expires) {
		return nil, problem.New(problem.Conflict, "no validation of %s is under way; gatehouse domain validate begins one", d.Name.Value())
	}
	if d.Validation.Submitted.IsZero() { // whoever looks says that it is there
		d, err = m.edit(ctx, caller, domain, "validation by "+string(d.Validation.Method)+" submitted", func(d *Domain) error {
			if d.Validation == nil || !d.Validation.Submitted.IsZero() {
				return errUnchanged
			}
			d.Validation.submit(m.second())
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return m.look(ctx, d, caller.Principal)
}

// Sweep takes the looks that are due, at most 50 a turn, and tells the journal what it may lack. It is safe to run in several
// processes at once; one alone takes each look.
func (m *Domains) Sweep(ctx context.Context) error {
	due, err := m.Store.DueDomains(ctx, m.Now(), sweepBatch)
	errs := make([]error, len(due), len(due)+2)
	var looks sync.WaitGroup // side by side: a slow name must not let the turn's time run out for others
	for i, d := range due {
		looks.Go(func() {
			if _, err := m.look(ctx, d, "system"); err != nil && !problem.Is(err, problem.Conflict) {
				errs[i] = err
			}
		})
	}
	looks.Wait()
	return errors.Join(append(errs, err, m.Settle(ctx, false))...)
}

// look takes the lease of one look, and takes it. Conflict if another one has it.
func (m *Domains) look(ctx context.Context, d *Domain, actor string) (*Domain, error) {
	taken, now := d.clone(), m.Now().UTC()
	v := taken.Validation
	if v == nil || !d.Removed.IsZero() {
		return nil, problem.New(problem.Conflict, "the validation of %s is over", d.Name.Value())
	}
	if !now.Before(v.Expires) { // its value must not be used any more
		v.Due = time.Time{}
		return taken, m.Store.PutDomain(ctx, taken, d, time.Time{})
	}
	v.Attempts++
	v.Due = now.Add(lookLease)
	if err := m.Store.PutDomain(ctx, taken, d, time.Time{}); err != nil {
		return nil, err
	}
	// Canceled, not timed out: dcv takes the end of a deadline for the name's own slowness.
	checking, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(lookTime, cancel)
	proof, record, err := m.Validator.Check(checking, dcv.Request{Method: v.Method, Identifier: d.Name, Publication: v.Publication, DNSSEC: m.dnssec()})
	timer.Stop()
	cancel()
	if err == nil && (proof == nil || proof.Method != v.Method || proof.Identifier != d.Name) {
		err = errors.New("the validator proved something else than it was asked to")
	}
	if err != nil {
		return m.unproved(ctx, taken, record, err)
	}
	return m.proved(ctx, taken, proof, actor)
}

// same reports whether the validation that was looked at is still the one under way.
func (m *Domains) same(d, looked *Domain) bool {
	return d != nil && d.Removed.IsZero() && d.Org == looked.Org && d.Validation != nil && d.Validation.Publication == looked.Validation.Publication
}

// proved records a proof, unless the domain was removed or another validation begun meanwhile.
func (m *Domains) proved(ctx context.Context, looked *Domain, proof *dcv.Proof, actor string) (*Domain, error) {
	return m.change(ctx, looked.Name, actor, "validated by "+string(proof.Method), func(d *Domain) (*Domain, error) {
		if !m.same(d, looked) {
			return nil, problem.New(problem.Conflict, "the domain %s was changed while it was validated; validate it again", looked.Name.Value())
		}
		next := d.clone()
		p := *proof
		p.Until, p.CAA = time.Time{}, dcv.CAA{} // both are each order's own
		next.Proof, next.Validation = &p, nil
		return next, nil
	})
}

// unproved records what a look found instead, and when the next is due.
func (m *Domains) unproved(ctx context.Context, looked *Domain, record *dcv.Record, cause error) (*Domain, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), domainChange)
	defer cancel()
	p, now := problem.From(cause), m.Now().UTC()
	for range maxDomainTries {
		found, err := m.Store.Domains(ctx, []identifier.Identifier{looked.Name})
		if err != nil {
			return nil, err
		}
		d := found[0]
		if !m.same(d, looked) {
			return nil, problem.New(problem.Conflict, "the domain %s was changed while it was validated; look again", looked.Name.Value())
		}
		next := d.clone()
		next.Validation.Failed = &DomainFailure{Kind: p.Kind, Detail: p.Detail, At: now.Truncate(time.Second), Record: record.Encoded(maxDomainRecord)}
		next.Validation.Due = now.Add(min(firstLook<<min(next.Validation.Attempts, 10), lastLook))
		if err = m.Store.PutDomain(ctx, next, d, time.Time{}); !problem.Is(err, problem.Conflict) {
			return next, err
		}
	}
	return nil, problem.New(problem.Unavailable, "the domain %s is changed faster than it can be recorded; try again", looked.Name.Value())
}

// dnssec is what looks want of the DNS: what all profiles that take domains want, or if some want less, to know.
func (m *Domains) dnssec() dcv.DNSSEC {
	mode, first := dcv.DNSSECOff, true
	for _, p := range m.Profiles {
		if !p.DelegatedDomains() {
			continue
		}
		if want := p.DNSSEC(); first {
			mode, first = want, false
		} else if want != mode {
			mode = dcv.DNSSECOpportunistic
		}
	}
	return mode
}

// Status is where a domain stands at a moment, and until when its proof counts: under the profile that takes it longest of
// those that its owner may use.
func (m *Domains) Status(d *Domain) (DomainStatus, time.Time) {
	if d.Proof == nil {
		return DomainNotValidated, time.Time{}
	}
	now, until := m.Now(), d.Proof.At
	for name, p := range m.Profiles {
		if !m.usable(d.Org, name) {
			continue
		}
		if end := p.DomainProofUntil(d.Proof.Method, d.Proof.At, now); end.After(until) {
			until = end
		}
	}
	if now.Before(until) {
		return DomainValidated, until
	}
	return DomainExpired, until
}

func (m *Domains) usable(org auth.OrgID, profile string) bool {
	return m.Directory.Allowed(org, profile)
}

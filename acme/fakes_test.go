package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// testTime is when most tests happen.
var testTime = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests turn.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// registrar signs with a throw-away hierarchy and keeps the promises of ra.Registrar that this door relies on.
type registrar struct {
	store     *memStore
	hierarchy *testca.Hierarchy
	now       func() time.Time

	mu       sync.Mutex
	last     ra.ID
	issued   int
	requests []ra.Request
	gate     chan struct{} // if not nil, signing waits until it is closed
	refuse   error         // if not nil, the answer to every request
	waits    bool          // an enrollment waits for approval
	fail     *ra.Failure   // if not nil, what becomes of an enrollment instead of a certificate
}

func (r *registrar) Submit(ctx context.Context, caller auth.Caller, req ra.Request) (*ra.Enrollment, error) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	refuse, gate, fail := r.refuse, r.gate, r.fail
	r.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	csr, err := policy.ParseCSR(req.CSR)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(csr.Names, req.Names) {
		return nil, problem.New(problem.BadCSR, "the CSR's names are not the order's")
	}
	r.mu.Lock()
	r.last++
	e := &ra.Enrollment{
		ID: r.last, Org: caller.Org, Door: req.Door, Requester: caller.Principal, Profile: req.Profile,
		Names: req.Names, Phase: ra.Requested, CSR: req.CSR, Issuer: "test", Replaces: req.Replaces,
	}
	r.mu.Unlock()
	if err := r.store.begin(req.Begin(e.ID).(*OrderBegun), e); err != nil {
		return nil, err
	}
	if r.waits {
		e.Phase, e.Holder = ra.Waiting, req.Holder
		r.store.complete(e, nil)
		return e, nil
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return e, nil
		}
	}
	if fail != nil {
		e.Phase, e.Failure = ra.Failed, fail
		r.store.complete(e, nil)
		return e, nil
	}
	return r.sign(e, caller, csr)
}

func (r *registrar) Proceed(_ context.Context, e *ra.Enrollment) (*ra.Enrollment, error) {
	if r.refuse != nil {
		return nil, r.refuse
	}
	csr, err := policy.ParseCSR(e.CSR)
	if err != nil {
		return nil, err
	}
	next := *e
	return r.sign(&next, auth.Caller{Principal: e.Requester, Org: e.Org}, csr)
}

func (r *registrar) sign(e *ra.Enrollment, caller auth.Caller, csr *policy.CSR) (*ra.Enrollment, error) {
	var serial [17]byte
	rand.Read(serial[:])
	serial[0] = 1
	start := r.now().UTC().Truncate(time.Second)
	tmpl := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]), NotBefore: start, NotAfter: start.Add(24 * time.Hour)}
	for _, name := range e.Names {
		tmpl.DNSNames = append(tmpl.DNSNames, name.Value())
	}
	authority := r.hierarchy.Intermediate
	der, err := x509.CreateCertificate(rand.Reader, tmpl, authority.Certificate, csr.PublicKey, authority.Key)
	if err != nil {
		return nil, err
	}
	e.Phase, e.CSR, e.Serial = ra.Issued, nil, ca.Serial(hex.EncodeToString(serial[:]))
	e.NotBefore, e.NotAfter, e.Issued, e.Fingerprint = tmpl.NotBefore, tmpl.NotAfter, start, sha256.Sum256(der)
	r.store.complete(e, &ca.Certificate{
		Intent: ca.Intent{
			Issuer: e.Issuer, Serial: e.Serial, Enrollment: int64(e.ID), Profile: e.Profile,
			NotBefore: e.NotBefore, NotAfter: e.NotAfter,
			Requester: policy.Requester{Org: int32(caller.Org), Door: string(e.Door), Principal: caller.Principal},
		},
		State: ca.Issued, DER: der, Issued: start,
	})
	r.mu.Lock()
	r.issued++
	r.mu.Unlock()
	return e, nil
}

func (r *registrar) Revoke(_ context.Context, caller auth.Caller, rev ra.Revocation) error {
	return r.revoke(rev, func(c *ca.Certificate) error {
		if c.Requester.Org != int32(caller.Org) {
			return problem.New(problem.NotFound, "there is no such certificate")
		}
		if c.Requester.Principal != caller.Principal {
			return problem.New(problem.Unauthorized, "this certificate was issued to another account")
		}
		return nil
	})
}

func (r *registrar) RevokeByControl(ctx context.Context, caller auth.Caller, rev ra.Revocation, controls func(context.Context, *ca.Certificate) error) error {
	r.store.mu.Lock()
	c := copyOf(r.store.certificates[CertificateID{rev.Issuer, rev.Serial}])
	r.store.mu.Unlock()
	if c == nil || c.Requester.Org != int32(caller.Org) {
		return problem.New(problem.NotFound, "there is no such certificate")
	}
	if err := controls(ctx, c); err != nil {
		return err
	}
	return r.revoke(rev, func(*ca.Certificate) error { return nil })
}

func (r *registrar) RevokeByKey(_ context.Context, rev ra.Revocation, key crypto.PublicKey) error {
	return r.revoke(rev, func(c *ca.Certificate) error {
		leaf, err := x509.ParseCertificate(c.DER)
		if err != nil {
			return err
		}
		if !leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
			return problem.New(problem.Unauthorized, "another key")
		}
		return nil
	})
}

func (r *registrar) revoke(rev ra.Revocation, allowed func(*ca.Certificate) error) error {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	c := r.store.certificates[CertificateID{rev.Issuer, rev.Serial}]
	if c == nil {
		return problem.New(problem.NotFound, "there is no such certificate")
	}
	if err := allowed(c); err != nil {
		return err
	}
	if rev.Reason < 0 || rev.Reason > 5 {
		return problem.New(problem.BadRevocationReason, "the reason %d is not accepted", rev.Reason)
	}
	if c.Revocation != nil {
		return problem.New(problem.AlreadyRevoked, "the certificate is revoked already")
	}
	next := *c
	next.Revocation = &ca.Revocation{At: r.now(), Reason: rev.Reason}
	r.store.certificates[CertificateID{rev.Issuer, rev.Serial}] = &next
	return nil
}

func (r *registrar) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// validator says what tests tell it to.
type validator struct {
	now func() time.Time

	mu       sync.Mutex
	requests []dcv.Request
	errs     map[identifier.Identifier]error
	gate     chan struct{} // if not nil, validations wait until it is closed
	started  chan struct{} // if not nil, gets a value when a validation waits at the gate
}

func (v *validator) Check(ctx context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	v.mu.Lock()
	v.requests = append(v.requests, req)
	err, gate, started := v.errs[req.Identifier], v.gate, v.started
	v.mu.Unlock()
	record := &dcv.Record{Started: v.now()}
	if gate != nil {
		if started != nil {
			started <- struct{}{}
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, record, problem.Wrap(ctx.Err(), problem.Unavailable, "the validation was interrupted")
		}
	}
	if err != nil {
		return nil, record, err
	}
	return &dcv.Proof{Method: req.Method, Identifier: req.Identifier, At: v.now().UTC().Truncate(time.Second)}, record, nil
}

func (v *validator) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *validator) seen() []dcv.Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

// journal keeps events, or fails.
type journal struct {
	mu     sync.Mutex
	events []audit.Event
	err    error
	before func() // called once, first
}

func (j *journal) Append(_ context.Context, events ...audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if f := j.before; f != nil {
		j.before = nil
		j.mu.Unlock()
		f()
		j.mu.Lock()
	}
	if j.err != nil {
		return j.err
	}
	j.events = append(j.events, events...)
	return nil
}

func (j *journal) fails(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// meanwhile has something happen between a change's commit and its entry.
func (j *journal) meanwhile(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = f
}

func (j *journal) all() []audit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

func (j *journal) kinds() (kinds []audit.Kind) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// pemOf joins certificates as Config.Chain gives them.
func pemOf(chain []*x509.Certificate) []byte { return bytes.Clone(testca.CertificatePEM(chain...)) }

package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// DefaultStoreTimeout bounds one commit of the store together with the journal's entry, when Config does not say.
const DefaultStoreTimeout = 10 * time.Second

// expirySoon is how long before its end an issuer is warned about at the start.
const expirySoon = 30 * 24 * time.Hour

// Config is what an Authority needs. Issuers, Store and Journal are required.
type Config struct {
	Issuers []Issuer
	Store   Store
	Journal Journal
	// StoreTimeout bounds each step that writes to the store and the journal, once an issuance has begun to be recorded;
	// zero is DefaultStoreTimeout.
	StoreTimeout time.Duration
	// CAA is asked in step 2 (dcv.Validator), AccountURLs says which URLs a requester's account has, for accounturi (RFC 8657,
	// section 3); nil if it has none. Without CAA a profile that asks it issues nothing.
	CAA         CAA
	AccountURLs func(policy.Requester) []string
	// Ready is asked before anything is signed; its error, a *problem.Error, refuses. Nil: always ready.
	Ready func() error
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: discarded
	// Step, if set, is called after each numbered step of Issue with the step's number: a way to watch progress, and for
	// tests to stop a process between two steps. Steps 6 and 7, and 10 and 11, run at the same time, each calling from its
	// own goroutine, after its write is durable. Nil in production.
	Step func(step int)
}

// Authority is the signing gate. It is safe for concurrent use.
type Authority struct {
	issuers      map[string]*issuer
	names        []string // in the order they were configured
	linters      map[string]*linter
	store        Store
	journal      Journal
	storeTimeout time.Duration
	caa          CAA
	accountURLs  func(policy.Requester) []string
	ready        func() error
	now          func() time.Time
	log          *slog.Logger
	step         func(step int)
	unsettled    unsettled
}

// New checks every issuer and makes an Authority. It needs no end: it runs nothing in the background but calls of back
// ends that have not come back. Errors name the issuer and what to change.
func New(c Config) (*Authority, error) {
	if c.Store == nil || c.Journal == nil {
		return nil, errors.New("ca: a store and a journal are required")
	}
	if len(c.Issuers) == 0 {
		return nil, errors.New("ca: at least one issuer is required")
	}
	a := &Authority{
		issuers: make(map[string]*issuer, len(c.Issuers)), store: c.Store, journal: c.Journal,
		storeTimeout: c.StoreTimeout, caa: c.CAA, accountURLs: c.AccountURLs, ready: c.Ready, now: c.Now, log: c.Log, step: c.Step,
	}
	if a.ready == nil {
		a.ready = func() error { return nil }
	}
	if a.storeTimeout <= 0 {
		a.storeTimeout = DefaultStoreTimeout
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.step == nil {
		a.step = func(int) {}
	}
	var err error
	if a.linters, err = newLinters(); err != nil {
		return nil, err
	}
	for _, i := range c.Issuers {
		if err := a.addIssuer(i); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Authority) addIssuer(i Issuer) error {
	is, err := newIssuer(i, a.now(), a.log)
	if err != nil {
		return err
	}
	for _, other := range a.issuers {
		if other.Name == is.Name {
			return fmt.Errorf("ca: there are two issuers named %s", is.Name)
		}
		// Serials are unique for an issuer's distinguished name (RFC 5280, 4.1.2.2), and so are CRLs: two issuers that
		// relying parties cannot tell apart would answer for each other's certificates.
		if bytes.Equal(other.cert.RawSubject, is.cert.RawSubject) && bytes.Equal(other.cert.SubjectKeyId, is.cert.SubjectKeyId) {
			return fmt.Errorf("ca: the issuers %s and %s are the same certificate authority", other.Name, is.Name)
		}
	}
	if left := is.cert.NotAfter.Sub(a.now()); left < expirySoon {
		a.log.Warn("an issuer expires soon; certificates that would outlive it are refused",
			"issuer", is.Name, "notAfter", is.cert.NotAfter)
	}
	for n, chain := range is.Alternates {
		if end := firstEnd(chain); end.Sub(a.now()) < expirySoon {
			a.log.Warn("an alternate chain of an issuer expires soon", "issuer", is.Name, "alternate", n+1, "notAfter", end)
		}
	}
	a.issuers[is.Name] = is
	a.names = append(a.names, is.Name)
	return nil
}

// Issuers lists the issuers in the order they were configured, with their defaults filled in.
func (a *Authority) Issuers() []Issuer {
	list := make([]Issuer, 0, len(a.names))
	for _, name := range a.names {
		list = append(list, a.issuers[name].Issuer)
	}
	return list
}

// Issuer finds an issuer by name.
func (a *Authority) Issuer(name string) (Issuer, bool) {
	is, ok := a.issuers[name]
	if !ok {
		return Issuer{}, false
	}
	return is.Issuer, true
}

// Chain is the PEM that follows an issuer's certificates in a download (RFC 8555, 9.1): the issuer first, without the
// root unless the issuer is itself the root. NotFound if there is no such issuer. The caller owns the slice.
func (a *Authority) Chain(name string) ([]byte, error) {
	is, ok := a.issuers[name]
	if !ok {
		return nil, problem.New(problem.NotFound, "there is no issuer %s", name)
	}
	return bytes.Clone(is.chainPEMs[0]), nil
}

// Chains is every chain that an issuer's certificates can be downloaded with (RFC 8555, 7.4.2), each as in [Authority.Chain]:
// the default first, then the alternates in their configured order. Nil if there is no such issuer. The caller owns the slices.
func (a *Authority) Chains(name string) [][]byte {
	is, ok := a.issuers[name]
	if !ok {
		return nil
	}
	var chains [][]byte
	for _, c := range is.chainPEMs {
		chains = append(chains, bytes.Clone(c))
	}
	return chains
}

// append writes to the journal. An issuance or revocation whose entry is not durable does not happen, or is not answered.
func (a *Authority) append(ctx context.Context, e audit.Event) error {
	e.At = a.now().UTC()
	if err := a.journal.Append(ctx, e); err != nil {
		return problem.Wrap(fmt.Errorf("journal %s: %w", e.Kind, err), problem.Unavailable,
			"the audit journal cannot be written").After(comeBack)
	}
	return nil
}

// second is the gate's time in the form that records keep: UTC, whole seconds.
func (a *Authority) second() time.Time { return a.now().UTC().Truncate(time.Second) }

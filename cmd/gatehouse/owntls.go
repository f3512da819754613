package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// ownTLSEvery is how often the gateway looks after its own certificate. One look reads one record.
	ownTLSEvery = 15 * time.Second

	firstOwnRetry = 30 * time.Second
	maxOwnRetry   = 15 * time.Minute // a fraction of what is left after two thirds of even the shortest life
)

// ownTLS keeps the listener's certificate where the gateway issues it itself. It is an enrollment like any other: through
// the signing gate, in the inventory, the journal and, once revoked, on the CRL. Key and certificate are in one file of
// the data folder, so every gateway has its own and a restart issues none.
type ownTLS struct {
	*ownCertificate
	file string
	now  func() time.Time
	log  *slog.Logger

	current atomic.Pointer[tls.Certificate] // nil: there is none yet

	turn     sync.Mutex  // guards what follows; one look at a time
	pending  *pendingOwn // what was accepted and is not issued yet
	failures int
	retry    time.Time // no attempt before
}

// pendingOwn is an enrollment that the registration authority finishes later, and the key that it is for.
type pendingOwn struct {
	enrollment ra.ID
	key        *ecdsa.PrivateKey
}

// newOwnTLS takes the certificate that an earlier process left in the data folder, if there is one. It lives as long as
// the listener; each look is given the registration authority that is in service. now may be nil.
func newOwnTLS(s *settings, now func() time.Time) (*ownTLS, error) {
	if now == nil {
		now = time.Now
	}
	o := &ownTLS{ownCertificate: s.own, file: ownTLSFile(s.folder), now: now, log: s.log}
	if err := os.MkdirAll(filepath.Dir(o.file), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the listener's certificate: %w", err)
	}
	o.load()
	return o, nil
}

// first is the look before the listener serves. An issuer or a store that cannot serve now is no reason not to start,
// because CRLs and health are served without TLS: until a later look succeeds the doors refuse handshakes, and the gateway
// is not ready. A refusal, which no repetition helps, is returned.
func (o *ownTLS) first(ctx context.Context, registrar *ra.Registrar) error {
	err := o.look(ctx, registrar)
	switch {
	case err == nil:
	case o.healthy(ctx) == nil:
		o.log.Warn("the listener's certificate is due and was not renewed; the old one stays", "error", err)
	case refusedForGood(err):
		return err
	default:
		o.log.Error("the listener has no certificate and refuses connections until it has", "error", err)
	}
	return nil
}

// refusedForGood reports whether policy has refused, so that trying again cannot help.
func refusedForGood(err error) bool {
	switch problem.From(err).Kind {
	case problem.Internal, problem.Unavailable, problem.Conflict, problem.RateLimited:
		return false
	default:
		return true
	}
}

// config is the TLS of the listener.
func (o *ownTLS) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c := o.current.Load(); c != nil {
			return c, nil
		}
		return nil, errors.New("the gateway has no certificate for its listener yet")
	}}
}

// healthy is readiness: there is a certificate, and it has not expired.
func (o *ownTLS) healthy(context.Context) error {
	c := o.current.Load()
	switch {
	case c == nil:
		return errors.New("the listener has no certificate yet")
	case o.now().After(c.Leaf.NotAfter):
		return fmt.Errorf("the listener's certificate expired at %s", c.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// expiry is a metric: when the listener's certificate expires, in seconds since 1970; 0 if there is none.
func (o *ownTLS) expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_own_certificate_expiry_timestamp_seconds",
		Help: "When the certificate of the gateway's own listener expires.",
	}, func() float64 {
		if c := o.current.Load(); c != nil {
			return float64(c.Leaf.NotAfter.Unix())
		}
		return 0
	})
}

// look renews the certificate if there is a reason to, and no recent failure. What is served stays until there is
// another. The registrar's profiles must be those of settings.issuable.
func (o *ownTLS) look(ctx context.Context, registrar *ra.Registrar) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	now := o.now()
	if o.pending == nil && now.Before(o.retry) {
		return nil
	}
	why, err := o.due(ctx, registrar, now)
	if err != nil || why == "" {
		return err
	}
	issued, err := o.renew(ctx, registrar, now)
	if err != nil {
		delay := min(firstOwnRetry<<min(o.failures, 10), maxOwnRetry)
		o.failures++
		o.retry = now.Add(delay)
		return fmt.Errorf("issuing the listener's certificate, because %s (tried again after %s): %w", why, delay, err)
	}
	if issued {
		o.failures, o.retry = 0, time.Time{}
		leaf := o.current.Load().Leaf
		o.log.Info("the listener has a new certificate", "because", why, "serial", ca.SerialOf(leaf.SerialNumber),
			"names", o.texts(), "notAfter", leaf.NotAfter)
	}
	return nil
}

// due says why another certificate is needed, or "".
func (o *ownTLS) due(ctx context.Context, registrar *ra.Registrar, now time.Time) (why string, err error) {
	c := o.current.Load()
	if c == nil {
		return "there is none", nil
	}
	leaf := c.Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return "it is not valid now", nil
	}
	if !now.Before(renewAt(leaf)) {
		return "two thirds of its life are over", nil
	}
	record, err := registrar.Certificate(ctx, o.issuer.Name, ca.SerialOf(leaf.SerialNumber))
	switch {
	case problem.Is(err, problem.NotFound):
		return "the store does not know it", nil
	case err != nil:
		return "", fmt.Errorf("asking whether the listener's certificate was revoked: %w", err)
	case record.State != ca.Issued:
		return "its issuance was abandoned", nil
	case record.Revocation != nil:
		return "it was revoked", nil
	case record.ProfileHash != o.profile.Hash(): // names and validity are in it
		return "the configuration has changed", nil
	}
	return "", nil
}

// renewAt is two thirds into a certificate's life.
func renewAt(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2)
}

// renew has a certificate issued for a new key, or goes on with the one that was accepted earlier. Not issued without an
// error means that the registration authority still works on it.
func (o *ownTLS) renew(ctx context.Context, registrar *ra.Registrar, now time.Time) (issued bool, err error) {
	if o.pending == nil {
		key, e, err := o.submit(ctx, registrar, now)
		if err != nil {
			return false, err
		}
		o.pending = &pendingOwn{e.ID, key}
		if e.Phase == ra.Requested {
			o.log.Warn("the listener's certificate was accepted and is not issued yet", "enrollment", e.ID)
		}
	}
	e, err := registrar.Get(ctx, o.caller(), o.pending.enrollment)
	if problem.Is(err, problem.NotFound) { // the store went back behind it
		o.pending = nil
	}
	if err != nil {
		return false, err
	}
	switch e.Phase {
	case ra.Requested:
		return false, nil
	case ra.Issued:
		key := o.pending.key
		o.pending = nil
		return true, o.adopt(ctx, registrar, e, key)
	default:
		o.pending = nil
		detail := "it was revoked"
		if e.Failure != nil {
			detail = cmp.Or(e.Failure.Detail, e.Failure.Kind.String())
		}
		return false, fmt.Errorf("enrollment %d came to nothing: %s", e.ID, detail)
	}
}

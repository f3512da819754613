// Package publish serves what relying parties fetch over plain HTTP: certificate revocation lists and issuer certificates.
//
// It decides when a list is rebuilt, by which of many processes, which number it carries and whether it may replace the one
// before. It trusts the store for what was revoked since the list before and for who may build, and nothing else, the signer included: a list that loses an entry,
// weakens a reason, goes back in number or time, or does not parse, verify and say what was asked is refused, and the old
// one stays. It never signs (that is ca) and never reads certificates.
package publish

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// Revoked is one entry of a list: a revoked certificate, or a serial that was abandoned while it may have been signed.
type Revoked struct {
	Serial   ca.Serial
	At       time.Time
	Reason   ca.Reason // 0 for unspecified and for abandoned serials: no reason extension (RFC 5280, 5.3.1)
	NotAfter time.Time
}

// CRL is a list as it is kept: the newest one per issuer and shard.
type CRL struct {
	Issuer     string
	Shard      int
	Number     int64
	ThisUpdate time.Time
	NextUpdate time.Time
	DER        []byte
	Version    [16]byte // of the record as read
}

// Store is what publishing keeps. Safe for concurrent use; errors are *problem.Error.
type Store interface {
	// Revoked lists every revoked or abandoned serial of an issuer whose certificate expires at or after a time.
	Revoked(ctx context.Context, issuer string, notAfterFrom time.Time) ([]Revoked, error)
	// CRL reads the newest list; NotFound before the first one.
	CRL(ctx context.Context, issuer string, shard int) (*CRL, error)
	// SaveCRL puts a list in place of prev (nil: of none), durable on return. Conflict, and nothing happens, if another took
	// its place meanwhile, or if by has run out by the store's clock or is not the lease any more.
	SaveCRL(ctx context.Context, next CRL, prev *CRL, by Lease) error
	// DropExpired removes entries of by's issuer whose certificate expired before a time, at most limit; it returns how
	// many. Conflict as for SaveCRL.
	DropExpired(ctx context.Context, by Lease, before time.Time, limit int) (int, error)

	// Expiries tells when certificates end, by their serials; a serial of which nothing is on record is absent.
	Expiries(ctx context.Context, issuer string, serials []ca.Serial) (map[ca.Serial]time.Time, error)

	// CRLLease reads who may make the next list; a lease that has run out is free.
	CRLLease(ctx context.Context, issuer string, shard int) (Lease, error)
	// TakeCRLLease gives holder a lease for d, at least a second, counted by the store's clock, durable on return. Conflict
	// if the lease is no longer as it was read, or another's.
	TakeCRLLease(ctx context.Context, read Lease, holder string, d time.Duration) (Lease, error)
	// ReturnCRLLease ends a lease before its time; Conflict if it has ended already.
	ReturnCRLLease(ctx context.Context, lease Lease) error

	// WatchRevocations delivers an issuer's name after revocations, until ctx ends. Hints may be merged or lost.
	WatchRevocations(ctx context.Context) <-chan string
	// WatchCRLs delivers an issuer's name after a list was saved or its lease given back, by whatever process, until ctx
	// ends. Hints may be merged or lost.
	WatchCRLs(ctx context.Context) <-chan string
}

package storage

import (
	"context"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Loaded is an enrollment and its certificate as a finished issuance, and perhaps a revocation, leaves them.
type Loaded struct {
	Enrollment  *ra.Enrollment  // Issued or Revoked, with a number of ReserveEnrollments and no Version
	Certificate *ca.Certificate // Issued; Revocation is the enrollment's
}

// DeploymentOf reads whose store an engine holds without opening it: nothing is written. found is false if no gateway has
// ever opened it.
func DeploymentOf(ctx context.Context, e Engine) (deployment string, found bool, err error) {
	db := &DB{engine: e}
	m, err := db.readMarker(ctx)
	return m.Deployment, m.Schema > 0, err
}

// ReserveEnrollments takes n consecutive numbers, 1 to 10,000, and returns the first.
func (db *DB) ReserveEnrollments(ctx context.Context, n int) (ra.ID, error) {
	first, err := db.engine.NextID(ctx, seqEnrollment, n)
	if err != nil {
		return 0, unavailable(err)
	}
	if first+int64(n)-1 > int64(ra.MaxID) {
		return 0, problem.New(problem.Unavailable, "all enrollment numbers below 2^31 are used")
	}
	return ra.ID(first), nil
}

// Load records any number of finished enrollments in one commit, all or none: the same records, claims and list entries
// that RecordIntent, RecordCertificate and RecordRevocation leave one after the other. It is how a store is filled to be
// measured. It is no way around the signing gate: nothing journals what it records, so no gateway calls it. Conflict if one
// of the numbers, claims or serials is there already.
func (db *DB) Load(ctx context.Context, list []Loaded) error {
	b := &Batch{}
	issuers := map[string]bool{}
	for _, l := range list {
		if err := l.check(); err != nil {
			return err
		}
		c, e := l.Certificate, l.Enrollment
		b.Conditions = append(b.Conditions, Condition{Key: keyCertificate(c.Issuer, c.Serial), Want: Absent})
		if !issuers[c.Issuer] {
			issuers[c.Issuer] = true
			b.Adds = append(b.Adds, Entry{Index: indexIssuers, Member: []byte(c.Issuer)})
		}
		if c.Revocation != nil {
			b.Adds = append(b.Adds, revokedEntry(c))
		}
		if err := b.putCertificate(c); err != nil {
			return err
		}
		if err := b.putEnrollment(e, &ra.Enrollment{}); err != nil {
			return err
		}
	}
	return db.commit(untold(ctx), b)
}

// check refuses a pair that no issuance leaves.
func (l Loaded) check() error {
	c, e := l.Certificate, l.Enrollment
	want := ra.Issued
	if c.Revocation != nil {
		want = ra.Revoked
	}
	switch {
	case e.Phase != want || c.State != ca.Issued || (e.Revocation == nil) != (c.Revocation == nil):
		return fmt.Errorf("storage: enrollment %d is in phase %d and its certificate in state %d", e.ID, e.Phase, c.State)
	case int64(e.ID) != c.Enrollment || e.Issuer != c.Issuer || e.Serial != c.Serial:
		return fmt.Errorf("storage: certificate %s/%s is not that of enrollment %d", c.Issuer, c.Serial, e.ID)
	}
	return nil
}

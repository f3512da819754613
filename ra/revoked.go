package ra

import (
	"context"
	"crypto/sha256"
	"crypto/x509"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// IsRevoked reports whether a certificate is known here to be revoked: one that an issuer of ours has issued, or that was imported and
// marked. Of any other nothing is known, and the answer is no. Whoever asks must have a use for it that shows nobody the answer.
func (r *Registrar) IsRevoked(ctx context.Context, c *x509.Certificate) (bool, error) {
	found, err := r.Store.EnrollmentsBySerial(ctx, ca.SerialOf(c.SerialNumber))
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(c.Raw)
	for _, e := range found {
		if e.Fingerprint == sum && e.Revocation != nil {
			return true, nil
		}
	}
	return false, nil
}

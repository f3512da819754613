package ra

import (
	"context"
	"crypto/sha256"
	"crypto/x509"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
)

// IsRevoked reports whether a certificate is known here to be revoked: one that an issuer of ours has issued, for whomever, or that one of
// some organisations has imported and marked. Marks of others do not count: anybody who has seen a certificate can import it for his own
// organisation. Of any other nothing is known, and the answer is no. Whoever asks must have a use for it that shows nobody the answer.
func (r *Registrar) IsRevoked(ctx context.Context, c *x509.Certificate, orgs ...auth.OrgID) (bool, error) {
	serial := ca.SerialOf(c.SerialNumber)
	if _, err := ca.ParseSerial(string(serial)); err != nil { // nothing is recorded under it
		return false, nil
	}
	key := ImportKey{Serial: serial, Fingerprint: sha256.Sum256(c.Raw), TBSHash: sha256.Sum256(c.RawTBSCertificate)}
	keys := []ImportKey{key} // of no organisation, for what was issued here
	for _, key.Org = range orgs {
		keys = append(keys, key)
	}
	found, err := r.Store.Imports(ctx, keys)
	if err != nil {
		return false, err
	}
	for _, f := range found {
		for _, e := range []*Enrollment{f.Recorded, f.Imported} {
			if e != nil && e.Revocation != nil {
				return true, nil
			}
		}
	}
	return false, nil
}

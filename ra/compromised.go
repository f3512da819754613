package ra

import (
	"bytes"
	"context"
	"crypto/x509"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// What takes the place of a certificate is asked for while that is good. Until it is issued, which may take people, that one can be
// revoked. For most reasons that says nothing of the new one, and whoever decides sees it. A key that is known to others is
// another matter: no certificate for it is any good, and what waits to take the compromised one's place is not made for it. A request of its
// own with that key is refused where its profile blocks the key (policy.Config.BlockedKeys).

// checkReplaced refuses a request in the place of an enrollment whose certificate was revoked because its key is known to others,
// if it is for that very key: BadPublicKey.
func (r *Registrar) checkReplaced(ctx context.Context, replaces ID, csr []byte) error {
	if replaces == 0 {
		return nil
	}
	old, err := r.Store.Enrollment(ctx, replaces)
	switch {
	case problem.Is(err, problem.NotFound): // removed, and its certificate has been over for long
		return nil
	case err != nil:
		return err
	case old.Revocation == nil || old.Revocation.Reason != ca.KeyCompromise:
		return nil
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return problem.Wrap(err, problem.BadCSR, "the CSR cannot be read")
	}
	leaf, err := r.anyLeaf(ctx, old)
	if err != nil {
		return err
	}
	if bytes.Equal(leaf.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo) {
		return problem.New(problem.BadPublicKey, "the certificate of enrollment %d was revoked because its key is known to others, and this is for the same key; make a new request with another key", old.ID)
	}
	return nil
}

// anyLeaf reads an enrollment's certificate, also one that was imported.
func (r *Registrar) anyLeaf(ctx context.Context, e *Enrollment) (*x509.Certificate, error) {
	if !e.Imported {
		_, leaf, err := r.leaf(ctx, e)
		return leaf, err
	}
	der, _, err := r.ImportedCertificate(ctx, e)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "")
	}
	return leaf, nil
}

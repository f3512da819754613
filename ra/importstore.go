package ra

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// ImportKey is what the store finds an import by.
type ImportKey struct {
	Org         auth.OrgID
	Serial      ca.Serial
	Fingerprint [32]byte // SHA-256 of the certificate's DER
	// TBSHash is the SHA-256 of what is signed of it. One of our own is known by that: whoever has seen it can write a signature by
	// ECDSA in another way that holds as well.
	TBSHash [32]byte
}

// ImportFound is what there is of a certificate.
type ImportFound struct {
	Recorded *Enrollment // whichever organisation's, for which an issuer of ours has issued this very certificate, its signature aside
	Imported *Enrollment // the newest of the organisation itself
	Claim    [16]byte    // of the record that says so, as read; zero: there is none
}

// Import is an enrollment of a certificate from elsewhere as it is recorded.
type Import struct {
	Enrollment  *Enrollment
	Certificate []byte
	Issuers     [][]byte // the one that issued it first; may be empty
	Claim       [16]byte // [ImportFound].Claim
}

// ImportNote is an import that a journal may lack.
type ImportNote struct {
	ID ID
	At time.Time
}

// ImportStore is what is kept of imports, as [Store].
type ImportStore interface {
	// Imports reads what there is of certificates: a result for each key.
	Imports(ctx context.Context, keys []ImportKey) ([]ImportFound, error)
	// ImportUse counts what an organisation has that was imported, for some that are to be.
	ImportUse(ctx context.Context, org auth.OrgID, list []*Import) (ImportUse, error)
	// RecordImports records new enrollments with their certificates, at most importBatch, all of one organisation, and notes that a
	// journal may lack them, in one commit. Conflict if somebody else imports one of the certificates, or has one of the numbers; then
	// the next numbers are others. RateLimited if one of them is beyond the bounds by now, however many count at the same time. On
	// return each enrollment carries its version.
	RecordImports(ctx context.Context, list []*Import, noted time.Time, bounds ImportBounds) error
	// ImportedCertificate reads what an enrollment was imported with; NotFound if it was not.
	ImportedCertificate(ctx context.Context, id ID) (certificate []byte, issuers [][]byte, err error)
	// UnjournaledImports lists imports noted at or before a time, all with the zero time, the oldest first, at most limit.
	UnjournaledImports(ctx context.Context, before time.Time, limit int) ([]ImportNote, error)
	// ImportsJournaled removes notes.
	ImportsJournaled(ctx context.Context, notes []ImportNote) error
}

// ImportedCertificate gives the certificate of an imported enrollment, which the caller has read, and those that it came with:
// the one that issued it first, and each certified by the next. There may be none. NotFound for any other enrollment.
func (r *Registrar) ImportedCertificate(ctx context.Context, e *Enrollment) (certificate []byte, issuers [][]byte, err error) {
	if !e.Imported {
		return nil, nil, problem.New(problem.NotFound, "enrollment %d was not imported", e.ID)
	}
	certificate, issuers, err = r.Store.ImportedCertificate(ctx, e.ID)
	if sum := sha256.Sum256(certificate); err == nil && !bytes.Equal(sum[:], e.Fingerprint[:]) {
		return nil, nil, problem.New(problem.Internal, "the certificate of enrollment %d is not the one that was imported", e.ID)
	}
	return certificate, issuers, err
}

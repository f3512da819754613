package ra

import (
	"crypto/sha256"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// ImportBounds are how much one organisation may have that was imported. Zero is no bound. They keep whoever may import, which takes
// nothing but certificates of the client's own making, from filling store and journal.
type ImportBounds struct {
	// Certificates counts those that are in the inventory and those that were removed from it and are not forgotten yet.
	Certificates int
	// Issuers counts the different issuers' certificates that have come with them. They stay.
	Issuers int
}

// DefaultImportBounds are those of a gateway whose configuration names none.
func DefaultImportBounds() ImportBounds {
	return ImportBounds{Certificates: 100_000, Issuers: 1000}
}

// IsZero reports whether nothing is bounded.
func (b ImportBounds) IsZero() bool { return b == ImportBounds{} }

// ImportUse is what an organisation has that was imported.
type ImportUse struct {
	Certificates, Issuers int64
	// Known are the SHA-256 of those issuers' certificates, of the ones that were asked about, that it has already.
	Known map[[32]byte]bool
}

// Check says of each import, all of one organisation, in their order, whether it still fits: nil, or a RateLimited. One that does not fit
// takes no place from those behind it.
func (b ImportBounds) Check(use ImportUse, list []*Import) []error {
	errs := make([]error, len(list))
	certificates, issuers, known := use.Certificates, use.Issuers, map[[32]byte]bool{}
	for i, one := range list {
		var fresh [][32]byte
		for _, der := range one.Issuers {
			if hash := sha256.Sum256(der); !use.Known[hash] && !known[hash] {
				fresh = append(fresh, hash)
			}
		}
		switch {
		case b.Certificates > 0 && certificates >= int64(b.Certificates):
			errs[i] = problem.New(problem.RateLimited, "%d imported certificates of this organisation are kept, and no more than %d may be (imports.certificates); "+
				"remove some, which count for %d days more, or have the bound raised", certificates, b.Certificates, RemovedRetention/(24*time.Hour))
		case b.Issuers > 0 && len(fresh) > 0 && issuers+int64(len(fresh)) > int64(b.Issuers):
			errs[i] = problem.New(problem.RateLimited, "%d issuers' certificates have come with this organisation's imports, and no more than %d may (imports.issuers); "+
				"import the certificate without its issuers, or have the bound raised", issuers, b.Issuers)
		default:
			certificates++
			issuers += int64(len(fresh))
			for _, hash := range fresh {
				known[hash] = true
			}
		}
	}
	return errs
}

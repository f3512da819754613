package ra

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Condition is a filter that no index answers. It is held against each of the candidates that the other filters leave.
type Condition struct {
	// Holds reports whether an enrollment is as asked. cert is its certificate; nil where there is none yet, and of a condition
	// that does not look at it.
	Holds func(e *Enrollment, cert *x509.Certificate) bool
	// Certificate says that Holds looks at the certificate, which costs a read and parsing for each candidate.
	Certificate bool
}

// ErrTooManyOrgs is in the chain of the refusal of a query over more than MaxOrgs organisations.
var ErrTooManyOrgs = errors.New("ra: too many organisations")

// TooManyError is in the chain of the refusal of a query of which no filter leaves as few as MaxCandidates enrollments.
type TooManyError struct {
	Candidates int64 // that the narrowest filter leaves
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("ra: %d candidates are more than %d", e.Candidates, MaxCandidates)
}

// Called is what the certificate is called: its CN, or without one its first name; empty if it has neither.
func (e *Enrollment) Called() string {
	if e.CommonName == "" && len(e.Names) > 0 {
		return e.Names[0].Value()
	}
	return e.CommonName
}

// Looks reports whether one of the conditions looks at the certificate.
func (q *Query) Looks() bool {
	return slices.ContainsFunc(q.Where, func(c Condition) bool { return c.Certificate })
}

// Holds reports whether the conditions of Where hold. Those that look at the certificate are asked if looked is true, and the
// others if it is not, so that no certificate is read for nothing. der is the certificate; nil: there is none.
func (q *Query) Holds(e *Enrollment, looked bool, der []byte) (bool, error) {
	var cert *x509.Certificate
	if der != nil {
		var err error
		if cert, err = x509.ParseCertificate(der); err != nil {
			return false, problem.Wrap(fmt.Errorf("the certificate of enrollment %d: %w", e.ID, err), problem.Internal, "")
		}
	}
	return !slices.ContainsFunc(q.Where, func(c Condition) bool { return c.Certificate == looked && !c.Holds(e, cert) }), nil
}

// searchSerial lists those with a serial number, which are few, that are as a query asks.
func (r *Registrar) searchSerial(ctx context.Context, caller auth.Caller, q Query) (found Found, err error) {
	list, err := r.BySerial(ctx, caller, q.Serial)
	if problem.Is(err, problem.NotFound) {
		return Found{}, nil
	} else if err != nil {
		return Found{}, err
	}
	slices.SortFunc(list, func(a, b *Enrollment) int { return cmp.Compare(a.ID, b.ID) })
	if q.Newest {
		slices.Reverse(list)
	}
	for _, e := range list {
		if !e.Removed.IsZero() || !q.Matches(e, r.Now()) {
			continue
		}
		ok, err := q.Holds(e, false, nil)
		if err == nil && ok && q.Looks() {
			var der []byte
			if der, err = r.CertificateOf(ctx, e); err == nil {
				ok, err = q.Holds(e, true, der)
			}
		}
		if err != nil {
			return Found{}, err
		}
		if !ok {
			continue
		}
		if found.Total++; found.Total > int64(q.Offset) && len(found.Enrollments) < q.Limit {
			found.Enrollments = append(found.Enrollments, e)
		}
	}
	return found, nil
}

// CertificateOf gives the certificate of an enrollment that the caller has read, in DER, wherever it was issued; nil before there
// is one.
func (r *Registrar) CertificateOf(ctx context.Context, e *Enrollment) ([]byte, error) {
	switch {
	case e.Imported:
		der, _, err := r.ImportedCertificate(ctx, e)
		return der, err
	case e.Issued.IsZero():
		return nil, nil
	}
	c, err := r.Certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return nil, err
	}
	return c.DER, nil
}

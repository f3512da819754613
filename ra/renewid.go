package ra

import (
	"context"
	"crypto/rand"
	"math/big"
	"regexp"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// A renew id is a door's own name for an enrollment that whoever was told it can renew it by. It serves one renewal, because a
// certificate has one successor, and that has an id of its own. It is no credential: the caller is authenticated as well.

const (
	// renewScope is what renew ids are unique in.
	renewScope = "renewal"
	// renewIDLength is how many letters and digits a renew id has: 119 random bits, and as many as the SCM door's paths take.
	renewIDLength = 20
	alphanumeric  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

var renewIDForm = regexp.MustCompile(`^[A-Za-z0-9]{20}$`)

// keepsCSR reports whether enrollments of a door can be renewed by their number or renew id, without a new CSR. ACME clients
// make a key and an order for each renewal, and the gateway itself has its own way.
func (d Door) keepsCSR() bool { return d != DoorACME && d != DoorSystem }

// renewClaim makes a new renew id for an enrollment of a door.
func renewClaim(d Door) Claim {
	id := make([]byte, renewIDLength)
	for i := range id {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphanumeric))))
		if err != nil { // crypto/rand aborts the process instead
			panic(err)
		}
		id[i] = alphanumeric[n.Int64()]
	}
	return Claim{Door: d, Scope: renewScope, Name: string(id)}
}

// RenewID is the enrollment's renew id, empty if it has none.
func (e *Enrollment) RenewID() string {
	for _, c := range e.Claims {
		if c.Scope == renewScope && c.Door == e.Door {
			return c.Name
		}
	}
	return ""
}

// byRenewID finds the enrollment of a door with a renew id.
func (r *Registrar) byRenewID(ctx context.Context, d Door, id string) (*Enrollment, error) {
	absent := problem.New(problem.NotFound, "no enrollment has this renew id")
	if !renewIDForm.MatchString(id) {
		return nil, absent
	}
	e, err := r.Store.ClaimedEnrollment(ctx, Claim{Door: d, Scope: renewScope, Name: id})
	if problem.Is(err, problem.NotFound) {
		return nil, absent
	}
	return e, err
}

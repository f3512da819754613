package ra

import (
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// DomainValidity selects domains by their proof and their validation, as they are for the caller. What is set must all hold.
type DomainValidity struct {
	Status DomainStatus    // empty: any
	Stage  ValidationStage // empty: any
	// ExpiresBefore selects those whose proof counts no longer than that, or no more; zero: also those without one.
	ExpiresBefore time.Time
}

// valid reports whether a domain is as asked for.
func (m *Domains) valid(caller auth.Caller, d *Domain, q DomainValidity) bool {
	if q == (DomainValidity{}) {
		return true
	}
	status, until := m.Status(d)
	return (q.Status == "" || q.Status == status) &&
		(q.Stage == "" || q.Stage == m.seenBy(caller, d).Stage(m.Now())) &&
		(q.ExpiresBefore.IsZero() || d.Proof != nil && until.Before(q.ExpiresBefore))
}

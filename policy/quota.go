package policy

import (
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxQuota is the largest number that a quota can have.
const MaxQuota = 1_000_000

// Quota bounds how many certificates one organisation may hold under a profile at one time. A certificate is held from the
// moment its issuance is begun until it has expired or is revoked. Zero bounds nothing.
type Quota struct {
	Certificates int // of the organisation
	PerName      int // of those, with any one name
}

// IsZero reports whether nothing is bounded.
func (q Quota) IsZero() bool { return q == Quota{} }

// QuotaUse is what an organisation holds under a profile.
type QuotaUse struct {
	Certificates int64
	Names        []NameUse // of the names that are asked for; empty if Quota.PerName bounds nothing
}

// NameUse is how many of the held certificates have a name.
type NameUse struct {
	Name         identifier.Identifier
	Certificates int64
}

// Check refuses one more certificate with a RateLimited, which names the numbers, if it would be one too many.
func (q Quota) Check(profile string, use QuotaUse) error {
	if q.Certificates > 0 && use.Certificates >= int64(q.Certificates) {
		return problem.New(problem.RateLimited, "the organisation holds %d certificates of the profile %q that are neither expired nor revoked, and its quota is %d; revoke one that is not needed or let one expire",
			use.Certificates, profile, q.Certificates)
	}
	if q.PerName == 0 {
		return nil
	}
	var parts []problem.Part
	for _, n := range use.Names {
		if n.Certificates >= int64(q.PerName) {
			parts = append(parts, problem.Part{Identifier: n.Name, Kind: problem.RateLimited, Detail: fmt.Sprintf(
				"the organisation holds %d certificates of the profile %q for %s that are neither expired nor revoked, and the quota for one name is %d; revoke one that is not needed or let one expire",
				n.Certificates, profile, n.Name.Value(), q.PerName)})
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(problem.RateLimited, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(problem.RateLimited, "%d of the names have as many certificates of the profile %q as one may have (%d); each has its number",
			len(parts), profile, q.PerName).WithParts(parts)
	}
}

// Explain is the quota as a [Check] of one more certificate.
func (q Quota) Explain(profile string, use QuotaUse) Check {
	c := Check{Rule: "quota", Outcome: Pass, Found: fmt.Sprintf("%d certificates are held", use.Certificates), Wanted: "any number"}
	var held []string
	for _, n := range use.Names {
		held = append(held, fmt.Sprintf("%d for %s", n.Certificates, n.Name.Value()))
	}
	if len(held) > 0 {
		c.Found += ", of them " + strings.Join(held, ", ")
	}
	if !q.IsZero() {
		c.Wanted = "fewer than " + q.String()
	}
	if err := q.Check(profile, use); err != nil {
		refusal := problem.From(err)
		c.Outcome, c.Detail, c.Parts = Fail, refusal.Detail, refusal.Parts
	}
	return c
}

// String is the quota for people.
func (q Quota) String() string {
	switch {
	case q.IsZero():
		return "none"
	case q.PerName == 0:
		return fmt.Sprintf("%d certificates of an organisation", q.Certificates)
	case q.Certificates == 0:
		return fmt.Sprintf("%d certificates of an organisation for one name", q.PerName)
	}
	return fmt.Sprintf("%d certificates of an organisation, of them %d for one name", q.Certificates, q.PerName)
}

// Quota bounds how many certificates one organisation may hold under the profile. It is no part of the profile's hash: it
// bounds how many are issued and not what is, and may be changed while orders are open.
func (p *Profile) Quota() Quota { return p.quota }

// Number is the profile's number for those who know it by one; zero: it has none.
func (p *Profile) Number() int32 { return p.number }

// setNumbers reads the profile's number and its quota.
func (p *Profile) setNumbers(c *checker, cfg Config) {
	p.number, p.quota = cfg.Number, cfg.Quota
	if cfg.Number < 0 {
		c.refuse("number", "%d is not from 1 to 2147483647; leave it out if nobody knows the profile by a number", cfg.Number)
	}
	inside := func(field string, n int) {
		if n < 0 || n > MaxQuota {
			c.refuse(field, "%d is not from 1 to %d; leave it out to bound nothing", n, MaxQuota)
		}
	}
	inside("quota.certificates", cfg.Quota.Certificates)
	inside("quota.per_name", cfg.Quota.PerName)
	if q := cfg.Quota; q.Certificates > 0 && q.PerName > q.Certificates {
		c.refuse("quota.per_name", "%d for one name is more than the %d that quota.certificates allows for all; lower it or leave it out", q.PerName, q.Certificates)
	}
}

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// ApproverRole is the role that an approver holds in the requester's organisation, or in one above it.
type ApproverRole string

// The roles.
const (
	ByApprover      ApproverRole = "approver"
	ByAdministrator ApproverRole = "administrator"
)

// RenewalRule says whether a certificate of the same content as one that was approved, and is still good, must be approved.
type RenewalRule string

// The rules.
const (
	RenewFreely     RenewalRule = "free"    // while an approved certificate of the same content is valid and not revoked, none
	ApproveRenewals RenewalRule = "approve" // each certificate has approvals of its own
)

// The bounds of a profile's approvals.
const (
	MaxApprovals            = 5
	DefaultApprovalLifetime = 7 * day
	MaxApprovalLifetime     = 30 * day
)

// ApprovalRule is what a profile demands of other people than the requester. The zero value demands nothing.
type ApprovalRule struct {
	Required int          // how many people must approve, at most [MaxApprovals]; zero: none, and then nothing else may be set
	Role     ApproverRole // default ByApprover
	// Lifetime is how long after it was given an approval counts, and how long a request waits for enough of them. Whole
	// seconds, at most 30 days; default 7 days.
	Lifetime time.Duration
	// BindKey makes approvals hold for the CSR's key alone, also of requests that came by ACME. ACME clients make a new key
	// with each try, so for most of them this asks for an approval of each.
	BindKey  bool
	Renewals RenewalRule // default RenewFreely
}

// Approval is one person's consent to the issuance of one certificate.
type Approval struct {
	Content  string    // what was approved: a digest made by [Profile.Content]
	Approver string    // principal
	At       time.Time // UTC
	Message  string    // for people; decides nothing
}

// ErrNotApproved is in the chain of the refusal of a request that lacks nothing but approvals.
var ErrNotApproved = errors.New("policy: the request is not approved")

// Approvals is the profile's rule, with its defaults filled in; Required is zero if it has none.
func (p *Profile) Approvals() ApprovalRule { return p.approvals }

// Content is the digest, in hex, of what an approval of a request binds: organisation, requester and door, names, the
// profile by its hash, the requested validity and term (the profile's own are in its hash), the subject as the certificate will have it,
// and the key where the request did not come by ACME or the profile binds it. The error is BadCSR.
func (p *Profile) Content(r Request) (string, error) {
	if r.CSR == nil {
		return "", problem.New(problem.BadCSR, "the request has no CSR")
	}
	subject, err := p.resolveSubject(r.CSR)
	if err != nil {
		return "", err
	}
	ids := identifier.SortUnique(r.Names)
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	var key []byte
	if p.approvals.BindKey || accountOf(r.Requester) == "" {
		key = r.CSR.SPKIHash[:]
	}
	encoded, err := json.Marshal(struct {
		Org                 int32
		Door, Principal     string
		Names               []string
		Profile             string
		CommonName          string
		Subject             Subject
		NotBefore, NotAfter int64
		Key                 []byte `json:",omitempty"`
		Term                int64  `json:",omitempty"`
	}{
		r.Requester.Org, r.Requester.Door, r.Requester.Principal, names, p.hash, p.pickCommonName(ids, r.CSR.CommonName), subject,
		unixOrZero(r.Requested.NotBefore), unixOrZero(r.Requested.NotAfter), key, int64(r.Term.Seconds()),
	})
	if err != nil { // cannot happen: strings and numbers only
		return "", err
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Counting are the approvals among some that count for a content and requester at a time: each of another person than the
// requester, each person once, none older than the profile's lifetime.
func (p *Profile) Counting(list []Approval, content, requester string, now time.Time) []Approval {
	var out []Approval
	for _, a := range list {
		switch {
		case content == "" || a.Content != content:
		case a.Approver == "" || a.Approver == requester:
		case a.At.IsZero() || a.At.After(now.Add(maxSkew)) || !now.Before(a.At.Add(p.approvals.Lifetime)):
		case slices.ContainsFunc(out, func(b Approval) bool { return b.Approver == a.Approver }):
		default:
			out = append(out, a)
		}
	}
	return out
}

// decideApprovals is the last word of [Profile.Decide]. The decision has what was relied on, for the certificate's record.
func (p *Profile) decideApprovals(r Request, d *Decision) error {
	if p.approvals.Required == 0 {
		return nil
	}
	content, err := p.Content(r)
	if err != nil {
		return err
	}
	if r.Renews == content && p.approvals.Renewals == RenewFreely {
		d.Content = content
		return nil
	}
	counting := p.Counting(r.Approvals, content, r.Requester.Principal, r.Now)
	if len(counting) < p.approvals.Required {
		return problem.Wrap(ErrNotApproved, problem.Unauthorized,
			"the profile %q needs the consent of %d other people with the role %s, and %d have given theirs; ask for it", p.name,
			p.approvals.Required, p.approvals.Role, len(counting))
	}
	d.Content = content
	for _, a := range counting {
		d.Approvers = append(d.Approvers, a.Approver)
	}
	return nil
}

func foundApprovals(p *Profile, r Request, _ *Decision) string {
	content, err := p.Content(r)
	if err != nil {
		return "no content that could be approved"
	}
	if r.Renews == content {
		return "a renewal of what was approved"
	}
	return fmt.Sprintf("%d approvals that count", len(p.Counting(r.Approvals, content, r.Requester.Principal, r.Now)))
}

func wantedApprovals(p *Profile, _ Request) string {
	a := p.approvals
	if a.Required == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d of other people than the requester with the role %s, each at most %v old", a.Required, a.Role, a.Lifetime)
	if a.Renewals == RenewFreely {
		text += "; none to renew what was approved"
	}
	return text
}

// setApprovals reads the rule.
func (p *Profile) setApprovals(c *checker, cfg Config) {
	a := cfg.Approvals
	if a.Required == 0 {
		if a != (ApprovalRule{}) {
			c.refuse("approvals", "required is missing; say how many people must approve, 1 to %d, or leave approvals out", MaxApprovals)
		}
		return
	}
	if a.Role == "" {
		a.Role = ByApprover
	}
	if a.Renewals == "" {
		a.Renewals = RenewFreely
	}
	if a.Lifetime == 0 {
		a.Lifetime = DefaultApprovalLifetime
	}
	switch {
	case cfg.Own:
		c.refuse("approvals", "nobody approves the gateway's own certificate; leave it out")
	case a.Required < 0 || a.Required > MaxApprovals:
		c.refuse("approvals", "required is %d; give 1 to %d", a.Required, MaxApprovals)
	case a.Role != ByApprover && a.Role != ByAdministrator:
		c.refuse("approvals", `role %q is none of "approver" and "administrator"`, a.Role)
	case a.Renewals != RenewFreely && a.Renewals != ApproveRenewals:
		c.refuse("approvals", `renewals %q is none of "free" and "approve"`, a.Renewals)
	case a.Lifetime < time.Minute || a.Lifetime > MaxApprovalLifetime || a.Lifetime%time.Second != 0:
		c.refuse("approvals", "lifetime %v is not a number of whole seconds from a minute to 30 days; write, for example, 7d", a.Lifetime)
	}
	p.approvals = a
}

// approvalsHashed is the rule for the profile's hash: nothing if there is none.
func (p *Profile) approvalsHashed() *ApprovalRule {
	if p.approvals.Required == 0 {
		return nil
	}
	rule := p.approvals
	return &rule
}

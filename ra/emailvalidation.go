package ra

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// A validation by e-mail sends a code of 128 random bits to each of the chosen addresses, inside a link to a page. Whoever reads
// the mail presses a button there, which sends the code back. Reading the page changes nothing: mail scanners do that. Of a
// code only the SHA-256 is kept; the mail that waits to be sent has it sealed.

const (
	// DefaultEmailLifetime is how long codes are good: over a weekend.
	DefaultEmailLifetime = 72 * time.Hour
	// MaxEmailLifetime is the most (Baseline Requirements 3.2.2.4.4: thirty days from the creation of the value).
	MaxEmailLifetime = 30 * 24 * time.Hour
	// MaxEmailAddresses is to how many addresses one validation can go.
	MaxEmailAddresses = 10
	// MaxEmailSends is how often one validation sends to one address.
	MaxEmailSends = 5
	// MaxWrongCodes ends a validation. No code of 128 bits is guessed in that many tries, or is mistyped so often.
	MaxWrongCodes = 20
)

// The rates that hold beside the counts of a validation.

// triesFrom bounds how often an address on the network tries codes, of whatever validation.
func triesFrom(from netip.Addr) auth.AttemptRate {
	return auth.AttemptRate{Rate: auth.Rate{Burst: 50, Interval: 5 * time.Second}, Name: "email-from", Of: auth.NetworkOf(from)}
}

// triesAt bounds how often codes of one validation are tried, from wherever.
func triesAt(v *EmailValidation) auth.AttemptRate {
	return auth.AttemptRate{Rate: auth.Rate{Burst: 10, Interval: 30 * time.Second}, Name: "email-at", Of: v.Links[0].ID}
}

// sendsTo bounds how often a stranger's mailbox is written to, whoever asks, also by one new validation after the other. What is behind a
// plus sign leads to the same mailbox at most hosts.
func sendsTo(address string) auth.AttemptRate {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	local, _, _ = strings.Cut(local, "+")
	sum := sha256.Sum256([]byte(local + "@" + domain))
	return auth.AttemptRate{Rate: auth.Rate{Burst: 10, Interval: 30 * time.Minute}, Name: "email-to", Of: hex.EncodeToString(sum[:])}
}

// sendsBy bounds how many mails a customer sends, to whatever addresses: it publishes those itself.
func sendsBy(customer auth.OrgID) auth.AttemptRate {
	return auth.AttemptRate{Rate: auth.Rate{Burst: 200, Interval: 2 * time.Minute}, Name: "email-by", Of: strconv.Itoa(int(customer))}
}

// EmailConfig is what validations by e-mail need. All but Lifetime are required.
type EmailConfig struct {
	Finder EmailFinder
	Sealer *seal.Sealer
	Tries  EmailTries
	// Page is the URL of the page below which the validations are, with a slash at its end: https://ca.example.com/dcv/email/.
	Page string
	// Lifetime is how long a validation waits for an answer, at most MaxEmailLifetime. Zero: DefaultEmailLifetime.
	Lifetime time.Duration
}

// EmailFinder finds the addresses at which control of a name is confirmed (dcv.Validator).
type EmailFinder interface {
	EmailContacts(ctx context.Context, name identifier.Identifier, mode dcv.DNSSEC) (*dcv.EmailContacts, error)
	MailRoute(ctx context.Context, address string, mode dcv.DNSSEC) (secure bool, err error)
}

// EmailTries counts tries (auth.Store).
type EmailTries interface {
	// Attempt takes one unit from every rate, or from none and says how long to wait until that would succeed.
	Attempt(ctx context.Context, rates ...auth.AttemptRate) (wait time.Duration, err error)
}

// EmailValidation is a validation of a domain by e-mail, from the command on; the newest is kept also after its end.
type EmailValidation struct {
	Begun   time.Time
	Expires time.Time
	Links   []EmailLink // one for each address, in the order in which they were chosen
	Wrong   int         // codes that did not fit, of all links together
	// Outcome is what a person answered, at Ended, by the link to Address and from the IP address From. EmailPending: nobody did.
	Outcome EmailOutcome
	Ended   time.Time
	Address string
	From    string
}

// EmailLink is what one address was sent.
type EmailLink struct {
	ID      string   // 128 random bits, base64url: part of the page's URL, and no secret
	Code    [32]byte // SHA-256 of the newest code, which alone is good
	Address string
	Method  dcv.Method // what a confirmation proves
	Source  string     // as in dcv.EmailContact
	Secure  bool       // as in dcv.Proof
	Sent    time.Time  // when it was sent, or queued, last
	Sends   int
}

// EmailOutcome is what became of a validation by e-mail. Only EmailConfirmed proves anything.
type EmailOutcome string

// The outcomes. Only the first three are kept; the others follow from the time and the count of wrong codes.
const (
	EmailPending   EmailOutcome = "pending"
	EmailConfirmed EmailOutcome = "confirmed"
	EmailRejected  EmailOutcome = "rejected" // somebody at the address did not want it
	EmailExpired   EmailOutcome = "expired"
	EmailLocked    EmailOutcome = "locked" // after too many wrong codes
)

// State is what became of it at a time.
func (v *EmailValidation) State(now time.Time) EmailOutcome {
	switch {
	case v.Outcome != EmailPending:
		return v.Outcome
	case v.Wrong >= MaxWrongCodes:
		return EmailLocked
	case !now.Before(v.Expires):
		return EmailExpired
	default:
		return EmailPending
	}
}

// link finds one by its ID, or nil.
func (v *EmailValidation) link(id string) *EmailLink {
	if v == nil {
		return nil
	}
	if i := slices.IndexFunc(v.Links, func(l EmailLink) bool { return l.ID == id }); i >= 0 {
		return &v.Links[i]
	}
	return nil
}

// EmailLinks are the IDs by which the domain's validation by e-mail is found.
func (d *Domain) EmailLinks() []string {
	if d.Email == nil || !d.Removed.IsZero() {
		return nil
	}
	ids := make([]string, len(d.Email.Links))
	for i, l := range d.Email.Links {
		ids[i] = l.ID
	}
	return ids
}

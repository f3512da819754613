package acme

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// Limit names a rate limit (RFC 8555, 6.6), by its words in the configuration: in metrics and in what a client is told.
type Limit string

// The limits. docs/limits.md says what each counts.
const (
	LimitAddressRequests    Limit = "per_address.requests"
	LimitAddressNewAccounts Limit = "per_address.new_accounts"
	LimitAddressRenewalInfo Limit = "per_address.renewal_info"
	LimitAccountRequests    Limit = "per_account.requests"
	LimitAccountNewOrders   Limit = "per_account.new_orders"
	LimitFailedValidations  Limit = "per_account.failed_validations"
	LimitOrgNewOrders       Limit = "per_organisation.new_orders"
	LimitDomainNewOrders    Limit = "per_domain.new_orders"
)

// Rate is how much a limit grants: Count in each Per on average, and Burst at once after a rest. The zero Rate grants
// everything.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int // at least 1
}

// What a Rate can be. The bounds are those within which every store computes exactly.
const (
	leastInterval = time.Microsecond
	mostPer       = 366 * 24 * time.Hour
	mostRefill    = 10 * mostPer // an empty burst is full again in this time
)

func (r Rate) off() bool { return r == Rate{} }

// interval is the time in which one unit comes back.
func (r Rate) interval() time.Duration { return r.Per / time.Duration(r.Count) }

// Check says what is wrong with a Rate.
func (r Rate) Check() error {
	switch {
	case r.off():
		return nil
	case r.Count < 1 || r.Per <= 0 || r.Burst < 1:
		return errors.New("number, time and burst of a limit are at least 1")
	case r.Per > mostPer:
		return fmt.Errorf("a limit counts in at most %d days", mostPer/(24*time.Hour))
	case r.interval() < leastInterval:
		return errors.New("a limit grants at most a million in a second")
	case int64(r.Burst) > int64(mostRefill/r.interval()):
		return errors.New("this burst would take more than ten years to come back; make it smaller")
	}
	return nil
}

// String is the Rate as the configuration has it: "300/1h burst 1000", or "off".
func (r Rate) String() string {
	if r.off() {
		return "off"
	}
	if r.Burst == r.Count {
		return fmt.Sprintf("%d/%s", r.Count, plain(r.Per))
	}
	return fmt.Sprintf("%d/%s burst %d", r.Count, plain(r.Per), r.Burst)
}

// plain is a duration in its largest whole unit.
func plain(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// Limits are the rate limits of a deployment. The zero value limits nothing.
type Limits struct {
	// Help is the URL of a page for people about the limits, linked to by every refusal (RFC 8555, 6.6). May be empty.
	Help string
	// Except are addresses that no limit per address holds for: of a balancer behind which all clients look alike.
	Except []netip.Prefix
	// Of an address: for IPv4 itself, for IPv6 its /48, which is what one subscriber may have.
	AddressRequests    Rate // signed requests
	AddressNewAccounts Rate
	AddressRenewalInfo Rate // unsigned reads of renewal information (RFC 9773, 4.1)
	// Default holds for organisations that Organisations, by slug, does not name.
	Default       OrgLimits
	Organisations map[string]OrgLimits
}

// OrgLimits are those that can differ between organisations.
type OrgLimits struct {
	AccountRequests   Rate // signed requests of one account; the burst is at least 2
	AccountNewOrders  Rate // orders, and authorizations ahead of them, of one account
	FailedValidations Rate // of one account for one name
	NewOrders         Rate // orders, and authorizations ahead of them, of the organisation
	DomainNewOrders   Rate // orders of the organisation that have a name under one registered domain
}

// DefaultLimits are generous: they stop what has gone wrong and what is meant to do harm, not many clients that do
// their work.
func DefaultLimits() Limits {
	return Limits{
		AddressRequests:    Rate{3000, time.Minute, 6000},
		AddressNewAccounts: Rate{100, time.Hour, 300},
		AddressRenewalInfo: Rate{600, time.Minute, 1200},
		Default: OrgLimits{
			AccountRequests:   Rate{3000, time.Minute, 6000},
			AccountNewOrders:  Rate{300, time.Hour, 1000},
			FailedValidations: Rate{20, time.Hour, 20},
			NewOrders:         Rate{3000, time.Hour, 10000},
			DomainNewOrders:   Rate{1500, time.Hour, 5000},
		},
	}
}

// Check says which rate is wrong.
func (l Limits) Check() error {
	errs := []error{
		checkRate("", LimitAddressRequests, l.AddressRequests), checkRate("", LimitAddressNewAccounts, l.AddressNewAccounts),
		checkRate("", LimitAddressRenewalInfo, l.AddressRenewalInfo), l.Default.check(""),
	}
	for slug, o := range l.Organisations {
		errs = append(errs, o.check("organisations."+slug+"."))
	}
	return errors.Join(errs...)
}

func (o OrgLimits) check(prefix string) error {
	var least error
	if o.AccountRequests.Burst == 1 { // see requestClaims
		least = fmt.Errorf("%s%s: the burst is at least 2", prefix, LimitAccountRequests)
	}
	return errors.Join(least,
		checkRate(prefix, LimitAccountRequests, o.AccountRequests), checkRate(prefix, LimitAccountNewOrders, o.AccountNewOrders),
		checkRate(prefix, LimitFailedValidations, o.FailedValidations), checkRate(prefix, LimitOrgNewOrders, o.NewOrders),
		checkRate(prefix, LimitDomainNewOrders, o.DomainNewOrders))
}

func checkRate(prefix string, limit Limit, r Rate) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("%s%s: %w", prefix, limit, err)
	}
	return nil
}

// of are the limits that hold for an organisation.
func (l *Limits) of(org auth.Org) *OrgLimits {
	if o, ok := l.Organisations[org.Slug]; ok {
		return &o
	}
	return &l.Default
}

// Take asks a Store for units of one limit, by the generic cell rate algorithm: one unit comes back in each Interval, and
// at rest there are Burst. Cost 0 takes nothing and is refused only if more than Burst were taken otherwise.
type Take struct {
	Limit    Limit
	Of       string // whose: with Limit, what is counted together; at most 400 octets
	Interval time.Duration
	Burst    int
	Cost     int
}

// Refused is a Store's error if a limit has too little left. Nothing was taken from any limit of the call.
type Refused struct {
	Take int           // position of the limit with the longest wait
	Wait time.Duration // until all would grant; above zero
}

func (r *Refused) Error() string { return fmt.Sprintf("rate limit %d refuses for %s", r.Take, r.Wait) }

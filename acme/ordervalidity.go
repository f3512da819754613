package acme

import (
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// validity is the period that an order asks for (RFC 8555, 7.4), if its profile takes one and could issue for it now. A
// profile that takes none refuses: ignoring the wish would issue something else than was asked for.
func (in *orderRequest) validity(profile *policy.Profile, now time.Time) (asked policy.Period, err error) {
	for _, end := range []struct {
		field string
		given *string
		into  *time.Time
	}{{"notBefore", in.NotBefore, &asked.NotBefore}, {"notAfter", in.NotAfter, &asked.NotAfter}} {
		if end.given == nil {
			continue
		}
		if *end.into, err = parseAsked(end.field, *end.given); err != nil {
			return policy.Period{}, err
		}
	}
	return asked, profile.CheckRequested(asked, now)
}

// numericZone is RFC 3339 without "Z" for an offset of zero.
const numericZone = "2006-01-02T15:04:05-07:00"

// parseAsked reads a date as RFC 3339 has it, strictly: certificates count in whole seconds (RFC 5280, 4.1.2.5.2), and what
// is no date of a certificate was not meant.
func parseAsked(field, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text) // which takes more than RFC 3339 has, so what it read is compared
	switch {
	case err == nil && strings.Contains(text, "."):
		return t, problem.New(problem.Malformed, `%q must be in whole seconds; leave the fraction out`, field)
	case err != nil || t.Format(time.RFC3339) != text && t.Format(numericZone) != strings.Replace(text, "-00:00", "+00:00", 1):
		return t, problem.New(problem.Malformed, `%q must be a time by RFC 3339, such as "2027-01-31T00:00:00Z"`, field)
	case t.UTC().Year() > 9999: // by its offset; neither RFC 3339 nor RFC 5280 could write it
		return t, problem.New(problem.Malformed, `%q lies beyond the year 9999; give a time that a certificate can have`, field)
	case t.Unix() <= 0:
		return t, problem.New(problem.Malformed, `%q lies before 1970; give a time that a certificate can have`, field)
	}
	return t.UTC(), nil
}

// asksFor notes the period that an order asks for. An order cannot be finalized any more when what it asks for is over.
func (o *Order) asksFor(asked policy.Period) {
	o.Requested = asked
	if !asked.NotAfter.IsZero() && asked.NotAfter.Before(o.Expires) {
		o.Expires = asked.NotAfter
	}
}

// formatAsked is one end of the period that was asked for, empty if that end was left to the profile (RFC 8555, 7.1.3).
func formatAsked(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

package policy

import "time"

const day = 24 * time.Hour // 86,400 s, as Baseline Requirements 6.3.2 counts it

// limit is what the Baseline Requirements allow from a day on (6.3.2 and 4.2.1).
type limit struct {
	from     time.Time // 00:00 UTC; issuance at or after it
	validity time.Duration
	reuse    time.Duration // how long a domain validation may be used
	noEmail  bool          // no validation by e-mail may be used (3.2.2.4.4, .13 and .14), however old
}

// publicLimits is ordered by date. The first row has no beginning: it also holds for a clock that is behind.
var publicLimits = []limit{
	{validity: 200 * day, reuse: 200 * day},
	{from: time.Date(2027, 3, 15, 0, 0, 0, 0, time.UTC), validity: 100 * day, reuse: 100 * day},
	{from: time.Date(2028, 3, 15, 0, 0, 0, 0, time.UTC), validity: 100 * day, reuse: 100 * day, noEmail: true},
	{from: time.Date(2029, 3, 15, 0, 0, 0, 0, time.UTC), validity: 47 * day, reuse: 10 * day, noEmail: true},
}

// limitAt is the row that holds at now.
func limitAt(now time.Time) limit {
	current := publicLimits[0]
	for _, l := range publicLimits[1:] {
		if now.Before(l.from) {
			break
		}
		current = l
	}
	return current
}

// shorterAfter is the next row with another validity than holds at now; false if there is none.
func shorterAfter(now time.Time) (limit, bool) {
	held := limitAt(now).validity
	for _, l := range publicLimits[1:] {
		if now.Before(l.from) && l.validity != held {
			return l, true
		}
	}
	return limit{}, false
}

// EmailEnds is when validations by e-mail end to count in public mode (Baseline Requirements 3.2.2.4.4, .13 and .14), also those
// that were made before.
func EmailEnds() time.Time {
	for _, l := range publicLimits {
		if l.noEmail {
			return l.from
		}
	}
	return time.Time{}
}

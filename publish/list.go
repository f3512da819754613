package publish

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// grace is how long an entry stays after the first list issued beyond its certificate's expiry. It covers what may lie
// between the clock that stamped a list and the commit of a revocation that this list did not see: a revocation made just
// before expiry must be read by a list whose thisUpdate is past it (RFC 5280, 3.3).
const grace = 10 * time.Minute

// Reasons of RFC 5280, 5.3.1 that the rules below name.
const (
	unspecified   ca.Reason = 0
	keyCompromise ca.Reason = 1
)

// firstNumber is the number of the first list of a second. Numbers follow the clock and never run ahead of it, since far
// fewer than a thousand lists are made in a second: so they rise also over a store that lost the lists before.
func firstNumber(thisUpdate time.Time) int64 { return 1000 * thisUpdate.Unix() }

// plan makes the list that follows prev (nil: the first one) from everything the store holds of an issuer, with a number
// above floor, and the time before which an entry's certificate must have expired to be left out. A *RefusedError says that the store has lost or
// weakened an entry of prev.
func plan(issuer string, prev *parsedList, floor int64, revoked []Revoked, now time.Time, lifetime time.Duration) (List, time.Time, error) {
	now = now.UTC().Truncate(time.Second)
	list := List{Number: max(floor+1, firstNumber(now)), ThisUpdate: now}
	var cutoff time.Time
	if prev != nil {
		// RFC 5280, 5.2.3: numbers rise; a clock that went back must not make them or the times fall.
		list.Number = max(prev.number+1, list.Number)
		if list.ThisUpdate.Before(prev.thisUpdate) {
			list.ThisUpdate = prev.thisUpdate
		}
		// RFC 5280, 3.3: an entry stays until it was on a list issued beyond its certificate's validity. All lists
		// since the one that prev followed hold every entry with notAfter >= cutoff, and prev is past it.
		cutoff = prev.thisUpdate.Add(-grace)
	}
	list.NextUpdate = list.ThisUpdate.Add(lifetime)

	revoked = slices.Clone(revoked)
	slices.SortFunc(revoked, func(a, b Revoked) int { return cmp.Compare(a.Serial, b.Serial) })
	if err := checkStored(issuer, list.Number, revoked); err != nil {
		return List{}, cutoff, err
	}
	if prev != nil {
		if err := nothingLost(issuer, list.Number, prev, revoked); err != nil {
			return List{}, cutoff, err
		}
	}
	list.Entries = make([]Revoked, 0, len(revoked))
	for _, r := range revoked {
		if !r.NotAfter.Before(cutoff) {
			r.At = r.At.UTC().Truncate(time.Second)
			list.Entries = append(list.Entries, r)
		}
	}
	return list, cutoff, nil
}

// checkStored refuses what must not be signed whatever the store says.
func checkStored(issuer string, number int64, sorted []Revoked) error {
	for i, r := range sorted {
		if !wellFormed(r.Serial) {
			return refuse(issuer, number, "the store holds a malformed serial %q", r.Serial)
		}
		if i > 0 && sorted[i-1].Serial == r.Serial {
			return refuse(issuer, number, "the store holds serial %s twice", r.Serial)
		}
		// RFC 5280, 5.3.1: 7 is not used, removeFromCRL (8) is for delta lists; certificateHold (6) is never used here.
		if r.Reason < 0 || r.Reason > 10 || r.Reason >= 6 && r.Reason <= 8 {
			return refuse(issuer, number, "reason %d of serial %s must not be on a list", r.Reason, r.Serial)
		}
	}
	return nil
}

// wellFormed holds a serial to ca.Serial's form, without which comparing texts would miss equal numbers, and to RFC 5280,
// 4.1.2.2: positive, at most 20 octets of DER.
func wellFormed(serial ca.Serial) bool {
	var octets [20]byte
	n := len(serial) / 2
	if n == 0 || n > len(octets) || len(serial)%2 != 0 || strings.ContainsAny(string(serial), "ABCDEF") {
		return false
	}
	if _, err := hex.Decode(octets[:], []byte(serial)); err != nil {
		return false
	}
	// A first octet of 80–ff takes one more in DER, as the sign; a first octet of zero is not minimal.
	return octets[0] != 0 && (octets[0] < 0x80 || n < len(octets))
}

// nothingLost walks prev and what the store holds side by side; both ascend by serial.
func nothingLost(issuer string, number int64, prev *parsedList, sorted []Revoked) error {
	i := 0
	for _, old := range prev.entries {
		for i < len(sorted) && sorted[i].Serial < old.serial {
			i++
		}
		if i == len(sorted) || sorted[i].Serial != old.serial {
			// Entries leave the store only after they left the list, so this one was lost, expired or not.
			return lost(issuer, number, old.serial)
		}
		// A second revocation may only raise the reason, and the only way up is to keyCompromise.
		if got := sorted[i].Reason; got != old.reason && got != keyCompromise {
			return refuse(issuer, number, "serial %s would change its reason from %d to %d", old.serial, old.reason, got)
		}
	}
	return nil
}

// same reports whether a planned list says what prev already says.
func same(prev *parsedList, list List) bool {
	return slices.EqualFunc(prev.entries, list.Entries, func(a entry, b Revoked) bool {
		return a.serial == b.Serial && a.reason == b.Reason && a.at == b.At.Unix()
	})
}

// RefusedError says why a list was not published. The list before it stays.
type RefusedError struct {
	Issuer string
	Number int64  // of the list that was refused
	Why    string // for the log: names a serial at most
	lost   bool   // an entry of the previous list is gone
}

// Error is one line for the log.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("publish: CRL %d of issuer %s refused: %s", e.Number, e.Issuer, e.Why)
}

func refuse(issuer string, number int64, format string, args ...any) *RefusedError {
	return &RefusedError{Issuer: issuer, Number: number, Why: fmt.Sprintf(format, args...)}
}

func lost(issuer string, number int64, serial ca.Serial) *RefusedError {
	e := refuse(issuer, number, "serial %s is on the list before and would be lost", serial)
	e.lost = true
	return e
}

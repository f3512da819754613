package publish

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

var (
	oidReasonCode = asn1.ObjectIdentifier{2, 5, 29, 21} // RFC 5280, 5.3.1
	oidIDP        = asn1.ObjectIdentifier{2, 5, 29, 28} // RFC 5280, 5.2.5
)

// entry is one entry of a parsed list.
type entry struct {
	serial ca.Serial
	at     int64 // seconds since 1970
	reason ca.Reason
}

// parsedList is a signed list that verified, in the form that is compared and served. It is immutable.
type parsedList struct {
	der        []byte
	etag       string
	number     int64
	thisUpdate time.Time
	nextUpdate time.Time
	entries    []entry // ascending by serial
	idp        []byte  // issuing distribution point, nil if absent
}

// parse reads a list and verifies it against its issuer's certificate (RFC 5280, 6.3.3 f and g).
func parse(der []byte, by *x509.Certificate) (*parsedList, error) {
	rl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("it does not parse: %w", err)
	}
	// RFC 5280, 5.1.2.3: the issuer's name is the subject of the signing certificate, octet for octet.
	if !bytes.Equal(rl.RawIssuer, by.RawSubject) {
		return nil, errors.New("its issuer is not the subject of the issuer certificate")
	}
	if err := rl.CheckSignatureFrom(by); err != nil {
		return nil, fmt.Errorf("it does not verify against the issuer certificate: %w", err)
	}
	// RFC 5280, 5.2.3 and 5.1.2.5: both are required in a CRL of this profile.
	if rl.Number == nil || !rl.Number.IsInt64() || rl.Number.Sign() < 0 {
		return nil, errors.New("its CRL number is missing or out of range")
	}
	if rl.NextUpdate.IsZero() {
		return nil, errors.New("it has no nextUpdate")
	}
	out := &parsedList{
		der: der, etag: etag(der), number: rl.Number.Int64(),
		thisUpdate: rl.ThisUpdate.UTC(), nextUpdate: rl.NextUpdate.UTC(),
		entries: make([]entry, len(rl.RevokedCertificateEntries)),
	}
	for _, ext := range rl.Extensions {
		if ext.Id.Equal(oidIDP) {
			out.idp = ext.Value
		}
	}
	for i, e := range rl.RevokedCertificateEntries {
		if out.entries[i], err = parseEntry(e); err != nil {
			return nil, err
		}
	}
	bySerial := func(a, b entry) int { return strings.Compare(string(a.serial), string(b.serial)) }
	if !slices.IsSortedFunc(out.entries, bySerial) {
		slices.SortFunc(out.entries, bySerial)
	}
	return out, nil
}

func parseEntry(e x509.RevocationListEntry) (entry, error) {
	serial := ca.Serial(hex.EncodeToString(e.SerialNumber.Bytes()))
	if e.SerialNumber.Sign() <= 0 {
		return entry{}, errors.New("it has an entry whose serial is not positive")
	}
	for _, ext := range e.Extensions {
		isReason := ext.Id.Equal(oidReasonCode)
		// RFC 5280, 5.3.1: the reason is absent rather than unspecified.
		if isReason && ca.Reason(e.ReasonCode) == unspecified {
			return entry{}, fmt.Errorf("the entry of serial %s states the reason unspecified", serial)
		}
		// RFC 5280, 5.3: a critical entry extension that is not understood makes the list unusable.
		if ext.Critical && !isReason {
			return entry{}, fmt.Errorf("the entry of serial %s has the critical extension %v", serial, ext.Id)
		}
	}
	return entry{serial: serial, at: e.RevocationTime.Unix(), reason: ca.Reason(e.ReasonCode)}, nil
}

// check compares a signed list with what was to be signed and with the list it would replace (nil: none). It repeats
// what plan took care of, because what matters is what was signed.
func check(issuer string, prev *parsedList, asked List, got *parsedList) error {
	switch {
	case got.number != asked.Number:
		return refuse(issuer, asked.Number, "the signed list has number %d", got.number)
	case !got.thisUpdate.Equal(asked.ThisUpdate) || !got.nextUpdate.Equal(asked.NextUpdate):
		return refuse(issuer, asked.Number, "the signed list has other times than asked for")
	case !same(got, asked):
		return refuse(issuer, asked.Number, "the signed list has other entries than asked for: %s", difference(got, asked))
	case prev == nil:
		return nil
	case got.number <= prev.number:
		return refuse(issuer, asked.Number, "its number does not rise above %d", prev.number)
	case got.thisUpdate.Before(prev.thisUpdate):
		return refuse(issuer, asked.Number, "its thisUpdate goes back from %s", prev.thisUpdate.Format(time.RFC3339))
	case !bytes.Equal(got.idp, prev.idp):
		return refuse(issuer, asked.Number, "its issuing distribution point differs from that of the list before")
	}
	return nil
}

// difference names the first serial that differs, for the log.
func difference(got *parsedList, asked List) string {
	for i, want := range asked.Entries {
		if i >= len(got.entries) || got.entries[i].serial > want.Serial {
			return fmt.Sprintf("serial %s is missing", want.Serial)
		}
		if e := got.entries[i]; e.serial < want.Serial {
			return fmt.Sprintf("serial %s was not asked for", e.serial)
		} else if e.reason != want.Reason || e.at != want.At.Unix() {
			return fmt.Sprintf("serial %s has another reason or date", want.Serial)
		}
	}
	return fmt.Sprintf("%d more than asked for", len(got.entries)-len(asked.Entries))
}

// etag is a strong validator (RFC 9110, 8.8.3): equal only for equal octets.
func etag(b []byte) string {
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

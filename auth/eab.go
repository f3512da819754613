package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// EABMode says what a directory asks of new accounts about external account binding (RFC 8555, 7.3.4). The zero value is
// none of the modes: whoever meets it refuses.
type EABMode uint8

// The modes.
const (
	EABOff      EABMode = iota + 1 // a binding is not looked at
	EABOptional                    // a binding that is given must hold
	EABRequired                    // no new account without a binding
)

var eabModes = map[EABMode]string{EABOff: "off", EABOptional: "optional", EABRequired: "required"}

// String is the mode's word in configurations and listings; "unknown" for what is no mode.
func (m EABMode) String() string {
	if s, ok := eabModes[m]; ok {
		return s
	}
	return "unknown"
}

// ParseEABMode is the inverse of [EABMode.String]; ok is false for any other word.
func ParseEABMode(word string) (m EABMode, ok bool) {
	for m, s := range eabModes {
		if s == word {
			return m, true
		}
	}
	return 0, false
}

// EABClient is an ACME account that was bound by a key.
type EABClient struct {
	ID          string // of the account, as in its URL
	Contacts    []string
	Created     time.Time
	Deactivated time.Time // zero: it is valid
}

// Number is the client's for programs that know numbers alone: it follows from the id, so two clients of one key could have the
// same, which is refused where one is asked for by it.
func (c EABClient) Number() int32 {
	hash := sha256.Sum256([]byte(c.ID))
	return max(1, int32(binary.BigEndian.Uint32(hash[:])&math.MaxInt32))
}

// EABKey is a key for external account binding (RFC 8555, 7.3.4): whoever has its MAC key may make ACME accounts in its
// organisation. It is a value: what a Store or [ExternalAccounts] returned may be kept and is changed by nobody.
type EABKey struct {
	ID    string // the "kid": at least 128 random bits, URL-safe
	Org   OrgID
	Label string // for people
	// Profiles are those that its accounts may use; empty: all that the organisation may.
	Profiles []string
	// Names are patterns, as in policy.Config.AllowNames, which its accounts' names must match on top of the profile;
	// empty: any.
	Names []string
	// ByDomains says that its accounts may ask for nothing but what Domains cover, as they are whenever an account asks; where
	// they are empty, for nothing. An administrator of the organisation makes such keys, and gives them domains.
	ByDomains bool
	// Domains are DNS names, sorted. Each covers itself and what is below it, wildcards included; "*.example.com" covers what
	// is below example.com.
	Domains  []string
	Reusable bool // any number of accounts; otherwise one
	Created  time.Time
	Expires  time.Time // the first moment at which it does not count any more; zero: never
	Revoked  time.Time // zero: not revoked
	// Removed is since when it is gone for its organisation: its accounts may ask for no certificate any more, and revoke what
	// they have. It is revoked then as well. Zero: it is there.
	Removed time.Time
	// Number is what programs call it by that know numbers alone: unique, and never another key's. Zero: it was made when there
	// were none, and nobody has been told of it since.
	Number  int32
	Account string   // a single-use key's account, once bound
	Sealed  []byte   // the MAC key, sealed
	Edits   int64    // how often a command has changed it: of two states the one with more is the later
	Version [16]byte // of the record; the Store's
}

// Usable is nil if an account may be bound by the key at a time; otherwise a *problem.Error of kind Unauthorized that says
// why not. It does not look at the organisation.
func (k *EABKey) Usable(now time.Time) error {
	switch {
	case !k.Revoked.IsZero() || !k.Removed.IsZero():
		return problem.New(problem.Unauthorized, "the external account binding key %q was revoked; ask the operator for another", k.ID)
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return problem.New(problem.Unauthorized, "the external account binding key %q expired at %s; ask the operator for another",
			k.ID, k.Expires.UTC().Format(time.RFC3339))
	case !k.Reusable && k.Account != "":
		return problem.New(problem.Unauthorized, "the external account binding key %q was used by another account and serves only one; ask the operator for another", k.ID)
	default:
		return nil
	}
}

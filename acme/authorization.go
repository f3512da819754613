package acme

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// AuthzID is the random name of an authorization, as in its URL.
type AuthzID string

// Authorization is one account's authority over one identifier (RFC 8555, 7.1.4). Its status is computed from these
// facts and the time.
type Authorization struct {
	ID         AuthzID
	Account    AccountID
	Org        auth.OrgID
	Profile    string                // whose rules (methods, private ranges) the validation follows
	Identifier identifier.Identifier // without "*."; Wildcard says so
	Wildcard   bool
	Created    time.Time
	Expires    time.Time // while pending: when it lapses; once valid: when it can no longer be used
	Challenges []Challenge
	// Given is what it was born valid by, so that it has no challenges (RFC 8555, 7.1.6 begins at any status): the proof of a
	// domain, or the record that no validation was required (policy.NotRequired). Nil of others. Issuance reads it anew.
	Given *policy.Proven

	Deactivated time.Time // zero: not given up. There is no way back (RFC 8555, 7.5.2)

	Version [16]byte // of the record as read; zero before it exists
}

// Challenge is one way to prove control (RFC 8555, 7.1.5). Its id in URLs is the authorization's and its position.
type Challenge struct {
	Method dcv.Method
	Token  string    // RFC 8555, 8.1: at least 128 bits of entropy, base64url
	Begun  time.Time // when the client said it was ready; zero: not yet
	Due    time.Time // while a validation is under way: when a sweep may start it again; zero: none is
	Proof  *dcv.Proof
	Failed *Failure
	// Hindered is why the last attempt said nothing about the name and was left for later; nil once there is an outcome.
	Hindered *Failure
}

// Failure is why a validation failed: the problem as the client sees it, and what was seen, for people.
type Failure struct {
	Kind   problem.Kind
	Detail string
	At     time.Time
	Record []byte // dcv.Record as JSON: addresses, questions, answers, timings; never a body
}

// tokenBytes is above the 128 bits that RFC 8555, 8.1 asks for, and without a partial base64 digit.
const tokenBytes = 24

// newAuthorization is a pending one with a challenge for each method of the profile that can prove the name.
func newAuthorization(account *Account, profile *policy.Profile, name identifier.Identifier, now, expires time.Time) *Authorization {
	a := &Authorization{
		ID: AuthzID(newID()), Account: account.ID, Org: account.Org, Profile: profile.Name(),
		Identifier: name.Base(), Wildcard: name.IsWildcard(), Created: now, Expires: expires,
	}
	for _, method := range profile.ChallengesFor(name) {
		var token [tokenBytes]byte
		rand.Read(token[:]) // never fails: crypto/rand aborts the process instead
		a.Challenges = append(a.Challenges, Challenge{Method: method, Token: base64.RawURLEncoding.EncodeToString(token[:])})
	}
	return a
}

// Status is one of pending, valid, invalid, deactivated and expired (RFC 8555, 7.1.6). Expired is only what was valid once; one that
// lapses while pending is invalid.
func (a *Authorization) Status(now time.Time) Status {
	lapsed := !now.Before(a.Expires)
	switch {
	case !a.Deactivated.IsZero():
		return StatusDeactivated
	case a.proof() != nil && lapsed:
		return StatusExpired
	case a.proof() != nil:
		return StatusValid
	case a.failed() != nil || lapsed:
		return StatusInvalid
	}
	return StatusPending
}

// Status is one of pending, processing, valid and invalid (RFC 8555, 7.1.6).
func (c *Challenge) Status() Status {
	switch {
	case c.Proof != nil:
		return StatusValid
	case c.Failed != nil:
		return StatusInvalid
	case !c.Begun.IsZero():
		return StatusProcessing
	}
	return StatusPending
}

// proof is what gives the account authority, whosever it is, or nil.
func (a *Authorization) proof() *policy.Proven {
	if a.Given != nil {
		return a.Given
	}
	if c := a.proven(); c != nil {
		return &policy.Proven{Proof: *c.Proof, Org: int32(a.Org), Account: string(a.Account)}
	}
	return nil
}

// proven is the challenge that was met, or nil.
func (a *Authorization) proven() *Challenge {
	return a.find(func(c *Challenge) bool { return c.Proof != nil })
}

// failed is the challenge that was attempted and failed, or nil. One failure is the end of an authorization, whatever
// other challenges it has (RFC 8555, 7.1.6).
func (a *Authorization) failed() *Challenge {
	return a.find(func(c *Challenge) bool { return c.Failed != nil })
}

func (a *Authorization) find(is func(*Challenge) bool) *Challenge {
	for i := range a.Challenges {
		if is(&a.Challenges[i]) {
			return &a.Challenges[i]
		}
	}
	return nil
}

// covers reports whether a is about a name, as an order has it.
func (a *Authorization) covers(name identifier.Identifier) bool {
	return a.Identifier == name.Base() && a.Wildcard == name.IsWildcard()
}

// serves reports whether a, which may be nil, can be used again for a name in a new order: it is valid, and will be for a
// while yet.
func (a *Authorization) serves(name identifier.Identifier, account *Account, profile *policy.Profile, now time.Time) bool {
	return a.validFor(name, account, profile, now.Add(reuseMargin))
}

// validFor reports whether a, which may be nil, gives an account authority over a name at a time: it is this account's and
// this organisation's, was proven under this profile's rules by a method the profile still allows, and its proof is good
// then by what the profile says today.
func (a *Authorization) validFor(name identifier.Identifier, account *Account, profile *policy.Profile, at time.Time) bool {
	if a == nil || a.Account != account.ID || a.Org != account.Org || a.Profile != profile.Name() || !a.covers(name) {
		return false
	}
	c := a.proven()
	if c == nil {
		return false
	}
	proof := policy.Proven{Proof: *c.Proof, Org: int32(a.Org), Account: string(a.Account)}
	return a.Status(at) == StatusValid && profile.Suffices(proof, account.requester(), name, at)
}

// clone is a copy to change: records that were read are shared and never changed.
func (a *Authorization) clone() *Authorization {
	c := *a
	c.Challenges = slices.Clone(a.Challenges)
	return &c
}

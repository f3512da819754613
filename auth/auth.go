// Package auth knows organisations, callers, principals with their credentials and roles, and the keys by which ACME
// accounts are bound to organisations.
//
// It decides who a caller is allowed to act for and what it may do there, which organisations there are, what each may use,
// which credentials count and which external account binding keys. It trusts the configuration and the store for
// organisations and principals, and the doors for having read credentials in their protocol's way, or, as acme does, for
// having authenticated the caller themselves. It never looks at the object acted upon: whoever holds one asks [Directory.May]
// about its organisation, and answers "absent" where that says so. It never keeps a MAC key or the hash of a password but
// sealed, and of other credentials only what they cannot be made from.
package auth

import (
	"slices"
	"strings"
)

// Caller is whoever acts, after a door has authenticated it. The zero Caller may do nothing.
type Caller struct {
	Principal string // "acme:<account id>", "user:<number>", "uid:<number>", "system"
	Org       OrgID  // the organisation it acts in; zero with Operator
	Operator  bool   // the machine's operator over the admin socket: sees every organisation
	// Roles are a "user:" principal's, in Org and organisations below it; [Directory.May] says what they permit. What has
	// roles and is no "user:" has none.
	Roles []Grant
	// Credential is what a "user:" was authenticated by: "password", or the id of one of its credentials.
	Credential string
}

const (
	accountPrefix   = "acme:"
	principalPrefix = "user:"
)

func isAccount(principal string) bool   { return strings.HasPrefix(principal, accountPrefix) }
func isPrincipal(principal string) bool { return strings.HasPrefix(principal, principalPrefix) }

// IsPrincipal reports whether the caller is a "user:" with roles, rather than an ACME account or the gateway's operator.
func (c Caller) IsPrincipal() bool { return isPrincipal(c.Principal) }

// Sees reports whether the caller may know of objects of an organisation by itself, without the tree: of a "user:" those of
// an organisation that a role of its own names. [Directory.May] knows what is inherited.
func (c Caller) Sees(org OrgID) bool {
	switch {
	case c.Operator:
		return true
	case c.Org <= 0 || org <= 0:
		return false
	case isPrincipal(c.Principal):
		return slices.ContainsFunc(c.Roles, func(g Grant) bool { return g.Org == org && overlap([]Role{g.Role}, permitted(View)) })
	default:
		return c.Org == org
	}
}

// Package auth knows organisations, callers, and the keys by which ACME accounts are bound to organisations.
//
// It decides who a caller is allowed to act for, which organisations there are, what each may use, and which external
// account binding keys count. It trusts the configuration and the store for organisations, and the doors for having
// authenticated the caller in their protocol's way. It never looks at the object acted upon: ra asks it whether a caller
// may see an organisation's objects, and answers "absent" where it says no. It never keeps a MAC key but sealed.
package auth

// Caller is whoever acts, after a door has authenticated it. The zero Caller may do nothing.
type Caller struct {
	Principal string // "acme:<account id>", "uid:<number>", "system"
	Org       OrgID  // the organisation it acts in; zero with Operator
	Operator  bool   // the machine's operator over the admin socket: sees every organisation
}

// Sees reports whether the caller may know of objects of an organisation.
func (c Caller) Sees(org OrgID) bool {
	return c.Operator || (c.Org > 0 && c.Org == org)
}

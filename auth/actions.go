package auth

import (
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Action is something that can be done to objects of an organisation. The zero value, and every other that is not listed
// here, is refused to everybody.
type Action uint8

// The actions.
const (
	View                Action = iota + 1 // know of enrollments, domains and the organisation itself
	Request                               // ask for a certificate, renew, replace, edit what goes with an enrollment
	Approve                               // approve or decline what somebody else asked for
	Revoke                                // revoke
	ReadAudit                             // read what the journal says of the organisation
	ManageDomains                         // delegate domains, and accept or reject them
	ManageKeys                            // make and revoke keys for external account binding
	ManagePrincipals                      // make and change principals and their credentials
	ManageOrganisations                   // make organisations below it, and change those
	ReadKeys                              // download, upload and destroy private keys that are kept for others' certificates
	ManageEnrollments                     // remove what others asked for, and say whether it renews itself
	Operate                               // look after the gateway: the operator's alone
	actionCount
)

// String names the action in refusals.
func (a Action) String() string {
	switch a {
	case View:
		return "view"
	case Request:
		return "request"
	case Approve:
		return "approve"
	case Revoke:
		return "revoke"
	case ReadAudit:
		return "read the audit trail"
	case ManageDomains:
		return "manage domains"
	case ManageKeys:
		return "manage keys for external account binding"
	case ManagePrincipals:
		return "manage principals"
	case ManageOrganisations:
		return "manage organisations"
	case ReadKeys:
		return "handle private keys of others"
	case ManageEnrollments:
		return "look after certificates of others"
	case Operate:
		return "operate the gateway"
	default:
		return "unknown"
	}
}

// permitted are the roles that may do something. An administrator does not approve: who hands out the role of approver is
// meant to be seen doing so in the journal.
func permitted(a Action) []Role {
	switch a {
	case View:
		return []Role{Requester, Approver, Administrator, Auditor}
	case Request:
		return []Role{Requester, Administrator}
	case Approve:
		return []Role{Approver}
	case Revoke:
		return []Role{Requester, Approver, Administrator}
	case ReadAudit:
		return []Role{Administrator, Auditor}
	case ManageDomains, ManageKeys, ManagePrincipals, ManageOrganisations, ReadKeys, ManageEnrollments:
		return []Role{Administrator}
	default: // Operate, and what is no action
		return nil
	}
}

// accountMay is what an ACME account may do in its own organisation, and only there; ra narrows it to its own objects.
func accountMay(a Action) bool {
	switch a {
	case View, Request, Revoke:
		return true
	default:
		return false
	}
}

// May is nil if the caller may do something to objects of an organisation: the one answer for every door. Otherwise it is a
// *problem.Error: NotFound, as if there were no such object, where the caller may not even view the organisation;
// Unauthorized where it may, with the roles that could. It says nothing of whether the organisation works ([Directory.Works]).
func (d *Directory) May(c Caller, a Action, org OrgID) error {
	return d.current.Load().may(c, a, org)
}

// may is [Directory.May] at one moment.
func (t *tree) may(c Caller, a Action, org OrgID) error {
	if a < View || a >= actionCount {
		return errAbsent
	}
	if c.Operator {
		return onlyOperator(c)
	}
	if c.Org <= 0 || org <= 0 {
		return errAbsent
	}
	if !isPrincipal(c.Principal) {
		return mayAccount(c, a, org)
	}
	held := t.roles(c, org)
	if !overlap(held, permitted(View)) {
		return errAbsent
	}
	if !overlap(held, permitted(a)) {
		if a == Operate {
			return problem.New(problem.Unauthorized, "only an operator may do this")
		}
		return problem.New(problem.Unauthorized, "to %s here needs the role %s in this organisation or one above it; ask an administrator", a, roleList(permitted(a)))
	}
	return nil
}

// errAbsent is what there is to say about an object that is absent or another's: nothing.
var errAbsent = problem.New(problem.NotFound, "there is no such object")

func mayAccount(c Caller, a Action, org OrgID) error {
	switch {
	case !isAccount(c.Principal) || c.Org != org:
		return errAbsent
	case !accountMay(a):
		return problem.New(problem.Unauthorized, "an ACME account may not do this")
	default:
		return nil
	}
}

// roles are those that a caller has in an organisation, its own or from one above.
func (t *tree) roles(c Caller, org OrgID) (held []Role) {
	o := t.byID[org]
	if o == nil {
		return nil
	}
	above, err := t.above(o)
	if err != nil {
		return nil
	}
	// Nothing is held outside the caller's own organisation and those below it, whatever the grants say.
	inside := false
	for _, at := range append([]*Org{o}, above...) {
		for _, g := range c.Roles {
			if g.Org == at.ID {
				held = append(held, g.Role)
			}
		}
		if at.ID == c.Org {
			inside = true
			break
		}
	}
	if !inside {
		return nil
	}
	return held
}

func overlap(held, wanted []Role) bool {
	return slices.ContainsFunc(held, func(r Role) bool { return slices.Contains(wanted, r) })
}

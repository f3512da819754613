package auth

import (
	"cmp"
	"slices"
	"strings"
)

// Role is what a principal is in an organisation and in all below it. The zero value is no role: it permits nothing.
type Role uint8

// The roles. actions.go has the table of what each may do.
const (
	Requester     Role = iota + 1 // asks for certificates
	Approver                      // decides what others asked for
	Administrator                 // looks after organisations, principals and their credentials, keys and domains
	Auditor                       // reads everything, the journal as well
)

var roleNames = map[Role]string{Requester: "requester", Approver: "approver", Administrator: "administrator", Auditor: "auditor"}

// String is the role's word in commands and records; "unknown" for what is no role.
func (r Role) String() string {
	if s, ok := roleNames[r]; ok {
		return s
	}
	return "unknown"
}

// ParseRole is the inverse of [Role.String]; ok is false for any other word.
func ParseRole(word string) (r Role, ok bool) {
	for r, s := range roleNames {
		if s == word {
			return r, true
		}
	}
	return 0, false
}

// Roles lists all roles.
func Roles() []Role { return []Role{Requester, Approver, Administrator, Auditor} }

// RoleWords are the words of all roles, for whoever has given another.
func RoleWords() string {
	var words []string
	for _, r := range Roles() {
		words = append(words, r.String())
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Grant is a role in an organisation. It holds in all organisations below that one as well.
type Grant struct {
	Org  OrgID
	Role Role
}

// sortGrants orders grants and removes those that are there twice.
func sortGrants(list []Grant) []Grant {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Grant) int { return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Role, b.Role)) })
	return slices.Compact(list)
}

// roleList is roles in words.
func roleList(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = r.String()
	}
	return strings.Join(words, " or ")
}

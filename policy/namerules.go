package policy

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// NameRules are one organisation's own rules about names, beside those of every profile. An organisation is held to its own
// and to those of every one above it, so that each can only narrow what is left by those above. It is a value and not to be
// changed once in use.
type NameRules struct {
	Organisation string // slug, for whoever is refused
	// Allow and Deny are as [Config].AllowNames and [Config].DenyNames. Denial wins; an empty Allow allows all.
	Allow, Deny []string
}

// IsZero reports whether the rules let everything pass.
func (r NameRules) IsZero() bool { return len(r.Allow) == 0 && len(r.Deny) == 0 }

// Check refuses entries that cannot be read. The error is for whoever wrote them and begins with the list's name.
func (r NameRules) Check() error {
	c := &checker{}
	parsePatterns(c, "allow_names", r.Allow)
	parsePatterns(c, "deny_names", r.Deny)
	if len(c.faults) > 0 {
		f := c.faults[0].(*ConfigError)
		return fmt.Errorf("%s: %s", f.Field, f.Reason)
	}
	return nil
}

// CheckNames refuses names that the rules of any level forbid: RejectedIdentifier, with one part for each of them in the
// request's order (RFC 8555, 6.7.1). A wildcard is allowed by an entry for itself alone, and denied if it would cover a
// denied name. If an entry cannot be read, nothing is allowed, and the error is Internal.
func CheckNames(levels []NameRules, names []identifier.Identifier) error {
	refused := make(map[identifier.Identifier]string)
	for _, level := range levels {
		if level.IsZero() {
			continue
		}
		lists, err := level.compile()
		if err != nil {
			return problem.Wrap(fmt.Errorf("policy: the name rules of the organisation %s: %w", level.Organisation, err), problem.Internal, "")
		}
		for _, id := range names {
			if refused[id] == "" {
				refused[id] = lists.refuse(id, fmt.Sprintf("the organisation %q", level.Organisation))
			}
		}
	}
	var parts []problem.Part
	for _, id := range names {
		if detail := refused[id]; detail != "" {
			parts = append(parts, problem.Part{Identifier: id, Kind: problem.RejectedIdentifier, Detail: detail})
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(problem.RejectedIdentifier, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(problem.RejectedIdentifier, "the organisation's name rules refuse %d of the %d names; each has its reason",
			len(parts), len(names)).WithParts(parts)
	}
}

// compile makes the two lists ready to be asked.
func (r NameRules) compile() (*nameLists, error) {
	c := &checker{}
	lists := newNameLists(c, r.Allow, r.Deny)
	return lists, c.err()
}

// checkOrganisation holds a request to the name rules of its organisation and of those above. The gateway's own names are
// the operator's, as the rules are, and stand in the configuration one by one.
func (p *Profile) checkOrganisation(r Request, _ *Decision) error {
	if p.own {
		return nil
	}
	return CheckNames(r.NameRules, r.Names)
}

package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// What each rule looked at, and what passes it, as text for people. Nothing is decided here.

func foundRequester(_ *Profile, r Request, _ *Decision) string {
	return fmt.Sprintf("%s of organisation %d", r.Requester.Principal, r.Requester.Org)
}

func wantedRequester(p *Profile, _ Request) string {
	if p.own {
		return "the gateway itself"
	}
	return "a caller of an organisation"
}

func foundPinned(p *Profile, r Request, _ *Decision) string {
	if r.ProfileHash == "" {
		return "a request that begins now"
	}
	return "profile hash " + r.ProfileHash
}

func wantedPinned(p *Profile, _ Request) string { return "profile hash " + p.hash }

func foundNames(_ *Profile, r Request, _ *Decision) string { return few(r.Names) }

func foundNamesAndProfile(p *Profile, r Request, _ *Decision) string {
	return fmt.Sprintf("profile %s, names %s", p.name, few(r.Names))
}

func wantedRestriction(_ *Profile, r Request) string {
	if r.Restriction.IsZero() {
		return "anything: the requester is bound by no key that restricts it"
	}
	var parts []string
	if len(r.Restriction.Profiles) > 0 {
		parts = append(parts, "profiles "+list(r.Restriction.Profiles))
	}
	if len(r.Restriction.Names) > 0 {
		parts = append(parts, "names "+strings.Join(r.Restriction.Names, ", "))
	}
	if r.Restriction.ByDomains {
		parts = append(parts, "names in the domains: "+r.Restriction.domainList())
	}
	return strings.Join(parts, "; ")
}

func wantedOrganisation(p *Profile, r Request) string {
	var parts []string
	for _, level := range r.NameRules {
		if text := allowDeny(level.Allow, level.Deny); text != "" {
			parts = append(parts, level.Organisation+": "+text)
		}
	}
	if len(parts) == 0 || p.own {
		return "anything: the organisation has no name rules"
	}
	return strings.Join(parts, "; ")
}

// allowDeny shows two lists; "" if both are empty.
func allowDeny(allow, deny []string) string {
	var parts []string
	if len(allow) > 0 {
		parts = append(parts, "one of "+strings.Join(allow, ", "))
	}
	if len(deny) > 0 {
		parts = append(parts, "none of "+strings.Join(deny, ", "))
	}
	return strings.Join(parts, " and ")
}

func foundCSR(_ *Profile, r Request, _ *Decision) string {
	if r.CSR == nil {
		return "no CSR"
	}
	return "a CSR for " + few(r.CSR.Names)
}

func wantedCSR(_ *Profile, r Request) string {
	if r.Requester.Door != acmeDoor {
		return "a CSR for no names but " + few(r.Names)
	}
	return "a CSR for exactly " + few(r.Names)
}

func wantedNames(p *Profile, _ Request) string {
	parts := []string{fmt.Sprintf("1 to %d names", p.maxNames)}
	if text := allowDeny(p.lists.allow.all(), p.lists.deny.all()); text != "" {
		parts = append(parts, text)
	}
	if p.wildcards {
		parts = append(parts, "wildcards too")
	} else {
		parts = append(parts, "no wildcards")
	}
	if p.internalNames {
		parts = append(parts, "internal names too")
	} else {
		parts = append(parts, "public names and global addresses alone")
	}
	return strings.Join(parts, "; ")
}

func foundKey(_ *Profile, r Request, _ *Decision) string {
	t, err := keyTypeOf(r.CSR.PublicKey)
	if err != nil {
		return "a key of no known type"
	}
	return string(t)
}

func wantedKey(p *Profile, _ Request) string {
	return "a key that is not known to be weak, of type " + list(p.keyTypes)
}

func foundSubject(_ *Profile, r Request, _ *Decision) string {
	text := subjectText(r.CSR.Subject)
	if text == "" {
		return "a CSR without attributes beside the CN"
	}
	return text
}

func wantedSubject(p *Profile, _ Request) string {
	var parts []string
	if text := subjectText(p.subject); text != "" {
		parts = append(parts, text+" is put into each")
	}
	if len(p.fromCSR) > 0 {
		parts = append(parts, "of the CSR "+list(p.fromCSR)+" are copied")
	} else {
		parts = append(parts, "of the CSR no attribute is copied")
	}
	return strings.Join(parts, "; ")
}

// subjectText is a subject as "country=DE, locality=Berlin".
func subjectText(s Subject) string {
	var parts []string
	for _, a := range attributes {
		if value := *a.of(&s); value != "" {
			parts = append(parts, fmt.Sprintf("%s=%s", a.field, value))
		}
	}
	return strings.Join(parts, ", ")
}

func foundProofs(p *Profile, r Request, d *Decision) string {
	if p.requirement == NoValidation {
		return "no validation"
	}
	proved := 0
	for _, id := range d.Names {
		if p.unproved(r, id) == "" {
			proved++
		}
	}
	return fmt.Sprintf("usable proofs for %d of %d names", proved, len(d.Names))
}

// wantedProofs names for each identifier the methods that can prove it, those with the same methods together.
func wantedProofs(p *Profile, r Request) string {
	domain := fmt.Sprintf("a domain of the organisation that covers it, validated at most %s ago", inDays(p.domainReuseAt(r.Now)))
	switch p.requirement {
	case NoValidation:
		return "no validation: the profile requires none"
	case PerDomain:
		return "for each of " + few(identifier.SortUnique(r.Names)) + " " + domain
	}
	by := map[string][]identifier.Identifier{}
	var order []string
	for _, id := range identifier.SortUnique(r.Names) {
		methods := list(p.MethodsFor(id))
		if methods == "" {
			methods = "no method of this profile"
		}
		if !slices.Contains(order, methods) {
			order = append(order, methods)
		}
		by[methods] = append(by[methods], id)
	}
	parts := make([]string, len(order))
	for i, methods := range order {
		parts[i] = fmt.Sprintf("%s by %s", few(by[methods]), methods)
	}
	text := fmt.Sprintf("%s, each at most %s old", strings.Join(parts, "; "), inDays(p.reuseAt(r.Now)))
	if p.domains {
		text += "; or " + domain
	}
	return text
}

func foundValidity(p *Profile, r Request, d *Decision) string {
	if d.NotAfter.IsZero() {
		return "a requested validity"
	}
	return fmt.Sprintf("%s to %s", d.NotBefore.Format(time.RFC3339), d.NotAfter.Format(time.RFC3339))
}

// wantedValidity says what the profile issues for, and in public mode until when the dates of the Baseline Requirements
// leave it so.
func wantedValidity(p *Profile, r Request) string {
	granted, err := p.granted(r.Term, r.Now)
	if err != nil {
		granted = p.validity
	}
	text := "at most " + inDays(granted)
	if p.TakesRequested() {
		text += ", shorter if the request says so"
	}
	if !p.public {
		return text
	}
	text += fmt.Sprintf("; public trust allows %s", days(limitAt(r.Now).validity))
	if next, ok := shorterAfter(r.Now); ok {
		text += fmt.Sprintf(", and from %s %s (Baseline Requirements 6.3.2)", next.from.Format(time.DateOnly), days(next.validity))
	}
	return text
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", d/day) }

// inDays is a duration as the configuration writes it, in days where it has no other part.
func inDays(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

package dcv

import (
	"fmt"
	"slices"
	"strings"
)

// caaSet are the records that govern a name: RFC 8659, section 3's relevant record set.
type caaSet struct {
	lookupSpan
	owner   string // the name that was asked; empty: no level has records
	alias   string // the end of owner's aliases, where the records are; empty: at owner itself
	records []caaRecord
	secure  bool        // every answer on the way to it was authenticated
	refusal *caaRefusal // the set could not be had
}

// where names the owner of the records.
func (s caaSet) where() string {
	if s.alias != "" {
		return fmt.Sprintf("%s (an alias of %s)", s.owner, s.alias)
	}
	return s.owner
}

// shown are the records for people, the first of them if they are many.
func (s caaSet) shown() string { return listCAA(s.records) }

func (s caaSet) seen() string {
	if s.owner == "" {
		return fmt.Sprintf("no CAA records from %s to %s", s.first, s.last)
	}
	text := fmt.Sprintf("CAA of %s: %s", s.where(), s.shown())
	const limit = 400 // bytes; it is kept with every proof, and it is ASCII up to a cut value's mark
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

func listCAA(records []caaRecord) string {
	const shown = 4
	var texts []string
	for _, r := range records[:min(len(records), shown)] {
		texts = append(texts, r.String())
	}
	if len(records) > shown {
		texts = append(texts, fmt.Sprintf("and %d more", len(records)-shown))
	}
	return strings.Join(texts, ", ")
}

// caaJudge holds a record set to who asks for what.
type caaJudge struct {
	identities []string // this gateway's, never empty where CAA is asked
	accounts   []string
	methods    []Method
	wildcard   bool
}

// judge is nil if the set lets this gateway issue for the name (RFC 8659, section 4).
func (j caaJudge) judge(name string, set caaSet) *caaRefusal {
	for _, r := range set.records {
		switch {
		case !isAlphanumeric(r.tag): // RFC 8659, 4.1. What it was meant to say cannot be known.
			return &caaRefusal{
				detail: fmt.Sprintf("%s: a CAA record of %s has no well-formed tag: %s", name, set.where(), r),
				advice: "Write its tag in letters and digits, as in issue",
			}
		case r.flags&caaCritical != 0 && !r.known():
			return &caaRefusal{
				detail: fmt.Sprintf("%s: the CAA record %s of %s is critical and its property is not known here (RFC 8659, 4.1)", name, r, set.where()),
				advice: "Remove it, or set its flags to 0",
			}
		}
	}
	governing := set.having(tagIssue)
	tag := tagIssue
	if j.wildcard {
		// RFC 8659, 4.3: issuewild, where there is any, takes the place of issue.
		if wild := set.having(tagIssueWild); len(wild) > 0 {
			governing, tag = wild, tagIssueWild
		}
	}
	if len(governing) == 0 {
		return nil
	}
	var nearest *caaRefusal
	for _, r := range governing {
		refused := j.property(name, set, r)
		if refused == nil {
			return nil
		}
		if nearest == nil && refused.detail != "" {
			nearest = refused
		}
	}
	if nearest != nil {
		return nearest
	}
	return &caaRefusal{
		detail: fmt.Sprintf("%s: the CAA records of %s do not let this gateway issue: %s", name, set.where(), listCAA(governing)),
		advice: fmt.Sprintf("Add the record %s. CAA 0 %s %q", set.place(), tag, j.identities[0]),
	}
}

// place is where a record is to be added: never at an alias, which can have no other records (RFC 1034, 3.6.2).
func (s caaSet) place() string {
	if s.alias != "" {
		return s.alias
	}
	return s.owner
}

// having are the records of a property.
func (s caaSet) having(tag string) []caaRecord {
	var found []caaRecord
	for _, r := range s.records {
		if r.is(tag) {
			found = append(found, r)
		}
	}
	return found
}

// property is nil if one issue or issuewild record lets this gateway issue. The refusal says why if the record speaks of
// this gateway or cannot be read, and is empty if it is just about somebody else.
func (j caaJudge) property(name string, set caaSet, r caaRecord) *caaRefusal {
	v, ok := parseIssueValue(r.value)
	switch {
	case !ok:
		return &caaRefusal{
			detail: fmt.Sprintf("%s: the value of the CAA record %s of %s is malformed, so that nobody may issue (RFC 8659, 4.2)", name, r, set.where()),
			advice: fmt.Sprintf("Write the name of an issuer, then parameters such as ; accounturi=…, as in %q", j.identities[0]),
		}
	case !slices.ContainsFunc(j.identities, func(own string) bool { return strings.EqualFold(own, v.domain) }):
		return &caaRefusal{}
	}
	why, advice := j.account(v), "Set it to the URL of the account that asks, or leave it out"
	if why == "" {
		why, advice = j.method(v), fmt.Sprintf("Name %s in it, or validate by a method that it names", j.methodNames())
	}
	if why == "" {
		return nil
	}
	return &caaRefusal{
		detail: fmt.Sprintf("%s: the CAA record %s of %s names this gateway, but %s", name, r, set.where(), why),
		advice: advice,
	}
}

// account says why accounturi shuts the account out, or "" (RFC 8657, section 3). URLs are compared as strings.
func (j caaJudge) account(v issueValue) string {
	switch uri, count := v.parameter("accounturi"); {
	case count == 0:
		return ""
	case count > 1:
		return "it has more than one accounturi, which lets nobody pass (RFC 8657, 3)"
	case !slices.Contains(j.accounts, uri):
		return "its accounturi is another account's (RFC 8657, 3)"
	}
	return ""
}

// method says why validationmethods shuts the methods out, or "" (RFC 8657, section 4).
func (j caaJudge) method(v issueValue) string {
	switch list, count := v.parameter("validationmethods"); {
	case count == 0:
		return ""
	case count > 1:
		return "it has more than one validationmethods, which lets nobody pass (RFC 8657, 4)"
	case !allowsMethod(list, j.methods):
		return fmt.Sprintf("its validationmethods does not list %s (RFC 8657, 4)", j.methodNames())
	}
	return ""
}

func (j caaJudge) methodNames() string {
	texts := make([]string, len(j.methods))
	for i, m := range j.methods {
		texts[i] = string(m)
	}
	return strings.Join(texts, " or ")
}

package dcv

import (
	"fmt"
	"strings"
)

// The properties that are understood (RFC 8659, 4.2 to 4.4; Baseline Requirements A.1.1). iodef and contactemail are understood
// and restrict nothing.
const (
	tagIssue        = "issue"
	tagIssueWild    = "issuewild"
	tagIodef        = "iodef"
	tagContactEmail = "contactemail"
)

const (
	caaCritical = 0x80  // RFC 8659, 4.1: the Issuer Critical Flag; the other bits are reserved and mean nothing
	caaSpace    = " \t" // WSP
)

// caaRecord is one CAA record (RFC 8659, 4.1).
type caaRecord struct {
	flags      uint8
	tag, value string // as received
}

// is compares the tag; case does not matter (RFC 8659, 4.1).
func (r caaRecord) is(tag string) bool { return strings.EqualFold(r.tag, tag) }

// known reports whether the tag is understood.
func (r caaRecord) known() bool {
	return r.is(tagIssue) || r.is(tagIssueWild) || r.is(tagIodef) || r.is(tagContactEmail)
}

// String is the record's data as in a zone file, safe to show.
func (r caaRecord) String() string {
	tag := r.tag
	if !isAlphanumeric(tag) || len(tag) > 32 {
		tag = quote(tag)
	}
	return fmt.Sprintf("%d %s %s", r.flags, tag, quote(r.value))
}

// issueValue is the value of an issue or issuewild property.
type issueValue struct {
	domain     string // issuer-domain-name; empty: nobody may issue
	parameters []caaParameter
}

type caaParameter struct{ tag, value string }

// parseIssueValue reads the grammar of RFC 8659, 4.2. What does not match it names no issuer.
func parseIssueValue(text string) (v issueValue, ok bool) {
	domain, parameters, _ := strings.Cut(text, ";")
	v.domain = strings.Trim(domain, caaSpace)
	if v.domain != "" && !isIssuerDomain(v.domain) {
		return issueValue{}, false
	}
	parameters = strings.Trim(parameters, caaSpace)
	if parameters == "" {
		return v, true
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		tag, value, ok := strings.Cut(parameter, "=")
		p := caaParameter{strings.Trim(tag, caaSpace), strings.Trim(value, caaSpace)}
		if !ok || !isCAALabel(p.tag) || strings.ContainsFunc(p.value, notInValue) {
			return issueValue{}, false
		}
		v.parameters = append(v.parameters, p)
	}
	return v, true
}

// notInValue is what no parameter's value holds: anything but visible ASCII. The semicolon was taken away before.
func notInValue(r rune) bool { return r < 0x21 || r > 0x7e }

// parameter finds the one of a tag. count is how many there are; RFC 8657 gives no meaning to more than one.
func (v issueValue) parameter(tag string) (value string, count int) {
	for _, p := range v.parameters {
		if strings.EqualFold(p.tag, tag) {
			value, count = p.value, count+1
		}
	}
	return value, count
}

// allowsMethod reports whether a validationmethods value lists one of the methods (RFC 8657, section 4). A list that is
// not of the grammar allows none.
func allowsMethod(list string, methods []Method) bool {
	allowed := false
	for label := range strings.SplitSeq(list, ",") {
		if label == "" || strings.Trim(label, alphanumerics+"-") != "" {
			return false
		}
		for _, m := range methods {
			allowed = allowed || string(m) == label
		}
	}
	return allowed
}

const alphanumerics = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func isAlphanumeric(s string) bool { return s != "" && strings.Trim(s, alphanumerics) == "" }

// isCAALabel is a letter or digit, then hyphens, letters and digits, the last of them no hyphen: the grammar's label and
// parameter tag (RFC 8659, 4.2).
func isCAALabel(s string) bool {
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && isAlphanumeric(strings.ReplaceAll(s, "-", "a"))
}

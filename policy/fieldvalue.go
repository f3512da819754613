package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// acmeDoor is the door whose requests have no custom fields: RFC 8555 has no place for them in an order.
const acmeDoor = "acme"

// What is wrong with the custom fields of a request, in the chain of the refusal: doors have different words for each.
var (
	ErrUnknownField  = errors.New("policy: there is no such custom field")
	ErrRepeatedField = errors.New("policy: a custom field is given twice")
	ErrFieldValue    = errors.New("policy: the custom field does not take the value")
	ErrMissingField  = errors.New("policy: a mandatory custom field is missing")
)

// FieldValue is the value of a custom field in one request or enrollment. A request names the field by its number or its name;
// what [Profile.CustomFields] gives back has both, the name as it is then. The JSON is that of journals, and stays.
type FieldValue struct {
	Number int32  `json:"number,omitempty"` // of the field; zero where it is named
	Name   string `json:"name"`
	Value  string `json:"value"`
}

// CustomFields checks the fields of a request that comes in by a door, and gives them back with numbers and names, by number.
// Empty values are left out, as if they had not been given. The error is Malformed, names the field, and has one of the errors
// above in its chain.
func (p *Profile) CustomFields(door string, given []FieldValue) ([]FieldValue, error) {
	var values []FieldValue
	for _, v := range given {
		f, err := p.fieldOf(v)
		if err != nil {
			return nil, err
		}
		switch reason := f.refuse(v.Value); {
		case slices.ContainsFunc(values, func(other FieldValue) bool { return other.Number == f.Number }):
			return nil, refuseField(ErrRepeatedField, "the custom field %q is given twice; give it once", f.Name)
		case v.Value == "":
			continue
		case reason != "":
			return nil, refuseField(ErrFieldValue, "the custom field %q does not take the value: %s", f.Name, reason)
		}
		values = append(values, FieldValue{Number: f.Number, Name: f.Name, Value: v.Value})
	}
	for _, f := range p.fields.List() {
		if p.demands(door, f) && !slices.ContainsFunc(values, func(v FieldValue) bool { return v.Number == f.Number }) {
			return nil, refuseField(ErrMissingField, "the custom field %q is mandatory; give it: %s", f.Name, f.takes())
		}
	}
	slices.SortFunc(values, func(a, b FieldValue) int { return cmp.Compare(a.Number, b.Number) })
	return values, nil
}

// Remaining are those values of an earlier request whose fields are still there and take them, for a certificate in the place of
// the earlier one: a definition that changed must not keep anybody from renewing. What has become mandatory is asked for all the same.
func (p *Profile) Remaining(values []FieldValue) []FieldValue {
	return slices.DeleteFunc(slices.Clone(values), func(v FieldValue) bool {
		f, err := p.fieldOf(v)
		return err != nil || f.refuse(v.Value) != ""
	})
}

// Fields are the custom fields of the deployment.
func (p *Profile) Fields() *Fields { return p.fields }

// Demands reports whether a request that comes in by a door must have a field: because the field's definition says so of the door,
// or the profile of all doors that can ask.
func (p *Profile) Demands(door string, number int32) bool {
	f, ok := p.fields.ByNumber(number)
	return ok && p.demands(door, f)
}

func (p *Profile) demands(door string, f Field) bool {
	if p.own || door == acmeDoor {
		return false
	}
	return slices.Contains(f.Mandatory, door) || slices.Contains(p.mandatoryFields, f.Number)
}

// fieldOf finds the field that a value is for.
func (p *Profile) fieldOf(v FieldValue) (Field, error) {
	if v.Number != 0 {
		if f, ok := p.fields.ByNumber(v.Number); ok {
			return f, nil
		}
		return Field{}, refuseField(ErrUnknownField, "there is no custom field with the number %d; leave it out", v.Number)
	}
	if f, ok := p.fields.ByName(v.Name); ok {
		return f, nil
	}
	return Field{}, refuseField(ErrUnknownField, "there is no custom field %.300q; %s", v.Name, p.fields.names())
}

func refuseField(cause error, format string, args ...any) error {
	return problem.Wrap(cause, problem.Malformed, format, args...)
}

// names are the fields that there are, as a remedy.
func (f *Fields) names() string {
	var known []string
	for _, field := range f.List() {
		known = append(known, field.Name)
	}
	switch {
	case len(known) == 0:
		return "this gateway has none, so leave it out"
	case len(known) > 10:
		return fmt.Sprintf("known are %s and %d more", strings.Join(known[:10], ", "), len(known)-10)
	default:
		return "known are " + strings.Join(known, ", ")
	}
}

var decimal = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// refuse says why a value is not taken, or "". It never repeats the value, which may be anything.
func (f Field) refuse(value string) string {
	if !utf8.ValidString(value) {
		return "it is no UTF-8 text"
	}
	if n := utf8.RuneCountInString(value); n < f.MinLength || n > f.MaxLength {
		return fmt.Sprintf("it has %d characters; write %s", n, f.takes())
	}
	ok := false
	switch f.Type {
	case FieldText:
		ok = !strings.ContainsFunc(value, unprintable)
	case FieldMultiline:
		ok = !strings.ContainsFunc(value, func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && unprintable(r) })
	case FieldNumber:
		ok = decimal.MatchString(value)
	case FieldEmail:
		ok = isAddress(value)
	case FieldDate:
		t, err := time.Parse(time.DateOnly, value)
		ok = err == nil && t.Format(time.DateOnly) == value
	case FieldOption:
		ok = slices.Contains(f.Options, value)
	}
	if !ok {
		return "write " + f.takes()
	}
	return ""
}

// takes says what a value is like.
func (f Field) takes() string {
	switch f.Type {
	case FieldDate:
		return "a date such as 2027-01-31"
	case FieldOption:
		return "one of " + strings.Join(f.Options, ", ")
	}
	length := fmt.Sprintf("%d to %d characters", f.MinLength, f.MaxLength)
	switch f.Type {
	case FieldNumber:
		return "a decimal number of " + length
	case FieldEmail:
		return "a plain e-mail address of " + length
	case FieldMultiline:
		return length + ", on one line or several"
	default:
		return length + " on one line"
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// isAddress reports whether a text is one plain address: a dot-atom and a domain name (RFC 5322, 3.4.1), so that nothing about it
// needs quoting. net/mail alone would take display names, comments and quoted parts.
func isAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(local) > 64 || strings.ContainsAny(s, " \t\"(),:;<>[]\\") || strings.ContainsFunc(local, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	parsed, err := mail.ParseAddress(s)
	name, bad := identifier.ParseDNS(domain)
	return err == nil && parsed.Name == "" && parsed.Address == s && bad == nil && !name.IsWildcard()
}

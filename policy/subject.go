package policy

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Subject holds the attributes of a certificate's subject other than CN, each at most once. Empty ones are left out.
type Subject struct {
	Country            string // two letters (ISO 3166-1)
	Organization       string // at most 64 characters, as the bounds of RFC 5280, A.1 go
	OrganizationalUnit string // at most 64
	Locality           string // at most 128
	Province           string // at most 128
}

// SubjectField names an attribute of [Subject] in the configuration.
type SubjectField string

// The attributes that may come from a profile or, where it says so, from a CSR.
const (
	Country            SubjectField = "country"
	Organization       SubjectField = "organization"
	OrganizationalUnit SubjectField = "organizational_unit"
	Locality           SubjectField = "locality"
	Province           SubjectField = "province"
)

// attribute describes one field: its type in a CSR and its longest value (RFC 5280, A.1).
type attribute struct {
	field SubjectField
	oid   asn1.ObjectIdentifier
	max   int
	of    func(*Subject) *string
}

var attributes = []attribute{
	{Country, asn1.ObjectIdentifier{2, 5, 4, 6}, 2, func(s *Subject) *string { return &s.Country }},
	{Organization, asn1.ObjectIdentifier{2, 5, 4, 10}, 64, func(s *Subject) *string { return &s.Organization }},
	{OrganizationalUnit, asn1.ObjectIdentifier{2, 5, 4, 11}, 64, func(s *Subject) *string { return &s.OrganizationalUnit }},
	{Locality, asn1.ObjectIdentifier{2, 5, 4, 7}, 128, func(s *Subject) *string { return &s.Locality }},
	{Province, asn1.ObjectIdentifier{2, 5, 4, 8}, 128, func(s *Subject) *string { return &s.Province }},
}

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// fault says why a value does not fit the attribute, or "".
func (a attribute) fault(value string) string {
	switch {
	case !utf8.ValidString(value) || containsControl(value):
		return "holds control characters or is not UTF-8"
	case a.field == Country && !isCountry(value):
		return "is not two upper-case letters (ISO 3166-1)"
	case utf8.RuneCountInString(value) > a.max:
		return "is longer than RFC 5280, A.1 allows"
	}
	return ""
}

func containsControl(s string) bool {
	return slices.ContainsFunc([]rune(s), unicode.IsControl)
}

func isCountry(s string) bool {
	return len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z'
}

// setSubject reads the subject's rules.
func (p *Profile) setSubject(c *checker, cfg Config) {
	p.commonName = cfg.CommonName
	switch p.commonName {
	case "":
		p.commonName = CommonNameFirstSAN
	case CommonNameFirstSAN, CommonNameFromCSR, CommonNameNone:
	default:
		c.refuse("common_name", `%q is none of "first-san", "from-csr" and "none"`, cfg.CommonName)
	}
	p.subject = cfg.Subject
	p.fromCSR = slices.Compact(slices.Sorted(slices.Values(cfg.SubjectFromCSR)))
	if p.public && (p.subject != Subject{} || len(p.fromCSR) > 0) {
		c.refuse("subject", "public trust takes only validated attributes, and nothing here validates organisations (Baseline Requirements 3.2.2.1); leave it empty")
	}
	for _, f := range p.fromCSR {
		if !slices.ContainsFunc(attributes, func(a attribute) bool { return a.field == f }) {
			c.refuse("subject_from_csr", "%q is no attribute; known are country, organization, organizational_unit, locality, province", f)
		}
	}
	for _, a := range attributes {
		value := *a.of(&p.subject)
		if value == "" {
			continue
		}
		if fault := a.fault(value); fault != "" {
			c.refuse("subject", "%s %q %s", a.field, value, fault)
		}
		if slices.Contains(p.fromCSR, a.field) {
			c.refuse("subject_from_csr", "%s is fixed by subject; remove it from one of the two", a.field)
		}
	}
}

// resolveSubject is the profile's subject with the attributes it lets the CSR set.
func (p *Profile) resolveSubject(csr *CSR) (Subject, error) {
	s := p.subject
	for _, a := range attributes {
		if !slices.Contains(p.fromCSR, a.field) {
			continue
		}
		if slices.Contains(csr.unusable, a.field) {
			return Subject{}, problem.New(problem.BadCSR, "the subject of the CSR has %s twice or in an encoding that cannot be read; send it once, as UTF8String", a.field)
		}
		requested := csr.Subject
		value := *a.of(&requested)
		if value == "" {
			continue
		}
		if fault := a.fault(value); fault != "" {
			return Subject{}, problem.New(problem.BadCSR, "the subject of the CSR has %s %q, which %s", a.field, value, fault)
		}
		*a.of(&s) = value
	}
	return s, nil
}

// readSubject takes apart the subject of a CSR. Attributes that only some profiles look at are not faults here: what
// cannot be used is listed, and [Profile.Decide] refuses it where it would count.
func readSubject(names []pkix.AttributeTypeAndValue) (s Subject, commonNames []any, unusable []SubjectField) {
	for _, n := range names {
		if n.Type.Equal(oidCommonName) {
			commonNames = append(commonNames, n.Value)
		}
		for _, a := range attributes {
			if !n.Type.Equal(a.oid) {
				continue
			}
			value, ok := n.Value.(string)
			if !ok || *a.of(&s) != "" {
				unusable = append(unusable, a.field)
				continue
			}
			*a.of(&s) = value
		}
	}
	return s, commonNames, unusable
}

package auth

import (
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxOrgDetails bounds the details of an organisation, in octets: every gateway has those of all organisations in memory.
	MaxOrgDetails = 4096
	// MaxContactEmails bounds the addresses of an organisation.
	MaxContactEmails = 20
)

// OrgDetails are what people note of an organisation. Nothing rests on them, and none of them is in a certificate. Each is one line, of
// as many characters as SCM has for it, and empty where nobody has said anything.
type OrgDetails struct {
	AlternativeName string   `json:"alternativeName,omitempty"` // at most 1024
	Alias           string   `json:"alias,omitempty"`           // at most 1024
	ContactEmails   []string `json:"contactEmails,omitempty"`   // at most MaxContactEmails
	Address1        string   `json:"address1,omitempty"`        // at most 128, as the next two
	Address2        string   `json:"address2,omitempty"`
	Address3        string   `json:"address3,omitempty"`
	City            string   `json:"city,omitempty"`       // at most 32
	State           string   `json:"state,omitempty"`      // state or province, at most 32
	PostalCode      string   `json:"postalCode,omitempty"` // at most 10
	Country         string   `json:"country,omitempty"`    // two capital letters, as in ISO 3166-1 alpha-2
}

// OrgDetailsEdit is a change of details. What is nil stays.
type OrgDetailsEdit struct {
	AlternativeName, Alias, Address1, Address2, Address3, City, State, PostalCode, Country *string
	ContactEmails                                                                          *[]string
}

// apply changes details.
func (e *OrgDetailsEdit) apply(d *OrgDetails) {
	for _, m := range []struct{ from, to *string }{
		{e.AlternativeName, &d.AlternativeName}, {e.Alias, &d.Alias}, {e.Address1, &d.Address1}, {e.Address2, &d.Address2}, {e.Address3, &d.Address3},
		{e.City, &d.City}, {e.State, &d.State}, {e.PostalCode, &d.PostalCode}, {e.Country, &d.Country},
	} {
		if m.from != nil {
			*m.to = *m.from
		}
	}
	if e.ContactEmails != nil {
		d.ContactEmails = slices.Clone(*e.ContactEmails)
	}
}

// Details are the details of an organisation that has none yet.
func (e *OrgDetailsEdit) Details() (d OrgDetails) {
	e.apply(&d)
	return d
}

// Empty reports whether nobody has said anything.
func (d *OrgDetails) Empty() bool { return d.size() == 0 }

func (d *OrgDetails) size() int {
	n := len(d.AlternativeName) + len(d.Alias) + len(d.Address1) + len(d.Address2) + len(d.Address3) + len(d.City) + len(d.State) + len(d.PostalCode) + len(d.Country)
	for _, mail := range d.ContactEmails {
		n += len(mail)
	}
	return n
}

// check holds details to form and size. The error names the member by its name in JSON.
func (d *OrgDetails) check() error {
	for _, line := range []struct {
		name, text string
		most       int
	}{
		{"alternativeName", d.AlternativeName, 1024}, {"alias", d.Alias, 1024}, {"address1", d.Address1, 128},
		{"address2", d.Address2, 128}, {"address3", d.Address3, 128}, {"city", d.City, 32},
		{"state", d.State, 32}, {"postalCode", d.PostalCode, 10}, {"country", d.Country, 2},
	} {
		if err := checkLine(line.name, line.text, line.most); err != nil {
			return problem.New(problem.Malformed, "%v", err)
		}
	}
	if d.Country != "" && (len(d.Country) != 2 || strings.ContainsFunc(d.Country, func(c rune) bool { return c < 'A' || c > 'Z' })) {
		return problem.New(problem.Malformed, "country is not two capital letters, as in ISO 3166-1 alpha-2")
	}
	if len(d.ContactEmails) > MaxContactEmails {
		return problem.New(problem.Malformed, "contactEmails has %d addresses; at most %d can be", len(d.ContactEmails), MaxContactEmails)
	}
	for _, mail := range d.ContactEmails {
		if err := checkMail(mail); err != nil {
			return problem.New(problem.Malformed, "contactEmails has an address that is not of the form user@example.com")
		}
	}
	if n := d.size(); n > MaxOrgDetails {
		return problem.New(problem.Malformed, "the details have %d octets together; at most %d can be", n, MaxOrgDetails)
	}
	return nil
}

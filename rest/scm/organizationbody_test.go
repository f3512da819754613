package scm

import (
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/rest"
)

// FuzzOrganizationBody: whatever is sent, what is read is within SCM's limits, or the error names a member.
func FuzzOrganizationBody(f *testing.F) {
	f.Add(newOrgBody)
	f.Add(`{"name":7,"contactEmails":",, ,","country":"\u0130I","clientCertificate":{"allowKeyRecoveryByOrgAdmins":"TRUE"}}`)
	f.Add(`{"alias":" a ","schacHomeOrganization":"a","city":"","stateProvince":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		o, err := rest.ReadObject(httptest.NewRequest("POST", "/", strings.NewReader(body)), maxBody)
		if err != nil {
			return
		}
		edit := readOrganization(o, true)
		if o.Err() != nil {
			if !strings.Contains(o.Err().Error(), ":") {
				t.Errorf("the error is %v", o.Err())
			}
			return
		}
		d := edit.Details.Details()
		for text, most := range map[string]int{d.AlternativeName: 1024, d.Alias: 1024, d.Address1: 128, d.Address2: 128, d.Address3: 128, d.City: 32, d.State: 32, d.PostalCode: 10} {
			if n := utf8.RuneCountInString(text); n > most {
				t.Errorf("a text of %d characters passes, where %d can be", n, most)
			}
		}
		if d.Country != "" && (len(d.Country) != 2 || strings.ToUpper(d.Country) != d.Country) || edit.Name != nil && (*edit.Name == "" || utf8.RuneCountInString(*edit.Name) > 128) {
			t.Errorf("what passes is %+v", d)
		}
		for _, mail := range d.ContactEmails {
			if mail == "" || strings.Contains(mail, ",") {
				t.Errorf("an address is %q", mail)
			}
		}
	})
}

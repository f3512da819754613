package scm

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// maxOrganizationName is the most characters of a name at this door.
const maxOrganizationName = 128

// readOrganization reads what is to be said of an organisation; what is absent stays. works says whether it works, which this door does not
// change.
func readOrganization(o *rest.Object, works bool) auth.OrgEdit {
	d := &auth.OrgDetailsEdit{}
	edit := auth.OrgEdit{Details: d}
	if name := strings.TrimSpace(o.Text("name", maxOrganizationName)); name != "" {
		edit.Name = &name
	}
	for _, m := range []struct {
		name string
		most int
		to   **string
	}{
		{"alternativeName", 1024, &d.AlternativeName}, {"schacHomeOrganization", 1024, &d.Alias}, {"alias", 1024, &d.Alias}, {"address1", 128, &d.Address1},
		{"address2", 128, &d.Address2}, {"address3", 128, &d.Address3}, {"city", 32, &d.City}, {"stateProvince", 32, &d.State}, {"postalCode", 10, &d.PostalCode},
	} {
		if o.Has(m.name) {
			text := strings.TrimSpace(o.Text(m.name, m.most))
			if m.name == "alias" && d.Alias != nil && *d.Alias != text { // schacHomeOrganization is its old name
				o.Refuse(m.name, "it is another one than schacHomeOrganization; give one of them")
			}
			*m.to = &text
		}
	}
	if o.Has("country") {
		country := strings.ToUpper(strings.TrimSpace(o.Text("country", 2)))
		if len(country) != 2 || strings.Trim(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			o.Refuse("country", "it is not two letters, as in ISO 3166-1 alpha-2")
		}
		d.Country = &country
	}
	if o.Has("contactEmails") {
		mails := contactEmails(o.Text("contactEmails", 512))
		d.ContactEmails = &mails
	}
	refuseOfOrganization(o, works)
	return edit
}

// contactEmails are the addresses of a list with commas.
func contactEmails(text string) []string {
	list := []string{}
	for mail := range strings.SplitSeq(text, ",") {
		if mail = strings.TrimSpace(mail); mail != "" {
			list = append(list, mail)
		}
	}
	return list
}

// refuseOfOrganization refuses what cannot be had here. clientCertsApiEnabled is looked at for its type alone: clients send it always, and
// there are no client certificates that it could let anybody have.
func refuseOfOrganization(o *rest.Object, works bool) {
	for _, name := range []string{"contactWebhook", "contactSlack", "contactTeams"} {
		if o.Text(name, 2048) != "" {
			o.Refuse(name, "an organisation is written to by mail alone; leave it out, and use contactEmails")
		}
	}
	recovery := o.Object("clientCertificate")
	for _, name := range []string{"allowKeyRecoveryByMasterAdmins", "allowKeyRecoveryByOrgAdmins", "allowKeyRecoveryByDepartmentAdmins"} {
		if recovery.Bool(name) {
			recovery.Refuse(name, "there are no keys of client certificates here that could be recovered; send false")
		}
	}
	o.Bool("clientCertsApiEnabled")
	if enabled := o.Bool("sslCertsApiEnabled"); o.Has("sslCertsApiEnabled") && enabled != works {
		o.Refuse("sslCertsApiEnabled", "an organisation works by every door or by none, and only the operator changes that (gatehouse org disable and enable); send %t", works)
	}
}

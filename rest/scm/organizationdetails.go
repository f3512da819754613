package scm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// organization is an organisation with all that is known of it. Nobody validates organisations here, so nothing is said of that.
type organization struct {
	ID                    auth.OrgID   `json:"id"`
	Name                  string       `json:"name"`
	ParentID              auth.OrgID   `json:"parentId,omitempty"`
	ParentName            string       `json:"parentName,omitempty"`
	CertTypes             []string     `json:"certTypes"`
	Departments           []department `json:"departments"`
	SecondaryName         string       `json:"secondaryName,omitempty"`
	SchacHomeOrganization string       `json:"schacHomeOrganization,omitempty"`
	Alias                 string       `json:"alias,omitempty"`
	ContactEmails         string       `json:"contactEmails,omitempty"`
	Address1              string       `json:"address1,omitempty"`
	Address2              string       `json:"address2,omitempty"`
	Address3              string       `json:"address3,omitempty"`
	City                  string       `json:"city,omitempty"`
	StateOrProvince       string       `json:"stateOrProvince,omitempty"`
	PostalCode            string       `json:"postalCode,omitempty"`
	Country               string       `json:"country,omitempty"`
	ClientCertificate     keyRecovery  `json:"clientCertificate"`
	SSLCertsAPIEnabled    bool         `json:"sslCertsApiEnabled"`
	ClientCertsAPIEnabled bool         `json:"clientCertsApiEnabled"`
}

// keyRecovery is who may have the keys of client certificates, of which there are none.
type keyRecovery struct {
	ByMasterAdmins     bool `json:"allowKeyRecoveryByMasterAdmins"`
	ByOrgAdmins        bool `json:"allowKeyRecoveryByOrgAdmins"`
	ByDepartmentAdmins bool `json:"allowKeyRecoveryByDepartmentAdmins"`
}

// theOrganization reads which organisation the path names, among those that are shown.
func (c *call) theOrganization() (auth.Org, shown, error) {
	visible := c.shown(auth.View)
	n, err := strconv.ParseInt(c.args["id"], 10, 32)
	o, ok := visible.byID[auth.OrgID(n)]
	if err != nil || !ok {
		return auth.Org{}, visible, errNoOrganization(quoted(c.args["id"]))
	}
	return o, visible, nil
}

func (s *Server) organization(c *call) error {
	o, visible, err := c.theOrganization()
	if err != nil {
		return err
	}
	return c.answer(s.describeOrganization(o, visible))
}

// describeOrganization is what there is to say of an organisation.
func (s *Server) describeOrganization(o auth.Org, visible shown) organization {
	d := organization{
		ID: o.ID, Name: orgName(o), CertTypes: []string{}, Departments: visible.departments(o), SecondaryName: o.Details.AlternativeName,
		SchacHomeOrganization: o.Details.Alias, Alias: o.Details.Alias, ContactEmails: strings.Join(o.Details.ContactEmails, ","),
		Address1: o.Details.Address1, Address2: o.Details.Address2, Address3: o.Details.Address3, City: o.Details.City, StateOrProvince: o.Details.State,
		PostalCode: o.Details.PostalCode, Country: o.Details.Country, SSLCertsAPIEnabled: s.Organisations.Works(o.ID) == nil,
	}
	if parent, ok := visible.byID[o.Parent]; ok {
		d.ParentID, d.ParentName = parent.ID, orgName(parent)
	}
	for _, p := range s.Registrar.Profiles {
		if s.Registrar.Allowed(o.ID, p.Name()) {
			d.CertTypes = []string{"SSL"}
			break
		}
	}
	return d
}

// addOrganization makes an organisation below another one, which parentOrgName names.
func (s *Server) addOrganization(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("name", "address1", "country", "clientCertificate")
	in := readOrganization(o, true)
	parent := o.Text("parentOrgName", maxOrganizationName)
	if err := o.Err(); err != nil {
		return err
	}
	details := in.Details.Details()
	if strings.TrimSpace(details.City+details.State) == "" {
		return coded(http.StatusBadRequest, codeOneNeeded, problem.New(problem.Malformed, "city: it or stateProvince is needed"))
	}
	add := auth.NewOrg{Name: *in.Name, Details: details}
	if parent != "" {
		if add.ParentID, err = c.organizationNamed(parent); err != nil {
			return err
		}
	}
	made, err := s.Tenants.Add(c.ctx, c.caller, add)
	if err != nil {
		return recoded(err, problem.Conflict, http.StatusBadRequest, codeOrgState)
	}
	c.w.Header().Set("Location", s.PublicURL+strings.TrimSuffix(c.r.URL.EscapedPath(), "/")+"/"+formatInt(int64(made.ID)))
	return c.done(http.StatusCreated)
}

// organizationNamed finds the organisation that people call so. Names are not unique.
func (c *call) organizationNamed(name string) (id auth.OrgID, err error) {
	for _, o := range c.shown(auth.View).all {
		switch {
		case orgName(o) != name:
		case id != 0:
			return 0, wrongValue("parentOrgName: several organisations are called so; have the operator make it (gatehouse org add)")
		default:
			id = o.ID
		}
	}
	if id == 0 {
		return 0, coded(http.StatusBadRequest, codeUnknownOrg, problem.New(problem.Malformed, "parentOrgName: there is no organisation called so"))
	}
	return id, nil
}

// setOrganization changes what the body has.
func (s *Server) setOrganization(c *call) error {
	old, _, err := c.theOrganization()
	if err != nil {
		return err
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	edit := readOrganization(o, s.Organisations.Works(old.ID) == nil)
	if err := o.Err(); err != nil {
		return err
	}
	changed, err := s.Tenants.EditNumber(c.ctx, c.caller, old.ID, edit)
	if err != nil {
		return organizationRefused(err, c.args["id"])
	}
	return c.answer(s.describeOrganization(changed, c.shown(auth.View)))
}

// removeOrganization closes an organisation that is not in use.
func (s *Server) removeOrganization(c *call) error {
	old, _, err := c.theOrganization()
	if err != nil {
		return err
	}
	if _, err := s.Tenants.Close(c.ctx, c.caller, old.ID); err != nil {
		return organizationRefused(err, c.args["id"])
	}
	return c.done(http.StatusNoContent)
}

// organizationRefused is why an organisation cannot be changed.
func organizationRefused(err error, number string) error {
	if problem.Is(err, problem.NotFound) {
		return errNoOrganization(quoted(number))
	}
	return recoded(err, problem.Conflict, http.StatusBadRequest, codeOrgState)
}

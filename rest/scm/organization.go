package scm

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// organizationRoutes are of organisations. SCM's documents disagree about the path of a list by role.
func organizationRoutes() []rest.Route[handler] {
	return []rest.Route[handler]{
		{Method: http.MethodGet, Pattern: "/", Handle: (*Server).organizations},
		{Method: http.MethodPost, Pattern: "/", Handle: (*Server).addOrganization},
		{Method: http.MethodGet, Pattern: "/managedBy/{role}", Handle: (*Server).organizationsOfRole},
		{Method: http.MethodGet, Pattern: "/managed-by/{role}", Handle: (*Server).organizationsOfRole},
		{Method: http.MethodGet, Pattern: "/report-type/{type}", Handle: (*Server).organizationsOfType},
		{Method: http.MethodGet, Pattern: "/{id}", Handle: (*Server).organization},
		{Method: http.MethodPut, Pattern: "/{id}", Handle: (*Server).setOrganization},
		{Method: http.MethodDelete, Pattern: "/{id}", Handle: (*Server).removeOrganization},
	}
}

// organizationItem is an organisation in a list.
type organizationItem struct {
	ID          auth.OrgID   `json:"id"`
	Name        string       `json:"name"`
	ParentName  string       `json:"parentName,omitempty"`
	Departments []department `json:"departments,omitzero"` // nil: it is not said
}

// department is an organisation below another one, however deep.
type department struct {
	ID         auth.OrgID `json:"id"`
	ParentName string     `json:"parentName"`
	Name       string     `json:"name"`
}

// shown is the part of the organisations that a caller is shown.
type shown struct {
	all  []auth.Org // by number
	byID map[auth.OrgID]auth.Org
}

// shown are the organisations in which the caller may do something and that were not deleted.
func (c *call) shown(a auth.Action) shown {
	s := shown{byID: map[auth.OrgID]auth.Org{}}
	for _, o := range c.s.Organisations.Where(c.caller, a) {
		if o.Closed.IsZero() {
			s.all = append(s.all, o)
			s.byID[o.ID] = o
		}
	}
	return s
}

// above is the organisation that SCM has for one: the highest above it that is shown, which may be itself.
func (s shown) above(o auth.Org) auth.OrgID {
	for {
		parent, ok := s.byID[o.Parent]
		if !ok {
			return o.ID
		}
		o = parent
	}
}

// organizations are the highest ones with what is below them: SCM has organisations and departments, and nothing deeper.
func (s shown) organizations() []organizationItem {
	list := []organizationItem{}
	for _, o := range s.all {
		if s.above(o) == o.ID {
			list = append(list, organizationItem{ID: o.ID, Name: orgName(o), Departments: s.departments(o)})
		}
	}
	return list
}

// departments are all organisations below one.
func (s shown) departments(top auth.Org) []department {
	list := []department{}
	for _, o := range s.all {
		for at := o; o.ID != top.ID && at.Parent != 0; at = s.byID[at.Parent] {
			if at.Parent == top.ID {
				list = append(list, department{ID: o.ID, ParentName: orgName(s.byID[o.Parent]), Name: orgName(o)})
				break
			}
		}
	}
	return list
}

// orgName is what people call an organisation.
func orgName(o auth.Org) string { return cmp.Or(o.Name, o.Slug) }

func (s *Server) organizations(c *call) error {
	return c.answer(c.shown(auth.View).organizations())
}

// organizationsOfRole lists what the caller looks after as administrator. SCM's roles are of a kind of certificate and of organisations or
// departments: there are certificates for SSL alone here.
func (s *Server) organizationsOfRole(c *call) error {
	switch role := strings.ToUpper(c.args["role"]); role {
	case "MRAO", "RAO_SSL":
		return c.answer(c.shown(auth.ManageOrganisations).organizations())
	case "DRAO_SSL":
		list := []organizationItem{}
		visible := c.shown(auth.View)
		for _, o := range c.shown(auth.ManageOrganisations).all {
			if parent, ok := visible.byID[o.Parent]; ok {
				list = append(list, organizationItem{ID: o.ID, Name: orgName(o), ParentName: orgName(parent)})
			}
		}
		return c.answer(list)
	case "RAO_SMIME", "RAO_CS", "RAO_DEVICE", "DRAO_SMIME", "DRAO_CS", "DRAO_DEVICE":
		return c.answer([]organizationItem{})
	default:
		return wrongValue("role: there is no role %s; give MRAO, RAO_SSL or DRAO_SSL", quoted(c.args["role"]))
	}
}

// organizationsOfType lists the organisations that may have certificates of a kind.
func (s *Server) organizationsOfType(c *call) error {
	switch kind := strings.ToUpper(c.args["type"]); kind {
	case "SSL":
		return s.organizations(c)
	case "CLIENT", "DEVICE", "CODESIGN":
		return c.answer([]organizationItem{})
	default:
		return wrongValue("type: there are no certificates of type %s; give SSL", quoted(c.args["type"]))
	}
}

// errNoOrganization is the answer for an organisation that there is not, that the caller may not view, or that was deleted.
func errNoOrganization(number string) error {
	return coded(http.StatusNotFound, codeUnknownOrg, problem.New(problem.NotFound, "there is no organisation %s", number))
}

package scm

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// domainRoutes are of domains of organisations.
func domainRoutes() []rest.Route[handler] {
	return []rest.Route[handler]{
		{Method: http.MethodGet, Pattern: "/", Handle: (*Server).domains},
		{Method: http.MethodGet, Pattern: "/count", Handle: (*Server).countDomains},
		{Method: http.MethodPost, Pattern: "/", Handle: (*Server).createDomain},
		{Method: http.MethodPost, Pattern: "/delegation", Handle: (*Server).delegateDomains},
		{Method: http.MethodGet, Pattern: "/{id}", Handle: (*Server).domain},
		{Method: http.MethodDelete, Pattern: "/{id}", Handle: (*Server).deleteDomain},
		{Method: http.MethodPut, Pattern: "/{id}/activate", Handle: (*Server).activateDomain},
		{Method: http.MethodPut, Pattern: "/{id}/suspend", Handle: (*Server).suspendDomain},
		{Method: http.MethodPut, Pattern: "/{id}/monitoring", Handle: (*Server).monitorDomain},
		{Method: http.MethodPost, Pattern: "/{id}/delegation", Handle: (*Server).delegateDomain},
		{Method: http.MethodDelete, Pattern: "/{id}/delegation", Handle: (*Server).undelegateDomain},
		{Method: http.MethodPost, Pattern: "/{id}/delegation/approve", Handle: (*Server).approveDelegation},
		{Method: http.MethodPost, Pattern: "/{id}/delegation/reject", Handle: (*Server).rejectDelegation},
	}
}

// domainItem is a domain in a list.
type domainItem struct {
	ID   ra.DomainNumber `json:"id"`
	Name string          `json:"name"`
}

// domainInfo is all of a domain that the caller sees.
type domainInfo struct {
	domainItem
	DelegationStatus string             `json:"delegationStatus"`
	State            string             `json:"state"`
	ValidationStatus string             `json:"validationStatus"`
	ValidationMethod string             `json:"validationMethod,omitempty"`
	DCVValidation    string             `json:"dcvValidation,omitempty"`
	DCVExpiration    string             `json:"dcvExpiration,omitempty"`
	Delegations      []domainDelegation `json:"delegations"`
	CTLogMonitoring  ctLogMonitoring    `json:"ctLogMonitoring"`
}

// domainDelegation is an organisation that uses a domain, or has asked to. The owner's use is one, too.
type domainDelegation struct {
	OrgID      auth.OrgID `json:"orgId"`
	CertTypes  []string   `json:"certTypes"`
	Privileges []string   `json:"domainCertificateRequestPrivileges"`
	Status     string     `json:"status"`
}

// ctLogMonitoring is off: the gateway watches no logs.
type ctLogMonitoring struct {
	Enabled           bool `json:"enabled"`
	IncludeSubdomains bool `json:"includeSubdomains"`
}

const (
	delegationActive    = "ACTIVE"
	delegationRequested = "REQUESTED"
)

// domainFilters are what the list can be narrowed by. An empty one is none.
var domainFilters = []string{"name", "state", "status", "orgId"}

// domainQuery reads what is asked for.
func (c *call) domainQuery() (q ra.DomainQuery, err error) {
	for _, name := range domainFilters {
		if len(c.query[name]) > 1 { // all but one would be ignored
			return q, wrongValue("%s: it is there more than once", name)
		}
	}
	q.Part = strings.TrimSpace(c.query.Get("name"))
	if n := len(q.Part); n != 0 && n < 2 || n > 256 {
		return q, wrongValue("name: it has not 2 to 256 characters")
	}
	switch state := c.query.Get("state"); {
	case state == "":
	case strings.EqualFold(state, "active"), strings.EqualFold(state, "inactive"), strings.EqualFold(state, "suspended"):
		active := strings.EqualFold(state, "active")
		q.Active = &active
	default:
		return q, wrongValue("state: give active or inactive")
	}
	switch status := c.query.Get("status"); {
	case status == "":
	case strings.EqualFold(status, "requested"):
		q.State = ra.DelegationRequested
	case strings.EqualFold(status, "approved"), strings.EqualFold(status, "active"):
		q.State = ra.DelegationApproved
	default:
		return q, wrongValue("status: give requested or approved")
	}
	number, err := rest.QueryInt(c.query, "orgId", 1, maxInt32)
	if err != nil || number == 0 {
		return q, err
	}
	q.Org, err = c.organisation(number)
	return q, err
}

// searchDomains finds a page of what is asked for.
func (c *call) searchDomains(page rest.Page) (ra.FoundDomains, error) {
	q, err := c.domainQuery()
	if err != nil {
		return ra.FoundDomains{}, err
	}
	q.Offset, q.Limit = page.Position, page.Size
	return c.s.Domains.Search(c.ctx, c.caller, q)
}

func (s *Server) domains(c *call) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	found, err := c.searchDomains(page)
	if err != nil {
		return err
	}
	items := make([]domainItem, 0, len(found.Domains))
	for _, d := range found.Domains {
		items = append(items, domainItem{d.Number, d.Name.Value()})
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(found.Total, 10))
	return c.answer(items)
}

// countDomains answers with how many there are, whatever part of them a page would have.
func (s *Server) countDomains(c *call) error {
	found, err := c.searchDomains(rest.Page{Size: 1})
	if err != nil {
		return err
	}
	return c.answer(struct {
		Count int64 `json:"count"`
	}{found.Total})
}

// theDomain reads the domain that the path names. Absent and another organisation's are the same 404.
func (c *call) theDomain() (*ra.Domain, error) {
	n, err := strconv.ParseInt(c.args["id"], 10, 32)
	if err != nil || n < 1 {
		return nil, noDomain(problem.New(problem.NotFound, "there is no domain %s", quoted(c.args["id"])))
	}
	d, err := c.s.Domains.GetNumbered(c.ctx, c.caller, ra.DomainNumber(n))
	return d, noDomain(err)
}

func noDomain(err error) error {
	return recoded(err, problem.NotFound, http.StatusNotFound, codeUnknownDomain)
}

func (s *Server) domain(c *call) error {
	d, err := c.theDomain()
	if err != nil {
		return err
	}
	return c.answer(c.domainInfo(d))
}

func (c *call) domainInfo(d *ra.Domain) domainInfo {
	status, until := c.s.Domains.Status(d)
	info := domainInfo{
		domainItem: domainItem{d.Number, d.Name.Value()}, DelegationStatus: delegationRequested, State: "ACTIVE",
		ValidationStatus: dcvStatuses[status], Delegations: c.delegations(d),
	}
	if !d.Suspended.IsZero() {
		info.State = "SUSPENDED"
	}
	if slices.ContainsFunc(info.Delegations, func(l domainDelegation) bool { return l.Status == delegationActive }) {
		info.DelegationStatus = delegationActive
	}
	if p := d.Proof; p != nil {
		info.ValidationMethod = validationMethod(p.Method)
		info.DCVValidation, info.DCVExpiration = c.dcvDay(p.At), c.dcvDay(until)
	}
	return info
}

// delegations are those of a domain that the caller sees and that were not taken back, with the owner's own use where it may view
// the owner.
func (c *call) delegations(d *ra.Domain) []domainDelegation {
	list := []domainDelegation{}
	if c.s.Organisations.May(c.caller, auth.View, d.Org) == nil {
		list = append(list, toDelegation(ra.Delegation{Org: d.Org, State: ra.DelegationApproved, Privileges: d.Own}))
	}
	for _, l := range d.Delegations {
		if l.State != ra.DelegationRejected {
			list = append(list, toDelegation(l))
		}
	}
	return list
}

func toDelegation(l ra.Delegation) domainDelegation {
	out := domainDelegation{OrgID: l.Org, CertTypes: []string{"SSL"}, Status: delegationRequested}
	if l.State == ra.DelegationApproved {
		out.Status = delegationActive
	}
	for _, p := range l.Allowed() {
		out.Privileges = append(out.Privileges, privilegeWords[p])
	}
	return out
}

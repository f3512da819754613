package scm

import (
	"github.com/gatehouse-ca/gatehouse/ra"
)

// domainReportPage is how many domains are read at a time.
const domainReportPage = 500

// domainsReport is a report of domains.
type domainsReport struct {
	StatusCode int         `json:"statusCode"` // always 0: it is whole
	Reports    []domainRow `json:"reports"`
}

// domainRow is a domain in a report.
type domainRow struct {
	ID          ra.DomainNumber `json:"id"`
	Name        string          `json:"name"`
	Status      string          `json:"status"`
	Requested   string          `json:"requested"`
	DCVStatus   string          `json:"dcvStatus"`
	StickyUntil string          `json:"stickyUntil,omitempty"` // when the proof ends, or has ended
}

// domainReport answers with all domains that the caller may know of, by name. There is nothing that it could be narrowed by, so one of
// too many is refused.
func (s *Server) domainReport(c *call) error {
	if err := c.reportOutput(); err != nil {
		return err
	}
	if _, err := c.optionalBody(); err != nil {
		return err
	}
	done, err := s.reports.begin(s.Organisations.Customer(c.caller.Org))
	if err != nil {
		return err
	}
	defer done()
	if !c.query.Has("dateFormat") {
		c.dates = reportDate
	}
	report := domainsReport{Reports: []domainRow{}}
	seen := map[ra.DomainNumber]bool{}
	for q := (ra.DomainQuery{Limit: domainReportPage}); ; q.Offset += q.Limit {
		found, err := s.Domains.Search(c.ctx, c.caller, q)
		if err != nil {
			return err
		}
		if found.Total > int64(s.reports.rows) {
			return wrongValue("domains: the report has more than %d; read the list of domains page by page", s.reports.rows)
		}
		for _, d := range found.Domains {
			if !seen[d.Number] { // others come and go meanwhile
				seen[d.Number] = true
				report.Reports = append(report.Reports, c.domainRow(d))
			}
		}
		if int64(q.Offset+q.Limit) >= found.Total {
			break
		}
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="rest_api_domains.json"`)
	return c.answer(report)
}

func (c *call) domainRow(d *ra.Domain) domainRow {
	row := domainRow{ID: d.Number, Name: d.Name.Value(), Status: "Active", Requested: c.date(d.Created)}
	if !d.Suspended.IsZero() {
		row.Status = "Suspended"
	}
	status, until := c.s.Domains.Status(d)
	if d.Proof != nil {
		row.StickyUntil = c.date(until)
	}
	switch {
	case status == ra.DomainValidated:
		row.DCVStatus = "Validated"
	case status == ra.DomainExpired:
		row.DCVStatus = "Expired"
	case d.Stage(c.s.Now()) != ra.StageNone:
		row.DCVStatus = "Action Required"
	default:
		row.DCVStatus = "Not Initiated"
	}
	return row
}

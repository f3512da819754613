package scm

import (
	"cmp"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// reportRoutes are of reports, which are lists without pages.
func reportRoutes() []rest.Route[handler] {
	return []rest.Route[handler]{
		{Method: http.MethodPost, Pattern: "/ssl-certificates", Handle: (*Server).sslReport},
		{Method: http.MethodPost, Pattern: "/domains", Handle: (*Server).domainReport},
	}
}

// reports is what bounds reports.
type reports struct {
	atOnce chan struct{} // holds one for each that is being made
	each   int           // how many of them are one customer's at most
	rows   int           // how many certificates a report has at most
	seen   int64         // how many certificates are looked at for a report at most
	page   int           // how many certificates are read at a time
	buffer int           // octets that are made before the first is sent: up to there a failure has an answer of its own

	mu   sync.Mutex
	made map[auth.OrgID]int // by customer; guarded by mu
}

// newReports are the bounds. Four are made at a time, because each costs as much as hundreds of other calls, and two for one customer:
// its clients may take their answers slowly.
func newReports() *reports {
	return &reports{atOnce: make(chan struct{}, 4), each: 2, made: map[auth.OrgID]int{}, rows: 10_000, seen: 100_000, page: 1000, buffer: 1 << 20}
}

// begin waits for nobody: a report is made now, until done is called, or its client is to come back.
func (r *reports) begin(customer auth.OrgID) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made[customer] >= r.each {
		return nil, problem.New(problem.Unavailable, "%d reports are being made; come back", r.each).After(reportRetry)
	}
	select {
	case r.atOnce <- struct{}{}:
	default:
		return nil, problem.New(problem.Unavailable, "%d reports are being made; come back", cap(r.atOnce)).After(reportRetry)
	}
	r.made[customer]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.made[customer]--; r.made[customer] == 0 {
			delete(r.made, customer)
		}
		<-r.atOnce
	}, nil
}

const (
	// reportRetry is when whoever comes while they are made may come back.
	reportRetry = 10 * time.Second
	// maxReportOrgs is how many organisations can be named.
	maxReportOrgs = 1000
	// reportDate is how dates in a report look, unless dateFormat asks for something else.
	reportDate = "2006-01-02T15:04:05.000Z"
)

// The dates of a certificate that a report can go by: SCM's numbers for certificateDateAttribute.
const (
	byRevocation = 2
	byExpiry     = 3
	byRequest    = 4
	byIssuance   = 5
)

// reportSources are the words of requestedVia by SCM's numbers for certificateRequestSource.
var reportSources = map[int64]string{
	0: "Enrollment Form", 1: "Client Admin", 2: "Web API", 3: "Discovery", 4: "Imported", 5: "SCEP", 7: "MS Agent", 9: "Bulk Request", 10: "ACME",
	11: "EST", 12: "REST API",
}

// reportQuery is what a report is to have.
type reportQuery struct {
	orgs              []auth.OrgID
	from, to          time.Time // the latter exclusively; zero is open
	date              int64     // which date those bound
	status            int64     // 0: any
	source            string    // of requestedVia; empty: any
	name              string    // that the common name contains, in lower case
	externalRequester string    // that the list of external requesters contains
	leadingZeros      bool      // of serial numbers
	today             time.Time // that expiry goes by
}

// sslReport answers with all certificates that are as the body asks.
func (s *Server) sslReport(c *call) error {
	if err := c.reportOutput(); err != nil {
		return err
	}
	q, err := s.reportQuery(c)
	if err != nil {
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
	found, err := s.reported(c, q)
	if err != nil {
		return err
	}
	return s.writeReport(c, q, found)
}

// reportOutput refuses what a report is not answered with.
func (c *call) reportOutput() error {
	switch strings.ToLower(c.query.Get("output_type")) {
	case "", "direct", "buffered":
		return nil
	default:
		return wrongValue("output_type: it is none of direct and buffered, which are both answered with JSON")
	}
}

// reportQuery reads the body.
func (s *Server) reportQuery(c *call) (q reportQuery, err error) {
	o, err := c.body()
	if err != nil {
		return q, err
	}
	q = reportQuery{
		from: reportDay(o, "from"), to: reportDay(o, "to"), date: o.Int("certificateDateAttribute", byRevocation, byIssuance), status: o.Int("certificateStatus", 0, 4),
		name: strings.ToLower(o.Text("commonName", 256)), externalRequester: o.Text("externalRequester", 512), today: s.Now(),
	}
	o.Bool("includeIpAddresses") // no addresses are known
	if strings.ContainsAny(q.name, `<>\`) {
		o.Refuse("commonName", `it has one of the characters <, > and \`)
	}
	if o.Has("certificateRequestSource") {
		number := o.Int("certificateRequestSource", 0, 12)
		if q.source = reportSources[number]; q.source == "" {
			o.Refuse("certificateRequestSource", "there is no source %d", number)
		}
	}
	switch format := o.Text("serialNumberFormat", 32); format {
	case "":
	case "HEXWithLeadingZeros":
		q.leadingZeros = true
	default:
		o.Refuse("serialNumberFormat", "it is neither empty nor HEXWithLeadingZeros")
	}
	if !q.from.IsZero() || !q.to.IsZero() {
		o.Require("certificateDateAttribute")
	}
	if !q.to.IsZero() {
		if q.to.Before(q.from) {
			o.Refuse("to", "it is before from")
		}
		q.to = q.to.AddDate(0, 0, 1)
	}
	numbers := o.Ints("organizationIds", maxReportOrgs, 1, maxInt32)
	if err := o.Err(); err != nil {
		return q, err
	}
	q.orgs, err = c.reportOrgs(numbers)
	return q, err
}

// reportOrgs are the organisations of a report: those that are named, or all that the caller may view.
func (c *call) reportOrgs(numbers []int64) (orgs []auth.OrgID, err error) {
	if len(numbers) == 0 {
		for _, o := range c.s.Organisations.Where(c.caller, auth.View) {
			orgs = append(orgs, o.ID)
		}
		if len(orgs) > maxReportOrgs {
			return nil, wrongValue("organizationIds: there are %d organisations; name at most %d", len(orgs), maxReportOrgs)
		}
		return orgs, nil
	}
	named := map[auth.OrgID]bool{}
	for _, number := range numbers {
		org, err := c.organisation(number)
		if err != nil {
			return nil, err
		}
		if !named[org] {
			named[org] = true
			orgs = append(orgs, org)
		}
	}
	return orgs, nil
}

// reportDay reads the day that a date or a date with a time is in, in UTC: SCM's reports are of days.
func reportDay(o *rest.Object, name string) time.Time {
	text := o.Text(name, 40)
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 {
			return t.UTC().Truncate(24 * time.Hour)
		}
	}
	o.Refuse(name, "it is no date of the form 2026-03-02, or 2026-03-02T12:00:00Z")
	return time.Time{}
}

// matches reports whether an enrollment belongs into the report.
func (q *reportQuery) matches(e *ra.Enrollment) bool {
	if !q.hasStatus(e.Status(q.today)) || q.source != "" && requestedVia(e) != q.source {
		return false
	}
	if !strings.Contains(strings.ToLower(commonName(e)), q.name) || !strings.Contains(strings.Join(e.ExternalRequesters, ", "), q.externalRequester) {
		return false
	}
	if q.from.IsZero() && q.to.IsZero() {
		return true
	}
	at := q.dateOf(e)
	return !at.IsZero() && !at.Before(q.from) && (q.to.IsZero() || at.Before(q.to))
}

// hasStatus reports whether a status is meant by SCM's number. What is neither issued nor refused counts as requested: a report has no
// other number for it.
func (q *reportQuery) hasStatus(status ra.Status) bool {
	switch q.status {
	case 0:
		return true
	case 1:
		return status == ra.StatusValidating || status == ra.StatusWaiting || status == ra.StatusApproved || status == ra.StatusRequested
	case 2:
		return status == ra.StatusIssued
	case 3:
		return status == ra.StatusRevoked
	case 4:
		return status == ra.StatusExpired
	default:
		return false
	}
}

// dateOf is the date that the report goes by; zero if the certificate has none.
func (q *reportQuery) dateOf(e *ra.Enrollment) time.Time {
	switch {
	case q.date == byRevocation && e.Revocation != nil:
		return e.Revocation.At
	case q.date == byExpiry && !e.Issued.IsZero():
		return e.NotAfter
	case q.date == byRequest:
		return e.Created
	case q.date == byIssuance && !e.Imported: // nobody has said when an imported one was issued
		return e.Issued
	default:
		return time.Time{}
	}
}

// serial writes a serial number in capital digits.
func (q *reportQuery) serial(hex string) string {
	if !q.leadingZeros {
		hex = cmp.Or(strings.TrimLeft(hex, "0"), hex)
	}
	return strings.ToUpper(hex)
}

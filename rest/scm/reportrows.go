package scm

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// reportRow is a certificate in a report. What is not known is left out.
type reportRow struct {
	ID                ra.ID              `json:"id"`
	Type              string             `json:"type,omitempty"`
	TypeID            int32              `json:"typeId,omitempty"`
	OrgID             auth.OrgID         `json:"orgId"`
	CommonName        string             `json:"commonName,omitempty"`
	SubjAltNames      string             `json:"subjAltNames,omitempty"`
	Status            string             `json:"status"`
	Requester         string             `json:"requester,omitempty"`
	Approver          string             `json:"approver,omitempty"`
	OrganizationName  string             `json:"organizationName,omitempty"`
	BackendCertID     string             `json:"backendCertId,omitempty"`
	RequestedVia      string             `json:"requestedVia"`
	Term              int64              `json:"term,omitempty"`
	Comments          string             `json:"comments,omitempty"`
	Requested         string             `json:"requested,omitempty"`
	Approved          string             `json:"approved,omitempty"`
	Declined          string             `json:"declined,omitempty"`
	Issued            string             `json:"issued,omitempty"`
	Expires           string             `json:"expires,omitempty"`
	Revoked           string             `json:"revoked,omitempty"`
	Issuer            string             `json:"issuer,omitempty"`
	ExternalRequester string             `json:"externalRequester,omitempty"`
	SerialNumber      string             `json:"serialNumber,omitempty"`
	City              string             `json:"city,omitempty"`
	State             string             `json:"state,omitempty"`
	Country           string             `json:"country,omitempty"`
	SignatureAlg      string             `json:"signatureAlg,omitempty"`
	PublicKeyAlg      string             `json:"publicKeyAlg,omitempty"`
	PublicKeySize     string             `json:"publicKeySize,omitempty"`
	PublicKeyType     string             `json:"publicKeyType,omitempty"`
	SHA1              string             `json:"sha1,omitempty"`
	MD5               string             `json:"md5,omitempty"`
	CustomFields      []customFieldValue `json:"customFields,omitempty"`
}

// reported finds what belongs into a report, by number. It keeps numbers alone, because the certificates are many, and refuses a
// report that is too large before anything is sent.
func (s *Server) reported(c *call, q reportQuery) (found []ra.ID, err error) {
	seen := int64(0)
	for _, org := range q.orgs {
		page := ra.Query{Org: org, Limit: s.reports.page}
		if q.date == byExpiry { // the only date that there is an index for
			page.NotAfterFrom, page.NotAfterTo = q.from, q.to
		}
		for known := map[ra.ID]bool{}; ; {
			list, err := s.Registrar.Search(c.ctx, c.caller, page)
			if err != nil {
				return nil, err
			}
			if len(known) == 0 {
				seen += list.Total
			}
			if seen > s.reports.seen {
				return nil, wrongValue("organizationIds: for this report more than %d certificates would have to be looked at; name fewer organisations, or bound the end of validity by from and to with certificateDateAttribute 3", s.reports.seen)
			}
			for _, e := range list.Enrollments {
				if !known[e.ID] && q.matches(e) {
					found = append(found, e.ID)
				}
				known[e.ID] = true
			}
			if len(found) > s.reports.rows {
				return nil, wrongValue("to: the report has more than %d certificates; bring from and to closer together, or name fewer organizationIds", s.reports.rows)
			}
			if len(list.Enrollments) < page.Limit {
				break
			}
			nextReportPage(&page, list.Enrollments)
		}
	}
	slices.Sort(found)
	return found, nil
}

// nextReportPage goes on behind a page by what does not change, so that nothing is left out when others come and go meanwhile: by the
// number, or by the end of validity. Of as many as a page with one end of validity the rest is counted off.
func nextReportPage(page *ra.Query, list []*ra.Enrollment) {
	last := list[len(list)-1]
	switch {
	case page.Unfiltered():
		page.After = last.ID
	case last.NotAfter.Equal(page.NotAfterFrom):
		page.Offset += len(list)
	default:
		page.NotAfterFrom, page.Offset = last.NotAfter, 0
	}
}

// writeReport answers with the report. Each certificate is read anew, made a row of and sent, so that none is held twice.
func (s *Server) writeReport(c *call, q reportQuery, found []ra.ID) error {
	var b bytes.Buffer
	sent := false
	b.WriteString(`{"statusCode":0,"reports":[`)
	for i, begun := 0, false; i < len(found); i++ {
		row, err := c.reportRow(q, found[i])
		if err == nil && row != nil {
			if begun {
				b.WriteByte(',')
			}
			begun = true
			b.Write(row)
			if b.Len() > s.reports.buffer {
				c.reportHeader()
				sent = true
				_, err = b.WriteTo(c.w)
			}
		}
		if err != nil && sent { // what has been sent does not end as JSON does
			return &answered{err}
		} else if err != nil {
			return err
		}
	}
	b.WriteString("]}")
	if !sent {
		c.w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		c.reportHeader()
	}
	if _, err := b.WriteTo(c.w); err != nil {
		return &answered{err}
	}
	return nil
}

func (c *call) reportHeader() {
	c.w.Header().Set("Content-Type", jsonType)
	c.w.Header().Set("Content-Disposition", `attachment; filename="rest_api_ssl-certificates.json"`)
}

// reportRow is the row of a certificate as JSON. One that has gone meanwhile, or is not as it was asked for any more, has none.
func (c *call) reportRow(q reportQuery, id ra.ID) ([]byte, error) {
	e, err := c.s.Registrar.Get(c.ctx, c.caller, id)
	if problem.Is(err, problem.NotFound) || err == nil && !q.matches(e) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	row, err := c.reported(q, e)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	err = w.Encode(row)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// reported is a certificate in the report. It says what the details say.
func (c *call) reported(q reportQuery, e *ra.Enrollment) (reportRow, error) {
	d := c.describe(e)
	der, err := c.s.certificate(c.ctx, e)
	if err == nil && der != nil {
		err = d.certificate(der)
	}
	if err != nil {
		return reportRow{}, err
	}
	row := reportRow{
		ID: e.ID, OrgID: e.Org, CommonName: d.CommonName, SubjAltNames: strings.Join(d.SubjectAlternativeNames, "; "), Status: d.Status,
		Requester: d.Requester, Approver: d.Owner, BackendCertID: d.BackendCertID, RequestedVia: d.RequestedVia, Term: d.Term, Comments: d.Comments,
		Requested: d.Requested, Approved: d.Approved, Declined: d.Declined, Issued: d.Issued, Expires: d.Expires, Revoked: d.Revoked,
		ExternalRequester: d.ExternalRequester, SerialNumber: q.serial(strings.ReplaceAll(d.SerialNumber, ":", "")), SignatureAlg: d.SignatureAlg,
		PublicKeyAlg: d.KeyAlgorithm, PublicKeyType: d.KeyType, CustomFields: d.CustomFields,
	}
	if d.CertType != nil {
		row.Type, row.TypeID = d.CertType.Name, d.CertType.ID
	}
	if d.KeySize > 0 {
		row.PublicKeySize = strconv.Itoa(d.KeySize)
	}
	if d.CertificateDetails != nil {
		row.Issuer, row.SHA1, row.MD5 = d.CertificateDetails.Issuer, d.CertificateDetails.SHA1Hash, d.CertificateDetails.MD5Hash
	}
	if o, ok := c.s.Organisations.ByID(e.Org); ok {
		row.OrganizationName, row.City, row.State, row.Country = o.Name, o.Details.City, o.Details.State, o.Details.Country
	}
	return row, nil
}

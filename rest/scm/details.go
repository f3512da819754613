package scm

import (
	"context"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// details is a certificate with all that is known of it. Members that are not known are left out, because clients take null and
// empty dates for faults.
type details struct {
	ID                      ra.ID               `json:"id"`
	SSLID                   ra.ID               `json:"sslId"`
	CommonName              string              `json:"commonName,omitempty"`
	OrgID                   auth.OrgID          `json:"orgId"`
	Status                  string              `json:"status"`
	BackendCertID           string              `json:"backendCertId,omitempty"`
	Vendor                  string              `json:"vendor,omitempty"`
	CertType                *certType           `json:"certType,omitempty"`
	SubType                 string              `json:"subType"`
	Term                    int64               `json:"term,omitempty"`
	Owner                   string              `json:"owner,omitempty"`
	OwnerID                 int32               `json:"ownerId,omitempty"`
	Requester               string              `json:"requester,omitempty"`
	RequesterID             int32               `json:"requesterId,omitempty"`
	RequestedVia            string              `json:"requestedVia"`
	ExternalRequester       string              `json:"externalRequester,omitempty"`
	Comments                string              `json:"comments"`
	Requested               string              `json:"requested,omitempty"`
	Approved                string              `json:"approved,omitempty"`
	Issued                  string              `json:"issued,omitempty"`
	Declined                string              `json:"declined,omitempty"`
	Expires                 string              `json:"expires,omitempty"`
	Replaced                string              `json:"replaced,omitempty"`
	Revoked                 string              `json:"revoked,omitempty"`
	ReasonCode              *int                `json:"reasonCode,omitempty"`
	Renewed                 bool                `json:"renewed"`
	RenewedDate             string              `json:"renewedDate,omitempty"`
	SerialNumber            string              `json:"serialNumber,omitempty"`
	SignatureAlg            string              `json:"signatureAlg,omitempty"`
	KeyAlgorithm            string              `json:"keyAlgorithm,omitempty"`
	KeySize                 int                 `json:"keySize,omitempty"`
	KeyType                 string              `json:"keyType,omitempty"`
	KeyUsages               []string            `json:"keyUsages,omitempty"`
	ExtendedKeyUsages       []string            `json:"extendedKeyUsages,omitempty"`
	SubjectAlternativeNames []string            `json:"subjectAlternativeNames"`
	CustomFields            []customFieldValue  `json:"customFields"`
	CertificateDetails      *certificateDetails `json:"certificateDetails,omitempty"`
	AutoInstallDetails      state               `json:"autoInstallDetails"`
	AutoRenewDetails        state               `json:"autoRenewDetails"`
	SuspendNotifications    bool                `json:"suspendNotifications"`
}

type customFieldValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type state struct {
	State                string `json:"state"`
	DaysBeforeExpiration int    `json:"daysBeforeExpiration,omitempty"`
}

func (s *Server) details(c *call) error {
	asked, e, err := c.current("sslId")
	if err != nil {
		return missing(err)
	}
	return c.details(asked, e)
}

// details answers with an enrollment that the caller may view, under the number that was asked.
func (c *call) details(asked ra.ID, e *ra.Enrollment) error {
	d := c.describe(e)
	d.ID, d.SSLID = asked, asked
	if err := c.successor(e, &d); err != nil {
		return err
	}
	der, err := c.s.certificate(c.ctx, e)
	if err != nil {
		return err
	}
	if der != nil {
		if err := d.certificate(der); err != nil {
			return err
		}
	}
	return c.answer(d)
}

// certificate is the DER of an enrollment's certificate, which the caller may view; nil before there is one.
func (s *Server) certificate(ctx context.Context, e *ra.Enrollment) ([]byte, error) {
	return s.Registrar.CertificateOf(ctx, e)
}

// describe is what the enrollment itself says.
func (c *call) describe(e *ra.Enrollment) details {
	d := details{
		ID: e.ID, SSLID: e.ID, CommonName: commonName(e), OrgID: e.Org, Status: statusLabel(e.Status(c.s.Now())),
		RequestedVia: requestedVia(e), ExternalRequester: strings.Join(e.ExternalRequesters, ", "), Comments: e.Comments,
		Requested: c.date(e.Created), SubjectAlternativeNames: names(e), CustomFields: []customFieldValue{},
		AutoInstallDetails: state{State: notConfigured}, AutoRenewDetails: state{State: renewalStatus(e)},
		SuspendNotifications: e.SuspendNotifications,
	}
	if p, ok := c.s.Registrar.Profile(e.Profile); ok {
		t := c.s.certType(p)
		d.CertType, d.Term = &t, daysOf(p.Validity())
		if e.Term > 0 {
			d.Term = daysOf(e.Term)
		}
	}
	d.Requester, d.RequesterID = c.person(e.Requester)
	c.decision(e, &d)
	if !e.Issued.IsZero() {
		d.Expires, d.SerialNumber = c.date(e.NotAfter), colons(string(e.Serial))
		d.BackendCertID = string(e.Serial)
		if !e.Imported {
			d.Issued = c.date(e.Issued)
		}
	}
	if e.Revocation != nil {
		reason := int(e.Revocation.Reason)
		d.Revoked, d.ReasonCode = c.date(e.Revocation.At), &reason
	}
	for _, f := range e.CustomFields {
		d.CustomFields = append(d.CustomFields, customFieldValue{f.Name, f.Value})
	}
	if e.AutoRenew.On {
		d.AutoRenewDetails.DaysBeforeExpiration = e.AutoRenew.Days
	}
	if !e.RenewedManually.IsZero() {
		d.Renewed, d.RenewedDate = true, c.date(e.RenewedManually)
	}
	return d
}

// decision is what people have said of the request.
func (c *call) decision(e *ra.Enrollment, d *details) {
	if n := len(e.Approvals); n > 0 {
		last := e.Approvals[n-1]
		d.Approved = c.date(last.At)
		d.Owner, d.OwnerID = c.person(last.Approver)
	}
	if e.Phase == ra.Declined && e.Failure != nil {
		d.Declined = c.date(e.Failure.At)
	}
}

// successor says whether another certificate has taken this one's place.
func (c *call) successor(e *ra.Enrollment, d *details) error {
	id, err := c.s.Registrar.ReplacedBy(c.ctx, e)
	if err != nil || id == 0 {
		return err
	}
	next, err := c.s.Registrar.Get(c.ctx, c.caller, id)
	if problem.Is(err, problem.NotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if next.Reissue {
		d.Replaced = c.date(next.Issued)
	} else {
		d.Renewed, d.RenewedDate = true, c.date(next.Issued)
	}
	return nil
}

// person is a principal by the name that people know and, of one that has a number, that.
func (c *call) person(principal string) (name string, id int32) {
	if n, ok := auth.ParsePrincipalID(principal); ok {
		id = int32(n)
	}
	return c.s.Login(c.ctx, principal), id
}

// commonName is what the list and the details call a certificate.
func commonName(e *ra.Enrollment) string { return e.Called() }

func names(e *ra.Enrollment) []string {
	list := []string{}
	for _, n := range e.Names {
		list = append(list, n.Value())
	}
	return list
}

// requestedVia is SCM's word for a door.
func requestedVia(e *ra.Enrollment) string {
	switch {
	case e.Imported:
		return viaImport
	case e.Door == ra.DoorACME:
		return viaACME
	case e.Door == ra.DoorSCM:
		return viaAPI
	default:
		return viaClientAdmin
	}
}

// colons writes a serial number as pairs of capital digits.
func colons(serial string) string {
	var pairs []string
	for i := 0; i+2 <= len(serial); i += 2 {
		pairs = append(pairs, serial[i:i+2])
	}
	return strings.ToUpper(strings.Join(pairs, ":"))
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

package scm

import (
	"crypto/x509"
	"encoding/base64"
	"math"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const (
	// maxImports is how many certificates one call takes.
	maxImports = 128
	// maxImportBody is the most octets of such a call, which is as many as the listener takes: certificates of 6 KiB each.
	maxImportBody = 1 << 20
)

// imported is what became of one certificate.
type imported struct {
	Cert         *importedCert `json:"cert,omitempty"`
	Created      *bool         `json:"created,omitempty"` // false: it was there already
	Successful   bool          `json:"successful"`
	ErrorMessage string        `json:"errorMessage,omitempty"`
}

type importedCert struct {
	ID           ra.ID  `json:"id"`
	Subject      string `json:"subject"`
	SerialNumber string `json:"serialNumber"`
}

// importAll brings certificates that were issued elsewhere into the inventory: those of a zip, or by v2 of a JSON array. One that
// cannot be had leaves the others alone.
func (s *Server) importAll(c *call) error {
	switch {
	case rest.IsMultipart(c.r):
		return s.importZip(c)
	case !c.v2:
		return problem.Wrap(rest.ErrBody, problem.UnsupportedMedia, "v1 imports a zip alone; send it as the part file of multipart/form-data, or JSON to /api/ssl/v2/import")
	}
	list, err := rest.ReadList(c.r, maxImportBody, maxImports)
	if err != nil {
		return err
	}
	answer, items := make([]imported, len(list)), []ra.ImportItem{}
	var places []int // of items in the answer
	for i, o := range list {
		item, err := c.importItem(o)
		if err != nil {
			answer[i].ErrorMessage = explain(err)
			continue
		}
		items, places = append(items, item), append(places, i)
	}
	results, err := s.Registrar.Import(c.ctx, c.caller, ra.DoorSCM, items)
	if err != nil {
		return err
	}
	for n, result := range results {
		answer[places[n]] = showImport(result, items[n].Certificate)
	}
	return c.answer(answer)
}

// importItem reads one certificate with what goes with it.
func (c *call) importItem(o *rest.Object) (item ra.ImportItem, err error) {
	o.Require("orgID", "cert")
	org := o.Int("orgID", 1, math.MaxInt32)
	item.Comments, item.ExternalRequesters, item.CustomFields = o.Text("comments", maxComments), externalRequesters(o), customFieldsOf(o)
	text := strings.Join(strings.Fields(o.Text("cert", base64.StdEncoding.EncodedLen(ra.MaxImported)+2048)), "")
	var bad error
	if item.Certificate, bad = base64.StdEncoding.DecodeString(text); bad != nil {
		o.Refuse("cert", "it is not base64")
	}
	for _, name := range []string{"revokeDate", "reasonCode"} {
		if o.Has(name) {
			o.Refuse(name, "a certificate is not imported as revoked; import it, and say so of it by revoke/manual")
		}
	}
	if o.Has("renewDate") {
		o.Refuse("renewDate", "a certificate is not imported as renewed; import it, and say so of it by renew/manual")
	}
	if err := o.Err(); err != nil {
		return item, err
	}
	if err := c.s.Organisations.May(c.caller, auth.View, auth.OrgID(org)); err != nil {
		return item, problem.New(problem.Malformed, "orgID: there is no organisation %d", org)
	}
	item.Org = auth.OrgID(org)
	return item, nil
}

// showImport is what became of a certificate, in DER.
func showImport(result ra.ImportResult, der []byte) imported {
	if result.Err != nil {
		return imported{ErrorMessage: explain(result.Err)}
	}
	shown := importedCert{ID: result.Enrollment.ID, SerialNumber: strings.TrimLeft(strings.ToUpper(string(result.Enrollment.Serial)), "0")}
	if cert, err := x509.ParseCertificate(der); err == nil {
		shown.Subject = ra.DistinguishedName(cert.Subject)
	}
	return imported{Cert: &shown, Created: &result.Created, Successful: true}
}

// explain is what a client is told of an error.
func explain(err error) string {
	if detail := problem.From(err).Detail; detail != "" {
		return detail
	}
	return "it could not be imported; the gateway's log says why"
}

package scm

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// collectForm is one of the forms that a certificate can be collected in.
type collectForm struct {
	name    string
	format  bundle.Format
	content bundle.Content
	order   bundle.Order
	noRoot  bool // a root is left out, unless nothing but it is above the certificate
}

// collectForms is the table of SCM's names. Where they are not told apart by a document, the order is what clients rely on.
var collectForms = []collectForm{
	{"base64", bundle.PKCS7PEM, bundle.FullChain, bundle.LeafFirst, false},
	{"bin", bundle.PKCS7, bundle.FullChain, bundle.LeafFirst, false},
	{"x509", bundle.PEM, bundle.FullChain, bundle.LeafLast, false},
	{"x509R", bundle.PEM, bundle.FullChain, bundle.LeafFirst, false},
	{"x509CO", bundle.PEM, bundle.Leaf, bundle.LeafFirst, false},
	{"x509IO", bundle.PEM, bundle.Issuers, bundle.LeafLast, false},
	{"x509IOR", bundle.PEM, bundle.Issuers, bundle.LeafFirst, false},
	{"pem", bundle.PEM, bundle.FullChain, bundle.LeafLast, false},
	{"pemco", bundle.PEM, bundle.Leaf, bundle.LeafFirst, false},
	{"pemia", bundle.PEM, bundle.FullChain, bundle.LeafFirst, true},
}

// formOf finds a form by its name, in any letter case. None is base64.
func formOf(name string) (collectForm, error) {
	if name == "" {
		return collectForms[0], nil
	}
	var known []string
	for _, f := range collectForms {
		if strings.EqualFold(f.name, name) {
			return f, nil
		}
		known = append(known, f.name)
	}
	return collectForm{}, coded(http.StatusBadRequest, codeFormat, problem.New(problem.Malformed, "format: there is no format %s; give %s", quoted(name), strings.Join(known, ", ")))
}

// collect hands a certificate out, in a form that the path or the query names.
func (s *Server) collect(c *call) error {
	name := c.args["format"]
	if name == "" {
		name = c.query.Get("format")
	}
	form, err := formOf(name)
	if err != nil {
		return err
	}
	asked, e, err := c.current("sslId")
	if err != nil {
		return missing(err)
	}
	if err := s.collectable(e.Status(s.Now())); err != nil {
		return err
	}
	leaf, issuers, err := s.certificates(c, e)
	if err != nil {
		return err
	}
	data, err := form.encode(leaf, issuers)
	if err != nil {
		return recoded(err, problem.Conflict, http.StatusBadRequest, codeNotAvailable)
	}
	return c.file(asked, form.format, data)
}

// collectable is nil for a status in which there is a certificate to collect.
func (s *Server) collectable(status ra.Status) error {
	refusal := func(code int, format string, args ...any) error {
		return coded(http.StatusBadRequest, code, problem.New(problem.Conflict, format, args...))
	}
	switch status {
	case ra.StatusIssued, ra.StatusExpired:
		return nil
	case ra.StatusValidating, ra.StatusWaiting, ra.StatusApproved, ra.StatusRequested:
		return refusal(codeProcessing, "%s", s.Processing)
	case ra.StatusRevoked:
		return refusal(codeRevoked, "the certificate is revoked and cannot be downloaded")
	default:
		return refusal(codeNotCollectable, "the certificate is not collectable: its status is %s", statusLabel(status))
	}
}

// encode writes a certificate and what certified it, all in DER, in the form. A form with issuers wants to have one, because a file
// that lacks them fails only where it is used.
func (f collectForm) encode(leaf []byte, issuers [][]byte) ([]byte, error) {
	if f.content == bundle.Leaf {
		issuers = nil
	} else if cert, err := x509.ParseCertificate(leaf); len(issuers) == 0 && (err != nil || !bytes.Equal(cert.RawIssuer, cert.RawSubject)) {
		return nil, problem.New(problem.Conflict, "no issuer's certificate is known of it; collect it alone, in format x509CO")
	}
	chain, err := bundle.NewChain(leaf, issuers)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "")
	}
	return chain.Encode(f.format, bundle.Options{Content: f.content, Order: f.order, OmitRoot: f.noRoot && len(issuers) > 1})
}

// certificates reads the certificate of an enrollment and what certified it, in DER.
func (s *Server) certificates(c *call, e *ra.Enrollment) (leaf []byte, issuers [][]byte, err error) {
	if e.Imported {
		return s.Registrar.ImportedCertificate(c.ctx, e)
	}
	if leaf, err = s.certificate(c.ctx, e); err != nil {
		return nil, nil, err
	}
	if chain := s.Chain(e.Issuer); len(chain) > 0 {
		issuers, err = bundle.Read(chain)
	}
	return leaf, issuers, err
}

// file answers with octets. Their number is said, because clients take an answer without it for an empty one.
func (c *call) file(id ra.ID, f bundle.Format, data []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream;charset=UTF-8")
	if f == bundle.PKCS7 {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%d.%s"`, id, f.Extension()))
	h.Set("Content-Length", strconv.Itoa(len(data)))
	c.w.WriteHeader(http.StatusOK)
	if _, err := c.w.Write(data); err != nil {
		return &answered{err}
	}
	return nil
}

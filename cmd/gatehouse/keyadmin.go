package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// keyAdd is what key add sends.
type keyAdd struct {
	Kind        string `json:"kind"`
	Label       string `json:"label,omitempty"`
	Seconds     int64  `json:"seconds,omitempty"` // until it expires; zero: it does not
	Certificate string `json:"certificate,omitempty"`
}

// keyRotate is what key rotate sends.
type keyRotate struct {
	Overlap     int64  `json:"overlap,omitempty"` // seconds
	Seconds     int64  `json:"seconds,omitempty"` // until the new one expires; zero: as before
	Certificate string `json:"certificate,omitempty"`
}

func (a *admin) viewKey(p *auth.Principal, c auth.Credential) keyView {
	return keyView{
		ID: c.ID, Kind: c.Kind.String(), Public: c.Public(), Label: c.Label, Status: c.Status(a.now()), User: p.ID.String(), Login: p.Login, Org: a.slugOf(p.Org),
		Subject: c.Subject, Created: c.Created, Rotated: c.Rotated, PreviousUntil: c.PreviousUntil, Expires: c.Expires, Revoked: c.Revoked,
	}
}

// shownKey is a view with what is shown once.
func (a *admin) shownKey(p *auth.Principal, c auth.Credential, s auth.Secret) keyView {
	v := a.viewKey(p, c)
	v.Key, v.ClientID, v.ClientSecret = s.Key, s.ClientID, s.ClientSecret
	return v
}

// readCertificate reads the first certificate of a PEM text; nil for an empty text.
func readCertificate(text string) (*x509.Certificate, error) {
	if text == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, problem.New(problem.Malformed, "the file does not begin with a certificate in PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "the certificate cannot be read: %v", err)
	}
	return c, nil
}

func (a *admin) keyAdd(caller auth.Caller, r *http.Request) (any, error) {
	var in keyAdd
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	kind, ok := auth.ParseCredentialKind(in.Kind)
	if !ok {
		return nil, problem.New(problem.Malformed, "kind %q is not known; give api, oauth, certificate or certificate-key", in.Kind)
	}
	lives, err := lifetime(in.Seconds)
	if err != nil {
		return nil, err
	}
	certificate, err := readCertificate(in.Certificate)
	if err != nil {
		return nil, err
	}
	p, c, secret, err := a.principals.AddCredential(r.Context(), caller, userRef(r), auth.NewCredential{Kind: kind, Label: in.Label, Lifetime: lives, Certificate: certificate})
	if err != nil {
		return nil, err
	}
	return a.shownKey(p, c, secret), nil
}

func (a *admin) keyGet(caller auth.Caller, r *http.Request) (any, error) {
	p, used, err := a.principals.Owner(r.Context(), caller, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	for _, v := range a.viewUser(p, used).Credentials {
		if v.ID == r.PathValue("id") {
			return v, nil
		}
	}
	return nil, problem.New(problem.NotFound, "there is no such credential; gatehouse key list shows them")
}

func (a *admin) keyRotate(caller auth.Caller, r *http.Request) (any, error) {
	var in keyRotate
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	certificate, err := readCertificate(in.Certificate)
	if err != nil {
		return nil, err
	}
	how := auth.Rotation{Certificate: certificate}
	if how.Overlap, err = lifetime(in.Overlap); err != nil {
		return nil, err
	}
	if how.Lifetime, err = lifetime(in.Seconds); err != nil {
		return nil, err
	}
	p, c, secret, err := a.principals.Rotate(r.Context(), caller, r.PathValue("id"), how)
	if err != nil {
		return nil, err
	}
	return a.shownKey(p, c, secret), nil
}

func (a *admin) keyRevoke(caller auth.Caller, r *http.Request) (any, error) {
	if err := noBody(r); err != nil {
		return nil, err
	}
	p, c, err := a.principals.Revoke(r.Context(), caller, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return a.viewKey(p, c), nil
}

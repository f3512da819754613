package scm

import (
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// The limits of what a request says, in characters but for the last.
const (
	maxComments          = 1024
	maxExternalRequester = 512
	maxFieldText         = 256
	maxName              = 255
	maxFields            = 100
)

// enrolled is the answer to a request that was taken.
type enrolled struct {
	SSLID   ra.ID  `json:"sslId"`
	RenewID string `json:"renewId"`
}

// enroll asks for a certificate for a CSR.
func (s *Server) enroll(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("orgId", "csr", "certType")
	der, csr, err := readCSR(o)
	if err != nil {
		return err
	}
	req, err := c.request(o)
	if err != nil {
		return err
	}
	req.CSR, req.Names = der, identifier.SortUnique(append(csr.Names, req.Names...))
	return c.submit(req)
}

// request is what both ways to enroll say alike. Its Names are those of subjAltNames.
func (c *call) request(o *rest.Object) (ra.Request, error) {
	req := ra.Request{Door: ra.DoorSCM, Comments: o.Text("comments", maxComments)}
	org, number, term := o.Int("orgId", 1, math.MaxInt32), o.Int("certType", 1, math.MaxInt32), o.Int("term", 1, maxTerm)
	req.ExternalRequesters, req.CustomFields = externalRequesters(o), customFieldsOf(o)
	req.Names = namesOf(o, "subjAltNames")
	req.Validate = c.validation(o)
	if err := o.Err(); err != nil {
		return req, err
	}
	found, err := c.organisation(org)
	if err != nil {
		return req, err
	}
	// Who may not ask here hears nothing of profiles, which are a matter of the organisation's.
	if err := c.s.Organisations.May(c.caller, auth.Request, found); err != nil {
		return req, err
	}
	profile, err := c.s.profileOf(found, number)
	if err != nil {
		return req, err
	}
	req.Org, req.Profile = found, profile.Name()
	if term != 0 {
		req.Term, err = c.s.termOf(profile, term)
	}
	return req, err
}

// maxTerm is the longest term that is read, in days: a hundred years.
const maxTerm = 36_525

// submit asks for what a request says, and answers with the numbers of what came of it.
func (c *call) submit(req ra.Request) error {
	publishes := func(n identifier.Identifier) bool {
		return len(c.s.Registrar.Profiles[req.Profile].PublicationsFor(n)) > 0
	}
	if !slices.ContainsFunc(req.Names, publishes) {
		req.Validate = nil // clients send dcvMode whatever the profile does, and look for the number of names that lack a proof
	}
	e, err := c.s.Registrar.Submit(c.ctx, c.caller, req)
	if err != nil {
		return unproved(err)
	}
	return c.answer(enrolled{e.ID, e.RenewID()})
}

// unproved gives the refusal of names that lack a proof its number.
func unproved(err error) error {
	if p := problem.From(err); p != nil && p.Kind == problem.Unauthorized && len(p.Parts) > 0 {
		return coded(http.StatusBadRequest, codeNotValidated, err)
	}
	return err
}

// externalRequesters reads the addresses of a comma list.
func externalRequesters(o *rest.Object) []string {
	var list []string
	for part := range strings.SplitSeq(o.Text("externalRequester", maxExternalRequester), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// customFieldsOf reads custom fields, which are named.
func customFieldsOf(o *rest.Object) []policy.FieldValue {
	list := []policy.FieldValue{}
	for _, f := range o.Objects("customFields", maxFields) {
		f.Require("name")
		list = append(list, policy.FieldValue{Name: f.Text("name", maxFieldText), Value: f.Text("value", maxFieldText)})
	}
	return list
}

// namesOf reads names from an array or a comma list.
func namesOf(o *rest.Object, member string) []identifier.Identifier {
	var list []identifier.Identifier
	for _, text := range o.TextsOrText(member, ",", policy.MaxNames, maxName) {
		id, err := parseName(strings.TrimSpace(text))
		if err != nil {
			o.Refuse(member, "%v", err)
			return nil
		}
		list = append(list, id)
	}
	return list
}

// parseName reads a host name or an address.
func parseName(text string) (identifier.Identifier, error) {
	if id, err := identifier.ParseIP(text); err == nil {
		return id, nil
	}
	return identifier.ParseDNS(text)
}

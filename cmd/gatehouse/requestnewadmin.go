package main

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// requestNew is what request new sends.
type requestNew struct {
	Org      string       `json:"org,omitempty"`      // slug; empty: the principal's home
	As       string       `json:"as,omitempty"`       // principal; empty: the operator itself
	Customer string       `json:"customer,omitempty"` // slug, of a login
	Profile  string       `json:"profile"`
	CSR      []byte       `json:"csr,omitempty"`     // DER
	KeyType  string       `json:"keyType,omitempty"` // in its place
	Names    []string     `json:"names,omitempty"`   // empty: those of the CSR
	Term     int64        `json:"term,omitempty"`    // in seconds; zero leaves it to the profile
	Fields   []fieldValue `json:"fields,omitempty"`
	Method   string       `json:"method,omitempty"` // of names without a proof; empty: they are refused
}

func (a *admin) requestNew(caller auth.Caller, r *http.Request) (any, error) {
	var in requestNew
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	req, err := in.request()
	if err != nil {
		return nil, err
	}
	if in.As != "" {
		req.Agent = caller.Principal
		if caller, err = a.principals.Acting(r.Context(), caller, principalRef(in.As, in.Customer)); err != nil {
			return nil, err
		}
	}
	switch org, known := a.organisations.BySlug(in.Org); {
	case known:
		req.Org = org.ID
	case in.Org != "":
		return nil, problem.New(problem.NotFound, "there is no organisation %q; gatehouse org list shows them", in.Org)
	case in.As == "":
		return nil, problem.New(problem.Malformed, "org is missing; name the organisation that is to have the certificate")
	}
	e, err := a.registrar.Submit(r.Context(), caller, req)
	if err != nil {
		return nil, a.explainRefusal(err, req.Profile, cmp.Or(req.Org, caller.Org))
	}
	return a.viewRequest(e), nil
}

// request is what was sent as the registration authority takes it, without who asks.
func (in *requestNew) request() (ra.Request, error) {
	req := ra.Request{Door: ra.DoorConsole, Profile: in.Profile, CSR: in.CSR, Key: policy.KeyType(in.KeyType)}
	if in.Term < 0 || in.Term > int64(maxDays)*24*60*60 {
		return req, problem.New(problem.Malformed, "term is %d, which is no number of seconds", in.Term)
	}
	req.Term = time.Duration(in.Term) * time.Second
	for _, f := range in.Fields {
		req.CustomFields = append(req.CustomFields, policy.FieldValue{Name: f.Name, Value: f.Value})
	}
	for _, name := range in.Names {
		id, err := identifier.ParseIP(name)
		if err != nil {
			id, err = identifier.ParseDNS(name)
		}
		if err != nil {
			return req, problem.Wrap(err, problem.Malformed, "name: %v", err)
		}
		req.Names = append(req.Names, id)
	}
	if len(req.Names) == 0 && len(req.CSR) > 0 {
		csr, err := policy.ParseCSR(req.CSR)
		if err != nil {
			return req, err
		}
		req.Names = csr.Names
	}
	if in.Method == validateLater {
		req.Validate = &ra.Validation{}
	} else if in.Method != "" {
		v, err := validationWord{Method: in.Method}.validation()
		if err != nil {
			return req, err
		}
		req.Validate = &v
	}
	return req, nil
}

// explainRefusal adds to a refusal what it says of each name, and of names without a proof what makes one.
func (a *admin) explainRefusal(err error, profile string, org auth.OrgID) error {
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || len(p.Parts) == 0 {
		return err
	}
	lines := []string{p.Detail}
	unproved := false
	for _, part := range p.Parts {
		if len(p.Parts) > 1 {
			lines = append(lines, part.Detail)
		}
		unproved = unproved || part.Kind == problem.Unauthorized
	}
	if unproved {
		slug := a.slugOf(org)
		remedy := "domains of the organisation prove names: gatehouse domain list --org " + slug + " shows them, gatehouse domain add NAME --org " + slug +
			" and gatehouse domain validate NAME make one"
		if at := a.profiles[profile]; at != nil && at.Requirement() == policy.PerRequest {
			remedy += "; --validate METHOD validates the names for this request alone"
		}
		lines = append(lines, remedy)
	}
	return problem.Wrap(err, p.Kind, "%s", strings.Join(lines, "\n"))
}

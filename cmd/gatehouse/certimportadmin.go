package main

import (
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// maxImportBody is what cert import sends at once, and more than that: a certificate of the largest size with all its issuers'
// takes 960 KiB in base64.
const maxImportBody = 4 << 20

// certImport is what cert import sends.
type certImport struct {
	Org                string             `json:"org,omitempty"` // slug; empty: the organisation of /acme/directory
	Profile            string             `json:"profile,omitempty"`
	Comments           string             `json:"comments,omitempty"`
	ExternalRequesters []string           `json:"externalRequesters,omitempty"`
	Fields             []fieldValue       `json:"fields,omitempty"`
	Issuers            [][]byte           `json:"issuers,omitempty"` // DER
	Certificates       []certImportedItem `json:"certificates"`
}

type certImportedItem struct {
	Certificate []byte `json:"certificate"`       // DER
	Issuers     []int  `json:"issuers,omitempty"` // places in certImport.Issuers
}

// certImportResults is what it is answered, in the certificates' order.
type certImportResults struct {
	Results []certImportResult `json:"results"`
}

// certImportResult is what became of one certificate.
type certImportResult struct {
	File    string   `json:"file,omitempty"` // said by the command
	ID      int64    `json:"id,omitempty"`
	Created bool     `json:"created"`
	Serial  string   `json:"serial,omitempty"`
	Status  string   `json:"status,omitempty"`
	Names   []string `json:"names,omitempty"`
	Ignored int      `json:"ignoredNames,omitempty"`
	Error   string   `json:"error,omitempty"`
}

func (a *admin) importAll(caller auth.Caller, r *http.Request) (any, error) {
	var in certImport
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	org := a.organisations.Default().ID
	if in.Org != "" {
		found, err := a.tenants.Get(r.Context(), caller, in.Org)
		if err != nil {
			return nil, err
		}
		org = found.ID
	}
	var fields []policy.FieldValue
	for _, f := range in.Fields {
		fields = append(fields, policy.FieldValue{Name: f.Name, Value: f.Value})
	}
	items := make([]ra.ImportItem, len(in.Certificates))
	for i, c := range in.Certificates {
		items[i] = ra.ImportItem{
			Org: org, Certificate: c.Certificate, Profile: in.Profile, Comments: in.Comments, ExternalRequesters: in.ExternalRequesters,
			CustomFields: fields,
		}
		for _, n := range c.Issuers {
			if n < 0 || n >= len(in.Issuers) {
				return nil, problem.New(problem.Malformed, "certificate %d names issuer %d, and %d were sent", i+1, n, len(in.Issuers))
			}
			items[i].Issuers = append(items[i].Issuers, in.Issuers[n])
		}
	}
	results, err := a.registrar.Import(r.Context(), caller, ra.DoorConsole, items)
	if err != nil {
		return nil, err
	}
	answer := certImportResults{Results: make([]certImportResult, len(results))}
	for i, result := range results {
		answer.Results[i] = a.viewImport(result)
	}
	return answer, nil
}

func (a *admin) viewImport(result ra.ImportResult) certImportResult {
	if result.Err != nil {
		return certImportResult{Error: problem.From(result.Err).Detail}
	}
	e := result.Enrollment
	v := certImportResult{
		ID: int64(e.ID), Created: result.Created, Serial: string(e.Serial), Status: string(e.Status(a.now())), Ignored: result.Ignored, Names: []string{},
	}
	for _, n := range e.Names {
		v.Names = append(v.Names, n.Value())
	}
	return v
}

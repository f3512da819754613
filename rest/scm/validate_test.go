package scm

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// published answers validations by what was published, by location.
type published struct {
	w     *world
	there map[string]string
}

func (p *published) Check(_ context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	rec := &dcv.Record{Started: p.w.clock(), Finding: &dcv.Finding{}}
	if p.there[dcv.Location(req.Method, req.Identifier, req.Publication)] != req.Publication.Value {
		return nil, rec, problem.New(problem.DNS, "nothing is there")
	}
	return &dcv.Proof{Method: req.Method, Identifier: req.Identifier, At: p.w.clock(), Seen: "here"}, rec, nil
}

// validating adds to a world the profile 10, whose names are validated.
func (w *world) validating() *published {
	w.t.Helper()
	p, err := policy.New(policy.Config{
		Name: "validated", Number: 10, Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 12 * time.Hour,
		DCVMethods: []dcv.Method{dcv.DNSTXT, dcv.CSRHashHTTP, dcv.CSRHashHTTPS, dcv.CSRHashCNAME},
	})
	must(w.t, err)
	net := &published{w: w, there: map[string]string{}}
	c := w.Registrar.Config
	c.Profiles["validated"], c.Allowed = p, func(auth.OrgID, string) bool { return true }
	c.Validation = ra.RequestValidation{Validator: net, Target: "dcv.example.net", Suffix: "ca.example.net"}
	w.Registrar = ra.New(c)
	return net
}

// unpublished adds a profile by none of whose methods something is published, as that of gatehouse init.
func (w *world) unpublished() (number int32) {
	w.t.Helper()
	p, err := policy.New(policy.Config{Name: "challenged", Number: 11, Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 12 * time.Hour, DelegatedDomains: true})
	must(w.t, err)
	w.Registrar.Config.Profiles["challenged"] = p
	return p.Number()
}

func TestValidate(t *testing.T) {
	w := newWorld(t)
	net := w.validating()
	for i, mode := range []string{"CNAME", "HTTP", "https", "TXT"} {
		id := i + 1
		w.call("rex", "POST", "/api/ssl/v2/enroll", fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":10,"dcvMode":%q}`, w.jsonCSR("a.example.com"), mode), 200)
		w.golden(fmt.Sprintf("dcv-%s", mode), "rex", "GET", fmt.Sprintf("/api/ssl/v2/%d/dcv", id), "")
	}
	w.goldens([]exchange{
		{"dcv-v1", "aud", "GET", "/api/ssl/v1/1/dcv", ""},
		{"dcv-foreign", "olga", "GET", "/api/ssl/v2/1/dcv", ""},
		{"dcv-no-id", "rex", "GET", "/api/ssl/v2/4711/dcv", ""},
		{"dcv-collect", "rex", "GET", "/api/ssl/v2/collect/1", ""},
		{"recheck-open", "rex", "POST", "/api/ssl/v1/1/dcv/recheck", ""},
		{"recheck-foreign", "olga", "POST", "/api/ssl/v2/1/dcv/recheck", ""},
		{"recheck-auditor", "aud", "POST", "/api/ssl/v2/1/dcv/recheck", ""},
	})
	for _, c := range w.enrollment(1).Challenges {
		net.there[dcv.Location(c.Method, c.Identifier, c.Publication)] = c.Publication.Value
	}
	w.golden("recheck", "rex", "POST", "/api/ssl/v2/1/dcv/recheck", "")
	if e := w.enrollment(1); e.Phase != ra.Issued {
		t.Errorf("it is %+v", e)
	}
	w.goldens([]exchange{
		{"dcv-done", "rex", "GET", "/api/ssl/v2/1/dcv", ""},
		{"recheck-done", "rex", "POST", "/api/ssl/v2/1/dcv/recheck", ""},
	})
}

// TestNotValidated: names that lack a proof are refused where nothing is said of how to validate them, or nothing could.
func TestNotValidated(t *testing.T) {
	w := newWorld(t)
	w.validating()
	body := fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":10}`, w.jsonCSR("a.example.com"))
	w.goldens([]exchange{
		{"enroll-not-validated", "rex", "POST", "/api/ssl/v2/enroll", body},
		{"enroll-validated-by-mail", "rex", "POST", "/api/ssl/v2/enroll", with(t, body, "dcvMode", `"EMAIL"`, "dcvEmail", `"admin@example.com"`)},
	})
	w.golden("enroll-no-method", "rex", "POST", "/api/ssl/v2/enroll", fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":%d,"dcvMode":"CNAME"}`, w.jsonCSR("a.example.com"), w.unpublished()))
	c := w.Registrar.Config
	c.Validation = ra.RequestValidation{}
	w.Registrar = ra.New(c)
	w.golden("enroll-no-validation", "rex", "POST", "/api/ssl/v2/enroll", with(t, body, "dcvMode", `"CNAME"`))
	if n := w.total(); n != 0 {
		t.Errorf("%d enrollments came of it", n)
	}
}

package policy

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// own is the profile of a gateway that is reached by a name and an address.
func own() Config {
	return Config{Name: "own", Issuer: "local", Own: true, AllowNames: []string{"ca.example.com", "192.0.2.1"}}
}

// ownRequest is the gateway's own, with the proofs that go with it.
func ownRequest(t testing.TB, values ...string) Request {
	r := goodRequest(t, values...)
	r.Requester = Requester{Org: r.Requester.Org, Door: "system", Principal: System}
	r.Proofs = nil
	for _, id := range r.Names {
		r.Proofs = append(r.Proofs, Proven{Proof: dcv.Proof{Method: Configured, Identifier: id, At: r.Now}, Org: r.Requester.Org})
	}
	return r
}

func TestOwnProfileRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"public mode":       {func(c *Config) { c.Mode, c.Now, c.AllowNames = Public, testNow, c.AllowNames[:1] }, "mode: the gateway's own certificate is issued without a validation"},
		"a method":          {func(c *Config) { c.DCVMethods = []dcv.Method{dcv.HTTP01} }, "dcv_methods: the gateway's own certificate has no validation"},
		"any name":          {func(c *Config) { c.AllowNames = nil }, "allow_names: the gateway's own names are missing"},
		"a pattern":         {func(c *Config) { c.AllowNames = []string{"*.example.com"} }, `"*.example.com" is no name or address of the gateway itself`},
		"a range":           {func(c *Config) { c.AllowNames = []string{"192.0.2.0/24"} }, `"192.0.2.0/24" is no name or address of the gateway itself`},
		"configured, alone": {func(c *Config) { c.Own, c.DCVMethods = false, []dcv.Method{Configured} }, `dcv_methods: "configured" is no validation method`},
	} {
		cfg := own()
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %s", name, err, tt.says)
		}
	}
}

func TestOwnCertificateIsDecided(t *testing.T) {
	d, err := mustNew(t, own()).Decide(ownRequest(t, "ca.example.com", "192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Names) != 2 || d.Requester.Principal != System {
		t.Errorf("decided %+v", d)
	}
}

func TestOwnProfileIsTheGatewaysAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		profile Config
		change  func(*Request)
		kind    problem.Kind
		says    string
	}{
		"an account": {own(), func(r *Request) { r.Requester.Principal = "acme:1" }, problem.Unauthorized, "is not the requester's to use"},
		"an account with the gateway's proofs": {own(), func(r *Request) {
			r.Requester.Principal = "acme:1"
			for i := range r.Proofs {
				r.Proofs[i].Account = "1"
			}
		}, problem.Unauthorized, "is not the requester's to use"},
		"the operator":                    {own(), func(r *Request) { r.Requester.Principal = "uid:0" }, problem.Unauthorized, "is not the requester's to use"},
		"the gateway by a door's profile": {basic(), func(*Request) {}, problem.Unauthorized, "is not the requester's to use"},
		"configured proofs by a door's profile": {basic(), func(r *Request) { r.Requester.Principal = "uid:0" }, problem.Unauthorized,
			"was validated by configured, which the profile"},
		"no proof":               {own(), func(r *Request) { r.Proofs = nil }, problem.Unauthorized, "has no proof of control"},
		"another organisation's": {own(), func(r *Request) { r.Proofs[0].Org++ }, problem.Unauthorized, "has no proof of control"},
		"a validation":           {own(), func(r *Request) { r.Proofs[0].Method = dcv.HTTP01 }, problem.Unauthorized, "was validated by http-01, which the profile"},
	} {
		r := ownRequest(t, "ca.example.com")
		tt.change(&r)
		_, err := mustNew(t, tt.profile).Decide(r)
		t.Run(name, func(t *testing.T) { wantProblem(t, err, tt.kind, tt.says) })
	}
	_, err := mustNew(t, own()).Decide(ownRequest(t, "other.example.com"))
	wantProblem(t, err, problem.RejectedIdentifier, "is not among what the profile")
}

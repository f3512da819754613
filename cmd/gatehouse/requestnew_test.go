package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// csrFile is a CSR in a file.
func csrFile(t *testing.T, names ...string) string {
	t.Helper()
	_, csr := newCSR(t, names...)
	path := filepath.Join(t.TempDir(), "csr.pem")
	must(t, os.WriteFile(path, testca.CSRPEM(csr), 0o600))
	return path
}

// provenDomains is a gateway on which sales owns a domain that is validated.
func provenDomains(t *testing.T, domain string, args ...string) *instance {
	t.Helper()
	dns, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	w := newWorld(t)
	w.args = append([]string{"--delegated-domains", "--resolver", dns.Addr()}, args...)
	i := w.start()
	i.mustCommand("org", "add", "sales")
	i.mustCommand("domain", "add", domain, "--org", "sales")
	v := i.domain("validate", domain, "--method", "txt")
	must(t, dns.Add(v.Validation.Location+". 60 IN TXT "+v.Validation.Value))
	i.domain("check", domain)
	return i
}

// here runs a command in this process.
func (w *world) here(args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	status = run(w.t.Context(), append(args, "--data", w.data), streams{&out, &errs})
	return out.String(), errs.String(), status
}

// TestRequestFromTheCommandLine: an operator asks for an organisation whose domain is proven, and in a principal's name by its
// rights and no more.
func TestRequestFromTheCommandLine(t *testing.T) {
	t.Parallel()
	i := provenDomains(t, "example.com")
	i.mustCommand("org", "add", "other")
	i.mustCommand("user", "add", "ann", "--org", "sales", "--role", "requester")
	i.mustCommand("user", "add", "eve", "--org", "other", "--role", "requester")
	i.mustCommand("user", "add", "aud", "--org", "sales", "--role", "auditor")
	good := csrFile(t, "www.example.com", "api.example.com")

	if out := i.mustCommand("request", "new", "--csr", good, "--org", "sales", "--profile", "dev"); !strings.Contains(out, "is issued (api.example.com,www.example.com)") || !strings.Contains(out, "gatehouse cert export ") {
		t.Errorf("it says\n%s", out)
	}
	var r requestView
	must(t, json.Unmarshal([]byte(i.mustCommand("request", "new", "--csr", good, "--as", "ann", "--customer", "sales", "--profile", "dev", "--wait", "--json")), &r))
	if r.Status != "issued" || !strings.HasPrefix(r.Requester, "user:") || !strings.HasPrefix(r.Agent, "uid:") || r.Door != "console" {
		t.Errorf("%+v", r)
	}
	if text := i.mustCommand("cert", "show", strconv.FormatInt(r.ID, 10)); !strings.Contains(text, "asked for by  "+r.Agent) {
		t.Errorf("cert show says\n%s", text)
	}
	for want, args := range map[string][]string{
		"lack a usable proof of control":    {"--csr", csrFile(t, "a.example.net", "b.example.net"), "--org", "sales"},
		"no proof of control":               {"--csr", good, "--org", "other", "--name", "www.example.com,api.example.com"},
		"gatehouse domain add NAME --org":   {"--csr", csrFile(t, "a.example.net"), "--org", "sales"},
		"there is no such object":           {"--csr", good, "--as", "eve", "--customer", "other", "--org", "sales"},
		"needs the role requester or":       {"--csr", good, "--as", "aud", "--customer", "sales"},
		"there is no such principal":        {"--csr", good, "--as", "nobody", "--customer", "sales"},
		"there is no organisation \"none\"": {"--csr", good, "--org", "none"},
		"give either --csr FILE or":         {"--org", "sales"},
		"name the organisation that is to":  {"--csr", good},
		"name: ":                            {"--csr", good, "--org", "sales", "--name", "a b"},
		"no keys are made or kept here":     {"--key-type", "ecdsa-p256", "--name", "www.example.com", "--org", "sales"},
		"term":                              {"--csr", good, "--org", "sales", "--term", "3650d"},
		"method: ":                          {"--csr", good, "--org", "sales", "--validate", "phone"},
	} {
		if out, errs, status := i.here(append([]string{"request", "new", "--profile", "dev"}, args...)...); status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	if list := i.certList(); len(list) != 2 {
		t.Errorf("there are %d enrollments", len(list))
	}
	i.stop()
}

// TestRequestWaitsForSomebodyElse: who asked does not approve, be it in another's name.
func TestRequestWaitsForSomebodyElse(t *testing.T) {
	t.Parallel()
	i := provenDomains(t, "example.com", "--approvals", "1")
	i.mustCommand("user", "add", "ann", "--org", "sales", "--role", "requester")
	for _, by := range [][]string{{"--org", "sales"}, {"--as", "ann", "--customer", "sales"}} {
		out := i.mustCommand(append([]string{"request", "new", "--csr", csrFile(t, "www.example.com"), "--profile", "dev"}, by...)...)
		if !strings.Contains(out, "is awaiting approval (www.example.com)\n0 of 1 approvals, role ") {
			t.Errorf("it says\n%s", out)
		}
		id := strings.Fields(out)[1]
		if _, errs, status := i.command("request", "approve", id); status != 1 || !strings.Contains(errs, "nobody approves their own request") {
			t.Errorf("%v: %s", by, errs)
		}
		i.mustCommand("request", "decline", id, "--message", "no")
	}
	i.stop()
}

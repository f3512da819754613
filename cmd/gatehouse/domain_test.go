package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// at is a gateway seen from the directory of an organisation.
func (i *instance) at(slug string) *instance {
	at := *i
	at.directory = strings.Replace(i.directory, "/acme/directory", "/acme/in/"+slug+"/directory", 1)
	return &at
}

// domain runs a command about a domain and reads what it says.
func (w *world) domain(args ...string) (v domainView) {
	w.t.Helper()
	must(w.t, json.Unmarshal([]byte(w.mustCommand(append(append([]string{"domain"}, args...), "--json")...)), &v))
	return v
}

// TestADomainIsValidatedOnce by TXT, by CNAME and by file: an ACME account of its organisation then orders below it, or by file
// the very name, with no challenge; one of another organisation does not. That outlives the process, and the store.
func TestADomainIsValidatedOnce(t *testing.T) {
	t.Parallel()
	dns, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	w := newWorld(t)
	w.args = []string{"--delegated-domains", "--resolver", dns.Addr()}
	i := w.start()
	web := i.answers()
	i.mustCommand("org", "add", "sales")
	i.mustCommand("org", "add", "sales-east", "--parent", "sales")
	i.mustCommand("org", "add", "other")

	for name, method := range map[string]string{"txt.example.com": "txt", "cname.example.com": "cname", "file.example.com": "http"} {
		if out := i.mustCommand("domain", "add", name, "--org", "sales"); !strings.Contains(out, name+" belongs to sales") {
			t.Error(out)
		}
		v := i.domain("validate", name, "--method", method)
		if _, stderr, status := i.command("domain", "check", name); status != 1 || !strings.Contains(stderr, "not validated yet") {
			t.Errorf("before it is published: %d, %s", status, stderr)
		}
		if text := i.mustCommand("domain", "show", name); !strings.Contains(text, "the last look") || !strings.Contains(text, "status        not validated") || !strings.Contains(text, v.Validation.Value) {
			t.Errorf("domain show says\n%s", text)
		}
		switch method {
		case "http":
			web.Set(v.Validation.Location[strings.LastIndexByte(v.Validation.Location, '/')+1:], v.Validation.Value)
		case "txt":
			must(t, dns.Add(v.Validation.Location+". 60 IN TXT "+v.Validation.Value))
		default:
			must(t, dns.Add(v.Validation.Location+". 60 IN CNAME "+v.Validation.Value+"."))
		}
		if v = i.domain("check", name); v.Status != "validated" || v.Proof == nil || v.Validation != nil || v.Until.IsZero() {
			t.Errorf("after it is published: %+v", v)
		}
	}
	i.mustCommand("domain", "delegate", "txt.example.com", "--to", "sales-east")
	if out := i.mustCommand("domain", "approve", "txt.example.com", "--to", "sales-east"); out != "txt.example.com: sales-east (approved)\n" {
		t.Errorf("%q", out)
	}

	try := func(i *instance) {
		t.Helper()
		sales, east, other := registered(i.at("sales")), registered(i.at("sales-east")), registered(i.at("other"))
		for _, row := range []struct {
			who   *rawClient
			names []string
			want  string
		}{
			{sales, []string{"www.txt.example.com", "*.txt.example.com", "a.b.cname.example.com", "file.example.com"}, "ready"},
			{sales, []string{"www.file.example.com"}, "pending"},
			{sales, []string{"example.com"}, "pending"},
			{east, []string{"www.txt.example.com"}, "ready"},
			{east, []string{"www.cname.example.com"}, "pending"},
			{other, []string{"www.txt.example.com"}, "pending"},
			{other, []string{"txt.example.com"}, "pending"},
		} {
			o := row.who.order(row.names...)
			if o.Status != row.want {
				t.Errorf("%v: the order is %s, want %s", row.names, o.Status, row.want)
			}
			if row.want != "ready" {
				continue
			}
			_, csr := newCSR(t, row.names...)
			row.who.finalize(o, csr).want(http.StatusOK)
			row.who.await(o)
			if text := i.mustCommand("authz", "show", o.Authorizations[0]); !strings.Contains(text, "valid by the domain ") || !strings.Contains(text, " of sales: validated by ca-") {
				t.Errorf("authz show says\n%s", text)
			}
		}
	}
	try(i)
	i.kill()
	again := w.start()
	try(again)
	again.stop()
	must(t, os.RemoveAll(filepath.Join(w.data, "store"))) // it gets back what the journal has
	i = w.start()
	try(i)

	// What is taken away serves no new order, and no order in flight.
	sales, east := registered(i.at("sales")), registered(i.at("sales-east"))
	flight, eastern := sales.order("www.cname.example.com"), east.order("www.txt.example.com")
	i.mustCommand("domain", "remove", "cname.example.com")
	i.mustCommand("domain", "reject", "txt.example.com", "--to", "sales-east")
	_, csr := newCSR(t, "www.cname.example.com")
	sales.finalize(flight, csr).wantProblem(http.StatusForbidden, "unauthorized")
	_, csr = newCSR(t, "www.txt.example.com")
	east.finalize(eastern, csr).wantProblem(http.StatusForbidden, "unauthorized")
	if o := sales.order("www.cname.example.com"); o.Status != "pending" {
		t.Errorf("under a removed domain the order is %s", o.Status)
	}
	if o := east.order("www.txt.example.com"); o.Status != "pending" {
		t.Errorf("under a delegation that was taken back the order is %s", o.Status)
	}
	if out := i.mustCommand("domain", "list", "--org", "sales"); strings.Contains(out, "cname.example.com") || !strings.Contains(out, "txt.example.com") {
		t.Errorf("domain list says\n%s", out)
	}
	i.domain("validate", "file.example.com", "--method", "txt")
	if v := i.domain("cancel", "file.example.com"); v.Validation != nil || v.Status != "validated" {
		t.Errorf("after its validation was cancelled: %+v", v)
	}
	if v := i.domain("invalidate", "file.example.com"); v.Proof != nil || v.Status != "not validated" {
		t.Errorf("after its proof was forgotten: %+v", v)
	}
	if o := sales.order("file.example.com"); o.Status != "pending" {
		t.Errorf("under a domain whose proof was forgotten the order is %s", o.Status)
	}
	if _, stderr, status := i.command("domain", "show", "cname.example.com"); status != 1 || !strings.Contains(stderr, "there is no domain cname.example.com") {
		t.Errorf("%d, %s", status, stderr)
	}
}

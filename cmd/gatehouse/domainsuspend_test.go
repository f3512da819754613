package main

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestASuspendedDomainIsRefused to ACME clients at newOrder, and at finalize where the order was there before, also after a crash
// and after the store was lost; its number stays. A delegation that was narrowed is for its kind of names alone.
func TestASuspendedDomainIsRefused(t *testing.T) {
	t.Parallel()
	dns, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	w := newWorld(t)
	w.args = []string{"--delegated-domains", "--resolver", dns.Addr()}
	i := w.start()
	i.mustCommand("org", "add", "sales")
	i.mustCommand("org", "add", "sales-east", "--parent", "sales")
	i.mustCommand("domain", "add", "example.com", "--org", "sales")
	v := i.domain("validate", "example.com", "--method", "txt")
	must(t, dns.Add(v.Validation.Location+". 60 IN TXT "+v.Validation.Value))
	number := i.domain("check", "example.com").Number
	i.mustCommand("domain", "delegate", "example.com", "--to", "sales-east", "--for", "subdomains")
	i.mustCommand("domain", "approve", "example.com", "--to", "sales-east")

	sales := registered(i.at("sales"))
	flight := sales.order("www.example.com")
	if flight.Status != "ready" {
		t.Fatalf("the order is %s", flight.Status)
	}
	if v = i.domain("suspend", "example.com"); v.Suspended.IsZero() || v.Number != number || number == 0 || v.Proof == nil {
		t.Errorf("%+v", v)
	}
	refused := func(i *instance) {
		t.Helper()
		sales := registered(i.at("sales"))
		sales.post(sales.url("newOrder"), map[string]any{"identifiers": dnsNames("www.example.com")}).wantProblem(http.StatusForbidden, "rejectedIdentifier")
		if text := i.mustCommand("domain", "show", "example.com"); !strings.Contains(text, "suspended     since ") {
			t.Errorf("domain show says\n%s", text)
		}
	}
	_, csr := newCSR(t, "www.example.com")
	sales.finalize(flight, csr).wantProblem(http.StatusForbidden, "rejectedIdentifier")
	refused(i)
	i.kill()
	again := w.start()
	refused(again)
	again.stop()
	must(t, os.RemoveAll(filepath.Join(w.data, "store")))
	i = w.start()
	refused(i)
	if v = i.domain("activate", "example.com"); !v.Suspended.IsZero() || v.Number != number || len(v.Delegations) != 1 || !slices.Equal(v.Delegations[0].Privileges, []string{"subdomains"}) {
		t.Errorf("%+v", v)
	}
	for name, want := range map[string]string{"www.example.com": "ready", "example.com": "pending"} {
		if o := registered(i.at("sales-east")).order(name); o.Status != want {
			t.Errorf("%s: the order is %s, want %s", name, o.Status, want)
		}
	}
	if _, stderr, status := i.command("domain", "suspend", "example.org"); status != 1 || !strings.Contains(stderr, "there is no domain example.org") {
		t.Errorf("%d, %s", status, stderr)
	}
}

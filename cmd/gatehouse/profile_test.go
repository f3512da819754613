package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// profileWorld is a gateway whose configuration has something for each rule.
func profileWorld(t *testing.T) (*world, *instance) {
	t.Helper()
	w := newWorld(t)
	folder := w.initialized(rootResolver(t))
	edit(t, filepath.Join(folder, initConfig),
		`  - {id: 1, slug: "main", name: "main"}`, `  - {id: 1, slug: main, name: Main, deny_names: [vpn.example.com]}`,
		"    number: 1\n    validity: 90d\n", "    number: 7\n    description: Servers inside\n    validity: 90d\n    terms: [30d, 90d]\n    key_types: [ecdsa-p256]\n    quota: {certificates: 500, per_name: 3}\n",
		"\nacme:\n", `
  open: {issuer: main, dcv_methods: [http-01, dns-01], allow_wildcards: true, validity: 36h}
  closed: {issuer: main, dcv: none, allow_names: ["*.lab.example.com"], mandatory_fields: [Owner], terms: [30d, 90d]}
custom_fields:
  - {number: 2, name: Owner, type: email}
  - {number: 1, name: Cost centre, type: number, max_length: 6, mandatory: [console]}
acme:
`)
	return w, w.serveConfig(folder)
}

// csrFile writes a CSR for a new key and names, in PEM.
func (w *world) csrFile(kind testca.KeyType, names ...string) string {
	w.t.Helper()
	key, err := testca.NewKey(kind)
	must(w.t, err)
	der, err := testca.CSR(key, names...)
	must(w.t, err)
	path := filepath.Join(w.t.(*testing.T).TempDir(), "req.pem")
	must(w.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600))
	return path
}

// changing is what differs from run to run: times, hashes, and the number of an organisation that a command made.
var changing = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|[0-9a-f]{64}|\d{6,}`)

// TestProfileTest is what an operator reads of profiles and of CSRs, word for word but for what changes.
func TestProfileTest(t *testing.T) {
	t.Parallel()
	w, i := profileWorld(t)
	w.mustCommand("org", "add", "lab", "--parent", "main", "--allow-name", "*.example.com", "--allow-name", "192.0.2.0/24")
	refused := w.csrFile(testca.P384, "www.example.com", "vpn.example.com", "www.example.org")
	good := w.csrFile(testca.P256, "www.example.com", "*.lab.example.com")
	inside := w.csrFile(testca.P256, "a.lab.example.com")
	before := w.mustCommand("cert", "list", "--json") + w.mustCommand("org", "list", "--json")
	for _, tt := range []struct {
		what, file string
		args       []string
	}{
		{"the list", "list", []string{"profile", "list"}},
		{"one profile", "show", []string{"profile", "show", "tls"}},
		{"a CSR with several faults", "refused", []string{"profile", "test", "--csr", refused, "--as", "lab"}},
		{"a request by the console, without validation", "closed", []string{"profile", "test", "--csr", inside, "--as", "main", "--profile", "closed", "--door", "console", "--field", "Cost centre=4711"}},
		{"a CSR that would pass", "open", []string{"profile", "test", "--csr", good, "--as", "main", "--profile", "open"}},
	} {
		got := changing.ReplaceAllString(w.mustCommand(tt.args...), "…")
		want, err := os.ReadFile(filepath.Join("testdata", "profile", tt.file+".txt"))
		must(t, err)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
	var v profileTestView
	must(t, json.Unmarshal([]byte(w.mustCommand("profile", "test", "--csr", refused, "--as", "lab", "--json")), &v))
	outcomes := map[string]string{}
	for _, c := range v.Checks {
		outcomes[c.Rule] = c.Outcome
	}
	if v.Verdict != "refused" || outcomes["organisation-names"] != "fail" || outcomes["key"] != "fail" || outcomes["proofs"] != "open" || outcomes["names"] != "pass" {
		t.Errorf("verdict %s, outcomes %v", v.Verdict, outcomes)
	}
	if after := w.mustCommand("cert", "list", "--json") + w.mustCommand("org", "list", "--json"); after != before {
		t.Error("the tests have changed something")
	}
	for says, args := range map[string][]string{
		`there is no organisation with the slug "none"`: {"--csr", good, "--as", "none"},
		`there is no ACME account "nobody"`:             {"--csr", good, "--as", "main/nobody"},
		`there is no profile "none"`:                    {"--csr", good, "--as", "main", "--profile", "none"},
		`an ACME order names neither a term nor custom`: {"--csr", good, "--as", "main", "--door", "acme", "--term", "30d"},
		`an ACME account asks by ACME alone`:            {"--csr", good, "--as", "main/x", "--field", "Owner=a@example.com"},
		`there is no door "window"`:                     {"--csr", good, "--as", "main", "--door", "window"},
		`--term "30" is no term`:                        {"--csr", good, "--as", "main", "--term", "30"},
		`--field "Owner" is not NAME=VALUE`:             {"--csr", good, "--as", "main", "--field", "Owner"},
		`holds neither PEM nor DER`:                     {"--csr", "profile_test.go", "--as", "main"},
	} {
		if _, stderr, status := w.command(append([]string{"profile", "test"}, args...)...); status != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
	// A term and custom fields, by the console.
	for _, tt := range []struct {
		args                  []string
		verdict, term, fields string
	}{
		{[]string{"--term", "30d", "--field", "Cost centre=4711", "--field", "Owner=a@example.com"}, "issues", "pass", "pass"},
		{[]string{"--term", "60d", "--field", "Cost centre=47.11.1"}, "refused", "fail", "fail"},
		{[]string{"--field", "Colour=red"}, "refused", "pass", "fail"},
	} {
		args := append([]string{"profile", "test", "--csr", inside, "--as", "main", "--profile", "closed", "--json"}, tt.args...)
		must(t, json.Unmarshal([]byte(w.mustCommand(args...)), &v))
		got := map[string]string{}
		for _, c := range v.Checks {
			got[c.Rule] = c.Outcome
		}
		if v.Verdict != tt.verdict || got["term"] != tt.term || got["custom-fields"] != tt.fields || got["proofs"] != "pass" {
			t.Errorf("%v: verdict %s, %v", tt.args, v.Verdict, got)
		}
	}
	// An order under a profile without validation needs no challenge, and is on record as such.
	c := registered(i.at("main/closed"))
	o := c.order("a.lab.example.com")
	_, csr := newCSR(t, "a.lab.example.com")
	if c.finalize(o, csr).want(http.StatusOK); o.Status != "ready" {
		t.Errorf("the order is %s", o.Status)
	}
	c.await(o)
	if text := w.mustCommand("authz", "show", o.Authorizations[0]); !strings.Contains(text, `valid from the beginning: no validation was required: the profile "closed" allows the name`) {
		t.Errorf("authz show says\n%s", text)
	}
	c.post(c.url("newOrder"), map[string]any{"identifiers": dnsNames("www.example.com")}).want(http.StatusForbidden)
	// A disabled organisation is refused by the first rule, and a profile that is not its own too.
	w.mustCommand("org", "set", "lab", "--no-profiles")
	must(t, json.Unmarshal([]byte(w.mustCommand("profile", "test", "--csr", good, "--as", "lab", "--json")), &v))
	if c := v.Checks[0]; c.Rule != "organisation" || c.Outcome != "fail" || v.Verdict != "refused" {
		t.Errorf("without profiles: %+v", v)
	}
}

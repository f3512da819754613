package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestLifeFromTheCommandLine: an enrollment is renewed, replaced, described, looked after and removed by the operator's commands.
func TestLifeFromTheCommandLine(t *testing.T) {
	t.Parallel()
	i := provenDomains(t, "example.com")
	ask := func(name string) string {
		t.Helper()
		var r requestView
		must(t, json.Unmarshal([]byte(i.mustCommand("request", "new", "--csr", csrFile(t, name), "--org", "sales", "--profile", "dev", "--json")), &r))
		return fmt.Sprint(r.ID)
	}
	show := func(id string) (e enrollmentView) {
		t.Helper()
		must(t, json.Unmarshal([]byte(i.mustCommand("cert", "show", id, "--json")), &e))
		return e
	}
	successor := func(args ...string) (e enrollmentView) {
		t.Helper()
		must(t, json.Unmarshal([]byte(i.mustCommand(append([]string{"cert"}, append(args, "--json")...)...)), &e))
		return e
	}
	first := ask("www.example.com")
	i.mustCommand("cert", "update", first, "--comments", "for the shop", "--external-requester", "ann@example.com", "--auto-renew", "10", "--notifications", "off")
	if out := i.mustCommand("cert", "location", "add", first, "--name", "rack 7", "--detail", "host=a1", "--detail", "port=443"); out != "location 1: rack 7, host=a1, port=443\n" {
		t.Errorf("it says %s", out)
	}
	i.mustCommand("cert", "location", "set", first, "1", "--name", "rack 8")
	i.mustCommand("cert", "location", "add", first, "--name", "spare")
	i.mustCommand("cert", "location", "remove", first, "2")
	text := i.mustCommand("cert", "show", first)
	for _, want := range []string{"for the shop", "ann@example.com", "10 days before its end, next at ", "notifications", "rack 8"} {
		if !strings.Contains(text, want) {
			t.Errorf("cert show lacks %q:\n%s", want, text)
		}
	}
	second := successor("renew", first)
	if second.Status != "issued" || fmt.Sprint(second.Replaces) != first || second.Comments != "for the shop" || !strings.HasPrefix(second.Requester, "uid:") {
		t.Errorf("the renewal is %+v", second)
	}
	third := successor("replace", fmt.Sprint(second.ID), "--csr", csrFile(t, "www.example.com", "shop.example.com"), "--name", "www.example.com,shop.example.com", "--reason", "the shop moves")
	if third.Status != "issued" || third.ReplaceReason != "the shop moves" || len(third.Names) != 2 {
		t.Errorf("the replacement is %+v", third)
	}
	var lineage listView
	must(t, json.Unmarshal([]byte(i.mustCommand("cert", "lineage", fmt.Sprint(second.ID), "--json")), &lineage))
	if len(lineage.Enrollments) != 3 || fmt.Sprint(lineage.Enrollments[0].ID) != first || lineage.Enrollments[2].ID != third.ID {
		t.Errorf("the lineage is %+v", lineage)
	}
	if out := i.mustCommand("cert", "revoke", first, "--reason", "superseded", "--comment", "replaced"); !strings.HasPrefix(out, "revoked ") || show(first).Revocation.Comment != "replaced" {
		t.Errorf("it says %s", out)
	}
	marked := ask("m.example.com")
	i.mustCommand("cert", "renew", marked, "--mark")
	i.mustCommand("cert", "remove", first)
	if list := i.certList(); len(list) != 3 || show(first).Removed.IsZero() {
		t.Errorf("%d are listed, and the removed one is %+v", len(list), show(first))
	}
	for want, args := range map[string][]string{
		"takes the place of enrollment":      {"renew", fmt.Sprint(second.ID)},
		"there is no enrollment":             {"renew", first},
		"--by goes with --mark":              {"renew", marked, "--by", first},
		"there is no enrollment 999":         {"update", "999", "--comments", "x"},
		"nothing is to be changed":           {"update", marked},
		"no plain mail address":              {"update", marked, "--external-requester", "ann"},
		"give a number of days, or off":      {"update", marked, "--auto-renew", "soon"},
		"there is no custom field":           {"update", marked, "--field", "colour=red"},
		"has no location 5":                  {"location", "remove", marked, "5"},
		"a name or at least one":             {"location", "add", marked},
		"give KEY=VALUE":                     {"location", "add", marked, "--detail", "host"},
		"was issued here; revoke it":         {"revoke", marked, "--elsewhere"},
		"--at goes with --elsewhere":         {"revoke", marked, "--at", "2027-01-31"},
		"the CSR adds x.example.com":         {"replace", marked, "--csr", csrFile(t, "x.example.com")},
		"reason \"because\" is not known":    {"revoke", marked, "--reason", "because"},
		"the comment on a revocation must b": {"revoke", marked, "--comment", "two\nlines"},
	} {
		if out, errs, status := i.here(append([]string{"cert"}, args...)...); status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
}

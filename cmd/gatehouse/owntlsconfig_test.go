package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// TestTLSFaults are those of the tls section: where they are and what to write instead.
func TestTLSFaults(t *testing.T) {
	t.Parallel()
	folder := hierarchyFolder(t)
	own := func(section string) string { return goodConfig + "tls: " + section + "\n" }
	for name, fault := range map[string]struct{ text, at, says string }{
		"both forms":      {own("{cert: a.pem, key: a.key, issuer: main, names: [ca.example.com]}"), "9:6", "tls holds both forms; keep either cert and key, .*"},
		"mixed forms":     {own("{cert: a.pem, names: [ca.example.com]}"), "9:6", "tls holds both forms; .*"},
		"validity alone":  {own("{cert: a.pem, key: a.key, validity: 30d}"), "9:6", "tls holds both forms; .*"},
		"nothing":         {own("{}"), "9:6", "tls holds nothing; give either cert and key, .*, or remove it to serve plain HTTP"},
		"no names":        {own("{issuer: main}"), "9:6", `tls.names is missing; add for example tls: \{issuer: main, names: \[ca.example.com\]\}`},
		"no issuer":       {own("{names: [ca.example.com]}"), "9:6", "tls.issuer is missing; add for example .*"},
		"unknown issuer":  {own("{issuer: mian, names: [ca.example.com]}"), "9:15", `issuer "mian" is not defined under issuers`},
		"a wildcard":      {own("{issuer: main, names: [ca.example.com, '*.example.com']}"), "9:45", `"\*.example.com" is a wildcard; list the gateway's own names and addresses`},
		"no name":         {own("{issuer: main, names: ['ca example']}"), "9:29", `.*"ca example".*`},
		"a URL":           {own("{issuer: main, names: ['https://ca.example.com']}"), "9:29", `.*"https://ca.example.com".*`},
		"a public suffix": {own("{issuer: main, names: [co.uk]}"), "9:28", `co.uk is a public suffix.*`},
		"short validity":  {own("{issuer: main, names: [ca.example.com], validity: 30m}"), "9:56", "30m0s is too short to be renewed in time; take 1h0m0s or more"},
		"unknown word":    {own("{issuer: main, name: [ca.example.com]}"), "9:21", `"name" is not known here; the words are cert, key, issuer, names, validity, client_certificates`},
		"odd clients":     {own("{issuer: main, names: [ca.example.com], client_certificates: maybe}"), "9:67", `client_certificates is "maybe"; give on or off`},
		"clients, no TLS": {own("{client_certificates: on}"), "9:28", `client_certificates is on, and the listener speaks plain HTTP: .*; give either cert and key, .*`},
		"clients alone":   {own("{client_certificates: off}"), "9:6", "tls holds nothing; .*"},
		"taken profile": {strings.Replace(own("{issuer: main, names: [ca.example.com]}"), "profiles: {tls:", "profiles: {own-tls:", 1), "7:21",
			"the name own-tls is that of the gateway's own certificate; give the profile another"},
		"public issuer": {strings.Replace(strings.Replace(own("{issuer: main, names: [ca.example.com]}"), "validity: 90d", "mode: public", 1), "192.0.2.53", "127.0.0.53", 1) + "caa_identities: [ca.example.com]\n", "9:15",
			`issuer "main" serves the public profile "tls", and public trust certifies no name without a validation; .*`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gatehouse.yaml")
			must(t, os.WriteFile(path, []byte(strings.ReplaceAll(fault.text, "CA/", folder+"/")), 0o600))
			var stderr bytes.Buffer
			if status := run(t.Context(), []string{"check", "--config", path}, streams{io.Discard, &stderr}); status != 1 {
				t.Errorf("status %d, want 1", status)
			}
			want := regexp.MustCompile(`^gatehouse: ` + regexp.QuoteMeta(path) + ":" + fault.at + ": " + fault.says + "\n$")
			if !want.MatchString(stderr.String()) {
				t.Errorf("got\n%swant\n%s", stderr.String(), want)
			}
		})
	}
}

// TestOwnProfileIsNoDoors: the registration authority knows the gateway's own profile, for one organisation, and the doors
// do not.
func TestOwnProfileIsNoDoors(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(goodConfig, "CA/", hierarchyFolder(t)+"/") + "tls: {issuer: main, names: [B.example.com, 192.0.2.1, a.example.com, a.example.com], validity: 7d}\n"
	text = strings.Replace(text, "{id: 1, slug: main, name: Main}", "{id: 4, slug: main, name: Main}, {id: 5, slug: other, name: Other}", 1)
	file, err := parseConfig("gatehouse.yaml", []byte(text))
	must(t, err)
	s, err := file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0))
	must(t, err)
	if got := strings.Join(s.own.texts(), " "); got != "a.example.com b.example.com 192.0.2.1" {
		t.Errorf("the names are %s", got)
	}
	if s.tls != nil || s.own.profile.Validity() != 7*24*time.Hour || s.own.org != 4 {
		t.Errorf("own is %+v", s.own)
	}
	if _, ok := s.profiles[ownProfile]; ok || s.organisations.Allowed(4, ownProfile) {
		t.Error("the doors know the profile")
	}
	profiles, allowed := s.issuable(s.organisations.Allowed)
	for org, want := range map[auth.OrgID]bool{4: true, 5: false} {
		if allowed(org, ownProfile) != want || !allowed(org, "tls") || allowed(org, "none") {
			t.Errorf("organisation %d may use the wrong profiles", org)
		}
	}
	if profiles[ownProfile] != s.own.profile || profiles["tls"] != s.profiles["tls"] {
		t.Errorf("issuable are %v", profiles)
	}
}

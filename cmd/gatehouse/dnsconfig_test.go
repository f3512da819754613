package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// dnssecSettings reads the good configuration with a profile that requires DNSSEC, and resolvers.
func dnssecSettings(t *testing.T, validation string) *settings {
	t.Helper()
	text := strings.Replace(goodConfig, "validity: 90d", "dnssec: require", 1)
	text = strings.Replace(text, `{resolvers: ["192.0.2.53:53"]}`, validation, 1)
	file, err := parseConfig("gatehouse.yaml", []byte(strings.ReplaceAll(text, "CA/", hierarchyFolder(t)+"/")))
	must(t, err)
	s, err := file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0))
	must(t, err)
	return s
}

func TestDNSConfig(t *testing.T) {
	t.Parallel()
	folder := hierarchyFolder(t)
	s := dnssecSettings(t, `{resolvers: ["192.0.2.53:53", "tls://192.0.2.54:853#dns.example.com"], resolver_ca: `+folder+
		`/root.pem, trusted_resolvers: ["192.0.2.53:53"], dnssec_probe: {signed: Example.com, bogus: bogus.example.com}}`)
	r := s.validation.Resolver
	if !slices.Equal(r.Servers, []string{"192.0.2.53:53", "tls://192.0.2.54:853#dns.example.com"}) || r.Roots == nil || !slices.Equal(r.Trusted, r.Servers[:1]) {
		t.Errorf("resolver %+v", r)
	}
	if want := (dcv.Probe{Name: "example.com", DNSSEC: true, Bogus: "bogus.example.com"}); s.probe != want {
		t.Errorf("probe %+v", s.probe)
	}
	if got := s.profiles["tls"].DNSSEC(); got != dcv.DNSSECRequire {
		t.Errorf("profile %s", got)
	}
	s = dnssecSettings(t, `{resolvers: ["127.0.0.1:53"], dnssec_probe: {signed: .}}`)
	if want := (dcv.Probe{DNSSEC: true}); s.probe != want {
		t.Errorf("probe %+v", s.probe)
	}
}

// TestDemandDNSSEC is what a start and a check make of resolvers that should validate.
func TestDemandDNSSEC(t *testing.T) {
	t.Parallel()
	world := func(zones map[string]testca.ZoneState) *testca.DNS {
		d, err := testca.NewDNS(testca.DNSConfig{})
		must(t, err)
		t.Cleanup(func() { d.Close() })
		d.SetAddrs(".")
		d.SetAddrs("bogus.example.com")
		for name, state := range zones {
			must(t, d.SignZone(name, state))
		}
		return d
	}
	good := world(map[string]testca.ZoneState{".": testca.ZoneSigned, "bogus.example.com": testca.ZoneBogus})
	credulous := world(map[string]testca.ZoneState{".": testca.ZoneSigned})
	lax := world(nil)
	gone := world(nil)
	gone.Close()
	for name, tt := range map[string]struct {
		servers []*testca.DNS
		probe   string
		refuses string // of the start; empty: it goes on
		checks  string // the last resolver's line
	}{
		"validates":                    {[]*testca.DNS{good}, "", "", "and validates DNSSEC"},
		"does not validate":            {[]*testca.DNS{lax}, "", "does not validate DNSSEC", "does not validate DNSSEC"},
		"one of two does not":          {[]*testca.DNS{good, lax}, "", lax.Addr() + ": it does not validate DNSSEC", "does not validate DNSSEC"},
		"one of two does not answer":   {[]*testca.DNS{good, gone}, "", gone.Addr() + ": it does not answer", "does not answer"},
		"refuses a bogus name":         {[]*testca.DNS{good}, ", dnssec_probe: {bogus: bogus.example.com}", "", "and validates DNSSEC"},
		"does not refuse it":           {[]*testca.DNS{credulous}, ", dnssec_probe: {bogus: bogus.example.com}", "and not SERVFAIL", "and not SERVFAIL"},
		"does not know the signed one": {[]*testca.DNS{lax}, ", dnssec_probe: {signed: bogus.example.com}", "bogus.example.com is not authenticated", "dnssec_probe.signed"},
	} {
		var servers []string
		for _, d := range tt.servers {
			servers = append(servers, fmt.Sprintf("%q", d.Addr()))
		}
		s := dnssecSettings(t, "{resolvers: ["+strings.Join(servers, ", ")+"]"+tt.probe+"}")
		switch err := s.demandDNSSEC(t.Context()); {
		case tt.refuses == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.refuses != "" && (err == nil || !strings.Contains(err.Error(), tt.refuses) || !strings.Contains(err.Error(), "profile tls requires DNSSEC: resolver ")):
			t.Errorf("%s: error %v lacks %q", name, err, tt.refuses)
		}
		lines := checkResolvers(t.Context(), s)
		if last := lines[len(lines)-1]; last.OK != (tt.refuses == "") || !strings.Contains(last.Detail, tt.checks) {
			t.Errorf("%s: check says %+v", name, last)
		}
	}
	none := &settings{validation: dcv.Config{Resolver: dcv.ResolverConfig{Servers: []string{gone.Addr()}}}}
	if err := none.demandDNSSEC(t.Context()); err != nil {
		t.Errorf("no profile requires it: %v", err)
	}
}

// TestServeDemandsDNSSEC: the gateway does not start, and leaves nothing behind.
func TestServeDemandsDNSSEC(t *testing.T) {
	t.Parallel()
	d, err := testca.NewDNS(testca.DNSConfig{})
	must(t, err)
	defer d.Close()
	d.SetAddrs(".")
	folder := t.TempDir()
	text := strings.ReplaceAll(goodConfig, "CA/", hierarchyFolder(t)+"/")
	text = strings.NewReplacer("validity: 90d", "dnssec: require", "192.0.2.53:53", d.Addr(), "/var/lib/gatehouse", filepath.Join(folder, "data")).Replace(text)
	path := filepath.Join(folder, "gatehouse.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	var stderr bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--config", path}, streams{io.Discard, &stderr}); status != 1 || !strings.Contains(stderr.String(), "resolver "+d.Addr()+": it does not validate DNSSEC") {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	if _, err := os.Stat(filepath.Join(folder, "data")); !os.IsNotExist(err) {
		t.Errorf("a data folder was made: %v", err)
	}
}

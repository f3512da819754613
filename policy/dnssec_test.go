package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

func withDNSSEC(cfg Config, mode dcv.DNSSEC) Config {
	cfg.DNSSEC = mode
	return cfg
}

func TestDNSSECRule(t *testing.T) {
	own := Config{Name: "own", Issuer: "local", Own: true, AllowNames: []string{"ca.example.com"}}
	for name, row := range map[string]struct {
		cfg   Config
		mode  dcv.DNSSEC
		fault string
	}{
		"private":                {basic(), dcv.DNSSECOff, ""},
		"private, off":           {withDNSSEC(basic(), dcv.DNSSECOff), dcv.DNSSECOff, ""},
		"private, opportunistic": {withDNSSEC(basic(), dcv.DNSSECOpportunistic), dcv.DNSSECOpportunistic, ""},
		"private, require":       {withDNSSEC(basic(), dcv.DNSSECRequire), dcv.DNSSECRequire, ""},
		"public":                 {public(), dcv.DNSSECRequire, ""},
		"public, require":        {withDNSSEC(public(), dcv.DNSSECRequire), dcv.DNSSECRequire, ""},
		"public, off":            {withDNSSEC(public(), dcv.DNSSECOff), "", "dnssec: public trust needs"},
		"public, opportunistic":  {withDNSSEC(public(), dcv.DNSSECOpportunistic), "", "dnssec: public trust needs"},
		"another word":           {withDNSSEC(basic(), "on"), "", `dnssec: "on" is none of`},
		"another word in public": {withDNSSEC(public(), "Require"), "", `dnssec: "Require" is none of`},
		"gateway's own":          {own, dcv.DNSSECOff, ""},
		"gateway's own, require": {withDNSSEC(own, dcv.DNSSECRequire), "", "dnssec: the gateway's own"},
	} {
		switch p, err := New(row.cfg); {
		case row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault)):
			t.Errorf("%s: error %v lacks %q", name, err, row.fault)
		case row.fault == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case row.fault == "" && p.DNSSEC() != row.mode:
			t.Errorf("%s: %s", name, p.DNSSEC())
		}
	}
	hashes := map[string]dcv.DNSSEC{}
	for _, mode := range []dcv.DNSSEC{"", dcv.DNSSECOpportunistic, dcv.DNSSECRequire} {
		hashes[mustNew(t, withDNSSEC(basic(), mode)).Hash()] = mode
	}
	if len(hashes) != 3 || hashes[mustNew(t, withDNSSEC(basic(), dcv.DNSSECOff)).Hash()] != "" {
		t.Error("the hash must tell the modes apart, and off must be the default")
	}
}

// What was validated while less was wanted does not suffice once DNSSEC is required, neither a proof nor a permission.
func TestDecideDNSSEC(t *testing.T) {
	for _, mode := range []dcv.DNSSEC{dcv.DNSSECOff, dcv.DNSSECOpportunistic, dcv.DNSSECRequire} {
		p := mustNew(t, withDNSSEC(withCAA(basic(), time.Hour), mode))
		for _, secure := range []bool{false, true} {
			enough := secure || mode != dcv.DNSSECRequire
			r := goodRequest(t, "a.example.com", "b.example.com")
			r.Proofs[1].Secure = secure
			_, err := p.Decide(r)
			if (err == nil) != enough || err != nil && !strings.Contains(err.Error(), "DNSSEC did not authenticate") {
				t.Errorf("%s: proof secure %v: %v", mode, secure, err)
			}

			r = goodRequest(t, "a.example.com")
			r.Proofs[0].CAA = dcv.CAA{Identifier: r.Proofs[0].Identifier, At: testNow.Add(-time.Minute), Secure: secure}
			d, err := p.Decide(r)
			if err != nil {
				t.Fatal(err)
			}
			if taken := !d.CAA[0].Permission.At.IsZero(); taken != enough {
				t.Errorf("%s: permission secure %v: taken %v", mode, secure, taken)
			}
		}
	}
}

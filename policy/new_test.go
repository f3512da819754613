package policy

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

func TestDefaults(t *testing.T) {
	p := mustNew(t, basic())
	if p.Name() != "web" || p.Issuer() != "local" || p.Public() || p.Description() != "" {
		t.Error("names or mode are wrong")
	}
	if p.Validity() != 90*24*time.Hour || p.Backdate() != 0 || p.ProofLifetime() != 24*time.Hour || p.MaxNames() != 100 {
		t.Error("numbers are wrong")
	}
	if p.Lint() != LintRFC || !slices.Equal(p.Methods(), []dcv.Method{dcv.HTTP01}) || len(p.PrivateRanges()) != 0 {
		t.Error("lint, methods or ranges are wrong")
	}
	if !slices.Equal(p.ExtKeyUsage(), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Error("extended key usage is wrong")
	}
	p = mustNew(t, public())
	if p.Validity() != 47*24*time.Hour || p.Lint() != LintCABF || !p.Public() {
		t.Error("public defaults are wrong")
	}
}

func TestAccessorsGiveCopies(t *testing.T) {
	cfg := basic()
	cfg.PrivateRanges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	p := mustNew(t, cfg)
	p.Methods()[0] = "none"
	p.PrivateRanges()[0] = netip.Prefix{}
	p.ExtKeyUsage()[0] = x509.ExtKeyUsageAny
	cfg.PrivateRanges[0] = netip.Prefix{}
	if p.Methods()[0] != dcv.HTTP01 || !p.PrivateRanges()[0].IsValid() || p.ExtKeyUsage()[0] != x509.ExtKeyUsageServerAuth {
		t.Error("a profile changed after it was made")
	}
}

func TestNewRefuses(t *testing.T) {
	yes := true
	ranges := func(s ...string) []netip.Prefix {
		var all []netip.Prefix
		for _, r := range s {
			all = append(all, netip.MustParsePrefix(r))
		}
		return all
	}
	for _, c := range []struct {
		name   string
		public bool
		change func(*Config)
		field  string
		says   string
	}{
		{"no name", false, func(c *Config) { c.Name = "" }, "name", "letters"},
		{"name with slash", false, func(c *Config) { c.Name = "a/b" }, "name", "letters"},
		{"name of dots", false, func(c *Config) { c.Name = ".." }, "name", "letters"},
		{"no issuer", false, func(c *Config) { c.Issuer = "" }, "issuer", "missing"},
		{"unknown mode", false, func(c *Config) { c.Mode = "secret" }, "mode", `"private"`},
		{"public without a day", true, func(c *Config) { c.Now = time.Time{} }, "mode", "day"},
		{"fraction of a second", false, func(c *Config) { c.Validity = 1500 * time.Millisecond }, "validity", "whole seconds"},
		{"negative validity", false, func(c *Config) { c.Validity = -time.Hour }, "validity", "positive"},
		{"negative backdate", false, func(c *Config) { c.Backdate = -time.Hour }, "backdate", "zero"},
		{"backdate eats validity", false, func(c *Config) { c.Validity, c.Backdate = time.Hour, time.Hour }, "backdate", "less than"},
		{"negative proof lifetime", false, func(c *Config) { c.ProofLifetime = -1 }, "proof_lifetime", "positive"},
		{"BR 6.3.2", true, func(c *Config) { c.Validity = 200*day + time.Second }, "validity", "6.3.2"},
		{"BR 6.3.2 from 2027-03-15", true, func(c *Config) { c.Validity, c.Now = 200*day, date(2027, 3, 15) }, "validity", "2400h"},
		{"BR 4.2.1", true, func(c *Config) { c.ProofLifetime = 201 * day }, "proof_lifetime", "4.2.1"},
		{"BR 7.1.2.7 backdate", true, func(c *Config) { c.Backdate = 49 * time.Hour }, "backdate", "48h"},
		{"unknown key type", false, func(c *Config) { c.KeyTypes = []KeyType{"rsa-1024"} }, "key_types", "known are"},
		{"BR 6.1.5 Ed25519", true, func(c *Config) { c.KeyTypes = []KeyType{Ed25519} }, "key_types", "6.1.5"},
		{"BR 6.1.5 P-521", true, func(c *Config) { c.KeyTypes = []KeyType{ECDSAP521} }, "key_types", "6.1.5"},
		{"key usage of issuers", false, func(c *Config) { c.KeyUsages = []string{"keyCertSign"} }, "key_usages", "end entity"},
		{"RFC 5480 usage without meaning", false, func(c *Config) { c.KeyUsages = []string{"keyEncipherment"} }, "key_usages", "ecdsa-p256"},
		{"BR 7.1.2.7.11", true, func(c *Config) { c.KeyUsages = []string{"digitalSignature", "keyAgreement"} }, "key_usages", "7.1.2.7.11"},
		{"unknown extended key usage", false, func(c *Config) { c.ExtKeyUsages = []string{"anyExtendedKeyUsage"} }, "ext_key_usages", "known are"},
		{"BR 7.1.2.7.10", true, func(c *Config) { c.ExtKeyUsages = []string{"clientAuth"} }, "ext_key_usages", "serverAuth"},
		{"bad pattern", false, func(c *Config) { c.AllowNames = []string{"w*.example.com"} }, "allow_names", "leftmost"},
		{"range with host bits", false, func(c *Config) { c.DenyNames = []string{"10.1.2.3/8"} }, "deny_names", "10.0.0.0/8"},
		{"address not canonical", false, func(c *Config) { c.DenyNames = []string{"2001:DB8::1"} }, "deny_names", "2001:db8::1"},
		{"U-label", false, func(c *Config) { c.AllowNames = []string{"bücher.example"} }, "allow_names", "xn--bcher-kva.example"},
		{"BR 3.2.2.4.19 wildcard by http-01", false, func(c *Config) { c.AllowWildcards = true }, "allow_wildcards", "http-01"},
		{"BR 7.1.2.7.12 internal names", true, func(c *Config) { c.AllowInternalNames = &yes }, "allow_internal_names", "public trust"},
		{"no names", false, func(c *Config) { c.MaxNames = -1 }, "max_names", "1 to 100"},
		{"too many names", false, func(c *Config) { c.MaxNames = 101 }, "max_names", "1 to 100"},
		{"unknown common name rule", false, func(c *Config) { c.CommonName = "any" }, "common_name", "first-san"},
		{"RFC 5280 A.1 organization", false, func(c *Config) { c.Subject.Organization = strings.Repeat("x", 65) }, "subject", "RFC 5280"},
		{"country", false, func(c *Config) { c.Subject.Country = "Norway" }, "subject", "two upper-case letters"},
		{"control character", false, func(c *Config) { c.Subject.Locality = "a\x00b" }, "subject", "control"},
		{"unknown attribute", false, func(c *Config) { c.SubjectFromCSR = []SubjectField{"title"} }, "subject_from_csr", "known are"},
		{"fixed and copied", false, func(c *Config) {
			c.Subject.Organization, c.SubjectFromCSR = "Example", []SubjectField{Organization}
		}, "subject_from_csr", "fixed"},
		{"BR 3.2.2.1 subject", true, func(c *Config) { c.Subject.Organization = "Example" }, "subject", "3.2.2.1"},
		{"BR 3.2.2.1 subject from CSR", true, func(c *Config) { c.SubjectFromCSR = []SubjectField{Country} }, "subject", "3.2.2.1"},
		{"no lint", false, func(c *Config) { c.Lint = "none" }, "lint", `"rfc"`},
		{"public lint", true, func(c *Config) { c.Lint = LintRFC }, "lint", "cabf"},
		{"unknown method", false, func(c *Config) { c.DCVMethods = []dcv.Method{"dns-99"} }, "dcv_methods", "dns-99"},
		{"public private range", true, func(c *Config) { c.PrivateRanges = ranges("10.0.0.0/8") }, "private_ranges", "public Internet"},
		{"loopback range", false, func(c *Config) { c.PrivateRanges = ranges("127.0.0.0/8") }, "private_ranges", "never enters"},
		{"link-local range", false, func(c *Config) { c.PrivateRanges = ranges("169.254.0.0/16") }, "private_ranges", "never enters"},
		{"mapped range", false, func(c *Config) { c.PrivateRanges = ranges("::ffff:0:0/96") }, "private_ranges", "prefix"},
		{"everything", false, func(c *Config) { c.PrivateRanges = ranges("0.0.0.0/0") }, "private_ranges", "never enters"},
		{"too wide", false, func(c *Config) { c.PrivateRanges = ranges("10.0.0.0/7") }, "private_ranges", "wider"},
		{"global range", false, func(c *Config) { c.PrivateRanges = ranges("8.8.8.0/24") }, "private_ranges", "anyway"},
		{"host bits", false, func(c *Config) { c.PrivateRanges = ranges("10.1.0.0/8") }, "private_ranges", "prefix"},
		{"no range", false, func(c *Config) { c.PrivateRanges = []netip.Prefix{{}} }, "private_ranges", "prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := basic()
			if c.public {
				cfg = public()
			}
			c.change(&cfg)
			p, err := New(cfg)
			if err == nil || p != nil {
				t.Fatal("accepted")
			}
			ce, ok := errors.AsType[*ConfigError](err)
			if !ok || ce.Field != c.field || !strings.Contains(ce.Reason, c.says) || ce.Profile != cfg.Name {
				t.Errorf("got %v; want field %s to say %q", err, c.field, c.says)
			}
		})
	}
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestNewReportsEveryFault(t *testing.T) {
	cfg := basic()
	cfg.Issuer, cfg.Lint, cfg.MaxNames = "", "none", 1000
	_, err := New(cfg)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("want three faults, got %v", err)
	}
}

func TestPublicLimitsByDate(t *testing.T) {
	for _, c := range []struct {
		at              time.Time
		validity, reuse time.Duration
	}{
		{date(2026, 8, 1), 200 * day, 200 * day},
		{date(2027, 3, 15).Add(-1), 200 * day, 200 * day},
		{date(2027, 3, 15), 100 * day, 100 * day},
		{date(2029, 3, 15).Add(-1), 100 * day, 100 * day},
		{date(2029, 3, 15), 47 * day, 10 * day},
		{date(2040, 1, 1), 47 * day, 10 * day},
	} {
		if l := limitAt(c.at); l.validity != c.validity || l.reuse != c.reuse {
			t.Errorf("at %v: %+v", c.at, l)
		}
	}
	if !slices.IsSortedFunc(publicLimits, func(a, b limit) int { return a.from.Compare(b.from) }) {
		t.Error("the table must be ordered by date")
	}
}

func TestHashCoversWhatDecides(t *testing.T) {
	no := false
	base := mustNew(t, basic()).Hash()
	// Orders and approvals that are open over an upgrade pin this value: it changes only with a reason.
	if want := "cda2dea2a2473322d90d51936d24a53571750910471f6db2d0835a2b024ceedb"; base != want {
		t.Errorf("the hash of the default profile is %s, want %s", base, want)
	}
	seen := map[string]string{base: "the default profile"}
	for name, change := range map[string]func(*Config){
		"name":           func(c *Config) { c.Name = "other" },
		"issuer":         func(c *Config) { c.Issuer = "other" },
		"mode":           func(c *Config) { c.Mode, c.Now = Public, testNow },
		"validity":       func(c *Config) { c.Validity = time.Hour },
		"backdate":       func(c *Config) { c.Backdate = time.Hour },
		"key types":      func(c *Config) { c.KeyTypes = []KeyType{Ed25519} },
		"key usages":     func(c *Config) { c.KeyUsages = []string{"digitalSignature"} },
		"ext key usages": func(c *Config) { c.ExtKeyUsages = []string{"clientAuth"} },
		"allow":          func(c *Config) { c.AllowNames = []string{"a.example"} },
		"deny":           func(c *Config) { c.DenyNames = []string{"a.example"} },
		"internal names": func(c *Config) { c.AllowInternalNames = &no },
		"max names":      func(c *Config) { c.MaxNames = 1 },
		"common name":    func(c *Config) { c.CommonName = CommonNameNone },
		"subject":        func(c *Config) { c.Subject.Organization = "Example" },
		"from CSR":       func(c *Config) { c.SubjectFromCSR = []SubjectField{Organization} },
		"lint":           func(c *Config) { c.Lint = LintCABF },
		"proof lifetime": func(c *Config) { c.ProofLifetime = time.Hour },
		"private ranges": func(c *Config) { c.PrivateRanges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
	} {
		cfg := basic()
		change(&cfg)
		hash := mustNew(t, cfg).Hash()
		if other, dup := seen[hash]; dup {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
	cfg := basic()
	cfg.Description, cfg.BlockedKeys, cfg.Mode, cfg.Validity, cfg.Now = "for people", [][32]byte{{1}}, Private, 90*day, testNow
	cfg.DCVMethods = []dcv.Method{dcv.HTTP01}
	if mustNew(t, cfg).Hash() != base {
		t.Error("what decides nothing, or says the default, must not change the hash")
	}
}

func TestHashIgnoresOrder(t *testing.T) {
	types := []KeyType{RSA2048, ECDSAP256, Ed25519}
	listed := []string{"a.example", "*.b.example", "10.0.0.0/8", "2001:db8::1"}
	cfg := basic()
	cfg.KeyTypes, cfg.AllowNames = types, listed
	want := mustNew(t, cfg).Hash()
	rapid.Check(t, func(rt *rapid.T) {
		cfg.KeyTypes = rapid.Permutation(types).Draw(rt, "types")
		cfg.AllowNames = append(rapid.Permutation(listed).Draw(rt, "names"), listed[0])
		p, err := New(cfg)
		if err != nil || p.Hash() != want {
			rt.Fatalf("order or repetition changed the hash (%v)", err)
		}
	})
}

func TestKeyUsageByAlgorithm(t *testing.T) {
	cfg := basic()
	cfg.KeyTypes = allKeyTypes()
	cfg.KeyUsages = []string{"digitalSignature", "keyEncipherment", "dataEncipherment", "keyAgreement", "contentCommitment"}
	p := mustNew(t, cfg)
	const signing = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	for _, c := range []struct {
		rfc  string
		key  any
		want x509.KeyUsage
	}{
		{"RFC 3279 2.3.1", sample(RSA2048), signing | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment},
		{"RFC 5480 3", sample(ECDSAP256), signing | x509.KeyUsageKeyAgreement},
		{"RFC 8410 5", sample(Ed25519), signing},
		{"unknown", nil, signing},
	} {
		if got := p.KeyUsage(c.key); got != c.want {
			t.Errorf("%s: got %b, want %b", c.rfc, got, c.want)
		}
	}
	if got := mustNew(t, basic()).KeyUsage(sample(ECDSAP256)); got != x509.KeyUsageDigitalSignature {
		t.Errorf("an EC key under the default profile has usage %b", got)
	}
}

func TestConfigErrorNamesProfileAndField(t *testing.T) {
	_, err := New(Config{Name: "web", Issuer: "local", Lint: "none"})
	if err == nil || err.Error() != `profile "web": lint: "none" is none of "rfc" and "cabf"` {
		t.Errorf("got %v", err)
	}
}

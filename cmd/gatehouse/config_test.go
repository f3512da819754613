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

	"github.com/gatehouse-ca/gatehouse/testca"
)

// goodConfig is a configuration without faults; CA stands for a folder with a hierarchy.
const goodConfig = `data: /var/lib/gatehouse
public_urls: [https://ca.example.com]
listen: 127.0.0.1:20001
http: {listen: 127.0.0.1:20002, url: http://ca.example.com}
organisations: [{id: 1, slug: main, name: Main}]
issuers: {main: {chain: CA/issuer.pem, key: CA/issuer.key}}
profiles: {tls: {issuer: main, validity: 90d}}
validation: {resolvers: ["192.0.2.53:53"]}
`

// hierarchyFolder holds the files of a throw-away hierarchy.
func hierarchyFolder(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "ca")
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write(folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestConfigFaults gives each fault of a configuration file its line: where it is and what to write instead. The gateway
// is run as far as main goes, so status and form are those that an operator sees.
func TestConfigFaults(t *testing.T) {
	t.Parallel()
	folder := hierarchyFolder(t)
	replace := func(old, new string) string {
		if !strings.Contains(goodConfig, old) {
			t.Fatalf("the good configuration does not hold %q", old)
		}
		return strings.Replace(goodConfig, old, new, 1)
	}
	inProfile := func(words string) string { return replace("validity: 90d", "validity: 90d, "+words) }
	for _, fault := range []struct{ name, text, at, says string }{
		{"unknown word", replace("listen: 127", "listn: 127"), "3:1", `"listn" is not known here; the words are data, store, public_urls, listen, .*`},
		{"unknown word in a profile", replace("validity", "validty"), "7:32", `"validty" is not known here; the words are description, number, issuer, .*, private_ranges, caa, caa_lifetime, dnssec.*`},
		{"unknown word in a list", replace("slug", "slg"), "5:25", `"slg" is not known here; the words are id, slug, name, parent, profiles, eab.*`},
		{"unknown word in an issuer", replace("chain:", "chains:"), "6:18", `"chains" is not known here; the words are chain, alternates, key, concurrency, sign_timeout`},
		{"other case", replace("data", "Data"), "1:1", `"Data" is not known here; .*`},
		{"text for a list", replace("[https://ca.example.com]", "https://ca.example.com"), "2:14", `a string stands where a list, as in \[a, b\], is needed`},
		{"text for a number", replace("id: 1", "id: one"), "5:22", `"one" stands where a whole number is needed`},
		{"list for a text", replace("listen: 127.0.0.1:20001", "listen: [a]"), "3:9", `a list stands where a text is needed`},
		{"mapping for a text", replace("listen: 127.0.0.1:20001", "listen: {a: b}"), "3:9", `a mapping stands where a text is needed`},
		{"text for a truth", inProfile("allow_wildcards: perhaps"), "7:64", `"perhaps" stands where true or false is needed`},
		{"list for a mapping", replace("{main: {chain: CA/issuer.pem, key: CA/issuer.key}}", "[main]"), "6:10", `a sequence stands where a mapping, as in \{word: value\}, is needed`},
		{"number too large", replace("id: 1", "id: 99999999999"), "5:22", `99999999999 is out of range; write a smaller number`},
		{"number not possible", replace("id: 1", "id: -1"), "5:16", `.*give each a number above zero`},
		{"no data", replace("data: /var/lib/gatehouse\n", ""), "1:1", `data is missing; add for example data: /var/lib/gatehouse`},
		{"no public URL", replace("[https://ca.example.com]", "[]"), "2:14", `public_urls is missing; add for example .*`},
		{"no http URL", replace(", url: http://ca.example.com", ""), "4:7", `http.url is missing; add for example http: .*`},
		{"no organisation", replace("[{id: 1, slug: main, name: Main}]", "[]"), "5:16", `organisations is missing; add for example .*`},
		{"no slug", replace("slug: main, ", ""), "5:16", `.*slug "" of id 1 cannot be used; take .*`},
		{"no key", replace(", key: CA/issuer.key", ""), "6:17", `issuers.main.key is missing; add for example key: issuer.key`},
		{"no issuer", replace("issuer: main, ", ""), "7:17", `profiles.tls.issuer is missing; add for example issuer: main`},
		{"unknown issuer", replace("issuer: main", "issuer: mian"), "7:26", `issuer "mian" is not defined under issuers`},
		{"unknown parent", replace("name: Main", "name: Main, parent: mian"), "5:57", `parent "mian" is not defined under organisations; .*`},
		{"its own parent", replace("name: Main", "name: Main, parent: main"), "5:16", `organisations: parent of "main": .*goes in a circle`},
		{"unknown mode", replace("name: Main", "name: Main, eab: on"), "5:54", `eab is "on"; write off, optional or required`},
		{"unknown mode of the door", goodConfig + "acme: {eab: maybe}\n", "9:13", `eab is "maybe"; write off, optional or required`},
		{"no seal key", goodConfig + "seal: {old: []}\n", "9:7", `key is missing; add for example key: .*`},
		{"an absent seal key", goodConfig + "seal: {key: /nonexistent/seal.key}\n", "9:13", `open /nonexistent/seal.key: no such file or directory`},
		{"a seal key that all may read", goodConfig + "seal: {key: CA/issuer.pem}\n", "9:13", `.*others than its owner may use this key \(mode 0644\); run: chmod 600 .*`},
		{"what is no seal key", goodConfig + "seal: {key: CA/issuer.key}\n", "9:13", `.*(openssl rand|holds more than a key).*`},
		{"unknown profile", replace("name: Main", "name: Main, profiles: [tsl]"), "5:59", `profile "tsl" is not defined under profiles`},
		{"unknown default profile", goodConfig + "acme: {default_profile: x}\n", "9:25", `default_profile "x" is not defined; name one of: tls`},
		{"duration without unit", replace("90d", "90"), "7:42", `"90" is no duration; write for example 90d, 12h or 30s`},
		{"duration in words", replace("90d", "ninety"), "7:42", `"ninety" is no duration; write for example 90d, 12h or 30s`},
		{"negative duration", replace("90d", "-5d"), "7:42", `"-5d" is no duration; write for example 90d, 12h or 30s`},
		{"duration as a list", replace("90d", "[90d]"), "7:42", `.* is no duration; write for example 90d, 12h or 30s`},
		{"word given twice", goodConfig + "listen: :443\n", "9:1", `"listen" is given a second time; remove one of the two`},
		{"word given twice in a profile", inProfile("issuer: main"), "7:47", `"issuer" is given a second time; remove one of the two`},
		{"no YAML", replace("[https://ca.example.com]", "[https://ca.example.com"), "3:1", `this is not YAML \(.*\); check .*`},
		{"tab", replace("listen: 127", "\tlisten: 127"), "3:1", `this is not YAML \(.*\); check .*`},
		{"two documents", goodConfig + "---\n" + goodConfig, "10:5", `a second document begins here; put everything into one`},
		{"empty", "", "1:1", `the file holds nothing; begin with data: .*`},
		{"comment alone", "# nothing\n", "1:1", `the file holds nothing; begin with data: .*`},
		{"a list", "- data\n", "1:1", `a sequence stands where a mapping, as in \{word: value\}, is needed`},
		{"URL with a slash", replace("https://ca.example.com]", "https://ca.example.com/]"), "2:15", `"https://ca.example.com/" ends with a slash; leave it away`},
		{"URL of another kind", replace("https://ca.example.com]", "ftp://ca.example.com]"), "2:15", `"ftp://ca.example.com" is no URL of this kind; write for example https://ca.example.com`},
		{"CRLs over https", replace("url: http://", "url: https://"), "4:38", `.* is no URL of this kind; write for example http://ca.example.com`},
		{"key type", inProfile("key_types: [dsa]"), "7:58", `.*"dsa" is no key type; known are .*`},
		{"name pattern", inProfile("allow_names: ['*.*.x']"), "7:60", `.*"\*" is allowed only as the whole leftmost label.*`},
		{"number of names", inProfile("max_names: 500"), "7:58", `.*500 is not from 1 to 100`},
		{"range", inProfile("private_ranges: [10.0.0.0]"), "7:63", `"10.0.0.0" is no address range; write for example 10.0.0.0/8`},
		{"CAA without an identity", inProfile("caa: on"), "7:52", `profile tls asks for CAA, and no name is configured .*; add for example caa_identities: \[ca.example.com\]`},
		{"CAA identity", goodConfig + "caa_identities: [https://ca.example.com]\n", "9:18", `"https://ca.example.com" cannot be named by a CAA record: .*; write for example ca.example.com`},
		{"CAA identity twice", goodConfig + "caa_identities: [ca.example.com, CA.example.com]\n", "9:34", `"CA.example.com" cannot be named by a CAA record: it is there twice; .*`},
		{"CAA off in public mode", replace("validity: 90d", "mode: public, caa: off"), "7:51", `.*public trust requires CAA to be asked.*`},
		{"CAA of another word", inProfile("caa: yes"), "7:52", `.*"yes" is none of "on" and "off"`},
		{"CAA lifetime in vain", inProfile("caa_lifetime: 1h"), "7:61", `.*add caa: on or leave it out`},
		{"blocked keys", inProfile("blocked_keys: CA/root.pem"), "7:61", `.*root.pem:1: not the 64 hex digits of a SHA-256`},
		{"CRL times", goodConfig + "crl: {lifetime: 1s, interval: 2s}\n", "9:6", `.*CRL interval 2s is more than half of the lifetime 1s`},
		{"resolver", replace(`"192.0.2.53:53"`, "nonsense"), "8:25", `.*"nonsense" is not host:port, as in 192.0.2.53:53, or tls://host:port#name, as in tls://192.0.2.53:853#dns.example.com`},
		{"resolver over TLS", replace(`"192.0.2.53:53"`, `"tls://192.0.2.53:853#"`), "8:25", `.*"tls://192.0.2.53:853#": behind the # there is not the name or address that its certificate is for; .*`},
		{"resolvers' roots in vain", replace(`["192.0.2.53:53"]`, `["192.0.2.53:53"], resolver_ca: CA/root.pem`), "8:57", `no resolver is asked over TLS; name one as in tls://.*`},
		{"resolvers' roots", replace(`["192.0.2.53:53"]`, `["tls://192.0.2.53"], resolver_ca: CA/issuer.key`), "8:60", `.*issuer.key holds no PEM certificate`},
		{"trusted resolver", replace(`["192.0.2.53:53"]`, `["192.0.2.53:53"], trusted_resolvers: [192.0.2.53]`), "8:64", `"192.0.2.53" is none of the resolvers; write it as it stands there: 192.0.2.53:53`},
		{"a profile's number", inProfile("number: -7"), "7:55", `.*number: -7 is not from 1 to 2147483647; .*`},
		{"a number of two profiles", replace("validity: 90d}", "validity: 90d, number: 4}, web: {issuer: main, number: 4}") + "acme: {default_profile: tls}\n", "7:87", `number 4 is that of the profile "tls"; give each a number of its own, .*`},
		{"a quota", inProfile("quota: {certificates: -1}"), "7:69", `.*quota.certificates: -1 is not from 1 to 1000000; .*`},
		{"a quota of one name above that of all", inProfile("quota: {certificates: 2, per_name: 3}"), "7:82", `.*quota.per_name: 3 for one name is more than the 2 .*`},
		{"unknown word in a quota", inProfile("quota: {names: 1}"), "7:55", `"names" is not known here; the words are certificates, per_name`},
		{"names that an organisation may have", replace("name: Main", `name: Main, allow_names: ["a b"]`), "5:62", `allow_names: .*an entry is a name, \*.name, an address or a range .*`},
		{"names that an organisation may not have", replace("name: Main", "name: Main, deny_names: [10.0.0.1/8]"), "5:61", `deny_names: "10.0.0.1/8" has bits behind its prefix length; write 10.0.0.0/8`},
		{"a term that is no whole day", inProfile("terms: [90d, 12h]"), "7:54", `.*terms: 12h0m0s is not a positive number of whole days.*`},
		{"a term without unit", inProfile("terms: [90]"), "7:55", `"90" is no duration; write for example 90d, 12h or 30s`},
		{"a validity that is no term", inProfile("terms: [30d, 365d]"), "7:42", `.*validity: 90d is what a request without a term gets, and is not one of terms \(30d, 365d\); .*`},
		{"unknown requirement", inProfile("dcv: off"), "7:52", `.*"off" is none of "none", "domain" and "request"`},
		{"no validation and no names", inProfile("dcv: none"), "7:17", `.*allow_names: is missing: with dcv: none nothing but this list .*`},
		{"no validation in public mode", replace("validity: 90d", "mode: public, allow_names: [a.example.com], dcv: none"), "7:81", `.*public trust requires control of every name to be validated .*; write domain or request`},
		{"methods of domains alone", inProfile("dcv: domain, dcv_methods: [http-01]"), "7:73", `.*with dcv: domain nobody is asked to prove control of a name by request; leave it out`},
		{"a custom field without a number", goodConfig + "custom_fields: [{name: Owner}]\n", "9:17", `custom field 1: number: 0 is not from 1 to 2147483647; .*`},
		{"a custom field of ACME", goodConfig + "custom_fields: [{number: 1, name: Owner, mandatory: [acme]}]\n", "9:53", `custom field 1: mandatory: an ACME order cannot carry custom fields.*; take acme out`},
		{"a custom field of an unknown door", goodConfig + "custom_fields: [{number: 1, name: Owner, mandatory: [window]}]\n", "9:53", `custom field 1: mandatory: .* is called "window"; those are console, scm`},
		{"an unknown custom field", inProfile("mandatory_fields: [Owner]"), "7:65", `.*there is no custom field "Owner"; this gateway has none, .*`},
		{"DNSSEC of another word", inProfile("dnssec: yes"), "7:55", `.*"yes" is none of "off", "opportunistic" and "require"`},
		{"DNSSEC in public mode", replace("validity: 90d", "mode: public, dnssec: off"), "7:54", `.*public trust needs authenticated answers .*; write require or leave it out`},
		{"DNSSEC by way of a network", inProfile("dnssec: require"), "8:25", `profile tls requires DNSSEC, and anybody on the way .* \(192.0.2.53:53\); name one by TLS .*trusted_resolvers.*`},
		{"DNSSEC probe in vain", replace(`["192.0.2.53:53"]`, `["192.0.2.53:53"], dnssec_probe: {signed: example.com}`), "8:58", `no profile requires DNSSEC, so that it is not probed; .*`},
		{"DNSSEC probe", strings.Replace(inProfile("dnssec: require"), `["192.0.2.53:53"]`, `["127.0.0.1:53"], dnssec_probe: {bogus: "*.x"}`, 1), "8:65", `"\*.x" is no name that can be asked for; .*`},
		{"own address", replace(`["192.0.2.53:53"]`, `["192.0.2.53:53"], own_addresses: [ca]`), "8:59", `"ca" is not address:port, as in 192.0.2.1:443`},
		{"listener's key", goodConfig + "tls: {cert: CA/issuer.pem}\n", "9:6", `tls.key is missing; add for example .*`},
		{"listener's files", goodConfig + "tls: {cert: CA/none.pem, key: CA/issuer.key}\n", "9:6", `.*none.pem: no such file or directory`},
		{"issuer's chain", replace("CA/issuer.pem", "CA/none.pem"), "6:25", `.*none.pem: no such file or directory`},
	} {
		t.Run(fault.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gatehouse.yaml")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(fault.text, "CA/", folder+"/")), 0o600); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			if status := run(t.Context(), []string{"serve", "--config", path}, streams{io.Discard, &stderr}); status != 1 {
				t.Errorf("status %d, want 1", status)
			}
			want := regexp.MustCompile(`^gatehouse: ` + regexp.QuoteMeta(path) + ":" + fault.at + ": " + fault.says + "\n$")
			if !want.MatchString(stderr.String()) {
				t.Errorf("got\n%swant\n%s", stderr.String(), want)
			}
		})
	}
}

// TestConfigGood is the file without faults, and what it does not say.
func TestConfigGood(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(goodConfig, "CA/", hierarchyFolder(t)+"/")
	file, err := parseConfig("gatehouse.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s.folder != "/var/lib/gatehouse" || s.adminListen != "127.0.0.1:9464" || s.defaultProfile != "tls" || s.tls != nil {
		t.Errorf("settings are %+v", s)
	}
	if got := s.profiles["tls"].Validity(); got != 90*24*time.Hour {
		t.Errorf("validity %v", got)
	}
	if s.step != nil || s.validation.AllowLoopback || s.validation.HTTPPort != 0 {
		t.Error("a configuration file switched something on that only --dev may")
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "12h": 12 * time.Hour, "30s": 30 * time.Second, "0s": 0,
		"1.5h": 90 * time.Minute, "106751d": 106751 * 24 * time.Hour, "2d30m": 48*time.Hour + 30*time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "90", "1dd", "12h1d", "-1d", "1d-2h", "-5s", "106752d", "106751d24h", "1.5d", "1e3d", "NaNd", "1d1d", " 1d", "1 d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

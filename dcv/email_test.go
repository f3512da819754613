package dcv

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestEmailAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"admin@example.com": "admin@example.com", "First.Last+tag_1=x-y@EXAMPLE.com": "First.Last+tag_1=x-y@example.com",
		"a@xn--bcher-kva.example": "a@xn--bcher-kva.example", "postmaster@mail": "postmaster@mail",
	} {
		if got, err := ParseEmail(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "@", "admin", "admin@", "@example.com", "a@b@example.com", `"admin@victim.com> "@evil.com`, `"a"@example.com`, "a b@example.com",
		"admin@example.com\r\nBcc: x@evil.com", "admin@example.com\n", " admin@example.com", "admin@example.com ", "<admin@example.com>", "Admin <admin@example.com>",
		"admin@[192.0.2.1]", "admin@192.0.2.1", "admin@example.com.", "admin@*.example.com", "admin@exa_mple.com", "admin@b\u00fccher.example", "\u00e4@example.com",
		".a@example.com", "a.@example.com", "a..b@example.com", "-f@example.com", "a%victim.com@example.com", "victim.com!a@example.com", "|prog@example.com",
		"/file@example.com", "a,b@example.com", "a(comment)@example.com", "a@example.com,b@example.com", "mailto:a@example.com", "a\x00@example.com",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("a.", 125) + "example",
	} {
		if got, err := ParseEmail(text); err == nil {
			t.Errorf("%q passes as %q", text, got)
		}
	}
}

func emailName(t *testing.T, text string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// contacts finds the addresses of a name, by method.
func (w *world) contacts(name string, mode DNSSEC) (map[Method][]string, *EmailContacts) {
	w.Helper()
	found, err := w.v.EmailContacts(w.Context(), emailName(w.T, name), mode)
	if err != nil {
		w.Fatal(err)
	}
	by := map[Method][]string{}
	for _, c := range found.Contacts {
		by[c.Method] = append(by[c.Method], c.Address)
	}
	return by, found
}

func (w *world) add(records ...string) {
	w.Helper()
	for _, r := range records {
		if err := w.dns.Add(r); err != nil {
			w.Fatal(err)
		}
	}
}

// TestConstructedAddresses are at the name and above it, down to the registered domain and no further.
func TestConstructedAddresses(t *testing.T) {
	for name, at := range map[string][]string{
		"example.com":           {"example.com"},
		"a.b.example.com":       {"a.b.example.com", "b.example.com", "example.com"},
		"www.example.co.uk":     {"www.example.co.uk", "example.co.uk"},
		"shop.me.github.io":     {"shop.me.github.io", "me.github.io"}, // a public suffix that is no registry's
		"example.kawasaki.jp":   nil,
		"a.example.kawasaki.jp": {"a.example.kawasaki.jp"},
		"co.uk":                 nil,
		"db.corp":               {"db.corp"}, // who owns what above it is not known
		"a.db.corp":             {"a.db.corp"},
		"9.8.7.6.5.4.3.2.1.a.b.example.com": {
			"9.8.7.6.5.4.3.2.1.a.b.example.com", "8.7.6.5.4.3.2.1.a.b.example.com", "7.6.5.4.3.2.1.a.b.example.com", "6.5.4.3.2.1.a.b.example.com", "5.4.3.2.1.a.b.example.com",
			"4.3.2.1.a.b.example.com", "3.2.1.a.b.example.com", "2.1.a.b.example.com", "1.a.b.example.com", "example.com",
		},
	} {
		if got := constructedAt(emailName(t, name)); !slices.Equal(got, at) {
			t.Errorf("%s: %v, want %v", name, got, at)
		}
	}
	w := newWorld(t)
	by, found := w.contacts("www.example.com", DNSSECOff)
	if got := strings.Join(by[EmailConstructed], " "); got != "admin@www.example.com administrator@www.example.com webmaster@www.example.com hostmaster@www.example.com "+
		"postmaster@www.example.com admin@example.com administrator@example.com webmaster@example.com hostmaster@example.com postmaster@example.com" {
		t.Error(got)
	}
	if len(found.Contacts) != 10 || len(found.Failures)+len(found.Unusable) != 0 {
		t.Errorf("%+v", found)
	}
}

// TestPublishedContacts are taken from the name itself, and from no name above, below or beside it.
func TestPublishedContacts(t *testing.T) {
	w := newWorld(t)
	w.add(
		`www.example.com. 60 IN CAA 0 contactemail "Certs@Example.com"`, `www.example.com. 60 IN CAA 128 CONTACTEMAIL "second@example.org"`,
		`www.example.com. 60 IN CAA 0 contactemail "\"x@victim.com> \"@evil.com"`, `www.example.com. 60 IN CAA 0 iodef "mailto:iodef@example.com"`,
		`www.example.com. 60 IN CAA 0 contactemail "mailto:a@example.com"`, `www.example.com. 60 IN CAA 0 issue "third@example.com"`,
		`example.com. 60 IN CAA 0 contactemail "parent@example.com"`, `sub.www.example.com. 60 IN CAA 0 contactemail "child@example.com"`,
		`_validation-contactemail.www.example.com. 60 IN TXT "txt@" "example.net"`, `_validation-contactemail.www.example.com. 60 IN TXT "admin@example.com"`,
		`_validation-contactemail.www.example.com. 60 IN TXT " padded@example.net"`,
		`_validation-contactemail.example.com. 60 IN TXT "parent-txt@example.net"`, `www.example.com. 60 IN TXT "wrong-place@example.net"`,
	)
	by, found := w.contacts("www.example.com", DNSSECOff)
	slices.Sort(by[EmailCAA])
	if got := strings.Join(by[EmailCAA], " "); got != "Certs@example.com second@example.org" {
		t.Errorf("CAA: %s", got)
	}
	if got := strings.Join(by[EmailTXT], " "); got != "txt@example.net" { // the constructed one is there already
		t.Errorf("TXT: %s", got)
	}
	if len(found.Unusable) != 3 || len(found.Failures) != 0 {
		t.Errorf("%q, %q", found.Unusable, found.Failures)
	}
	for _, c := range found.Contacts {
		if c.Method != EmailConstructed && (c.Secure || !strings.Contains(c.Source, "www.example.com from 127.0.0.1:")) {
			t.Errorf("%+v", c)
		}
	}
	if by, found = w.contacts("b.www.example.com", DNSSECOff); len(by[EmailCAA])+len(by[EmailTXT])+len(found.Unusable) != 0 {
		t.Errorf("a name without a publication: %+v", by)
	}

	// Through an alias the CAA records are another name's; a TXT record's alias is the name's own doing.
	w.add(`alias.example.com. 60 IN CNAME www.example.com.`, `_validation-contactemail.alias.example.com. 60 IN CNAME _validation-contactemail.www.example.com.`)
	by, found = w.contacts("alias.example.com", DNSSECOff)
	if len(by[EmailCAA]) != 0 || !slices.Contains(by[EmailTXT], "txt@example.net") || len(found.Unusable) != 2 || !strings.Contains(found.Unusable[0], "alias of") {
		t.Errorf("%+v, %q", by, found.Unusable)
	}

	// They are bounded.
	for i := range 30 {
		w.add(`_validation-contactemail.many.example.com. 60 IN TXT "a` + strings.Repeat("b", i) + `@example.net"`)
	}
	if by, found = w.contacts("many.example.com", DNSSECOff); len(by[EmailTXT]) != maxPublished || len(found.Unusable) != 1 {
		t.Errorf("%d, %q", len(by[EmailTXT]), found.Unusable)
	}
}

// TestContactsFail: no answer is not the answer that there are none.
func TestContactsFail(t *testing.T) {
	for _, row := range []struct {
		name  string
		qtype uint16
		fault testca.DNSFaultKind
		fails int
	}{
		{"CAA, SERVFAIL", dns.TypeCAA, testca.DNSServFail, 1}, {"TXT, REFUSED", dns.TypeTXT, testca.DNSRefused, 1},
		{"TXT, lame", dns.TypeTXT, testca.DNSLame, 1}, {"CAA, silent", dns.TypeCAA, testca.DNSSilent, 1}, {"TXT, NXDOMAIN", dns.TypeTXT, testca.DNSNXDomain, 0},
	} {
		w := newWorld(t, func(c *Config) { c.Resolver.TryTimeout = 50 * time.Millisecond })
		w.add(`www.example.com. 60 IN CAA 0 contactemail "caa@example.com"`, `_validation-contactemail.www.example.com. 60 IN TXT "txt@example.net"`)
		w.dns.Break("", row.qtype, testca.DNSFault{Kind: row.fault})
		by, found := w.contacts("www.example.com", DNSSECOff)
		if len(found.Failures) != row.fails || len(by[EmailConstructed]) != 10 || len(by[EmailCAA])+len(by[EmailTXT]) != 1 {
			t.Errorf("%s: %q, %v", row.name, found.Failures, by)
		}
	}
	w := newWorld(t)
	if _, err := w.v.EmailContacts(t.Context(), emailName(t, "*.example.com"), DNSSECOff); !problem.Is(err, problem.Malformed) {
		t.Errorf("a wildcard: %v", err)
	}
	if _, err := w.v.EmailContacts(t.Context(), emailName(t, "example.com"), "on"); !problem.Is(err, problem.Malformed) {
		t.Errorf("an unknown mode: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.v.EmailContacts(gone, emailName(t, "example.com"), DNSSECOff); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a caller that left: %v", err)
	}
}

// TestContactsByDNSSEC: what DNSSEC does not authenticate is no contact where it must.
func TestContactsByDNSSEC(t *testing.T) {
	for state, want := range map[testca.ZoneState]int{testca.ZoneSigned: 2, testca.ZoneInsecure: 0, testca.ZoneBogus: 0} {
		w := dotWorld(t)
		w.add(`www.example.com. 60 IN CAA 0 contactemail "caa@example.com"`, `_validation-contactemail.www.example.com. 60 IN TXT "txt@example.net"`, `example.com. 60 IN MX 10 mx.example.com.`)
		w.sign(state)
		by, found := w.contacts("www.example.com", DNSSECRequire)
		if len(by[EmailCAA])+len(by[EmailTXT]) != want || len(found.Failures) != 2-want {
			t.Errorf("%v: %v, %q", state, by, found.Failures)
		}
		for _, c := range found.Contacts {
			if !c.Secure {
				t.Errorf("%v: %+v", state, c)
			}
		}
		secure, err := w.v.MailRoute(t.Context(), "admin@example.com", DNSSECRequire)
		if secure != (want > 0) || (err == nil) != secure || err != nil && !problem.Is(err, problem.DNS) {
			t.Errorf("%v: the way there: %v, %v", state, secure, err)
		}
	}
	w := newWorld(t)
	for mode, fails := range map[DNSSEC]bool{DNSSECOff: false, DNSSECOpportunistic: true} {
		w.dns.Break("", dns.TypeMX, testca.DNSFault{Kind: testca.DNSServFail})
		if secure, err := w.v.MailRoute(t.Context(), "admin@example.com", mode); secure || (err != nil) != fails {
			t.Errorf("%s: %v, %v", mode, secure, err)
		}
	}
	w.dns.Break("", dns.TypeMX, testca.DNSFault{Kind: testca.DNSNXDomain})
	if _, err := w.v.MailRoute(t.Context(), "admin@example.com", DNSSECOpportunistic); !problem.Is(err, problem.DNS) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a domain that is not there: %v", err)
	}
	if _, err := w.v.MailRoute(t.Context(), "admin@example.com", "on"); !problem.Is(err, problem.Malformed) {
		t.Errorf("an unknown mode: %v", err)
	}
}

// TestCriticalContactEmail is understood, so that it does not forbid.
func TestCriticalContactEmail(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.CAAIdentities = []string{ownIdentity} })
	w.add(`www.example.com. 60 IN CAA 128 contactemail "caa@example.com"`)
	req := CAARequest{Names: []CAAName{{Identifier: emailName(t, "www.example.com"), Methods: []Method{EmailCAA}}}}
	if _, err := w.v.CheckCAA(t.Context(), req); err != nil {
		t.Error(err)
	}
	w.add(`www.example.com. 60 IN CAA 0 issue "ca.example.com; validationmethods=ca-email-constructed"`)
	if _, err := w.v.CheckCAA(t.Context(), req); !problem.Is(err, problem.CAA) {
		t.Errorf("validationmethods without the method: %v", err)
	}
}

package dcv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	ownIdentity = "ca.example.com"
	ownAccount  = "https://acme.example.com/acme/r/account/abc"
)

// caaWorld is a world with a gateway that CAA records may call ca.example.com or ca.example.org.
func caaWorld(t *testing.T, lines ...string) *world {
	t.Helper()
	w := newWorld(t, func(c *Config) { c.CAAIdentities = []string{ownIdentity, "ca.example.org"} })
	if err := w.dns.Add(lines...); err != nil {
		t.Fatal(err)
	}
	return w
}

// caa asks for permissions for names that http-01 proved, by the account.
func (w *world) caa(names ...string) ([]CAA, error) {
	w.Helper()
	req := CAARequest{Accounts: []string{"https://other.example.com/acme/r/account/abc", ownAccount}}
	for _, name := range names {
		req.Names = append(req.Names, CAAName{Identifier: mustDNS(w, name), Methods: []Method{HTTP01}})
	}
	return w.v.CheckCAA(w.Context(), req)
}

func TestCAA(t *testing.T) {
	const own = `example.net. 60 IN CAA 0 issue "ca.example.com"`
	for _, row := range []struct {
		name  string
		zone  []string
		ask   string   // default www.example.net
		parts []string // of the refusal; none: it is permitted
	}{
		{"RFC 8659, 3: no records at any level", nil, "", nil},
		{"RFC 8659, 3: no such name, records above", []string{own}, "", nil},
		{"RFC 8659, 3: forbidden above", []string{`example.net. 60 IN CAA 0 issue "ca.elsewhere.net"`}, "",
			[]string{"www.example.net: the CAA records of example.net do not let", `0 issue "ca.elsewhere.net"`, `Add the record example.net. CAA 0 issue "ca.example.com"`}},
		{"RFC 8659, 3: forbidden at the top", []string{`net. 60 IN CAA 0 issue ";"`}, "", []string{"CAA records of net do not"}},
		{"RFC 8659, 3: the nearest records hold", []string{own, `www.example.net. 60 IN CAA 0 issue "ca.elsewhere.net"`}, "", []string{"CAA records of www.example.net"}},
		{"RFC 8659, 3: the nearest records hold, the other way", []string{`example.net. 60 IN CAA 0 issue ";"`, `www.example.net. 60 IN CAA 0 issue "ca.example.com"`}, "", nil},
		{"RFC 8659, 3: records below do not count", []string{own, `a.www.example.net. 60 IN CAA 0 issue ";"`}, "", nil},
		{"RFC 8659, 3: an alias to elsewhere", []string{own, "www.example.net. 60 IN CNAME web.example.org.", `web.example.org. 60 IN CAA 0 issue ";"`}, "",
			[]string{"CAA records of www.example.net (an alias of web.example.org)", "Add the record web.example.org."}},
		{"RFC 8659, 3: above the target of an alias is not climbed", []string{own, "www.example.net. 60 IN CNAME web.example.org.", "web.example.org. 60 IN A 192.0.2.1", `example.org. 60 IN CAA 0 issue ";"`}, "", nil},
		{"RFC 8659, 3: an alias that leads nowhere, forbidden above", []string{"www.example.net. 60 IN CNAME web.example.org.", `example.net. 60 IN CAA 0 issue ";"`}, "", []string{"CAA records of example.net"}},
		{"RFC 8659, 3: an alias above", []string{"example.net. 60 IN CNAME web.example.org.", `web.example.org. 60 IN CAA 0 issue ";"`}, "", []string{"example.net (an alias of web.example.org)"}},
		{"RFC 8659, 3: aliases in a row", []string{"www.example.net. 60 IN CNAME a.example.org.", "a.example.org. 60 IN CNAME b.example.org.", `b.example.org. 60 IN CAA 0 issue "ca.example.com"`, `example.net. 60 IN CAA 0 issue ";"`}, "", nil},

		{"RFC 8659, 4.2: nobody", []string{`example.net. 60 IN CAA 0 issue ";"`}, "", []string{"do not let this gateway issue"}},
		{"RFC 8659, 4.2: an empty value", []string{`example.net. 60 IN CAA 0 issue ""`}, "", []string{"do not let this gateway issue"}},
		{"RFC 8659, 4.2: malformed is nobody", []string{`example.net. 60 IN CAA 0 issue "%%%%%"`}, "", []string{`"%%%%%"`, "malformed", "RFC 8659, 4.2"}},
		{"RFC 8659, 4.2: malformed beside well-formed", []string{own, `example.net. 60 IN CAA 0 issue "%%%%%"`}, "", nil},
		{"RFC 8659, 4.2: several issuers", []string{`example.net. 60 IN CAA 0 issue "ca.elsewhere.net"`, own}, "", nil},
		{"RFC 8659, 4.2: nobody beside us", []string{`example.net. 60 IN CAA 0 issue ";"`, own}, "", nil},
		{"RFC 8659, 4.2: our second name", []string{`example.net. 60 IN CAA 0 issue "ca.example.org"`}, "", nil},
		{"RFC 8659, 4.2: unknown parameters", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; account=230123"`}, "", nil},
		{"RFC 8659, 4.2: the name in upper case", []string{`example.net. 60 IN CAA 0 issue "CA.Example.COM"`}, "", nil},
		{"RFC 8659, 4.2: a name below ours", []string{`example.net. 60 IN CAA 0 issue "a.ca.example.com"`}, "", []string{"do not let"}},
		{"RFC 8659, 4.2: a URL is no name", []string{`example.net. 60 IN CAA 0 issue "https://ca.example.com"`}, "", []string{"malformed"}},
		{"RFC 8659, 4.1: the tag in upper case", []string{`example.net. 60 IN CAA 0 ISSUE ";"`}, "", []string{"do not let"}},

		{"RFC 8659, 4.3: issue holds for wildcards", []string{`example.net. 60 IN CAA 0 issue ";"`}, "*.example.net", []string{"*.example.net: the CAA records of example.net"}},
		{"RFC 8659, 4.3: issuewild takes its place", []string{own, `example.net. 60 IN CAA 0 issuewild ";"`}, "*.example.net", []string{`0 issuewild ";"`, `CAA 0 issuewild "ca.example.com"`}},
		{"RFC 8659, 4.3: issuewild permits where issue does not", []string{`example.net. 60 IN CAA 0 issue ";"`, `example.net. 60 IN CAA 0 IssueWild "ca.example.com"`}, "*.example.net", nil},
		{"RFC 8659, 4.3: issuewild is nothing to other names", []string{`example.net. 60 IN CAA 0 issuewild ";"`}, "", nil},
		{"RFC 8659, 4.3: issuewild does not permit other names", []string{`example.net. 60 IN CAA 0 issue ";"`, `example.net. 60 IN CAA 0 issuewild "ca.example.com"`}, "", []string{"do not let"}},
		{"RFC 8659, 3: a wildcard begins at the name below the asterisk", []string{own, `sub.example.net. 60 IN CAA 0 issue ";"`}, "*.sub.example.net", []string{"records of sub.example.net"}},

		{"RFC 8659, 4.4: iodef alone restricts nothing", []string{`example.net. 60 IN CAA 128 iodef "mailto:security@example.net"`}, "", nil},
		{"RFC 8659, 4.4: iodef beside issue", []string{`example.net. 60 IN CAA 0 iodef "mailto:security@example.net"`, `example.net. 60 IN CAA 0 issue ";"`}, "", []string{"do not let"}},
		{"RFC 8659, 4.1: unknown and not critical", []string{`example.net. 60 IN CAA 0 tbs "Unknown"`}, "", nil},
		{"RFC 8659, 4.1: unknown and critical", []string{own, `example.net. 60 IN CAA 128 tbs "Unknown"`}, "", []string{`128 tbs "Unknown"`, "critical", "set its flags to 0"}},
		{"RFC 8659, 4.1: critical and known", []string{`example.net. 60 IN CAA 128 issue "ca.example.com"`}, "", nil},
		{"RFC 8659, 4.1: the other flags mean nothing", []string{own, `example.net. 60 IN CAA 127 tbs "Unknown"`}, "", nil},
		{"RFC 8659, 4.1: unknown and critical for a wildcard", []string{own, `example.net. 60 IN CAA 129 tbs "Unknown"`}, "*.example.net", []string{"critical"}},

		{"RFC 8657, 3: this account", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=` + ownAccount + `"`}, "", nil},
		{"RFC 8657, 3: its URL below another public URL", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=https://other.example.com/acme/r/account/abc"`}, "", nil},
		{"RFC 8657, 3: another account", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=` + ownAccount + `d"`}, "", []string{"names this gateway, but its accounturi is another account's"}},
		{"RFC 8657, 3: strings are compared, not URIs", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=` + strings.ToUpper(ownAccount) + `"`}, "", []string{"another account's"}},
		{"RFC 8657, 3: more than one", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=` + ownAccount + `; accounturi=` + ownAccount + `"`}, "", []string{"more than one accounturi"}},
		{"RFC 8657, 3: an empty one", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi="`}, "", []string{"another account's"}},
		{"RFC 8657, 3: the parameter in upper case", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; AccountURI=https://x.example/1"`}, "", []string{"another account's"}},
		{"RFC 8657, 3: of issuewild", []string{`example.net. 60 IN CAA 0 issuewild "ca.example.com; accounturi=https://x.example/1"`}, "*.example.net", []string{"another account's"}},
		{"RFC 8657, 3: another account beside nobody in particular", []string{own, `example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=https://x.example/1"`}, "", nil},
		{"RFC 8657, 4: this method", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods=dns-01,http-01"`}, "", nil},
		{"RFC 8657, 4: another method", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods=dns-01"`}, "", []string{"does not list http-01", "Name http-01 in it"}},
		{"RFC 8657, 4: methods are compared as they are", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods=HTTP-01"`}, "", []string{"does not list http-01"}},
		{"RFC 8657, 4: no method", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods="`}, "", []string{"does not list"}},
		{"RFC 8657, 4: a malformed list", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods=http-01,,dns-01"`}, "", []string{"does not list"}},
		{"RFC 8657, 4: more than one", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; validationmethods=http-01; validationmethods=dns-01"`}, "", []string{"more than one validationmethods"}},
		{"RFC 8657, 5: both must hold", []string{`example.net. 60 IN CAA 0 issue "ca.example.com; accounturi=` + ownAccount + `; validationmethods=dns-01"`}, "", []string{"does not list"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := caaWorld(t, row.zone...)
			ask := row.ask
			if ask == "" {
				ask = "www.example.net"
			}
			before := time.Now().UTC().Truncate(time.Second)
			found, err := w.caa(ask)
			if len(row.parts) == 0 {
				if err != nil || len(found) != 1 {
					t.Fatalf("refused: %v", err)
				}
				if c := found[0]; c.Identifier.Value() != ask || c.At.Before(before) || c.At.After(time.Now()) || c.Seen == "" {
					t.Errorf("permission %+v", c)
				}
				return
			}
			p := problem.From(err)
			if p == nil || p.Kind != problem.CAA || len(found) != 0 {
				t.Fatalf("permitted %+v, or another error: %v", found, err)
			}
			for _, part := range row.parts {
				if !strings.Contains(p.Detail, part) {
					t.Errorf("detail %q lacks %q", p.Detail, part)
				}
			}
			if p.RetryAfter != 0 || len(p.Parts) != 1 || p.Parts[0].Identifier.Value() != ask || p.Parts[0].Detail != p.Detail {
				t.Errorf("error %+v", p)
			}
		})
	}
}

// A name whose records cannot be had at one level is refused, whatever is above; BR 3.2.2.8.
func TestCAAWithoutAnAnswer(t *testing.T) {
	for _, kind := range []testca.DNSFaultKind{
		testca.DNSServFail, testca.DNSRefused, testca.DNSFormErr, testca.DNSSilent, testca.DNSWrongID, testca.DNSWrongQuestion,
		testca.DNSTruncatedTCP, testca.DNSOversized, testca.DNSMalformed, testca.DNSAliasLoop, testca.DNSReferral,
	} {
		for _, at := range []string{"www.example.net", "example.net", "net"} {
			t.Run(fmt.Sprintf("fault %d at %s", kind, at), func(t *testing.T) {
				w := caaWorld(t)
				if slices.Contains([]testca.DNSFaultKind{testca.DNSSilent, testca.DNSWrongID, testca.DNSWrongQuestion}, kind) {
					w.v.resolver.try = 100 * time.Millisecond
				}
				for _, name := range []string{"www.example.net", "example.net", "net"} {
					w.dns.SetAddrs(name)
				}
				w.dns.Break(at, dns.TypeCAA, testca.DNSFault{Kind: kind})
				found, err := w.caa("www.example.net")
				p := problem.From(err)
				if p == nil || p.Kind != problem.CAA || found != nil {
					t.Fatalf("permitted %+v, or another error: %v", found, err)
				}
				if !strings.Contains(p.Detail, "the CAA records of "+at) || !strings.Contains(p.Detail, "could not be looked up") || p.RetryAfter == 0 {
					t.Errorf("error %+v", p)
				}
			})
		}
	}
	t.Run("records below the level that fails", func(t *testing.T) {
		w := caaWorld(t, `www.example.net. 60 IN CAA 0 issue "ca.example.com"`)
		w.dns.Break("example.net", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSServFail})
		if _, err := w.caa("www.example.net"); err != nil {
			t.Error(err)
		}
	})
	t.Run("NXDOMAIN is an answer", func(t *testing.T) {
		w := caaWorld(t)
		w.dns.Break("", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSNXDomain})
		if _, err := w.caa("www.example.net"); err != nil {
			t.Error(err)
		}
	})
	t.Run("an alias loop between names", func(t *testing.T) {
		w := caaWorld(t, "www.example.net. 60 IN CNAME a.example.org.", "a.example.org. 60 IN CNAME www.example.net.")
		if _, err := w.caa("www.example.net"); !problem.Is(err, problem.CAA) {
			t.Error(err)
		}
	})
	// The records at the end of the aliases forbid; what is above would permit.
	t.Run("more aliases than are followed", func(t *testing.T) {
		w := caaWorld(t, `example.net. 60 IN CAA 0 issue "ca.example.com"`)
		w.dns.SetChain("www.example.net", "end.example.org", maxAliases+1)
		if err := w.dns.Add(`end.example.org. 60 IN CAA 0 issue ";"`); err != nil {
			t.Fatal(err)
		}
		if _, err := w.caa("www.example.net"); !problem.Is(err, problem.CAA) || !strings.Contains(err.Error(), resultAliases) {
			t.Error(err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		w := caaWorld(t)
		if err := w.dns.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.caa("www.example.net"); !problem.Is(err, problem.CAA) || !strings.Contains(err.Error(), resultClosed) {
			t.Error(err)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		w := caaWorld(t)
		w.dns.Break("", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSSilent})
		ctx, cancel := context.WithCancel(t.Context())
		w.dns.Watch(func(testca.DNSQuery) { cancel() })
		_, err := w.v.CheckCAA(ctx, CAARequest{Names: []CAAName{{Identifier: mustDNS(t, "www.example.net")}}})
		if !problem.Is(err, problem.Unavailable) {
			t.Error(err)
		}
	})
}

// A validation asks CAA once the challenge has succeeded, and records what it saw.
func TestCheckWithCAA(t *testing.T) {
	w := caaWorld(t, `example.com. 60 IN CAA 0 issue "ca.example.com; validationmethods=http-01"`)
	req := requestFor(t, testName)
	req.CAA = &CAAFor{Identifier: req.Identifier, Accounts: []string{ownAccount}}
	proof, rec, err := w.v.Check(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if proof.CAA.Identifier != req.Identifier || proof.CAA.At.IsZero() || !strings.Contains(proof.CAA.Seen, "CAA of example.com: 0 issue") {
		t.Errorf("permission %+v", proof.CAA)
	}
	if len(rec.CAA) != 2 || rec.CAA[0].Name != testName || rec.CAA[0].Type != "CAA" || len(rec.CAA[0].Records) != 0 ||
		rec.CAA[1].Name != "example.com" || !slices.Equal(rec.CAA[1].Records, []string{`0 issue "ca.example.com; validationmethods=http-01"`}) {
		t.Errorf("record %+v", rec.CAA)
	}
	req.CAA.Identifier = mustDNS(t, "*."+testName)
	if err := w.dns.Add(`example.com. 60 IN CAA 0 issuewild ";"`); err != nil {
		t.Fatal(err)
	}
	rec = w.failsAs(t.Context(), req, problem.CAA, "*."+testName, `issuewild ";"`)
	if rec.Advice == "" || len(rec.CAA) != 2 {
		t.Errorf("record %+v", rec)
	}
	w.dns.Break("example.com", dns.TypeCAA, testca.DNSFault{Kind: testca.DNSServFail})
	w.failsAs(t.Context(), req, problem.CAA, "SERVFAIL")

	asked := len(w.dns.Queries())
	w.web.Set(testToken, "wrong")
	w.failsAs(t.Context(), req, problem.IncorrectResponse)
	for _, q := range w.dns.Queries()[asked:] {
		if q.Type == dns.TypeCAA {
			t.Error("CAA was asked for a name that was not proved")
		}
	}
}

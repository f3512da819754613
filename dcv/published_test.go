package dcv

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	testFile   = "9bf31c7ff062936a96d3c8bd1f8f2ff3.txt"
	testValue  = "c7fbc2039e400c8ef74129ec7db1842ca1c4be3be2cfb4f3a23a8e2b8b2b3c1d"
	testTarget = "c7fbc2039e400c8ef74129ec7db1842c.a1c4be3be2cfb4f3a23a8e2b8b2b3c1d.dcv.example.net"
	testAlias  = "_9bf31c7ff062936a96d3c8bd1f8f2ff3"
	aliasOwner = testAlias + "." + testName
	textOwner  = "_gatehouse-challenge." + testName
)

func published(t testing.TB, m Method) Request {
	r := Request{Method: m, Identifier: mustDNS(t, testName)}
	switch m {
	case DNSTXT:
		r.Publication = Publication{Place: "_gatehouse-challenge", Value: testValue}
	case DNSCNAME:
		r.Publication = Publication{Place: testAlias, Value: testTarget}
	default:
		r.Publication = Publication{Place: testFile, Value: testValue}
	}
	return r
}

func (w *world) record(line string) {
	w.Helper()
	if err := w.dns.Add(line); err != nil {
		w.Fatal(err)
	}
}

func TestPublicationsAreFound(t *testing.T) {
	csr := strings.Repeat("A1", 32) + "\ncomodoca.com\n0123456789abcde"
	for _, row := range []struct {
		name    string
		method  Method
		prepare func(*world)
		value   string // other than usual
		seen    string
	}{
		{"a file", HTTPFile, func(w *world) { w.web.Set(testFile, testValue) }, "", "http://" + testName},
		{"a file with a line end", HTTPFile, func(w *world) { w.web.Set(testFile, testValue+"\r\n") }, "", "http://" + testName},
		{"a file by HTTPS", HTTPSFile, func(w *world) { w.web.Set(testFile, testValue) }, "", "https://" + testName},
		{"a file behind redirects", HTTPFile, func(w *world) {
			w.web.Set(testFile, testValue)
			w.web.Break(testFile, testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: 3})
		}, "", "/hop/0/"},
		{"a file of three lines with any line end", HTTPFile, func(w *world) { w.web.Set(testFile, strings.ReplaceAll(csr, "\n", "\r\n")) }, csr, "http://" + testName},
		{"a TXT record", DNSTXT, func(w *world) { w.txt(textOwner, testValue) }, "", "dns:" + textOwner + "?type=TXT"},
		{"one of several TXT records", DNSTXT, func(w *world) { w.txt(textOwner, "other", testValue) }, "", "dns:" + textOwner},
		{"a TXT record behind an alias", DNSTXT, func(w *world) {
			w.dns.SetChain(textOwner, "texts.example.net", 2)
			w.txt("texts.example.net", testValue)
		}, "", "dns:" + textOwner},
		{"a CNAME record whose target is not there", DNSCNAME, func(w *world) { w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".") }, "", "dns:" + aliasOwner + "?type=CNAME"},
		{"a CNAME record in other letter case", DNSCNAME, func(w *world) { w.record(aliasOwner + ". 60 IN CNAME " + strings.ToUpper(testTarget) + ".") }, "", "dns:" + aliasOwner},
		{"a CNAME record behind forgeries", DNSCNAME, func(w *world) {
			w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".")
			w.dns.Break(aliasOwner, dns.TypeCNAME, testca.DNSFault{Kind: testca.DNSSpoofed})
		}, "", "dns:" + aliasOwner},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.prepare(w)
			req := published(t, row.method)
			if row.value != "" {
				req.Publication.Value = row.value
			}
			proof, rec := w.proves(req)
			if proof.Method != row.method || proof.Identifier != req.Identifier || proof.At.IsZero() || !strings.Contains(proof.Seen, row.seen) || len(rec.Hops) == 0 {
				t.Errorf("proof %+v", proof)
			}
		})
	}
}

// TestFileRequestBytes: what is asked of the web server tells the place and not the value.
func TestFileRequestBytes(t *testing.T) {
	w := newWorld(t)
	w.web.Set(testFile, testValue)
	w.proves(published(t, HTTPFile))
	seen := w.web.Requests()
	if len(seen) != 1 || seen[0].URI != "/.well-known/pki-validation/"+testFile || seen[0].Method != "GET" || seen[0].TLS {
		t.Fatalf("%+v", seen)
	}
	w.proves(published(t, HTTPSFile))
	if seen = w.web.Requests(); len(seen) != 2 || !seen[1].TLS || seen[1].ServerName != testName || seen[1].URI != seen[0].URI {
		t.Errorf("%+v", seen)
	}
	queries := w.dns.Queries()
	w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".")
	w.proves(published(t, DNSCNAME))
	asked := w.dns.Queries()[len(queries):]
	if len(asked) != 1 || asked[0].Name != aliasOwner+"." || asked[0].Type != dns.TypeCNAME {
		t.Errorf("asked %+v", asked)
	}
}

func TestPublicationsAreRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		method  Method
		prepare func(*world)
		kind    problem.Kind
		says    string
	}{
		{"no file", HTTPFile, func(*world) {}, problem.IncorrectResponse, "404"},
		{"another file", HTTPFile, func(w *world) { w.web.Set(testFile, strings.Repeat("ab", 32)) }, problem.IncorrectResponse, "text of 64 bytes"},
		{"another letter case", HTTPFile, func(w *world) { w.web.Set(testFile, strings.ToUpper(testValue)) }, problem.IncorrectResponse, "expected a file"},
		{"white space in front", HTTPFile, func(w *world) { w.web.Set(testFile, " "+testValue) }, problem.IncorrectResponse, "expected a file"},
		{"more behind", HTTPFile, func(w *world) {
			w.web.Set(testFile, testValue)
			w.web.Break(testFile, testca.HTTPFault{Kind: testca.HTTPOversizedBody})
		}, problem.IncorrectResponse, "more than"},
		{"an empty file", HTTPFile, func(w *world) { w.web.Set(testFile, "") }, problem.IncorrectResponse, "empty body"},
		{"the answer at http-01's path", HTTPFile, func(w *world) { w.web.Set(testToken, testValue) }, problem.IncorrectResponse, "404"},
		{"a redirect to the host itself", HTTPFile, func(w *world) {
			w.web.Set(testFile, testValue)
			w.web.Break(testFile, testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://169.254.169.254/"})
		}, problem.Connection, "may not contact"},
		{"a loop of redirects", HTTPFile, func(w *world) { w.web.Break(testFile, testca.HTTPFault{Kind: testca.HTTPRedirectLoop}) }, problem.Connection, "loop"},
		{"no HTTP", HTTPFile, func(w *world) {
			w.web.Break(testFile, testca.HTTPFault{Kind: testca.HTTPRaw, Body: "nonsense\r\n\r\n"})
		}, problem.IncorrectResponse, "the file's content"},
		{"only metadata's address", HTTPFile, func(w *world) { w.dns.Remove(testName); w.record(testName + ". 60 IN A 169.254.169.254") }, problem.DNS, "may not contact"},
		{"no TXT record", DNSTXT, func(*world) {}, problem.DNS, "NXDOMAIN"},
		{"another TXT record", DNSTXT, func(w *world) { w.txt(textOwner, "other") }, problem.IncorrectResponse, "none looks like it"},
		{"a TXT record in other letter case", DNSTXT, func(w *world) { w.txt(textOwner, strings.ToUpper(testValue)) }, problem.IncorrectResponse, "letter case"},
		{"a TXT record at the name", DNSTXT, func(w *world) { w.txt(testName, testValue) }, problem.DNS, "does not exist"},
		{"a TXT record where the server fails", DNSTXT, func(w *world) {
			w.txt(textOwner, testValue)
			w.dns.Break(textOwner, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSServFail})
		}, problem.DNS, "SERVFAIL"},
		{"no CNAME record", DNSCNAME, func(*world) {}, problem.DNS, "NXDOMAIN"},
		{"a TXT record in its place", DNSCNAME, func(w *world) { w.txt(aliasOwner, testTarget) }, problem.DNS, "no CNAME record"},
		{"another target", DNSCNAME, func(w *world) { w.record(aliasOwner + ". 60 IN CNAME other.example.net.") }, problem.IncorrectResponse, "other.example.net"},
		{"the zone behind the target", DNSCNAME, func(w *world) { w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".example.com.") }, problem.IncorrectResponse, "final dot"},
		{"a target by way of another alias", DNSCNAME, func(w *world) {
			w.record(aliasOwner + ". 60 IN CNAME between.example.net.")
			w.record("between.example.net. 60 IN CNAME " + testTarget + ".")
		}, problem.IncorrectResponse, "between.example.net"},
		{"two CNAME records", DNSCNAME, func(w *world) {
			w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".")
			w.record(aliasOwner + ". 60 IN CNAME other.example.net.")
		}, problem.IncorrectResponse, "2 CNAME records"},
		{"a CNAME record where the server fails", DNSCNAME, func(w *world) {
			w.record(aliasOwner + ". 60 IN CNAME " + testTarget + ".")
			w.dns.Break(aliasOwner, dns.TypeCNAME, testca.DNSFault{Kind: testca.DNSServFail})
		}, problem.DNS, "SERVFAIL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.prepare(w)
			w.failsAs(t.Context(), published(t, row.method), row.kind, row.says)
		})
	}
}

func TestPublicationsThatCannotBeAskedFor(t *testing.T) {
	w := newWorld(t)
	for _, row := range []struct {
		name   string
		method Method
		change func(*Request)
		kind   problem.Kind
	}{
		{"a wildcard", HTTPFile, func(r *Request) { r.Identifier = mustDNS(t, "*.example.com") }, problem.RejectedIdentifier},
		{"a wildcard by DNS", DNSTXT, func(r *Request) { r.Identifier = mustDNS(t, "*.example.com") }, problem.RejectedIdentifier},
		{"a short value", HTTPFile, func(r *Request) { r.Publication.Value = testValue[:21] }, problem.Malformed},
		{"a long value", DNSTXT, func(r *Request) { r.Publication.Value = strings.Repeat("a", 256) }, problem.Malformed},
		{"lines in a TXT record", DNSTXT, func(r *Request) { r.Publication.Value += "\n" }, problem.Malformed},
		{"a path", HTTPFile, func(r *Request) { r.Publication.Place = "../" + testFile }, problem.Malformed},
		{"dots", HTTPFile, func(r *Request) { r.Publication.Place = ".." }, problem.Malformed},
		{"no place", HTTPFile, func(r *Request) { r.Publication.Place = "" }, problem.Malformed},
		{"a place that tells the value", HTTPFile, func(r *Request) { r.Publication.Place = testValue + ".txt" }, problem.Malformed},
		{"a host's label", DNSCNAME, func(r *Request) { r.Publication.Place = "www" }, problem.Malformed},
		{"two labels", DNSCNAME, func(r *Request) { r.Publication.Place = "_a.b" }, problem.Malformed},
		{"a target that is no name", DNSCNAME, func(r *Request) { r.Publication.Value = "not a name at all, but long" }, problem.Malformed},
		{"too long a name", DNSTXT, func(r *Request) {
			r.Identifier = mustDNS(t, strings.Repeat(strings.Repeat("a", 59)+".", 4)+"com")
		}, problem.RejectedIdentifier},
		{"unknown DNSSEC", DNSTXT, func(r *Request) { r.DNSSEC = "perhaps" }, problem.Malformed},
	} {
		req := published(t, row.method)
		row.change(&req)
		if _, _, err := w.v.Check(t.Context(), req); !problem.Is(err, row.kind) && row.name != "unknown DNSSEC" || err == nil {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if n := len(w.dns.Queries()); n != 0 {
		t.Errorf("%d questions were asked all the same", n)
	}
}

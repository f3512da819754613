package dcv

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestHTTP01FollowsRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		t.Run(fmt.Sprint("RFC 9110, 15.4: ", status), func(t *testing.T) {
			w := newWorld(t)
			w.dns.SetAddrs("other.example.org", loopback4)
			w.web.Set("elsewhere-elsewhere-elsewhere", testKeyAuth)
			w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect, Status: status,
				URL: fmt.Sprintf("http://other.example.org:%d%selsewhere-elsewhere-elsewhere?a=b#part", w.web.Addr().Port(), challengePath)})
			proof, rec := w.passes(testName)
			if len(rec.Hops) != 2 || rec.Hops[0].Status != status || rec.Hops[0].Redirect == "" || rec.Hops[1].Status != 200 {
				t.Fatalf("record %+v", rec)
			}
			if strings.Contains(rec.Hops[1].URL, "#") || !strings.HasPrefix(proof.Seen, rec.Hops[1].URL+" at ") {
				t.Errorf("seen %q, last hop %q", proof.Seen, rec.Hops[1].URL)
			}
			if got := w.web.Requests()[1]; got.URI != challengePath+"elsewhere-elsewhere-elsewhere?a=b" || !strings.HasPrefix(got.Host, "other.example.org:") {
				t.Errorf("second request %+v", got)
			}
		})
	}
	t.Run("to a long URL, of which the proof keeps the ends", func(t *testing.T) {
		w := newWorld(t)
		w.web.Set("elsewhere-elsewhere-elsewhere", testKeyAuth)
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect,
			URL: challengePath + "elsewhere-elsewhere-elsewhere?" + strings.Repeat("a", maxURL-200)})
		proof, rec := w.passes(testName)
		if len(proof.Seen) > maxSeen || !strings.HasPrefix(proof.Seen, "http://"+testName) || !strings.HasSuffix(proof.Seen, " at "+rec.Hops[1].Dialled.String()) {
			t.Errorf("%d bytes: %q", len(proof.Seen), proof.Seen)
		}
	})
	t.Run("ten of them, relative", func(t *testing.T) {
		w := newWorld(t)
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: maxRedirects})
		_, rec := w.passes(testName)
		if len(rec.Hops) != maxRedirects+1 || len(w.dns.Queries()) != 2*(maxRedirects+1) {
			t.Errorf("%d hops, %d questions", len(rec.Hops), len(w.dns.Queries()))
		}
	})
	t.Run("to https without a valid certificate", func(t *testing.T) {
		w := newWorld(t)
		w.web.Set("behind-tls-behind-tls-behind-tls", testKeyAuth)
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect,
			URL: fmt.Sprintf("https://%s:%d%sbehind-tls-behind-tls-behind-tls", testName, w.web.TLSAddr().Port(), challengePath)})
		w.passes(testName)
		if got := w.web.Requests()[1]; !got.TLS || got.ServerName != testName || got.Proto != "HTTP/1.1" {
			t.Errorf("request %+v", got)
		}
	})
	t.Run("to the canonical text of an address", func(t *testing.T) {
		w := newWorld(t)
		w.web.Set("by-address-by-address-by", testKeyAuth)
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect, URL: fmt.Sprintf("http://%s%sby-address-by-address-by", w.web.Addr(), challengePath)})
		w.passes(testName)
	})
}

func TestHTTP01RefusesRedirects(t *testing.T) {
	const place = "redirect"
	for _, row := range []struct {
		name  string
		fault testca.HTTPFault
		kind  problem.Kind
		part  string
	}{
		{"eleven of them", testca.HTTPFault{Kind: testca.HTTPRedirectChain, Count: maxRedirects + 1}, problem.Connection, "more than 10 redirects"},
		{"loop", testca.HTTPFault{Kind: testca.HTTPRedirectLoop}, problem.Connection, "in a loop"},
		{"RFC 9110, 10.2.2: no Location", testca.HTTPFault{Kind: testca.HTTPNoLocation}, problem.Connection, "0 Location fields"},
		{"two Locations", testca.HTTPFault{Kind: testca.HTTPTwoLocations, URL: "/x"}, problem.Connection, "2 Location fields"},
		{"303", testca.HTTPFault{Kind: testca.HTTPRedirect, Status: 303, URL: "/x"}, problem.IncorrectResponse, "status 303"},
		{"300", testca.HTTPFault{Kind: testca.HTTPRedirect, Status: 300, URL: "/x"}, problem.IncorrectResponse, "status 300"},
		{"304", testca.HTTPFault{Kind: testca.HTTPRedirect, Status: 304, URL: "/x"}, problem.IncorrectResponse, "status 304"},
		{"another scheme", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "ftp://www.example.com/"}, problem.Connection, "neither http nor https"},
		{"a port that is not open to us", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://www.example.com:22/"}, problem.Connection, "its port is neither"},
		{"a private address", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://10.0.0.1/"}, problem.Connection, "10.0.0.1 (private use"},
		{"metadata", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://169.254.169.254/latest/"}, problem.Connection, "metadata"},
		{"a name with a private address", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://inside.example.org/"}, problem.DNS, "inside.example.org has only addresses"},
		{"a name that does not exist", testca.HTTPFault{Kind: testca.HTTPRedirect, URL: "http://nowhere.example.org/"}, problem.DNS, "NXDOMAIN"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.dns.SetAddrs("inside.example.org", netip.MustParseAddr("10.0.0.1"))
			w.web.Break(testToken, row.fault)
			rec := w.fails(testName, row.kind, row.part)
			if row.kind != problem.IncorrectResponse && rec.Hops[0].Status/100 != 3 {
				t.Errorf("%s: record %+v", place, rec)
			}
		})
	}
	t.Run("our own listener", func(t *testing.T) {
		var own []netip.AddrPort
		w := newWorld(t, func(c *Config) { c.OwnAddresses = func() []netip.AddrPort { return own } })
		own = []netip.AddrPort{w.web.TLSAddr()}
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect, URL: fmt.Sprintf("https://%s/", w.web.TLSAddr())})
		w.fails(testName, problem.Connection, "this gateway itself")
	})
	t.Run("https without TLS", func(t *testing.T) {
		w := newWorld(t)
		w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect, URL: fmt.Sprintf("https://%s:%d/", testName, w.web.Addr().Port())})
		w.fails(testName, problem.TLS, "does not speak TLS")
	})
}

var standardPorts = ports{http: 80, https: 443}

func TestRedirectTarget(t *testing.T) {
	from := standardPorts.firstTarget(mustDNS(t, testName), testToken)
	for location, want := range map[string]string{
		"/x":                                     "http://www.example.com/x",
		"other":                                  "http://www.example.com/.well-known/acme-challenge/other",
		"//example.org/x":                        "http://example.org/x",
		"?q":                                     "http://www.example.com/.well-known/acme-challenge/" + testToken + "?q",
		"HTTPS://EXAMPLE.org:443/x":              "https://example.org/x",
		"http://example.org:80":                  "http://example.org",
		"http://example.org:443/":                "http://example.org:443/",
		"http://example.org./":                   "http://example.org/",
		"http://192.0.2.1/":                      "http://192.0.2.1/",
		"https://[2001:db8::1]:443/":             "https://[2001:db8::1]/",
		"http://example.org/a%20b?c=%0a":         "http://example.org/a%20b?c=%0a",
		"http://example.org/#" + "part":          "http://example.org/",
		"http://example.org/x?u=http://10.0.0.1": "http://example.org/x?u=http://10.0.0.1",
	} {
		got, err := standardPorts.redirectTarget(from, location)
		if err != nil {
			t.Errorf("%s: %v", location, err)
		} else if got.url.String() != want {
			t.Errorf("%s: %s, want %s", location, got.url, want)
		}
	}
	for name, location := range map[string]string{
		"empty":                        "",
		"long":                         "/" + strings.Repeat("x", maxURL),
		"scheme":                       "file:///etc/passwd",
		"opaque":                       "http:example.org",
		"no host":                      "http:///x",
		"RFC 9110, 4.2.4: user name":   "http://user@example.org/",
		"password":                     "http://user:pass@example.org/",
		"empty user name":              "http://@example.org/",
		"hexadecimal address":          "http://0x7f000001/",
		"decimal address":              "http://2130706433/",
		"short address":                "http://127.1/",
		"octal address":                "http://0177.0.0.1/",
		"mixed address":                "http://0x7f.0.0.1/",
		"address with trailing dot":    "http://127.0.0.1./",
		"bracketed IPv4":               "http://[127.0.0.1]/",
		"zone":                         "http://[fe80::1%25eth0]/",
		"IPv4-mapped":                  "http://[::ffff:127.0.0.1]/",
		"IPv6 not canonical":           "http://[2001:DB8:0::1]/",
		"IPv6 without brackets":        "http://::1/",
		"port 99999":                   "http://example.org:99999/",
		"port 0":                       "http://example.org:0/",
		"port 8080":                    "http://example.org:8080/",
		"port with leading zero":       "http://example.org:080/",
		"empty port":                   "http://example.org:/",
		"port of words":                "http://example.org:http/",
		"underscore":                   "http://a_b.example.org/",
		"wildcard":                     "http://*.example.org/",
		"escaped host":                 "http://example%2eorg%00/",
		"U-label":                      "http://bücher.example/",
		"full-width digits":            "http://\uff11\uff12\uff17.0.0.1/",
		"space in query":               "http://example.org/?a b",
		"line break":                   "http://example.org/\r\nX: y",
		"line break in query":          "http://example.org/?\nX: y",
		"octets beyond ASCII in query": "http://example.org/?ü",
		"back slash host":              `http://example.org\@10.0.0.1/`,
	} {
		if got, err := standardPorts.redirectTarget(from, location); err == nil {
			t.Errorf("%s: %q was accepted as %s", name, location, got.url)
		} else if location != "" && len(location) < 100 && strings.Contains(err.Error(), location) {
			t.Errorf("%s: the error repeats the Location: %v", name, err)
		}
	}
}

// FuzzRedirect holds redirectTarget to what its callers rely on.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{
		"/x", "//example.org/", "http://example.org:80/a?b#c", "https://[2001:db8::1]/", "http://0x7f000001/", "http://u:p@h/",
		"http://[fe80::1%25eth0]/", "http://127.1/", "http:opaque", "http://example.org:99999/", "\x00", "http://a/?\r\n",
	} {
		f.Add(seed)
	}
	from := standardPorts.firstTarget(mustDNS(f, testName), testToken)
	f.Fuzz(func(t *testing.T, location string) {
		got, err := standardPorts.redirectTarget(from, location)
		if err != nil {
			return
		}
		if got.port != 80 && got.port != 443 {
			t.Errorf("port %d", got.port)
		}
		if again, err := identifier.Parse(string(got.host.Type()), got.host.Value()); err != nil || again != got.host {
			t.Errorf("host %v", got.host)
		}
		request := (&fetcher{userAgent: "Gatehouse"}).request(got)
		if strings.Count(request, "\r\n") != 7 || strings.Count(request, "\n") != 7 || strings.Count(strings.SplitN(request, "\r\n", 2)[0], " ") != 2 {
			t.Errorf("request %q", request)
		}
		if _, err := url.Parse(got.url.String()); err != nil {
			t.Errorf("its URL does not parse again: %v", err)
		}
		if next, err := standardPorts.redirectTarget(got, got.url.String()); err != nil || next.url.String() != got.url.String() {
			t.Errorf("%s is not stable: %v, %v", got.url, next.url, err)
		}
	})
}

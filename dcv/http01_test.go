package dcv

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestHTTP01Accepts(t *testing.T) {
	for name, answer := range map[string]string{
		"RFC 8555, 8.3: the key authorization":         testKeyAuth,
		"RFC 8555, 8.3: trailing white space":          testKeyAuth + " \t\r\n\n",
		"RFC 8555, 8.3: as much as the cap allows for": testKeyAuth + strings.Repeat("\n", bodySlack),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.web.Set(testToken, answer)
			proof, rec := w.passes(testName)
			if proof.Method != HTTP01 || proof.Identifier != mustDNS(t, testName) || proof.At.Nanosecond() != 0 {
				t.Errorf("proof %+v", proof)
			}
			url := fmt.Sprintf("http://%s:%d%s%s", testName, w.web.Addr().Port(), challengePath, testToken)
			if want := url + " at " + w.web.Addr().String(); proof.Seen != want {
				t.Errorf("seen %q, want %q", proof.Seen, want)
			}
			if len(rec.Hops) != 1 || rec.Advice != "" || rec.Started.Location() != time.UTC {
				t.Fatalf("record %+v", rec)
			}
			hop := rec.Hops[0]
			if hop.URL != url || hop.Status != 200 || hop.Dialled != w.web.Addr() || len(hop.Lookups) != 2 || len(hop.Dials) != 1 {
				t.Errorf("hop %+v", hop)
			}
		})
	}
}

// RFC 8555, 8.3: a GET to the name's own port, with the name in Host. Nothing around us changes where it goes.
func TestHTTP01Request(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	t.Setenv("http_proxy", "http://127.0.0.1:9")
	w := newWorld(t, func(c *Config) { c.UserAgent = "Gatehouse (+https://ca.example.com/why)" })
	w.passes(testName)
	w.passes(testName)
	got := w.web.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests", len(got))
	}
	r := got[0]
	if r.Method != "GET" || r.URI != challengePath+testToken || r.Proto != "HTTP/1.1" || r.TLS ||
		r.Host != fmt.Sprintf("%s:%d", testName, w.web.Addr().Port()) {
		t.Errorf("request %+v", r)
	}
	for field, want := range map[string]string{
		"User-Agent": "Gatehouse (+https://ca.example.com/why)", "Connection": "close", "Accept-Encoding": "identity",
		"Cookie": "", "Authorization": "", "Referer": "",
	} {
		if r.Header.Get(field) != want {
			t.Errorf("%s is %q, want %q", field, r.Header.Get(field), want)
		}
	}
	if got[0].Source == got[1].Source {
		t.Error("a connection was used twice")
	}
}

func TestCheckRefusesRequests(t *testing.T) {
	w := newWorld(t)
	good := requestFor(t, testName)
	for _, row := range []struct {
		name   string
		change func(*Request)
		kind   problem.Kind
	}{
		{"unknown method", func(r *Request) { r.Method = "http-02" }, problem.Malformed},
		{"no method", func(r *Request) { r.Method = "" }, problem.Malformed},
		{"no identifier", func(r *Request) { r.Identifier = identifier.Identifier{} }, problem.Malformed},
		{"RFC 8555, 8.3: wildcard", func(r *Request) { r.Identifier = mustDNS(t, "*.example.com") }, problem.RejectedIdentifier},
		{"RFC 8555, 8.3: short token", func(r *Request) { r.Token, r.KeyAuthorization = "short", "short."+testPrint }, problem.Malformed},
		{"RFC 8555, 8.3: token alphabet", func(r *Request) {
			r.Token = strings.Repeat("../", 10)
			r.KeyAuthorization = r.Token + "." + testPrint
		}, problem.Malformed},
		{"endless token", func(r *Request) {
			r.Token = strings.Repeat("a", maxToken+1)
			r.KeyAuthorization = r.Token + "." + testPrint
		}, problem.Malformed},
		{"RFC 8555, 8.1: another token", func(r *Request) { r.KeyAuthorization = "x" + testKeyAuth }, problem.Malformed},
		{"RFC 8555, 8.1: no thumbprint", func(r *Request) { r.KeyAuthorization = testToken + "." }, problem.Malformed},
		{"RFC 8555, 8.1: padded thumbprint", func(r *Request) { r.KeyAuthorization += "=" }, problem.Malformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := good
			row.change(&req)
			w := &world{T: t, v: w.v}
			w.failsAs(t.Context(), req, row.kind)
		})
	}
	if n := len(w.dns.Queries()) + len(w.web.Requests()); n != 0 {
		t.Errorf("a refused request caused %d messages", n)
	}
}

const canary = "the-canary-in-the-body"

func TestHTTP01RefusesResponses(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault testca.HTTPFault
		kind  problem.Kind
		part  string
	}{
		{"other content", testca.HTTPFault{Kind: testca.HTTPContent, Body: canary}, problem.IncorrectResponse, "got text of 22 bytes"},
		{"empty", testca.HTTPFault{Kind: testca.HTTPContent}, problem.IncorrectResponse, "an empty body"},
		{"HTML", testca.HTTPFault{Kind: testca.HTTPContent, Body: "<!DOCTYPE html>" + canary}, problem.IncorrectResponse, "an HTML page"},
		{"another token", testca.HTTPFault{Kind: testca.HTTPContent, Body: canary + "." + testPrint}, problem.IncorrectResponse, "another token's key authorization"},
		{"too long", testca.HTTPFault{Kind: testca.HTTPOversizedBody}, problem.IncorrectResponse, "of more than"},
		{"one byte too long", testca.HTTPFault{Kind: testca.HTTPOversizedBody, Count: bodySlack + 1}, problem.IncorrectResponse, "of more than"},
		{"endless", testca.HTTPFault{Kind: testca.HTTPEndlessBody}, problem.IncorrectResponse, "of more than"},
		{"RFC 9112, 8: incomplete", testca.HTTPFault{Kind: testca.HTTPShortBody}, problem.Connection, "closed the connection early while reading the response body"},
		{"404", testca.HTTPFault{Kind: testca.HTTPContent, Status: 404, Body: canary}, problem.IncorrectResponse, "status 404 (Not Found)"},
		{"right answer with 500", testca.HTTPFault{Kind: testca.HTTPContent, Status: 500, Body: testKeyAuth}, problem.IncorrectResponse, "status 500"},
		{"right answer with 206", testca.HTTPFault{Kind: testca.HTTPContent, Status: 206, Body: testKeyAuth}, problem.IncorrectResponse, "status 206"},
		{"right answer with 203", testca.HTTPFault{Kind: testca.HTTPContent, Status: 203, Body: testKeyAuth}, problem.IncorrectResponse, "status 203"},
		{"unregistered status", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 799 " + canary + "\r\n\r\n"}, problem.IncorrectResponse, "status 799"},
		{"hangs up", testca.HTTPFault{Kind: testca.HTTPHangUp}, problem.Connection, "closed the connection early while waiting for the response headers"},
		{"no HTTP", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "SSH-2.0-" + canary + "\r\n\r\n"}, problem.IncorrectResponse, "did not answer with an HTTP response"},
		{"broken header", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"}, problem.IncorrectResponse, "did not answer with an HTTP response"},
		{"two lengths", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}, problem.IncorrectResponse, "did not answer"},
		{"large headers", testca.HTTPFault{Kind: testca.HTTPOversizedHeaders}, problem.IncorrectResponse, "headers are longer than 16 KiB"},
		{"interim without end", testca.HTTPFault{Kind: testca.HTTPRaw, Body: strings.Repeat("HTTP/1.1 103 x\r\n\r\n", 20)}, problem.IncorrectResponse, "too many interim responses"},
		{"switches protocols", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 101 x\r\n\r\n"}, problem.IncorrectResponse, "status 101"},
		{"broken chunks", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n"}, problem.IncorrectResponse, "body is not well formed"},
		{"chunk padding", testca.HTTPFault{Kind: testca.HTTPRaw, Body: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("p", 2000)+"\r\na\r\n", 50) + "0\r\n\r\n"}, problem.IncorrectResponse, "response body"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.web.Break(testToken, row.fault)
			rec := w.fails(testName, row.kind, row.part, w.web.Addr().String())
			_, _, err := w.v.Check(t.Context(), requestFor(t, testName))
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", rec)} {
				if strings.Contains(text, canary) {
					t.Errorf("the server's text shows: %s", text)
				}
			}
			if rec.Advice == "" || !strings.Contains(problem.From(err).Detail, rec.Advice) {
				t.Error("no advice")
			}
		})
	}
}

func TestHTTP01PassesInterimResponses(t *testing.T) {
	w := newWorld(t)
	w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRaw, Body: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 3) +
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(testKeyAuth), testKeyAuth)})
	w.passes(testName)
}

func TestHTTP01Deadline(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault testca.HTTPFault
		part  string
	}{
		{"no headers", testca.HTTPFault{Kind: testca.HTTPSilent}, "timed out while waiting for the response headers"},
		{"headers too late", testca.HTTPFault{Kind: testca.HTTPSlow, Delay: time.Hour}, "timed out while waiting for the response headers"},
		{"body in drips", testca.HTTPFault{Kind: testca.HTTPDrip, Delay: 50 * time.Millisecond}, "timed out while reading the response body"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Timeout = 400 * time.Millisecond })
			w.web.Break(testToken, row.fault)
			w.fails(testName, problem.Connection, row.part)
		})
	}
}

// A canceled caller (a shutdown) learns nothing about the name, so the challenge must not fail for it.
func TestCheckCanceled(t *testing.T) {
	w := newWorld(t)
	w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPSilent})
	ctx, cancel := context.WithCancel(t.Context())
	w.web.Watch(func(testca.HTTPRequest) { cancel() })
	rec := w.failsAs(ctx, requestFor(t, testName), problem.Unavailable)
	if rec.Hops[0].Dialled != w.web.Addr() {
		t.Errorf("record %+v", rec)
	}
}

func TestCheckWaitsForASlotAsLongAsItsContext(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"in all":     func(c *Config) { c.MaxConcurrent = 1 },
		"per target": func(c *Config) { c.MaxPerTarget = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, limit)
			release, err := w.v.slots.acquire(t.Context(), "example.com")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			w.failsAs(ctx, requestFor(t, testName), problem.Unavailable, "no slot")
			_, _, err = w.v.Check(ctx, requestFor(t, testName))
			if problem.From(err).RetryAfter <= 0 || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v", err)
			}
			release()
			w.passes(testName)
		})
	}
}

func TestHTTP01RefusesAddresses(t *testing.T) {
	for _, row := range []struct {
		name  string
		addrs []string
		part  string
	}{
		{"RFC 1918", []string{"10.1.2.3"}, "10.1.2.3 (private use (RFC 1918))"},
		{"metadata", []string{"169.254.169.254"}, "metadata"},
		{"link local", []string{"fe80::1"}, "fe80::1 ("},
		{"unspecified", []string{"0.0.0.0"}, "0.0.0.0 ("},
		{"IPv4-mapped loopback", []string{"::ffff:127.0.0.1"}, "::ffff:127.0.0.1 ("},
		{"NAT64 loopback", []string{"64:ff9b::7f00:1"}, "64:ff9b::7f00:1 ("},
		{"many", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, "and 2 more"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			var addrs []netip.Addr
			for _, a := range row.addrs {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
			w.dns.SetAddrs(testName, addrs...)
			rec := w.fails(testName, problem.DNS, "may not contact", row.part)
			if len(rec.Hops[0].Dials) != 0 || len(rec.Hops[0].Addresses) != len(addrs) || rec.Hops[0].Addresses[0].Refused == "" {
				t.Errorf("record %+v", rec)
			}
		})
	}
	t.Run("loopback outside dev", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.AllowLoopback = false })
		w.fails(testName, problem.DNS, "127.0.0.1 (loopback")
		if len(w.web.Requests()) != 0 {
			t.Error("it was contacted")
		}
	})
	t.Run("loopback named by the profile", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.AllowLoopback = false })
		req := requestFor(t, testName)
		req.Private = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/0")}
		w.failsAs(t.Context(), req, problem.DNS, "127.0.0.1 (loopback")
	})
	t.Run("own listener", func(t *testing.T) {
		var own []netip.AddrPort
		w := newWorld(t, func(c *Config) { c.OwnAddresses = func() []netip.AddrPort { return own } })
		own = []netip.AddrPort{w.web.Addr()}
		w.fails(testName, problem.DNS, "this gateway itself")
		own = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), w.web.Addr().Port())}
		w.fails(testName, problem.DNS, "this gateway itself")
		own = []netip.AddrPort{netip.AddrPortFrom(loopback4, w.web.Addr().Port()^1)}
		w.passes(testName)
	})
	t.Run("a refused address beside a good one is not dialled", func(t *testing.T) {
		w := newWorld(t)
		w.dns.SetAddrs(testName, netip.MustParseAddr("10.0.0.1"), loopback4)
		_, rec := w.passes(testName)
		if hop := rec.Hops[0]; hop.Addresses[0].Refused == "" || hop.Addresses[1].Refused != "" || len(hop.Dials) != 1 {
			t.Errorf("record %+v", rec)
		}
	})
}

// RFC 8738, 4: an address is validated by connecting to it.
func TestHTTP01Address(t *testing.T) {
	w := newWorld(t)
	id, err := identifier.ParseIP("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	req := requestFor(t, testName)
	req.Identifier = id
	if _, _, err := w.v.Check(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if host := w.web.Requests()[0].Host; host != w.web.Addr().String() || len(w.dns.Queries()) != 0 {
		t.Errorf("host %q, %d DNS queries", host, len(w.dns.Queries()))
	}
	if req.Identifier, err = identifier.ParseIP("192.168.1.1"); err != nil {
		t.Fatal(err)
	}
	w.failsAs(t.Context(), req, problem.RejectedIdentifier, "192.168.1.1 (private use")
}

// A name that answers the check with one address and the next question with another gains nothing: each hop asks once
// and connects to what it checked.
func TestHTTP01Rebinding(t *testing.T) {
	w := newWorld(t)
	w.dns.SetTurns(testName, []netip.Addr{loopback4}, []netip.Addr{netip.MustParseAddr("169.254.169.254")})
	_, rec := w.passes(testName)
	if n := len(w.dns.Queries()); n != 2 {
		t.Errorf("%d questions, want one for each family", n)
	}
	if rec.Hops[0].Dialled.Addr() != loopback4 {
		t.Errorf("dialled %s", rec.Hops[0].Dialled)
	}
	w.fails(testName, problem.DNS, "metadata")
}

func TestHTTP01Connect(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		w := newWorld(t)
		_ = w.web.Close()
		w.fails(testName, problem.Connection, "could not connect for www.example.com to "+w.web.Addr().String()+" (connection refused)")
	})
	t.Run("RFC 8555, 8.3 with RFC 8305: IPv4 when IPv6 does not answer", func(t *testing.T) {
		w := newWorld(t)
		w.dns.SetAddrs(testName, loopback4, netip.IPv6Loopback())
		_, rec := w.passes(testName)
		hop := rec.Hops[0]
		if len(hop.Dials) != 2 || !hop.Dials[0].Addr.Addr().Is6() || hop.Dials[0].Failed == "" || hop.Dialled != w.web.Addr() {
			t.Errorf("hop %+v", hop)
		}
		if !strings.Contains(rec.Advice, "IPv6") {
			t.Errorf("advice %q", rec.Advice)
		}
	})
	t.Run("IPv6 first", func(t *testing.T) {
		w := newWorld(t)
		six, err := testca.NewHTTP(testca.HTTPConfig{Addr: fmt.Sprintf("[::1]:%d", w.web.Addr().Port())})
		if err != nil {
			t.Skipf("no IPv6 loopback: %v", err)
		}
		defer func() { _ = six.Close() }()
		six.Set(testToken, testKeyAuth)
		w.dns.SetAddrs(testName, loopback4, netip.IPv6Loopback())
		_, rec := w.passes(testName)
		if rec.Hops[0].Dialled != six.Addr() || len(w.web.Requests()) != 0 {
			t.Errorf("hop %+v", rec.Hops[0])
		}
		// An answer over IPv6 is final, right or wrong.
		six.Set(testToken, "wrong")
		w.fails(testName, problem.IncorrectResponse, six.Addr().String())
		if len(w.web.Requests()) != 0 {
			t.Error("a wrong answer over IPv6 was tried again over IPv4")
		}
	})
	t.Run("at most one address of a family", func(t *testing.T) {
		w := newWorld(t)
		w.dns.SetAddrs(testName, netip.MustParseAddr("127.9.9.9"), loopback4)
		rec := w.fails(testName, problem.Connection, "127.9.9.9:")
		if len(rec.Hops[0].Dials) != 1 {
			t.Errorf("hop %+v", rec.Hops[0])
		}
	})
	t.Run("the address is checked again as it is dialled", func(t *testing.T) {
		var calls int
		var target netip.AddrPort
		w := newWorld(t, func(c *Config) {
			c.OwnAddresses = func() []netip.AddrPort {
				if calls++; calls > 1 {
					return []netip.AddrPort{target}
				}
				return nil
			}
		})
		target = w.web.Addr()
		w.fails(testName, problem.Connection, "connection failed")
		if len(w.web.Requests()) != 0 {
			t.Error("it was contacted")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := Config{Resolver: ResolverConfig{Servers: []string{"192.0.2.53:53"}}}
	for name, change := range map[string]func(*Config){
		"no DNS server":       func(c *Config) { c.Resolver.Servers = nil },
		"server without port": func(c *Config) { c.Resolver.Servers = []string{"192.0.2.53"} },
		"server with port 0":  func(c *Config) { c.Resolver.Servers = []string{"192.0.2.53:0"} },
		"server without host": func(c *Config) { c.Resolver.Servers = []string{":53"} },
		"negative try":        func(c *Config) { c.Resolver.TryTimeout = -1 },
		"negative rounds":     func(c *Config) { c.Resolver.Rounds = -1 },
		"negative timeout":    func(c *Config) { c.Timeout = -1 },
		"negative limit":      func(c *Config) { c.MaxPerTarget = -1 },
		"one port for both":   func(c *Config) { c.HTTPPort = 443 },
		"user agent of lines": func(c *Config) { c.UserAgent = "a\r\nX-Evil: b" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

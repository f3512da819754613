package dcv

import (
	"context"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestServers(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.53:53":                   "192.0.2.53:53",
		"dns.example.com:53":              "dns.example.com:53",
		"127.0.0.1:53":                    "127.0.0.1:53 trusted",
		"[::1]:53":                        "[::1]:53 trusted",
		"localhost:53":                    "localhost:53", // whatever the system makes of the name
		"tls://192.0.2.53:853#dns.corp":   "192.0.2.53:853 dns.corp trusted",
		"tls://192.0.2.53#dns.corp":       "192.0.2.53:853 dns.corp trusted",
		"tls://192.0.2.53":                "192.0.2.53:853 192.0.2.53 trusted",
		"tls://dns.example.com":           "dns.example.com:853 dns.example.com trusted",
		"tls://[2001:db8::53]:8853#a.net": "[2001:db8::53]:8853 a.net trusted",
		"tls://2001:db8::53":              "[2001:db8::53]:853 2001:db8::53 trusted",
		"tls://[2001:db8::53]":            "[2001:db8::53]:853 2001:db8::53 trusted",
		"192.0.2.53":                      "refused",
		"192.0.2.53:0":                    "refused",
		":53":                             "refused",
		"":                                "refused",
		"tls://":                          "refused",
		"tls://#a.net":                    "refused",
		"tls://192.0.2.53:853#":           "refused",
		"tls://192.0.2.53:853#*.a.net":    "refused",
		"tls://192.0.2.53:853#a b":        "refused",
		"tls://192.0.2.53:0":              "refused",
		"tls://192.0.2.53:65536":          "refused",
		"tls://a.net:853/x":               "refused",
		"tls://user@a.net":                "refused",
		"https://a.net":                   "refused",
	} {
		got := "refused"
		if r, err := NewResolver(ResolverConfig{Servers: []string{text}}); err == nil {
			u := r.servers[0]
			switch s := u.transport.(type) {
			case *server:
				got = s.addr
			case *dotServer:
				got = s.addr + " " + s.tls.ServerName
			}
			if u.trusted {
				got += " trusted"
			}
		} else if text != "" && !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not name %q: %v", text, err)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	r, err := NewResolver(ResolverConfig{Servers: []string{"192.0.2.53:53", "192.0.2.54:53"}, Trusted: []string{"192.0.2.54:53"}})
	if err != nil || !slices.Equal(r.TrustedServers(), []string{"192.0.2.54:53"}) {
		t.Errorf("trusted %v, %v", r.TrustedServers(), err)
	}
	if _, err := NewResolver(ResolverConfig{Servers: []string{"192.0.2.53:53"}, Trusted: []string{"192.0.2.53"}}); err == nil {
		t.Error("a trusted server that is none was accepted")
	}
}

// sources counts the connections of a world's questions.
func (w *world) sources() int {
	seen := map[netip.AddrPort]bool{}
	for _, q := range w.dns.Queries() {
		seen[q.Source] = true
	}
	return len(seen)
}

func TestDoT(t *testing.T) {
	w := dotWorld(t)
	for range 5 {
		_, rec := w.passes(testName)
		for _, l := range rec.Hops[0].Lookups {
			if l.Network != "tls" || l.Server != dotScheme+w.dns.TLSAddr()+"#"+resolverName {
				t.Errorf("lookup %+v", l)
			}
		}
	}
	if n := w.sources(); n != 1 {
		t.Errorf("RFC 7858, 3.4: %d connections for lookups that follow one another", n)
	}
	for _, q := range w.dns.Queries() {
		if q.Network != "tls" || q.Size%padBlock != 0 || q.EDNS != udpPayload || q.DO || q.AD || q.CD {
			t.Errorf("RFC 8467, 4.1: question %+v", q)
		}
	}
	if err := w.v.Close(); err != nil {
		t.Error(err)
	}
	w.passes(testName) // Close only lets go of what is kept
	if n := len(w.v.resolver.servers[0].transport.(*dotServer).idle); n != 0 {
		t.Errorf("%d connections kept after Close", n)
	}
}

// Replies come in any order (RFC 7766, 6.2.1.1): here the address before the word that there is no IPv6 address.
func TestDoTOutOfOrder(t *testing.T) {
	w := dotWorld(t)
	w.dns.Break(testName, dns.TypeAAAA, testca.DNSFault{Delay: 300 * time.Millisecond})
	_, rec := w.passes(testName)
	if l := rec.Hops[0].Lookups; len(l) != 2 || l[0].Result != resultNoData || l[1].Result != resultNoError || l[0].Took < l[1].Took {
		t.Errorf("lookups %+v", l)
	}
	if w.sources() != 1 {
		t.Error("the connection was not kept")
	}
}

// A server that closes idle connections costs a new one, not a failure; one that closes every connection is a failure, and
// is not tried without end.
func TestDoTReconnects(t *testing.T) {
	w := dotWorld(t)
	w.dns.Break(testName, dns.TypeA, testca.DNSFault{Kind: testca.DNSHangUp, Delay: 20 * time.Millisecond})
	const rounds = 3
	for range rounds {
		_, rec := w.passes(testName)
		if l := rec.Hops[0].Lookups; len(l) != 2 {
			t.Errorf("RFC 7766, 6.2.3: lookups %+v", l)
		}
	}
	if n := w.sources(); n != rounds {
		t.Errorf("%d connections", n)
	}
	w.dns.Break(testName, 0, testca.DNSFault{Kind: testca.DNSClosed})
	w.dns.Break(testName, dns.TypeA, testca.DNSFault{Kind: testca.DNSClosed})
	rec := w.fails(testName, problem.DNS, resultClosed)
	if n := len(rec.Hops[0].Lookups); n != 4 {
		t.Errorf("%d lookups, want two rounds", n)
	}
}

// A connection that timed out may still bring a late reply, and is not used again.
func TestDoTDropsDirtyConnections(t *testing.T) {
	w := dotWorld(t, func(c *Config) { c.Resolver.TryTimeout, c.Resolver.Rounds = 300*time.Millisecond, 1 })
	w.dns.Break("late.example.com", 0, testca.DNSFault{Kind: testca.DNSSilent})
	w.passes(testName)
	w.fails("late.example.com", problem.DNS, "timed out")
	w.passes(testName)
	if n := w.sources(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// Nothing is asked of a server that is not the configured one.
func TestDoTCertificates(t *testing.T) {
	for name, row := range map[string]struct {
		names  []string
		change func(*Config)
	}{
		"RFC 8310, 8.1: another name": {[]string{"other.example.net"}, nil},
		"an unknown root":             {[]string{resolverName}, func(c *Config) { c.Resolver.Roots = x509.NewCertPool() }},
		"the system's roots":          {[]string{resolverName}, func(c *Config) { c.Resolver.Roots = nil }},
		"an address without a name":   {[]string{resolverName}, func(c *Config) { c.Resolver.Servers[0], _, _ = strings.Cut(c.Resolver.Servers[0], "#") }},
	} {
		t.Run(name, func(t *testing.T) {
			d, use := overTLS(t, row.names...)
			d.SetAddrs(testName, loopback4)
			changes := []func(*Config){use}
			if row.change != nil {
				changes = append(changes, row.change)
			}
			w := newWorld(t, changes...)
			rec := w.fails(testName, problem.DNS, resultNoTLS)
			if l := rec.Hops[0].Lookups; len(l) == 0 || l[0].Result != resultNoTLS {
				t.Errorf("lookups %+v", l)
			}
			if n := len(d.Queries()) + len(w.dns.Queries()); n != 0 {
				t.Errorf("%d questions were sent", n)
			}
		})
	}
	t.Run("by its address", func(t *testing.T) {
		d, use := overTLS(t, "127.0.0.1")
		d.SetAddrs(testName, loopback4)
		newWorld(t, use, func(c *Config) { c.Resolver.Servers[0], _, _ = strings.Cut(c.Resolver.Servers[0], "#") }).passes(testName)
	})
	t.Run("no TLS there", func(t *testing.T) {
		w := newWorld(t, func(c *Config) {
			c.Resolver.Servers[0] = dotScheme + c.Resolver.Servers[0]
			c.Resolver.TryTimeout, c.Resolver.Rounds = 200*time.Millisecond, 1
		})
		w.fails(testName, problem.DNS, "timed out") // while the server waits for the rest of what it takes for a question
		if n := len(w.dns.Queries()); n != 0 {
			t.Errorf("%d questions were sent in the clear", n)
		}
	})
}

// More lookups at once than there may be connections wait for one, as long as they have time.
func TestDoTBounded(t *testing.T) {
	w := dotWorld(t)
	dot := w.v.resolver.servers[0].transport.(*dotServer)
	for range dotConns {
		dot.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(ctx, func() { <-dot.slots })
	result := make(chan string, 1)
	go func() {
		_, _, how := w.v.resolver.addresses(t.Context(), testName, DNSSECOff)
		result <- how.result
	}()
	cancel()
	if got := <-result; got != resultNoError {
		t.Errorf("result %s", got)
	}
	dot.slots <- struct{}{}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	if _, _, how := w.v.resolver.addresses(canceled, testName, DNSSECOff); how.result != resultCanceled {
		t.Errorf("result %s", how.result)
	}
}

// As many lookups as one account may have under way do not keep others waiting, however slow their name servers are: what
// waits too long for a connection would count as a name that cannot be resolved.
func TestDoTSlowNamesKeepNobodyWaiting(t *testing.T) {
	w := dotWorld(t, func(c *Config) { c.Resolver.TryTimeout = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	defer slow.Wait()
	defer cancel()
	const name, lookups = "slow.example.org", 128
	w.dns.Break(name, 0, testca.DNSFault{Delay: time.Minute})
	for range lookups {
		slow.Go(func() { w.v.resolver.addresses(ctx, name, DNSSECOff) })
	}
	for end := time.Now().Add(20 * time.Second); len(w.dns.Queries()) < 2*min(lookups, dotConns); {
		if time.Now().After(end) {
			t.Fatalf("%d questions were asked", len(w.dns.Queries()))
		}
		time.Sleep(5 * time.Millisecond)
	}
	bounded, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if _, _, how := w.v.resolver.addresses(bounded, testName, DNSSECOff); how.result != resultNoError {
		t.Errorf("result %s", how.result)
	}
}

func TestDoTMixed(t *testing.T) {
	d, use := overTLS(t, resolverName)
	d.SetAddrs(testName, loopback4)
	w := newWorld(t, func(c *Config) {
		plain := c.Resolver.Servers[0]
		use(c)
		c.Resolver.Servers = append([]string{plain}, c.Resolver.Servers...)
	})
	w.dns.Break("", 0, testca.DNSFault{Kind: testca.DNSServFail})
	_, rec := w.passes(testName)
	if l := rec.Hops[0].Lookups; len(l) != 4 || l[0].Network != "udp" || l[3].Network != "tls" {
		t.Errorf("lookups %+v", l)
	}
}

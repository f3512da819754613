package dcv

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ResolverConfig says which recursive DNS servers to ask. They are trusted to answer honestly and should validate
// DNSSEC; a server on the same host or network leaves the least room for forgeries.
type ResolverConfig struct {
	// Servers are asked in order of preference. At least one, each of them either host:port, asked over UDP, and over TCP
	// when a reply is truncated; or tls://host:port#name, asked over TLS (RFC 7858), where name is what its certificate must
	// be for, host without it, and the port 853 without one. A host name is looked up by the operating system when a
	// socket is opened; an IPv6 address is in brackets.
	Servers []string
	// Roots certify the servers over TLS; nil: the system's roots.
	Roots *x509.CertPool
	// Trusted lists those of Servers whose AD bit is believed although they are asked over UDP and TCP, because nobody can
	// tamper with the way to them. Servers over TLS and those at a loopback address are trusted without it.
	Trusted []string
	// TryTimeout is how long one server has for one try; default 2 s. Then the next server is asked.
	TryTimeout time.Duration
	// Rounds is how often the list is gone through before a lookup fails; default 2.
	Rounds int
}

// Resolver looks addresses up. It is safe for concurrent use and keeps sockets open between lookups until Close.
// It caches nothing: a validation must see what the DNS says now.
type Resolver struct {
	servers []*upstream
	try     time.Duration
	rounds  int
	prefer  atomic.Uint32 // index of the server that answered last, so that a dead first one costs one timeout, not all
}

// upstream is one of the resolver's servers.
type upstream struct {
	transport
	name    string // as configured
	trusted bool   // its AD bit is believed
}

// transport is a way to ask a server.
type transport interface {
	// exchange sends all asks and settles each of them by the deadline or the end of ctx, whichever is first.
	exchange(ctx context.Context, asks []*ask, deadline time.Time)
	// close lets go of what is kept between exchanges, now and in future.
	close()
}

// NewResolver checks cfg; it sends nothing.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("dcv: no DNS server is configured")
	}
	r := &Resolver{try: cmp.Or(cfg.TryTimeout, 2*time.Second), rounds: cmp.Or(cfg.Rounds, 2)}
	if r.try < 0 || r.rounds < 0 {
		return nil, errors.New("dcv: the DNS try timeout and the number of rounds must be positive")
	}
	for _, s := range cfg.Servers {
		u, err := newUpstream(s, cfg.Roots)
		if err != nil {
			return nil, err
		}
		u.trusted = u.trusted || slices.Contains(cfg.Trusted, s)
		r.servers = append(r.servers, u)
	}
	for _, s := range cfg.Trusted {
		if !slices.Contains(cfg.Servers, s) {
			return nil, fmt.Errorf("dcv: the trusted DNS server %q is none of the configured ones; write it as it is written there", s)
		}
	}
	return r, nil
}

// newUpstream reads how a server is written. It is trusted at once if the way to it cannot be tampered with.
func newUpstream(text string, roots *x509.CertPool) (*upstream, error) {
	if rest, ok := strings.CutPrefix(text, dotScheme); ok {
		dot, err := newDoTServer(rest, roots)
		if err != nil {
			return nil, fmt.Errorf("dcv: DNS server %q: %w", text, err)
		}
		return &upstream{transport: dot, name: text, trusted: true}, nil
	}
	host, err := splitServer(text)
	if err != nil {
		return nil, fmt.Errorf("dcv: DNS server %q is not host:port, as in 192.0.2.53:53, or tls://host:port#name, as in tls://192.0.2.53:853#dns.example.com", text)
	}
	addr, err := netip.ParseAddr(host)
	return &upstream{transport: &server{addr: text}, name: text, trusted: err == nil && addr.Unmap().IsLoopback()}, nil
}

var errNoHostPort = errors.New("it is not host:port")

func splitServer(text string) (host string, err error) {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		return "", errNoHostPort
	}
	return host, nil
}

// Close closes the idle sockets. A lookup that is under way ends as it would have.
func (r *Resolver) Close() error {
	for _, s := range r.servers {
		s.close()
	}
	return nil
}

// ask is one question on its way through the servers.
type ask struct {
	name    string // with the trailing dot
	qtype   uint16
	dnssec  DNSSEC
	id      uint16 // of the current try
	settled bool   // in the current try
	overTCP bool   // the current try goes on over TCP
	network string
	took    time.Duration
	reply   reply
}

// question is what is sent for a.
func (a *ask) question(padded bool) question {
	return question{name: a.name, qtype: a.qtype, dnssec: a.dnssec.asks(), padded: padded}
}

// settle ends the current try of a.
func (a *ask) settle(network string, start time.Time, r reply) {
	a.settled, a.network, a.took, a.reply = true, network, time.Since(start), r
}

// final reports whether no other server would say otherwise.
func (a *ask) final() bool {
	switch a.reply.result {
	case resultNoError, resultNoData, resultNXDomain, resultAliasLoop, resultAliases:
		return true
	}
	return false
}

// addresses looks up the A and AAAA records of name (no trailing dot), both at once on one socket. IPv6 addresses come
// first. One family's failure is no error while the other has addresses; otherwise the outcome says what went wrong, with
// the same words as in the lookups, of which there is one for each question sent.
func (r *Resolver) addresses(ctx context.Context, name string, mode DNSSEC) (found []netip.Addr, lookups []Lookup, how outcome) {
	v6 := &ask{name: name + ".", qtype: dns.TypeAAAA, dnssec: mode}
	v4 := &ask{name: name + ".", qtype: dns.TypeA, dnssec: mode}
	lookups = r.resolve(ctx, v6, v4)
	found = append(v6.reply.addrs, v4.reply.addrs...)
	switch {
	case len(found) > 0:
		how = outcome{result: resultNoError, secure: true}
		for _, a := range []*ask{v6, v4} {
			how.secure = how.secure && (a.reply.secure || len(a.reply.addrs) == 0)
		}
	case v4.final() && !v6.final():
		how = v6.outcome()
	default:
		how = v4.outcome()
	}
	return found, lookups, how
}

// texts looks up the TXT records of name (no trailing dot). Unlike addresses it knows no partial success: the result is
// NOERROR exactly if there are records.
func (r *Resolver) texts(ctx context.Context, name string, mode DNSSEC) (found []string, lookups []Lookup, how outcome) {
	txt := &ask{name: name + ".", qtype: dns.TypeTXT, dnssec: mode}
	lookups = r.resolve(ctx, txt)
	return txt.reply.texts, lookups, txt.outcome()
}

// target looks up the CNAME record of name (no trailing dot), without following it: where it leads, in lower case without the
// trailing dot. The result is NOERROR exactly if there is a record; of several, which RFC 1034, 3.6.2 rules out, all are given.
func (r *Resolver) target(ctx context.Context, name string, mode DNSSEC) (found []string, lookups []Lookup, how outcome) {
	cname := &ask{name: name + ".", qtype: dns.TypeCNAME, dnssec: mode}
	lookups = r.resolve(ctx, cname)
	if how = cname.outcome(); how.result == resultNoError {
		found = cname.reply.aliases
	}
	return found, lookups, how
}

// resolve asks until every question has a final reply, the rounds are over or ctx ends. All asks have one mode.
func (r *Resolver) resolve(ctx context.Context, asks ...*ask) []Lookup {
	lookups := make([]Lookup, 0, len(asks))
	start, asked := int(r.prefer.Load()), false
	for try := range r.rounds * len(r.servers) {
		at := (start + try) % len(r.servers)
		u := r.servers[at]
		if asks[0].dnssec == DNSSECRequire && !u.trusted {
			continue // nothing that it says would count
		}
		pending := make([]*ask, 0, len(asks))
		for _, a := range asks {
			// What no resolver authenticates in a first round is not signed, or bogus: a second one would not change that.
			if !a.final() && (try < len(r.servers) || a.reply.result != resultInsecure) {
				a.settled, a.overTCP = false, false
				pending = append(pending, a)
			}
		}
		// The second round is not worth its time for the sake of the other family's addresses.
		if len(pending) == 0 || try >= len(r.servers) && hasAddress(asks) {
			break
		}
		asked = true
		good := r.askOne(ctx, u, pending)
		for _, a := range pending {
			lookups = append(lookups, a.lookup(u.name))
		}
		if good && at != start {
			r.prefer.Store(uint32(at))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !asked && ctx.Err() == nil {
		for _, a := range asks {
			a.reply = reply{result: resultUnasked}
		}
	}
	return lookups
}

// askOne tries one server, and reports whether all of its replies are final.
func (r *Resolver) askOne(ctx context.Context, u *upstream, asks []*ask) (good bool) {
	u.exchange(ctx, asks, r.deadline(ctx))
	good = true
	for _, a := range asks {
		a.hold(u)
		good = good && a.final()
	}
	return good
}

func hasAddress(asks []*ask) bool {
	return slices.ContainsFunc(asks, func(a *ask) bool { return len(a.reply.addrs) > 0 })
}

// deadline is when the current try ends.
func (r *Resolver) deadline(ctx context.Context) time.Time {
	end := time.Now().Add(r.try)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

func (a *ask) lookup(server string) Lookup {
	return Lookup{
		Name: strings.TrimSuffix(a.name, "."), Type: dns.TypeToString[a.qtype], Server: server, Network: a.network,
		Result: a.reply.result, AD: a.dnssec.asks() && a.reply.ad, Explained: explained(a.reply.ede),
		Aliases: a.reply.aliases, Found: a.reply.addrs, Texts: len(a.reply.texts), Took: a.took,
	}
}

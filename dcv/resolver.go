package dcv

import (
	"cmp"
	"context"
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
	// Servers are host:port, asked in order of preference over UDP, and over TCP when a reply is truncated. At least one.
	// A host name is looked up by the operating system when a socket is opened.
	Servers []string
	// TryTimeout is how long one server has for one try; default 2 s. Then the next server is asked.
	TryTimeout time.Duration
	// Rounds is how often the list is gone through before a lookup fails; default 2.
	Rounds int
}

// Resolver looks addresses up. It is safe for concurrent use and keeps UDP sockets open between lookups until Close.
// It caches nothing: a validation must see what the DNS says now.
type Resolver struct {
	servers []*server
	try     time.Duration
	rounds  int
	prefer  atomic.Uint32 // index of the server that answered last, so that a dead first one costs one timeout, not all
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
		host, port, err := net.SplitHostPort(s)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return nil, fmt.Errorf("dcv: DNS server %q is not host:port, as in 192.0.2.53:53", s)
		}
		r.servers = append(r.servers, &server{addr: s})
	}
	return r, nil
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
	id      uint16 // of the current try
	settled bool   // in the current try
	overTCP bool   // the current try goes on over TCP
	network string
	took    time.Duration
	reply   reply
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
// first. One family's failure is no error while the other has addresses; otherwise result says what went wrong, with the
// same words as in the lookups, of which there is one for each question sent.
func (r *Resolver) addresses(ctx context.Context, name string) (found []netip.Addr, lookups []Lookup, result string) {
	v6 := &ask{name: name + ".", qtype: dns.TypeAAAA}
	v4 := &ask{name: name + ".", qtype: dns.TypeA}
	lookups = r.resolve(ctx, v6, v4)
	found = append(v6.reply.addrs, v4.reply.addrs...)
	switch {
	case len(found) > 0:
		return found, lookups, resultNoError
	case v4.final() && !v6.final():
		return nil, lookups, v6.reply.result
	default:
		return nil, lookups, v4.reply.result
	}
}

// texts looks up the TXT records of name (no trailing dot). Unlike addresses it knows no partial success: result is
// NOERROR exactly if there are records.
func (r *Resolver) texts(ctx context.Context, name string) (found []string, lookups []Lookup, result string) {
	txt := &ask{name: name + ".", qtype: dns.TypeTXT}
	lookups = r.resolve(ctx, txt)
	return txt.reply.texts, lookups, txt.reply.result
}

// resolve asks until every question has a final reply, the rounds are over or ctx ends.
func (r *Resolver) resolve(ctx context.Context, asks ...*ask) []Lookup {
	lookups := make([]Lookup, 0, len(asks))
	start := int(r.prefer.Load())
	for try := range r.rounds * len(r.servers) {
		at := (start + try) % len(r.servers)
		pending := make([]*ask, 0, len(asks))
		for _, a := range asks {
			if !a.final() {
				a.settled, a.overTCP = false, false
				pending = append(pending, a)
			}
		}
		// The second round is not worth its time for the sake of the other family's addresses.
		if len(pending) == 0 || try >= len(r.servers) && hasAddress(asks) {
			break
		}
		s := r.servers[at]
		s.exchange(ctx, pending, r.deadline(ctx))
		good := true
		for _, a := range pending {
			lookups = append(lookups, a.lookup(s.addr))
			good = good && a.final()
		}
		if good && at != start {
			r.prefer.Store(uint32(at))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return lookups
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
		Result: a.reply.result, Aliases: a.reply.aliases, Found: a.reply.addrs,
		Texts: len(a.reply.texts), Took: a.took,
	}
}

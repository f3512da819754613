package testca

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// DNSConfig says where a DNS world listens and what it answers before anything is set. The zero value is usable.
type DNSConfig struct {
	Addr string // host:port for UDP and TCP; default 127.0.0.1 with a free port
	// Default answers A and AAAA for every name that has no records of its own. Empty: such names do not exist.
	Default []netip.Addr
	TTL     uint32 // seconds, of records made from addresses; default 60
	// TLS, if set, is how the server also answers over TLS (RFC 7858), at the address that TLSAddr tells: the same host and
	// a free port.
	TLS *tls.Config
	// Updates lets anybody who reaches the server change records (RFC 2136), unsigned. It is for the loopback.
	Updates bool
}

// DNS is a programmable DNS server. It answers as a recursive resolver does: CNAME chains are followed in the answer.
// All methods are safe for concurrent use and take effect with the next question.
type DNS struct {
	cfg  DNSConfig
	udp  *net.UDPConn
	tcp  net.Listener
	tls  net.Listener    // nil: not asked for
	ctx  context.Context // ends at Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	records map[string][]dns.RR // by canonical owner name
	zones   map[string]*zone
	turns   map[string][][]netip.Addr
	faults  map[faultKey]DNSFault
	queries []DNSQuery
	watch   func(DNSQuery)
	conns   map[net.Conn]struct{}
}

// DNSQuery is one question as it arrived.
type DNSQuery struct {
	Name    string // canonical, with the trailing dot
	Type    uint16
	Network string // "udp", "tcp" or "tls"
	Source  netip.AddrPort
	ID      uint16
	EDNS    uint16 // the advertised UDP size (RFC 6891, 6.2.3); zero without an OPT record
	Size    int    // of the whole question, in bytes
	// The bits by which a question speaks of DNSSEC (RFC 4035, 3.2).
	DO, AD, CD bool
}

// queryLog bounds what Queries remembers, so that a load test does not grow it without end.
const queryLog = 4096

// NewDNS starts a server on UDP and TCP with the same port number.
func NewDNS(cfg DNSConfig) (*DNS, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.TTL == 0 {
		cfg.TTL = 60
	}
	udp, tcp, err := listenBoth(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("testca: DNS: %w", err)
	}
	d := &DNS{
		cfg: cfg, udp: udp, tcp: tcp,
		records: map[string][]dns.RR{}, zones: map[string]*zone{}, turns: map[string][][]netip.Addr{},
		faults: map[faultKey]DNSFault{}, conns: map[net.Conn]struct{}{},
	}
	if cfg.TLS != nil {
		host, _, _ := net.SplitHostPort(d.Addr()) // an address of ours is one
		if d.tls, err = tls.Listen("tcp", net.JoinHostPort(host, "0"), cfg.TLS); err != nil {
			return nil, errors.Join(fmt.Errorf("testca: DNS over TLS: %w", err), udp.Close(), tcp.Close())
		}
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.wg.Go(d.serveUDP)
	d.wg.Go(func() { d.serveStreams(tcp, "tcp") })
	if d.tls != nil {
		d.wg.Go(func() { d.serveStreams(d.tls, "tls") })
	}
	return d, nil
}

// listenBoth finds a port that is free for both protocols when addr leaves the choice to the system.
func listenBoth(addr string) (*net.UDPConn, net.Listener, error) {
	var last error
	for range 20 {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		tcp, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc.(*net.UDPConn), tcp, nil
		}
		_ = pc.Close()
		last = err
		if !strings.HasSuffix(addr, ":0") {
			break
		}
	}
	return nil, nil, last
}

// Addr is where the server listens, host:port.
func (d *DNS) Addr() string { return d.udp.LocalAddr().String() }

// TLSAddr is where the server listens for TLS, host:port; empty without [DNSConfig.TLS].
func (d *DNS) TLSAddr() string {
	if d.tls == nil {
		return ""
	}
	return d.tls.Addr().String()
}

// Close stops the server, ends held answers and waits for its goroutines.
func (d *DNS) Close() error {
	d.stop()
	err := errors.Join(d.udp.Close(), d.tcp.Close())
	if d.tls != nil {
		err = errors.Join(err, d.tls.Close())
	}
	d.mu.Lock()
	for c := range d.conns {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}

// Add adds records in zone-file form, such as "www.example.com. 60 IN CNAME example.com.". A record may also be added
// for the name of an alias: it is returned as written, which a real server would not do.
func (d *DNS) Add(lines ...string) error {
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			return fmt.Errorf("testca: DNS record %q: %w", line, err)
		}
		if rr == nil {
			return fmt.Errorf("testca: DNS record %q: empty", line)
		}
		name := dns.CanonicalName(rr.Header().Name)
		d.mu.Lock()
		d.records[name] = append(d.records[name], rr)
		d.mu.Unlock()
	}
	return nil
}

// SetAddrs replaces a name's A and AAAA records. With no addresses the name exists and has no address (NODATA).
func (d *DNS) SetAddrs(name string, addrs ...netip.Addr) {
	name = dns.CanonicalName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := slices.DeleteFunc(d.records[name], func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeA || rr.Header().Rrtype == dns.TypeAAAA
	})
	d.records[name] = append(kept, d.addrRecords(name, addrs)...)
	if d.records[name] == nil {
		d.records[name] = []dns.RR{}
	}
}

// SetTurns makes a name lie: each question of one type is answered with the next set of addresses, the last one for
// ever. It is how a rebinding attacker answers the check with one address and the connection with another.
func (d *DNS) SetTurns(name string, turns ...[]netip.Addr) {
	name = dns.CanonicalName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, qtype := range []string{"A", "AAAA"} {
		d.turns[name+qtype] = slices.Clone(turns)
	}
}

// SetChain makes n aliases in front of target: name → c1.name → … → target. n is at least 1.
func (d *DNS) SetChain(name, target string, n int) {
	owner := dns.CanonicalName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 1; i <= n; i++ {
		next := fmt.Sprintf("c%d.%s", i, dns.CanonicalName(name))
		if i == n {
			next = dns.CanonicalName(target)
		}
		d.records[owner] = []dns.RR{&dns.CNAME{Hdr: d.header(owner, dns.TypeCNAME), Target: next}}
		owner = next
	}
}

// Remove forgets a name: its records, turns, faults and signatures.
func (d *DNS) Remove(name string) {
	name = dns.CanonicalName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, name)
	delete(d.zones, name)
	delete(d.turns, name+"A")
	delete(d.turns, name+"AAAA")
	for key := range d.faults {
		if key.name == name {
			delete(d.faults, key)
		}
	}
}

// Queries returns the questions that arrived, oldest first, at most the first 4096.
func (d *DNS) Queries() []DNSQuery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queries)
}

// Watch calls f with every further question before it is answered; nil ends that. f must be safe for concurrent use.
func (d *DNS) Watch(f func(DNSQuery)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

func (d *DNS) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: d.cfg.TTL}
}

func (d *DNS) addrRecords(name string, addrs []netip.Addr) []dns.RR {
	rrs := make([]dns.RR, 0, len(addrs))
	for _, a := range addrs {
		if a.Is4() {
			rrs = append(rrs, &dns.A{Hdr: d.header(name, dns.TypeA), A: a.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: d.header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return rrs
}

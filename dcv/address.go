package dcv

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// guard decides which addresses a validation may contact.
type guard struct {
	loopback bool // Config.AllowLoopback
	own      func() []netip.AddrPort
	local    localAddrs
}

// refusal says why to may not be contacted, or "". private lists what the profile opens (Request.Private). Order matters:
// what stays shut whatever anybody configures comes first.
func (g *guard) refusal(to netip.AddrPort, private []netip.Prefix) string {
	addr := to.Addr()
	if addr.Zone() != "" {
		return "an address with a zone"
	}
	if identifier.Metadata(addr) {
		return "a cloud metadata address"
	}
	if r, special := identifier.Special(addr); special {
		where := r.Name
		if r.RFC != "" {
			where += " (" + r.RFC + ")"
		}
		switch {
		case r.Loopback && g.loopback && addr.IsLoopback() && !addr.Is4In6():
			// Throw-away gateways only. The forms that embed a loopback address stay shut.
		case r.Loopback, r.LinkLocal, r.Multicast, r.Unspecified:
			return where
		case !slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Contains(addr) }):
			return where
		}
	}
	if g.isOwn(to) {
		return "an address this gateway itself listens on"
	}
	return ""
}

// isOwn reports whether to reaches one of our own listeners: by its address, or by any address of this host if the
// listener is bound to all of them.
func (g *guard) isOwn(to netip.AddrPort) bool {
	if g.own == nil {
		return false
	}
	for _, own := range g.own() {
		if own.Port() != to.Port() {
			continue
		}
		if addr := own.Addr().Unmap(); addr == to.Addr() || addr.IsUnspecified() && g.local.contain(to.Addr()) {
			return true
		}
	}
	return false
}

// localAddrs are the addresses of this host's interfaces, read again when they are ten seconds old.
type localAddrs struct {
	mu    sync.Mutex
	read  time.Time
	addrs map[netip.Addr]struct{}
	known bool
}

// contain reports whether addr is this host. If the interfaces cannot be read, every address might be.
func (l *localAddrs) contain(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known || time.Since(l.read) > 10*time.Second {
		l.refresh()
	}
	_, found := l.addrs[addr]
	return found || !l.known
}

func (l *localAddrs) refresh() {
	nets, err := net.InterfaceAddrs()
	l.known = err == nil
	l.read = time.Now()
	l.addrs = make(map[netip.Addr]struct{}, len(nets))
	for _, n := range nets {
		if ipNet, ok := n.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ipNet.IP); ok {
				l.addrs[addr.Unmap()] = struct{}{}
			}
		}
	}
}

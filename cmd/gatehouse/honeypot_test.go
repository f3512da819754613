//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// honeypotEnv is set in the process that runs inside the network namespace.
const honeypotEnv = "GATEHOUSE_TEST_HONEYPOT"

// Addresses that a validation may contact: global ones, and for the profile "named" what is inside its ranges.
var (
	globalV4 = netip.MustParseAddr("9.9.9.10")
	globalV6 = netip.MustParseAddr("2606:4700::10")
	namedV4  = netip.MustParseAddr("10.9.8.7")
	namedV6  = netip.MustParseAddr("fd12::7")
	ownV4    = netip.MustParseAddr("9.9.9.53") // own_addresses of the configuration
)

// shutAddresses are never contacted by a profile that names no ranges. Of what the ranges of "named" cover, the clouds'
// metadata services stay shut.
var shutAddresses = []string{
	"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.0.0.1", "10.1.2.3", "10.9.8.7", "172.16.5.4", "192.168.3.2", "100.64.0.9", "198.18.0.1",
	"192.0.0.10", "192.0.2.9", "198.51.100.9", "203.0.113.9", "240.0.0.1", "255.255.255.255", "169.254.1.1", "224.0.0.1",
	"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16",
	"::1", "::", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:0:7f00:1::1",
	"fe80::1", "fec0::1", "fd12::7", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "2001:db8::9", "ff02::1", "100::1",
}

// TestHoneypots runs a gateway in a network namespace where every address there is is this machine, with listeners on the
// ports of validation, and lets it be sent to all kinds of addresses in all kinds of ways (trust.md, section 2; invariant 22).
func TestHoneypots(t *testing.T) {
	if os.Getenv(honeypotEnv) != "" {
		runHoneypots(t)
		return
	}
	t.Parallel()
	testneed.Programs(t, "ip")
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestHoneypots$", "-test.v")
	cmd.Env = append(os.Environ(), honeypotEnv+"=1")
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		testneed.Missing(t, "netns", err)
	}
	err = cmd.Wait()
	switch text := out.String(); {
	case err != nil:
		t.Errorf("inside the namespace: %v\n%s", err, text)
	case !strings.Contains(text, "--- PASS: TestHoneypots"):
		t.Errorf("the test did not run inside the namespace:\n%s", text)
	default:
		t.Log(text)
	}
}

// honeypots are listeners on the ports of validation, at every address. They answer http-01 for whoever asks, so that only the
// gateway's own refusal stands between a contact and a certificate.
type honeypots struct {
	t         *testing.T
	answer    func(token string) string
	mu        sync.Mutex
	contacts  map[netip.AddrPort]int
	redirects map[string]string // by host
}

func newHoneypots(t *testing.T) *honeypots {
	h := &honeypots{t: t, contacts: map[netip.AddrPort]int{}, redirects: map[string]string{}}
	for _, route := range []string{"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(route)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", route, err, out)
		}
	}
	web, err := net.Listen("tcp", ":80")
	must(t, err)
	server := &http.Server{Handler: h, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			h.contacted(c)
		}
	}}
	go server.Serve(web)
	t.Cleanup(func() { server.Close() })
	secure, err := net.Listen("tcp", ":443")
	must(t, err)
	t.Cleanup(func() { secure.Close() })
	go func() {
		for c, err := secure.Accept(); err == nil; c, err = secure.Accept() {
			h.contacted(c)
			c.Close()
		}
	}()
	return h
}

func (h *honeypots) contacted(c net.Conn) {
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	h.mu.Lock()
	h.contacts[netip.AddrPortFrom(at.Addr().Unmap(), at.Port())]++
	h.mu.Unlock()
}

// take is what was contacted since the last time.
func (h *honeypots) take() map[netip.AddrPort]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.contacts
	h.contacts = map[netip.AddrPort]int{}
	return taken
}

func (h *honeypots) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	to := h.redirects[r.Host]
	h.mu.Unlock()
	if to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	fmt.Fprint(w, h.answer(filepath.Base(r.URL.Path)))
}

// honeypotCase is one way to send a validation somewhere.
type honeypotCase struct {
	what, kind, name string // identifier
	method           string
	profile          string
	allowed          []netip.Addr
	valid            bool // it must succeed
	contact          bool // one of allowed must be contacted
}

func runHoneypots(t *testing.T) {
	h := newHoneypots(t)
	dns := rootResolver(t)
	w := newWorld(t)
	folder := w.initialized(dns)
	edit(t, filepath.Join(folder, initConfig),
		`private_ranges: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "fc00::/7"]`,
		"dcv_methods: [http-01, tls-alpn-01]\n  named:\n    issuer: main\n    dcv_methods: [http-01, tls-alpn-01]\n"+
			`    private_ranges: [10.0.0.0/8, 100.64.0.0/10, "fc00::/7"]`,
		"validation: {resolvers", fmt.Sprintf("validation: {own_addresses: [%q], resolvers", netip.AddrPortFrom(ownV4, 80)))
	c := registered(w.serveConfig(folder))
	h.answer = c.keyAuthorization
	for _, one := range h.cases(dns) {
		status := one.attempt(c)
		if one.valid != (status == "valid") {
			t.Errorf("%s (%s, %s): the authorization is %s", one.what, one.method, one.profile, status)
		}
		contacts := h.take()
		met := false
		for at, n := range contacts {
			ok := false
			for _, a := range one.allowed {
				ok = ok || a == at.Addr()
			}
			if met = met || ok; !ok {
				t.Errorf("%s (%s, %s): %s was contacted %d times", one.what, one.method, one.profile, at, n)
			}
		}
		if one.contact && !met {
			t.Errorf("%s (%s, %s): nothing was contacted, so this shows nothing", one.what, one.method, one.profile)
		}
	}
}

// cases puts names for them into the DNS.
func (h *honeypots) cases(dns *testca.DNS) (list []honeypotCase) {
	add := func(c honeypotCase) { list = append(list, c) }
	name := func(addrs ...netip.Addr) string {
		n := fmt.Sprintf("n%d.example.com", len(list))
		dns.SetAddrs(n, addrs...)
		return n
	}
	global := []netip.Addr{globalV4, globalV6}
	// What must work, or the rest shows nothing.
	for _, profile := range []string{"tls", "named"} {
		for _, a := range global {
			add(honeypotCase{what: "global " + a.String(), kind: "dns", name: name(a), method: "http-01", profile: profile, allowed: global, valid: true, contact: true})
			add(honeypotCase{what: "global " + a.String(), kind: "dns", name: name(a), method: "tls-alpn-01", profile: profile, allowed: global, contact: true})
			add(honeypotCase{what: "global " + a.String(), kind: "ip", name: a.String(), method: "http-01", profile: profile, allowed: global, valid: true, contact: true})
		}
	}
	for _, a := range []netip.Addr{namedV4, namedV6} {
		add(honeypotCase{what: "named " + a.String(), kind: "dns", name: name(a), method: "http-01", profile: "named", allowed: []netip.Addr{a}, valid: true, contact: true})
		add(honeypotCase{what: "named " + a.String(), kind: "dns", name: name(a), method: "tls-alpn-01", profile: "named", allowed: []netip.Addr{a}, contact: true})
	}
	add(honeypotCase{what: "own address", kind: "dns", name: name(ownV4), method: "http-01", profile: "tls"})
	for _, text := range shutAddresses {
		a := netip.MustParseAddr(text)
		for _, profile := range []string{"tls", "named"} {
			if profile == "named" && opened(a) {
				continue
			}
			for _, method := range []string{"http-01", "tls-alpn-01"} {
				add(honeypotCase{what: text, kind: "dns", name: name(a), method: method, profile: profile})
				add(honeypotCase{what: "address " + text, kind: "ip", name: text, method: method, profile: profile})
			}
			add(honeypotCase{what: text + " beside a global address", kind: "dns", name: name(a, globalV4, globalV6), method: "tls-alpn-01", profile: profile, allowed: global})
			// A name whose second look-up, after a redirect to itself, says something else.
			n := name()
			dns.SetTurns(n, []netip.Addr{globalV4}, []netip.Addr{a})
			h.redirects[n] = "http://" + n + "/again"
			add(honeypotCase{what: text + " after another answer", kind: "dns", name: n, method: "http-01", profile: profile, allowed: global})
			to := text
			if a.Is6() {
				to = "[" + text + "]"
			}
			dns.SetAddrs(fmt.Sprintf("to%d.example.com", len(list)), a)
			for _, location := range []string{"http://" + to + "/", "https://" + to + "/", fmt.Sprintf("http://to%d.example.com/", len(list))} {
				n := name(globalV4)
				h.redirects[n] = location
				add(honeypotCase{what: "redirect to " + location, kind: "dns", name: n, method: "http-01", profile: profile, allowed: global, contact: true})
			}
		}
	}
	for _, location := range []string{
		"http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://0177.0.0.1/", "http://localhost/", "http://localhost./",
		"http://9.9.9.10@127.0.0.1/", "http://[::ffff:7f00:1]/", "http://[fe80::1%25lo]/", "http://9.9.9.10:22/", "gopher://127.0.0.1/", "//127.0.0.1/",
		"http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/",
	} {
		n := name(globalV4)
		h.redirects[n] = location
		add(honeypotCase{what: "redirect to " + location, kind: "dns", name: n, method: "http-01", profile: "named", allowed: global, contact: true})
	}
	return list
}

// opened reports whether the ranges of the profile "named" open an address.
func opened(a netip.Addr) bool {
	switch a.String() {
	case "100.100.100.200", "fd00:ec2::254", "fd20:ce::254": // metadata services
		return false
	}
	for _, p := range []string{"10.0.0.0/8", "100.64.0.0/10", "fc00::/7"} {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}

// attempt is the status of an authorization after one validation; "refused" if there is none.
func (o honeypotCase) attempt(c *rawClient) string {
	c.t.Helper()
	answer := c.post(c.url("newOrder"), map[string]any{"identifiers": []map[string]string{{"type": o.kind, "value": o.name}}, "profile": o.profile})
	if answer.status != http.StatusCreated {
		return "refused"
	}
	var order rawOrder
	answer.decode(&order)
	url := order.Authorizations[0]
	for asked := false; ; asked = true {
		var authz struct {
			Status     string
			Challenges []struct{ Type, URL, Token, Status string }
		}
		a := c.post(url, nil)
		a.decode(&authz)
		if !a.want(http.StatusOK) || authz.Status != "pending" {
			return authz.Status
		}
		for _, challenge := range authz.Challenges {
			if challenge.Type == o.method && !asked {
				c.post(challenge.URL, map[string]any{}).want(http.StatusOK)
			}
		}
		if asked && !pause(c.t.Context()) {
			return "abandoned"
		}
	}
}

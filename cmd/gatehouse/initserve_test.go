package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// initialized is an empty folder in which an operator has typed "gatehouse init", for a gateway on this world's ports. What
// it adds to the configuration is what tests need: a resolver and a free port for metrics.
func (w *world) initialized(dns *testca.DNS, flags ...string) (folder string) {
	w.t.Helper()
	folder = filepath.Join(w.t.(*testing.T).TempDir(), "ca")
	mustInit(w.t, append([]string{
		folder, "--url", "https://" + w.doors, "--listen", w.doors, "--http-url", "http://" + w.plain, "--http-listen", w.plain,
		"--data", w.data,
	}, flags...)...)
	edit(w.t, filepath.Join(folder, initConfig), "admin_listen: 127.0.0.1:9464", "admin_listen: "+w.admin,
		"\n# validation:", fmt.Sprintf("\nvalidation: {resolvers: [%q]}\n#", dns.Addr()))
	return folder
}

// edit replaces texts in a file, each of which must be there once.
func edit(t testing.TB, path string, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(string(text), pairs[i]) != 1 {
			t.Fatalf("%s does not hold %q once:\n%s", path, pairs[i], text)
		}
		text = []byte(strings.Replace(string(text), pairs[i], pairs[i+1], 1))
	}
	must(t, os.WriteFile(path, text, 0o644))
}

// rootResolver answers as check wants, and for names that are added.
func rootResolver(t testing.TB) *testca.DNS {
	t.Helper()
	d, err := testca.NewDNS(testca.DNSConfig{})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.Add(". 60 IN NS ns.example.com."))
	return d
}

// serveConfig starts "gatehouse serve --config" and returns when it is ready.
func (w *world) serveConfig(folder string, args ...string) *instance {
	w.t.Helper()
	i := &instance{
		world: w, log: &lockedBuffer{}, exited: make(chan struct{}),
		directory: "https://" + w.doors + "/acme/directory", root: filepath.Join(folder, initRootCert),
	}
	i.cmd = exec.Command("gatehouse", append([]string{"serve", "--config", filepath.Join(folder, initConfig)}, args...)...)
	i.cmd.Stderr = i.log
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(w.t, i.cmd.Start())
	go func() { i.cmd.Wait(); close(i.exited) }()
	w.t.Cleanup(i.finish)
	for {
		resp, err := http.Get("http://" + w.plain + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return i
			}
		}
		if !i.running() || !pause(w.t.Context()) {
			w.t.Fatalf("the gateway does not become ready: %v\n%s", err, i.log)
		}
	}
}

// checked is what check says, by name; failed tells that some of it is wrong.
func (w *world) checked(folder string, args ...string) (lines map[string]checkResult, failed bool) {
	w.t.Helper()
	stdout, stderr, status := w.command(append([]string{"check", "--json", "--config", filepath.Join(folder, initConfig)}, args...)...)
	var list []checkResult
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		w.t.Fatalf("check: %v\n%s%s", err, stdout, stderr)
	}
	lines = map[string]checkResult{}
	for _, r := range list {
		lines[r.Name] = r
		failed = failed || !r.OK
	}
	if stderr != "" {
		w.t.Errorf("check writes to standard error:\n%s", stderr)
	}
	if failed != (status == 1) {
		w.t.Errorf("check ends with status %d after\n%s", status, stdout)
	}
	return lines, failed
}

// says fails the test unless a line of check is as it should be.
func (w *world) says(lines map[string]checkResult, name string, ok bool, detail string) {
	w.t.Helper()
	if r, found := lines[name]; !found || r.OK != ok || !strings.Contains(r.Detail, detail) {
		w.t.Errorf("check says of %s: %+v; want %v and %q", name, r, ok, detail)
	}
}

// shown is the certificate that the doors show to a client that trusts the root.
func (i *instance) shown() *x509.Certificate {
	i.t.Helper()
	conn, err := tls.Dial("tcp", i.doors, &tls.Config{RootCAs: i.roots()})
	must(i.t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// TestInitToCertificate is a stranger's way: init, check, serve, an ACME client that trusts the root alone, a restart, and
// the gateway's own certificate, revoked like any other.
func TestInitToCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dns := rootResolver(t)
	folder := w.initialized(dns)

	lines, failed := w.checked(folder)
	if failed {
		t.Errorf("before the start: %+v", lines)
	}
	w.says(lines, "data folder", true, "is empty")
	w.says(lines, "certificate", true, "the first start issues it")
	w.says(lines, "clock", true, "not compared")
	w.says(lines, "public_urls", true, "no gateway is running here, so it was not asked")
	w.says(lines, "http.url", true, "no gateway is running here, so it was not asked")

	i := w.serveConfig(folder)
	first := i.shown()
	lines, failed = w.checked(folder)
	if failed {
		t.Errorf("while it runs: %+v", lines)
	}
	w.says(lines, "public_urls", true, "https://"+w.doors+" answers")
	w.says(lines, "http.url", true, "http://"+w.plain+" answers")
	w.says(lines, "certificate", true, "renewed from")

	c := newXClient(i, nil)
	if _, err := c.Register(t.Context(), &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	_, err := c.AuthorizeOrder(t.Context(), acme.DomainIDs("www.example.com"))
	must(t, err)

	i.stop()
	i = w.serveConfig(folder)
	if !i.shown().Equal(first) {
		t.Error("a restart issued another certificate for the listener")
	}
	if list := i.certList(); len(list) != 1 || list[0].Profile != ownProfile || list[0].Requester != "system" {
		t.Errorf("the inventory has %+v", list)
	}
	w.mustCommand("cert", "revoke", hex.EncodeToString(first.SerialNumber.Bytes()))
	for i.shown().Equal(first) {
		if !pause(t.Context()) {
			t.Fatal("a revoked certificate is still shown")
		}
	}
	awaitRevoked(t, first, 0)
	if _, _, metrics := get(t, "http://"+w.admin+"/metrics"); !strings.Contains(metrics, "\ngatehouse_own_certificate_expiry_timestamp_seconds 1.") {
		t.Error("the metric of its expiry is missing")
	}
}

// TestInitIssues has a certificate issued, where this machine lets a test answer on port 80 of an address that is not
// loopback, which no gateway with a configuration file contacts.
func TestInitIssues(t *testing.T) {
	t.Parallel()
	at, ranges := ownAddress(t)
	web, err := testca.NewHTTP(testca.HTTPConfig{Addr: net.JoinHostPort(at.String(), "80")})
	if err != nil {
		t.Skipf("port 80 of %s is not to be had: %v", at, err)
	}
	t.Cleanup(func() { web.Close() })
	w := newWorld(t)
	dns := rootResolver(t)
	must(t, dns.Add("www.example.com. 60 IN A "+at.String()))
	folder := w.initialized(dns)
	edit(t, filepath.Join(folder, initConfig), "private_ranges: [", "private_ranges: ["+ranges)
	c := newXClient(w.serveConfig(folder), web)
	_, err = c.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
	must(t, err)
	chain, _ := c.finish(c.ready("www.example.com"), "www.example.com")
	if life := chain[0].NotAfter.Sub(chain[0].NotBefore) + time.Second; life != 90*24*time.Hour {
		t.Errorf("it lives for %s", life)
	}
	if list := w.certList(); len(list) != 2 || list[0].Profile != "tls" {
		t.Errorf("the inventory has %+v", list)
	}
}

// ownAddress is an address of this machine that validation may contact, with what must be added to private_ranges for it.
func ownAddress(t testing.TB) (at netip.Addr, ranges string) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().Is4() {
			continue
		}
		block, special := identifier.Special(p.Addr())
		switch {
		case !special || p.Addr().IsPrivate():
			return p.Addr(), ""
		case block.Loopback || block.LinkLocal || block.Multicast || block.Unspecified:
		default:
			return p.Addr(), block.Prefix.String() + ", "
		}
	}
	t.Skip("this machine has no IPv4 address but loopback")
	return
}

// TestInitForTwo: two gateways with one init, each with a data folder of its own, on one Redis.
func TestInitForTwo(t *testing.T) {
	testneed.Programs(t, "redis-server")
	t.Parallel()
	store := redistest.Start(t, "appendonly yes", "appendfsync always", "maxmemory-policy noeviction")
	dns := rootResolver(t)
	a := newWorld(t)
	folder := a.initialized(dns, "--redis", store.Addr)
	b := newWorld(t)
	// One machine has each port once: the second gateway's file differs in that alone.
	second := filepath.Join(t.TempDir(), "ca")
	must(t, os.MkdirAll(second, 0o700))
	text, err := os.ReadFile(filepath.Join(folder, initConfig))
	must(t, err)
	text = []byte(strings.NewReplacer("listen: \""+a.doors, "listen: \""+b.doors, "listen: \""+a.plain, "listen: \""+b.plain, a.admin, b.admin).Replace(string(text)))
	must(t, os.WriteFile(filepath.Join(second, initConfig), text, 0o600))

	lines, failed := b.checked(second, "--data", b.data)
	if failed {
		t.Errorf("before the start: %+v", lines)
	}
	a.says(lines, "store", true, "redis: ")
	a.says(lines, "clock", true, "apart from the store's")
	a.says(lines, "data folder", true, b.data+" is empty")

	one := a.serveConfig(folder)
	two := b.serveConfig(second, "--data", b.data)
	two.root = one.root
	if one.shown().Equal(two.shown()) {
		t.Error("both gateways have one certificate")
	}
	if list := b.certList(); len(list) != 2 {
		t.Errorf("the second gateway knows %d certificates, want both gateways'", len(list))
	}
	lines, failed = b.checked(second, "--data", b.data)
	if failed {
		t.Errorf("while both run: %+v", lines)
	}
	a.says(lines, "public_urls", true, " answers")
}

// TestCheckRedisAbsent: nobody answers at the store's address.
func TestCheckRedisAbsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nobody := freeAddr(t)
	lines, _ := w.checked(w.initialized(rootResolver(t), "--redis", nobody))
	w.says(lines, "store", false, "opening the store in Redis at "+nobody)
}

// TestCheckRedisRefused: what the store is refused for, and what to set.
func TestCheckRedisRefused(t *testing.T) {
	testneed.Programs(t, "redis-server")
	t.Parallel()
	store := redistest.Start(t, "appendonly yes", "appendfsync always", "maxmemory-policy allkeys-lru")
	w := newWorld(t)
	folder := w.initialized(rootResolver(t), "--redis", store.Addr)
	lines, _ := w.checked(folder)
	w.says(lines, "store", false, "noeviction")
	if _, there := lines["clock"]; there {
		t.Errorf("check compares the clock of a store that it does not open: %+v", lines["clock"])
	}
}

// TestCheckReached: a gateway runs, and what clients would meet at its URLs is not it.
func TestCheckReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := w.initialized(rootResolver(t))
	path := filepath.Join(folder, initConfig)
	w.serveConfig(folder)
	stranger := startGateway(t) // with another root

	text, err := os.ReadFile(path)
	must(t, err)
	for name, tt := range map[string]struct{ old, new, line, says string }{
		"nobody":         {"public_urls: [\"https://" + w.doors, "public_urls: [\"https://" + freeAddr(t), "public_urls", "nothing can be reached there"},
		"unknown host":   {"public_urls: [\"https://" + w.doors, "public_urls: [\"https://gateway.invalid", "public_urls", "does not know the host; add it to the DNS, or correct public_urls"},
		"another root":   {"public_urls: [\"https://" + w.doors, "public_urls: [\"https://" + stranger.doors, "public_urls", "is trusted neither by this machine nor by way of the configured issuers"},
		"another name":   {"public_urls: [\"https://127.0.0.1", "public_urls: [\"https://localhost", "public_urls", "the certificate there is not for localhost; add it to tls.names"},
		"another first":  {"public_urls: [", "public_urls: [\"https://first.invalid\", ", "public_urls", "something else than a gateway with these public_urls answers"},
		"name uncovered": {"public_urls: [", "public_urls: [\"https://first.invalid\", ", "certificate", "clients that reach the gateway as first.invalid will refuse it; add first.invalid to tls.names"},
		"nobody's lists": {"url: \"http://" + w.plain, "url: \"http://" + freeAddr(t), "http.url", "nothing can be reached there"},
		"other lists":    {"url: \"http://" + w.plain, "url: \"http://" + stranger.plain, "http.url", "answers 404 Not Found; something else stands there"},
	} {
		edited := t.TempDir()
		must(t, os.WriteFile(filepath.Join(edited, initConfig), text, 0o600))
		edit(t, filepath.Join(edited, initConfig), tt.old, tt.new)
		lines, failed := w.checked(edited)
		if !failed {
			t.Errorf("%s: check finds nothing: %+v", name, lines)
		}
		w.says(lines, tt.line, false, tt.says)
	}
}

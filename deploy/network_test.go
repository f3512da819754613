//go:build linux

package deploy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/testca"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// resolverAddr is where an engine's resolver answers inside each container.
const resolverAddr = "127.0.0.11"

// network is one of the file's: a bridge in a network namespace of its own, so that nothing of it is seen outside.
type network struct {
	name   string
	prefix netip.Prefix
	space  *os.File          // the bridge's namespace
	hosts  map[string]string // names of who is connected, and their addresses
	next   netip.Addr
}

// newNetwork makes the n-th network of a test.
func newNetwork(t testing.TB, name string, n int) *network {
	t.Helper()
	w := &network{name: name, prefix: netip.MustParsePrefix(fmt.Sprintf("172.30.%d.0/24", n)), hosts: map[string]string{}}
	w.next = w.prefix.Addr().Next() // the bridge's own
	space, err := newSpace()
	if err != nil {
		testneed.Missing(t, "netns", err)
	}
	w.space = space
	t.Cleanup(func() { space.Close() })
	if err := inside(space, func() error {
		return ip("link add br0 type bridge", "addr add "+w.next.String()+"/24 dev br0", "link set br0 up", "link set lo up")
	}); err != nil {
		testneed.Missing(t, "netns", err)
	}
	return w
}

// newSpace is a network namespace that lasts for as long as the file is open.
func newSpace() (space *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			space, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	return space, err
}

// inside runs f, and the processes and sockets that it makes, in a network namespace.
func inside(space *os.File, f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, as above
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// ip runs commands of iproute2 in the calling thread's namespace.
func ip(commands ...string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}

// admit gives an address to who bears these names.
func (w *network) admit(names ...string) {
	w.next = w.next.Next()
	for _, name := range names {
		w.hosts[name] = w.next.String()
	}
}

// connect gives a process's namespace its n-th interface, in this network, with the address of a name that was admitted.
func (w *network) connect(pid int, space *os.File, name string, n int) error {
	bits := strconv.Itoa(w.prefix.Bits())
	outer, device := fmt.Sprintf("v%d", pid), fmt.Sprintf("eth%d", n)
	return errors.Join(
		inside(w.space, func() error {
			return ip(fmt.Sprintf("link add %s type veth peer name %s netns %d", outer, device, pid), "link set "+outer+" master br0 up")
		}),
		inside(space, func() error {
			return ip("addr add "+w.hosts[name]+"/"+bits+" dev "+device, "link set "+device+" up")
		}),
	)
}

// client is one on the network's bridge, as the machine that runs the containers is.
func (w *network) client(trusted *x509.CertPool) *http.Client {
	dial := func(ctx context.Context, kind, addr string) (conn net.Conn, err error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		err = inside(w.space, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, kind, net.JoinHostPort(w.hosts[host], port))
			return err
		})
		return conn, err
	}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true,
	}}
}

// resolver answers for these networks' names inside a namespace, as an engine's does: only for who shares a network.
func resolver(t testing.TB, space *os.File, networks []*network) {
	t.Helper()
	var d *testca.DNS
	must(t, inside(space, func() (err error) {
		d, err = testca.NewDNS(testca.DNSConfig{Addr: net.JoinHostPort(resolverAddr, "53"), TTL: 1})
		return err
	}))
	t.Cleanup(func() { d.Close() })
	for _, w := range networks {
		for name, addr := range w.hosts {
			d.SetAddrs(name, netip.MustParseAddr(addr))
		}
	}
}

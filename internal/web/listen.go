package web

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen opens a TCP listener. Its error is one line that names the address and what to do.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: another process uses it; stop that process or choose another address", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen on %s: not permitted; choose a port above 1023 or grant CAP_NET_BIND_SERVICE", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("cannot listen on %s: no interface of this machine has that address; choose one that it has", addr)
	}
	return nil, fmt.Errorf("cannot listen on %q: %w; give an address as host:port", addr, err)
}

// ListenAdmin is [Listen] for an admin address, which answers whoever reaches it: anything but loopback is refused.
func ListenAdmin(addr string) (net.Listener, error) {
	// What is checked is what is listened on, not a name that could resolve differently the second time.
	resolved, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w; give an address as host:port", addr, err)
	}
	if !resolved.IP.IsLoopback() {
		return nil, fmt.Errorf("cannot listen on %s: the admin address must be loopback, because it answers anyone; use 127.0.0.1", addr)
	}
	return Listen(resolved.String())
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
)

const (
	labProfile       = "lab"    // what is ordered by default; it asks for CAA
	labDNSSECProfile = "dnssec" // requires DNSSEC
	labDenied        = "denied.policy." + labDomain

	// labTimeout is when a validation gives up: sooner than elsewhere, because a person waits and the network is one machine.
	labTimeout = 10 * time.Second

	labLog = "lab.log" // of the gateway, in the data folder
)

// labClientAddr is where clients answer, and what every name points to that the table leaves alone.
var labClientAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// labFlags say where the lab listens: on the loopback, nowhere else.
type labFlags struct {
	Listen      string `group:"Lab" placeholder:"HOST:PORT" help:"Address of the ACME door (127.0.0.1:14000)."`
	HTTPListen  string `group:"Lab" placeholder:"HOST:PORT" help:"Address for CRLs, issuer certificates and health (127.0.0.1:14001)."`
	DNSListen   string `group:"Lab" name:"dns-listen" placeholder:"HOST:PORT" help:"Address of the DNS server (127.0.0.1:14053)."`
	HTTP01Port  uint16 `group:"Lab" name:"http01-port" help:"The port of every web server of the lab, yours included (5002)."`
	TLSALPNPort uint16 `group:"Lab" name:"tls-alpn-01-port" help:"The same for tls-alpn-01 (5001)."`
	Worlds      string `group:"Lab" placeholder:"ADDRESS" help:"The loopback address of the hosts that misbehave (127.0.0.2)."`

	worlds netip.Addr // Worlds, once checked
}

// given reports whether any of the flags is set.
func (f labFlags) given() bool { return f != labFlags{} }

// checked fills in what is not set and refuses what is not the loopback's.
func (f labFlags) checked() (labFlags, error) {
	f.Listen = cmp.Or(f.Listen, "127.0.0.1:14000")
	f.HTTPListen = cmp.Or(f.HTTPListen, "127.0.0.1:14001")
	f.DNSListen = cmp.Or(f.DNSListen, "127.0.0.1:14053")
	f.HTTP01Port = cmp.Or(f.HTTP01Port, 5002)
	f.TLSALPNPort = cmp.Or(f.TLSALPNPort, 5001)
	f.Worlds = cmp.Or(f.Worlds, "127.0.0.2")
	var faults []error
	for _, one := range []struct{ flag, value string }{{"--listen", f.Listen}, {"--http-listen", f.HTTPListen}, {"--dns-listen", f.DNSListen}} {
		at, err := netip.ParseAddrPort(one.value)
		if err != nil || !at.Addr().IsLoopback() || at.Port() == 0 {
			faults = append(faults, fmt.Errorf("%s: %q is not an address and port of the loopback, where alone a lab listens; write for example 127.0.0.1:14000", one.flag, one.value))
		}
	}
	var err error
	f.worlds, err = netip.ParseAddr(f.Worlds)
	if err != nil || !f.worlds.Is4() || !f.worlds.IsLoopback() || f.worlds == labClientAddr {
		faults = append(faults, fmt.Errorf("--worlds: %q is no address of the loopback besides 127.0.0.1, which is yours; write for example 127.0.0.2", f.Worlds))
	}
	return f, errors.Join(faults...)
}

// lab is a running lab.
type lab struct {
	state labState
	ended chan error // receives what the gateway ended with
}

// withLab starts a lab, calls use and ends the lab again. Without a data folder it leaves nothing behind.
func withLab(ctx context.Context, flags labFlags, folder string, steps *narrator, use func(*lab) error) (err error) {
	flags, err = flags.checked()
	if err != nil {
		return err
	}
	if folder == "" {
		if folder, err = os.MkdirTemp("", labFolders); err != nil {
			return err
		}
		defer os.RemoveAll(folder)
	} else if err := claimLabFolder(folder); err != nil {
		return err
	}
	worlds, err := newLabWorlds(flags)
	if err != nil {
		return labListening(err)
	}
	defer worlds.close()
	steps.done("started a DNS server, a web server and a TLS server that misbehave for %d names", len(labHosts()))
	l := &lab{ended: make(chan error, 1), state: labState{
		Directory: "https://" + flags.Listen + "/acme/directory", Root: filepath.Join(folder, "throw-away-ca", "root.pem"), DNS: worlds.dns.Addr(),
		HTTP01: flags.HTTP01Port, TLSALPN01: flags.TLSALPNPort, Data: folder,
	}}
	if err := l.state.write(); err != nil {
		return err
	}
	return l.serve(ctx, flags, steps, use)
}

// labListening adds what to do to the error of a listener.
func labListening(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; if another lab runs, end it or give this one other addresses and ports (gatehouse lab --help)", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; add the address to the loopback interface, or name one that is there with --worlds", err)
	}
	return err
}

// serve runs the gateway while use runs.
func (l *lab) serve(ctx context.Context, flags labFlags, steps *narrator, use func(*lab) error) error {
	logFile, err := os.OpenFile(filepath.Join(l.state.Data, labLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	g, err := openLabGateway(ctx, flags, l.state, newLogger(streams{err: logFile}, true, slog.LevelInfo))
	if err != nil {
		return labListening(err)
	}
	defer g.close()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	up := make(chan struct{})
	go func() { l.ended <- g.serve(serving, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-l.ended:
		return err
	}
	steps.done("the gateway listens at %s", l.state.Directory)
	err = use(l)
	stop()
	return errors.Join(err, <-l.ended)
}

// openLabGateway makes the throw-away gateway among the worlds.
func openLabGateway(ctx context.Context, flags labFlags, at labState, log *slog.Logger) (*gateway, error) {
	d, err := newDev(at.Data, devFlags{
		Listen: flags.Listen, HTTPListen: flags.HTTPListen, HTTP01Port: flags.HTTP01Port, TLSALPNPort: flags.TLSALPNPort, Resolver: at.DNS,
	}, log)
	if err != nil {
		return nil, err
	}
	if err := d.settings.forLab(); err != nil {
		return nil, err
	}
	return openGateway(ctx, d.settings)
}

// forLab turns a throw-away gateway's settings into the lab's: its profiles, and less patience.
func (s *settings) forLab() error {
	profiles := []policy.Config{
		{Name: labProfile, Description: "Throw-away certificates for any name that CAA allows", CAA: policy.CAAOn, DenyNames: []string{labDenied}},
		{Name: labDNSSECProfile, Description: "Throw-away certificates for names in signed zones", DNSSEC: dcv.DNSSECRequire},
	}
	s.profiles, s.defaultProfile = map[string]*policy.Profile{}, labProfile
	for _, cfg := range profiles {
		cfg.Issuer, cfg.Validity, cfg.Backdate = s.issuers[0].Name, 24*time.Hour, time.Minute
		cfg.AllowWildcards, cfg.DCVMethods = true, []dcv.Method{dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01}
		p, err := policy.New(cfg)
		if err != nil {
			return err
		}
		s.profiles[cfg.Name] = p
	}
	var err error
	s.organisations, err = auth.NewDirectory([]auth.Org{{ID: 1, Slug: labOrg, Name: "Lab"}}, labProfile, labDNSSECProfile)
	s.caaIdentities = []string{labCAA}
	s.validation.CAAIdentities = s.caaIdentities
	s.validation.Timeout = labTimeout
	return err
}

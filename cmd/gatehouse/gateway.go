package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	drainWithin = 20 * time.Second
	// reopenFirst and reopenLast bound the pause before a store that went back is opened again after a failure.
	reopenFirst = 200 * time.Millisecond
	reopenLast  = 5 * time.Second
)

// gateway is a running gateway: its listeners, which stay for as long as the process, and the core behind them, which is
// replaced when the store went back.
type gateway struct {
	settings *settings
	registry *prometheus.Registry
	health   *web.Health
	own      *ownTLS               // the listener's certificate, where the gateway issues it itself; otherwise nil
	core     atomic.Pointer[core]  // nil while the store is being brought forward
	lists    atomic.Pointer[lists] // what the last core published, served also while there is none

	member membership // of the data folder, as the first core found or made it

	listener, plain net.Listener
	metrics         net.Listener   // of metrics and profiling; nil: none
	closers         []func() error // in the order they were opened
}

// lists serves what was published.
type lists struct {
	http.Handler
	publisher *publish.Publisher
}

// openGateway opens the ports, store and journal and builds everything up to, but not including, serving. On an error what
// was opened is closed again.
func openGateway(ctx context.Context, s *settings) (_ *gateway, err error) {
	g := &gateway{settings: s, registry: web.NewRegistry()}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if err := g.listen(); err != nil {
		return nil, err
	}
	if s.limited, err = refusalsByLimit(g.registry); err != nil {
		return nil, err
	}
	if err := g.openMailMetrics(); err != nil {
		return nil, err
	}
	if s.own != nil {
		if g.own, err = newOwnTLS(s, nil); err != nil {
			return nil, err
		}
		if err := g.registry.Register(g.own.expiry()); err != nil {
			return nil, err
		}
	}
	return g, g.open(ctx)
}

// open makes a core and puts it into service.
func (g *gateway) open(ctx context.Context) error {
	var served map[string][]byte
	if l := g.lists.Load(); l != nil {
		served = l.publisher.Served()
	}
	c, err := openCore(ctx, g.settings, []netip.AddrPort{addrPort(g.listener), addrPort(g.plain)}, served)
	if err != nil {
		return err
	}
	if c.ownTLS = g.own; g.own != nil {
		if err := g.own.first(ctx, c.registrar); err != nil {
			return errors.Join(err, c.close())
		}
	}
	g.member = c.member
	g.lists.Store(&lists{c.publisher.Handler(), c.publisher})
	g.core.Store(c)
	return nil
}

// listen opens the ports, so that one in use is known before anything is served.
func (g *gateway) listen() error {
	var err error
	if g.listener, err = web.Listen(g.settings.listen); err != nil {
		return err
	}
	g.onClose(ignoreClosed(g.listener.Close))
	if g.plain, err = web.Listen(g.settings.httpListen); err != nil {
		return err
	}
	g.onClose(ignoreClosed(g.plain.Close))
	if g.settings.adminListen == "" {
		return nil
	}
	if g.metrics, err = web.ListenAdmin(g.settings.adminListen); err != nil {
		return err
	}
	g.onClose(ignoreClosed(g.metrics.Close))
	return nil
}

func ignoreClosed(closeIt func() error) func() error {
	return func() error {
		if err := closeIt(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

func addrPort(l net.Listener) netip.AddrPort {
	a, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return a
}

// doors hands each request of the main listener to the core that is in service.
func (g *gateway) doors() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := g.core.Load()
		if c == nil || !c.entrance.enter() {
			web.Unavailable(w, reopenLast)
			return
		}
		defer c.entrance.inside.Done()
		c.doors.ServeHTTP(w, r)
	})
}

// errNoCore is why a gateway without a core is not ready.
var errNoCore = errors.New("the store went back; the journal is being replayed into it")

// readiness is what /readyz asks.
func (g *gateway) readiness() []web.Check {
	check := func(name string, run func(ctx context.Context, c *core) error) web.Check {
		return web.Check{Name: name, Run: func(ctx context.Context) error {
			if c := g.core.Load(); c != nil {
				return run(ctx, c)
			}
			return errNoCore
		}}
	}
	checks := []web.Check{
		check("store", func(ctx context.Context, c *core) error { return c.db.Healthy(ctx) }),
		check("journal", func(_ context.Context, c *core) error { return c.journal.Healthy() }),
		check("clock", func(_ context.Context, c *core) error { return c.clock.healthy() }),
		check("crl", func(ctx context.Context, c *core) error { return c.publisher.Ready(ctx) }),
	}
	if g.own != nil {
		checks = append(checks, web.Check{Name: "tls", Run: g.own.healthy})
	}
	return checks
}

// serve answers requests until ctx ends, then drains. ready, if not nil, is called once everything listens.
func (g *gateway) serve(ctx context.Context, ready func()) error {
	doors, plain, err := g.servers()
	if err != nil {
		return err
	}
	admin, socket, err := g.adminServer()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer admin.Close()
	wg.Go(func() { admin.Serve(socket) })

	servers := append(doors, plain...)
	failed := make(chan error, len(servers))
	for _, server := range servers {
		wg.Go(func() { failed <- server.Serve() })
	}
	g.core.Load().start()
	if ready != nil {
		ready()
	}
	err = g.attend(ctx, failed)
	return errors.Join(err, g.drain(doors, plain))
}

// attend returns when ctx ends or something fails for good. Meanwhile it replaces the core when the store went back.
func (g *gateway) attend(ctx context.Context, failed <-chan error) error {
	log := g.settings.log
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			log.Error("a listener failed; stopping", "error", err)
			return err
		case why := <-g.core.Load().wentBack:
			log.Error("the store went back; nothing is served until the journal is replayed into it", "error", why)
			if err := g.reopen(ctx); err != nil {
				return err
			}
			if g.core.Load() == nil {
				return nil // ctx ended first
			}
			log.Info("the store has what this gateway acknowledged; serving again")
		}
	}
}

// reopen replaces the core. Everything that runs on the old one ends first: what it acknowledges must be in the journal
// before that is read.
func (g *gateway) reopen(ctx context.Context) error {
	old := g.core.Swap(nil)
	bounded, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	// What does not end in time could still acknowledge something. The process ends instead, and replays at its next start.
	if err := errors.Join(old.entrance.close(bounded), old.finish(bounded), old.close()); err != nil {
		return err
	}
	for pause := reopenFirst; ; pause = min(2*pause, reopenLast) {
		err := g.open(ctx)
		if err == nil {
			g.core.Load().start()
			return nil
		}
		if errors.Is(err, storage.ErrForeign) {
			return err // a person has to decide; meanwhile a supervisor's restarts say so
		}
		if ctx.Err() != nil {
			return nil
		}
		g.settings.log.Warn("the store cannot be opened again yet", "error", err, "retry", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// drain turns clients away and lets running requests and work finish, bounded in time. Health and lists are served to the
// end, so that a balancer sees why.
func (g *gateway) drain(doors, plain []*web.Server) error {
	s := g.settings
	g.health.Drain()
	s.log.Info("stopping: no new requests, running ones finish", "after", s.drainDelay)
	time.Sleep(s.drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	err := drainServers(ctx, doors)
	if c := g.core.Load(); c != nil {
		err = errors.Join(err, c.entrance.close(ctx), c.finish(ctx))
		err = errors.Join(err, c.settleMark(ctx))
	}
	return errors.Join(err, drainServers(ctx, plain))
}

func drainServers(ctx context.Context, servers []*web.Server) error {
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, server := range servers {
		wg.Go(func() { errs[i] = server.Drain(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (g *gateway) onClose(f func() error) { g.closers = append(g.closers, f) }

// close releases what was opened, last first.
func (g *gateway) close() error {
	var errs []error
	if c := g.core.Swap(nil); c != nil {
		errs = append(errs, c.close())
	}
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	g.closers = nil
	return errors.Join(errs...)
}

// servers makes the listeners' servers: the doors; and what is served to the end, plain HTTP and, if wanted, metrics.
func (g *gateway) servers() (doors, plain []*web.Server, err error) {
	s := g.settings
	metrics, err := web.NewMetrics(g.registry)
	if err != nil {
		return nil, nil, err
	}
	g.health = web.NewHealth(web.HealthConfig{Checks: g.readiness(), Log: s.log})
	public := http.NewServeMux()
	public.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.lists.Load().ServeHTTP(w, r) })
	public.Handle("/healthz", g.health.Handler())
	public.Handle("/readyz", g.health.Handler())
	serve := func(c web.Config) (*web.Server, error) {
		c.Log, c.Metrics = s.log, metrics
		return web.New(c)
	}
	listenerTLS := s.tls
	if g.own != nil {
		listenerTLS = g.own.config()
	}
	if s.asksClients {
		listenerTLS = web.AskClients(listenerTLS)
	}
	door, err := serve(web.Config{Listener: g.listener, TLS: listenerTLS, Handler: g.doors(), TrustedProxies: s.trustedProxies, Bodies: bodies()})
	if err != nil {
		return nil, nil, err
	}
	lists, err := serve(web.Config{Listener: g.plain, Handler: public})
	if err != nil {
		return nil, nil, err
	}
	doors, plain = []*web.Server{door}, []*web.Server{lists}
	if g.metrics != nil {
		admin, err := serve(web.Config{Listener: g.metrics, Handler: web.AdminHandler(g.registry)})
		if err != nil {
			return nil, nil, err
		}
		plain = append(plain, admin)
	}
	return doors, plain, nil
}

// adminServer opens the admin socket.
func (g *gateway) adminServer() (*http.Server, net.Listener, error) {
	socket, err := listenAdmin(g.settings.folder)
	if err != nil {
		return nil, nil, err
	}
	d := &operatorDoor{core: g.core.Load, log: g.settings.log}
	return d.server(), socket, nil
}

// newLogger writes JSON lines to w for a service, text for a person.
func newLogger(c streams, json bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if json {
		return slog.New(slog.NewJSONHandler(c.err, options))
	}
	return slog.New(slog.NewTextHandler(c.err, options))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

const (
	sweepEvery  = 5 * time.Second
	drainWithin = 20 * time.Second
)

// gateway is a running gateway. Its parts start in the order of its fields and stop in the reverse order.
type gateway struct {
	settings  *settings
	engine    *embedded.Engine
	journal   *audit.Journal
	db        *storage.DB
	work      *work.Group
	authority *ca.Authority
	registrar *ra.Registrar
	validator *dcv.Validator
	acme      *acme.Server
	publisher *publish.Publisher
	registry  *prometheus.Registry

	health *web.Health

	marked          storage.Mark  // the journal's mark in the store
	marks           []laggingMark // what it may become, oldest first; with marked, the sweep's alone while it runs
	listener, plain net.Listener
	closers         []func() error // in the order they were opened
}

// openGateway opens store and journal and builds everything up to, but not including, serving. On an error what was
// opened is closed again.
func openGateway(ctx context.Context, s *settings) (_ *gateway, err error) {
	g := &gateway{settings: s, registry: web.NewRegistry()}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	for _, step := range []func(context.Context) error{g.openState, g.listen, g.openIssuance, g.openDoors} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// openState opens the store and the journal, which belong together: a store without its journal could not say what was
// signed, and from a journal without its store the store is made again.
func (g *gateway) openState(ctx context.Context) error {
	s := g.settings
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	storeFolder, journalFolder := filepath.Join(s.folder, "store"), filepath.Join(s.folder, "journal")
	hasStore, err := holdsFiles(storeFolder, "*")
	if err != nil {
		return err
	}
	hasJournal, err := holdsFiles(journalFolder, journalFiles)
	if err != nil {
		return err
	}
	switch {
	case hasStore && !hasJournal && !s.newJournal:
		return fmt.Errorf("%s holds a store but no journal; restore %s from where it went, or, if it is lost for good, start once with --new-journal", s.folder, journalFolder)
	case hasJournal && s.newJournal:
		return fmt.Errorf("%s holds a journal that --new-journal would leave aside; start without it, or move %s away first", s.folder, journalFolder)
	case hasJournal && !hasStore:
		s.log.Warn("there is a journal but no store; what was issued is put back from the journal", "data", s.folder)
	}
	openStore := func() error {
		if g.engine, err = embedded.Open(embedded.Config{Dir: storeFolder, Log: s.log}); err == nil {
			g.onClose(g.engine.Close)
		}
		return err
	}
	openJournal := func() error {
		g.journal, err = audit.Open(audit.Config{Dir: journalFolder, New: !hasJournal, Version: version(), Log: s.log})
		if err == nil {
			g.onClose(g.journal.Close)
		}
		return err
	}
	steps := []func() error{openStore, openJournal}
	if !hasStore {
		// A first start that is killed leaves a journal without a store, which is in order, and never the reverse.
		steps = []func() error{openJournal, openStore}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	var engine storage.Engine = g.engine
	if s.wrapEngine != nil {
		engine = s.wrapEngine(engine)
	}
	g.db, err = storage.Open(ctx, storage.Config{Engine: engine, Issuers: s.issuerNames(), Log: s.log})
	return err
}

// journalFiles are a journal's segments; a lock alone is none.
const journalFiles = "*.jsonl*"

// holdsFiles reports whether a folder exists and holds a file whose name matches.
func holdsFiles(folder, pattern string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			return true, nil
		}
	}
	return false, err
}

// listen opens the ports, so that one in use is known before anything is served.
func (g *gateway) listen(context.Context) error {
	var err error
	if g.listener, err = web.Listen(g.settings.listen); err != nil {
		return err
	}
	g.onClose(ignoreClosed(g.listener.Close))
	if g.plain, err = web.Listen(g.settings.httpListen); err != nil {
		return err
	}
	g.onClose(ignoreClosed(g.plain.Close))
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

// openIssuance builds what stands behind every door.
func (g *gateway) openIssuance(ctx context.Context) error {
	s := g.settings
	var err error
	g.work = work.New(work.Config{Log: s.log})
	g.authority, err = ca.New(ca.Config{Issuers: s.issuers, Store: g.db, Journal: g.journal, Log: s.log, Step: s.step})
	if err != nil {
		return err
	}
	if err := g.replay(ctx, filepath.Join(s.folder, "journal")); err != nil {
		return err
	}
	g.registrar = ra.New(ra.Config{
		Store: g.db, Authority: g.authority, Certificate: g.db.Certificate, Profiles: s.profiles, Allowed: s.allowed, Log: s.log,
	})
	validation := s.validation
	own := append([]netip.AddrPort{addrPort(g.listener), addrPort(g.plain)}, s.ownAddresses...)
	validation.OwnAddresses = func() []netip.AddrPort { return own }
	if g.validator, err = dcv.New(validation); err != nil {
		return err
	}
	g.onClose(g.validator.Close)
	if g.publisher, err = newPublisher(g); err != nil {
		return err
	}
	// A stored list that the configured certificate does not verify could never be replaced, and nothing be revoked.
	if err := g.publisher.Load(ctx); err != nil {
		return fmt.Errorf("%w; if the issuer has a new key, give it a new name and keep the old one configured until its last certificate expires", err)
	}
	return nil
}

func addrPort(l net.Listener) netip.AddrPort {
	a, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return a
}

func newPublisher(g *gateway) (*publish.Publisher, error) {
	s := g.settings
	var issuers []publish.Issuer
	for _, i := range s.issuers {
		issuers = append(issuers, publish.Issuer{Name: i.Name, Certificate: i.Chain[0]})
	}
	public := false
	for _, p := range s.profiles {
		public = public || p.Public()
	}
	return publish.New(publish.Config{
		Store: g.db, Issuers: issuers, Sign: g.signList, Log: s.log, Public: public, Interval: s.crlInterval, Lifetime: s.crlLifetime,
	})
}

// signList hands a list to the gate.
func (g *gateway) signList(ctx context.Context, issuer string, l publish.List) ([]byte, error) {
	req := ca.CRLRequest{Issuer: issuer, Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
	for _, e := range l.Entries {
		req.Entries = append(req.Entries, ca.CRLEntry{Serial: e.Serial, At: e.At, Reason: e.Reason})
	}
	return g.authority.SignCRL(ctx, req)
}

func (g *gateway) openDoors(ctx context.Context) error {
	s := g.settings
	var err error
	g.acme, err = acme.New(ctx, acme.Config{
		PublicURLs: s.publicURLs, Organisations: s.organisations, Profiles: s.profiles, DefaultProfile: s.defaultProfile,
		Allowed: s.allowed, Issuers: s.issuerNames(), Chain: g.chain, Alternates: g.alternates, Store: g.db, Registrar: g.registrar,
		Validator: g.validator, Journal: g.journal, Work: g.work, TermsURL: s.termsURL, Website: s.website,
		OrderLifetime: s.orderLifetime, AuthorizationLifetime: s.authorizationLifetime, Log: s.log,
		Observe: func(ctx context.Context, resource string, err error) {
			event := web.Event(ctx)
			event.Endpoint("acme/" + resource)
			event.Problem(err)
		},
	})
	return err
}

// doors is the handler of the main listener.
func (g *gateway) doors() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/acme/", g.acme)
	return mux
}

// readiness is what /readyz asks.
func (g *gateway) readiness() []web.Check {
	return []web.Check{
		{Name: "store", Run: g.db.Healthy},
		{Name: "journal", Run: func(context.Context) error { return g.journal.Healthy() }},
		{Name: "crl", Run: g.publisher.Ready},
	}
}

// serve answers requests until ctx ends, then drains. ready, if not nil, is called once everything listens.
func (g *gateway) serve(ctx context.Context, ready func()) error {
	s := g.settings
	servers, err := g.servers()
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { g.publisher.Run(running) })
	g.startSweeps()

	admin, socket, err := g.adminServer()
	if err != nil {
		return err
	}
	defer admin.Close()
	wg.Go(func() { admin.Serve(socket) })

	failed := make(chan error, len(servers))
	for _, server := range servers {
		wg.Go(func() { failed <- server.Serve() })
	}
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
		g.health.Drain()
		s.log.Info("stopping: no new requests, running ones finish")
	case err = <-failed:
		s.log.Error("a listener failed; stopping", "error", err)
	}
	return errors.Join(err, g.drain(servers))
}

// adminServer opens the admin socket.
func (g *gateway) adminServer() (*http.Server, net.Listener, error) {
	socket, err := listenAdmin(g.settings.folder)
	if err != nil {
		return nil, nil, err
	}
	a := &admin{registrar: g.registrar, certificate: g.db.Certificate, now: time.Now, log: g.settings.log}
	return a.server(), socket, nil
}

// startSweeps starts the work that goes on by itself.
func (g *gateway) startSweeps() {
	// The embedded store is this process's alone, so what is under way in it was a dead process's.
	g.work.Go("recover", 10*time.Minute, func(ctx context.Context) {
		if err := g.registrar.Recover(ctx); err != nil {
			g.settings.log.Warn("taking up what an earlier process left failed; the sweep will", "error", err)
		}
	})
	g.work.Every("journal mark", markEvery, g.advanceMark)
	g.work.Every("enrollments", sweepEvery, g.registrar.Sweep)
	g.work.Every("intents", time.Minute, func(ctx context.Context) error {
		_, err := g.authority.SweepIntents(ctx, ca.SweepAge)
		return err
	})
}

// drain lets running requests and work finish, bounded in time.
func (g *gateway) drain(servers []*web.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(servers))
	for i, server := range servers {
		wg.Go(func() { errs[i] = server.Drain(ctx) })
	}
	wg.Wait()
	errs = append(errs, g.work.Drain(ctx))
	// Nothing is under way any more, so everything in the journal is in the store.
	return errors.Join(append(errs, g.setMark(ctx, g.headMark()))...)
}

func (g *gateway) onClose(f func() error) { g.closers = append(g.closers, f) }

// close releases what was opened, last first.
func (g *gateway) close() error {
	var errs []error
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	g.closers = nil
	return errors.Join(errs...)
}

// servers makes the listeners' servers: doors, plain HTTP and, if wanted, metrics.
func (g *gateway) servers() ([]*web.Server, error) {
	s := g.settings
	metrics, err := web.NewMetrics(g.registry)
	if err != nil {
		return nil, err
	}
	g.health = web.NewHealth(web.HealthConfig{Checks: g.readiness(), Log: s.log})
	plain := http.NewServeMux()
	plain.Handle("/", g.publisher.Handler())
	plain.Handle("/healthz", g.health.Handler())
	plain.Handle("/readyz", g.health.Handler())
	configs := []web.Config{
		{Listener: g.listener, TLS: s.tls, Handler: g.doors(), TrustedProxies: s.trustedProxies},
		{Listener: g.plain, Handler: plain},
	}
	if s.adminListen != "" {
		l, err := web.ListenAdmin(s.adminListen)
		if err != nil {
			return nil, err
		}
		configs = append(configs, web.Config{Listener: l, Handler: web.AdminHandler(g.registry)})
	}
	var servers []*web.Server
	for _, c := range configs {
		c.Log, c.Metrics = s.log, metrics
		server, err := web.New(c)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// newLogger writes JSON lines to w for a service, text for a person.
func newLogger(c streams, json bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if json {
		return slog.New(slog.NewJSONHandler(c.err, options))
	}
	return slog.New(slog.NewTextHandler(c.err, options))
}

// chain is the PEM that follows a certificate of an issuer, nil if there is no such issuer.
func (g *gateway) chain(issuer string) []byte {
	pem, err := g.authority.Chain(issuer)
	if err != nil {
		return nil
	}
	return pem
}

// alternates are the other chains of an issuer, in the same form.
func (g *gateway) alternates(issuer string) [][]byte {
	if chains := g.authority.Chains(issuer); len(chains) > 1 {
		return chains[1:]
	}
	return nil
}

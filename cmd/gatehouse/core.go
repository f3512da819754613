package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

const (
	sweepEvery = 5 * time.Second
	// upkeepEvery and forgetEvery are for what is due by the day: of each, a turn takes 50 enrollments.
	upkeepEvery = 15 * time.Second
	forgetEvery = 5 * time.Minute
)

// core is everything of a gateway that stands on its store: what is opened at the start, and opened anew when the store
// went back. Its parts start in the order of its fields and stop in the reverse order.
type core struct {
	settings  *settings
	engine    storage.Engine
	journal   *audit.Journal
	db        *storage.DB
	member    membership // of the data folder
	clock     *storeClock
	work      *work.Group
	authority *ca.Authority
	registrar *ra.Registrar
	domains   *ra.Domains
	courier   *notify.Courier
	mails     *ra.MailQueue
	validator *dcv.Validator
	acme      *acme.Server
	publisher *publish.Publisher

	organisations *auth.Directory
	tenants       *auth.Tenants
	external      *auth.ExternalAccounts
	principals    *auth.Principals
	settler       *auth.Settler
	doors         http.Handler

	ownTLS   *ownTLS           // looked after while the core runs; may be nil
	served   map[string][]byte // lists, DER by issuer, of the core that this one replaces
	own      []netip.AddrPort  // addresses of the gateway's listeners, which no validation contacts
	wentBack chan error        // receives once when the store is found to have gone back
	entrance entrance
	marked   storage.Mark  // the journal's mark in the store
	marks    []laggingMark // what it may become, oldest first; with marked, the sweep's alone while it runs

	publishing     sync.WaitGroup
	stopPublishing context.CancelFunc
	closers        []func() error // in the order they were opened
}

// openCore opens store and journal, brings them together and builds everything up to, but not including, what runs by
// itself. On an error what was opened is closed again. served are the lists that this process has served by now.
func openCore(ctx context.Context, s *settings, own []netip.AddrPort, served map[string][]byte) (_ *core, err error) {
	c := &core{settings: s, own: own, served: served, wentBack: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, step := range []func(context.Context) error{c.openState, c.openIssuance, c.openDoors} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// openState opens the store and the journal, which belong together: a store without its journal could not say what was
// signed, and from a journal without its store the store is made again.
func (c *core) openState(ctx context.Context) error {
	s := c.settings
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	state, err := lookAtFolder(s)
	if err != nil {
		return err
	}
	openStore := func() error { return c.openStore(ctx, state.member.Deployment) }
	openJournal := func() error { return c.openJournal(state) }
	steps := []func() error{openStore, openJournal} // a journal tells of each time it is opened
	if !state.hasJournal {
		// A first start that is killed leaves a journal without a store, which is in order, and never the reverse.
		steps = []func() error{openJournal, openStore}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if err := c.checkJournal(ctx, state); err != nil {
		return err
	}
	c.member = membership{Deployment: c.db.Deployment(), Journal: c.journal.ID()}
	if c.member != state.member {
		if err := c.member.write(s.folder); err != nil {
			return fmt.Errorf("remembering where the data folder belongs: %w", err)
		}
	}
	c.clock = newStoreClock(c.engine, s.redis != nil, s.log)
	return c.clock.measure(ctx)
}

// openStore opens the engine and the records on it.
func (c *core) openStore(ctx context.Context, deployment string) (err error) {
	s := c.settings
	c.engine, err = s.openEngine(ctx, func(e *redis.WentBackError) {
		select {
		case c.wentBack <- e:
		default:
		}
	})
	if err != nil {
		return err
	}
	c.onClose(c.engine.Close)
	if s.wrapEngine != nil {
		c.engine = s.wrapEngine(c.engine)
	}
	c.db, err = storage.Open(ctx, storage.Config{
		Engine: c.engine, Issuers: s.issuerNames(), Log: s.log, Deployment: deployment, Receives: notify.Receives(c.rules()), Recorded: c.recorded,
	})
	if errors.Is(err, storage.ErrForeign) {
		return fmt.Errorf("%w; the data folder %s remembers that one. Configure the store that belongs to the folder. If it is this one, and it was emptied and then begun anew by a gateway with a new data folder: stop that gateway, empty the store, and start this one first; its journal fills it", err, s.folder)
	}
	return err
}

func (c *core) openJournal(state folderState) (err error) {
	s := c.settings
	c.journal, err = audit.Open(audit.Config{Dir: filepath.Join(s.folder, "journal"), New: !state.hasJournal, Version: version(), Log: s.log})
	if err != nil {
		return err
	}
	c.onClose(c.journal.Close)
	s.newJournal = false // it has begun: should the core be opened anew, this is the journal
	return nil
}

// openIssuance builds what stands behind every door.
func (c *core) openIssuance(ctx context.Context) error {
	s := c.settings
	var err error
	c.work = work.New(work.Config{Log: s.log})
	validation := s.validation
	own := append(c.own, s.ownAddresses...)
	validation.OwnAddresses = func() []netip.AddrPort { return own }
	if c.validator, err = dcv.New(validation); err != nil {
		return err
	}
	c.onClose(c.validator.Close)
	c.authority, err = ca.New(ca.Config{
		Issuers: s.issuers, Store: c.db, Journal: c.journal, Ready: c.clock.healthy, Now: c.clock.Now, Log: s.log, Step: s.step,
		CAA: c.validator, AccountURLs: func(r policy.Requester) []string { return acme.AccountURLs(s.publicURLs, r) },
	})
	if err != nil {
		return err
	}
	if err := c.replay(ctx, filepath.Join(s.folder, "journal")); err != nil {
		return err
	}
	if err := c.openTenants(ctx); err != nil {
		return err
	}
	c.openDomains()
	if err := c.domains.Settle(ctx, true); err != nil {
		return fmt.Errorf("telling the journal of changes of domains that the store has: %w", err)
	}
	profiles, allowed := s.issuable(c.organisations.Allowed)
	c.registrar = ra.New(ra.Config{
		Store: c.db, Authority: c.authority, Certificate: c.db.Certificate, Profiles: profiles, Allowed: allowed, Domains: c.domains, NameRules: c.nameRules, Now: c.clock.Now, Log: s.log,
		May: c.organisations.May, Below: c.organisations.Below, MayDecide: c.mayDecide, Journal: c.journal, WaitingBounds: c.waitingBounds, ImportBounds: c.importBounds,
		Validation: c.requestValidationIn(),
		Escrow:     c.escrow(), RevokeReplaced: s.revokeReplaced,
	})
	if err := c.checkSealedKeys(ctx); err != nil {
		return err
	}
	if err := c.openMail(); err != nil {
		return err
	}
	if err := c.registrar.SettleImports(ctx); err != nil {
		return err
	}
	if err := c.openPublisher(); err != nil {
		return err
	}
	// A stored list that the configured certificate does not verify could never be replaced, and nothing be revoked.
	if err := c.publisher.Load(ctx); err != nil {
		return fmt.Errorf("%w; if the issuer has a new key, give it a new name and keep the old one configured until its last certificate expires", err)
	}
	return nil
}

// mayDecide is nil for a caller who may decide an organisation's requests in a role. Managing principals is what an
// administrator alone may do.
func (c *core) mayDecide(caller auth.Caller, role policy.ApproverRole, org auth.OrgID) error {
	switch role {
	case policy.ByApprover:
		return c.organisations.May(caller, auth.Approve, org)
	case policy.ByAdministrator:
		return c.organisations.May(caller, auth.ManagePrincipals, org)
	default:
		return problem.New(problem.Unauthorized, "the role %q decides nothing", role)
	}
}

// waitingBounds are how many requests of an organisation may wait for people.
func (c *core) waitingBounds(id auth.OrgID) ra.WaitingBounds {
	org, _ := c.organisations.ByID(id)
	return c.settings.waiting.of(org)
}

// publishConfig is what publishing is configured with.
func (s *settings) publishConfig() publish.Config {
	config := publish.Config{Log: s.log, Interval: s.crlInterval, Lifetime: s.crlLifetime}
	for _, i := range s.issuers {
		config.Issuers = append(config.Issuers, publish.Issuer{Name: i.Name, Certificate: i.Chain[0]})
	}
	for _, p := range s.profiles {
		config.Public = config.Public || p.Public()
	}
	return config
}

func (c *core) openPublisher() (err error) {
	config := c.settings.publishConfig()
	config.Store, config.Sign, config.Now = c.db, c.signList, c.clock.Now
	config.Holder = c.journal.ID() // the journal is one process's alone
	kept := keptLists(filepath.Join(c.settings.folder, "crl"))
	if config.Seen, err = kept.read(config.Issuers); err != nil {
		return err
	}
	maps.Copy(config.Seen, c.served) // which are what the folder has, unless that could not be written
	config.Remember, config.Restored = kept.write, c.db.Restored()
	c.publisher, err = publish.New(config)
	return err
}

// signList hands a list to the gate.
func (c *core) signList(ctx context.Context, issuer string, l publish.List) ([]byte, error) {
	req := ca.CRLRequest{Issuer: issuer, Number: l.Number, ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate}
	for _, e := range l.Entries {
		req.Entries = append(req.Entries, ca.CRLEntry{Serial: e.Serial, At: e.At, Reason: e.Reason})
	}
	return c.authority.SignCRL(ctx, req)
}

// openDoors builds the handler of the main listener.
func (c *core) openDoors(ctx context.Context) error {
	s := c.settings
	var err error
	c.acme, err = acme.New(ctx, acme.Config{
		PublicURLs: s.publicURLs, Organisations: c.organisations, Profiles: s.profiles, DefaultProfile: s.defaultProfile,
		Allowed: c.organisations.Allowed, NameRules: c.nameRules, Issuers: s.issuerNames(), Chain: c.chain, Alternates: c.alternates, Store: c.db, Registrar: c.registrar,
		Validator: c.validator, Domains: c.domains, Journal: c.journal, Work: c.work, TermsURL: s.termsURL, Website: s.website, CAAIdentities: s.caaIdentities,
		EAB: s.eab, External: c.external,
		OrderLifetime: s.orderLifetime, AuthorizationLifetime: s.authorizationLifetime, Now: c.clock.Now, Log: s.log,
		Limits: s.limits, Limited: s.limited,
		Observe: func(ctx context.Context, resource string, err error) {
			event := web.Event(ctx)
			event.Endpoint("acme/" + resource)
			event.Problem(err)
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/acme/", c.acme)
	pages, failed := c.openConsole()
	mux.Handle(console.EmailPath, pages)
	downloads, err2 := c.openDownloads()
	mux.Handle(console.DownloadPath, downloads)
	failed = errors.Join(failed, err2)
	failed = errors.Join(failed, c.openSCM(ctx, mux))
	c.doors = mux
	return errors.Join(err, failed)
}

// chain is the PEM that follows a certificate of an issuer, nil if there is no such issuer.
func (c *core) chain(issuer string) []byte {
	pem, err := c.authority.Chain(issuer)
	if err != nil {
		return nil
	}
	return pem
}

// alternates are the other chains of an issuer, in the same form.
func (c *core) alternates(issuer string) [][]byte {
	if chains := c.authority.Chains(issuer); len(chains) > 1 {
		return chains[1:]
	}
	return nil
}

// start begins what goes on by itself.
func (c *core) start() {
	publishing, stop := context.WithCancel(context.Background())
	c.stopPublishing = stop
	c.publishing.Go(func() { c.publisher.Run(publishing) })
	c.publishing.Go(func() { c.organisations.Run(publishing) })
	if c.settings.redis == nil {
		// The embedded store is this process's alone, so what is under way in it was a dead process's.
		c.work.Go("recover", 10*time.Minute, func(ctx context.Context) {
			if err := c.registrar.Recover(ctx); err != nil {
				c.settings.log.Warn("taking up what an earlier process left failed; the sweep will", "error", err)
			}
		})
	}
	c.work.Every("clock", clockEvery, c.clock.measure)
	c.work.Every("unsettled intents", sweepEvery, c.authority.Settle)
	c.work.Every("journal mark", markEvery, c.advanceMark)
	if c.ownTLS != nil {
		c.work.Every("own certificate", ownTLSEvery, func(ctx context.Context) error { return c.ownTLS.look(ctx, c.registrar) })
	}
	c.work.Every("unjournaled changes", time.Minute, func(ctx context.Context) error { return c.settler.Settle(ctx, false) })
	c.work.Every(notify.Sweep, sweepEvery, c.courier.Sweep)
	c.work.Every("domains", sweepEvery, c.domains.Sweep)
	c.work.Every("private keys", time.Minute, c.registrar.SweepKeys)
	c.work.Every("enrollments", sweepEvery, c.registrar.Sweep)
	c.work.Every("request validations", sweepEvery, c.registrar.SweepValidations)
	c.work.Every("renewals and replacements", upkeepEvery, c.registrar.Upkeep)
	c.work.Every("removed enrollments", forgetEvery, c.registrar.ForgetRemoved)
	c.work.Every("intents", time.Minute, func(ctx context.Context) error {
		_, err := c.authority.SweepIntents(ctx, ca.SweepAge)
		return err
	})
}

// finish lets what runs end, bounded by ctx, and stops what goes on by itself. No request may come in any more.
func (c *core) finish(ctx context.Context) error {
	err := c.work.Drain(ctx)
	if c.stopPublishing != nil {
		c.stopPublishing()
	}
	c.publishing.Wait()
	return err
}

func (c *core) onClose(f func() error) { c.closers = append(c.closers, f) }

// close releases what was opened, last first.
func (c *core) close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i]())
	}
	c.closers = nil
	return errors.Join(errs...)
}

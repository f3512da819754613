package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// settings is everything a gateway is built from, checked: from a configuration file or for a throw-away gateway.
type settings struct {
	folder      string
	newJournal  bool
	redis       *redis.Config // nil: the embedded store
	drainDelay  time.Duration // between turning unready and the end of the doors
	publicURLs  []string
	cnameTarget string // configured; empty: see domainTarget

	mail          *mailSettings // nil: no mail server
	notifications []notifyRule
	mailed        func(notify.Outcome) // counts attempts at mails; nil: nobody counts

	emailLifetime time.Duration // of validations by e-mail; zero: the default

	revokeReplaced time.Duration // ra.Config

	scm scmConfig

	listen      string
	tls         *tls.Config     // of files; nil with own, and for plain HTTP
	own         *ownCertificate // nil: the listener has files, or no TLS
	asksClients bool            // the listener asks clients for certificates
	httpListen  string
	httpURL     string // how relying parties reach httpListen
	adminListen string // "": none

	trustedProxies []netip.Prefix

	organisations  *auth.Directory // those of the configuration alone; the core has them over its store
	eab            auth.EABMode    // of /acme/directory
	sealer         *seal.Sealer    // nil: nothing can be sealed
	escrow         ra.Escrow       // of private keys, without store and sealer
	issuers        []ca.Issuer
	profiles       map[string]*policy.Profile
	defaultProfile string

	termsURL, website                    string
	orderLifetime, authorizationLifetime time.Duration
	caaIdentities                        []string
	validation                           dcv.Config
	probe                                dcv.Probe // of the resolvers, at the start
	ownAddresses                         []netip.AddrPort
	crlLifetime, crlInterval             time.Duration
	limits                               acme.Limits
	limited                              func(acme.Limit) // counts refusals; nil: nobody counts
	waiting                              waitingBounds
	imports                              importBounds
	requestValidation                    ra.RequestValidation // without validator and target

	log *slog.Logger

	// Set for throw-away gateways alone: what watches the steps of issuance (ca.Config.Step) and wraps the engine.
	step       func(int)
	wrapEngine func(storage.Engine) storage.Engine
}

// settings checks what the file says. It opens no listener, store or journal.
func (c *fileConfig) settings(log *slog.Logger) (*settings, error) {
	s := &settings{
		folder: c.Data, publicURLs: c.PublicURLs, listen: c.Listen, httpListen: c.HTTP.Listen, httpURL: c.HTTP.URL,
		termsURL: c.ACME.TermsURL, website: c.ACME.Website,
		orderLifetime: time.Duration(c.ACME.OrderLifetime), authorizationLifetime: time.Duration(c.ACME.AuthorizationLifetime),
		crlLifetime: time.Duration(c.CRL.Lifetime), crlInterval: time.Duration(c.CRL.Interval), log: log,
		drainDelay: time.Duration(c.DrainDelay),
	}
	if c.AdminListen != "off" {
		s.adminListen = c.AdminListen
	}
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	s.redis, err = c.store()
	fault(err)
	fault(c.checkURLs())
	s.cnameTarget, err = c.cnameTarget()
	fault(err)
	s.mail, err = c.mail()
	fault(err)
	s.notifications, err = c.notifications(log)
	fault(err)
	s.emailLifetime, err = c.emailLifetime()
	fault(err)
	s.revokeReplaced, err = c.revokeReplaced()
	fault(err)
	s.scm, err = c.scm()
	fault(err)
	s.trustedProxies, err = c.proxies()
	fault(err)
	s.organisations, s.eab, err = c.organisations()
	fault(err)
	keys := new(ca.Keys)
	s.issuers, err = c.issuers(keys)
	fault(err)
	s.sealer, err = c.sealer(keys)
	fault(err)
	s.profiles, err = c.profiles(time.Now())
	fault(err)
	s.warnOfPublic(log)
	fault(c.escrow(s))
	s.warnOfUnvalidated(log)
	s.defaultProfile, err = c.defaultProfile()
	fault(err)
	s.limits, err = c.limits(log)
	fault(err)
	s.waiting, err = c.waitingBounds(log)
	fault(err)
	s.imports = c.importBounds(log)
	s.requestValidation, err = c.requestValidation()
	fault(err)
	fault(c.caaIdentities(s))
	fault(c.validation(s))
	if c.TLS != nil {
		s.asksClients, _ = c.TLS.asksClients() // require has looked
	}
	if c.TLS != nil && c.TLS.Issuer == "" {
		s.tls, err = c.TLS.config(log)
		if err != nil {
			fault(c.source.at("tls", err))
		}
	}
	s.own, err = c.ownTLS(s)
	fault(err)
	if len(faults) == 0 {
		// A publisher makes nothing yet, but knows what it cannot work with.
		config := s.publishConfig()
		config.Store, config.Sign = (*storage.DB)(nil), (*core)(nil).signList
		if _, err = publish.New(config); err != nil {
			fault(c.source.at("crl", err))
		}
	}
	return s, errors.Join(faults...)
}

// proxies reads the ranges whose X-Forwarded-For is believed.
func (c *fileConfig) proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for i, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, c.source.at(fmt.Sprintf("trusted_proxies[%d]", i), fmt.Errorf("%q is no address range; write for example 192.0.2.0/28", text))
		}
		list = append(list, p)
	}
	return list, nil
}

// checkURLs demands URLs that can be compared as strings and put into certificates.
func (c *fileConfig) checkURLs() error {
	for i, u := range c.PublicURLs {
		if err := plainURL(u, "https", "http"); err != nil {
			return c.source.at(fmt.Sprintf("public_urls[%d]", i), err)
		}
	}
	if err := plainURL(c.HTTP.URL, "http"); err != nil {
		return c.source.at("http.url", err)
	}
	return nil
}

func plainURL(text string, schemes ...string) error {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is no URL of this kind; write for example %s://ca.example.com", text, schemes[0])
	}
	if strings.HasSuffix(text, "/") {
		return fmt.Errorf("%q ends with a slash; leave it away", text)
	}
	return nil
}

func (c *fileConfig) validation(s *settings) error {
	resolver, err := c.resolver(s)
	if err != nil {
		return err
	}
	for _, text := range c.Validation.OwnAddresses {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return c.source.at("validation.own_addresses", fmt.Errorf("%q is not address:port, as in 192.0.2.1:443", text))
		}
		s.ownAddresses = append(s.ownAddresses, a)
	}
	s.validation = dcv.Config{
		Resolver:  resolver,
		Timeout:   time.Duration(c.Validation.Timeout),
		UserAgent: c.Validation.UserAgent,

		CAAIdentities: s.caaIdentities,
	}
	v, err := dcv.New(s.validation)
	if err != nil {
		return c.source.at("validation", err)
	}
	return v.Close()
}

// issuerNames are the configured issuers' names.
func (s *settings) issuerNames() []string {
	names := map[string]bool{}
	for _, i := range s.issuers {
		names[i.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// tryIssuers checks all issuers as a start would, and says where in the file those stand that it would refuse.
func (c *fileConfig) tryIssuers(s *settings) error {
	var faults []error
	for _, name := range s.issuerNames() {
		if err := tryIssuer(s, name); err != nil {
			faults = append(faults, c.source.at("issuers."+name, err))
		}
	}
	return errors.Join(faults...)
}

// tryIssuer checks one issuer as a start would.
func tryIssuer(s *settings, name string) error {
	for _, i := range s.issuers {
		if i.Name == name {
			return ca.CheckIssuer(i, time.Now())
		}
	}
	return fmt.Errorf("no issuer is named %s", name)
}

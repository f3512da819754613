package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	maxMailTimeout     = 10 * time.Minute
	maxMailConnections = 50
	maxExpiryDays      = 365
)

// mailConfig is the server that takes the gateway's mail (docs/mail.md). Without it nothing is sent, and whatever needs mail is
// refused.
type mailConfig struct {
	Server string `yaml:"server"` // host:port, as in smtp.example.com:587
	// TLS is starttls (default), tls (from the first octet, port 465) or none. A server without what is demanded is given
	// nothing.
	TLS string `yaml:"tls"`
	// Cleartext: allow lets tls: none speak to a server that is not on this machine. Whoever is on the way then reads the mails,
	// with the codes in them.
	Cleartext string `yaml:"cleartext"`
	CA        string `yaml:"ca"` // PEM of the roots that certify the server; default: the system's

	From     string `yaml:"from"`      // the sender's address, as in ca@example.com
	FromName string `yaml:"from_name"` // shown beside it, in ASCII
	Hello    string `yaml:"hello"`     // the name given in EHLO; default: the host of the first public URL

	Username string `yaml:"username"` // of AUTH; without it the gateway does not log in
	Password string `yaml:"password"` // a file of mode 0600 or env:NAME, never the password itself

	Timeout     duration `yaml:"timeout"`     // of one mail, all in all; default 1m
	Connections int      `yaml:"connections"` // at once, of each gateway; default 2
}

// notifyConfig says who is told of what by mail. All gateways of a store need the same.
type notifyConfig struct {
	Events []string `yaml:"events"` // see docs/mail.md
	To     []string `yaml:"to"`     // addresses
	Days   []int    `yaml:"days"`   // before its end, for expiring; default 30, 7 and 1

	Organisations []string `yaml:"organisations"` // slugs; those below them, too; absent: all
	Profiles      []string `yaml:"profiles"`      // absent: all
}

// mailSettings is a mail server, checked.
type mailSettings struct {
	server      notify.SMTPConfig
	timeout     time.Duration
	connections int
}

// notifyRule is notifyConfig, checked.
type notifyRule struct {
	events        []ra.EventKind
	to            []string
	days          []int
	organisations []string
	profiles      []string
}

// mail checks the mail server; nil if there is none.
func (c *fileConfig) mail() (*mailSettings, error) {
	m := c.Mail
	if m == nil {
		return nil, nil
	}
	fault := func(word string, err error) error { return c.source.at("mail."+word, err) }
	host, port, err := mailHost(m.Server)
	if err != nil {
		return nil, fault("server", err)
	}
	s := &mailSettings{
		server: notify.SMTPConfig{
			Host: host, Port: port, TLS: notify.TLSMode(cmp.Or(m.TLS, string(notify.StartTLS))), Hello: cmp.Or(m.Hello, c.helloName()),
			Username: m.Username, From: m.From, FromName: m.FromName,
		},
		timeout: time.Duration(m.Timeout), connections: m.Connections,
	}
	if !isHost(s.server.Hello) {
		return nil, fault("hello", fmt.Errorf("%q is no host name; write for example ca.example.com", s.server.Hello))
	}
	switch {
	case m.Cleartext != "" && m.Cleartext != "allow":
		return nil, fault("cleartext", fmt.Errorf("%q is not known here; the word is allow", m.Cleartext))
	case m.Cleartext != "" && s.server.TLS != notify.Cleartext:
		return nil, fault("cleartext", errors.New("cleartext goes with tls: none alone; remove one of the two"))
	case s.server.TLS == notify.Cleartext && m.Cleartext == "" && !loopbackHost(host):
		return nil, fault("tls", fmt.Errorf("mail to %s, with the codes in it, would travel in clear; use starttls, or accept that with cleartext: allow", host))
	case m.Timeout != 0 && (s.timeout < time.Second || s.timeout > maxMailTimeout):
		return nil, fault("timeout", fmt.Errorf("timeout is %s; give 1s to 10m", s.timeout))
	case m.Connections < 0 || m.Connections > maxMailConnections:
		return nil, fault("connections", fmt.Errorf("connections is %d; give 1 to %d", m.Connections, maxMailConnections))
	case m.From == "":
		return nil, fault("from", errors.New("from is missing; add for example from: ca@example.com"))
	}
	if err := notify.CheckAddress(m.From); err != nil {
		return nil, fault("from", err)
	}
	if s.server.Password, err = readSecret(m.Password); err != nil {
		return nil, fault("password", err)
	}
	if s.server.Roots, err = readRoots(m.CA); err != nil {
		return nil, fault("ca", err)
	}
	if _, err = notify.NewSMTP(s.server); err != nil {
		return nil, c.source.at("mail", err)
	}
	return s, nil
}

// helloName is the host of the first public URL, if that is one.
func (c *fileConfig) helloName() string {
	if len(c.PublicURLs) > 0 {
		if u, err := url.Parse(c.PublicURLs[0]); err == nil && u.Hostname() != "" {
			return u.Hostname()
		}
	}
	return "localhost"
}

func mailHost(text string) (host string, port uint16, err error) {
	host, number, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(number, 10, 16)
	if err != nil || bad != nil || n == 0 || !isHost(host) {
		return "", 0, fmt.Errorf("%q is not host:port; write for example smtp.example.com:587", text)
	}
	return host, uint16(n), nil
}

// isHost reports whether a text is a DNS name, an address, or localhost.
func isHost(text string) bool {
	if text == "localhost" || net.ParseIP(text) != nil {
		return true
	}
	name, err := identifier.ParseDNS(text)
	return err == nil && !name.IsWildcard()
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// readRoots reads PEM of trusted roots; nil for no file.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// notifications checks who is told of what. The mail server is checked before.
func (c *fileConfig) notifications(log *slog.Logger) ([]notifyRule, error) {
	var rules []notifyRule
	var faults []error
	for i, n := range c.Notify {
		r, err := n.rule(c, log)
		if err != nil {
			faults = append(faults, c.source.at(fmt.Sprintf("notify[%d]", i), err))
		}
		rules = append(rules, r)
	}
	if len(rules) > 0 && c.Mail == nil {
		faults = append(faults, c.source.at("notify", errors.New("somebody is to be told by mail, and no mail server is configured; add for example mail: {server: smtp.example.com:587, from: ca@example.com}")))
	}
	return rules, errors.Join(faults...)
}

func (n *notifyConfig) rule(c *fileConfig, log *slog.Logger) (notifyRule, error) {
	r := notifyRule{to: n.To, days: n.Days, organisations: n.Organisations, profiles: n.Profiles}
	for _, word := range n.Events {
		kind := ra.EventKind(word)
		if !slices.Contains(ra.EventKinds(), kind) {
			return r, fmt.Errorf("%q is no event; the events are %s", word, eventWords())
		}
		r.events = append(r.events, kind)
	}
	if len(r.events) == 0 || len(r.to) == 0 {
		return r, errors.New("events and to are needed, as in {events: [waiting], to: [approvers@example.com]}")
	}
	switch { // an empty list would be about all
	case n.Organisations != nil && len(n.Organisations) == 0:
		return r, errors.New("organisations is empty; name one, or leave it out for all")
	case n.Profiles != nil && len(n.Profiles) == 0:
		return r, errors.New("profiles is empty; name one, or leave it out for all")
	}
	for _, address := range r.to {
		if err := notify.CheckAddress(address); err != nil {
			return r, err
		}
	}
	expiring := slices.Contains(r.events, ra.EventExpiring)
	switch bad := slices.IndexFunc(r.days, func(d int) bool { return d < 1 || d > maxExpiryDays }); {
	case bad >= 0:
		return r, fmt.Errorf("days has %d; give 1 to %d", r.days[bad], maxExpiryDays)
	case len(r.days) > 0 && !expiring:
		return r, errors.New("days goes with the event expiring alone; remove it, or add expiring to events")
	case expiring && len(r.days) == 0:
		r.days = []int{30, 7, 1}
	}
	for _, name := range r.profiles {
		if _, ok := c.Profiles[name]; !ok {
			return r, fmt.Errorf("there is no profile %q", name)
		}
	}
	for _, slug := range r.organisations {
		if !slices.ContainsFunc(c.Organisations, func(o orgConfig) bool { return o.Slug == slug }) {
			log.Warn("notifications are configured for an organisation that the file does not name; they begin once there is one", "slug", slug)
		}
	}
	return r, nil
}

func eventWords() string {
	var words []string
	for _, k := range ra.EventKinds() {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

// rules are the notifications as the courier has them. Organisations are those of the core, which knows more than the
// configuration.
func (c *core) rules() []notify.Rule {
	var rules []notify.Rule
	for _, n := range c.settings.notifications {
		rules = append(rules, notify.Rule{Events: n.events, To: n.to, Days: n.days, Covers: func(e *ra.Event) bool {
			return (len(n.profiles) == 0 || slices.Contains(n.profiles, e.Profile)) && c.isBelow(e.Org, n.organisations)
		}})
	}
	return rules
}

// isBelow reports whether an organisation, or one above it, has one of the slugs. None are all.
func (c *core) isBelow(id auth.OrgID, slugs []string) bool {
	if len(slugs) == 0 {
		return true
	}
	if c.organisations == nil {
		return false
	}
	for range 100 { // no tree is so deep; one that were a ring has no end
		org, ok := c.organisations.ByID(id)
		if !ok {
			return false
		}
		if slices.Contains(slugs, org.Slug) {
			return true
		}
		id = org.Parent
	}
	return false
}

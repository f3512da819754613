package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// limitsConfig are the rate limits of the ACME door (docs/limits.md). They hold for all gateways on a store together; a
// gateway with an embedded store forgets at its end what was used. A limit is "300/h": so many in that time on average, and
// after a rest so many at once; "300/3h burst 1000", where that is another number; or "off". What is absent has its default.
type limitsConfig struct {
	// Help is a page for people about these limits, linked to by every refusal (RFC 8555, 6.6). Absent: no link.
	Help string `yaml:"help"`
	// Except are ranges of addresses that the limits per address do not hold for: of a balancer that does not tell its
	// clients' addresses, for example.
	Except []string `yaml:"except"`

	Address      addressLimits `yaml:"per_address"`      // of IPv6, per /48
	Account      accountLimits `yaml:"per_account"`      // an ACME account
	Organisation ordersLimit   `yaml:"per_organisation"` // of all its accounts together
	Domain       ordersLimit   `yaml:"per_domain"`       // per registered domain and organisation: example.com of www.example.com

	// Organisations have other limits than these, by slug.
	Organisations map[string]orgLimits `yaml:"organisations"`
}

type addressLimits struct {
	Requests    *rate `yaml:"requests"`     // signed; default 3000/m burst 6000
	NewAccounts *rate `yaml:"new_accounts"` // default 100/h burst 300
	RenewalInfo *rate `yaml:"renewal_info"` // unsigned reads; default 600/m burst 1200
}

type accountLimits struct {
	Requests          *rate `yaml:"requests"`           // default 3000/m burst 6000; the burst is at least 2
	NewOrders         *rate `yaml:"new_orders"`         // default 300/h burst 1000
	FailedValidations *rate `yaml:"failed_validations"` // for each name; default 20/h
}

type ordersLimit struct {
	NewOrders *rate `yaml:"new_orders"` // default 3000/h burst 10000 per organisation, 1500/h burst 5000 per domain
}

type orgLimits struct {
	Account      accountLimits `yaml:"per_account"`      // an ACME account
	Organisation ordersLimit   `yaml:"per_organisation"` // this one's
	Domain       ordersLimit   `yaml:"per_domain"`       // of this one
}

// rate is an acme.Rate as it is written.
type rate acme.Rate

// UnmarshalYAML reads it.
func (r *rate) UnmarshalYAML(n ast.Node) error {
	v, err := parseRate(n.GetToken().Value)
	if err != nil {
		return &placedError{n.GetToken(), err}
	}
	*r = rate(v)
	return nil
}

func parseRate(text string) (acme.Rate, error) {
	bad := fmt.Errorf("%q is no limit; write for example 300/h, 300/3h burst 1000, or off", text)
	words := strings.Fields(text)
	if len(words) == 1 && words[0] == "off" {
		return acme.Rate{}, nil
	}
	if len(words) != 1 && (len(words) != 3 || words[1] != "burst") {
		return acme.Rate{}, bad
	}
	count, per, ok := strings.Cut(words[0], "/")
	if !ok || per == "" {
		return acme.Rate{}, bad
	}
	var r acme.Rate
	var err error
	if r.Count, err = strconv.Atoi(count); err != nil {
		return acme.Rate{}, bad
	}
	if per[0] < '0' || per[0] > '9' {
		per = "1" + per
	}
	if r.Per, err = parseDuration(per); err != nil {
		return acme.Rate{}, bad
	}
	r.Burst = r.Count
	if len(words) == 3 {
		if r.Burst, err = strconv.Atoi(words[2]); err != nil {
			return acme.Rate{}, bad
		}
	}
	if r == (acme.Rate{}) { // which would mean that there is no limit
		return acme.Rate{}, bad
	}
	if err := r.Check(); err != nil {
		return acme.Rate{}, fmt.Errorf("%q: %w", text, err)
	}
	return r, nil
}

// limits are the defaults with what the file says instead. Organisations are checked before.
func (c *fileConfig) limits(log *slog.Logger) (acme.Limits, error) {
	l, given := acme.DefaultLimits(), c.Limits
	l.Help = given.Help
	if err := checkHelp(given.Help); err != nil {
		return l, c.source.at("limits.help", err)
	}
	for i, text := range given.Except {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return l, c.source.at(fmt.Sprintf("limits.except[%d]", i), fmt.Errorf("%q is no address range; write for example 192.0.2.7/32", text))
		}
		if p.Addr().Is4In6() { // addresses are compared as IPv4, so such a range would hold none
			return l, c.source.at(fmt.Sprintf("limits.except[%d]", i), fmt.Errorf("%q is an IPv4 address in IPv6; write it as IPv4, for example 192.0.2.7/32", text))
		}
		l.Except = append(l.Except, p)
	}
	given.Address.Requests.replace(&l.AddressRequests)
	given.Address.NewAccounts.replace(&l.AddressNewAccounts)
	given.Address.RenewalInfo.replace(&l.AddressRenewalInfo)
	orgLimits{given.Account, given.Organisation, given.Domain}.replace(&l.Default)
	l.Organisations = map[string]acme.OrgLimits{}
	for _, slug := range slices.Sorted(maps.Keys(given.Organisations)) {
		if !slices.ContainsFunc(c.Organisations, func(o orgConfig) bool { return o.Slug == slug }) {
			log.Warn("limits are configured for an organisation that the file does not name; they hold once there is one", "slug", slug)
		}
		o := l.Default
		given.Organisations[slug].replace(&o)
		l.Organisations[slug] = o
	}
	if err := l.Check(); err != nil {
		return l, c.source.at("limits", err)
	}
	return l, nil
}

func (o orgLimits) replace(l *acme.OrgLimits) {
	o.Account.Requests.replace(&l.AccountRequests)
	o.Account.NewOrders.replace(&l.AccountNewOrders)
	o.Account.FailedValidations.replace(&l.FailedValidations)
	o.Organisation.NewOrders.replace(&l.NewOrders)
	o.Domain.NewOrders.replace(&l.DomainNewOrders)
}

func (r *rate) replace(v *acme.Rate) {
	if r != nil {
		*v = acme.Rate(*r)
	}
}

// checkHelp demands a URL that can stand in a Link header as it is written.
func checkHelp(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.String() != text || strings.ContainsAny(text, `<>"`) {
		return errors.New("the page for people is no URL; write for example https://ca.example.com/limits")
	}
	return nil
}

// refusalsByLimit counts what rate limits refuse.
func refusalsByLimit(reg prometheus.Registerer) (count func(acme.Limit), err error) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_acme_rate_limited_total",
		Help: "ACME requests refused by a rate limit, by its name in the configuration.",
	}, []string{"limit"})
	return func(limit acme.Limit) { counter.WithLabelValues(string(limit)).Inc() }, reg.Register(counter)
}

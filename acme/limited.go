package acme

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// refusalsKept and debtsKept bound what this process remembers for the limits, twice: some hundred bytes each. What is
	// forgotten is found out again, or was a unit of somebody who asks seldom.
	refusalsKept = 8192
	debtsKept    = 16384
	// addressBits6 is what of an IPv6 address counts: a site has a /48 (RFC 6177).
	addressBits6 = 48
)

// claim is what a request wants from one limit, and what a client is told if it does not get it.
type claim struct {
	take Take
	rate Rate
	what string // too many of what,
	whom string // and whose, in words; put together only for who hears of it
}

func (c claim) key() string { return string(c.take.Limit) + "/" + c.take.Of }

// want is a claim of one unit; none if the limit is off.
func want(limit Limit, of string, rate Rate, what, whom string) []claim {
	if rate.off() {
		return nil
	}
	return []claim{{Take{limit, of, rate.interval(), rate.Burst, 1}, rate, what, whom}}
}

func takes(claims []claim) []Take {
	list := make([]Take, len(claims))
	for i, c := range claims {
		list[i] = c.take
	}
	return list
}

// addressOf is what the limits per address count together: the peer's address as the listener found it (behind a trusted
// proxy that of its client), of IPv6 the /48. It is empty if no limit per address holds.
func (s *Server) addressOf(remote string) string {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "unknown" // all such together: they are not unlimited for having no address
	}
	addr := peer.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(s.Limits.Except, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return ""
	}
	if addr.Is4() {
		return addr.String()
	}
	site, _ := addr.Prefix(addressBits6) // an IPv6 address has as many bits
	return site.String()
}

// addressClaims are those of a limit per address.
func addressClaims(limit Limit, address string, rate Rate, what string) []claim {
	if address == "" {
		return nil
	}
	return want(limit, address, rate, what, address)
}

func (s *Server) requestsFrom(address string) []claim {
	return addressClaims(LimitAddressRequests, address, s.Limits.AddressRequests, "requests from ")
}

// orgLimits are the limits of an organisation by its number, and the number as a key.
func (s *Server) orgLimits(id auth.OrgID) (*OrgLimits, string) {
	org, _ := s.Organisations.ByID(id) // one that is gone has the default
	return s.Limits.of(org), strconv.Itoa(int(id))
}

// debt is what an account used of its limit on requests and has not paid yet.
type debt struct {
	org   auth.OrgID
	units int
}

// admit takes a request through the store. Together with what the request needs it takes from the limits on requests: a
// unit for this one from its address, and from its account what the account's earlier requests cost.
//
// Anybody can write another's account into "kid", and the signature cannot be verified before the account was read. So a
// request costs the account nothing before its signature is verified, and then what it costs is paid with the account's
// next request: strangers cannot use up an account's limit, and a limit on accounts costs no round trip. What is not paid
// when the process ends is lost.
func (s *Server) admit(ctx context.Context, a Admission, address string) (Admitted, error) {
	claims := s.requestsFrom(address)
	owed, _ := s.debts.take(a.Account)
	claims = append(claims, s.payment(a.Account, owed)...)
	err := s.known(claims)
	if err != nil {
		s.owe(a.Account, owed)
		return Admitted{}, err
	}
	a.Takes = takes(claims)
	// The outcome must be known: were it not, an account would owe once more what it has paid, as often as a stranger names
	// it in "kid" and hangs up. The store bounds how long it takes.
	admitted, err := s.Store.Admit(context.WithoutCancel(ctx), a)
	if err != nil || !admitted.Fresh { // nothing was taken
		s.owe(a.Account, owed)
	}
	return admitted, s.refused(claims, err)
}

// payment claims what an account owes, and that a unit is left then: otherwise the request would be one too many.
func (s *Server) payment(id AccountID, owed debt) []claim {
	if owed.units == 0 {
		return nil
	}
	limits, _ := s.orgLimits(owed.org)
	claims := want(LimitAccountRequests, string(id), limits.AccountRequests, "requests of ", "this account")
	for i := range claims {
		take := &claims[i].take
		take.Burst--
		take.Cost = min(owed.units, take.Burst) // more, from requests that came at once, could never be paid
	}
	return claims
}

// verified notes that an account has made a request.
func (s *Server) verified(a *Account) {
	if limits, _ := s.orgLimits(a.Org); !limits.AccountRequests.off() {
		s.owe(a.ID, debt{a.Org, 1})
	}
}

func (s *Server) owe(id AccountID, more debt) {
	if more.units > 0 {
		s.debts.put(id, func(d debt) debt { return debt{more.org, d.units + more.units} })
	}
}

// blame answers a request that failed before the store could take anything for it: the address pays all the same, else
// verifying wrong signatures and looking up used nonces were free.
func (s *Server) blame(ctx context.Context, address string, failure error) error {
	if err := s.take(ctx, s.requestsFrom(address)); err != nil {
		return err
	}
	return failure
}

// take takes from limits in a round trip of its own; in none if there is nothing to take from.
func (s *Server) take(ctx context.Context, claims []claim) error {
	if err := s.known(claims); err != nil || len(claims) == 0 {
		return err
	}
	return s.refused(claims, s.Store.Take(ctx, takes(claims)...))
}

// known refuses what was refused before and cannot be granted yet. So whoever goes on asking does not reach the store.
func (s *Server) known(claims []claim) error {
	for _, c := range claims {
		until, ok := s.refusals.get(c.key())
		if wait := until.Sub(s.Now()); ok && wait > 0 {
			return s.refuse(c, wait)
		}
	}
	return nil
}

// refused makes the client's answer of a store's error, and remembers the refusal.
func (s *Server) refused(claims []claim, err error) error {
	refused, ok := errors.AsType[*Refused](err)
	if !ok {
		return err
	}
	c := claims[refused.Take]
	until := s.Now().Add(refused.Wait)
	s.refusals.put(c.key(), func(time.Time) time.Time { return until })
	return s.refuse(c, refused.Wait)
}

func (s *Server) refuse(c claim, wait time.Duration) error {
	if s.Limited != nil {
		s.Limited(c.take.Limit)
	}
	wait = (wait + time.Second - 1).Truncate(time.Second) // as Retry-After says it
	return problem.New(problem.RateLimited, "too many %s%s: the limit %s is %s; try again in %s", c.what, c.whom, c.take.Limit, c.rate, wait).After(wait)
}

// usable finds the authorizations that serve new orders of an account, and takes what the order costs in the same trip.
func (s *Server) usable(ctx context.Context, account *Account, names []identifier.Identifier, claims []claim) ([]*Authorization, error) {
	if err := s.known(claims); err != nil {
		return nil, err
	}
	found, err := s.Store.UsableAuthorizations(ctx, account.ID, names, takes(claims)...)
	return found, s.refused(claims, err)
}

// authorityClaims are what asking for authority over names costs, be it an order or an authorization ahead of one.
func (s *Server) authorityClaims(a *Account) []claim {
	limits, org := s.orgLimits(a.Org)
	return append(want(LimitAccountNewOrders, string(a.ID), limits.AccountNewOrders, "new orders of ", "this account"),
		want(LimitOrgNewOrders, org, limits.NewOrders, "new orders of ", "this organisation")...)
}

// domainClaims are one for each registered domain of the names, except those that are renewed. Internal names and addresses
// have no registered domain: they count for account and organisation alone.
func (s *Server) domainClaims(a *Account, names []identifier.Identifier, renewed renewal) (claims []claim) {
	limits, org := s.orgLimits(a.Org)
	seen := map[string]bool{"": true}
	for _, name := range names {
		if domain := name.RegisteredDomain(); !seen[domain] && !renewed[domain] {
			seen[domain] = true
			claims = append(claims, want(LimitDomainNewOrders, org+"/"+domain, limits.DomainNewOrders,
				"new orders of this organisation for names under ", domain)...)
		}
	}
	return claims
}

// orderClaims are what an order costs. One that renews costs nothing but for the domains that it adds.
func (s *Server) orderClaims(a *Account, names []identifier.Identifier, renewed renewal) []claim {
	claims := append(s.domainClaims(a, names, renewed), s.triesLeft(a, names)...)
	if renewed != nil {
		return claims
	}
	return append(claims, s.authorityClaims(a)...)
}

// triesLeft claims that for none of the names too many validations have failed. It takes nothing: failures do (failed).
func (s *Server) triesLeft(a *Account, names []identifier.Identifier) (claims []claim) {
	seen := map[identifier.Identifier]bool{}
	for _, name := range names {
		if name = name.Base(); seen[name] {
			continue
		}
		seen[name] = true
		for _, c := range s.failures(a.ID, a.Org, name) {
			// Refused while all is taken, which is while more than this is taken.
			c.take.Interval, c.take.Burst, c.take.Cost = max(c.take.Interval*time.Duration(c.take.Burst-1), leastInterval), 1, 0
			claims = append(claims, c)
		}
	}
	return claims
}

func (s *Server) failures(account AccountID, org auth.OrgID, name identifier.Identifier) []claim {
	limits, _ := s.orgLimits(org)
	return want(LimitFailedValidations, string(account)+"/"+name.String(), limits.FailedValidations,
		"failed validations by this account of ", name.Value())
}

// failed counts a validation that failed for what the name's owner can change. A wildcard counts with its base name.
func (s *Server) failed(ctx context.Context, a *Authorization, position int) {
	failure := a.Challenges[position].Failed
	if failure == nil || inconclusive(failure.Kind) {
		return
	}
	claims := s.failures(a.Account, a.Org, a.Identifier)
	if len(claims) == 0 {
		return
	}
	err := s.Store.Take(ctx, takes(claims)...)
	if _, full := errors.AsType[*Refused](err); err != nil && !full { // a full limit need not count on
		s.log.LogAttrs(ctx, slog.LevelWarn, "a failed validation was not counted",
			slog.String("authorization", string(a.ID)), slog.Any("error", err))
	}
}

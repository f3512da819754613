package dcv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Probe is what the resolver's servers are asked before they are relied on.
type Probe struct {
	// Name is one that exists; with DNSSEC one whose zone is signed, up to what the servers trust. Without a trailing dot;
	// empty: the root.
	Name string
	// DNSSEC demands that the servers whose AD bit is believed ([ResolverConfig.Trusted]) authenticate the answer.
	DNSSEC bool
	// Bogus is a name whose signatures do not verify: with DNSSEC the same servers must refuse it with SERVFAIL. Empty: not asked.
	Bogus string
}

// ProbeResult is what came of asking one server.
type ProbeResult struct {
	Server  string // as configured
	Trusted bool   // its AD bit is believed
	Took    time.Duration
	Err     error // what is wrong with the server, for its operator; nil: nothing
}

// Probe asks every server for the SOA record of the probe's name, as often as a lookup would, and reports on them in the
// order in which they are configured.
func (r *Resolver) Probe(ctx context.Context, p Probe) []ProbeResult {
	var all []ProbeResult
	for _, u := range r.servers {
		demand := p.DNSSEC && u.trusted
		reply, took := r.probe(ctx, u, p.Name, demand)
		result := ProbeResult{Server: u.name, Trusted: u.trusted, Took: took, Err: judgeProbe(reply, p.Name, demand)}
		if result.Err == nil && demand && p.Bogus != "" {
			reply, _ = r.probe(ctx, u, p.Bogus, true)
			result.Err = judgeBogus(reply, p.Bogus)
		}
		all = append(all, result)
	}
	return all
}

// probe asks one server one question until there is an answer or the rounds are over.
func (r *Resolver) probe(ctx context.Context, u *upstream, name string, dnssec bool) (reply, time.Duration) {
	a := &ask{name: dns.Fqdn(name), qtype: dns.TypeSOA}
	if dnssec {
		a.dnssec = DNSSECOpportunistic // AD is judged here, and says more than a refusal would
	}
	for range r.rounds {
		a.settled, a.overTCP = false, false
		if r.askOne(ctx, u, []*ask{a}) || ctx.Err() != nil {
			break
		}
	}
	return a.reply, a.took
}

func judgeProbe(r reply, name string, dnssec bool) error {
	shown := shownName(name)
	switch says := (outcome{result: r.result, ede: r.ede}).says(); {
	case r.result == resultTimeout, r.result == resultClosed, r.result == resultCanceled:
		return fmt.Errorf("it does not answer: %s", r.result)
	case r.result == resultNoTLS:
		return errors.New("no TLS session with it that can be trusted; its certificate must be for the name behind the # (or its host) and from a root of this machine or of resolver_ca")
	case !r.answers():
		return fmt.Errorf("it answers %q to a question for %s; is it a recursive resolver?%s", r.result, shown, says)
	case dnssec && !r.ad:
		return fmt.Errorf("it does not validate DNSSEC: its answer to a question for %s is not authenticated (no AD bit); switch validation on there, or name a signed zone in dnssec_probe.signed%s", shown, says)
	case !dnssec && r.result == resultNXDomain:
		return fmt.Errorf("it says that %s does not exist; is it a recursive resolver?%s", shown, says)
	}
	return nil
}

// judgeBogus wants SERVFAIL, which is what a validating server says of what does not verify (RFC 4035, 5.5).
func judgeBogus(r reply, name string) error {
	if r.result == resultServFail {
		return nil
	}
	return fmt.Errorf("it does not validate DNSSEC: its answer for %s, whose signatures should not verify, is %q and not SERVFAIL; switch validation on there, or correct dnssec_probe.bogus", shownName(name), r.result)
}

func shownName(name string) string {
	if name == "" {
		return "the root"
	}
	return name
}

// TrustedServers lists the servers whose AD bit is believed, as configured.
func (r *Resolver) TrustedServers() []string {
	var names []string
	for _, u := range r.servers {
		if u.trusted {
			names = append(names, u.name)
		}
	}
	return names
}

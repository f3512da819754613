package dcv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// http01 fetches the key authorization (RFC 8555, 8.3), following redirects. Every hop looks its host up once, checks
// the addresses and connects to one that passed.
func (v *Validator) http01(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	return v.walk(ctx, v.ports.firstTarget(req.Identifier, req.Token), req, rec)
}

// walk follows redirects from t to the response that decides.
func (v *Validator) walk(ctx context.Context, t target, req Request, rec *Record) (*Proof, *problem.Error) {
	visited := []string{t.url.String()}
	for {
		rec.Hops = append(rec.Hops, Hop{URL: t.url.String()})
		hop := &rec.Hops[len(rec.Hops)-1]
		start := time.Now()
		resp, failed := v.visit(ctx, t, req, rec, hop)
		hop.Took = time.Since(start)
		if failed != nil {
			return nil, failed
		}
		if !isRedirect(resp.status) || req.Method.FromCSR() {
			return v.judge(resp, req, rec, hop)
		}
		next, failed := v.follow(t, resp, rec, hop)
		if failed != nil {
			return nil, failed
		}
		if slices.Contains(visited, next.url.String()) {
			return nil, rec.fail(problem.Connection, "Answer the challenge at its own URL", "the redirects from %s go round in a loop", t.url)
		}
		visited = append(visited, next.url.String())
		t = next
	}
}

// isRedirect knows the redirects that keep a GET what it is (RFC 9110, 15.4); 300, 303 and 305 are not followed.
func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// visit does one hop up to its response.
func (v *Validator) visit(ctx context.Context, t target, req Request, rec *Record, hop *Hop) (response, *problem.Error) {
	if failed := v.locate(ctx, t, req, rec, hop); failed != nil {
		return response{}, failed
	}
	conn, failed := v.connect(ctx, t, req.Private, rec, hop)
	if failed != nil {
		return response{}, failed
	}
	start := time.Now()
	resp, err := v.fetcher.get(ctx, conn, t, bodyLimit(req.content()), func() { hop.Answered = time.Since(start) })
	hop.Status = resp.status
	if err != nil {
		return response{}, rec.exchangeFailed(err, t, hop)
	}
	return resp, nil
}

// locate finds the addresses of t's host and notes which may be contacted. It fails unless there is one.
func (v *Validator) locate(ctx context.Context, t target, req Request, rec *Record, hop *Hop) *problem.Error {
	found := []netip.Addr{t.host.Addr()}
	if t.host.Type() == identifier.DNS {
		var how outcome
		found, hop.Lookups, how = v.resolver.addresses(ctx, t.host.Value(), req.DNSSEC)
		if len(found) == 0 {
			return rec.lookupFailed(t.host.Value(), how)
		}
		rec.insecure = rec.insecure || !how.secure
	}
	allowed := false
	var refused []string
	for _, addr := range found {
		why := v.guard.refusal(netip.AddrPortFrom(addr, t.port), req.Private)
		hop.Addresses = append(hop.Addresses, Address{Addr: addr, Refused: why})
		if why == "" {
			allowed = true
		} else {
			refused = append(refused, fmt.Sprintf("%s (%s)", addr, why))
		}
	}
	if allowed {
		return nil
	}
	const shown = 3 // of a list as long as somebody cared to make it
	if len(refused) > shown {
		refused = append(refused[:shown:shown], fmt.Sprintf("and %d more", len(refused)-shown))
	}
	list := strings.Join(refused, ", ")
	switch {
	case t.host.Type() == identifier.DNS:
		return rec.fail(problem.DNS, "Point it at a public address, or use a profile that opens the range",
			"%s has only addresses that validation may not contact: %s", t.host.Value(), list)
	case t.host == req.Identifier:
		return rec.fail(problem.RejectedIdentifier, "", "validation may not contact %s", list)
	default:
		return rec.fail(problem.Connection, "Redirect to a public address", "redirected to an address that validation may not contact: %s", list)
	}
}

// lookupFailed words a lookup that found no address (RFC 8555, 6.7: "dns").
func (r *Record) lookupFailed(name string, how outcome) *problem.Error {
	says := how.says()
	switch how.result {
	case resultNXDomain:
		return r.fail(problem.DNS, "Add an A or AAAA record for it", "%s does not exist in DNS (NXDOMAIN)%s", name, says)
	case resultNoData:
		return r.fail(problem.DNS, "Add an A or AAAA record for it", "%s has no address in DNS%s", name, says)
	case resultServFail:
		return r.fail(problem.DNS, "See whether its name servers answer and its DNSSEC signatures are valid",
			"%s could not be resolved (SERVFAIL)%s", name, says)
	case resultTimeout:
		return r.fail(problem.DNS, "See whether its name servers answer", "looking up %s timed out", name)
	case resultAliasLoop, resultAliases:
		return r.fail(problem.DNS, "Mend its CNAME records", "%s could not be resolved: %s%s", name, how.result, says)
	case resultInsecure:
		return r.fail(problem.DNS, "Sign its zone, with a DS record in every zone above, and those of its aliases",
			"what the DNS says of %s is %s, which is required here%s", name, how.result, says)
	default:
		return r.fail(problem.DNS, "Try again later; if it stays so, tell the operator of this service",
			"%s could not be resolved: %s%s", name, how.result, says)
	}
}

// connect dials the first allowed IPv6 address and, if that fails, the first allowed IPv4 address.
func (v *Validator) connect(ctx context.Context, t target, private []netip.Prefix, rec *Record, hop *Hop) (net.Conn, *problem.Error) {
	candidates := hop.candidates()
	check := func(actual netip.AddrPort) error {
		if why := v.guard.refusal(actual, private); why != "" {
			return fmt.Errorf("dcv: about to connect to %s: %s", actual, why)
		}
		return nil
	}
	var last error
	for i, addr := range candidates {
		timeout := v.cfg.DialTimeout
		if i < len(candidates)-1 {
			timeout = min(timeout, v.cfg.IPv6Timeout)
		}
		to, start := netip.AddrPortFrom(addr, t.port), time.Now()
		conn, err := dial(ctx, to, timeout, check)
		tried := Dial{Addr: to, Took: time.Since(start)}
		if err == nil {
			hop.Dials, hop.Dialled = append(hop.Dials, tried), to
			if i > 0 {
				rec.Advice = fmt.Sprintf("%s could not be reached over IPv6; mend the server or remove the AAAA record", t.host.Value())
			}
			return conn, nil
		}
		tried.Failed, last = reason(err), err
		hop.Dials = append(hop.Dials, tried)
		if ctx.Err() != nil {
			break
		}
	}
	tries := make([]string, len(hop.Dials))
	for i, d := range hop.Dials {
		tries[i] = fmt.Sprintf("%s (%s)", d.Addr, d.Failed)
	}
	return nil, rec.failFor(last, problem.Connection, "Let the server answer there, and open the port to the outside",
		"could not connect for %s to %s", t.host.Value(), strings.Join(tries, " or "))
}

// candidates are the first allowed address of each family, IPv6 first.
func (h *Hop) candidates() []netip.Addr {
	var out []netip.Addr
	for _, v6 := range []bool{true, false} {
		i := slices.IndexFunc(h.Addresses, func(a Address) bool { return a.Refused == "" && a.Addr.Is6() == v6 })
		if i >= 0 {
			out = append(out, h.Addresses[i].Addr)
		}
	}
	return out
}

// exchangeFailed words a connection that came about and then failed.
func (r *Record) exchangeFailed(err error, t target, hop *Hop) *problem.Error {
	broken, ok := errors.AsType[*fetchError](err)
	switch {
	case !ok:
		return r.failFor(err, problem.Internal, "", "the validation failed inside")
	case broken.tls:
		return r.failFor(broken.err, problem.TLS, "Mend the server's TLS, or answer over plain HTTP without a redirect",
			"no TLS session with %s for %s: %s", hop.Dialled, t.url, broken.what)
	case broken.err == nil:
		return r.fail(problem.IncorrectResponse, "Let the server answer with "+r.wanted()+" and nothing else",
			"%s at %s: %s", t.url, hop.Dialled, broken.what)
	default:
		return r.failFor(broken.err, problem.Connection, "Look at the server and what stands in front of it",
			"%s at %s: %s while %s", t.url, hop.Dialled, broken.what, broken.phase)
	}
}

// follow checks a redirect and gives its target.
func (v *Validator) follow(from target, resp response, rec *Record, hop *Hop) (target, *problem.Error) {
	const advice = "Answer the challenge at its own URL, or redirect to http or https on the standard port of a public host"
	if len(resp.location) != 1 {
		return target{}, rec.fail(problem.Connection, advice, "%s at %s redirects (%d) with %d Location fields instead of one",
			from.url, hop.Dialled, resp.status, len(resp.location))
	}
	hop.Redirect = quote(resp.location[0])
	if len(rec.Hops) > maxRedirects {
		return target{}, rec.fail(problem.Connection, advice, "more than %d redirects; the last is %s", maxRedirects, hop.Redirect)
	}
	next, err := v.ports.redirectTarget(from, resp.location[0])
	if err != nil {
		return target{}, rec.fail(problem.Connection, advice, "%s at %s redirects to %s: %v", from.url, hop.Dialled, hop.Redirect, err)
	}
	return next, nil
}

// judge compares a final response with what was asked for.
func (v *Validator) judge(resp response, req Request, rec *Record, hop *Hop) (*Proof, *problem.Error) {
	if resp.status != http.StatusOK {
		if req.Method.Published() {
			rec.Finding = &Finding{Trouble: StatusWrong, Status: resp.status}
		}
		return nil, rec.fail(problem.IncorrectResponse, "Let the server answer the challenge's path with 200",
			"%s at %s answered with status %s", hop.URL, hop.Dialled, statusText(resp.status))
	}
	if req.Method.byFile() {
		return v.judgeFile(resp, req, rec, hop)
	}
	if found := compare(resp.body, resp.more, req.KeyAuthorization); found != "" {
		return nil, rec.fail(problem.IncorrectResponse, "Publish exactly the key authorization, and see that the name reaches that server",
			"%s at %s: expected a key authorization of %d characters, got %s", hop.URL, hop.Dialled, len(req.KeyAuthorization), found)
	}
	return v.proof(req, fmt.Sprintf("%s at %s", hop.URL, hop.Dialled)), nil
}

// statusText is a status with its registered name, never the server's own phrase.
func statusText(status int) string {
	if name := http.StatusText(status); name != "" {
		return fmt.Sprintf("%d (%s)", status, name)
	}
	return fmt.Sprint(status)
}

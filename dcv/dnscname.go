package dcv

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// dnsCNAME looks where the CNAME record of a label in front of the name leads (Baseline Requirements 3.2.2.4.7). Only that
// record is read, not what it leads to.
func (v *Validator) dnsCNAME(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	name := req.Publication.Place + "." + req.Identifier.Value()
	rec.Hops = []Hop{{URL: "dns:" + name + "?type=CNAME"}} // RFC 4501
	hop := &rec.Hops[0]
	start := time.Now()
	found, lookups, how := v.resolver.target(ctx, name, req.DNSSEC)
	hop.Lookups, hop.Took = lookups, time.Since(start)
	const advice = "Add the CNAME record, and wait until all name servers have it"
	switch {
	case how.result == resultNXDomain:
		return nil, rec.fail(problem.DNS, advice, "%s does not exist in DNS (NXDOMAIN)%s", name, how.says())
	case how.result == resultNoData:
		return nil, rec.fail(problem.DNS, advice, "%s has no CNAME record%s", name, how.says())
	case len(found) == 0:
		return nil, rec.lookupFailed(name, how)
	}
	rec.insecure = !how.secure
	rec.Finding = &Finding{Found: true, Target: shownTarget(found[0])}
	want := strings.ToLower(req.Publication.Value)
	if len(found) > 1 { // RFC 1034, 3.6.2
		return nil, rec.fail(problem.IncorrectResponse, "Leave one of them", "%s has %d CNAME records", name, len(found))
	}
	if found[0] != want {
		return nil, rec.fail(problem.IncorrectResponse, advice+"; see that the zone is not appended to the target: it may need a final dot",
			"%s is an alias of %s and not of %q", name, quote(found[0]), want)
	}
	rec.Finding.Correct = true
	return v.proof(req, hop.URL+" from "+lookups[len(lookups)-1].Server), nil
}

package dcv

import (
	"context"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// dnsTXT looks for a value in the TXT records of a label in front of the name (Baseline Requirements 3.2.2.4.7). As with
// dns-01 any one of several records suffices, and aliases are followed.
func (v *Validator) dnsTXT(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	name := req.Publication.Place + "." + req.Identifier.Value()
	rec.Hops = []Hop{{URL: "dns:" + name + "?type=TXT"}} // RFC 4501
	hop := &rec.Hops[0]
	start := time.Now()
	found, lookups, how := v.resolver.texts(ctx, name, req.DNSSEC)
	hop.Lookups, hop.Took = lookups, time.Since(start)
	shown := aliased(name, lookups)
	if len(found) == 0 {
		return nil, rec.textsFailed(shown, how)
	}
	rec.insecure = !how.secure
	rec.Finding = &Finding{Found: true}
	want := req.Publication.Value
	for _, text := range found {
		if subtle.ConstantTimeCompare([]byte(text), []byte(want)) == 1 {
			rec.Finding.Correct = true
			return v.proof(req, hop.URL+" from "+lookups[len(lookups)-1].Server), nil
		}
	}
	near := "none looks like it"
	for _, text := range found {
		switch trimmed := strings.Trim(text, " \t\r\n\"'"); {
		case trimmed == want:
			near = "one has it in quotation marks or white space"
		case strings.EqualFold(trimmed, want):
			near = "one has it in other letter case"
		}
	}
	return nil, rec.fail(problem.IncorrectResponse, "Publish that value, and wait until all name servers have it",
		"%s: none of %d TXT records is %q; %s", shown, len(found), want, near)
}

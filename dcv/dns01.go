package dcv

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// dnsLabel is where a digest is published (RFC 8555, 8.4).
	dnsLabel = "_acme-challenge."
	// maxDNSName is the longest name that can be asked for (RFC 1035, 2.3.4), in text without the trailing dot.
	maxDNSName = 253
)

// dns01 looks for the digest of the key authorization in the TXT records of the name's _acme-challenge (RFC 8555, 8.4).
// Any one of several records suffices: a wildcard and its base are validated side by side at one name. The configured
// resolver follows aliases, to any zone, and the reply shows which: at most maxAliases, and no loop.
func (v *Validator) dns01(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	base := req.Identifier.Base().Value()
	name := dnsLabel + base
	if len(name) > maxDNSName {
		return nil, rec.fail(problem.RejectedIdentifier, "Use http-01 or tls-alpn-01", "dns-01 cannot prove %s: %s is longer than a name may be", base, name)
	}
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
	want := dnsDigest(req.KeyAuthorization)
	for _, text := range found {
		if subtle.ConstantTimeCompare([]byte(text), []byte(want)) == 1 {
			return v.proof(req, hop.URL+" from "+lookups[len(lookups)-1].Server), nil
		}
	}
	return nil, rec.fail(problem.IncorrectResponse, "Publish that value, wait until all name servers have it, and leave no old records behind",
		"%s: none of %d TXT records is %q; %s", shown, len(found), want, nearest(found, want, req.KeyAuthorization))
}

// dnsDigest is what the TXT record of a challenge holds (RFC 8555, 8.4).
func dnsDigest(keyAuthorization string) string {
	sum := sha256.Sum256([]byte(keyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// aliased is the name that was asked for, and where its aliases led.
func aliased(name string, lookups []Lookup) string {
	if len(lookups) == 0 {
		return name
	}
	aliases := lookups[len(lookups)-1].Aliases
	if len(aliases) == 0 {
		return name
	}
	return fmt.Sprintf("%s (an alias of %s)", name, quote(aliases[len(aliases)-1]))
}

// nearest says which known mistake a record shows. It never repeats a record.
func nearest(found []string, want, keyAuthorization string) string {
	token, _, _ := strings.Cut(keyAuthorization, ".")
	others := 0
	for _, text := range found {
		switch trimmed := strings.Trim(text, " \t\r\n\"'=\\"); {
		case trimmed == want:
			return "one has it in quotation marks, white space or padding"
		case strings.EqualFold(trimmed, want):
			return "one has it in other letter case"
		case trimmed == keyAuthorization:
			return "one is the key authorization itself instead of its digest"
		case trimmed == token:
			return "one is the token instead of the key authorization's digest"
		case len(trimmed) == len(want) && isBase64URL(trimmed):
			others++
		}
	}
	if others > 0 {
		return fmt.Sprintf("%d might be another challenge's", others)
	}
	return "none looks like a challenge's"
}

// textsFailed words a lookup that found no TXT record (RFC 8555, 6.7: "dns").
func (r *Record) textsFailed(name string, how outcome) *problem.Error {
	switch how.result {
	case resultNXDomain:
		return r.fail(problem.DNS, "Add the TXT record, and wait until all name servers have it", "%s does not exist in DNS (NXDOMAIN)%s", name, how.says())
	case resultNoData:
		return r.fail(problem.DNS, "Add the TXT record, and wait until all name servers have it", "%s has no TXT record%s", name, how.says())
	default:
		return r.lookupFailed(name, how)
	}
}

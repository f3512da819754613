package dcv

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	minValue = 22  // characters of a value: 128 bits in base64url
	maxValue = 255 // a character-string of a TXT record (RFC 1035, 3.3.14) has no more
	maxFile  = 1024
	maxPlace = 128 // of a file's name
	maxLabel = 63  // RFC 1035, 2.3.4
)

// checkPublished refuses what no validation by a publication should be started for.
func checkPublished(req Request, rec *Record) error {
	ip := req.Identifier.Type() == identifier.IP
	byDNS := req.Method.byRecord()
	p := req.Publication
	switch {
	case !req.DNSSEC.Known():
		return req.DNSSEC.check()
	case req.Identifier.IsZero():
		return rec.fail(problem.Malformed, "", "the validation names no identifier")
	case req.Identifier.IsWildcard(): // what is published stands at the name below it
		return rec.fail(problem.RejectedIdentifier, "Validate the name without it", "%s cannot prove the wildcard name %s", req.Method, req.Identifier.Value())
	case ip && byDNS:
		return rec.fail(problem.RejectedIdentifier, "Use a file", "%s cannot prove the address %s", req.Method, req.Identifier.Value())
	case byDNS && !isUnderscored(p.Place):
		return rec.fail(problem.Malformed, "", "the place is no DNS label that begins with an underscore")
	case !byDNS && (len(p.Place) == 0 || len(p.Place) > maxPlace || !isFileName(p.Place)):
		return rec.fail(problem.Malformed, "", "the place is no file name of letters, digits, hyphens, underscores and dots")
	case len(p.Value) < minValue || len(p.Value) > maxFile || byDNS && len(p.Value) > maxValue:
		return rec.fail(problem.Malformed, "", "the value has %d characters; at least %d are 128 bits", len(p.Value), minValue)
	case strings.Contains(p.Place, p.Value):
		// Baseline Requirements 3.2.2.4.18: a server that repeats what it is asked for must prove nothing.
		return rec.fail(problem.Malformed, "", "the place tells the value")
	case strings.ContainsFunc(p.Value, func(r rune) bool { return (r < ' ' || r > '~') && (r != '\n' || byDNS) }):
		return rec.fail(problem.Malformed, "", "the value holds something other than printable ASCII")
	case (req.Method == DNSCNAME || req.Method == CSRHashCNAME) && !isTarget(p.Value):
		return rec.fail(problem.Malformed, "", "the value is no DNS name that a CNAME can lead to")
	case byDNS && len(p.Place)+1+len(req.Identifier.Value()) > maxDNSName:
		return rec.fail(problem.RejectedIdentifier, "Use a file, or validate a shorter name above it", "%s cannot prove %s: with the label in front it is longer than a name may be", req.Method, req.Identifier.Value())
	}
	return nil
}

// isTarget reports whether a value is a DNS name by itself, in the form in which replies are compared.
func isTarget(value string) bool {
	id, err := identifier.ParseDNS(value)
	return err == nil && !id.IsWildcard()
}

func isUnderscored(label string) bool {
	return len(label) >= 2 && len(label) <= maxLabel && label[0] == '_' && isBase64URL(label)
}

func isFileName(name string) bool {
	return strings.Trim(name, ".") != "" && isBase64URL(strings.ReplaceAll(name, ".", ""))
}

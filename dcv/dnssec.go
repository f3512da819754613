package dcv

import (
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// DNSSEC says what a validation wants of the DNS answers it uses. Signatures are not verified here: a validating resolver
// does that, says so with the AD bit (RFC 4035, 3.2.3), and is believed if the way to it cannot be tampered with
// ([ResolverConfig.Trusted]). Whatever the mode, checking is never disabled (CD, RFC 4035, 3.2.2): what a resolver finds
// bogus comes as SERVFAIL and is a failure.
type DNSSEC string

// The modes. The zero value is DNSSECOff; every other word is refused.
const (
	DNSSECOff           DNSSEC = "off"           // AD is not asked for and nothing is recorded
	DNSSECOpportunistic DNSSEC = "opportunistic" // AD is asked for and recorded; an answer without it counts
	// DNSSECRequire lets only answers count that a trusted resolver authenticated: records, NODATA and NXDOMAIN. Resolvers
	// that are not trusted are not asked. An unsigned zone is one that nobody can authenticate.
	DNSSECRequire DNSSEC = "require"
)

// Known reports whether m is one of the modes, or empty.
func (m DNSSEC) Known() bool {
	return m == "" || slices.Contains([]DNSSEC{DNSSECOff, DNSSECOpportunistic, DNSSECRequire}, m)
}

// asks reports whether a question says that its sender understands AD.
func (m DNSSEC) asks() bool { return m == DNSSECOpportunistic || m == DNSSECRequire }

// check refuses words that are no mode, because what they were meant to demand cannot be known.
func (m DNSSEC) check() *problem.Error {
	if m.Known() {
		return nil
	}
	return problem.New(problem.Malformed, "%s is no DNSSEC mode; it is off, opportunistic or require", quote(string(m)))
}

// hold applies a's mode to the reply it just got from u: without authentication where that is required, nothing in a reply
// counts, neither records nor their absence.
func (a *ask) hold(u *upstream) {
	a.reply.secure = a.dnssec.asks() && a.reply.ad && u.trusted
	if a.dnssec == DNSSECRequire && a.reply.answers() && !a.reply.secure {
		a.reply = reply{result: resultInsecure, ad: a.reply.ad, aliases: a.reply.aliases, ede: a.reply.ede}
	}
}

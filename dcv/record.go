package dcv

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Record is what one validation saw, for the authorization's record: whoever reads it can tell why the validation ended
// as it did without repeating it. It never holds a response body, nor any other text a validated server sent except the
// redirect targets, which are cut to a readable length. Texts are plain sentences for people, not for programs.
type Record struct {
	Started time.Time     // UTC
	Waited  time.Duration // for a free slot, before the deadline began to run
	Took    time.Duration // without Waited
	Hops    []Hop         // the first request, then one for each redirect that was followed
	Advice  string        // what the applicant should change; after a success, what only just worked
	CAA     []CAALookup   `json:",omitempty"` // every CAA question, after the proof
	Omitted int           `json:",omitempty"` // how many entries of all these lists were left out (Shortened)
	Finding *Finding      `json:",omitempty"` // what a method that is Published found, in a word; nil before there is an answer

	insecure bool // an answer was used that no trusted resolver authenticated
	file     bool // a file is looked for, and no key authorization
}

// Hop is one request of a validation.
type Hop struct {
	URL       string         // for dns-01 a dns: URI (RFC 4501), for tls-alpn-01 tls:// with name and port
	Lookups   []Lookup       // every question that was sent; empty for an IP address
	Addresses []Address      // every address that was found, IPv6 first
	Dials     []Dial         // in order; at most one IPv6 and one IPv4
	Dialled   netip.AddrPort // the address that was connected to; invalid if none was
	Status    int            // of the HTTP response; zero if none came
	Redirect  string         // the Location of a redirect, quoted, whether or not it was followed
	Answered  time.Duration  // from the connection to the end of the response headers
	Took      time.Duration  // all of it
}

// Lookup is one question to one DNS server.
type Lookup struct {
	Name    string // without the trailing dot
	Type    string // "A", "AAAA", "TXT"
	Server  string // as configured
	Network string // "udp", "tcp" after a truncated reply, or "tls"
	Result  string // the response code by its IANA name, or what went wrong instead
	AD      bool   `json:",omitempty"` // the server says that DNSSEC authenticated the answer; false if it was not asked to
	// Explained is what the server says about its answer (RFC 8914), as in `DNSSEC Bogus (6): "no signatures"`.
	Explained []string `json:",omitempty"`
	Aliases   []string
	Found     []netip.Addr
	Texts     int // how many TXT records there were
	Took      time.Duration
}

// Address is an address of a name and why it was not used.
type Address struct {
	Addr    netip.Addr
	Refused string // empty: it may be contacted
}

// Dial is one attempt to connect.
type Dial struct {
	Addr   netip.AddrPort
	Failed string // empty: connected
	Took   time.Duration
}

// fail makes the validation's error and notes its advice. The detail says what was seen; the advice, one sentence, what
// to change. Both may be read by a stranger.
func (r *Record) fail(kind problem.Kind, advice, format string, args ...any) *problem.Error {
	return r.failFor(nil, kind, advice, format, args...)
}

// failFor is fail with a cause for the log. The cause must not quote what the validated server sent.
func (r *Record) failFor(cause error, kind problem.Kind, advice, format string, args ...any) *problem.Error {
	r.Advice = advice
	detail := fmt.Sprintf(format, args...)
	if advice != "" {
		detail += ". " + advice
	}
	return problem.Wrap(cause, kind, "%s", detail)
}

// wanted is what a web server should answer with.
func (r *Record) wanted() string {
	if r.file {
		return "the file's content"
	}
	return "the key authorization"
}

// quote makes foreign text safe to show: escaped and at most 200 bytes of it.
func quote(s string) string {
	const limit = 200
	if len(s) > limit {
		return fmt.Sprintf("%+q… (%d bytes)", s[:limit], len(s))
	}
	return fmt.Sprintf("%+q", s)
}

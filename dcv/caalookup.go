package dcv

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxCAALevels is how many labels a name may have whose records are looked up. Names for addresses below ip6.arpa have 34.
	maxCAALevels = 40
	// maxCAAQuestions is how many different names one request may ask about; 100 names of ten labels with nothing in common.
	maxCAAQuestions = 1000
)

// caaLookups are the questions of one request. Every name is asked about once. It is safe for concurrent use.
type caaLookups struct {
	resolver *Resolver
	now      func() time.Time
	dnssec   DNSSEC

	mu    sync.Mutex
	asked map[string]func() caaAnswer
	sent  []CAALookup // in the order of the answers
}

// caaAnswer is what the DNS says of one name.
type caaAnswer struct {
	at      time.Time // when it was asked
	records []caaRecord
	alias   string // the end of its aliases, if it is one
	secure  bool
	failed  string // why there is no answer; empty: there is one
	says    string // what the resolver says about that
}

// lookupSpan says from where to where the DNS was climbed, and since when.
type lookupSpan struct {
	first, last string
	at          time.Time
}

func newCAALookups(resolver *Resolver, now func() time.Time, mode DNSSEC) *caaLookups {
	return &caaLookups{resolver: resolver, now: now, dnssec: mode, asked: map[string]func() caaAnswer{}}
}

// climb finds the records that govern a name: its own or, if it has none, those of the nearest name above that has some
// (RFC 8659, section 3). Aliases are followed at each level as in any lookup, but the names above an alias's target are
// not climbed. The first level without an answer is the end.
func (l *caaLookups) climb(ctx context.Context, name string) (set caaSet) {
	set.first, set.secure = name, true
	if strings.Count(name, ".") >= maxCAALevels {
		set.refusal = &caaRefusal{
			detail: fmt.Sprintf("%s: CAA records are looked up for names of at most %d labels", quote(name), maxCAALevels), advice: "Use a shorter name",
		}
		return set
	}
	for domain := name; domain != ""; _, domain, _ = strings.Cut(domain, ".") {
		answer := l.ask(ctx, domain)
		set.last = domain
		if set.at.IsZero() || answer.at.Before(set.at) {
			set.at = answer.at
		}
		if answer.failed != "" {
			set.refusal = caaUnanswered(name, domain, answer)
			return set
		}
		set.secure = set.secure && answer.secure
		if len(answer.records) > 0 {
			set.owner, set.alias, set.records = domain, answer.alias, answer.records
			return set
		}
	}
	return set
}

// caaUnanswered words a lookup that failed. No answer is never a permission (Baseline Requirements 3.2.2.8).
func caaUnanswered(name, domain string, answer caaAnswer) *caaRefusal {
	failed := answer.failed
	if failed == resultTooMany {
		return &caaRefusal{detail: name + ": the request needs too many CAA lookups", advice: "Ask for fewer names at once"}
	}
	what := "the CAA records of " + domain
	if name != domain {
		what += ", which govern " + name + ","
	}
	advice := "See whether its name servers answer questions for CAA and its DNSSEC signatures are valid; without an answer nothing is issued"
	switch failed {
	case resultAliasLoop, resultAliases:
		advice = "Mend its CNAME records; without an answer nothing is issued"
	case resultStale, resultAltered, resultNoTLS, resultUnasked:
		advice = "Try again later; if it stays so, tell the operator of this service; without an answer nothing is issued"
	case resultInsecure:
		return &caaRefusal{
			detail: fmt.Sprintf("what the DNS says of %s is %s, which is required here%s", what, failed, answer.says),
			advice: "Sign its zone, with a DS record in every zone above, and those of its aliases", again: true,
		}
	}
	return &caaRefusal{detail: fmt.Sprintf("%s could not be looked up: %s%s", what, failed, answer.says), advice: advice, again: true}
}

const resultTooMany = "too many questions"

// ask asks about one name, once in the life of l.
func (l *caaLookups) ask(ctx context.Context, domain string) caaAnswer {
	l.mu.Lock()
	answer := l.asked[domain]
	if answer == nil {
		answer = sync.OnceValue(func() caaAnswer { return l.lookup(ctx, domain) })
		if len(l.asked) >= maxCAAQuestions {
			l.mu.Unlock()
			return caaAnswer{at: l.now(), failed: resultTooMany}
		}
		l.asked[domain] = answer
	}
	l.mu.Unlock()
	return answer()
}

// lookup asks the DNS. Only records and their proven absence are answers.
func (l *caaLookups) lookup(ctx context.Context, domain string) caaAnswer {
	answer := caaAnswer{at: l.now()}
	question := &ask{name: domain + ".", qtype: dns.TypeCAA, dnssec: l.dnssec}
	lookups := l.resolver.resolve(ctx, question)
	switch r := question.reply; r.result {
	case resultNoError, resultNoData, resultNXDomain:
		answer.records, answer.secure = r.caa, r.secure
		if len(r.aliases) > 0 {
			answer.alias = r.aliases[len(r.aliases)-1]
		}
	case "": // never asked: the time was over
		answer.failed = resultTimeout
	default:
		answer.failed, answer.says = r.result, question.outcome().says()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range lookups {
		l.sent = append(l.sent, CAALookup{Lookup: one})
	}
	if n := len(l.sent); len(lookups) > 0 && len(answer.records) > 0 {
		for _, r := range answer.records {
			l.sent[n-1].Records = append(l.sent[n-1].Records, r.String())
		}
	}
	return answer
}

package dcv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// contactLabel is where a TXT record with an address is published (Baseline Requirements A.2.1).
	contactLabel = "_validation-contactemail."
	// maxPublished is how many addresses of one source are taken. The rest is left aside, and said to be.
	maxPublished = 10
	// maxConstructedAt is at how many names addresses are constructed.
	maxConstructedAt = 10
)

// constructedLocal are the local parts of constructed addresses (Baseline Requirements 3.2.2.4.4).
var constructedLocal = [...]string{"admin", "administrator", "webmaster", "hostmaster", "postmaster"}

// EmailContact is an address at which a person may confirm control of a name.
type EmailContact struct {
	Address string // as ParseEmail gives it
	Method  Method // EmailConstructed, EmailCAA or EmailTXT
	Source  string // for people: the name it is constructed at, or the DNS question whose answer has it, and who answered
	Secure  bool   // DNSSEC authenticated that answer; of a constructed one true, because none was asked for
}

// EmailContacts are all addresses of a name.
type EmailContacts struct {
	// Contacts has each address once, by the method that proves most: constructed ones, those at the name itself first, then
	// those in CAA and TXT.
	Contacts []EmailContact
	// Failures says of CAA and TXT why they could not be looked up, so that there may be more addresses.
	Failures []string
	// Unusable says of published values why they are none of the addresses.
	Unusable []string
}

// EmailContacts finds the addresses of a DNS name that is no wildcard: those that may be constructed at the name and the names
// above it down to its registered domain, and those that the name itself publishes in its CAA records, without an alias, or in
// a TXT record. What a name above it publishes is not taken: it speaks for that name. It waits for a slot as long as ctx lets
// it; then Config.Timeout and ctx bound it.
//
// The error is a [*problem.Error]: Malformed (the request), Unavailable (no slot in time, or ctx was canceled). That the DNS
// does not answer is no error but a failure in the result.
func (v *Validator) EmailContacts(ctx context.Context, name identifier.Identifier, mode DNSSEC) (*EmailContacts, error) {
	switch {
	case !mode.Known():
		return nil, mode.check()
	case name.Type() != identifier.DNS || name.IsWildcard():
		return nil, problem.New(problem.Malformed, "%s has no addresses for mail; name a domain", quote(name.Value()))
	}
	release, err := v.slots.acquire(ctx, targetOf(name))
	if err != nil {
		return nil, problem.Wrap(err, problem.Unavailable, "no slot to look for addresses of %s became free in time", name.Value()).After(v.cfg.Timeout)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	found := &EmailContacts{}
	for _, at := range constructedAt(name) {
		for _, local := range constructedLocal {
			if address, err := ParseEmail(local + "@" + at); err == nil { // a name can be too long for one
				found.add(EmailContact{Address: address, Method: EmailConstructed, Source: "constructed at " + at, Secure: true})
			}
		}
	}
	v.contactsInCAA(bounded, name.Value(), mode, found)
	v.contactsInTXT(bounded, name.Value(), mode, found)
	if err := ctx.Err(); err != nil {
		return nil, problem.Wrap(err, problem.Unavailable, "looking for addresses of %s was interrupted", name.Value()).After(time.Second)
	}
	return found, nil
}

// constructedAt are the names at which addresses may be constructed: a name and those above it, down to its registered domain.
// One of no public suffix, whose owner cannot be told from it, has itself alone. Of many the nearest are taken, and the last.
func constructedAt(name identifier.Identifier) []string {
	registered := name.RegisteredDomain()
	if name.IsPublicSuffix() {
		return nil
	}
	names := []string{name.Value()}
	for at := name.Value(); registered != "" && at != registered && at != ""; {
		_, at, _ = strings.Cut(at, ".")
		names = append(names, at)
	}
	if len(names) > maxConstructedAt {
		names = append(names[:maxConstructedAt-1], registered)
	}
	return names
}

// add takes a contact whose address is not there yet.
func (c *EmailContacts) add(contact EmailContact) {
	if !slices.ContainsFunc(c.Contacts, func(have EmailContact) bool { return have.Address == contact.Address }) {
		c.Contacts = append(c.Contacts, contact)
	}
}

// published takes the values that a name publishes. The whole value is the address (Baseline Requirements A.1.1, A.2.1).
func (c *EmailContacts) published(values []string, contact EmailContact) {
	for i, value := range values {
		if i == maxPublished {
			c.Unusable = append(c.Unusable, fmt.Sprintf("%s: more than %d addresses; the others are left aside", contact.Source, maxPublished))
			return
		}
		address, err := ParseEmail(value)
		if err != nil {
			c.Unusable = append(c.Unusable, contact.Source+": "+err.Error())
			continue
		}
		contact.Address = address
		c.add(contact)
	}
}

// contactsInCAA takes the contactemail properties of the name's own CAA records (Baseline Requirements 3.2.2.4.13). Those are
// its relevant set (RFC 8659, section 3) if it has any; one that a name above it or an alias's target has is not its own.
func (v *Validator) contactsInCAA(ctx context.Context, name string, mode DNSSEC, found *EmailContacts) {
	lookups := newCAALookups(v.resolver, v.cfg.Now, mode)
	answer := lookups.ask(ctx, name)
	if answer.failed != "" {
		found.Failures = append(found.Failures, caaUnanswered(name, name, answer).detail)
		return
	}
	contact := EmailContact{Method: EmailCAA, Source: "CAA of " + name, Secure: answer.secure}
	if n := len(lookups.sent); n > 0 {
		contact.Source += " from " + lookups.sent[n-1].Server
	}
	var values []string
	for _, r := range answer.records {
		if r.is(tagContactEmail) {
			values = append(values, r.value)
		}
	}
	if answer.alias != "" && len(values) > 0 {
		found.Unusable = append(found.Unusable, fmt.Sprintf("CAA of %s: it is an alias of %s, which speaks for itself alone", name, quote(answer.alias)))
		return
	}
	found.published(values, contact)
}

// contactsInTXT takes the TXT records at a label in front of the name (Baseline Requirements 3.2.2.4.14). As with dns-01
// aliases are followed: whoever puts one at that label of its own means it.
func (v *Validator) contactsInTXT(ctx context.Context, name string, mode DNSSEC, found *EmailContacts) {
	label := contactLabel + name
	if len(label) > maxDNSName {
		return
	}
	texts, lookups, how := v.resolver.texts(ctx, label, mode)
	switch how.result {
	case resultNoError, resultNoData, resultNXDomain:
	case "": // never asked: the time was over
		found.Failures = append(found.Failures, fmt.Sprintf("%s could not be looked up: %s", label, resultTimeout))
		return
	default:
		found.Failures = append(found.Failures, fmt.Sprintf("%s could not be looked up: %s%s", label, how.result, how.says()))
		return
	}
	contact := EmailContact{Method: EmailTXT, Source: "TXT of " + label, Secure: how.secure}
	if n := len(lookups); n > 0 {
		contact.Source += " from " + lookups[n-1].Server
	}
	found.published(texts, contact)
}

// MailRoute looks, where the mode asks for DNSSEC, whether DNSSEC authenticates which hosts take the mail of an address that
// ParseEmail gave (the MX records of its domain, or that it has none). The mail itself goes by way of a mail server that looks
// again. With [DNSSECOff] nothing is asked, and secure is false.
//
// The error is a [*problem.Error]: DNS (the domain does not exist, or the DNS does not answer as the mode demands), Unavailable
// (as in [Validator.EmailContacts]).
func (v *Validator) MailRoute(ctx context.Context, address string, mode DNSSEC) (secure bool, err error) {
	domain := emailDomain(address)
	name, err := identifier.ParseDNS(domain)
	if err != nil {
		return false, problem.New(problem.Malformed, "%s is no address", quote(address))
	}
	if err := mode.check(); err != nil {
		return false, err
	}
	if !mode.asks() {
		return false, nil
	}
	release, err := v.slots.acquire(ctx, targetOf(name))
	if err != nil {
		return false, problem.Wrap(err, problem.Unavailable, "no slot to look for the mail servers of %s became free in time", domain).After(v.cfg.Timeout)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	mx := &ask{name: domain + ".", qtype: dns.TypeMX, dnssec: mode}
	v.resolver.resolve(bounded, mx)
	switch how := mx.outcome(); {
	case ctx.Err() != nil:
		return false, problem.Wrap(ctx.Err(), problem.Unavailable, "looking for the mail servers of %s was interrupted", domain).After(time.Second)
	case how.result == resultNoError, how.result == resultNoData: // without MX records mail goes to the name itself (RFC 5321, 5.1)
		return how.secure, nil
	case how.result == resultNXDomain:
		return false, problem.New(problem.DNS, "%s does not exist in DNS (NXDOMAIN), so that no mail arrives there", domain)
	default:
		return false, problem.New(problem.DNS, "the mail servers of %s could not be looked up: %s%s", domain, how.result, how.says())
	}
}

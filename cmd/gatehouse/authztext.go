package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// plain makes a text of the network safe to show: what a terminal would obey, or hide, is escaped.
func plain(text string) string {
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unprintable(r) {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unprintable is what is no letter, mark, number, sign or space: control characters of both sets, line ends, what turns the
// direction of a text, and octets that are no UTF-8.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// page collects lines. Every text passes through plain.
type page struct{ b *strings.Builder }

func (p page) line(indent int, format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = plain(text)
		}
	}
	p.b.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(p.b, format, args...)
	p.b.WriteByte('\n')
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// took rounds a duration to what a person reads.
func took(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// describeAuthz writes an authorization for people: whose it is, where it stands, and step by step what was seen.
func describeAuthz(b *strings.Builder, v authzView) {
	p := page{b}
	p.line(0, "authorization  %s", v.ID)
	p.line(0, "url            %s", v.URL)
	p.line(0, "identifier     %s (%s)", v.Identifier, v.Type)
	p.line(0, "status         %s", v.Status)
	p.line(0, "account        %s", v.Account)
	p.line(0, "organisation   %s", v.org())
	p.line(0, "profile        %s", v.Profile)
	p.line(0, "made           %s", utc(v.Created))
	p.line(0, "expires        %s", utc(v.Expires))
	if !v.Deactivated.IsZero() {
		p.line(0, "given up       %s", utc(v.Deactivated))
	}
	if d := v.Domain; d != nil {
		p.line(0, "")
		p.line(0, "valid by the domain %s of %s: validated by %s at %s", d.Domain, d.Owner, d.Method, utc(d.At))
		if d.Seen != "" { // of a domain that was given to the organisation it is the owner's
			p.line(1, "seen: %s", d.Seen)
		}
	}
	if v.NotRequired != "" {
		p.line(0, "")
		p.line(0, "valid from the beginning: %s", v.NotRequired)
	}
	for _, c := range v.Challenges {
		p.challenge(c)
	}
}

func (p page) challenge(c challengeView) {
	p.line(0, "")
	p.line(0, "%s: %s", c.Method, c.Status)
	if !c.Begun.IsZero() {
		p.line(1, "the client was ready at %s", utc(c.Begun))
	}
	if v := c.Validated; v != nil {
		p.line(1, "validated at %s, usable until %s", utc(v.At), utc(v.Until))
		if v.Seen != "" {
			p.line(1, "seen: %s", v.Seen)
		}
		if v.Secure {
			p.line(1, "DNSSEC authenticated the answers that were used")
		}
		if v.CAASeen != "" {
			p.line(1, "CAA permitted it at %s: %s", utc(v.CAAAt), v.CAASeen)
		}
	}
	if f := c.Hindered; f != nil {
		p.line(1, "the last attempt, at %s, said nothing about the name: %s", utc(f.At), f.Detail)
		if !c.Due.IsZero() {
			p.line(1, "it is tried again at %s", utc(c.Due))
		}
		p.record(f.Record)
	}
	if f := c.Failed; f != nil {
		p.line(1, "failed at %s (%s): %s", utc(f.At), f.Kind, f.Detail)
		p.record(f.Record)
	}
}

// record writes what a validation saw, in the order in which it happened.
func (p page) record(raw json.RawMessage) {
	var r dcv.Record
	if len(raw) == 0 || json.Unmarshal(raw, &r) != nil {
		p.line(1, "nothing was asked")
		return
	}
	p.line(1, "started at %s, waited %s for a place, took %s", utc(r.Started), took(r.Waited), took(r.Took))
	n := 0
	for _, h := range r.Hops {
		n++
		p.line(1, "%d. %s", n, h.URL)
		p.hop(h)
	}
	if len(r.CAA) > 0 {
		p.line(1, "%d. CAA", n+1)
	}
	for _, l := range r.CAA {
		p.lookup(l.Lookup)
		for _, record := range l.Records {
			p.line(3, "found %s", record)
		}
	}
	if r.Advice != "" {
		p.line(1, "what to do: %s", r.Advice)
	}
}

func (p page) hop(h dcv.Hop) {
	for _, l := range h.Lookups {
		p.lookup(l)
	}
	for _, a := range h.Addresses {
		if a.Refused != "" {
			p.line(2, "address %s not used: %s", a.Addr.String(), a.Refused)
		}
	}
	for _, d := range h.Dials {
		if d.Failed != "" {
			p.line(2, "connecting to %s: %s (%s)", d.Addr.String(), d.Failed, took(d.Took))
		} else {
			p.line(2, "connected to %s (%s)", d.Addr.String(), took(d.Took))
		}
	}
	if h.Status != 0 {
		p.line(2, "answer: status %d after %s", h.Status, took(h.Answered))
	}
	if h.Redirect != "" {
		p.line(2, "redirected to %s", h.Redirect)
	}
	p.line(2, "took %s", took(h.Took))
}

func (p page) lookup(l dcv.Lookup) {
	p.line(2, "asked %s over %s for %s of %s: %s (%s)", l.Server, l.Network, l.Type, l.Name, l.Result, took(l.Took))
	for _, a := range l.Aliases {
		p.line(3, "alias of %s", a)
	}
	for _, a := range l.Found {
		p.line(3, "found %s", a.String())
	}
	if l.Texts > 0 {
		p.line(3, "found %d TXT records", l.Texts)
	}
	if l.AD {
		p.line(3, "authenticated by DNSSEC")
	}
	for _, text := range l.Explained {
		p.line(3, "the server says: %s", text)
	}
}

package dcv

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Limits on what is repeated of a resolver's explanations. Their texts are the resolver's, or what somebody forged on the
// way (RFC 8914, 6), and end up in errors that strangers read.
const (
	maxEDE     = 3  // explanations of one reply
	maxEDEText = 80 // bytes of one text
)

// extendedError is why a resolver answers as it does (RFC 8914). It explains and, with the exceptions of
// [extendedError.spoils], decides nothing.
type extendedError struct {
	code uint16
	text string // EXTRA-TEXT, as received
}

// String is the code's registered name and number and the text, safe to show.
func (e extendedError) String() string {
	name, known := dns.ExtendedErrorCodeToString[e.code]
	if !known {
		name = "Extended DNS Error"
	}
	shown := fmt.Sprintf("%s (%d)", name, e.code)
	text := strings.TrimSpace(strings.TrimRight(e.text, "\x00")) // RFC 8914, 2: may be null-terminated
	switch {
	case text == "":
		return shown
	case len(text) > maxEDEText:
		return fmt.Sprintf("%s: %+q…", shown, text[:maxEDEText])
	}
	return fmt.Sprintf("%s: %+q", shown, text)
}

// spoils names the result of a reply that is, by the resolver's own word, not what the DNS says now; "" for all others.
// Nothing else lets a validation count, and a name that a resolver blocks has CAA records that nobody saw: its NXDOMAIN
// must not permit. Records that a resolver has been given for a network of its own are its operator's and stay what they
// are; negative says that r has none.
func (e extendedError) spoils(negative bool) string {
	switch e.code {
	case dns.ExtendedErrorCodeStaleAnswer, dns.ExtendedErrorCodeStaleNXDOMAINAnswer: // RFC 8914, 4.4 and 4.20
		return resultStale
	case dns.ExtendedErrorCodeForgedAnswer, dns.ExtendedErrorCodeBlocked, dns.ExtendedErrorCodeCensored,
		dns.ExtendedErrorCodeFiltered, dns.ExtendedErrorCodeProhibited: // RFC 8914, 4.5 and 4.16 to 4.19
		if negative {
			return resultAltered
		}
	}
	return ""
}

// extendedErrors reads the explanations in a reply's OPT record. An option too short for a code is passed over.
func extendedErrors(msg *dns.Msg) []extendedError {
	opt := msg.IsEdns0()
	if opt == nil {
		return nil
	}
	var found []extendedError
	for _, option := range opt.Option {
		var e extendedError
		switch o := option.(type) {
		case *dns.EDNS0_EDE:
			e = extendedError{o.InfoCode, o.ExtraText}
		case *dns.EDNS0_LOCAL:
			if o.Code != dns.EDNS0EDE || len(o.Data) < 2 {
				continue
			}
			e = extendedError{binary.BigEndian.Uint16(o.Data), string(o.Data[2:])}
		default:
			continue
		}
		if len(found) < maxEDE && !slices.Contains(found, e) {
			found = append(found, e)
		}
	}
	return found
}

// explained are the explanations for a record.
func explained(all []extendedError) []string {
	var texts []string
	for _, e := range all {
		texts = append(texts, e.String())
	}
	return texts
}

// outcome is how a lookup ended: the result, and what the resolver says about it.
type outcome struct {
	result string
	ede    []extendedError
	secure bool // a trusted resolver authenticated what was used
}

// outcome of an ask that went through the servers.
func (a *ask) outcome() outcome {
	return outcome{result: a.reply.result, ede: a.reply.ede, secure: a.reply.secure}
}

// says is what follows a failure's detail where the resolver explained it; else empty.
func (o outcome) says() string {
	if len(o.ede) == 0 {
		return ""
	}
	return "; the resolver says: " + strings.Join(explained(o.ede), ", ")
}

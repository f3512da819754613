package dcv

import (
	"context"
	"errors"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Trouble is what was wrong with what a web server answered. Doors have words of their own for it.
type Trouble string

// The troubles.
const (
	TransportFailed Trouble = "transport" // no connection, no TLS or no HTTP
	TooSlow         Trouble = "timeout"
	StatusWrong     Trouble = "status"           // another status than 200, a redirect that is not followed included
	ContentUnusable Trouble = "content-unusable" // empty, too long or no text
	ContentWrong    Trouble = "content-wrong"    // a text, and not the one that was agreed upon
)

// Finding is what a look for a [Publication] found, in words for programs. It holds nothing that a web server sent.
type Finding struct {
	Found   bool    `json:",omitempty"` // the record, or a file with status 200, is there
	Correct bool    `json:",omitempty"` // and it is the one that was agreed upon
	Target  string  `json:",omitempty"` // of a CNAME: where it leads, in printable ASCII of at most 255 characters; empty if there is none
	Trouble Trouble `json:",omitempty"` // of a file: what was wrong; empty if it is correct or was never asked for
	Status  int     `json:",omitempty"` // of a file: the status, where that was wrong
}

// maxTarget is how much of a CNAME's target is kept: a name has no more in print, unless most of it is escaped.
const maxTarget = 255

// shownTarget makes a target safe to show. The resolver gives names in the presentation format of RFC 1035, 5.1.
func shownTarget(target string) string {
	b := []byte(target[:min(len(target), maxTarget)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// settle gives a record of a method that is Published a finding, if it has none, from what the validation ended with.
func (r *Record) settle(m Method, err *problem.Error) {
	if r.Finding != nil || !m.Published() || err == nil {
		return
	}
	r.Finding = &Finding{}
	if !m.byFile() {
		return
	}
	r.Finding.Trouble = TransportFailed
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		r.Finding.Trouble = TooSlow
	}
}

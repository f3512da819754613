package ra

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// emailEntry is a validation by e-mail as the journal holds it: who was written to, by which method that would prove what, and who
// answered when and from where. The hashes of codes are in it, so that mails that are on their way stay good.
type emailEntry struct {
	Begun   time.Time    `json:"begun"`
	Expires time.Time    `json:"expires"`
	Links   []linkEntry  `json:"links"`
	Wrong   int          `json:"wrong,omitempty"`
	Outcome EmailOutcome `json:"outcome"`
	Ended   time.Time    `json:"ended,omitzero"`
	Address string       `json:"address,omitempty"`
	From    string       `json:"from,omitempty"`
}

type linkEntry struct {
	ID      string     `json:"id"`
	Code    string     `json:"code"` // SHA-256 in hex
	Address string     `json:"address"`
	Method  dcv.Method `json:"method"`
	Source  string     `json:"source"`
	Secure  bool       `json:"dnssec,omitempty"`
	Sent    time.Time  `json:"sent"`
	Sends   int        `json:"sends"`
}

func newEmailEntry(v *EmailValidation) *emailEntry {
	if v == nil {
		return nil
	}
	e := &emailEntry{Begun: v.Begun, Expires: v.Expires, Wrong: v.Wrong, Outcome: v.Outcome, Ended: v.Ended, Address: v.Address, From: v.From}
	for _, l := range v.Links {
		e.Links = append(e.Links, linkEntry{
			ID: l.ID, Code: hex.EncodeToString(l.Code[:]), Address: l.Address, Method: l.Method, Source: l.Source, Secure: l.Secure, Sent: l.Sent, Sends: l.Sends,
		})
	}
	return e
}

// validation reads an entry; nil of a nil one.
func (e *emailEntry) validation() (*EmailValidation, error) {
	if e == nil {
		return nil, nil
	}
	v := &EmailValidation{Begun: e.Begun, Expires: e.Expires, Wrong: e.Wrong, Outcome: e.Outcome, Ended: e.Ended, Address: e.Address, From: e.From}
	for _, l := range e.Links {
		link := EmailLink{ID: l.ID, Address: l.Address, Method: l.Method, Source: l.Source, Secure: l.Secure, Sent: l.Sent, Sends: l.Sends}
		if n, err := hex.Decode(link.Code[:], []byte(l.Code)); err != nil || n != len(link.Code) || len(l.Code) != 2*n {
			return nil, errors.New("a code's hash is none")
		}
		v.Links = append(v.Links, link)
	}
	return v, v.Check()
}

// Check refuses a validation that no version of this program records.
func (v *EmailValidation) Check() error {
	switch v.Outcome {
	case EmailPending, EmailConfirmed, EmailRejected:
	default:
		return fmt.Errorf("a validation by e-mail with an unknown outcome: %q", v.Outcome)
	}
	if len(v.Links) == 0 {
		return errors.New("a validation by e-mail with no address")
	}
	for _, l := range v.Links {
		switch l.Method {
		case dcv.EmailConstructed, dcv.EmailCAA, dcv.EmailTXT:
		default:
			return fmt.Errorf("a validation by e-mail with an unknown method: %q", l.Method)
		}
	}
	return nil
}

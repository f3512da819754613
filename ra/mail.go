package ra

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// MailKind says what a mail is about, and with that which template renders it (package notify).
type MailKind string

// The mails there are. Each names the words of [Mail].Data that its template wants.
const (
	// MailDomainValidation asks a domain's contact to confirm that it may be used. Its secret is the end of the link.
	// Data: "domain"; "organisation", who asks; "link", the address of the page up to the secret; "until", RFC 3339.
	MailDomainValidation MailKind = "domain-validation"
	// MailEvent tells of an [Event] about a request or certificate. Data: "event", its kind; "enrollment"; "organisation";
	// "profile"; "names"; "time"; what else the kind has: "actor", "detail", "serial", "not_after", "days".
	MailEvent MailKind = "event"
)

// Mail is one message to one address: from the commit that asks for it until it is delivered or its time is over.
type Mail struct {
	ID   string // 128 random bits, base64url; also what its Message-ID and its sealed secret are bound to
	Org  auth.OrgID
	Kind MailKind
	To   string            // one address, ASCII, local@domain without comments or quotes
	Data map[string]string // words for the template, no secrets; shown to operators
	// Sealed is a secret for the template, sealed under seal.MailSecret with ID as the object; nil: it has none. It is
	// opened when the mail is rendered, and gone once that is delivered or given up.
	Sealed  []byte
	Created time.Time
	Until   time.Time // it is of no use after that, and given up

	Due      time.Time // when it is tried next, or another gateway may take it over; zero once it was given up
	Taken    bool      // a gateway is sending it, until Due
	Attempts int       // answers of a server that asked to come again
	Trouble  string    // what hindered the last attempt, for operators; at most MaxTrouble octets
	GivenUp  time.Time // zero while it is queued

	Version [16]byte // of the record as read; zero before it exists
}

// MaxTrouble bounds [Mail].Trouble, in octets.
const MaxTrouble = 300

// NewMailID makes a mail's ID. Whoever seals a secret for a mail needs it first.
func NewMailID() string {
	var raw [16]byte
	rand.Read(raw[:]) // never fails: crypto/rand aborts the process instead
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// Mailer delivers the mails that the store holds (package notify).
type Mailer interface {
	// Kick says that mails were recorded. It neither blocks nor fails: a sweep finds them as well.
	Kick()
	// TryNow is Kick for somebody who knows that the mail server works again: it ends the pause after a failure.
	TryNow()
}

package notify

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// maxWord is how much of one word of a mail is shown, in characters.
	maxWord = 2000
	// maxSubject bounds a subject, so that it is one line (RFC 5322, 2.1.1: 78).
	maxSubject = 70
)

// Message is a mail as a server is given it: one recipient, text alone.
type Message struct {
	ID      string // of the mail; its Message-ID is made of it
	To      string
	Date    time.Time
	Subject string // printable ASCII
	Body    string // lines of UTF-8 that end with "\n"
}

// CheckAddress is nil for an address of the form local@domain that every program reads as one and the same: in the local part
// letters, digits and - _ + = between single dots, no hyphen first, and a DNS name behind the @, all in ASCII.
func CheckAddress(address string) error {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || len(address) > 254 || len(local) > 64 { // RFC 5321, 4.5.3.1
		return fmt.Errorf("%q is no address; write for example ca@example.com", address)
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !plain(r) }) || strings.HasPrefix(local, "-") {
			return fmt.Errorf("%q: the part before the @ may have letters, digits, - _ + = and single dots between them", address)
		}
	}
	name, err := identifier.ParseDNS(domain)
	if err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	if name.IsWildcard() || name.Value() != domain {
		return fmt.Errorf("%q: write the part behind the @ as %s", address, strings.TrimPrefix(name.Value(), "*."))
	}
	return nil
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_+=", r)
}

// render writes a mail, with its secret if it has one. Words that strangers may have chosen cannot make a line of their own.
func render(m *ra.Mail, secret string) (*Message, error) {
	if err := CheckAddress(m.To); err != nil {
		return nil, err
	}
	name := string(m.Kind)
	if m.Kind == ra.MailEvent {
		name = m.Data["event"]
	}
	if templates.Lookup(name+" subject") == nil || templates.Lookup(name) == nil {
		return nil, fmt.Errorf("there is no text for mails of the kind %q", name)
	}
	words := make(map[string]string, len(m.Data)+1)
	for k, v := range m.Data {
		words[k] = oneLine(v)
	}
	if secret != "" {
		words["secret"] = secret
	}
	for _, word := range needed[name] {
		if words[word] == "" {
			return nil, fmt.Errorf("it lacks the word %q", word)
		}
	}
	var subject, body bytes.Buffer
	if err := templates.ExecuteTemplate(&subject, name+" subject", words); err != nil {
		return nil, err
	}
	if err := templates.ExecuteTemplate(&body, name, words); err != nil {
		return nil, err
	}
	return &Message{
		ID: m.ID, To: m.To, Date: m.Created, Subject: inASCII(strings.TrimSpace(subject.String())), Body: strings.TrimSpace(body.String()) + "\n",
	}, nil
}

// oneLine is a word that is printable, and no longer than anybody reads.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		default:
			return r
		}
	}, s)
	if r := []rune(s); len(r) > maxWord {
		s = string(r[:maxWord]) + "..."
	}
	return s
}

// inASCII is a line for a header.
func inASCII(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxSubject {
		s = s[:maxSubject-3] + "..."
	}
	return s
}

package ra_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

var here = netip.MustParseAddr("192.0.2.7")

// postbook has the addresses of every name: admin@ it, admin@ what is above it, and what it publishes.
type postbook struct {
	mu        sync.Mutex
	published []dcv.EmailContact
	failures  []string
	route     error
	insecure  bool
	until     []time.Time // to which the looks for the way to addresses were bounded; zero: they were not
}

func (p *postbook) EmailContacts(_ context.Context, name identifier.Identifier, _ dcv.DNSSEC) (*dcv.EmailContacts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := &dcv.EmailContacts{Failures: p.failures}
	for at := name.Value(); strings.Contains(at, "."); _, at, _ = strings.Cut(at, ".") {
		for _, local := range []string{"admin", "postmaster"} {
			found.Contacts = append(found.Contacts, dcv.EmailContact{Address: local + "@" + at, Method: dcv.EmailConstructed, Source: "constructed at " + at, Secure: true})
		}
	}
	found.Contacts = append(found.Contacts, p.published...)
	return found, nil
}

func (p *postbook) MailRoute(ctx context.Context, _ string, _ dcv.DNSSEC) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, _ := ctx.Deadline()
	p.until = append(p.until, until)
	return !p.insecure, p.route
}

// patient lets everything be tried, and counts.
type patient struct {
	mu    sync.Mutex
	tried map[string]int // by name and whose
	// before is called once, at the next try of a code: after the link was read, and before anything is changed.
	before func()
}

func (p *patient) Attempt(_ context.Context, rates ...auth.AttemptRate) (time.Duration, error) {
	p.mu.Lock()
	var before func()
	for _, r := range rates {
		p.tried[r.Name+"/"+r.Of]++
		if r.Name == "email-at" {
			before, p.before = p.before, nil
		}
	}
	p.mu.Unlock()
	if before != nil {
		before()
	}
	return 0, nil
}

// emailWorld is a world whose domains are validated by e-mail.
type emailWorld struct {
	*domainWorld
	book   *postbook
	sealer *seal.Sealer
	tries  *patient
	codes  map[string]bool // all that were ever opened
}

func newEmailWorld(t *testing.T) *emailWorld {
	t.Helper()
	return emailOver(t, newDomainWorld(t))
}

func emailOver(t *testing.T, d *domainWorld) *emailWorld {
	t.Helper()
	w := &emailWorld{domainWorld: d, book: &postbook{}, tries: &patient{tried: map[string]int{}}, codes: map[string]bool{}}
	var raw [32]byte
	rand.Read(raw[:])
	key, err := seal.NewKey(raw[:])
	must(t, err)
	w.sealer, err = seal.New(key)
	must(t, err)
	w.Domains = w.gateway(w.tries)
	d.reg.Domains = w.Domains
	return w
}

// gateway is one more gateway on the same store.
func (w *emailWorld) gateway(tries ra.EmailTries) *ra.Domains {
	c := w.Domains.DomainsConfig
	c.Email = &ra.EmailConfig{Finder: w.book, Sealer: w.sealer, Tries: tries, Page: "https://ca.example.net/dcv/email/"}
	return ra.NewDomains(c)
}

// letter is a mail as whoever it is sent to reads it.
type letter struct{ To, ID, Code, Link string }

// letters are all mails that are queued, the oldest first.
func (w *emailWorld) letters() []letter {
	w.t.Helper()
	mails, err := w.db.Mails(w.t.Context(), false, nil, 100)
	must(w.t, err)
	var list []letter
	for _, m := range mails {
		code, err := w.sealer.Open(w.t.Context(), seal.MailSecret, m.ID, m.Sealed)
		must(w.t, err)
		link := m.Data["link"]
		id := strings.TrimSuffix(strings.TrimPrefix(link, "https://ca.example.net/dcv/email/"), "/")
		if m.Kind != ra.MailDomainValidation || id == "" || link != "https://ca.example.net/dcv/email/"+id+"/" || len(code) != 22 {
			w.t.Fatalf("%+v", m)
		}
		w.codes[string(code)] = true
		list = append(list, letter{m.To, id, string(code), link + string(code)})
	}
	return list
}

// deliver takes the mails out of the queue.
func (w *emailWorld) deliver() []letter {
	w.t.Helper()
	list := w.letters()
	mails, err := w.db.Mails(w.t.Context(), false, nil, 100)
	must(w.t, err)
	for _, m := range mails {
		must(w.t, w.db.RemoveMail(w.t.Context(), m))
	}
	return list
}

// code is the one that a hash is of, of those that were opened.
func (w *emailWorld) code(hash [32]byte) string {
	w.t.Helper()
	for code := range w.codes {
		if sha256.Sum256([]byte(code)) == hash {
			return code
		}
	}
	w.t.Fatal("no mail has the code")
	return ""
}

// asked is a domain whose validation by e-mail is under way, and the mails.
func (w *emailWorld) asked(domain, slug string, addresses ...string) []letter {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.Add(ctx, operator, domain, slug); err != nil && !problem.Is(err, problem.Conflict) {
		w.t.Fatal(err)
	}
	_, err := w.ValidateByEmail(ctx, operator, domain, addresses)
	must(w.t, err)
	list := w.deliver()
	if len(list) != len(addresses) {
		w.t.Fatalf("%d mails to %v", len(list), addresses)
	}
	slices.SortFunc(list, func(a, b letter) int { return slices.Index(addresses, a.To) - slices.Index(addresses, b.To) })
	return list
}

func (w *emailWorld) press(l letter) (*ra.EmailQuestion, error) {
	return w.AnswerEmail(w.t.Context(), ra.EmailAnswer{ID: l.ID, Code: l.Code, From: here})
}

func (w *emailWorld) confirms(l letter) {
	w.t.Helper()
	if q, err := w.press(l); err != nil || q.State != ra.EmailConfirmed {
		w.t.Fatalf("%+v, %v", q, err)
	}
}

func (w *emailWorld) record(domain string) *ra.Domain {
	w.t.Helper()
	found, err := w.db.Domains(w.t.Context(), ids(w.t, domain))
	must(w.t, err)
	return found[0]
}

// said is everything the journal holds.
func (w *emailWorld) said() []byte {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	var b bytes.Buffer
	for _, e := range w.journal.events {
		b.Write(e.Data)
		b.WriteString(e.Detail + e.Actor)
	}
	return b.Bytes()
}

// last is what the journal was told last.
func (w *emailWorld) last() audit.Event {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	return w.journal.events[len(w.journal.events)-1]
}

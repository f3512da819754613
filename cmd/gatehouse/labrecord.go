package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// labRecordCmd changes records of a running lab.
type labRecordCmd struct {
	Add    labRecordAddCmd    `cmd:"" help:"Add the record. Without arguments it is that of which certbot tells a hook."`
	Remove labRecordRemoveCmd `cmd:"" help:"Remove it again."`
}

// labRecordFlags name a record; certbot's hooks get it in their environment.
type labRecordFlags struct {
	Data string `help:"Data folder of the lab. Not needed while one alone runs." type:"path"`
	Name string `arg:"" optional:"" env:"CERTBOT_DOMAIN" help:"The name that is validated."`
	Text string `arg:"" optional:"" env:"CERTBOT_VALIDATION" help:"The digest of the key authorization (RFC 8555, 8.4)."`
}

func (f labRecordFlags) change(ctx context.Context, add bool) error {
	if f.Name == "" || f.Text == "" {
		return fmt.Errorf("name the record: gatehouse lab record add www.example.com DIGEST; certbot's hooks get it from CERTBOT_DOMAIN and CERTBOT_VALIDATION")
	}
	l, err := findLab(f.Data)
	if err != nil {
		return err
	}
	return labRecord{server: l.DNS, name: f.Name, text: f.Text}.change(ctx, add)
}

type labRecordAddCmd struct{ labRecordFlags }

func (c *labRecordAddCmd) Run(ctx context.Context) error { return c.change(ctx, true) }

type labRecordRemoveCmd struct{ labRecordFlags }

func (c *labRecordRemoveCmd) Run(ctx context.Context) error { return c.change(ctx, false) }

// labRecord is the TXT record of a dns-01 challenge.
type labRecord struct {
	server string // host:port
	name   string // that is validated, without "*."
	text   string
}

// change adds or removes the record by a dynamic update (RFC 2136), at the end of the aliases of the challenge's name.
func (r labRecord) change(ctx context.Context, add bool) error {
	owner, err := r.owner(ctx)
	if err != nil {
		return err
	}
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{r.text}}
	m := new(dns.Msg)
	m.SetUpdate(owner)
	if add {
		m.Insert([]dns.RR{txt})
	} else {
		m.Remove([]dns.RR{txt})
	}
	reply, err := r.ask(ctx, m)
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("the lab's DNS server answers the update of %s with %s", owner, dns.RcodeToString[reply.Rcode])
	}
	return err
}

// owner follows aliases, as far as an alias can be meant to go.
func (r labRecord) owner(ctx context.Context) (string, error) {
	owner := dns.Fqdn(acmeChallenge + strings.TrimPrefix(r.name, "*."))
	if _, ok := dns.IsDomainName(owner); !ok {
		return "", fmt.Errorf("%q is no name", r.name)
	}
	for range 10 {
		m := new(dns.Msg)
		m.SetQuestion(owner, dns.TypeCNAME)
		reply, err := r.ask(ctx, m)
		if err != nil {
			return "", err
		}
		if len(reply.Answer) == 0 {
			break
		}
		alias, ok := reply.Answer[0].(*dns.CNAME)
		if !ok {
			break
		}
		owner = dns.CanonicalName(alias.Target)
	}
	return owner, nil
}

func (r labRecord) ask(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	client := &dns.Client{Timeout: 10 * time.Second}
	reply, _, err := client.ExchangeContext(ctx, m, r.server)
	if err != nil {
		return nil, fmt.Errorf("the lab's DNS server at %s does not answer: %w", r.server, err)
	}
	return reply, nil
}

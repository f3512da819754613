package ra_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// meter is a time that stands still: of every rate its burst can be had, and no more.
type meter struct {
	mu   sync.Mutex
	used map[string]int // by name and whose
}

func (m *meter) Attempt(_ context.Context, rates ...auth.AttemptRate) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range rates {
		for _, other := range rates[:i] {
			if other == r {
				return 0, fmt.Errorf("%s/%s is named twice", r.Name, r.Of)
			}
		}
		if m.used[r.Name+"/"+r.Of] >= r.Burst {
			return r.Interval, nil
		}
	}
	for _, r := range rates {
		m.used[r.Name+"/"+r.Of]++
	}
	return 0, nil
}

// meteredStore is a store whose rates are a meter's.
type meteredStore struct {
	ra.DomainStore
	meter *meter
}

func (s meteredStore) Attempt(ctx context.Context, rates ...auth.AttemptRate) (time.Duration, error) {
	return s.meter.Attempt(ctx, rates...)
}

// metered are the domains of a world under a meter, of which some was used.
func metered(w *emailWorld, used map[string]int) *ra.Domains {
	m := &meter{used: used}
	c := w.gateway(m).DomainsConfig
	c.Store = meteredStore{c.Store, m}
	return ra.NewDomains(c)
}

// managerOf manages the domains of an organisation and of those below it.
func managerOf(org auth.OrgID) auth.Caller {
	return auth.Caller{Principal: fmt.Sprintf("user:%d", org), Org: org, Roles: []auth.Grant{{Org: org, Role: auth.Administrator}}}
}

// TestLookupsOfACustomerAreBounded: somebody with many domains, of several organisations, does not take the places of other customers.
func TestLookupsOfACustomerAreBounded(t *testing.T) {
	t.Parallel()
	w, ctx := newEmailWorld(t), t.Context()
	w.Domains = metered(w, map[string]int{"domain-lookups/1": 97})
	boss, other := managerOf(1), managerOf(2)
	submit := func(caller auth.Caller, name, slug string) *ra.Domain {
		_, err := w.Add(ctx, caller, name, slug)
		must(t, err)
		d, err := w.Begin(ctx, caller, name, dcv.DNSCNAME, "")
		must(t, err)
		w.dns.publish(d.Validation)
		d, err = w.Submit(ctx, caller, name, dcv.DNSCNAME, false)
		must(t, err)
		return d
	}
	for i, slug := range []string{"main", "below"} {
		if submit(boss, fmt.Sprintf("a%d.example.com", i), slug).Proof == nil {
			t.Errorf("%s: not looked at", slug)
		}
	}
	_, err := w.EmailAddresses(ctx, boss, "a0.example.com")
	must(t, err)
	d := submit(boss, "a2.example.com", "far")
	if w.at(d, nil, ra.StageSubmitted).Proof != nil || len(w.dns.asked) != 2 {
		t.Errorf("%d looks were taken", len(w.dns.asked))
	}
	_, err = w.EmailAddresses(ctx, boss, "a0.example.com")
	if wantKind(t, err, problem.RateLimited); problem.From(err).RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
	_, err = w.ValidateByEmail(ctx, boss, "a0.example.com", []string{"admin@example.com"})
	wantKind(t, err, problem.RateLimited)
	if len(w.letters()) != 0 {
		t.Error("a mail was sent")
	}
	if submit(other, "example.org", "other").Proof == nil {
		t.Error("another customer is not looked at")
	}
	_, err = w.EmailAddresses(ctx, other, "example.org")
	must(t, err)
	_, err = w.EmailAddresses(ctx, operator, "a0.example.com")
	must(t, err)
}

// TestMailsAreBounded: one mailbox is one whatever tags its address has, and a customer sends so many mails wherever they go.
func TestMailsAreBounded(t *testing.T) {
	t.Parallel()
	w, ctx := newEmailWorld(t), t.Context()
	w.Domains = metered(w, map[string]int{"email-by/1": 198})
	for name, slug := range map[string]string{"example.com": "main", "below.example.com": "below", "example.org": "other"} {
		_, err := w.Add(ctx, operator, name, slug)
		must(t, err)
	}
	send := func(caller auth.Caller, domain string, addresses ...string) error {
		w.book.published = nil
		for _, address := range addresses {
			w.book.published = append(w.book.published, dcv.EmailContact{Address: address, Method: dcv.EmailTXT, Source: "published"})
		}
		_, err := w.ValidateByEmail(ctx, caller, domain, addresses)
		return err
	}
	for i := range 9 {
		must(t, send(operator, "example.com", fmt.Sprintf("Jo+%d@example.net", i)))
	}
	must(t, send(operator, "example.com", "JO@example.net", "jo@example.net")) // of one mailbox at once it is one
	wantKind(t, send(operator, "example.com", "jo+x@example.net"), problem.RateLimited)

	boss := managerOf(1)
	must(t, send(boss, "example.com", "a@example.net"))
	_, err := w.ResendEmail(ctx, boss, "example.com", []string{"a@example.net"})
	must(t, err)
	wantKind(t, send(boss, "below.example.com", "b@example.net"), problem.RateLimited)
	must(t, send(managerOf(2), "example.org", "b@example.net"))
	must(t, send(operator, "example.com", "b@example.net"))
}

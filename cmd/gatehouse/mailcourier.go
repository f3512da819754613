package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// mailCheckWithin bounds how long a check waits for the mail server.
	mailCheckWithin = 15 * time.Second
	// mailMetricsWithin bounds what a scrape waits for the store.
	mailMetricsWithin = 3 * time.Second
	// oldestOf is among how many mails, those that are due first, a scrape looks for the oldest.
	oldestOf = 100
)

// sendsMail reports whether a mail server is configured.
func (s *settings) sendsMail() bool { return s.mail != nil }

// recorded is told by the store of commits that put something into the outbox.
func (c *core) recorded() {
	if c.work != nil {
		c.work.Kick(notify.Sweep)
	}
}

// openMail makes what delivers mail.
func (c *core) openMail() (err error) {
	s := c.settings
	config := notify.Config{
		Store: c.db, Sealer: s.sealer, Work: c.work, Rules: c.rules(), Replaced: c.registrar.ReplacedBy, Observe: s.mailed, Now: c.clock.Now, Log: s.log,
		Organisation: func(id int32) string {
			org, _ := c.organisations.ByID(auth.OrgID(id))
			return org.Slug
		},
		Organisations: func() []int32 {
			var ids []int32
			for _, o := range c.organisations.All() {
				ids = append(ids, int32(o.ID))
			}
			return ids
		},
	}
	if m := s.mail; m != nil {
		config.SendTimeout, config.Connections = m.timeout, m.connections
		if config.Transport, err = notify.NewSMTP(m.server); err != nil {
			return err
		}
	}
	if c.courier, err = notify.New(config); err != nil {
		return err
	}
	c.mails = &ra.MailQueue{Store: c.db, Mailer: c.courier, May: c.organisations.May, Journal: c.journal, Now: c.clock.Now}
	return nil
}

// checkMail says whether the mail server takes the gateway for a client: it connects, demands TLS, authenticates and leaves.
func checkMail(ctx context.Context, s *settings) []checkResult {
	if s.mail == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mailCheckWithin)
	defer cancel()
	server := s.mail.server
	transport, err := notify.NewSMTP(server)
	if err == nil {
		err = transport.Check(ctx)
	}
	if err != nil {
		return []checkResult{{"mail", false, err.Error()}}
	}
	how := "over TLS"
	if server.TLS == notify.Cleartext {
		how = "in clear"
	}
	return []checkResult{{"mail", true, fmt.Sprintf("%s:%d takes mail of %s %s", server.Host, server.Port, server.From, how)}}
}

// mailOutcomes counts what becomes of attempts at mails.
func mailOutcomes(reg prometheus.Registerer) (count func(notify.Outcome), err error) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_mail_attempts_total",
		Help: "Attempts at mails: sent, deferred by the server, unreached server, refused for good, or expired.",
	}, []string{"outcome"})
	for _, o := range notify.Outcomes() {
		counter.WithLabelValues(string(o))
	}
	return func(o notify.Outcome) { counter.WithLabelValues(string(o)).Inc() }, reg.Register(counter)
}

// mailGauges are how many mails wait and were given up, on all gateways of the store, and how old the oldest is.
type mailGauges struct {
	core                 func() *core
	queued, lost, oldest *prometheus.Desc
	now                  func() time.Time
}

func newMailGauges(current func() *core) *mailGauges {
	return &mailGauges{
		core: current, now: time.Now,
		queued: prometheus.NewDesc("gatehouse_mails_queued", "Mails that wait to be sent, of all gateways of the store.", nil, nil),
		lost:   prometheus.NewDesc("gatehouse_mails_lost", "Mails that were given up in the last 30 days.", nil, nil),
		oldest: prometheus.NewDesc("gatehouse_mail_oldest_age_seconds", "Age of the oldest of the hundred mails that are due first; 0 if none waits.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *mailGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.queued, g.lost, g.oldest} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. While the store does not answer there are no such metrics.
func (g *mailGauges) Collect(ch chan<- prometheus.Metric) {
	c := g.core()
	if c == nil || !c.entrance.enter() {
		return
	}
	defer c.entrance.inside.Done()
	ctx, cancel := context.WithTimeout(context.Background(), mailMetricsWithin)
	defer cancel()
	queued, lost, err := c.db.MailQueue(ctx)
	if err != nil {
		return
	}
	oldest := time.Duration(0)
	if queued > 0 {
		first, err := c.db.Mails(ctx, false, nil, oldestOf)
		if err != nil {
			return
		}
		for _, m := range first {
			oldest = max(oldest, g.now().Sub(m.Created))
		}
	}
	ch <- prometheus.MustNewConstMetric(g.queued, prometheus.GaugeValue, float64(queued))
	ch <- prometheus.MustNewConstMetric(g.lost, prometheus.GaugeValue, float64(lost))
	ch <- prometheus.MustNewConstMetric(g.oldest, prometheus.GaugeValue, oldest.Seconds())
}

// openMailMetrics registers what is told of mail, where a server is configured.
func (g *gateway) openMailMetrics() (err error) {
	if !g.settings.sendsMail() {
		return nil
	}
	if g.settings.mailed, err = mailOutcomes(g.registry); err != nil {
		return err
	}
	return g.registry.Register(newMailGauges(g.core.Load))
}

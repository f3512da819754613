package publish

import (
	"testing"
	"time"
)

const benchEntries = 10_000

// BenchmarkBuild is one rebuild of a list of 10,000 entries: read, compare, sign (by crypto/x509), verify, compare, save.
func BenchmarkBuild(b *testing.B) {
	store := newStore()
	store.fill(benchEntries, time.Now(), time.Now().AddDate(1, 0, 0))
	p := newPublisher(b, store, func(c *Config) { c.Interval = 1 })
	for b.Loop() {
		if err := p.build(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(store.list.DER)), "octets")
}

// BenchmarkPoll is what a poll costs when nothing changed.
func BenchmarkPoll(b *testing.B) {
	store := newStore()
	store.fill(benchEntries, time.Now(), time.Now().AddDate(1, 0, 0))
	p := newPublisher(b, store, nil)
	if err := p.build(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := p.build(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if store.saves != 1 {
		b.Fatal("a poll built a list")
	}
}

// BenchmarkParse is the share of parsing and verifying what was signed.
func BenchmarkParse(b *testing.B) {
	store := newStore()
	store.fill(benchEntries, time.Now(), time.Now().AddDate(1, 0, 0))
	if err := newPublisher(b, store, nil).build(b.Context()); err != nil {
		b.Fatal(err)
	}
	der := store.list.DER
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(der, authority().Certificate); err != nil {
			b.Fatal(err)
		}
	}
}

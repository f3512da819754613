package publish

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestNumbersAndTimesRise(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	start := clk.now()
	steps := []struct {
		name       string
		move       time.Duration
		number     int64
		thisUpdate time.Time
	}{
		{"the first takes the time", 0, 1000 * start.Unix(), start},
		{"the same second takes the next number", 300 * time.Millisecond, 1000*start.Unix() + 1, start},
		{"a later second takes the time", 10 * time.Second, 1000 * (start.Unix() + 10), start.Add(10 * time.Second)},
		{"a clock that went back moves neither", -time.Hour, 1000*(start.Unix()+10) + 1, start.Add(10 * time.Second)},
	}
	for i, step := range steps {
		clk.add(step.move)
		store.revoke(Revoked{Serial: serialOf(i), At: clk.now(), Reason: 4, NotAfter: start.Add(1000 * time.Hour)})
		if err := p.build(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		list := storedList(t, store)
		if list.number != step.number || !list.thisUpdate.Equal(step.thisUpdate) {
			t.Errorf("%s: number %d thisUpdate %v, want %d %v", step.name, list.number, list.thisUpdate, step.number, step.thisUpdate)
		}
		if got := list.nextUpdate.Sub(list.thisUpdate); got != 24*time.Hour {
			t.Errorf("%s: lifetime %v", step.name, got)
		}
	}
}

// Each row turns a good second build into one that must be refused; the first list must stay, stored and served.
func TestRefused(t *testing.T) {
	other, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	edited := func(edit func(*x509.RevocationList)) func(context.Context, string, List) ([]byte, error) {
		return func(_ context.Context, _ string, list List) ([]byte, error) {
			tmpl := template(list)
			edit(tmpl)
			return signTemplate(tmpl, authority().Certificate, authority().Key)
		}
	}
	critical := pkix.Extension{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0x00}}
	first := serialOf(1)
	tests := []struct {
		name string
		lose func(*fakeStore) // what the store does
		sign func(context.Context, string, List) ([]byte, error)
		want string
	}{
		{name: "the store loses an entry", lose: func(s *fakeStore) { delete(s.revoked, first) }, want: "would be lost"},
		{name: "a reason falls to unspecified", lose: setReason(first, 0), want: "change its reason from 4 to 0"},
		{name: "a reason moves sideways", lose: setReason(first, 5), want: "change its reason from 4 to 5"},
		{name: "RFC 5280 5.3.1: hold", lose: setReason(serialOf(3), 6), want: "must not be on a list"},
		{name: "RFC 5280 5.3.1: unused 7", lose: setReason(serialOf(3), 7), want: "must not be on a list"},
		{name: "RFC 5280 5.3.1: remove", lose: setReason(serialOf(3), 8), want: "must not be on a list"},
		{name: "RFC 5280 4.1.2.2: serial zero", lose: addSerial("00"), want: "malformed serial"},
		{name: "RFC 5280 4.1.2.2: 21 octets", lose: addSerial(ca.Serial(strings.Repeat("11", 21))), want: "malformed serial"},
		{name: "padded serial", lose: addSerial("0011"), want: "malformed serial"},
		{name: "upper-case serial", lose: addSerial("0A"), want: "malformed serial"},
		{name: "serial that is not hex", lose: addSerial("0g"), want: "malformed serial"},
		{name: "RFC 5280 4.1.2.2: 20 octets and a sign", lose: addSerial(ca.Serial(strings.Repeat("ff", 20))), want: "malformed serial"},
		{name: "odd serial", lose: addSerial("123"), want: "malformed serial"},
		{name: "the signer loses an entry", sign: edited(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = l.RevokedCertificateEntries[1:]
		}), want: "is missing"},
		{name: "the signer adds an entry", sign: edited(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: big.NewInt(1), RevocationTime: time.Now()})
		}), want: "was not asked for"},
		{name: "the signer changes a reason", sign: edited(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ReasonCode = 2
		}), want: "another reason"},
		{name: "the signer goes back in number", sign: edited(func(l *x509.RevocationList) {
			l.Number = big.NewInt(7)
		}), want: "has number 7"},
		{name: "the signer goes back in time", sign: edited(func(l *x509.RevocationList) {
			l.ThisUpdate = l.ThisUpdate.Add(-time.Hour)
		}), want: "other times"},
		{name: "the signer shortens it", sign: edited(func(l *x509.RevocationList) {
			l.NextUpdate = l.NextUpdate.Add(-time.Hour)
		}), want: "other times"},
		{name: "RFC 5280 5.2.5: another distribution point", sign: edited(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Critical: true, Value: []byte{0x30, 0x00}}}
		}), want: "distribution point"},
		{name: "RFC 5280 5.3.1: unspecified is stated", sign: stateUnspecified, want: "states the reason unspecified"},
		{name: "RFC 5280 5.3: critical entry extension", sign: edited(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{critical}
		}), want: "critical extension"},
		{name: "another key signed it", sign: func(_ context.Context, _ string, list List) ([]byte, error) {
			return signTemplate(template(list), authority().Certificate, other.Intermediate.Key)
		}, want: "does not verify"},
		{name: "another issuer signed it", sign: func(_ context.Context, _ string, list List) ([]byte, error) {
			return signTemplate(template(list), hierarchy().Root.Certificate, hierarchy().Root.Key)
		}, want: "not the subject"},
		{name: "it does not parse", sign: func(ctx context.Context, issuer string, list List) ([]byte, error) {
			der, err := signList(ctx, issuer, list)
			return der[:len(der)-1], err
		}, want: "does not parse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store, clk, sign := newStore(), newClock(), signList
			p := newPublisher(t, store, func(c *Config) {
				c.Now = clk.now
				c.Sign = func(ctx context.Context, issuer string, list List) ([]byte, error) { return sign(ctx, issuer, list) }
			})
			end := clk.now().Add(1000 * time.Hour)
			store.revoke(Revoked{Serial: first, At: clk.now(), Reason: 4, NotAfter: end})
			store.revoke(Revoked{Serial: serialOf(2), At: clk.now(), Reason: 1, NotAfter: end})
			if err := p.build(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := storedList(t, store)

			clk.add(time.Hour) // due
			if tt.lose != nil {
				tt.lose(store)
			}
			if tt.sign != nil {
				sign = tt.sign
			}
			err := p.build(t.Context())
			refusal, ok := errors.AsType[*RefusedError](err)
			if !ok || !strings.Contains(refusal.Error(), tt.want) {
				t.Errorf("err = %v, want a refusal with %q", err, tt.want)
			}
			if after := storedList(t, store); !bytes.Equal(before.der, after.der) || store.saved() != 1 {
				t.Error("the old list did not stay")
			}
			if st := p.Status()[0]; st.Number != before.number || st.Err == nil || st.ErrAt.IsZero() {
				t.Errorf("status = %+v", st)
			}
			if err := p.Ready(t.Context()); err != nil {
				t.Errorf("the old list still serves, but: %v", err)
			}
		})
	}
}

// stateUnspecified turns reason 4 into a stated 0, which crypto/x509 does not write, and signs again.
func stateUnspecified(ctx context.Context, issuer string, list List) ([]byte, error) {
	der, err := signList(ctx, issuer, list)
	if err != nil {
		return nil, err
	}
	var parts struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		return nil, err
	}
	tbs := bytes.Replace(parts.TBS.FullBytes, []byte{0x0a, 0x01, 0x04}, []byte{0x0a, 0x01, 0x00}, 1)
	digest := sha256.Sum256(tbs)
	signature, err := authority().Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	parts.TBS = asn1.RawValue{FullBytes: tbs}
	parts.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return asn1.Marshal(parts)
}

func setReason(serial ca.Serial, reason ca.Reason) func(*fakeStore) {
	return func(s *fakeStore) {
		r, ok := s.revoked[serial]
		if !ok {
			r = Revoked{Serial: serial, At: time.Now(), NotAfter: time.Now().AddDate(50, 0, 0)}
		}
		r.Reason = reason
		s.revoked[serial] = r
	}
}

func addSerial(serial ca.Serial) func(*fakeStore) { return setReason(serial, 1) }

func TestReasonMayRiseToKeyCompromise(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	for _, reason := range []ca.Reason{4, 1} {
		store.revoke(Revoked{Serial: serialOf(1), At: clk.now(), Reason: reason, NotAfter: clk.now().Add(time.Hour)})
		if err := p.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := storedList(t, store).entries[0].reason; got != reason {
			t.Errorf("reason %d, want %d", got, reason)
		}
	}
}

// RFC 5280, 3.3: an entry must not leave until it was on one list issued beyond its certificate's validity.
func TestEntryLeavesOnlyAfterAListPastExpiry(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now, c.Interval = clk.now, 7*time.Minute })
	gone, stays := serialOf(1), serialOf(2)
	expiry := clk.now().Add(time.Hour)
	store.revoke(Revoked{Serial: gone, At: clk.now(), Reason: 4, NotAfter: expiry})
	store.revoke(Revoked{Serial: stays, At: clk.now(), Reason: 4, NotAfter: expiry.AddDate(1, 0, 0)})

	onListPastExpiry := 0
	for range 20 {
		if err := p.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		list := storedList(t, store)
		if !list.has(stays) {
			t.Fatal("an entry of an unexpired certificate left")
		}
		_, kept := store.revoked[gone]
		switch {
		case list.has(gone) && !kept:
			t.Fatal("the store dropped an entry that is on the list")
		case list.has(gone) && list.thisUpdate.After(expiry):
			onListPastExpiry++
		case !list.has(gone) && onListPastExpiry == 0:
			t.Fatalf("the entry left with the list of %v, its certificate expired at %v", list.thisUpdate, expiry)
		}
		clk.add(7 * time.Minute)
	}
	if storedList(t, store).has(gone) || store.dropped != 1 {
		t.Errorf("the entry of the expired certificate never left (dropped %d)", store.dropped)
	}
	if onListPastExpiry == 0 {
		t.Error("no list past expiry held the entry")
	}
}

// A certificate revoked just before it expires, and long after the last list, is still on the next one.
func TestRevokedJustBeforeExpiryIsListedOnce(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := clk.add(50 * time.Minute)
	store.revoke(Revoked{Serial: serialOf(1), At: at, Reason: 1, NotAfter: at.Add(time.Second)})
	clk.add(5 * time.Minute)
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !storedList(t, store).has(serialOf(1)) {
		t.Error("the entry never appeared")
	}
}

func TestOutcomeOfSavingUnknown(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	store.saveErr = problem.New(problem.Unavailable, "the disk is full")
	if err := p.build(t.Context()); !problem.Is(err, problem.Unavailable) {
		t.Fatalf("err = %v", err)
	}
	if err := p.Ready(t.Context()); err == nil {
		t.Error("ready without a list")
	}
	store.saveErr = nil
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := p.Status()[0]; st.Err != nil || st.Number == 0 {
		t.Errorf("status = %+v", st)
	}
}

func TestNewRefuses(t *testing.T) {
	leaf, err := hierarchy().Leaf("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no store", func(c *Config) { c.Store = nil }, "a store"},
		{"no signer", func(c *Config) { c.Sign = nil }, "a sign function"},
		{"a name that is not a path segment", func(c *Config) { c.Issuers[0].Name = "a/b" }, "use letters"},
		{"a name that climbs", func(c *Config) { c.Issuers[0].Name = ".." }, "use letters"},
		{"a name twice", func(c *Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) }, "twice"},
		{"no certificate", func(c *Config) { c.Issuers[0].Certificate = nil }, "no certificate"},
		{"RFC 5280 4.2.1.3: no cRLSign", func(c *Config) { c.Issuers[0].Certificate = leaf.Leaf }, "cRLSign"},
		{"a broken lifetime", func(c *Config) { c.Lifetime = 1500 * time.Millisecond; c.Interval = 1 }, "whole seconds"},
		{"an interval too long", func(c *Config) { c.Interval = 13 * time.Hour }, "more than half"},
		{"a lease too short", func(c *Config) { c.Lease = time.Millisecond }, "at least a second"},
		{"negative poll", func(c *Config) { c.Poll = -1 }, "positive"},
		{"BR 4.9.7: lifetime", func(c *Config) { c.Public, c.Lifetime = true, 11*24*time.Hour }, "BR 4.9.7"},
		{"BR 4.9.7: interval", func(c *Config) {
			c.Public, c.Lifetime, c.Interval = true, 10*24*time.Hour, 5*24*time.Hour
		}, "BR 4.9.7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Store: newStore(), Sign: signList, Issuers: []Issuer{{"leaf", authority().Certificate}}}
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

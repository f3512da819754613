package auth_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestLockout: a stranger is locked out for a while, and nobody who comes from where he was before.
func TestLockout(t *testing.T) {
	d := newDoorway(t, auth.Lockout{Login: auth.Rate{Burst: 3, Interval: time.Hour}, Known: auth.Rate{Burst: 5, Interval: time.Hour}})
	ref := d.ada()
	elsewhere := netip.MustParseAddr("2001:db8:1::1")
	enter := func(login, password string, from netip.Addr) error {
		_, err := d.a.Password(t.Context(), login, "main", password, from)
		return err
	}
	if err := enter("ada", secretWord, home); err != nil {
		t.Fatal(err)
	}
	for i, login := range []string{"ada", "nobody"} {
		for n := range 4 {
			err := enter(login, "wrong horse battery", elsewhere)
			if limited := n >= 3-(1-i); problem.Is(err, problem.RateLimited) != limited || !limited && !problem.Is(err, problem.Unauthorized) {
				t.Errorf("%s, attempt %d: %v", login, n+1, err)
			} else if limited && (problem.From(err).RetryAfter <= 0 || problem.From(err).Detail != "too many attempts; try again later") {
				t.Errorf("%s is told %+v", login, problem.From(err))
			}
		}
	}
	d.now = d.now.Add(time.Minute) // what was verified is forgotten
	if err := enter("ada", secretWord, elsewhere); !problem.Is(err, problem.RateLimited) {
		t.Errorf("the right one from elsewhere, by chance: %v", err)
	}
	if err := enter("ada", secretWord, home); err != nil {
		t.Errorf("at home: %v", err)
	}
	if err := enter("ADA", secretWord, netip.MustParseAddr("::ffff:192.0.2.1")); err != nil {
		t.Errorf("at home, by another form of the address: %v", err)
	}
	for range 6 {
		enter("ada", "wrong horse battery", home)
	}
	d.now = d.now.Add(time.Minute)
	if err := enter("ada", secretWord, home); !problem.Is(err, problem.RateLimited) {
		t.Errorf("at home after too many: %v", err)
	}
	_, err := d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
	must(t, err)
	d.now = d.now.Add(time.Second)
	_, err = d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
	must(t, err)
	for _, from := range []netip.Addr{home, elsewhere} {
		if err := enter("ada", "another horse battery", from); err != nil {
			t.Errorf("with a new password from %s: %v", from, err)
		}
	}
}

// TestAddressLimit slows down who sends what does not count, and not who sends what does.
func TestAddressLimit(t *testing.T) {
	d := newDoorway(t, auth.Lockout{Address: auth.Rate{Burst: 4, Interval: time.Hour}})
	_, s := d.key(d.ada(), auth.APIKey)
	var last error
	for range 6 {
		_, last = d.a.Key(t.Context(), "ghk_none", home)
	}
	if !problem.Is(last, problem.RateLimited) {
		t.Errorf("after six: %v", last)
	}
	if _, err := d.a.Key(t.Context(), s.Key, home); err != nil {
		t.Errorf("a key that counts: %v", err)
	}
	if _, err := d.a.Key(t.Context(), "ghk_none", netip.MustParseAddr("192.0.2.2")); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("elsewhere: %v", err)
	}
	if _, err := d.a.Key(t.Context(), "ghk_none", netip.Addr{}); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("from no address: %v", err)
	}
}

// TestBusy: who finds no slot for a hash is told to come back, and is nobody.
func TestBusy(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	d.ada()
	x, err := auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: d.directory, Store: d.db, Sealer: d.sealer, Journal: d.journal, Argon2: auth.Argon2{Memory: 32 << 10, Passes: 20, Threads: 1}, Hashes: 1, HashWait: time.Nanosecond,
	})
	must(t, err)
	a, err := auth.NewAuthenticator(t.Context(), auth.AuthenticatorConfig{Principals: x})
	must(t, err)
	for _, login := range []string{"ada", "nobody"} {
		if caller, err := a.Password(t.Context(), login, "", "correct horse battery", home); !problem.Is(err, problem.Unavailable) || caller.Principal != "" {
			t.Errorf("no time at all: %s is %+v, %v", login, caller, err)
		}
	}
}

// TestLastUse is noted, and no more often than each hour.
func TestLastUse(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	_, s := d.key(ref, auth.APIKey)
	begun := d.now
	for _, step := range []struct {
		after time.Duration
		want  time.Duration
	}{{0, 0}, {59 * time.Minute, 0}, {time.Minute, time.Hour}} {
		d.now = d.now.Add(step.after)
		_, err := d.a.Key(t.Context(), s.Key, home)
		must(t, err)
		if _, used, err := d.x.Get(t.Context(), operator, ref); err != nil || !used[0].Equal(begun.Add(step.want)) {
			t.Errorf("at %s it was used at %v, %v", d.now, used, err)
		}
	}
}

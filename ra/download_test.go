package ra_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// file writes a file that is not asked about.
func file(ra.KeyFile) ([]byte, error) { return []byte("file"), nil }

// TestLinkServesOnce, whoever looked at it before.
func TestLinkServesOnce(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	secret, d, err := w.OfferDownload(t.Context(), kim, e.ID, ra.Offer{Format: "pkcs12", Content: "chain"})
	must(t, err)
	if len(secret) != 22 || !d.Expires.Equal(w.clock.now().Add(ra.DefaultLinkLifetime)) || d.By != kim.Principal {
		t.Errorf("%q, %+v", secret, d)
	}
	for range 3 {
		seen, of, err := w.Linked(t.Context(), secret)
		must(t, err)
		if seen.Format != "pkcs12" || seen.Content != "chain" || of.ID != e.ID {
			t.Errorf("%+v of %d", seen, of.ID)
		}
	}
	data, err := w.TakeDownload(t.Context(), secret, "192.0.2.7", func(f ra.KeyFile) ([]byte, error) {
		w.belongs(f.Key, e)
		if f.Format != "pkcs12" || f.Issuer != "main" || len(f.Certificate) == 0 {
			t.Errorf("the file is written of %s, %s and %d octets", f.Format, f.Issuer, len(f.Certificate))
		}
		return []byte("the file"), nil
	})
	must(t, err)
	if string(data) != "the file" {
		t.Errorf("%q", data)
	}
	if _, err := w.TakeDownload(t.Context(), secret, "", file); !problem.Is(err, problem.NotFound) {
		t.Errorf("a second time: %v", err)
	}
	if _, _, err := w.Linked(t.Context(), secret); !problem.Is(err, problem.NotFound) {
		t.Errorf("it still leads somewhere: %v", err)
	}
	words := w.words(e.ID)
	last := words[len(words)-1]
	if last.Kind != audit.KeyDownloaded || last.Actor != kim.Principal || !strings.Contains(last.Detail, "192.0.2.7") || !strings.Contains(last.Detail, "pkcs12") || last.Serial != string(e.Serial) {
		t.Errorf("the journal says %+v", last)
	}
}

// TestTwoAtOnceTakeOne: of any number who press the button one has the file, also on two gateways.
func TestTwoAtOnceTakeOne(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	two := func(c *ra.Config) { c.Escrow.AtOnce = 8 }
	gateways := []*ra.Registrar{w.keeping(sealer(t, 1), two), w.keeping(sealer(t, 1), two)}
	for range 5 {
		secret, _, err := gateways[0].OfferDownload(t.Context(), kim, e.ID, inClear)
		must(t, err)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var all sync.WaitGroup // every file is written before any link is marked
		all.Add(8)
		served := 0
		for i := range 8 {
			wg.Go(func() {
				data, err := gateways[i%2].TakeDownload(t.Context(), secret, "", func(ra.KeyFile) ([]byte, error) {
					all.Done()
					all.Wait()
					return []byte("file"), nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					served++
				} else if data != nil || !problem.Is(err, problem.NotFound) {
					t.Errorf("%q, %v", data, err)
				}
			})
		}
		wg.Wait()
		if served != 1 {
			t.Errorf("%d were served", served)
		}
	}
	if n := len(w.words(e.ID)); n != 6 {
		t.Errorf("the journal has %d words about the key, want one of its making and five of downloads", n)
	}
}

// TestLinksThatDoNotServe all look alike.
func TestLinksThatDoNotServe(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	secret, d, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
	must(t, err)
	other := "A"
	if secret[0] == 'A' {
		other = "B"
	}
	for _, wrong := range []string{"", "x", other + secret[1:], secret[:21], secret + "A", secret + "=", " " + secret, strings.Repeat("A", 22), strings.Repeat("A", 10_000), "../../" + secret} {
		if _, _, err := w.Linked(t.Context(), wrong); !problem.Is(err, problem.NotFound) {
			t.Errorf("%.40q: %v", wrong, err)
		}
		if _, err := w.TakeDownload(t.Context(), wrong, "", file); !problem.Is(err, problem.NotFound) {
			t.Errorf("%.40q: %v", wrong, err)
		}
	}
	w.clock.set(d.Expires.Add(-time.Millisecond))
	_, _, err = w.Linked(t.Context(), secret)
	must(t, err)
	w.clock.set(d.Expires)
	if _, err := w.TakeDownload(t.Context(), secret, "", file); !problem.Is(err, problem.NotFound) {
		t.Errorf("when it has expired: %v", err)
	}
}

// TestFileThatCannotBeWritten leaves the link as it was; a journal that fails does not.
func TestFileThatCannotBeWritten(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	secret, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
	must(t, err)
	wrong := errors.New("the password is too short")
	if _, err := w.TakeDownload(t.Context(), secret, "", func(ra.KeyFile) ([]byte, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if _, err := w.TakeDownload(gone, secret, "", file); err == nil {
		t.Error("it was given to somebody who has gone")
	}
	if _, _, err := w.Linked(t.Context(), secret); err != nil {
		t.Errorf("the link is used up: %v", err)
	}
	w.journal.refuse(audit.KeyDownloaded)
	given := []byte("the key")
	if data, err := w.TakeDownload(t.Context(), secret, "", func(ra.KeyFile) ([]byte, error) { return given, nil }); data != nil || !problem.Is(err, problem.Unavailable) {
		t.Errorf("without a journal: %q, %v", data, err)
	}
	if strings.Contains(string(given), "key") {
		t.Error("the file is still in memory")
	}
	w.journal.refuse("")
	if _, err := w.TakeDownload(t.Context(), secret, "", file); !problem.Is(err, problem.NotFound) {
		t.Errorf("the link can be used again: %v", err)
	}
}

// TestLinkOfSomebodyWhoMayNotAnyMore does not serve.
func TestLinkOfSomebodyWhoMayNotAnyMore(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	now, away := kim, error(nil)
	w.Registrar = w.keeping(sealer(t, 1), func(c *ra.Config) {
		c.Escrow.Acting = func(_ context.Context, principal string) (auth.Caller, error) {
			if principal != kim.Principal {
				t.Errorf("the link is of %s", principal)
			}
			return now, away
		}
	})
	secret, _, err := w.OfferDownload(t.Context(), kim, e.ID, inClear)
	must(t, err)
	for name, change := range map[string]func(){
		"disabled":               func() { away = problem.New(problem.Unauthorized, "disabled") },
		"without the role":       func() { now = person(kim.Principal, 2, auth.Auditor) },
		"in another's place":     func() { now = kai },
		"an error of any kind":   func() { away = errors.New("down") },
		"a store that is absent": func() { away = problem.New(problem.Unavailable, "down") },
	} {
		now, away = kim, nil
		change()
		want := problem.NotFound
		if problem.Is(away, problem.Unavailable) {
			want = problem.Unavailable
		}
		if data, err := w.TakeDownload(t.Context(), secret, "", file); data != nil || !problem.Is(err, want) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	now, away = kim, nil
	_, err = w.TakeDownload(t.Context(), secret, "", file)
	must(t, err)
}

// TestWhoMayDownload: the requester while he may request, and administrators.
func TestWhoMayDownload(t *testing.T) {
	w := newKeyWorld(t)
	e := w.made("www.example.com")
	stripped := person(kim.Principal, 2, auth.Auditor)
	for name, tt := range map[string]struct {
		caller auth.Caller
		kind   problem.Kind // zero: may
		may    bool
	}{
		"the requester":                     {caller: kim, may: true},
		"an administrator above":            {caller: admin, may: true},
		"the operator":                      {caller: operator, may: true},
		"the requester without the role":    {caller: stripped, kind: problem.Unauthorized},
		"a colleague":                       {caller: kai, kind: problem.Unauthorized},
		"an approver":                       {caller: judge, kind: problem.Unauthorized},
		"an auditor":                        {caller: reader, kind: problem.Unauthorized},
		"another tenant of all roles":       {caller: mallet, kind: problem.NotFound},
		"another tenant of the same number": {caller: person(kim.Principal, 9, auth.Requester, auth.Administrator), kind: problem.NotFound},
		"an account of the organisation":    {caller: auth.Caller{Principal: "acme:x", Org: 2}, kind: problem.Unauthorized},
		"nobody":                            {kind: problem.NotFound},
	} {
		_, _, err := w.OfferDownload(t.Context(), tt.caller, e.ID, inClear)
		_, shown := w.KeyOf(t.Context(), tt.caller, e.ID)
		if tt.may != (err == nil) || tt.may != (shown == nil) || !tt.may && (!problem.Is(err, tt.kind) || !problem.Is(shown, tt.kind)) {
			t.Errorf("%s: %v, %v", name, err, shown)
		}
	}
	_, _, foreign := w.OfferDownload(t.Context(), mallet, e.ID, inClear)
	_, _, absent := w.OfferDownload(t.Context(), mallet, 999, inClear)
	if strings.ReplaceAll(foreign.Error(), "999", "1") != strings.ReplaceAll(absent.Error(), "999", "1") {
		t.Errorf("another's is %v, and what there is not is %v", foreign, absent)
	}
	own := w.own("kept", newKey(t), "own.example.com")
	if _, _, err := w.OfferDownload(t.Context(), kim, own.ID, inClear); !problem.Is(err, problem.Conflict) {
		t.Errorf("of a key that is not here: %v", err)
	}
}

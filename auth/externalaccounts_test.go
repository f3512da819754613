package auth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
)

func (w *world) key(in auth.NewEABKey) (*auth.EABKey, []byte) {
	w.t.Helper()
	k, mac, err := w.external.Add(w.t.Context(), operator, in)
	must(w.t, err)
	return k, mac
}

// TestEABKey: what was made opens with the MAC key that was shown, has what was said, and expires and is revoked.
func TestEABKey(t *testing.T) {
	w := newWorld(t)
	k, mac := w.key(auth.NewEABKey{Org: "lab", Label: "printers", Profiles: []string{"tls"}, Names: []string{"*.example.com"}, Reusable: true, Lifetime: time.Hour})
	if len(mac) < 32 || len(k.ID) < 22 || k.Org != 2 || bytes.Contains(k.Sealed, mac) {
		t.Errorf("%d octets, %+v", len(mac), k)
	}
	got, back, err := w.external.Open(t.Context(), k.ID)
	must(t, err)
	if !bytes.Equal(back, mac) || !reflect.DeepEqual(got, k) {
		t.Errorf("opened as %+v, want %+v", got, k)
	}
	if err := got.Usable(w.now.Add(time.Hour - time.Second)); err != nil {
		t.Error(err)
	}
	says(t, "expired", got.Usable(w.now.Add(time.Hour)), problem.Unauthorized, "expired")
	for range 2 {
		s, err := w.external.Revoke(t.Context(), operator, k.ID)
		must(t, err)
		says(t, "revoked", s.Usable(w.now), problem.Unauthorized, "revoked")
		w.now = w.now.Add(time.Minute)
	}
	if got, _, _ := w.external.Open(t.Context(), k.ID); got.Edits != 1 || got.Revoked.After(w.now.Add(-2*time.Minute)) {
		t.Errorf("a second revocation changed it: %+v", got)
	}
	for _, id := range []string{"", "none", strings.Repeat("A", 65), "a/b", "../x", k.ID + "\x00", strings.ToLower(k.ID)} {
		_, _, err := w.external.Open(t.Context(), id)
		says(t, "no such key", err, problem.NotFound, "there is no")
		_, err = w.external.Get(t.Context(), operator, id)
		says(t, "no such key", err, problem.NotFound, "there is no")
		_, err = w.external.Revoke(t.Context(), operator, id)
		says(t, "no such key", err, problem.NotFound, "there is no")
	}
}

// TestUsable is the table of what ends a key.
func TestUsable(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		key  auth.EABKey
		says string
	}{
		"new":             {auth.EABKey{}, ""},
		"not yet expired": {auth.EABKey{Expires: now.Add(1)}, ""},
		"expired":         {auth.EABKey{Expires: now}, "expired"},
		"revoked":         {auth.EABKey{Revoked: now.Add(time.Hour), Reusable: true}, "revoked"},
		"used":            {auth.EABKey{Account: "a"}, "used"},
		"reusable":        {auth.EABKey{Account: "a", Reusable: true}, ""},
	} {
		err := tt.key.Usable(now)
		if tt.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		says(t, name, err, problem.Unauthorized, tt.says)
	}
}

func TestEABModes(t *testing.T) {
	for _, m := range []auth.EABMode{auth.EABOff, auth.EABOptional, auth.EABRequired} {
		if got, ok := auth.ParseEABMode(m.String()); !ok || got != m {
			t.Errorf("%s is read as %s, %t", m, got, ok)
		}
	}
	for _, word := range []string{"", "on", "Off", "unknown"} {
		if m, ok := auth.ParseEABMode(word); ok || m != 0 {
			t.Errorf("%q is read as %s", word, m)
		}
	}
	if auth.EABMode(0).String() != "unknown" || auth.EABMode(4).String() != "unknown" {
		t.Error("what is no mode has a word")
	}
}

func TestEABAddRefuses(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sleeping"})
	w.edit("sleeping", auth.OrgEdit{Disabled: new(true)})
	before := len(w.journal.all())
	for name, tt := range map[string]struct {
		in   auth.NewEABKey
		kind problem.Kind
		says string
	}{
		"no organisation":    {auth.NewEABKey{Org: "none"}, problem.NotFound, "org list"},
		"a disabled one":     {auth.NewEABKey{Org: "sleeping"}, problem.Conflict, "org enable"},
		"no such profile":    {auth.NewEABKey{Org: "main", Profiles: []string{"none"}}, problem.Malformed, "not configured"},
		"another's profile":  {auth.NewEABKey{Org: "lab", Profiles: []string{"short"}}, problem.Malformed, "may not use"},
		"a bad pattern":      {auth.NewEABKey{Org: "main", Names: []string{"a b"}}, problem.Malformed, "a blank"},
		"too many patterns":  {auth.NewEABKey{Org: "main", Names: make([]string, 101)}, problem.Malformed, "at most 100"},
		"too short a life":   {auth.NewEABKey{Org: "main", Lifetime: time.Second}, problem.Malformed, "a minute"},
		"less than no life":  {auth.NewEABKey{Org: "main", Lifetime: -time.Hour}, problem.Malformed, "a minute"},
		"a label of 2 lines": {auth.NewEABKey{Org: "main", Label: "a\nb"}, problem.Malformed, "label"},
	} {
		k, mac, err := w.external.Add(t.Context(), operator, tt.in)
		says(t, name, err, tt.kind, tt.says)
		if k != nil || mac != nil {
			t.Errorf("%s: a key came with the error", name)
		}
	}
	for _, caller := range []auth.Caller{{}, {Principal: "acme:a", Org: 1}} {
		_, _, err := w.external.Add(t.Context(), caller, auth.NewEABKey{Org: "main"})
		says(t, "no operator", err, problem.Unauthorized, "operator")
		_, err = w.external.Get(t.Context(), caller, "x")
		says(t, "no operator", err, problem.Unauthorized, "operator")
		_, _, err = w.external.List(t.Context(), caller, "", "", 10)
		says(t, "no operator", err, problem.Unauthorized, "operator")
		_, err = w.external.Revoke(t.Context(), caller, "x")
		says(t, "no operator", err, problem.Unauthorized, "operator")
		_, err = w.external.Rewrap(t.Context(), caller)
		says(t, "no operator", err, problem.Unauthorized, "operator")
	}
	w.sealer = nil
	w.open(configured...)
	_, _, err := w.external.Add(t.Context(), operator, auth.NewEABKey{Org: "main"})
	says(t, "no seal key", err, problem.Conflict, "seal: {key:")
	if n := len(w.journal.all()); n != before {
		t.Errorf("refusals left %d entries", n-before)
	}
}

// TestEABList pages through keys, newest first, and counts and names accounts.
func TestEABList(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 7 {
		w.now = w.now.Add(time.Second)
		k, _ := w.key(auth.NewEABKey{Org: []string{"main", "lab"}[i%2], Reusable: true, Label: fmt.Sprint(i)})
		want = append([]string{k.Label}, want...)
	}
	for org, labels := range map[string]string{"": strings.Join(want, ""), "main": "6420", "lab": "531"} {
		got, cursor, pages := "", "", 0
		for {
			list, next, err := w.external.List(t.Context(), operator, org, cursor, 2)
			must(t, err)
			for _, k := range list {
				got += k.Label
				if k.OrgSlug == "" {
					t.Error("a key without its organisation's slug")
				}
			}
			if pages++; next == "" || pages > 9 {
				break
			}
			cursor = next
		}
		if got != labels {
			t.Errorf("of %q: %s, want %s", org, got, labels)
		}
	}
	for _, limit := range []int{0, -1, auth.MaxEABPage + 1} {
		_, _, err := w.external.List(t.Context(), operator, "", "", limit)
		says(t, "limit", err, problem.Malformed, "limit")
	}
	_, _, err := w.external.List(t.Context(), operator, "none", "", 10)
	says(t, "no organisation", err, problem.NotFound, "org list")
	for _, cursor := range []string{"x", strings.Repeat("x", 1000)} {
		_, _, err = w.external.List(t.Context(), operator, "", cursor, 10)
		says(t, "a bad cursor", err, problem.NotFound, "cursor")
	}
}

// TestReplayOfEABKeys: an emptied store has them again and they open; what ended stays ended whatever comes later.
func TestReplayOfEABKeys(t *testing.T) {
	w := newWorld(t)
	one, mac := w.key(auth.NewEABKey{Org: "main", Names: []string{"*.example.com"}, Profiles: []string{"tls"}, Label: "one", Lifetime: time.Hour})
	two, _ := w.key(auth.NewEABKey{Org: "lab", Reusable: true})
	_, err := w.external.Revoke(t.Context(), operator, two.ID)
	must(t, err)
	db := w.replayed()
	for _, id := range []string{one.ID, two.ID} {
		got, want := readKey(t, db, id), readKey(t, w.db, id)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("replayed %+v, want %+v", got, want)
		}
	}
	if n := w.replay(db); n != 0 {
		t.Errorf("a second time %d entries changed something", n)
	}
	if keys, _, err := db.EABKeys(t.Context(), 1, "", 10); err != nil || len(keys) != 1 || keys[0].ID != one.ID {
		t.Errorf("listed: %v, %v", keys, err)
	}
	w.db = db
	w.open(configured...)
	if _, back, err := w.external.Open(t.Context(), one.ID); err != nil || !bytes.Equal(back, mac) {
		t.Errorf("a key that came back: %v", err)
	}
	events := w.journal.all()
	w.journal.events = []audit.Event{events[2], events[1]}
	if got := readKey(t, w.replayed(), two.ID); got.Revoked.IsZero() {
		t.Error("an older entry took a revocation back")
	}
}

func readKey(t *testing.T, db *storage.DB, id string) auth.EABKey {
	t.Helper()
	k, err := db.EABKey(t.Context(), id)
	must(t, err)
	c := *k
	c.Version = [16]byte{}
	return c
}

// TestReplayedEABKey is the table of what a journal's entry makes of a key.
func TestReplayedEABKey(t *testing.T) {
	at := time.Now()
	base := auth.EABKey{ID: "k", Org: 1, Sealed: []byte{1}, Version: [16]byte{7}}
	with := func(change func(*auth.EABKey)) *auth.EABKey { k := base; change(&k); return &k }
	for name, tt := range map[string]struct {
		have, said *auth.EABKey
		want       *auth.EABKey // nil: nothing to write
	}{
		"the same":            {&base, &base, nil},
		"bound since":         {with(func(k *auth.EABKey) { k.Account = "a" }), &base, nil},
		"bound, it says":      {&base, with(func(k *auth.EABKey) { k.Account = "a" }), with(func(k *auth.EABKey) { k.Account = "a" })},
		"bound by another":    {with(func(k *auth.EABKey) { k.Account = "a" }), with(func(k *auth.EABKey) { k.Account = "b" }), nil},
		"revoked, it says":    {&base, with(func(k *auth.EABKey) { k.Revoked = at }), with(func(k *auth.EABKey) { k.Revoked = at })},
		"revoked since":       {with(func(k *auth.EABKey) { k.Revoked, k.Edits = at, 1 }), &base, nil},
		"revoked, then moved": {with(func(k *auth.EABKey) { k.Revoked = at }), with(func(k *auth.EABKey) { k.Edits, k.Sealed = 1, []byte{2} }), with(func(k *auth.EABKey) { k.Revoked, k.Edits, k.Sealed = at, 1, []byte{2} })},
		"bound, then moved":   {with(func(k *auth.EABKey) { k.Account = "a" }), with(func(k *auth.EABKey) { k.Edits, k.Account = 1, "b" }), with(func(k *auth.EABKey) { k.Edits, k.Account = 1, "a" })},
		"removed, it says":    {&base, with(func(k *auth.EABKey) { k.Removed, k.Revoked = at, at }), with(func(k *auth.EABKey) { k.Removed, k.Revoked = at, at })},
		"removed since":       {with(func(k *auth.EABKey) { k.Removed, k.Revoked, k.Edits = at, at, 1 }), &base, nil},
		"removed, then moved": {with(func(k *auth.EABKey) { k.Removed, k.Revoked = at, at }), with(func(k *auth.EABKey) { k.Edits, k.Domains = 1, []string{"a"} }), with(func(k *auth.EABKey) { k.Removed, k.Revoked, k.Edits, k.Domains = at, at, 1, []string{"a"} })},
		"a number, it says":   {&base, with(func(k *auth.EABKey) { k.Number, k.Edits = 7, 1 }), with(func(k *auth.EABKey) { k.Number, k.Edits = 7, 1 })},
		"another number":      {with(func(k *auth.EABKey) { k.Number = 8 }), with(func(k *auth.EABKey) { k.Number, k.Edits = 7, 1 }), with(func(k *auth.EABKey) { k.Number, k.Edits = 8, 1 })},
		"another org's":       {&base, with(func(k *auth.EABKey) { k.Edits, k.Org = 1, 2 }), with(func(k *auth.EABKey) { k.Edits = 1 })},
	} {
		if got := auth.ReplayedEABKey(tt.have, tt.said); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// TestRewrap: every key is under the new key after it, in the journal as well, and the old one can go.
func TestRewrap(t *testing.T) {
	w := newWorld(t)
	before := map[string][]byte{}
	for range 5 {
		k, mac := w.key(auth.NewEABKey{Org: "main"})
		before[k.ID] = mac
	}
	oldID := w.sealer.Keys()[0]
	next, err := seal.NewKey([]byte("0123456789abcdef0123456789abcdef"))
	must(t, err)
	onlyNew, err := seal.New(next)
	must(t, err)
	w.sealer = onlyNew
	w.open(configured...)
	use, err := w.external.SealUse(t.Context())
	must(t, err)
	if len(use.Unknown) != 1 || use.Unknown[0] != oldID || use.Under[oldID] != 5 {
		t.Errorf("without the old key: %+v", use)
	}
	for id := range before {
		_, _, err := w.external.Open(t.Context(), id)
		says(t, "without the old key", err, problem.Unavailable, "log")
	}
	if n, err := w.external.Rewrap(t.Context(), operator); n != 0 || err == nil {
		t.Errorf("without the old key: %d, %v", n, err)
	}
	both, err := seal.New(next, w.old)
	must(t, err)
	w.sealer = both
	w.open(configured...)
	for _, want := range []int{5, 0} {
		if n, err := w.external.Rewrap(t.Context(), operator); n != want || err != nil {
			t.Errorf("%d were wrapped anew, %v", n, err)
		}
	}
	if use, err := w.external.SealUse(t.Context()); err != nil || len(use.Unknown) != 0 || use.Under[next.ID()] != 5 || len(use.Under) != 1 {
		t.Errorf("%+v, %v", use, err)
	}
	w.sealer = onlyNew
	w.db = w.replayed()
	w.open(configured...)
	for id, mac := range before {
		if _, back, err := w.external.Open(t.Context(), id); err != nil || !bytes.Equal(back, mac) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestRevokeAtOnce: two who revoke, or change, one key at once both succeed, and it is revoked.
func TestRevokeAtOnce(t *testing.T) {
	w := newWorld(t)
	k, _ := w.key(auth.NewEABKey{Org: "main"})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := w.external.Revoke(t.Context(), operator, k.ID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := readKey(t, w.db, k.ID); got.Revoked.IsZero() || got.Edits != 1 {
		t.Errorf("%+v", got)
	}
}

// TestRevokeAgainAfterTheJournalFailed: what is acknowledged is in the journal, also if an earlier call has done the rest.
func TestRevokeAgainAfterTheJournalFailed(t *testing.T) {
	w := newWorld(t)
	k, _ := w.key(auth.NewEABKey{Org: "main"})
	w.journal.broken = true
	for range 2 {
		if _, err := w.external.Revoke(t.Context(), operator, k.ID); !problem.Is(err, problem.Unavailable) {
			t.Errorf("without the journal: %v", err)
		}
	}
	w.journal.broken = false
	if _, err := w.external.Revoke(t.Context(), operator, k.ID); err != nil {
		t.Fatal(err)
	}
	entries := w.journal.all()
	if said, err := auth.EABKeyFromEvent(entries[len(entries)-1]); err != nil || said.Revoked.IsZero() {
		t.Errorf("the journal's last word is %+v, %v", said, err)
	}
}

// TestNoMACKeyInTheJournal: in none of the forms in which one would look for it.
func TestNoMACKeyInTheJournal(t *testing.T) {
	w := newWorld(t)
	k, mac := w.key(auth.NewEABKey{Org: "main"})
	_, err := w.external.Revoke(t.Context(), operator, k.ID)
	must(t, err)
	var all strings.Builder
	for _, e := range w.journal.all() {
		fmt.Fprintf(&all, "%+v %s %x\n", e, e.Data, e.Data)
	}
	for _, form := range []string{string(mac), hex.EncodeToString(mac), base64.StdEncoding.EncodeToString(mac), base64.RawURLEncoding.EncodeToString(mac)} {
		if strings.Contains(all.String(), form[:20]) {
			t.Error("the journal holds the MAC key")
		}
	}
	if !strings.Contains(all.String(), k.ID) {
		t.Error("the journal does not name the key: this test looks at nothing")
	}
}

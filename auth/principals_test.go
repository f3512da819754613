package auth_test

import (
	"crypto/rand"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// cheap hashes are made in well under a millisecond.
var cheap = auth.Argon2{Memory: 64, Passes: 1, Threads: 1}

// people are principals on a world.
func (w *world) people() *auth.Principals {
	w.t.Helper()
	x, err := auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: w.directory, Store: w.db, Sealer: w.sealer, Journal: w.journal, Argon2: cheap, Hashes: 64, HashWait: time.Minute, Now: func() time.Time { return w.now },
	})
	must(w.t, err)
	return x
}

func (w *world) person(x *auth.Principals, org, login string, roles ...auth.Role) *auth.Principal {
	w.t.Helper()
	in := auth.NewPrincipal{Org: org, Login: login}
	for _, r := range roles {
		in.Grants = append(in.Grants, auth.NamedGrant{Role: r})
	}
	p, err := x.Add(w.t.Context(), operator, in)
	must(w.t, err)
	return p
}

func TestNewPrincipals(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sales", Parent: "main"})
	w.add(auth.NewOrg{Slug: "east", Parent: "sales"})
	x := w.people()
	p, err := x.Add(t.Context(), operator, auth.NewPrincipal{
		Org: "sales", Login: "Ada@Example.com", Name: "Ada", Mail: "ada@example.com", Lifetime: time.Hour,
		Grants: []auth.NamedGrant{{Role: auth.Approver}, {Org: "east", Role: auth.Requester}, {Role: auth.Approver}},
	})
	must(t, err)
	if p.Login != "ada@example.com" || p.Customer != 1 || len(p.Grants) != 2 || !p.Expires.Equal(w.now.Add(time.Hour)) || p.ID <= 0 {
		t.Errorf("it is %+v", p)
	}
	got, _, err := x.Get(t.Context(), operator, auth.Ref{Login: "ADA@example.com"})
	must(t, err)
	if !reflect.DeepEqual(got, p) {
		t.Errorf("it is read as %+v, and was made as %+v", got, p)
	}
	_, err = x.Add(t.Context(), operator, auth.NewPrincipal{Org: "east", Login: "ADA@EXAMPLE.COM"})
	says(t, "a login twice below one customer", err, problem.Conflict, "is another principal's")
	if _, err := x.Add(t.Context(), operator, auth.NewPrincipal{Org: "lab", Login: "ada@example.com"}); err != nil {
		t.Errorf("the same login of another customer: %v", err)
	}
	for name, tt := range map[string]struct {
		in   auth.NewPrincipal
		kind problem.Kind
		says string
	}{
		"no organisation":       {auth.NewPrincipal{Org: "none", Login: "x"}, problem.NotFound, `slug "none"`},
		"no login":              {auth.NewPrincipal{Org: "main"}, problem.Malformed, "cannot be used"},
		"a number for a login":  {auth.NewPrincipal{Org: "main", Login: "User:7"}, problem.Malformed, "cannot be used"},
		"a blank in the login":  {auth.NewPrincipal{Org: "main", Login: "a b"}, problem.Malformed, "cannot be used"},
		"a slash in the login":  {auth.NewPrincipal{Org: "main", Login: "a/b"}, problem.Malformed, "cannot be used"},
		"a long login":          {auth.NewPrincipal{Org: "main", Login: strings.Repeat("a", 101)}, problem.Malformed, "cannot be used"},
		"two lines":             {auth.NewPrincipal{Org: "main", Login: "x", Name: "a\nb"}, problem.Malformed, "name"},
		"no address":            {auth.NewPrincipal{Org: "main", Login: "x", Mail: "a@b@c"}, problem.Malformed, "mail"},
		"an address with more":  {auth.NewPrincipal{Org: "main", Login: "x", Mail: "a <a@example.com>"}, problem.Malformed, "mail"},
		"a short life":          {auth.NewPrincipal{Org: "main", Login: "x", Lifetime: time.Second}, problem.Malformed, "a minute"},
		"a negative life":       {auth.NewPrincipal{Org: "main", Login: "x", Lifetime: -time.Hour}, problem.Malformed, "a minute"},
		"a role elsewhere":      {auth.NewPrincipal{Org: "sales", Login: "x", Grants: []auth.NamedGrant{{Org: "lab", Role: auth.Auditor}}}, problem.Malformed, `"lab"`},
		"a role above":          {auth.NewPrincipal{Org: "sales", Login: "x", Grants: []auth.NamedGrant{{Org: "main", Role: auth.Auditor}}}, problem.Malformed, `"main"`},
		"a role that is none":   {auth.NewPrincipal{Org: "sales", Login: "x", Grants: []auth.NamedGrant{{Role: 77}}}, problem.Malformed, "role"},
		"a role that is absent": {auth.NewPrincipal{Org: "sales", Login: "x", Grants: []auth.NamedGrant{{}}}, problem.Malformed, "role"},
	} {
		_, err := x.Add(t.Context(), operator, tt.in)
		says(t, name, err, tt.kind, tt.says)
	}
}

// TestWhoManagesPrincipals: administrators of their home or above; to others they look absent.
func TestWhoManagesPrincipals(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sales", Parent: "main"})
	x := w.people()
	target := w.person(x, "sales", "target", auth.Requester)
	for _, tt := range []struct {
		org  string
		role auth.Role
		ok   bool
	}{
		{"main", auth.Administrator, true}, {"sales", auth.Administrator, true}, {"lab", auth.Administrator, false},
		{"main", auth.Requester, false}, {"main", auth.Approver, false}, {"main", auth.Auditor, false},
	} {
		p := w.person(x, tt.org, "who-"+tt.org+"-"+tt.role.String(), tt.role)
		caller := auth.Caller{Principal: p.ID.String(), Org: p.Org, Roles: p.Grants}
		ref := auth.Ref{ID: target.ID}
		_, _, one := x.Get(t.Context(), caller, ref)
		_, two := x.Edit(t.Context(), caller, ref, auth.PrincipalEdit{Name: new("Other")})
		_, three := x.SetPassword(t.Context(), caller, ref, "correct horse battery")
		_, four := x.RemovePassword(t.Context(), caller, ref)
		_, c, _, five := x.AddCredential(t.Context(), caller, ref, auth.NewCredential{Kind: auth.APIKey})
		if !tt.ok {
			_, c, _, _ = x.AddCredential(t.Context(), operator, ref, auth.NewCredential{Kind: auth.APIKey})
		}
		_, _, six := x.Owner(t.Context(), caller, c.ID)
		_, _, _, seven := x.Rotate(t.Context(), caller, c.ID, auth.Rotation{})
		_, _, eight := x.Revoke(t.Context(), caller, c.ID)
		for i, err := range []error{one, two, three, four, five, six, seven, eight} {
			if tt.ok != (err == nil) || err != nil && !problem.Is(err, problem.NotFound) {
				t.Errorf("%s of %s, call %d: %v", tt.role, tt.org, i+1, err)
			}
		}
		_, nine := x.Add(t.Context(), caller, auth.NewPrincipal{Org: "sales", Login: "by-" + p.Login})
		_, _, ten := x.List(t.Context(), caller, "sales", "", 10)
		for i, err := range []error{nine, ten} {
			if tt.ok != (err == nil) {
				t.Errorf("%s of %s, call %d: %v", tt.role, tt.org, i+9, err)
			}
		}
		if _, _, err := x.List(t.Context(), caller, "", "", 10); !problem.Is(err, problem.Unauthorized) {
			t.Errorf("the list of all: %v", err)
		}
	}
	for _, c := range []auth.Caller{{}, {Principal: "acme:x", Org: target.Org}, {Principal: "system", Org: target.Org}} {
		if _, _, err := x.Get(t.Context(), c, auth.Ref{ID: target.ID}); !problem.Is(err, problem.NotFound) {
			t.Errorf("%q reads a principal: %v", c.Principal, err)
		}
	}
}

func TestEditPrincipals(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sales", Parent: "main"})
	x := w.people()
	ref := auth.Ref{ID: w.person(x, "main", "ada", auth.Requester, auth.Auditor).ID}
	p, err := x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{
		Name: new("Ada"), Mail: new("a@example.com"), Grant: []auth.NamedGrant{{Org: "sales", Role: auth.Approver}}, Withdraw: []auth.NamedGrant{{Role: auth.Auditor}},
		Lifetime: new(time.Hour), Disabled: new(true),
	})
	must(t, err)
	if p.Name != "Ada" || p.Mail != "a@example.com" || len(p.Grants) != 2 || p.Grants[0] != (auth.Grant{Org: 1, Role: auth.Requester}) || p.Grants[1].Role != auth.Approver ||
		p.Expires.IsZero() || p.Disabled.IsZero() || p.Edits != 1 {
		t.Errorf("it is %+v", p)
	}
	p, err = x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Mail: new(""), Lifetime: new(time.Duration(0)), Disabled: new(false)})
	must(t, err)
	if p.Name != "Ada" || p.Mail != "" || !p.Expires.IsZero() || !p.Disabled.IsZero() || len(p.Grants) != 2 {
		t.Errorf("then it is %+v", p)
	}
	_, err = x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Mail: new("nobody")})
	says(t, "no address", err, problem.Malformed, "mail")
	_, err = x.Edit(t.Context(), operator, auth.Ref{Login: "none"}, auth.PrincipalEdit{})
	says(t, "nobody", err, problem.NotFound, "no such principal")
	_, err = x.Edit(t.Context(), operator, auth.Ref{Login: "ada", Customer: "none"}, auth.PrincipalEdit{})
	says(t, "no customer", err, problem.NotFound, "no such principal")
}

func TestPasswordRules(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	ref := auth.Ref{ID: w.person(x, "main", "ada.lovelace").ID}
	for _, password := range []string{"", "short", "elevenchars", "twelve\nlines of", "ADA.LOVELACE", "ada.lovelace1815", strings.Repeat("ä", 129), "not\xffutf8 at all"} {
		_, err := x.SetPassword(t.Context(), operator, ref, password)
		if !problem.Is(err, problem.Malformed) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", password, err)
		}
	}
	for _, password := range []string{"twelve chars", strings.Repeat("x", 256), "ada.lovelace and a long story behind", auth.NewPassword()} {
		if _, err := x.SetPassword(t.Context(), operator, ref, password); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
	bare, err := auth.NewPrincipals(auth.PrincipalsConfig{Directory: w.directory, Store: w.db, Journal: w.journal, Argon2: cheap})
	must(t, err)
	_, err = bare.SetPassword(t.Context(), operator, ref, "correct horse battery")
	says(t, "without a key to seal with", err, problem.Conflict, "seal")
	for _, a := range []auth.Argon2{{Memory: 1, Passes: 1, Threads: 1}, {Memory: 64, Threads: 1}, {Memory: 64, Passes: 1}, {Memory: 2 << 20, Passes: 1, Threads: 1}} {
		if _, err := auth.NewPrincipals(auth.PrincipalsConfig{Argon2: a}); err == nil {
			t.Errorf("%+v is taken", a)
		}
	}
}

// TestPrincipalsCameBack: a store that was emptied is given everything back, whatever the sequence, and how often.
func TestPrincipalsCameBack(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	p := w.person(x, "main", "ada", auth.Approver)
	ref := auth.Ref{ID: p.ID}
	_, err := x.SetPassword(t.Context(), operator, ref, "correct horse battery")
	must(t, err)
	_, one, _, err := x.AddCredential(t.Context(), operator, ref, auth.NewCredential{Kind: auth.APIKey, Label: "one", Lifetime: time.Hour})
	must(t, err)
	_, two, _, err := x.AddCredential(t.Context(), operator, ref, auth.NewCredential{Kind: auth.OAuthClient})
	must(t, err)
	_, _, _, err = x.Rotate(t.Context(), operator, one.ID, auth.Rotation{Overlap: time.Hour})
	must(t, err)
	_, _, err = x.Revoke(t.Context(), operator, two.ID)
	must(t, err)
	_, err = x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(true)})
	must(t, err)
	want, err := w.db.Principal(t.Context(), p.ID)
	must(t, err)
	events := w.journal.all()
	for name, order := range map[string]func(int) int{
		"forwards": func(i int) int { return i }, "backwards": func(i int) int { return len(events) - 1 - i }, "the last alone": func(int) int { return len(events) - 1 },
	} {
		db := newStore(t)
		for range 2 {
			r := db.Replay(nil)
			for i := range events {
				must(t, r.Apply(t.Context(), events[order(i)]))
			}
			must(t, r.End(t.Context()))
		}
		got, err := db.Principal(t.Context(), p.ID)
		must(t, err)
		got.Version = want.Version
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: it came back as\n%+v, and was\n%+v", name, got, want)
		}
		for _, l := range want.Lookups() {
			if id, err := db.PrincipalByLookup(t.Context(), l); err != nil || id != p.ID {
				t.Errorf("%s: %s finds %v, %v", name, l, id, err)
			}
		}
		if id, err := db.PrincipalByLogin(t.Context(), 1, "ada"); err != nil || id != p.ID {
			t.Errorf("%s: the login finds %v, %v", name, id, err)
		}
		if notes, err := db.Unjournaled(t.Context(), time.Now().Add(time.Hour), 10); err != nil || len(notes) != 0 {
			t.Errorf("%s: notes are left: %v, %v", name, notes, err)
		}
	}
}

// TestReplayedPrincipals: what went back and moved on elsewhere is brought together, and nothing that ended begins again.
func TestReplayedPrincipals(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	state := func(edits int64, creds ...auth.Credential) *auth.Principal {
		return &auth.Principal{ID: 7, Org: 1, Customer: 1, Login: "ada", Created: now, Edits: edits, Credentials: creds}
	}
	a, b := auth.Credential{ID: "AAAAAAAAAAAA", Kind: auth.APIKey, Created: now}, auth.Credential{ID: "BBBBBBBBBBBB", Kind: auth.APIKey, Created: now.Add(time.Hour)}
	ended := a
	ended.Revoked = now
	rotated := a
	rotated.Hash, rotated.Rotated = [32]byte{1}, now
	disabled := state(2)
	disabled.Disabled = now
	pruned := state(3, b)
	pruned.Pruned = now
	for name, tt := range map[string]struct {
		have, said *auth.Principal
		check      func(*auth.Principal) bool // of the result; nil for no change
	}{
		"nothing there":               {nil, state(1, a), func(p *auth.Principal) bool { return len(p.Credentials) == 1 }},
		"the same":                    {state(1, a), state(1, a), nil},
		"older":                       {state(2, a), state(1, a), nil},
		"newer":                       {state(1, a), state(2, a), func(p *auth.Principal) bool { return p.Edits == 2 }},
		"a credential of the other":   {state(2, a), state(2, b), func(p *auth.Principal) bool { return len(p.Credentials) == 2 }},
		"revoked before":              {state(2, a), state(1, ended), func(p *auth.Principal) bool { return !p.Credentials[0].Revoked.IsZero() && p.Edits == 2 }},
		"revoked there, newer here":   {state(2, ended), state(3, a), func(p *auth.Principal) bool { return !p.Credentials[0].Revoked.IsZero() && p.Edits == 3 }},
		"rotated in another past":     {state(2, a), state(2, rotated), func(p *auth.Principal) bool { return p.Credentials[0].Hash == rotated.Hash }},
		"rotated here, and not there": {state(2, rotated), state(2, a), nil},
		"rotated there, revoked here": {state(2, ended), state(2, rotated), func(p *auth.Principal) bool {
			return p.Credentials[0].Hash == rotated.Hash && !p.Credentials[0].Revoked.IsZero()
		}},
		"removed after it had ended":   {pruned, state(1, a), nil},
		"disabled in another past":     {state(2), disabled, func(p *auth.Principal) bool { return !p.Disabled.IsZero() }},
		"disabled, and enabled later":  {state(3), disabled, nil},
		"enabled, and disabled before": {disabled, state(3), func(p *auth.Principal) bool { return p.Disabled.IsZero() }},
	} {
		got, err := auth.ReplayedPrincipal(tt.have, tt.said)
		if err != nil || (got == nil) != (tt.check == nil) || got != nil && !tt.check(got) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	other := state(1)
	other.Login = "eve"
	if _, err := auth.ReplayedPrincipal(state(1), other); err == nil || !strings.Contains(err.Error(), "given anew") {
		t.Errorf("another principal under its number: %v", err)
	}
}

// TestLoginsOfTwoPasts: a login that was given anew after the store went back stays whose it is, and the first comes back.
func TestLoginsOfTwoPasts(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	first := w.person(x, "main", "ada")
	events := w.journal.all()
	other := newWorld(t)
	second := other.person(other.people(), "main", "ada")
	r := other.db.Replay(nil)
	for _, e := range events {
		must(t, r.Apply(t.Context(), e))
		must(t, r.Apply(t.Context(), e))
	}
	must(t, r.End(t.Context()))
	if id, err := other.db.PrincipalByLogin(t.Context(), 1, "ada"); err != nil || id != second.ID {
		t.Errorf("the login is now of %v, %v", id, err)
	}
	back, err := other.db.Principal(t.Context(), first.ID)
	must(t, err)
	if back.Login != first.Displaced() || !strings.HasPrefix(back.Login, "ada-") {
		t.Errorf("the first came back as %q", back.Login)
	}
	other.settle()
	if last := other.journal.all(); last[len(last)-1].Kind != audit.PrincipalEdited || !strings.HasPrefix(last[len(last)-1].Detail, back.Login) {
		t.Errorf("the journal is not told of it: %+v", last[len(last)-1])
	}
}

// TestPrincipalsThatTheJournalLacks are told by whoever looks next.
func TestPrincipalsThatTheJournalLacks(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	w.journal.broken = true
	_, err := x.Add(t.Context(), operator, auth.NewPrincipal{Org: "main", Login: "ada"})
	says(t, "a journal that cannot be written", err, problem.Unavailable, "journal")
	w.journal.broken = false
	w.settle()
	if id, err := w.replayed().PrincipalByLogin(t.Context(), 1, "ada"); err != nil || id == 0 {
		t.Errorf("it does not come back: %v, %v", id, err)
	}
}

// TestOneLoginManyTimes: of forty who want a login at once one gets it, and what the journal says is what the store has.
func TestOneLoginManyTimes(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	var made, refused atomic.Int32
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			switch _, err := x.Add(t.Context(), operator, auth.NewPrincipal{Org: "main", Login: "ada"}); {
			case err == nil:
				made.Add(1)
			case problem.Is(err, problem.Conflict):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if made.Load() != 1 || refused.Load() != 39 || len(w.journal.all()) != 1 {
		t.Errorf("%d were made and %d refused; the journal has %d entries", made.Load(), refused.Load(), len(w.journal.all()))
	}
}

// TestRewrapPasswords: after it the old key is needed for nothing.
func TestRewrapPasswords(t *testing.T) {
	w := newWorld(t)
	x := w.people()
	for i := range 3 {
		p := w.person(x, "main", fmt.Sprint("p", i))
		if i > 0 {
			_, err := x.SetPassword(t.Context(), operator, auth.Ref{ID: p.ID}, "correct horse battery")
			must(t, err)
		}
	}
	w.sealer = w.rekeyed()
	x = w.people()
	if n, err := x.Rewrap(t.Context(), operator); err != nil || n != 2 {
		t.Errorf("%d were rewrapped, %v", n, err)
	}
	use, err := auth.CountSealed(t.Context(), w.db, w.sealer)
	must(t, err)
	if use.Under[w.sealer.Keys()[0]] != 2 || len(use.Under) != 1 {
		t.Errorf("secrets are under %v", use.Under)
	}
	if _, err := x.Rewrap(t.Context(), auth.Caller{}); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("anybody may: %v", err)
	}
}

// rekeyed is the world's sealer with a new key before its old one.
func (w *world) rekeyed() *seal.Sealer {
	w.t.Helper()
	var raw [32]byte
	rand.Read(raw[:])
	next, err := seal.NewKey(raw[:])
	must(w.t, err)
	both, err := seal.New(next, w.old)
	must(w.t, err)
	return both
}

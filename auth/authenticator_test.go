package auth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var home = netip.MustParseAddr("192.0.2.1")

const secretWord = "correct horse battery"

// doorway is a world with an authenticator whose rates are out of the way.
type doorway struct {
	*world
	x   *auth.Principals
	a   *auth.Authenticator
	log bytes.Buffer
}

var generous = auth.Rate{Burst: 1_000_000, Interval: time.Millisecond}

func newDoorway(t *testing.T, lockout auth.Lockout) *doorway {
	t.Helper()
	d := &doorway{world: newWorld(t)}
	d.x = d.people()
	d.a = d.authenticator(lockout)
	return d
}

func (d *doorway) authenticator(lockout auth.Lockout) *auth.Authenticator {
	d.t.Helper()
	for _, r := range []*auth.Rate{&lockout.Known, &lockout.Login, &lockout.LoginLong, &lockout.Address, &lockout.Token} {
		if *r == (auth.Rate{}) {
			*r = generous
		}
	}
	a, err := auth.NewAuthenticator(d.t.Context(), auth.AuthenticatorConfig{
		Principals: d.x, Lockout: lockout, Log: slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(d.t, err)
	return a
}

// ada is a principal with a password.
func (d *doorway) ada() auth.Ref {
	d.t.Helper()
	ref := auth.Ref{ID: d.person(d.x, "main", "ada", auth.Requester).ID}
	_, err := d.x.SetPassword(d.t.Context(), operator, ref, secretWord)
	must(d.t, err)
	return ref
}

// key makes a credential with a secret.
func (d *doorway) key(ref auth.Ref, kind auth.CredentialKind) (auth.Credential, auth.Secret) {
	d.t.Helper()
	_, c, s, err := d.x.AddCredential(d.t.Context(), operator, ref, auth.NewCredential{Kind: kind})
	must(d.t, err)
	return c, s
}

// ways are all by which a principal is known, each a call that authenticates it.
func (d *doorway) ways(ref auth.Ref) map[string]func() (auth.Caller, error) {
	d.t.Helper()
	ctx := d.t.Context()
	_, api := d.key(ref, auth.APIKey)
	_, client := d.key(ref, auth.OAuthClient)
	token, _, err := d.a.Token(ctx, client.ClientID, client.ClientSecret, home)
	must(d.t, err)
	one, two := certificate(d.t, "one"), certificate(d.t, "two")
	for kind, cert := range map[auth.CredentialKind]*x509.Certificate{auth.ClientCertificate: one, auth.ClientKey: two} {
		_, _, _, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: kind, Certificate: cert})
		must(d.t, err)
	}
	return map[string]func() (auth.Caller, error){
		"password":        func() (auth.Caller, error) { return d.a.Password(ctx, "Ada", "main", secretWord, home) },
		"key":             func() (auth.Caller, error) { return d.a.Key(ctx, api.Key, home) },
		"token":           func() (auth.Caller, error) { return d.a.Bearer(ctx, token, home) },
		"certificate":     func() (auth.Caller, error) { return d.a.Certificate(ctx, one, "", "", home) },
		"certificate key": func() (auth.Caller, error) { return d.a.Certificate(ctx, two, "ADA", "main", home) },
		"client": func() (auth.Caller, error) {
			t, _, err := d.a.Token(ctx, client.ClientID, client.ClientSecret, home)
			if err != nil {
				return auth.Caller{}, err
			}
			return d.a.Bearer(ctx, t, home)
		},
	}
}

func certificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return c
}

// isRefused demands the one refusal that there is.
func isRefused(t *testing.T, what string, c auth.Caller, err error) {
	t.Helper()
	p := problem.From(err)
	if err == nil || p.Kind != problem.Unauthorized || p.Detail != "these credentials are not accepted" || c.Principal != "" || c.Roles != nil {
		t.Errorf("%s: %+v, %v", what, c, err)
	}
}

// TestEveryWayIn and every way out of it again.
func TestEveryWayIn(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ways := d.ways(ref)
	all := func(what string, in bool) {
		t.Helper()
		for name, way := range ways {
			c, err := way()
			if !in {
				isRefused(t, what+": "+name, c, err)
				continue
			}
			if err != nil || c.Principal != ref.ID.String() || c.Org != 1 || c.Operator || len(c.Roles) != 1 || c.Credential == "" {
				t.Errorf("%s: %s: %+v, %v", what, name, c, err)
			}
		}
	}
	all("at first", true)
	all("and again", true)
	edit := func(e auth.PrincipalEdit) { _, err := d.x.Edit(t.Context(), operator, ref, e); must(t, err) }
	edit(auth.PrincipalEdit{Disabled: new(true)})
	all("disabled", false)
	edit(auth.PrincipalEdit{Disabled: new(false), Lifetime: new(time.Minute)})
	all("enabled", true)
	d.now = d.now.Add(time.Minute)
	all("expired", false)
	edit(auth.PrincipalEdit{Lifetime: new(time.Duration(0))})
	all("without an end", true)
}

// TestHomeDisabled: principals of an organisation that does not work are nobody.
func TestHomeDisabled(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	d.add(auth.NewOrg{Slug: "sales", Parent: "main"})
	p := d.person(d.x, "sales", "ada")
	_, s := d.key(auth.Ref{ID: p.ID}, auth.APIKey)
	if _, err := d.a.Key(t.Context(), s.Key, home); err != nil {
		t.Fatal(err)
	}
	d.edit("sales", auth.OrgEdit{Disabled: new(true)})
	c, err := d.a.Key(t.Context(), s.Key, home)
	isRefused(t, "its home is disabled", c, err)
}

// TestWrongCredentials: one answer to whatever is wrong.
func TestWrongCredentials(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ctx := t.Context()
	d.person(d.x, "main", "bare")
	for _, in := range [][3]string{
		{"ada", "main", "wrong horse battery"}, {"ada", "main", ""}, {"ada", "main", strings.Repeat("x", 257)}, {"ada", "main", secretWord + " "},
		{"ada", "lab", secretWord}, {"ada", "none", secretWord}, {"ada", strings.Repeat("x", 70), secretWord}, {"mallory", "main", secretWord}, {"", "main", secretWord},
		{"a/da", "main", secretWord}, {strings.Repeat("a", 5000), "main", secretWord}, {"user:7", "main", secretWord}, {"bare", "main", secretWord},
	} {
		c, err := d.a.Password(ctx, in[0], in[1], in[2], home)
		isRefused(t, fmt.Sprintf("%.20q", in), c, err)
	}
	_, api := d.key(ref, auth.APIKey)
	_, client := d.key(ref, auth.OAuthClient)
	token, _, err := d.a.Token(ctx, client.ClientID, client.ClientSecret, home)
	must(t, err)
	other := func(s string) string { // with another last character
		if strings.HasSuffix(s, "A") {
			return s[:len(s)-1] + "B"
		}
		return s[:len(s)-1] + "A"
	}
	asKey := "ghk_" + strings.TrimPrefix(client.ClientID, "ghc_") + "_" + strings.TrimPrefix(client.ClientSecret, "ghs_")
	for _, key := range []string{"", "ghk_", api.Key[:len(api.Key)-1], api.Key + "A", other(api.Key), strings.ToLower(api.Key), token, asKey, " " + api.Key, strings.Repeat("x", 100_000)} {
		c, err := d.a.Key(ctx, key, home)
		isRefused(t, fmt.Sprintf("the key %.20q", key), c, err)
	}
	for _, text := range []string{"", "ght_", other(token), token[:len(token)-1], strings.Replace(token, "ght_", "ghs_", 1), api.Key, client.ClientSecret} {
		c, err := d.a.Bearer(ctx, text, home)
		isRefused(t, fmt.Sprintf("the token %.20q", text), c, err)
	}
	for _, pair := range [][2]string{{"", ""}, {client.ClientID, ""}, {"", client.ClientSecret}, {client.ClientID, other(client.ClientSecret)}, {other(client.ClientID), client.ClientSecret}} {
		if text, _, err := d.a.Token(ctx, pair[0], pair[1], home); !problem.Is(err, problem.Unauthorized) || text != "" {
			t.Errorf("client %.20q: %q, %v", pair, text, err)
		}
	}
	cert := certificate(t, "one")
	_, _, _, err = d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: cert})
	must(t, err)
	for name, named := range map[string][2]string{"another login": {"eve", "main"}, "another customer": {"ada", "lab"}, "no customer": {"ada", "none"}, "no login": {"a b", ""}} {
		c, err := d.a.Certificate(ctx, cert, named[0], named[1], home)
		isRefused(t, "a certificate and "+name, c, err)
	}
	c, err := d.a.Certificate(ctx, nil, "", "", home)
	isRefused(t, "no certificate", c, err)
	c, err = d.a.Certificate(ctx, certificate(t, "one"), "", "", home)
	isRefused(t, "another certificate of the same name and serial", c, err)
	d.now = d.now.Add(2000 * time.Hour)
	c, err = d.a.Certificate(ctx, cert, "", "", home)
	isRefused(t, "a certificate that has expired", c, err)
	if log := d.log.String(); !strings.Contains(log, ref.ID.String()) || strings.Contains(log, "horse") || strings.Contains(log, api.Key[20:]) || strings.Contains(log, "mallory") {
		t.Errorf("the log says\n%s", log)
	}
}

// TestRotation: the old secret goes on as long as was said, and of two rotations the first's goes on no longer.
func TestRotation(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ctx := t.Context()
	rotate := func(id string, overlap time.Duration) auth.Secret {
		t.Helper()
		_, _, s, err := d.x.Rotate(ctx, operator, id, auth.Rotation{Overlap: overlap})
		must(t, err)
		return s
	}
	counts := func(what string, key string, want bool) {
		t.Helper()
		if c, err := d.a.Key(ctx, key, home); want && err != nil {
			t.Errorf("%s: %v", what, err)
		} else if !want {
			isRefused(t, what, c, err)
		}
	}
	c, one := d.key(ref, auth.APIKey)
	two := rotate(c.ID, time.Hour)
	counts("the old one within its time", one.Key, true)
	counts("the new one", two.Key, true)
	d.now = d.now.Add(time.Hour)
	counts("the old one after its time", one.Key, false)
	three := rotate(c.ID, 0)
	counts("the one before, at once", two.Key, false)
	four := rotate(c.ID, time.Hour)
	five := rotate(c.ID, time.Hour)
	counts("the one before the one before", three.Key, false)
	counts("the one before", four.Key, true)
	counts("the last", five.Key, true)

	client, s := d.key(ref, auth.OAuthClient)
	token, lives, err := d.a.Token(ctx, s.ClientID, s.ClientSecret, home)
	if err != nil || lives != 5*time.Minute {
		t.Fatal(lives, err)
	}
	next := rotate(client.ID, time.Minute)
	if next.ClientID != s.ClientID || next.ClientSecret == s.ClientSecret {
		t.Errorf("rotated to %+v", next)
	}
	if _, err := d.a.Bearer(ctx, token, home); err != nil {
		t.Errorf("a token of the old secret within its time: %v", err)
	}
	d.now = d.now.Add(time.Minute)
	got, err := d.a.Bearer(ctx, token, home)
	isRefused(t, "a token of the old secret after its time", got, err)
	token, _, err = d.a.Token(ctx, next.ClientID, next.ClientSecret, home)
	must(t, err)
	d.now = d.now.Add(5 * time.Minute)
	got, err = d.a.Bearer(ctx, token, home)
	isRefused(t, "a token after its time", got, err)

	a, b := certificate(t, "a"), certificate(t, "b")
	_, held, _, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: a})
	must(t, err)
	_, _, _, err = d.x.AddCredential(ctx, operator, auth.Ref{ID: d.person(d.x, "lab", "eve").ID}, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: a})
	says(t, "a certificate of two", err, problem.Conflict, "bound already")
	_, _, _, err = d.x.Rotate(ctx, operator, held.ID, auth.Rotation{Certificate: b, Overlap: time.Hour})
	must(t, err)
	for _, cert := range []*x509.Certificate{a, b} {
		if _, err := d.a.Certificate(ctx, cert, "", "", home); err != nil {
			t.Errorf("certificate %s: %v", cert.Subject, err)
		}
	}
	d.now = d.now.Add(time.Hour)
	got, err = d.a.Certificate(ctx, a, "", "", home)
	isRefused(t, "the old certificate after its time", got, err)
	_, _, err = d.x.Revoke(ctx, operator, held.ID)
	must(t, err)
	got, err = d.a.Certificate(ctx, b, "", "", home)
	isRefused(t, "a revoked certificate", got, err)
	for _, overlap := range []time.Duration{-time.Second, 91 * 24 * time.Hour} {
		_, _, _, err = d.x.Rotate(ctx, operator, c.ID, auth.Rotation{Overlap: overlap})
		says(t, "an overlap of "+overlap.String(), err, problem.Malformed, "overlap")
	}
	_, _, _, err = d.x.Rotate(ctx, operator, held.ID, auth.Rotation{Certificate: certificate(t, "c")})
	says(t, "rotating what was revoked", err, problem.Conflict, "revoked")
}

// TestRotationKeepsTheEnd: an overlap does not carry a secret beyond the end that it was given.
func TestRotationKeepsTheEnd(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ctx := t.Context()
	_, c, old, err := d.x.AddCredential(ctx, operator, d.ada(), auth.NewCredential{Kind: auth.APIKey, Lifetime: time.Hour})
	must(t, err)
	_, _, next, err := d.x.Rotate(ctx, operator, c.ID, auth.Rotation{Overlap: auth.MaxOverlap, Lifetime: 365 * 24 * time.Hour})
	must(t, err)
	_, err = d.a.Key(ctx, old.Key, home)
	must(t, err)
	d.now = d.now.Add(time.Hour)
	got, err := d.a.Key(ctx, old.Key, home)
	isRefused(t, "the old one after its end", got, err)
	_, err = d.a.Key(ctx, next.Key, home)
	must(t, err)
}

// TestEndedCredentials: one that was revoked or has expired counts no more, and of a client neither do its tokens.
func TestEndedCredentials(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ctx := t.Context()
	for what, end := range map[string]func(id string){
		"revoked": func(id string) { _, _, err := d.x.Revoke(ctx, operator, id); must(t, err) },
		"expired": func(string) { d.now = d.now.Add(2 * time.Minute) },
	} {
		added := func(kind auth.CredentialKind) (string, auth.Secret) {
			_, c, s, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: kind, Lifetime: 2 * time.Minute})
			must(t, err)
			return c.ID, s
		}
		key, one := added(auth.APIKey)
		client, two := added(auth.OAuthClient)
		token, _, err := d.a.Token(ctx, two.ClientID, two.ClientSecret, home)
		must(t, err)
		if _, err := d.a.Key(ctx, one.Key, home); err != nil {
			t.Errorf("before it is %s: %v", what, err)
		}
		end(key)
		if what == "revoked" {
			end(client)
		}
		c, err := d.a.Key(ctx, one.Key, home)
		isRefused(t, what, c, err)
		c, err = d.a.Bearer(ctx, token, home)
		isRefused(t, what+": a token", c, err)
		_, _, err = d.a.Token(ctx, two.ClientID, two.ClientSecret, home)
		isRefused(t, what+": another token", auth.Caller{}, err)
	}
}

// TestRotatedTwiceAtOnce: each who rotated was told a secret, and the last of them counts.
func TestRotatedTwiceAtOnce(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	c, first := d.key(d.ada(), auth.APIKey)
	for range 10 {
		var secrets [2]auth.Secret
		var group sync.WaitGroup
		for i := range secrets {
			group.Go(func() {
				var err error
				if _, _, secrets[i], err = d.x.Rotate(t.Context(), operator, c.ID, auth.Rotation{}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		counting := 0
		for _, s := range append(secrets[:], first) {
			if _, err := d.a.Key(t.Context(), s.Key, home); err == nil {
				counting++
			}
		}
		if counting != 1 {
			t.Errorf("%d secrets count", counting)
		}
	}
}

// TestDisableAgainstAuthenticate: whatever begins after a disable was acknowledged is refused, by cache and by hash.
func TestDisableAgainstAuthenticate(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	ways := d.ways(ref)
	for range 5 {
		var done sync.WaitGroup
		stop := make(chan struct{})
		for _, way := range ways {
			done.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						way()
					}
				}
			})
		}
		_, err := d.x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(true)})
		must(t, err)
		for name, way := range ways {
			c, err := way()
			isRefused(t, name, c, err)
		}
		close(stop)
		done.Wait()
		_, err = d.x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(false)})
		must(t, err)
	}
}

// TestChangedPassword: the old one counts no more, although it was verified just now.
func TestChangedPassword(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	enter := func(password string) (auth.Caller, error) {
		return d.a.Password(t.Context(), "ada", "", password, home)
	}
	if _, err := enter(secretWord); err != nil {
		t.Fatal(err)
	}
	_, err := d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
	must(t, err)
	c, err := enter(secretWord)
	isRefused(t, "the old one", c, err)
	if _, err := enter("another horse battery"); err != nil {
		t.Error(err)
	}
	_, err = d.x.RemovePassword(t.Context(), operator, ref)
	must(t, err)
	c, err = enter("another horse battery")
	isRefused(t, "one that was taken away", c, err)
}

// meddler does something before the second time that a principal is read.
type meddler struct {
	auth.Store
	reads int
	do    func()
}

func (m *meddler) Principal(ctx context.Context, id auth.PrincipalID) (*auth.Principal, error) {
	if m.reads++; m.reads == 2 {
		m.do()
	}
	return m.Store.Principal(ctx, id)
}

// TestChangedWhileHashing: what ends a principal while its password is verified is not too late.
func TestChangedWhileHashing(t *testing.T) {
	for name, end := range map[string]func(d *doorway, ref auth.Ref) error{
		"another password": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.SetPassword(t.Context(), operator, ref, "another horse battery")
			return err
		},
		"no password": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.RemovePassword(t.Context(), operator, ref)
			return err
		},
		"disabled": func(d *doorway, ref auth.Ref) error {
			_, err := d.x.Edit(t.Context(), operator, ref, auth.PrincipalEdit{Disabled: new(true)})
			return err
		},
	} {
		d := newDoorway(t, auth.Lockout{})
		ref := d.ada()
		meddling := *d.x
		meddling.Store = &meddler{Store: d.db, do: func() { must(t, end(d, ref)) }}
		a, err := auth.NewAuthenticator(t.Context(), auth.AuthenticatorConfig{Principals: &meddling})
		must(t, err)
		c, err := a.Password(t.Context(), "ada", "main", secretWord, home)
		isRefused(t, name, c, err)
	}
}

// TestRehash: after the parameters have changed, the next who logs in leaves a hash with the new ones.
func TestRehash(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	before, err := d.db.Principal(t.Context(), ref.ID)
	must(t, err)
	x, err := auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: d.directory, Store: d.db, Sealer: d.sealer, Journal: d.journal, Argon2: auth.Argon2{Memory: 128, Passes: 2, Threads: 1}, Now: func() time.Time { return d.now },
	})
	must(t, err)
	d.x = x
	d.a = d.authenticator(auth.Lockout{})
	for _, password := range []string{"wrong horse battery", secretWord, secretWord} {
		d.a.Password(t.Context(), "ada", "", password, home)
		now, err := d.db.Principal(t.Context(), ref.ID)
		must(t, err)
		if changed := !bytes.Equal(now.Password.Sealed, before.Password.Sealed); changed != (password == secretWord) {
			t.Errorf("after %q the hash changed: %t", password, changed)
		}
		if !now.Password.Changed.Equal(before.Password.Changed) || now.Edits > before.Edits+1 {
			t.Errorf("it is %+v", now)
		}
	}
	if back, err := d.replayed().Principal(t.Context(), ref.ID); err != nil || back.Edits != before.Edits+1 {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
}

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
	if _, err := auth.NewAuthenticator(t.Context(), auth.AuthenticatorConfig{Principals: x}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("no time at all: %v", err)
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

// TestCredentialsEnd: old ones that ended make room, and without any there is none.
func TestCredentialsEnd(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	first, _ := d.key(ref, auth.APIKey)
	for range 49 {
		d.key(ref, auth.APIKey)
	}
	_, _, _, err := d.x.AddCredential(t.Context(), operator, ref, auth.NewCredential{Kind: auth.APIKey})
	says(t, "one too many", err, problem.Conflict, "revoke some")
	_, _, err = d.x.Revoke(t.Context(), operator, first.ID)
	must(t, err)
	d.key(ref, auth.APIKey)
	if _, _, err := d.x.Owner(t.Context(), operator, first.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("the first is still there: %v", err)
	}
	for _, kind := range []auth.CredentialKind{0, 99, auth.ClientCertificate} {
		if _, _, _, err := d.x.AddCredential(t.Context(), operator, ref, auth.NewCredential{Kind: kind}); !problem.Is(err, problem.Malformed) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}

// TestNoSecretIsKept searches the journal, the records and the log for whatever was secret.
func TestNoSecretIsKept(t *testing.T) {
	d := newDoorway(t, auth.Lockout{})
	ref := d.ada()
	_, api := d.key(ref, auth.APIKey)
	_, client := d.key(ref, auth.OAuthClient)
	token, _, err := d.a.Token(t.Context(), client.ClientID, client.ClientSecret, home)
	must(t, err)
	for range 3 {
		d.a.Password(t.Context(), "ada", "main", secretWord, home)
		d.a.Password(t.Context(), "ada", "lab", secretWord, home)
		d.a.Key(t.Context(), api.Key, home)
		d.a.Key(t.Context(), api.Key+"A", home)
	}
	p, err := d.db.Principal(t.Context(), ref.ID)
	must(t, err)
	content := fmt.Sprintf("%+v %s %s", p, p.Password.Sealed, d.log.String())
	for _, e := range d.journal.all() {
		content += fmt.Sprintf("%+v %s", e, e.Data)
	}
	for _, secret := range []string{secretWord, api.Key[17:], client.ClientSecret[4:], token[4:], "argon2id"} {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
			if strings.Contains(content, form) {
				t.Errorf("%.6s… is kept as %.10s…", secret, form)
			}
		}
	}
	if !strings.Contains(content, "ada") {
		t.Error("this looks at nothing")
	}
}

package auth_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

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

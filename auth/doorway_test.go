package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/netip"
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

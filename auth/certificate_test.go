package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// clientCertificate is one of a key, changed by a function.
func clientCertificate(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "ada"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	return parsed
}

func usage(list ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = list }
}

// TestWhichCertificatesCount: a key is bound, so that any certificate of it would count; what is wrong with one is refused.
func TestWhichCertificatesCount(t *testing.T) {
	t.Parallel()
	d := newDoorway(t, auth.Lockout{})
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	_, _, _, err = d.x.AddCredential(ctx, operator, d.ada(), auth.NewCredential{Kind: auth.ClientKey, Certificate: clientCertificate(t, key, nil)})
	must(t, err)
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		counts bool
	}{
		"without usages":           {nil, true},
		"for clients":              {usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth), true},
		"for anything":             {usage(x509.ExtKeyUsageAny), true},
		"another subject":          {func(c *x509.Certificate) { c.Subject.CommonName = "eve" }, true},
		"for servers":              {usage(x509.ExtKeyUsageServerAuth), false},
		"for what nobody knows":    {func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, false},
		"expired":                  {func(c *x509.Certificate) { c.NotAfter = d.now.Add(-time.Second) }, false},
		"not valid yet":            {func(c *x509.Certificate) { c.NotBefore = d.now.Add(time.Minute) }, false},
		"until the end of today":   {func(c *x509.Certificate) { c.NotAfter = d.now.Add(time.Minute) }, true},
		"an issuer's with the key": {usage(x509.ExtKeyUsageOCSPSigning), false},
	} {
		got, err := d.a.Certificate(ctx, clientCertificate(t, key, tt.change), "ada", "main", home)
		if !tt.counts {
			isRefused(t, name, got, err)
		} else if err != nil || got.Principal == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	got, err := d.a.Certificate(ctx, clientCertificate(t, other, nil), "ada", "main", home)
	isRefused(t, "another key with the same names", got, err)
}

// TestCertificatesOfServersAreNotBound: one that would not count is refused when it is to be bound.
func TestCertificatesOfServersAreNotBound(t *testing.T) {
	t.Parallel()
	d := newDoorway(t, auth.Lockout{})
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ref := d.ada()
	for _, kind := range []auth.CredentialKind{auth.ClientCertificate, auth.ClientKey} {
		_, _, _, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: kind, Certificate: clientCertificate(t, key, usage(x509.ExtKeyUsageServerAuth))})
		says(t, kind.String(), err, problem.Malformed, "clientAuth")
	}
	_, c, _, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: clientCertificate(t, key, usage(x509.ExtKeyUsageClientAuth))})
	must(t, err)
	_, _, _, err = d.x.Rotate(ctx, operator, c.ID, auth.Rotation{Certificate: clientCertificate(t, key, usage(x509.ExtKeyUsageServerAuth))})
	says(t, "in place of another", err, problem.Malformed, "clientAuth")
}

// TestKeyOfAnothersCertificate: who is known by a certificate, and who by its key, is one principal, so that the one cannot end and leave the
// certificate to the other.
func TestKeyOfAnothersCertificate(t *testing.T) {
	t.Parallel()
	d := newDoorway(t, auth.Lockout{})
	ctx := t.Context()
	ada, eve := d.ada(), auth.Ref{ID: d.person(d.x, "lab", "eve").ID}
	bind := func(ref auth.Ref, kind auth.CredentialKind, c *x509.Certificate) (auth.Credential, error) {
		_, credential, _, err := d.x.AddCredential(ctx, operator, ref, auth.NewCredential{Kind: kind, Certificate: c})
		return credential, err
	}
	one, two := certificate(t, "one"), certificate(t, "two")
	first, err := bind(ada, auth.ClientCertificate, one)
	must(t, err)
	_, err = bind(eve, auth.ClientKey, one)
	says(t, "the key of another's certificate", err, problem.Conflict, "bound already")
	_, err = bind(ada, auth.ClientKey, two)
	must(t, err)
	_, err = bind(eve, auth.ClientCertificate, two)
	says(t, "a certificate of another's key", err, problem.Conflict, "bound already")
	third, err := bind(eve, auth.ClientCertificate, certificate(t, "three"))
	must(t, err)
	_, _, _, err = d.x.Rotate(ctx, operator, third.ID, auth.Rotation{Certificate: two})
	says(t, "in place of one's own", err, problem.Conflict, "bound already")
	_, err = bind(ada, auth.ClientKey, one)
	must(t, err) // both are its own
	_, _, err = d.x.Revoke(ctx, operator, first.ID)
	must(t, err)
	if got, err := d.a.Certificate(ctx, one, "ada", "", home); err != nil || got.Principal != ada.ID.String() {
		t.Errorf("by the key it is %+v, %v", got, err)
	}
}

// TestRevokedCertificate: what is known to be revoked counts no more, and where that cannot be told nobody is let in.
func TestRevokedCertificate(t *testing.T) {
	t.Parallel()
	d := newDoorway(t, auth.Lockout{})
	ctx := t.Context()
	cert := certificate(t, "ada")
	_, _, _, err := d.x.AddCredential(ctx, operator, d.ada(), auth.NewCredential{Kind: auth.ClientCertificate, Certificate: cert})
	must(t, err)
	var revoked bool
	var failure error
	asked := 0
	a, err := auth.NewAuthenticator(ctx, auth.AuthenticatorConfig{Principals: d.x, Revoked: func(_ context.Context, _ *x509.Certificate, orgs ...auth.OrgID) (bool, error) {
		if asked++; !slices.Equal(orgs, []auth.OrgID{1}) {
			t.Errorf("it is asked about the organisations %v", orgs)
		}
		return revoked, failure
	}})
	must(t, err)
	_, err = a.Certificate(ctx, cert, "", "", home)
	must(t, err)
	revoked = true
	got, err := a.Certificate(ctx, cert, "", "", home)
	isRefused(t, "a revoked one", got, err)
	revoked, failure = false, problem.Wrap(errors.New("the store"), problem.Unavailable, "later")
	if got, err := a.Certificate(ctx, cert, "", "", home); !problem.Is(err, problem.Unavailable) || got.Principal != "" {
		t.Errorf("%+v, %v", got, err)
	}
	before := asked
	got, err = a.Certificate(ctx, certificate(t, "ada"), "", "", home)
	if isRefused(t, "a stranger's", got, err); asked != before {
		t.Error("it is asked about a certificate that is nobody's")
	}
}

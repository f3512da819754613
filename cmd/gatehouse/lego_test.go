package main

import (
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
	"github.com/go-acme/lego/v4/lego"
	legolog "github.com/go-acme/lego/v4/log"
	"github.com/go-acme/lego/v4/registration"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// legoClient is lego against a gateway: the library behind Traefik and many another program.
type legoClient struct {
	*lego.Client
	*legoUser
	i *instance
}

// legoUser is what lego wants to know of an account.
type legoUser struct {
	email    string
	key      crypto.PrivateKey
	resource *registration.Resource
}

func (u *legoUser) GetEmail() string                        { return u.email }
func (u *legoUser) GetRegistration() *registration.Resource { return u.resource }
func (u *legoUser) GetPrivateKey() crypto.PrivateKey        { return u.key }

// tameLego settles what lego has once for the whole process: its logger, whose lines would be among the tests' own, and
// whether it asks the machine's resolver for CNAMEs before it gives a record to a provider, which would leave this machine.
var tameLego = sync.OnceFunc(func() {
	legolog.Logger = stdlog.New(io.Discard, "", 0)
	os.Setenv("LEGO_DISABLE_CNAME_SUPPORT", "true")
})

// newLego has an account key of its own and no account yet.
func newLego(i *instance, directory string, keyType certcrypto.KeyType) *legoClient {
	i.t.Helper()
	tameLego()
	key, err := testca.NewKey(testca.P256)
	must(i.t, err)
	return newLegoFor(i, directory, &legoUser{email: "admin@example.com", key: key}, keyType)
}

func newLegoFor(i *instance, directory string, user *legoUser, keyType certcrypto.KeyType) *legoClient {
	i.t.Helper()
	cfg := lego.NewConfig(user)
	cfg.CADirURL, cfg.HTTPClient, cfg.Certificate.KeyType = directory, i.client(), keyType
	c, err := lego.NewClient(cfg)
	must(i.t, err)
	return &legoClient{c, user, i}
}

// registeredLego is newLego with an account.
func registeredLego(i *instance, keyType certcrypto.KeyType) *legoClient {
	i.t.Helper()
	c := newLego(i, i.directory, keyType)
	r, err := c.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
	must(i.t, err)
	c.resource = r
	return c
}

// byHTTP lets lego answer http-01 with its own server.
func (c *legoClient) byHTTP() *legoClient {
	c.i.t.Helper()
	must(c.i.t, c.Challenge.SetHTTP01Provider(http01.NewProviderServer("127.0.0.1", strconv.Itoa(int(c.i.http01)))))
	return c
}

// byTLS lets lego answer tls-alpn-01 with its own server.
func (c *legoClient) byTLS() *legoClient {
	c.i.t.Helper()
	must(c.i.t, c.Challenge.SetTLSALPN01Provider(tlsalpn01.NewProviderServer("127.0.0.1", strconv.Itoa(int(c.i.alpn01)))))
	return c
}

// legoDNS is a DNS provider for lego: the zone takes dynamic updates.
type legoDNS struct {
	t      *testing.T
	server string
}

func (p legoDNS) Present(domain, _, keyAuth string) error { return p.update(true, domain, keyAuth) }
func (p legoDNS) CleanUp(domain, _, keyAuth string) error { return p.update(false, domain, keyAuth) }

func (p legoDNS) update(add bool, domain, keyAuth string) error {
	return updateTXT(p.t.Context(), p.server, add, domain, dns01.GetChallengeInfo(domain, keyAuth).Value)
}

// Timeout makes lego wait for what is there already no longer than it must.
func (p legoDNS) Timeout() (timeout, interval time.Duration) { return time.Minute, time.Millisecond }

// byDNS lets lego put records where the gateway looks them up.
func (c *legoClient) byDNS(t *testing.T, server string) *legoClient {
	t.Helper()
	seen := func(_, _, _ string, _ dns01.PreCheckFunc) (bool, error) { return true, nil } // an update is answered when it is in force
	must(t, c.Challenge.SetDNS01Provider(legoDNS{t, server}, dns01.WrapPreCheck(seen)))
	return c
}

// obtain is a verified certificate for exactly the names.
func (c *legoClient) obtain(t *testing.T, request certificate.ObtainRequest) (*certificate.Resource, *x509.Certificate) {
	t.Helper()
	request.Bundle = true
	got, err := c.Certificate.Obtain(request)
	must(t, err)
	return got, c.check(t, got, request.Domains...)
}

func (c *legoClient) check(t *testing.T, got *certificate.Resource, names ...string) *x509.Certificate {
	t.Helper()
	chain := parseChain(t, got.Certificate)
	hosts := slices.Clone(names)
	for n, name := range hosts {
		hosts[n] = strings.Replace(name, "*", "any", 1)
	}
	c.i.verifyChain(chain, hosts...)
	return chain[0]
}

// isLegoProblem checks an error for the type and the status of a problem document.
func isLegoProblem(t testing.TB, err error, status int, kind string) {
	t.Helper()
	p, ok := errors.AsType[*acme.ProblemDetails](err)
	if !ok || p.HTTPStatus != status || p.Type != "urn:ietf:params:acme:error:"+kind {
		t.Errorf("error is %v, want %s with status %d", err, kind, status)
	}
}

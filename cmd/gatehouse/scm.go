package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
)

// openSCM makes the door for programs that were written for SCM. What it needs is configured for all doors: principals and their
// credentials, profiles by number, custom fields.
func (c *core) openSCM(ctx context.Context, mux *http.ServeMux) error {
	s := c.settings
	authenticator, err := auth.NewAuthenticator(ctx, auth.AuthenticatorConfig{Principals: c.principals, Revoked: c.registrar.IsRevoked, Log: s.log})
	if err != nil {
		return fmt.Errorf("preparing to verify credentials: %w", err)
	}
	uploads, err := uploadsFolder(s.folder)
	if err != nil {
		return err
	}
	door, err := scm.New(scm.Config{
		Spool: uploads, SpoolRoom: uploadsRoom(uploads),
		PublicURL: s.publicURLs[0], Registrar: c.registrar, Authenticator: authenticator, Organisations: c.organisations, Tenants: c.tenants, Domains: c.domains, Fields: s.fields(),
		External: c.external, EAB: s.eab,
		DeactivateClient: func(ctx context.Context, caller auth.Caller, kid, account string) error {
			return c.acme.DeactivateBound(ctx, caller, kid, acme.AccountID(account))
		},
		Chain: c.chain, Login: c.loginOf, Principal: c.principalOf, Now: c.clock.Now,
		Offer:        func(f bundle.Format) (ra.Offer, error) { return console.ParseOffer(f.String(), "", false) },
		DownloadPath: console.DownloadPath, Processing: s.scm.Processing,
		Remote: func(r *http.Request) netip.Addr {
			peer, _ := netip.ParseAddrPort(r.RemoteAddr) // all that are none share one counter
			return peer.Addr()
		},
		Observe: func(ctx context.Context, endpoint string, err error) {
			event := web.Event(ctx)
			event.Endpoint(endpoint)
			event.Problem(err)
		},
	})
	if err != nil {
		return err
	}
	handler := door.Handler()
	for _, path := range scm.Paths() {
		mux.Handle(path, handler)
	}
	return c.openDocs(mux)
}

// loginOf is a principal's login, where there is one; otherwise how journal and store call it.
func (c *core) loginOf(ctx context.Context, principal string) string {
	id, ok := auth.ParsePrincipalID(principal)
	if !ok {
		return principal
	}
	p, err := c.db.Principal(ctx, id)
	if err != nil {
		return principal
	}
	return p.Login
}

// principalOf finds the principal with a login among those of the caller's customer; "" if there is none.
func (c *core) principalOf(ctx context.Context, caller auth.Caller, login string) (string, error) {
	id, ok, err := c.principals.ByLogin(ctx, caller, login)
	if err != nil || !ok {
		return "", err
	}
	return id.String(), nil
}

// fields are the custom fields of the deployment, which every profile knows.
func (s *settings) fields() *policy.Fields {
	for _, p := range s.profiles {
		return p.Fields()
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
)

// openSCM makes the door for programs that were written for SCM. What it needs is configured for all doors: principals and their
// credentials, profiles by number, custom fields. The listener asks nobody for a client certificate.
func (c *core) openSCM(ctx context.Context, mux *http.ServeMux) error {
	s := c.settings
	authenticator, err := auth.NewAuthenticator(ctx, auth.AuthenticatorConfig{Principals: c.principals, Log: s.log})
	if err != nil {
		return fmt.Errorf("preparing to verify credentials: %w", err)
	}
	door, err := scm.New(scm.Config{
		PublicURL: s.publicURLs[0], Registrar: c.registrar, Authenticator: authenticator, Organisations: c.organisations, Domains: c.domains, Fields: s.fields(),
		Chain: c.chain, Login: c.loginOf, Now: c.clock.Now,
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
	return nil
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

// fields are the custom fields of the deployment, which every profile knows.
func (s *settings) fields() *policy.Fields {
	for _, p := range s.profiles {
		return p.Fields()
	}
	return nil
}

package scm

import (
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxHeader is the most octets of a header that authenticates. auth refuses longer values of its own.
const maxHeader = 1024

// errUnknownUser is for who brings nothing that could be looked up.
var errUnknownUser = coded(http.StatusUnauthorized, codeUnknownUser, problem.New(problem.Unauthorized, "Unknown user"))

// authenticate finds out who calls: by an access token, beside which login and customerUri are not looked at, because some clients
// send all of it; otherwise by the headers login, password and customerUri. Without customerUri the login is of the
// organisation that is the default.
func (s *Server) authenticate(r *http.Request) (auth.Caller, error) {
	ctx, from := r.Context(), s.Remote(r)
	authorization, err := one(r.Header, "Authorization")
	if err != nil {
		return auth.Caller{}, err
	}
	if scheme, token, _ := strings.Cut(authorization, " "); authorization != "" {
		if !strings.EqualFold(scheme, "Bearer") {
			return auth.Caller{}, errUnknownUser
		}
		return unknownUser(s.Authenticator.Bearer(ctx, strings.TrimSpace(token), from))
	}
	var values [3]string
	for i, name := range []string{"login", "password", "customerUri"} {
		if values[i], err = one(r.Header, name); err != nil {
			return auth.Caller{}, err
		}
	}
	if values[0] == "" || values[1] == "" {
		return auth.Caller{}, errUnknownUser
	}
	return unknownUser(s.Authenticator.Password(ctx, values[0], values[2], values[1], from))
}

// certified finds out who calls below [PrivatePath]: by the client certificate of the connection, which must be bound to a
// principal, alone. login and customerUri, where they are sent, must be that principal's; a password or a token counts for nothing.
// It is asked for each request, so that what is revoked ends on connections and in sessions of TLS that go on.
func (s *Server) certified(r *http.Request) (auth.Caller, error) {
	var leaf *x509.Certificate
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf = r.TLS.PeerCertificates[0]
	}
	login, err := one(r.Header, "login")
	if err != nil {
		return auth.Caller{}, err
	}
	customer, err := one(r.Header, "customerUri")
	if err != nil {
		return auth.Caller{}, err
	}
	return unknownUser(s.Authenticator.Certificate(r.Context(), leaf, login, customer, s.Remote(r)))
}

// one is a header that must not be there twice.
func one(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || len(values[0]) > maxHeader:
		return "", errUnknownUser
	}
	return values[0], nil
}

// unknownUser is what clients look for when they are not let in. A failure of ours, and a pause that is due, are another matter.
func unknownUser(caller auth.Caller, err error) (auth.Caller, error) {
	switch {
	case err == nil:
		return caller, nil
	case problem.Is(err, problem.Unauthorized):
		return auth.Caller{}, coded(http.StatusUnauthorized, codeUnknownUser, problem.Wrap(err, problem.Unauthorized, "Unknown user"))
	case problem.Is(err, problem.RateLimited):
		return auth.Caller{}, coded(http.StatusTooManyRequests, codeLoginFailed, err)
	default:
		return auth.Caller{}, err
	}
}

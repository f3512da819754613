package scm

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
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

// token gives an OAuth2 client an access token (RFC 6749, 4.4). The client is authenticated by the form or by HTTP Basic
// (RFC 6749, 2.3.1), not by both.
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return problem.New(problem.MethodNotAllowed, "this path takes POST")
	}
	form, err := rest.ReadForm(r, 8<<10)
	if err != nil {
		return oauthError(w, http.StatusBadRequest, "invalid_request", err)
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(w, http.StatusBadRequest, "unsupported_grant_type", problem.New(problem.Malformed, "grant_type must be client_credentials"))
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			return oauthError(w, http.StatusBadRequest, "invalid_request", problem.New(problem.Malformed, "send client_secret or the Authorization header, not both"))
		}
		if id, err = url.QueryUnescape(user); err == nil {
			secret, err = url.QueryUnescape(password)
		}
		if err != nil {
			return oauthError(w, http.StatusBadRequest, "invalid_request", problem.New(problem.Malformed, "the Authorization header is not encoded as a form"))
		}
	}
	token, lifetime, err := s.Authenticator.Token(r.Context(), id, secret, s.Remote(r))
	switch {
	case problem.Is(err, problem.Unauthorized):
		w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse"`)
		return oauthError(w, http.StatusUnauthorized, "invalid_client", problem.Wrap(err, problem.Unauthorized, "the client is not accepted"))
	case err != nil:
		_, err = unknownUser(auth.Caller{}, err)
		return err
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749, 5.1
	return rest.WriteJSON(w, http.StatusOK, jsonType, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int64(lifetime.Seconds()),
	})
}

// oauthError answers as RFC 6749, 5.2 has it, and gives what is told to whoever observes.
func oauthError(w http.ResponseWriter, status int, word string, err error) error {
	p := problem.From(err)
	if werr := rest.WriteJSON(w, status, jsonType, map[string]string{"error": word, "error_description": p.Detail}); werr != nil {
		return &answered{werr}
	}
	return &answered{err}
}

// answered is an error that the client has been told of.
type answered struct{ error }

func (a *answered) Unwrap() error { return a.error }

package scm

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// The words of errors (RFC 6749, 5.2). The last two are those of 4.1.2.1, which has some for what is no fault of the client's;
// clients know them everywhere.
const (
	oauthInvalidRequest   = "invalid_request"
	oauthInvalidClient    = "invalid_client"
	oauthUnsupportedGrant = "unsupported_grant_type"
	oauthUnavailable      = "temporarily_unavailable"
	oauthServerError      = "server_error"
)

// maxTokenForm is the most octets of a form that asks for a token.
const maxTokenForm = 8 << 10

// token gives an OAuth2 client an access token (RFC 6749, 4.4). The client is authenticated by the form or by HTTP Basic
// (RFC 6749, 2.3.1), not by both. Whatever goes wrong is said in OAuth's form: what is written for it looks for nothing else.
func (s *Server) token(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return oauthError(w, http.StatusMethodNotAllowed, oauthInvalidRequest, problem.New(problem.MethodNotAllowed, "this path takes POST"))
	}
	id, secret, err := tokenForm(r)
	if err != nil {
		return s.refuseToken(w, err)
	}
	token, lifetime, err := s.Authenticator.Token(r.Context(), id, secret, s.Remote(r))
	if err != nil {
		return s.refuseToken(w, err)
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749, 5.1
	return rest.WriteJSON(w, http.StatusOK, jsonType, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int64(lifetime.Seconds()),
	})
}

// errGrant is for every grant but the one there is.
var errGrant = problem.New(problem.Malformed, "grant_type must be client_credentials")

// tokenForm reads the id and secret of a client.
func tokenForm(r *http.Request) (id, secret string, err error) {
	form, err := rest.ReadForm(r, maxTokenForm)
	if err != nil {
		return "", "", err
	}
	if form.Get("grant_type") != "client_credentials" {
		return "", "", errGrant
	}
	id, secret = form.Get("client_id"), form.Get("client_secret")
	user, password, ok := r.BasicAuth()
	if !ok {
		return id, secret, nil
	}
	if secret != "" {
		return "", "", problem.New(problem.Malformed, "send client_secret or the Authorization header, not both")
	}
	if id, err = url.QueryUnescape(user); err == nil {
		secret, err = url.QueryUnescape(password)
	}
	if err != nil {
		return "", "", problem.New(problem.Malformed, "the Authorization header is not encoded as a form")
	}
	return id, secret, nil
}

// refuseToken answers with an error in OAuth's form. RFC 6749 has 400 and 401 for what is the client's fault; who is to come back
// gets the status that says so, and Retry-After.
func (s *Server) refuseToken(w http.ResponseWriter, err error) error {
	retryAfter(w, problem.From(err))
	switch problem.From(err).Kind {
	case problem.Unauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse"`)
		return oauthError(w, http.StatusUnauthorized, oauthInvalidClient, problem.Wrap(err, problem.Unauthorized, "the client is not accepted"))
	case problem.RateLimited:
		return oauthError(w, http.StatusTooManyRequests, oauthUnavailable, err)
	case problem.Unavailable:
		return oauthError(w, http.StatusServiceUnavailable, oauthUnavailable, err)
	case problem.Malformed, problem.UnsupportedMedia:
		word := oauthInvalidRequest
		if err == errGrant {
			word = oauthUnsupportedGrant
		}
		return oauthError(w, http.StatusBadRequest, word, err)
	case problem.TooLarge:
		return oauthError(w, http.StatusRequestEntityTooLarge, oauthInvalidRequest, err)
	default:
		return oauthError(w, http.StatusInternalServerError, oauthServerError, err)
	}
}

// oauthError answers as RFC 6749, 5.2 has it, and gives what is told to whoever observes.
func oauthError(w http.ResponseWriter, status int, word string, err error) error {
	detail := problem.From(err).Detail
	if detail == "" {
		detail = failed
	}
	body := map[string]string{"error": word, "error_description": strings.Map(oauthText, detail)}
	if werr := rest.WriteJSON(w, status, jsonType, body); werr != nil {
		return &answered{werr}
	}
	return &answered{err}
}

// oauthText is a character as a description may have it (RFC 6749, 5.2).
func oauthText(c rune) rune {
	switch {
	case c == '"', c == '\\':
		return '\''
	case c < ' ' || c > '~':
		return '?'
	default:
		return c
	}
}

package acme

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxBody bounds a request: a CSR of 64 KiB grows by a third in base64url, and once more inside the JWS.
const maxBody = 128 << 10

// signer says by which key a resource's requests are signed (RFC 8555, 6.2).
type signer uint8

const (
	byKey          signer = iota + 1 // "jwk": the account may not exist yet
	byAccount                        // "kid"
	byAccountOrKey                   // either: "jwk" is a certificate's key (RFC 8555, 7.6)
)

// payload says what a resource's requests carry. None is a POST-as-GET (RFC 8555, 6.3).
type payload uint8

const (
	object payload = iota + 1
	none
	objectOrNone
)

// signed is a request after every check that is the same for all resources. Handlers see nothing else of a request. Those
// of open resources also get what nobody signed: that has a method, and nothing below it.
type signed struct {
	target  target
	method  string // of an unsigned request; empty: this is a POST
	address string // for the limits per address (Server.addressOf); empty: none holds
	url     string // as the protected header has it
	payload jws.Payload
	key     *jws.PublicKey // that signed
	account *Account       // whose key it is; never nil for byAccount, nil if there is none for byKey
	// only is what the account may ask for at most, once restrict has looked that up.
	only policy.Restriction

	// What the URL names, and belongs to the account.
	order       *Order
	authz       *Authorization
	certificate *ca.Certificate
}

// reads reports whether the request is a POST-as-GET.
func (r *signed) reads() bool { return len(r.payload) == 0 }

// open takes a request through the checks of RFC 8555, section 6, in the sequence that costs us least: form, URL and the
// nonce's MAC without the store, then one round trip, then the signature.
func (s *Server) open(w http.ResponseWriter, r *http.Request, t target, e endpoint) (*signed, error) {
	address := s.addressOf(r.RemoteAddr)
	if err := s.known(s.requestsFrom(address)); err != nil {
		return nil, err
	}
	message, err := s.parse(w, r, e.signer)
	if err != nil {
		return nil, err
	}
	// RFC 8555, 6.4: compared as a string, and a mismatch is unauthorized.
	if !s.links.names(message.URL(), r.URL.EscapedPath(), r.URL.RawQuery) {
		return nil, problem.New(problem.Unauthorized, `the protected header's "url" is not the URL that was asked for; this gateway is %s`, s.links.bases[0])
	}
	req := &signed{target: t, address: address, url: message.URL(), key: message.Key()}
	a := Admission{Order: t.order, Authz: t.authz, Certificate: t.certificate}
	if err := s.nonces.check(message.Nonce(), &a); err != nil {
		return nil, err
	}
	if req.key != nil {
		// The key is at hand, so nothing unsigned reaches the store's records.
		if req.payload, err = message.Verify(req.key); err != nil {
			return nil, s.blame(r.Context(), address, err)
		}
		a.Thumbprint = req.key.Thumbprint()
	} else if a.Account, err = s.signerOf(message.KeyID(), t); err != nil {
		return nil, err
	}
	if t.certificate != nil && !s.hasIssuer(t.certificate.Issuer) {
		return nil, errAbsent
	}
	admitted, err := s.admit(r.Context(), a, address)
	if err != nil {
		return nil, err
	}
	if !admitted.Fresh { // RFC 8555, 6.5
		return nil, s.blame(r.Context(), address, errUsedNonce)
	}
	if err := req.authenticate(message, admitted.Account); err != nil {
		return nil, err
	}
	if req.account != nil {
		s.verified(req.account)
	}
	if req.account != nil && req.account.Status() != StatusValid { // RFC 8555, 7.3.6
		return nil, s.deactivated(r.Context(), req.account)
	}
	// Whose organisation was disabled does nothing more, but what was issued to it can always be revoked.
	if req.account != nil && t.resource != resRevoke && s.Organisations.Works(req.account.Org) != nil {
		return nil, errOrgStopped
	}
	if err := req.take(admitted); err != nil {
		return nil, err
	}
	return req, e.payload.check(req)
}

// parse reads the body into a message whose key form fits the resource.
func (s *Server) parse(w http.ResponseWriter, r *http.Request, by signer) (*jws.Message, error) {
	if !isJOSE(r.Header.Get("Content-Type")) { // RFC 8555, 6.2
		return nil, problem.New(problem.UnsupportedMedia, "the Content-Type must be application/jose+json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, problem.New(problem.TooLarge, "the request is larger than %d bytes", maxBody)
		}
		return nil, problem.Wrap(err, problem.Malformed, "the request's body could not be read")
	}
	message, err := jws.Parse(body)
	if err != nil {
		return nil, err
	}
	switch { // RFC 8555, 6.2
	case by == byKey && message.Key() == nil:
		return nil, problem.New(problem.Malformed, `this request carries its key in "jwk", not an account in "kid"`)
	case by == byAccount && message.Key() != nil:
		return nil, problem.New(problem.Malformed, `this request names its account in "kid", not a key in "jwk"`)
	}
	return message, nil
}

func isJOSE(contentType string) bool {
	const jose = "application/jose+json"
	if contentType == jose {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == jose
}

// signerOf finds the account that "kid" names. An account is asked for by itself only; its URL looks absent to others.
func (s *Server) signerOf(kid string, t target) (AccountID, error) {
	id, ok := s.links.accountOf(kid)
	if !ok {
		return "", problem.New(problem.AccountDoesNotExist, `"kid" is not the URL of an account here`)
	}
	if t.account != "" && t.account != id {
		return "", errAbsent
	}
	return id, nil
}

// authenticate verifies the signature of the account's key, and says whose request this is.
func (r *signed) authenticate(message *jws.Message, account *Account) error {
	r.account = account
	if r.key == nil {
		if account == nil {
			return errNoAccount
		}
		key, err := jws.ParsePublicKey(account.Key)
		if err != nil {
			return err
		}
		if r.payload, err = message.Verify(key); err != nil {
			return err
		}
		r.key = key
	} else if r.target.resource == resRevoke {
		// The key is a certificate's. Should an account have it too, that account is not who asks (RFC 8555, 7.6).
		r.account = nil
		return nil
	}
	return nil
}

// deactivated refuses a request of an account that no longer acts.
func (s *Server) deactivated(ctx context.Context, a *Account) error {
	if _, err := s.affirm(ctx, a); err != nil {
		return err
	}
	return errDeactivated
}

var (
	errUsedNonce  = problem.New(problem.BadNonce, "the nonce was used before; use the one in this answer")
	errOrgStopped = problem.New(problem.Unauthorized, "the account's organisation is disabled; only revocations are taken from it")
	errNoAccount  = problem.New(problem.AccountDoesNotExist, "there is no such account")
	// errAbsent is the one answer for what does not exist and for what belongs to somebody else.
	errAbsent = problem.New(problem.NotFound, "there is nothing at this URL, or it belongs to another account")
)

// take keeps what the URL names if it is the account's own.
func (r *signed) take(a Admitted) error {
	switch r.target.resource {
	case resOrder, resFinalize:
		if a.Order == nil || a.Order.Account != r.account.ID || a.Order.Org != r.account.Org {
			return errAbsent
		}
		r.order = a.Order
	case resAuthz, resChallenge:
		if a.Authz == nil || a.Authz.Account != r.account.ID || a.Authz.Org != r.account.Org {
			return errAbsent
		}
		r.authz = a.Authz
	case resCertificate:
		if !r.account.asked(a.Certificate) {
			return errAbsent
		}
		r.certificate = a.Certificate
	}
	return nil
}

// check holds a payload to what the resource takes.
func (p payload) check(r *signed) error {
	switch {
	case p == object && r.reads():
		return problem.New(problem.Malformed, "this resource cannot be read; POST a JWS with a JSON object as its payload")
	case p == none && !r.reads(): // RFC 8555, 6.3
		return problem.New(problem.Malformed, "this resource can only be read; POST a JWS with an empty payload")
	}
	return nil
}

// reread reads records again that may have moved on since the request was admitted. Without a nonce, none is used up.
func (s *Server) reread(ctx context.Context, a Admission) (Admitted, error) {
	a.Nonce = nil
	return s.Store.Admit(ctx, a)
}

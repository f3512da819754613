package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Registrar is the registration authority as this door uses it (ra.Registrar).
type Registrar interface {
	// Submit asks for a certificate and waits for it. An error means that nothing was recorded; Conflict, that the order
	// had moved on. An enrollment that is still requested will be finished in the background.
	Submit(ctx context.Context, caller auth.Caller, req ra.Request) (*ra.Enrollment, error)
	// Proceed has the certificate of an approved enrollment made, and gives it back as it then stands. One that is not in phase
	// Approved stays as it is.
	Proceed(ctx context.Context, e *ra.Enrollment) (*ra.Enrollment, error)
	// Revoke revokes a certificate that the caller asked for.
	Revoke(ctx context.Context, caller auth.Caller, rev ra.Revocation) error
	// RevokeByControl revokes a certificate of the caller's organisation for whoever, as controls says, controls its names.
	RevokeByControl(ctx context.Context, caller auth.Caller, rev ra.Revocation, controls func(context.Context, *ca.Certificate) error) error
	// RevokeByKey revokes a certificate for whoever proved possession of its private key.
	RevokeByKey(ctx context.Context, rev ra.Revocation, key crypto.PublicKey) error
}

// Validator proves control over a name (dcv). The record says what was seen, whatever came of it, and may be nil. The
// error is a *problem.Error.
type Validator interface {
	Check(ctx context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error)
}

// Domains finds proofs of domains (ra.Domains): for each name that of one which lets the requester have it under the profile at
// a time, or nil.
type Domains interface {
	Proofs(ctx context.Context, profile *policy.Profile, r policy.Requester, names []identifier.Identifier, at time.Time) ([]*policy.Proven, error)
}

// Journal is the audit journal as this door needs it: durable on return, or an error and then the request fails.
type Journal interface {
	Append(ctx context.Context, events ...audit.Event) error
}

// Config is what a Server needs. Fields without a default are required.
type Config struct {
	// PublicURLs are the gateway's own URLs, without a trailing slash: the first is written into answers, all are accepted
	// in "url" and "kid" (RFC 8555, 6.2 and 6.4).
	PublicURLs     []string
	Organisations  *auth.Directory
	Profiles       map[string]*policy.Profile
	DefaultProfile string // the one a directory serves whose URL names none
	// Allowed says whether an organisation may use a profile.
	Allowed func(org auth.OrgID, profile string) bool
	// NameRules gives the rules about names that an organisation is held to, its own and those from above. Nil: nobody has
	// any.
	NameRules func(org auth.OrgID) []policy.NameRules
	// Issuers names every issuer whose certificates can be downloaded and revoked here, Chain gives one's certificates as
	// PEM: its own first, each certified by the next.
	Issuers []string
	Chain   func(issuer string) []byte
	// Alternates gives an issuer's other chains in the same form (RFC 8555, 7.4.2), always in the same sequence: their
	// places are in URLs. Nil: there are none.
	Alternates func(issuer string) [][]byte

	Store     Store
	Registrar Registrar
	Validator Validator
	Domains   Domains // proofs of domains; nil: there are none
	Journal   Journal
	Work      *work.Group // runs what outlives a request

	TermsURL string // terms of service that a new account must agree to; empty: there are none
	Website  string // shown in the directory; may be empty
	// EAB is what /acme/directory asks of new accounts about external account binding (RFC 8555, 7.3.4); default auth.EABOff. The
	// directories of organisations follow auth.Org.EAB. External finds the keys; required unless EAB is off. Without it an
	// organisation's directory, too, makes no account by a binding.
	EAB      auth.EABMode
	External ExternalAccounts
	// CAAIdentities are the names by which CAA records mean this gateway, shown in the directory (RFC 8555, 7.1.1); may be
	// empty.
	CAAIdentities []string

	OrderLifetime         time.Duration // default 7 days
	AuthorizationLifetime time.Duration // how long a new authorization may stay pending; default 7 days
	ChallengeWait         time.Duration // how long an answer waits for a validation; default 100 ms
	FinalizeWait          time.Duration // how long an answer waits for a certificate; default 2 s
	// Validations is how many may be under way in this process, waiting for a slot of dcv or running; default 1024. An
	// eighth of them, or sixteen, may be one account's. Further ones stay with the store until there is room.
	Validations int

	Limits Limits // rate limits (RFC 8555, 6.6); the zero value limits nothing
	// Limited is told of every refusal by a limit. Nil: nobody is told.
	Limited func(limit Limit)

	// Observe is told of every request: the resource it named ("order", "new-nonce", …; "unknown" if none) and why it failed,
	// nil if it did not. It is called once, before the answer ends, with the request's context. Nil: nobody is told.
	Observe func(ctx context.Context, resource string, err error)
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: discarded
}

func (c *Config) setDefaults() {
	const week = 7 * 24 * time.Hour
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.OrderLifetime, week)
	set(&c.AuthorizationLifetime, week)
	set(&c.ChallengeWait, 100*time.Millisecond)
	set(&c.FinalizeWait, 2*time.Second)
	if c.Validations == 0 {
		c.Validations = 1024
	}
	if c.EAB == 0 {
		c.EAB = auth.EABOff
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) check() error {
	switch {
	case c.Organisations == nil, c.Allowed == nil, c.Chain == nil, c.Store == nil, c.Registrar == nil,
		c.Validator == nil, c.Journal == nil, c.Work == nil:
		return fmt.Errorf("acme: a required field of the configuration is missing")
	case c.Profiles[c.DefaultProfile] == nil:
		return fmt.Errorf("acme: the default profile %q is not configured", c.DefaultProfile)
	case c.OrderLifetime < 0 || c.AuthorizationLifetime < 0 || c.ChallengeWait < 0 || c.FinalizeWait < 0 || c.Validations < 0:
		return fmt.Errorf("acme: a lifetime, wait or number in the configuration is negative")
	}
	if c.EAB != 0 && c.EAB != auth.EABOff && c.External == nil {
		return fmt.Errorf("acme: /acme/directory takes external account bindings, and there is nothing to find their keys")
	}
	if err := c.Limits.Check(); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	return nil
}

// Server is the ACME door: an http.Handler for everything below /acme/. It is safe for concurrent use.
type Server struct {
	Config
	log         *slog.Logger
	links       links
	nonces      *nonces
	issuers     []issuer
	validations validations
	finalizing  finalizing
	journaled   journaled
	debts       recent[AccountID, debt]
	refusals    recent[string, time.Time]  // until when a claim is known to be refused
	givenUpHere recent[AuthzID, time.Time] // authorizations whose deactivation this process has journaled
}

// issuer is how a certificate to be revoked is recognised.
type issuer struct {
	name        string
	certificate *x509.Certificate
}

// New makes a Server and starts its sweeps on Config.Work. It reads the nonce keys, so it fails if the store cannot
// serve.
func New(ctx context.Context, c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.setDefaults()
	s := &Server{Config: c, log: c.Log}
	var err error
	if s.links, err = newLinks(c.PublicURLs); err != nil {
		return nil, err
	}
	for _, name := range c.Issuers {
		block, _ := pem.Decode(c.Chain(name))
		if block == nil {
			return nil, fmt.Errorf("acme: the chain of issuer %q holds no PEM", name)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("acme: the certificate of issuer %q: %w", name, err)
		}
		s.issuers = append(s.issuers, issuer{name, certificate})
	}
	if s.nonces, err = newNonces(ctx, c.Store, c.Now); err != nil {
		return nil, fmt.Errorf("acme: reading the nonce keys: %w", err)
	}
	s.validations.init(c.Validations)
	s.finalizing.init()
	s.journaled.init(journaledKept)
	s.debts.init(debtsKept)
	s.refusals.init(refusalsKept)
	s.givenUpHere.init(journaledKept)
	s.startSweeps()
	return s, nil
}

// now is the time as records hold it: UTC, whole seconds.
func (s *Server) now() time.Time { return s.Now().UTC().Truncate(time.Second) }

// ServeHTTP answers one request. Bodies are bounded here; the listener bounds time.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")         // RFC 8555, 7.2, and nothing else here is worth caching
	h.Set("Replay-Nonce", s.nonces.fresh())    // RFC 8555, 6.5: on successes it must be, on errors it should be
	h.Set("X-Content-Type-Options", "nosniff") // names in problem documents are the client's own words
	crossOrigin(h)
	t, ok := parseURL(r.URL.EscapedPath(), r.URL.RawQuery)
	if !ok || t.resource != resDirectory { // RFC 8555, 7.1
		h.Add("Link", `<`+s.index(t)+`>;rel="index"`)
	}
	err := error(errNowhere)
	if ok {
		var rep *reply
		if rep, err = s.answer(w, r, t); err == nil {
			err = rep.write(w, r)
		} else if rep != nil && rep.location != "" { // RFC 8555, 7.3.5: an error that names the account in the way
			h.Set("Location", rep.location)
		}
	}
	if s.Observe != nil {
		s.Observe(r.Context(), t.resource.String(), err)
	}
	if err != nil {
		s.writeProblem(w, r, err)
	}
}

var errNowhere = problem.New(problem.NotFound, "there is nothing at this URL")

// endpoint is how one resource is asked.
type endpoint struct {
	signer  signer
	payload payload
	handle  func(s *Server, ctx context.Context, req *signed) (*reply, error)
	open    bool // RFC 8555, 6.3: GET without a signature as well
}

// endpoints is the door in one screen.
var endpoints = map[resource]endpoint{
	resDirectory:   {byAccount, none, (*Server).directory, true},
	resNewNonce:    {byAccount, none, (*Server).newNonce, true},
	resNewAccount:  {byKey, object, (*Server).newAccount, false},
	resNewAuthz:    {byAccount, object, (*Server).newAuthz, false},
	resNewOrder:    {byAccount, object, (*Server).newOrder, false},
	resAccount:     {byAccount, objectOrNone, (*Server).account, false},
	resOrders:      {byAccount, none, (*Server).orders, false},
	resOrder:       {byAccount, none, (*Server).order, false},
	resFinalize:    {byAccount, object, (*Server).finalize, false},
	resAuthz:       {byAccount, objectOrNone, (*Server).authorization, false},
	resChallenge:   {byAccount, objectOrNone, (*Server).challenge, false},
	resCertificate: {byAccount, none, (*Server).certificate, false},
	resRevoke:      {byAccountOrKey, object, (*Server).revoke, false},
	resRenewalInfo: {byAccount, none, (*Server).renewalInfo, true}, // RFC 9773, 4.1: unauthenticated
	resKeyChange:   {byAccount, object, (*Server).keyChange, false},
}

// methods are those that the resource is asked by.
func (e endpoint) methods() string {
	if e.open {
		return "GET, HEAD, POST"
	}
	return "POST"
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, t target) (*reply, error) {
	e := endpoints[t.resource]
	switch {
	case r.Method == http.MethodPost:
	case r.Method == http.MethodOptions:
		return preflight(w, e), nil
	case e.open && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return e.handle(s, r.Context(), &signed{target: t, method: r.Method, address: s.addressOf(r.RemoteAddr)})
	case e.open:
		w.Header().Set("Allow", e.methods())
		return nil, problem.New(problem.MethodNotAllowed, "use GET or HEAD here, or POST a JWS with an empty payload (RFC 8555, 6.3)")
	default: // RFC 8555, 6.3
		w.Header().Set("Allow", e.methods())
		return nil, problem.New(problem.MethodNotAllowed, "use POST here; to read, POST a JWS with an empty payload (RFC 8555, 6.3)")
	}
	req, err := s.open(w, r, t, e)
	if err != nil {
		return nil, err
	}
	return e.handle(s, r.Context(), req)
}

package dcv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Config is what a [Validator] needs. Only Resolver.Servers has no default.
type Config struct {
	Resolver ResolverConfig
	// HTTPPort and HTTPSPort are the only ports a validation contacts; default 80 and 443 (BR 1.6.1, "Authorized Ports").
	// Others are for tests and throw-away gateways.
	HTTPPort, HTTPSPort uint16
	// TLSALPNPort is the port that tls-alpn-01 contacts; default 443 (RFC 8737, 3). Others are for tests and throw-away
	// gateways.
	TLSALPNPort uint16
	// UserAgent is sent with every request; printable ASCII, best with a URL that explains the visit, such as
	// "Gatehouse (+https://ca.example.com/validation)". Default "Gatehouse".
	UserAgent string
	// Timeout is how long one validation may take once it has a slot; default 15 s.
	Timeout time.Duration
	// DialTimeout is how long one attempt to connect may take; default 5 s. IPv6Timeout, default 2 s, holds instead for an
	// IPv6 address while there is an IPv4 address to fall back on.
	DialTimeout, IPv6Timeout time.Duration
	// MaxConcurrent validations run at once; default 256. MaxPerTarget of them, default 16, may concern the same registered
	// domain, internal name or IP address. Further ones wait as long as their context lets them.
	MaxConcurrent, MaxPerTarget int
	// AllowLoopback lets validations contact 127.0.0.0/8 and ::1. It is for throw-away gateways only.
	AllowLoopback bool
	// CAAIdentities are the issuer domain names by which CAA records mean this gateway (RFC 8659, 4.2), as in ca.example.com;
	// the first is the one that is advised. None: CAA cannot be asked.
	CAAIdentities []string
	// OwnAddresses returns the addresses this gateway listens on, and those it is reached by from outside where they differ.
	// They are never contacted; one with an unspecified address stands for every address of this host. It is called for
	// each address that is checked and must be cheap and safe for concurrent use. nil: none.
	OwnAddresses func() []netip.AddrPort
	// Now is the clock that stamps proofs and records; default time.Now. Deadlines and durations do not follow it.
	Now func() time.Time
}

// Validator proves control over identifiers. It is safe for concurrent use.
type Validator struct {
	cfg      Config
	ports    ports
	resolver *Resolver
	guard    guard
	slots    *slots
	fetcher  fetcher
}

// New makes a Validator. It sends nothing; the first validation does.
func New(cfg Config) (*Validator, error) {
	resolver, err := NewResolver(cfg.Resolver)
	if err != nil {
		return nil, err
	}
	cfg.HTTPPort = cmp.Or(cfg.HTTPPort, 80)
	cfg.HTTPSPort = cmp.Or(cfg.HTTPSPort, 443)
	cfg.TLSALPNPort = cmp.Or(cfg.TLSALPNPort, 443)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "Gatehouse")
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 5*time.Second)
	cfg.IPv6Timeout = cmp.Or(cfg.IPv6Timeout, 2*time.Second)
	cfg.MaxConcurrent = cmp.Or(cfg.MaxConcurrent, 256)
	cfg.MaxPerTarget = cmp.Or(cfg.MaxPerTarget, 16)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Validator{
		cfg:      cfg,
		ports:    ports{http: cfg.HTTPPort, https: cfg.HTTPSPort},
		resolver: resolver,
		guard:    guard{loopback: cfg.AllowLoopback, own: cfg.OwnAddresses},
		slots:    newSlots(cfg.MaxConcurrent, cfg.MaxPerTarget),
		fetcher:  fetcher{userAgent: cfg.UserAgent},
	}, nil
}

func (c *Config) check() error {
	switch {
	case c.Timeout < 0, c.DialTimeout < 0, c.IPv6Timeout < 0:
		return errors.New("dcv: a timeout is negative")
	case c.MaxConcurrent < 0, c.MaxPerTarget < 0:
		return errors.New("dcv: a limit on concurrent validations is negative")
	case c.HTTPPort == c.HTTPSPort:
		return fmt.Errorf("dcv: HTTP and HTTPS have the same port %d", c.HTTPPort)
	case strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r >= 0x7f }):
		return errors.New("dcv: the user agent holds something other than printable ASCII") // RFC 9110, 5.5
	}
	return checkIdentities(c.CAAIdentities)
}

// Close releases the sockets that are kept between validations. Validations under way are not disturbed.
func (v *Validator) Close() error { return v.resolver.Close() }

// Check validates once. It waits for a slot as long as ctx lets it; then Config.Timeout and ctx bound the validation. It
// changes nothing and may be called again.
//
// The Record is never nil. The error is nil or a [*problem.Error] whose detail says what was dialled, expected and found
// and what to change: Connection, DNS, TLS, IncorrectResponse, RejectedIdentifier (the method cannot prove this name, or
// its address may not be contacted), Malformed (the request itself), Unavailable (no slot in time, or ctx was canceled:
// nothing is known about the name, and the validation should be repeated), Internal.
func (v *Validator) Check(ctx context.Context, req Request) (*Proof, *Record, error) {
	rec := &Record{Started: v.cfg.Now().UTC()}
	if err := checkRequest(req, rec); err != nil {
		return nil, rec, err
	}
	queued := time.Now()
	release, err := v.slots.acquire(ctx, targetOf(req.Identifier))
	began := time.Now()
	rec.Waited = began.Sub(queued)
	if err != nil {
		busy := rec.failFor(err, problem.Unavailable, "Try again later",
			"no slot to validate %s became free in time", req.Identifier.Value())
		return nil, rec, busy.After(v.cfg.Timeout)
	}
	defer release()
	bounded, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	proof, failed := v.prove(bounded, req, rec)
	rec.settle(req.Method, failed)
	if failed == nil {
		proof.Secure = !rec.insecure
	}
	if failed == nil && req.CAA != nil {
		proof.CAA, failed = v.checkCAA(bounded, req, rec)
	}
	rec.Took = time.Since(began)
	if failed == nil {
		return proof, rec, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		stopped := rec.failFor(failed, problem.Unavailable, "Try again later", "the validation was interrupted")
		return nil, rec, stopped.After(time.Second)
	}
	return nil, rec, failed
}

// prove runs the request's method.
func (v *Validator) prove(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	switch req.Method {
	case HTTP01:
		return v.http01(ctx, req, rec)
	case DNS01:
		return v.dns01(ctx, req, rec)
	case TLSALPN01:
		return v.tlsALPN01(ctx, req, rec)
	case HTTPFile, HTTPSFile, CSRHashHTTP, CSRHashHTTPS:
		return v.file(ctx, req, rec)
	case DNSTXT:
		return v.dnsTXT(ctx, req, rec)
	case DNSCNAME, CSRHashCNAME:
		return v.dnsCNAME(ctx, req, rec)
	}
	return nil, rec.fail(problem.Internal, "", "the validation has no method")
}

// maxSeen bounds Proof.Seen, in bytes: a proof is kept as long as each certificate it served, and where it was found is up to
// whoever redirects us.
const maxSeen = 300

// proof is what a validation that succeeds gives.
func (v *Validator) proof(req Request, seen string) *Proof {
	if len(seen) > maxSeen { // the address at its end is what cannot be guessed
		const tail = 100
		seen = strings.ToValidUTF8(seen[:maxSeen-tail], "") + "…" + strings.ToValidUTF8(seen[len(seen)-tail+len("…"):], "")
	}
	return &Proof{Method: req.Method, Identifier: req.Identifier.Base(), At: v.cfg.Now().UTC().Truncate(time.Second), Seen: seen}
}

// checkRequest refuses what no validation should be started for.
func checkRequest(req Request, rec *Record) error {
	switch req.Method {
	case HTTP01, DNS01, TLSALPN01:
	case HTTPFile, HTTPSFile, DNSTXT, DNSCNAME, CSRHashHTTP, CSRHashHTTPS, CSRHashCNAME:
		return checkPublished(req, rec)
	default:
		return rec.fail(problem.Malformed, "", "%s is not a validation method that is offered here", quote(string(req.Method)))
	}
	switch {
	case !req.DNSSEC.Known():
		return req.DNSSEC.check()
	case req.Identifier.IsZero():
		return rec.fail(problem.Malformed, "", "the validation names no identifier")
	case req.Identifier.IsWildcard() && req.Method != DNS01:
		// RFC 8555, 8.3 and RFC 8737, 3 prove one host, not all below it; BR 3.2.2.4.19 and .20 say so.
		return rec.fail(problem.RejectedIdentifier, "Use dns-01", "%s cannot prove the wildcard name %s", req.Method,
			req.Identifier.Value())
	case req.Identifier.Type() == identifier.IP && req.Method == DNS01: // RFC 8738, 7
		return rec.fail(problem.RejectedIdentifier, "Use http-01 or tls-alpn-01", "dns-01 cannot prove the address %s",
			req.Identifier.Value())
	case len(req.Token) < minToken || len(req.Token) > maxToken || !isBase64URL(req.Token):
		return rec.fail(problem.Malformed, "", "the token is not base64url of at least 128 bits (RFC 8555, 8.3)")
	}
	thumbprint, ok := strings.CutPrefix(req.KeyAuthorization, req.Token+".")
	if !ok || len(thumbprint) != thumbprintSize || !isBase64URL(thumbprint) {
		return rec.fail(problem.Malformed, "", "the key authorization is not the token, a dot and a thumbprint (RFC 8555, 8.1)")
	}
	return nil
}

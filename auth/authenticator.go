package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// AuthenticatorConfig is what an Authenticator needs. Principals is required; the rest has defaults.
type AuthenticatorConfig struct {
	Principals *Principals // whose store, directory, clock and hashes are used
	// CacheFor is how long a password that was verified needs no new hash; default 30 s. The record is read each time
	// nevertheless, so that nothing that ends a principal or changes its password waits for this.
	CacheFor      time.Duration
	TokenLifetime time.Duration // of access tokens; default 5 min
	Lockout       Lockout       // zero rates have defaults
	// Revoked reports whether a certificate is known to be revoked: by whoever issued it, or to one of some organisations, which are
	// the principal's home and those above it. Nil: none is, and a credential counts until it is revoked itself.
	Revoked func(ctx context.Context, c *x509.Certificate, orgs ...OrgID) (bool, error)
	Log     *slog.Logger // nil: discarded
}

// Authenticator finds out who calls, by what a door has read from a request. Whatever is wrong, the error is the same and takes
// about the same time: a *problem.Error of kind Unauthorized that says nothing; RateLimited after too many attempts, whoever
// exists; Unavailable if store, token or processor cannot serve, and then nobody is anybody. Every call reads the store, so
// that what was disabled, revoked or rotated at any gateway is refused by whatever begins after that was acknowledged.
// It is safe for concurrent use.
type Authenticator struct {
	AuthenticatorConfig
	x        *Principals
	verified *verifiedPasswords
	used     *lastUse
	dummy    []byte // the hash of a password that nobody has, for logins that nobody has; sealed if there is a sealer
}

// NewAuthenticator makes an Authenticator. It seals one hash, so the key that passwords are sealed under must be there.
func NewAuthenticator(ctx context.Context, c AuthenticatorConfig) (*Authenticator, error) {
	c.CacheFor, c.TokenLifetime = cmp.Or(c.CacheFor, 30*time.Second), cmp.Or(c.TokenLifetime, 5*time.Minute)
	c.Lockout = c.Lockout.orDefault()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{AuthenticatorConfig: c, x: c.Principals, verified: newVerifiedPasswords(c.CacheFor), used: &lastUse{}}
	a.dummy = a.x.Argon2.nobodys()
	if a.x.Sealer != nil {
		var err error
		if a.dummy, err = a.x.Sealer.Seal(ctx, seal.PasswordHash, nobody.String(), a.dummy); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// nobody is the number of no principal.
const nobody PrincipalID = 0

// refused is all that is said of credentials that do not count.
func refused() error {
	return problem.New(problem.Unauthorized, "these credentials are not accepted")
}

// refuse logs why, without anything that was sent, and refuses.
func (a *Authenticator) refuse(p *Principal, from netip.Addr, why string) error {
	who := "nobody"
	if p != nil {
		who = p.ID.String()
	}
	a.Log.Info("credentials were refused", "principal", who, "address", from.String(), "reason", why)
	return refused()
}

// works says whether a principal, and its home, may act now. An error of another kind than this is a failure.
func (a *Authenticator) works(p *Principal) error {
	if err := p.works(a.x.Now()); err != nil {
		return err
	}
	return a.x.Directory.Works(p.Org)
}

// Key authenticates by an API key. No form, length or content of it makes another answer than that it is refused.
func (a *Authenticator) Key(ctx context.Context, key string, from netip.Addr) (Caller, error) {
	id, hash, ok := splitKey(key)
	return a.secret(ctx, APIKey, id, hash, ok, from)
}

// secret authenticates by the hash of a credential's secret.
func (a *Authenticator) secret(ctx context.Context, kind CredentialKind, id string, hash [32]byte, ok bool, from netip.Addr) (Caller, error) {
	if !ok {
		return Caller{}, a.failed(ctx, nil, from, "no credential has this form")
	}
	p, err := a.byLookup(ctx, idLookup(id))
	if err != nil {
		return Caller{}, err
	}
	var c Credential // that of nobody matches nothing
	if p != nil {
		c, _ = p.Credential(id)
	}
	now := a.x.Now()
	switch match := c.matches(hash, now); {
	case p == nil:
		return Caller{}, a.failed(ctx, nil, from, "there is no such credential")
	case !match || c.Kind != kind:
		return Caller{}, a.failed(ctx, p, from, "the secret is wrong")
	}
	if err := cmp.Or(c.works(now), a.works(p)); err != nil {
		return Caller{}, a.failed(ctx, p, from, err.Error())
	}
	a.uses(ctx, c.ID, now)
	return p.caller(c.ID), nil
}

// byLookup finds the principal of a credential; nil for none, after as many reads.
func (a *Authenticator) byLookup(ctx context.Context, lookup string) (*Principal, error) {
	id, err := a.x.Store.PrincipalByLookup(ctx, lookup)
	return a.principal(ctx, id, err)
}

// principal reads what a lookup has found, which may be nothing.
func (a *Authenticator) principal(ctx context.Context, id PrincipalID, err error) (*Principal, error) {
	if err != nil && !problem.Is(err, problem.NotFound) {
		return nil, err
	}
	p, err := a.x.Store.Principal(ctx, id)
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	return p, err
}

// Password authenticates by login and password. customer is the slug of the organisation without a parent that the login
// belongs to; "" is that of the default organisation.
func (a *Authenticator) Password(ctx context.Context, login, customer, password string, from netip.Addr) (Caller, error) {
	folded, ok := foldLogin(login)
	if !ok || password == "" || len(password) > maxPassword || len(customer) > 63 {
		return Caller{}, a.failed(ctx, nil, from, "no login or password has this form")
	}
	p, err := a.byLogin(ctx, customer, folded)
	if err != nil {
		return Caller{}, err
	}
	// Who does not work takes the long way: a quick refusal would say that the password is right.
	if p != nil && p.Password.Sealed != nil && a.works(p) == nil && a.verified.has(p, password, a.x.Now()) {
		return p.caller("password"), nil
	}
	known, err := a.attempt(ctx, p, a.of(customer, folded), from)
	if err != nil {
		return Caller{}, err
	}
	right, stale, err := a.verify(ctx, p, password)
	switch {
	case err != nil:
		return Caller{}, err
	case p == nil:
		return Caller{}, a.refuse(nil, from, "there is no such login")
	case !right:
		return Caller{}, a.refuse(p, from, "the password is wrong, or there is none")
	}
	return a.admit(ctx, p, password, from, known, stale)
}

func (a *Authenticator) byLogin(ctx context.Context, customer, login string) (*Principal, error) {
	org, _ := a.x.Directory.customerBySlug(customer) // zero, below which nobody has a login, if there is none
	id, err := a.x.Store.PrincipalByLogin(ctx, org, login)
	return a.principal(ctx, id, err)
}

// verify says whether a password is a principal's, and whether its hash is to be made anew. For nobody, and for who has no
// password, it takes as long and says no.
func (a *Authenticator) verify(ctx context.Context, p *Principal, password string) (right, stale bool, err error) {
	hash, id, real := a.dummy, nobody, p != nil && p.Password.Sealed != nil
	if real {
		hash, id = p.Password.Sealed, p.ID
	}
	if real || a.x.Sealer != nil {
		if hash, err = a.x.Sealer.Open(ctx, seal.PasswordHash, id.String(), hash); err != nil {
			return false, false, a.unsealed(id, err)
		}
	}
	if busy := a.x.hashes.do(ctx, func() { right, stale, err = verifyHash(hash, password, a.x.Argon2) }); busy != nil {
		return false, false, busy
	}
	if err != nil {
		return false, false, problem.Wrap(err, problem.Internal, "")
	}
	return right && real, stale, nil
}

// unsealed is what to say if the hash of a password does not open.
func (a *Authenticator) unsealed(id PrincipalID, err error) error {
	a.Log.Error("the hash of a password does not open, so nobody can be verified by it", "principal", id.String(), "error", err)
	if _, ok := errors.AsType[*problem.Error](err); ok && !errors.Is(err, seal.ErrNoKey) {
		return err
	}
	return problem.Wrap(err, problem.Unavailable, "passwords cannot be verified here now; the gateway's log says why")
}

// admit lets in who knew the password of p. Making a hash has taken a while, so the record is read once more.
func (a *Authenticator) admit(ctx context.Context, p *Principal, password string, from netip.Addr, known, stale bool) (Caller, error) {
	now, err := a.x.Store.Principal(ctx, p.ID)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return Caller{}, err
	}
	if err != nil || !samePassword(now, p) {
		return Caller{}, a.refuse(p, from, "the password was changed meanwhile")
	}
	if err := a.works(now); err != nil {
		return Caller{}, a.refuse(p, from, err.Error())
	}
	if stale {
		now = a.rehash(ctx, now, password)
	}
	a.verified.add(now, password, a.x.Now())
	if !known {
		a.remember(ctx, now, from)
	}
	return now.caller("password"), nil
}

func samePassword(a, b *Principal) bool {
	return string(a.Password.Sealed) == string(b.Password.Sealed)
}

// rehash makes the hash of a password anew after its parameters have changed. If that fails, the next time will do.
func (a *Authenticator) rehash(ctx context.Context, p *Principal, password string) *Principal {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	sealed, err := a.x.sealPassword(ctx, p.ID, password)
	if err == nil {
		var next *Principal
		next, err = a.x.put(ctx, Caller{Principal: "system"}, p, func(p *Principal) (string, error) {
			p.Password.Sealed = sealed
			return "has its password hashed by other parameters", nil
		})
		if err == nil {
			return next
		}
	}
	a.Log.Warn("making the hash of a password anew failed", "principal", p.ID.String(), "error", err)
	return p
}

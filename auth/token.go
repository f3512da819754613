package auth

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"strings"
	"time"
)

// Token gives an OAuth2 client an access token for its id and secret (RFC 6749, 4.4): 200 random bits that mean nothing to the
// client, and how long they count. The store keeps the token's hash, so every gateway knows it; a journal does not, because
// a client asks for a new one.
func (a *Authenticator) Token(ctx context.Context, client, secret string, from netip.Addr) (token string, lifetime time.Duration, err error) {
	id, hash, ok := splitClient(client, secret)
	caller, err := a.secret(ctx, OAuthClient, id, hash, ok, from)
	if err != nil {
		return "", 0, err
	}
	if err := a.take(ctx, AttemptRate{a.Lockout.Token, "token", id}); err != nil {
		return "", 0, err
	}
	owner, ok := ParsePrincipalID(caller.Principal)
	if !ok {
		return "", 0, refused()
	}
	text := newSecret()
	now := a.x.Now().UTC()
	t := AccessToken{Principal: owner, Credential: id, Secret: hash, Expires: now.Add(a.TokenLifetime)}
	if err := a.x.Store.PutToken(ctx, sha256.Sum256([]byte(text)), t); err != nil {
		return "", 0, err
	}
	return tokenPrefix + text, a.TokenLifetime, nil
}

// Bearer authenticates by an access token (RFC 6750). It counts as long as it lives, the secret that it was given for
// counts, and neither its client nor its principal has ended.
func (a *Authenticator) Bearer(ctx context.Context, token string, from netip.Addr) (Caller, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || !base32(text, secretLength) {
		return Caller{}, a.failed(ctx, nil, from, "no access token has this form")
	}
	t, err := a.x.Store.AccessToken(ctx, sha256.Sum256([]byte(text)))
	p, err := a.principal(ctx, t.Principal, err)
	if err != nil {
		return Caller{}, err
	}
	now := a.x.Now()
	if p == nil || !now.Before(t.Expires) {
		return Caller{}, a.failed(ctx, p, from, "there is no such access token, or it has expired")
	}
	c, ok := p.Credential(t.Credential)
	if !ok || c.Kind != OAuthClient || !c.matches(t.Secret, now) {
		return Caller{}, a.failed(ctx, p, from, "the token's client is gone, or was rotated")
	}
	if c.works(now) != nil || a.works(p) != nil {
		return Caller{}, a.failed(ctx, p, from, "the token's client or principal has ended")
	}
	return p.caller(c.ID), nil
}

package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// MaxOverlap is how long a credential's old secret can go on beside its new one.
const MaxOverlap = 90 * 24 * time.Hour

// SetPassword gives a principal a password, in place of the one it has. Whoever was locked out for trying the old one too
// often starts afresh.
func (x *Principals) SetPassword(ctx context.Context, caller Caller, ref Ref, password string) (*Principal, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	p, err := x.find(ctx, caller, ref)
	if err != nil {
		return nil, err
	}
	if err := checkPassword(p.Login, password); err != nil {
		return nil, err
	}
	sealed, err := x.sealPassword(ctx, p.ID, password)
	if err != nil {
		return nil, err
	}
	return x.change(ctx, caller, Ref{ID: p.ID}, func(p *Principal) (string, error) {
		p.Password = Password{sealed, x.Now().UTC().Truncate(time.Second)}
		return "was given a password", nil
	})
}

// sealPassword hashes a password and seals the hash: what people choose can be found by trying, so a hash alone is not safe
// in a store or journal.
func (x *Principals) sealPassword(ctx context.Context, id PrincipalID, password string) ([]byte, error) {
	if x.Sealer == nil {
		return nil, seal.ErrNoKey
	}
	var hash []byte
	if err := x.hashes.do(ctx, func() { hash = x.Argon2.hash(password) }); err != nil {
		return nil, err
	}
	return x.Sealer.Seal(ctx, seal.PasswordHash, id.String(), hash)
}

// RemovePassword takes a principal's password away.
func (x *Principals) RemovePassword(ctx context.Context, caller Caller, ref Ref) (*Principal, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	return x.change(ctx, caller, ref, func(p *Principal) (string, error) {
		if p.Password.Sealed == nil {
			return "", nil
		}
		p.Password = Password{}
		return "has no password any more", nil
	})
}

// NewCredential is a credential to be made.
type NewCredential struct {
	Kind        CredentialKind
	Label       string
	Lifetime    time.Duration // zero: it does not expire
	Certificate *x509.Certificate
}

// AddCredential makes a credential and gives its secret, which cannot be had again. Errors are Malformed, NotFound or Conflict
// with what to change, and Unavailable.
func (x *Principals) AddCredential(ctx context.Context, caller Caller, ref Ref, in NewCredential) (*Principal, Credential, Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	c := Credential{ID: newCredentialID(), Kind: in.Kind, Label: in.Label, Created: x.second()}
	if _, ok := credentialKinds[in.Kind]; !ok {
		return nil, c, Secret{}, problem.New(problem.Malformed, "the kind is unknown; give api, oauth, certificate or certificate-key")
	}
	if err := checkLine("the label", in.Label, maxName); err != nil {
		return nil, c, Secret{}, problem.New(problem.Malformed, "%v", err)
	}
	var err error
	if c.Expires, err = x.end(in.Lifetime); err != nil {
		return nil, c, Secret{}, err
	}
	secret, err := x.fill(&c, in.Certificate)
	if err != nil {
		return nil, c, Secret{}, err
	}
	p, err := x.change(ctx, caller, ref, func(p *Principal) (string, error) {
		if err := cmp.Or(x.unbound(ctx, &c), x.unshared(ctx, p.ID, in.Certificate)); err != nil {
			return "", err
		}
		if err := x.prune(p); err != nil {
			return "", err
		}
		p.Credentials = append(p.Credentials, c)
		return "was given the credential " + c.ID, nil
	})
	if err != nil {
		return nil, c, Secret{}, err
	}
	return p, c, c.shown(secret), nil
}

// fill gives a credential a new secret, or a certificate.
func (x *Principals) fill(c *Credential, certificate *x509.Certificate) (secret string, err error) {
	if !c.Kind.certificate() {
		if certificate != nil {
			return "", problem.New(problem.Malformed, "a credential of kind %s has no certificate; leave it out", c.Kind)
		}
		secret = newSecret()
		c.Hash = sha256.Sum256([]byte(secret))
		return secret, nil
	}
	if err := x.checkClientCertificate(c.Kind, certificate); err != nil {
		return "", err
	}
	c.Hash, c.Subject = certificateHash(c.Kind, certificate), shorten(certificate.Subject.String())
	return "", nil
}

// shorten holds a text for people to a length that a record may have.
func shorten(text string) string {
	runes := []rune(text)
	if checkLine("", text, maxName) == nil {
		return text
	}
	runes = slices.DeleteFunc(runes[:min(len(runes), maxName)], func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
	return string(runes)
}

var errBound = problem.New(problem.Conflict, "this certificate, or its key, is bound already; revoke that credential first")

// unshared refuses a certificate if another principal than the one that it is for is known by it or by its key.
func (x *Principals) unshared(ctx context.Context, id PrincipalID, c *x509.Certificate) error {
	if c == nil {
		return nil
	}
	for _, kind := range []CredentialKind{ClientCertificate, ClientKey} {
		switch other, err := x.Store.PrincipalByLookup(ctx, hashLookup(kind, certificateHash(kind, c))); {
		case err == nil && other != id:
			return errBound
		case err != nil && !problem.Is(err, problem.NotFound):
			return err
		}
	}
	return nil
}

// unbound refuses a certificate that some principal is known by already.
func (x *Principals) unbound(ctx context.Context, c *Credential) error {
	for _, lookup := range c.lookups()[1:] {
		switch _, err := x.Store.PrincipalByLookup(ctx, lookup); {
		case err == nil:
			return errBound
		case !problem.Is(err, problem.NotFound):
			return err
		}
	}
	return nil
}

// prune makes room for one more credential, by removing those that ended first.
func (x *Principals) prune(p *Principal) error {
	now := x.second()
	for len(p.Credentials) >= maxCredentials {
		i := slices.IndexFunc(p.Credentials, func(c Credential) bool { return c.works(now) != nil })
		if i < 0 {
			return problem.New(problem.Conflict, "the principal has %d credentials, and cannot have more; revoke some", len(p.Credentials))
		}
		if at := p.Credentials[i].Created; at.After(p.Pruned) {
			p.Pruned = at
		}
		p.Credentials = slices.Delete(p.Credentials, i, i+1)
	}
	return nil
}

// Rotation is how a credential is rotated.
type Rotation struct {
	// Overlap is how long the old secret or certificate goes on, though not beyond the end that it had; zero: not at all. At
	// most [MaxOverlap]. One that was replaced before ends in any case: at most two count at a time.
	Overlap     time.Duration
	Lifetime    time.Duration     // of the new one; zero: the end stays as it is
	Certificate *x509.Certificate // of a certificate's credential
}

// Rotate gives a credential another secret, which cannot be had again, under the same id. Errors are those of AddCredential.
func (x *Principals) Rotate(ctx context.Context, caller Caller, id string, how Rotation) (*Principal, Credential, Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if how.Overlap < 0 || how.Overlap > MaxOverlap {
		return nil, Credential{}, Secret{}, problem.New(problem.Malformed, "overlap: the old one goes on for 0s to 90d")
	}
	end, err := x.end(how.Lifetime)
	if err != nil {
		return nil, Credential{}, Secret{}, err
	}
	var rotated Credential
	var secret string
	owner, err := x.owner(ctx, id)
	if err != nil {
		return nil, Credential{}, Secret{}, err
	}
	p, err := x.changeCredential(ctx, caller, id, func(c *Credential) (string, error) {
		now := x.second()
		if err := c.works(now); err != nil {
			return "", problem.New(problem.Conflict, "%v; make another", err)
		}
		old := c.Hash
		if secret, err = x.fill(c, how.Certificate); err != nil {
			return "", err
		}
		if c.Hash == old {
			return "", problem.New(problem.Conflict, "that certificate, or its key, is the credential's already")
		}
		c.Previous, c.PreviousUntil = [32]byte{}, time.Time{}
		fresh := *c
		if err := cmp.Or(x.unbound(ctx, &fresh), x.unshared(ctx, owner, how.Certificate)); err != nil {
			return "", err
		}
		if how.Overlap > 0 {
			c.Previous, c.PreviousUntil = old, now.Add(how.Overlap)
			if !c.Expires.IsZero() && c.Expires.Before(c.PreviousUntil) { // the end that the old one was given stays its end
				c.PreviousUntil = c.Expires
			}
		}
		c.Rotated, c.Expires = now, cmp.Or(end, c.Expires)
		rotated = *c
		return "rotated the credential " + c.ID, nil
	})
	if err != nil {
		return nil, rotated, Secret{}, err
	}
	return p, rotated, rotated.shown(secret), nil
}

// Revoke ends a credential at once. To revoke it again changes nothing.
func (x *Principals) Revoke(ctx context.Context, caller Caller, id string) (*Principal, Credential, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	p, err := x.changeCredential(ctx, caller, id, func(c *Credential) (string, error) {
		if !c.Revoked.IsZero() {
			return "", nil
		}
		c.Revoked = x.second()
		return "lost the credential " + c.ID, nil
	})
	if err != nil {
		return nil, Credential{}, err
	}
	c, _ := p.Credential(id)
	return p, c, nil
}

var errNoCredential = problem.New(problem.NotFound, "there is no such credential; gatehouse key list shows them")

// Owner reads the principal whose credential has an id, and when each was last used.
func (x *Principals) Owner(ctx context.Context, caller Caller, id string) (*Principal, []time.Time, error) {
	owner, err := x.owner(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	p, used, err := x.Get(ctx, caller, Ref{ID: owner})
	if problem.Is(err, problem.NotFound) {
		err = errNoCredential
	}
	return p, used, err
}

func (x *Principals) owner(ctx context.Context, id string) (PrincipalID, error) {
	if !base32(id, idLength) {
		return 0, errNoCredential
	}
	owner, err := x.Store.PrincipalByLookup(ctx, idLookup(id))
	if problem.Is(err, problem.NotFound) {
		err = errNoCredential
	}
	return owner, err
}

func (x *Principals) changeCredential(ctx context.Context, caller Caller, id string, decide func(*Credential) (string, error)) (*Principal, error) {
	owner, err := x.owner(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := x.change(ctx, caller, Ref{ID: owner}, func(p *Principal) (string, error) {
		i := slices.IndexFunc(p.Credentials, func(c Credential) bool { return c.ID == id })
		if i < 0 {
			return "", errNoCredential
		}
		return decide(&p.Credentials[i])
	})
	if problem.Is(err, problem.NotFound) {
		err = errNoCredential
	}
	return p, err
}

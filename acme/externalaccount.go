package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// ExternalAccounts finds the keys for external account binding (auth.ExternalAccounts).
type ExternalAccounts interface {
	// Open finds a key by its "kid" and gives its MAC key, which the caller wipes. It does not say whether the key may be used.
	// Errors are *problem.Error, NotFound if there is none.
	Open(ctx context.Context, kid string) (key *auth.EABKey, mac []byte, err error)
	// Key reads a key as it is now. Errors are *problem.Error, NotFound if there is none.
	Key(ctx context.Context, kid string) (*auth.EABKey, error)
}

// Binding says by which key for external account binding an account was made (RFC 8555, 7.3.4). It is never changed. What
// becomes of the key later matters to the account in two ways: one that was removed ends its orders, and the domains of one by
// domains are looked up whenever it asks for something.
type Binding struct {
	KeyID string
	JWS   []byte // JSON, as the client sent it
	// Restriction is the key's, as it was then, without its domains.
	Restriction policy.Restriction
}

// Restriction is what an account may ask for at most, by the key that bound it as that is now. Errors are *problem.Error:
// Unauthorized if the key was removed, or if its domains are wanted and there is no such key; Unavailable.
func (s *Server) Restriction(ctx context.Context, a *Account) (policy.Restriction, error) {
	if a.Binding == nil {
		return policy.Restriction{}, nil
	}
	only := a.Binding.Restriction
	if s.External == nil { // no directory takes bindings any more
		if only.ByDomains {
			return only, errKeyAbsent
		}
		return only, nil
	}
	key, err := s.External.Key(ctx, a.Binding.KeyID)
	switch {
	case problem.Is(err, problem.NotFound) && !only.ByDomains: // the store went back, and the journal that has the key was lost
		return only, nil
	case problem.Is(err, problem.NotFound):
		return only, errKeyAbsent
	case err != nil:
		return only, err
	case !key.Removed.IsZero():
		return only, errKeyRemoved
	case key.ByDomains:
		only.ByDomains, only.Domains = true, key.Domains
	}
	return only, nil
}

// restrict looks up what the account of a request may ask for.
func (s *Server) restrict(ctx context.Context, req *signed) (err error) {
	req.only, err = s.Restriction(ctx, req.account)
	return err
}

var (
	errKeyRemoved = problem.New(problem.Unauthorized,
		"the external account binding key of this account was removed, and nothing is issued to it any more; make another account with another key")
	errKeyAbsent = problem.New(problem.Unauthorized,
		"the external account binding key of this account is not known here, and nothing is issued to it; ask the operator")
)

// checkNames holds what an account asks for to its binding, and to the name rules of its organisation.
func (s *Server) checkNames(a *Account, only policy.Restriction, names []identifier.Identifier) error {
	if err := only.CheckNames(names); err != nil || s.NameRules == nil {
		return err
	}
	return policy.CheckNames(s.NameRules(a.Org), names)
}

// bound is a newAccount request that was bound by a key: the key as it was read, and how to find it again.
type bound struct {
	key     *auth.EABKey
	binding *jws.Binding
	given   []byte // the binding as it was sent
	target  target // and org: the directory it was sent to
	org     auth.Org
}

// eabKey is the key, nil if there is none.
func (b *bound) eabKey() *auth.EABKey {
	if b == nil {
		return nil
	}
	return b.key
}

// bind makes a new account one of the key's organisation.
func (a *Account) bind(b *bound) {
	a.Org = b.key.Org
	a.Binding = &Binding{KeyID: b.key.ID, JWS: b.given, Restriction: policy.Restriction{
		Profiles: b.key.Profiles, Names: b.key.Names, ByDomains: b.key.ByDomains,
	}}
}

// bindingMode is what a directory asks of new accounts: that of an organisation is the organisation's to say.
func (s *Server) bindingMode(t target, org auth.Org) auth.EABMode {
	if t.org == "" {
		return s.EAB
	}
	return org.EAB
}

var (
	errBindingRequired = problem.New(problem.ExternalAccountRequired,
		`new accounts here need "externalAccountBinding" (RFC 8555, 7.3.4); ask the operator for a key identifier and a MAC key`)
	// errNotBound is the one answer for a key that does not exist and for a MAC that was made with another one: who does not
	// have the MAC key learns nothing about it.
	errNotBound = problem.New(problem.Unauthorized,
		`"externalAccountBinding": there is no such key identifier, or the MAC was made with another key; check both with the operator`)
)

// externalAccount is what binds a newAccount request; nil if it has no binding and needs none. A key, and whatever is said of
// it, that it expired for example, is for those alone who have its MAC key.
func (s *Server) externalAccount(ctx context.Context, req *signed, org auth.Org, given json.RawMessage) (*bound, error) {
	absent := len(given) == 0 || string(given) == "null"
	switch mode := s.bindingMode(req.target, org); {
	case mode == auth.EABOff:
		return nil, nil
	case mode == auth.EABRequired && absent:
		return nil, errBindingRequired
	case mode == auth.EABOptional && absent:
		return nil, nil
	case mode != auth.EABRequired && mode != auth.EABOptional:
		return nil, errors.New("acme: a directory without a mode of external account binding")
	case s.External == nil:
		return nil, errors.New("acme: a directory takes external account bindings, and there is nothing to find their keys")
	}
	binding, err := jws.ParseBinding(given, req.url, req.key)
	if err != nil {
		return nil, err
	}
	var sent bytes.Buffer // one form, whatever the client's white space
	if err := json.Compact(&sent, given); err != nil {
		return nil, err
	}
	b := &bound{binding: binding, given: sent.Bytes(), target: req.target, org: org}
	b.key, err = s.openBinding(ctx, b)
	return b, err
}

// openBinding finds the key of a binding. It is asked in this sequence whether there is one, whether the MAC was made with it,
// and whether it may be used.
func (s *Server) openBinding(ctx context.Context, b *bound) (*auth.EABKey, error) {
	key, mac, err := s.External.Open(ctx, b.binding.KeyID())
	defer clear(mac)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, errNotBound
	case err != nil:
		return nil, err
	case key == nil || !b.binding.Verify(mac):
		return nil, errNotBound
	case b.target.org != "" && key.Org != b.org.ID:
		return nil, problem.New(problem.Unauthorized,
			"the external account binding key %q is not for this organisation's directory; use /acme/directory, or that of its own organisation", key.ID)
	}
	if err := key.Usable(s.Now()); err != nil {
		return nil, err
	}
	if s.Organisations.Works(key.Org) != nil {
		return nil, problem.New(problem.Unauthorized, "the organisation of the external account binding key %q is disabled; ask the operator", key.ID)
	}
	return key, nil
}

// rebind looks at the key of an account again that could not be made, and reports whether the key has changed. If it may not
// be used any more, because another account was first or it was revoked, that is the error.
func (s *Server) rebind(ctx context.Context, a *Account, b *bound) (changed bool, err error) {
	if b == nil {
		return false, nil
	}
	now, err := s.openBinding(ctx, b)
	if err != nil || now.Version == b.key.Version {
		return false, err
	}
	b.key = now
	a.bind(b)
	return true, nil
}

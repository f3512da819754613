package storage

import (
	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// accountRecord is an ACME account under its id.
type accountRecord struct {
	Org         int32    `cbor:"1,keyasint"`
	Key         []byte   `cbor:"2,keyasint"`
	Thumbprint  string   `cbor:"3,keyasint"`
	Contacts    []string `cbor:"4,keyasint,omitempty"`
	TermsAgreed seconds  `cbor:"5,keyasint,omitempty"`
	Created     seconds  `cbor:"6,keyasint"`
	Deactivated seconds  `cbor:"7,keyasint,omitempty"`
	Terms       string   `cbor:"8,keyasint,omitempty"`
	Rollovers   int64    `cbor:"9,keyasint,omitempty"`

	Binding *bindingRecord `cbor:"10,keyasint,omitempty"`
}

func encodeAccount(a *acme.Account) ([]byte, error) {
	return encode(accountRecord{
		Org: int32(a.Org), Key: a.Key, Thumbprint: a.Thumbprint, Contacts: a.Contacts,
		TermsAgreed: toSeconds(a.TermsAgreed), Created: toSeconds(a.Created), Deactivated: toSeconds(a.Deactivated),
		Terms: a.Terms, Rollovers: a.Rollovers, Binding: toBinding(a.Binding),
	})
}

func decodeAccount(id acme.AccountID, it Item) (*acme.Account, error) {
	if !it.Found {
		return nil, nil
	}
	var r accountRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyAccount(id), err)
	}
	return &acme.Account{
		ID: id, Org: auth.OrgID(r.Org), Key: r.Key, Thumbprint: r.Thumbprint, Contacts: r.Contacts,
		TermsAgreed: r.TermsAgreed.time(), Created: r.Created.time(), Deactivated: r.Deactivated.time(),
		Terms: r.Terms, Rollovers: r.Rollovers, Binding: r.Binding.binding(), Version: it.Version,
	}, nil
}

// orderRecord is an ACME order under its id.
type orderRecord struct {
	Account     string   `cbor:"1,keyasint"`
	Org         int32    `cbor:"2,keyasint"`
	Profile     string   `cbor:"3,keyasint"`
	ProfileHash string   `cbor:"4,keyasint"`
	Names       []name   `cbor:"5,keyasint"`
	Authzs      []string `cbor:"6,keyasint"`
	Created     seconds  `cbor:"7,keyasint"`
	Expires     seconds  `cbor:"8,keyasint"`
	Enrollment  int64    `cbor:"9,keyasint,omitempty"`

	Replaces *replacesRecord `cbor:"10,keyasint,omitempty"`

	// The validity that was asked for, if one was.
	NotBefore seconds `cbor:"11,keyasint,omitempty"`
	NotAfter  seconds `cbor:"12,keyasint,omitempty"`
}

func encodeOrder(o *acme.Order) ([]byte, error) {
	authzs := make([]string, len(o.Authzs))
	for i, id := range o.Authzs {
		authzs[i] = string(id)
	}
	return encode(orderRecord{
		Account: string(o.Account), Org: int32(o.Org), Profile: o.Profile, ProfileHash: o.ProfileHash,
		Names: toNames(o.Names), Authzs: authzs, Created: toSeconds(o.Created), Expires: toSeconds(o.Expires),
		Enrollment: int64(o.Enrollment), Replaces: toReplaces(o.Replaces),
		NotBefore: toSeconds(o.Requested.NotBefore), NotAfter: toSeconds(o.Requested.NotAfter),
	})
}

func decodeOrder(id acme.OrderID, it Item) (*acme.Order, error) {
	if !it.Found {
		return nil, nil
	}
	var r orderRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyOrder(id), err)
	}
	names, err := fromNames(r.Names)
	if err != nil {
		return nil, damaged(keyOrder(id), err)
	}
	o := &acme.Order{
		ID: id, Account: acme.AccountID(r.Account), Org: auth.OrgID(r.Org), Profile: r.Profile, ProfileHash: r.ProfileHash,
		Names: names, Created: r.Created.time(), Expires: r.Expires.time(), Enrollment: ra.ID(r.Enrollment), Replaces: r.Replaces.replaces(),
		Requested: policy.Period{NotBefore: r.NotBefore.time(), NotAfter: r.NotAfter.time()}, Version: it.Version,
	}
	for _, a := range r.Authzs {
		o.Authzs = append(o.Authzs, acme.AuthzID(a))
	}
	return o, nil
}

// authzRecord is an ACME authorization under its id.
type authzRecord struct {
	Account    string            `cbor:"1,keyasint"`
	Org        int32             `cbor:"2,keyasint"`
	Profile    string            `cbor:"3,keyasint"`
	Identifier name              `cbor:"4,keyasint"`
	Wildcard   bool              `cbor:"5,keyasint,omitempty"`
	Created    seconds           `cbor:"6,keyasint"`
	Expires    seconds           `cbor:"7,keyasint"`
	Challenges []challengeRecord `cbor:"8,keyasint"`

	Deactivated seconds       `cbor:"9,keyasint,omitempty"`
	Domain      *provenRecord `cbor:"50,keyasint,omitempty"` // the proof that it was born valid by
}

type challengeRecord struct {
	Method string         `cbor:"1,keyasint"`
	Token  string         `cbor:"2,keyasint"`
	Begun  seconds        `cbor:"3,keyasint,omitempty"`
	Due    millis         `cbor:"4,keyasint,omitempty"`
	Proof  *proofRecord   `cbor:"5,keyasint,omitempty"`
	Failed *failureRecord `cbor:"6,keyasint,omitempty"`

	Hindered *failureRecord `cbor:"7,keyasint,omitempty"`
}

// proofRecord is a dcv.Proof wherever one is kept.
type proofRecord struct {
	Method     string  `cbor:"1,keyasint"`
	Identifier name    `cbor:"2,keyasint"`
	At         seconds `cbor:"3,keyasint"`
	Seen       string  `cbor:"4,keyasint,omitempty"`
	Until      seconds `cbor:"5,keyasint,omitempty"`
	// When CAA permitted which name and what was seen, if it was asked. The name differs from Identifier only by a wildcard.
	CAAName name    `cbor:"6,keyasint,omitempty"`
	CAAAt   seconds `cbor:"7,keyasint,omitempty"`
	CAASeen string  `cbor:"8,keyasint,omitempty"`
	// Whether DNSSEC authenticated what each of them rests on. Older records do not say, so it did not.
	Secure    bool `cbor:"9,keyasint,omitempty"`
	CAASecure bool `cbor:"10,keyasint,omitempty"`
}

// failureRecord is why a validation or an enrollment failed.
type failureRecord struct {
	Kind   string  `cbor:"1,keyasint"` // problem.Kind by its name: numbers may be assigned anew
	Detail string  `cbor:"2,keyasint"`
	At     seconds `cbor:"3,keyasint"`
	Record []byte  `cbor:"4,keyasint,omitempty"`
}

func toFailure(f *acme.Failure) *failureRecord {
	if f == nil {
		return nil
	}
	return &failureRecord{Kind: f.Kind.String(), Detail: f.Detail, At: toSeconds(f.At), Record: f.Record}
}

func (r *failureRecord) failure() *acme.Failure {
	if r == nil {
		return nil
	}
	return &acme.Failure{Kind: problem.ParseKind(r.Kind), Detail: r.Detail, At: r.At.time(), Record: r.Record}
}

func toProof(p dcv.Proof) proofRecord {
	return proofRecord{
		Method: string(p.Method), Identifier: toName(p.Identifier), At: toSeconds(p.At), Seen: p.Seen, Until: toSeconds(p.Until),
		CAAName: toName(p.CAA.Identifier), CAAAt: toSeconds(p.CAA.At), CAASeen: p.CAA.Seen,
		Secure: p.Secure, CAASecure: p.CAA.Secure,
	}
}

func (r proofRecord) proof() (dcv.Proof, error) {
	id, err := r.Identifier.identifier()
	if err != nil {
		return dcv.Proof{}, err
	}
	p := dcv.Proof{Method: dcv.Method(r.Method), Identifier: id, At: r.At.time(), Seen: r.Seen, Until: r.Until.time(), Secure: r.Secure}
	if r.CAAName != "" {
		p.CAA.At, p.CAA.Seen, p.CAA.Secure = r.CAAAt.time(), r.CAASeen, r.CAASecure
		p.CAA.Identifier, err = r.CAAName.identifier()
	}
	return p, err
}

func encodeAuthz(a *acme.Authorization) ([]byte, error) {
	r := authzRecord{
		Account: string(a.Account), Org: int32(a.Org), Profile: a.Profile, Identifier: toName(a.Identifier),
		Wildcard: a.Wildcard, Created: toSeconds(a.Created), Expires: toSeconds(a.Expires), Deactivated: toSeconds(a.Deactivated),
	}
	if a.Given != nil {
		p := toProven(*a.Given)
		r.Domain = &p
	}
	for _, c := range a.Challenges {
		cr := challengeRecord{Method: string(c.Method), Token: c.Token, Begun: toSeconds(c.Begun), Due: toMillis(c.Due)}
		if c.Proof != nil {
			p := toProof(*c.Proof)
			cr.Proof = &p
		}
		cr.Failed, cr.Hindered = toFailure(c.Failed), toFailure(c.Hindered)
		r.Challenges = append(r.Challenges, cr)
	}
	return encode(r)
}

func decodeAuthz(id acme.AuthzID, it Item) (*acme.Authorization, error) {
	if !it.Found {
		return nil, nil
	}
	var r authzRecord
	if err := decode(it.Value, &r); err != nil {
		return nil, damaged(keyAuthz(id), err)
	}
	ident, err := r.Identifier.identifier()
	if err != nil {
		return nil, damaged(keyAuthz(id), err)
	}
	a := &acme.Authorization{
		ID: id, Account: acme.AccountID(r.Account), Org: auth.OrgID(r.Org), Profile: r.Profile, Identifier: ident,
		Wildcard: r.Wildcard, Created: r.Created.time(), Expires: r.Expires.time(), Deactivated: r.Deactivated.time(), Version: it.Version,
	}
	if r.Domain != nil {
		p, err := r.Domain.proven()
		if err != nil {
			return nil, damaged(keyAuthz(id), err)
		}
		a.Given = &p
	}
	for _, c := range r.Challenges {
		ch := acme.Challenge{Method: dcv.Method(c.Method), Token: c.Token, Begun: c.Begun.time(), Due: c.Due.time()}
		if c.Proof != nil {
			p, err := c.Proof.proof()
			if err != nil {
				return nil, damaged(keyAuthz(id), err)
			}
			ch.Proof = &p
		}
		ch.Failed, ch.Hindered = c.Failed.failure(), c.Hindered.failure()
		a.Challenges = append(a.Challenges, ch)
	}
	return a, nil
}

// nonceKeysRecord holds the keys that authenticate nonces.
type nonceKeysRecord struct {
	Current  []byte  `cbor:"1,keyasint"`
	Previous []byte  `cbor:"2,keyasint"`
	Made     seconds `cbor:"3,keyasint"`
}

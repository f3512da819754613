package acme

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// AccountID is the random name of an account, as in its URL.
type AccountID string

// Account is an ACME account (RFC 8555, 7.1.2). It belongs to the organisation of the directory it was made in, or to that of
// the key which bound it.
type Account struct {
	ID          AccountID
	Org         auth.OrgID
	Key         []byte // the public key, a canonical JWK
	Thumbprint  string // RFC 7638; one account per key
	Contacts    []string
	TermsAgreed time.Time // zero: not agreed
	Terms       string    // the URL of the terms that were agreed to; empty: there were none, or it was not recorded
	Rollovers   int64     // how often the key was changed (RFC 8555, 7.3.5): of two keys the later has more
	Created     time.Time
	Binding     *Binding  // RFC 8555, 7.3.4; nil: none
	Deactivated time.Time // zero: valid. There is no way back (RFC 8555, 7.3.6)
	Version     [16]byte  // of the record as read; zero before it exists
}

// Principal is the account's name for everybody but this door.
func (a *Account) Principal() string { return "acme:" + string(a.ID) }

// Caller is the account as ra knows it.
func (a *Account) Caller() auth.Caller { return auth.Caller{Principal: a.Principal(), Org: a.Org} }

// requester is the account as policy knows it.
func (a *Account) requester() policy.Requester {
	return policy.Requester{Org: int32(a.Org), Door: string(ra.DoorACME), Principal: a.Principal()}
}

// Status is one of valid and deactivated (RFC 8555, 7.1.6). Accounts are never revoked.
func (a *Account) Status() Status {
	if !a.Deactivated.IsZero() {
		return StatusDeactivated
	}
	return StatusValid
}

// asked reports whether a certificate was issued to this account, through this door.
func (a *Account) asked(c *ca.Certificate) bool {
	return c != nil && c.State == ca.Issued && len(c.DER) > 0 && c.Requester == a.requester()
}

// clone is a copy to change: records that were read are shared and never changed.
func (a *Account) clone() *Account {
	c := *a
	c.Contacts = slices.Clone(a.Contacts)
	return &c
}

// wireAccount is RFC 8555, 7.1.2.
type wireAccount struct {
	Status      Status   `json:"status"`
	Contact     []string `json:"contact,omitempty"`
	TermsAgreed bool     `json:"termsOfServiceAgreed,omitempty"`
	Orders      string   `json:"orders"`

	Binding json.RawMessage `json:"externalAccountBinding,omitempty"` // RFC 8555, 7.3.4
}

func (s *Server) renderAccount(a *Account) *wireAccount {
	w := &wireAccount{
		Status:      a.Status(),
		Contact:     a.Contacts,
		TermsAgreed: !a.TermsAgreed.IsZero(),
		Orders:      s.links.to(target{resource: resOrders, account: a.ID}),
	}
	if a.Binding != nil {
		w.Binding = a.Binding.JWS
	}
	return w
}

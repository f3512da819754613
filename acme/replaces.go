package acme

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Replaces is the certificate that an order replaces (RFC 9773, 5).
//
// A certificate is replaced by one order at most that is not invalid. The order's own commit says so, under the condition
// that nobody said so first, and the commit that begins its issuance says it for good.
type Replaces struct {
	ID          string // the certificate's identifier, as the client wrote it and the order shows it
	Certificate CertificateID
	Enrollment  ra.ID // whose certificate it is
	// Mark is the version of the record of which order replaces the certificate, as it was read when the order was planned;
	// zero if there was none. It is CreateOrder's condition, and no part of what is kept.
	Mark [16]byte
}

// Predecessor is what the store knows of a certificate that an order is to replace.
type Predecessor struct {
	Certificate *ca.Certificate // nil: there is none
	Mark        [16]byte        // see Replaces
	// Order is the one that replaces it already, with what its status depends on; nil if none does, or if its record is gone
	// and it began nothing.
	Order *Order
	Facts Facts
}

// replaced is the enrollment of the certificate that an order replaces; zero if it replaces none.
func (o *Order) replaced() ra.ID {
	if o.Replaces == nil {
		return 0
	}
	return o.Replaces.Enrollment
}

// errAlreadyReplaced is RFC 9773, 5 and 7.4.
var errAlreadyReplaced = problem.New(problem.AlreadyReplaced,
	`another order replaces this certificate already; leave "replaces" out, or wait until that order is invalid`)

// renewal are the registered domains of a certificate that is renewed for the first time; nil if none is. Rate limits make
// an exception for them (docs/limits.md). A second order for the same certificate, after the first became invalid, is none:
// one could go on so for ever.
type renewal map[string]bool

func (p Predecessor) renewal(leaf *x509.Certificate, account *Account) renewal {
	own := p.Certificate.Requester == account.requester()
	if p.Order != nil && !(own && p.Order.squats(p.Certificate, account)) {
		return nil
	}
	domains := renewal{}
	for _, text := range leaf.DNSNames {
		if name, err := identifier.ParseDNS(text); err == nil {
			domains[name.RegisteredDomain()] = true
		}
	}
	return domains
}

// predecessor checks the "replaces" of a new order: a certificate of the account's organisation, whichever account or door
// it was issued to, that shares a name with the order and that no other order replaces. Nil if the order has none.
func (s *Server) predecessor(ctx context.Context, given *string, account *Account, names []identifier.Identifier) (*Replaces, renewal, error) {
	if given == nil {
		return nil, nil, nil
	}
	id, err := parseCertID(*given)
	if err != nil {
		return nil, nil, err
	}
	// What is not there and what is another organisation's look the same.
	absent := problem.New(problem.NotFound, `no certificate of this organisation has the identifier in "replaces"`)
	for _, issuer := range s.issuersOf(id.aki) {
		at := CertificateID{Issuer: issuer, Serial: id.serial}
		p, err := s.Store.Predecessor(ctx, at)
		if err != nil {
			return nil, nil, err
		}
		c := p.Certificate
		if c == nil || c.State != ca.Issued {
			continue
		}
		if c.Requester.Org != int32(account.Org) {
			return nil, nil, absent
		}
		leaf, err := s.replaceable(p, account, names)
		if err != nil {
			return nil, nil, err
		}
		return &Replaces{ID: *given, Certificate: at, Enrollment: ra.ID(c.Enrollment), Mark: p.Mark}, p.renewal(leaf, account), nil
	}
	return nil, nil, absent
}

// replaceable refuses a certificate that has nothing in common with the order, or has its successor. It gives the others.
func (s *Server) replaceable(p Predecessor, account *Account, names []identifier.Identifier) (*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(p.Certificate.DER)
	if err != nil {
		return nil, problem.Wrap(err, problem.Internal, "")
	}
	if !slices.ContainsFunc(names, func(n identifier.Identifier) bool { return certifies(leaf, n) }) {
		return nil, problem.New(problem.Malformed, `the certificate in "replaces" has none of the order's names`)
	}
	if p.Order == nil {
		return leaf, nil
	}
	switch status := p.Order.Status(s.Now(), p.Facts); {
	case status == StatusInvalid, status == StatusPending && p.Order.squats(p.Certificate, account):
		return leaf, nil
	}
	return nil, errAlreadyReplaced
}

// squats reports whether an order is in an account's way that neither the account nor the one that the certificate was
// issued to has made. While such an order is pending it has proven nothing, and anybody of the organisation could make one
// for every certificate there is, so that nobody else could replace them for a week. It gives way, and can no longer be
// finalized.
func (o *Order) squats(c *ca.Certificate, account *Account) bool {
	maker := Account{ID: o.Account, Org: o.Org}
	return o.Account != account.ID && c.Requester != maker.requester()
}

// certifies reports whether a certificate has a name, letter by letter: a wildcard name is not all that it covers.
func certifies(leaf *x509.Certificate, name identifier.Identifier) bool {
	if name.Type() == identifier.IP {
		return slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool {
			addr, ok := netip.AddrFromSlice(ip)
			return ok && identifier.FromAddr(addr) == name
		})
	}
	return slices.Contains(leaf.DNSNames, name.Value())
}

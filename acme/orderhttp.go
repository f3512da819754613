package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// ordersPage is how many orders one page of an account's list holds.
const ordersPage = 100

// wireIdentifier is RFC 8555, 9.7.7.
type wireIdentifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func renderIdentifier(id identifier.Identifier) *wireIdentifier {
	return &wireIdentifier{Type: string(id.Type()), Value: id.Value()}
}

// wireOrder is RFC 8555, 7.1.3.
type wireOrder struct {
	Status         Status            `json:"status"`
	Expires        string            `json:"expires"`
	Identifiers    []*wireIdentifier `json:"identifiers"`
	Authorizations []string          `json:"authorizations"`
	Finalize       string            `json:"finalize"`
	NotBefore      string            `json:"notBefore,omitempty"` // as it was asked for; the certificate has what was issued
	NotAfter       string            `json:"notAfter,omitempty"`
	Profile        string            `json:"profile"`            // draft-ietf-acme-profiles, 4
	Replaces       string            `json:"replaces,omitempty"` // RFC 9773, 5
	Certificate    string            `json:"certificate,omitempty"`
	Error          *wireProblem      `json:"error,omitempty"`
}

// renderOrder is the order as its account sees it now. Every answer that shows one order carries its URL as Location:
// clients that finalize look for it there (RFC 8555, 7.4), and elsewhere it does no harm.
func (s *Server) renderOrder(o *Order, f Facts) *reply {
	w := &wireOrder{
		Status:         o.Status(s.Now(), f),
		Expires:        o.expiry(f).UTC().Format(time.RFC3339),
		Identifiers:    make([]*wireIdentifier, len(o.Names)),
		Authorizations: make([]string, len(o.Authzs)),
		Finalize:       s.links.to(target{resource: resFinalize, order: o.ID}),
		NotBefore:      formatAsked(o.Requested.NotBefore),
		NotAfter:       formatAsked(o.Requested.NotAfter),
		Profile:        o.Profile,
	}
	if o.Replaces != nil {
		w.Replaces = o.Replaces.ID
	}
	for i, name := range o.Names {
		w.Identifiers[i] = renderIdentifier(name)
	}
	for i, id := range o.Authzs {
		w.Authorizations[i] = s.links.authz(id)
	}
	rep := &reply{location: s.links.order(o.ID), value: w}
	switch w.Status {
	case StatusValid:
		id := CertificateID{Issuer: f.Enrollment.Issuer, Serial: f.Enrollment.Serial}
		w.Certificate = s.links.to(target{resource: resCertificate, certificate: &id})
	case StatusProcessing: // RFC 8555, 7.4
		rep.retryAfter = pollAfter
		if f.Enrollment.Phase == ra.Waiting {
			rep.retryAfter = waitAfter
		}
	case StatusInvalid:
		if e := o.failure(f); e != nil {
			w.Error = renderProblem(e)
		}
	}
	return rep
}

// order reads one order.
func (s *Server) order(ctx context.Context, req *signed) (*reply, error) {
	facts, err := s.Store.OrderFacts(ctx, req.order)
	if err != nil {
		return nil, err
	}
	if req.order.Enrollment == 0 { // else what became of its authorizations does not show
		for _, a := range facts.Authorizations {
			if a == nil {
				continue
			}
			if err := s.affirmGivenUp(ctx, a); err != nil {
				return nil, err
			}
		}
	}
	if facts, err = s.issueApproved(ctx, req, facts); err != nil {
		return nil, err
	}
	return s.renderOrder(req.order, facts), nil
}

// errCursor is the one answer for a query that names no page, whether by its form or by what the store makes of it.
var errCursor = problem.New(problem.Malformed, `the query names no page of this list; begin with the account's "orders" URL`)

// orders lists the account's orders, newest first, page by page (RFC 8555, 7.1.2.1).
func (s *Server) orders(ctx context.Context, req *signed) (*reply, error) {
	cursor, ok := parseCursor(req.target.query)
	if !ok {
		return nil, errCursor
	}
	page, next, err := s.Store.Orders(ctx, req.account.ID, cursor, ordersPage)
	if problem.Is(err, problem.NotFound) {
		return nil, errCursor
	}
	if err != nil {
		return nil, err
	}
	list := struct {
		Orders []string `json:"orders"`
	}{Orders: make([]string, 0, len(page))}
	for _, o := range page {
		listed, err := s.listed(ctx, o)
		if err != nil {
			return nil, err
		}
		if listed {
			list.Orders = append(list.Orders, s.links.order(o.ID))
		}
	}
	rep := &reply{value: &list}
	if next != "" {
		rep.next = s.links.to(target{resource: resOrders, account: req.account.ID, query: formatCursor(next)})
	}
	return rep, nil
}

// listed reports whether an order is in the list: not if it became invalid before finalize (RFC 8555, 7.1.2.1). That takes
// a read for each order that is neither begun nor past its own expiry, which are few. One whose issuance failed stays in
// the list: it would take a read for each certificate to tell.
func (s *Server) listed(ctx context.Context, o *Order) (bool, error) {
	now := s.Now()
	if o.Enrollment != 0 || !now.Before(o.Expires) {
		return o.Enrollment != 0, nil
	}
	facts, err := s.Store.OrderFacts(ctx, o)
	return err == nil && o.Status(now, facts) != StatusInvalid, err
}

package storage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// successor is an order that is to replace a certificate, as newOrder plans it on what it reads.
func successor(t *testing.T, db *storage.DB, c *ca.Certificate) *acme.Order {
	t.Helper()
	id := acme.CertificateID{Issuer: c.Issuer, Serial: c.Serial}
	p, err := db.Predecessor(t.Context(), id)
	must(t, err)
	if p.Certificate == nil || p.Certificate.Version != c.Version {
		t.Fatalf("the predecessor is %+v", p.Certificate)
	}
	return &acme.Order{
		ID: acme.OrderID(random()), Account: "a", Org: 1, Names: names(t, "www.example.com"), Created: now(), Expires: now().Add(time.Hour),
		Replaces: &acme.Replaces{ID: "id", Certificate: id, Enrollment: ra.ID(c.Enrollment), Mark: p.Mark},
	}
}

// begin records the intent of an order's issuance.
func begin(t *testing.T, db *storage.DB, o *acme.Order) (*ra.Issuance, ca.Intent, error) {
	t.Helper()
	i := unbegun(t, db)
	i.Enrollment.Replaces = o.Replaces.Enrollment
	i.Begin = &acme.OrderBegun{Order: o, Enrollment: i.Enrollment.ID}
	in := intent(i.Enrollment)
	return i, in, db.RecordIntent(t.Context(), in, i)
}

// TestOneOrderReplacesACertificate: RFC 9773, 5. Of two gateways that found a certificate without a successor one makes the
// order, and so again once that order turned out to be invalid.
func TestOneOrderReplacesACertificate(t *testing.T) {
	db, _ := open(t)
	_, c := issued(t, db)
	id := acme.CertificateID{Issuer: c.Issuer, Serial: c.Serial}
	for round := range 20 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			a, b := successor(t, db, c), successor(t, db, c)
			race(t, func() error { return db.CreateOrder(context.Background(), a, nil) },
				func() error { return db.CreateOrder(context.Background(), b, nil) })
			winner, loser := a, b
			if a.Version == [16]byte{} {
				winner, loser = b, a
			}
			p, err := db.Predecessor(t.Context(), id)
			must(t, err)
			if p.Order == nil || p.Order.ID != winner.ID || p.Order.Replaces == nil || p.Order.Replaces.ID != "id" || p.Mark != winner.Version {
				t.Errorf("the certificate is replaced by %+v", p.Order)
			}
			if page, _, err := db.Orders(t.Context(), "a", "", 100); err != nil || len(page) != round+1 {
				t.Errorf("%d orders, %v: the loser %s left something", len(page), err, loser.ID)
			}
		})
	}
}

// TestReplacedForGood: the commit that begins the issuance makes the lineage, and only for the order that replaces the
// certificate by then.
func TestReplacedForGood(t *testing.T) {
	db, counting := open(t)
	ctx := t.Context()
	old, c := issued(t, db)
	id := acme.CertificateID{Issuer: c.Issuer, Serial: c.Serial}
	first := successor(t, db, c)
	must(t, db.CreateOrder(ctx, first, nil))
	if next, err := db.Replacement(ctx, old); err != nil || next != 0 {
		t.Errorf("replaced by %d, %v, before anything was issued", next, err)
	}
	second := successor(t, db, c) // made where the first looked invalid
	must(t, db.CreateOrder(ctx, second, nil))
	if _, _, err := begin(t, db, first); !problem.Is(err, problem.Conflict) {
		t.Errorf("an order that lost its certificate to another began: %v", err)
	}
	i, in, err := begin(t, db, second)
	must(t, err)
	must(t, db.RecordCertificate(ctx, ca.Certificate{Intent: in, DER: []byte{1}, Issued: now()}, i))
	if next, err := db.Replacement(ctx, old); err != nil || next != i.Enrollment.ID {
		t.Errorf("replaced by %d, %v, want %d", next, err, i.Enrollment.ID)
	}
	e, err := db.Enrollment(ctx, i.Enrollment.ID)
	must(t, err)
	if e.Replaces != old.ID {
		t.Errorf("enrollment %d replaces %d, want %d", e.ID, e.Replaces, old.ID)
	}
	counting.Reset()
	p, err := db.Predecessor(ctx, id)
	must(t, err)
	if p.Order.Status(now(), p.Facts) != acme.StatusValid || counting.Trips().Total != 2 {
		t.Errorf("%+v in %v", p, counting.Trips())
	}
	// The replaced certificate is revoked as any other: the lineage is not in its record.
	must(t, db.RecordRevocation(ctx, *c, ca.Revocation{At: now(), Reason: ca.Superseded, Actor: "uid:0"}))
	counting.Reset()
	if p, err := db.Predecessor(ctx, acme.CertificateID{Issuer: "main", Serial: e.Serial}); err != nil || p.Order != nil || p.Mark != [16]byte{} || counting.Trips().Total != 1 {
		t.Errorf("a certificate that nothing replaces: %+v, %v, in %v", p, err, counting.Trips())
	}
	if p, err := db.Predecessor(ctx, acme.CertificateID{Issuer: "main", Serial: "01"}); err != nil || p.Certificate != nil {
		t.Errorf("a certificate that is none: %+v, %v", p, err)
	}
}

// TestFailedReplacement: an issuance that failed replaces nothing, and another order may.
func TestFailedReplacement(t *testing.T) {
	db, _ := open(t)
	ctx := t.Context()
	_, c := issued(t, db)
	first := successor(t, db, c)
	must(t, db.CreateOrder(ctx, first, nil))
	i, _, err := begin(t, db, first)
	must(t, err)
	must(t, db.FailEnrollment(ctx, i.Enrollment, ra.Failure{Kind: problem.CAA, Detail: "no", At: now()}))
	p, err := db.Predecessor(ctx, acme.CertificateID{Issuer: c.Issuer, Serial: c.Serial})
	must(t, err)
	if got := p.Order.Status(now(), p.Facts); got != acme.StatusInvalid {
		t.Errorf("the order of a failed issuance is %s", got)
	}
	second := successor(t, db, c)
	must(t, db.CreateOrder(ctx, second, nil))
	_, _, err = begin(t, db, second)
	must(t, err)
}

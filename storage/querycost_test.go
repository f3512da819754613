package storage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// costly is an engine with indexes and records, which counts by kind what is asked of it.
type costly struct {
	ranked
	records             map[Key][]byte
	counts, scans, gets atomic.Int64
}

func (e *costly) Count(ctx context.Context, index string, r Range) (int64, error) {
	e.counts.Add(1)
	return e.ranked.Count(ctx, index, r)
}

func (e *costly) Scan(ctx context.Context, index string, r Range, p Page) ([][]byte, error) {
	e.scans.Add(1)
	return e.ranked.Scan(ctx, index, r, p)
}

func (e *costly) Get(_ context.Context, keys ...Key) ([]Item, error) {
	e.gets.Add(1)
	items := make([]Item, len(keys))
	for n, k := range keys {
		items[n].Value, items[n].Found = e.records[k]
	}
	return items, nil
}

// list adds an enrollment as it stands in a store, with the certificate that it was imported with.
func (e *costly) list(t *testing.T, in *ra.Enrollment, certificate []byte) {
	t.Helper()
	record, err := encodeEnrollment(in)
	if err != nil {
		t.Fatal(err)
	}
	e.records[keyEnrollment(in.ID)], e.records[keyImported(in.ID)] = record, certificate
	for _, entry := range listEntries(in) {
		e.indexes[entry.Index] = append(e.indexes[entry.Index], entry.Member)
	}
}

// TestWhatAQueryCosts at most: with as many organisations and candidates as there may be, and every filter that there is. One
// enrollment more, and nothing is read at all.
func TestWhatAQueryCosts(t *testing.T) {
	t.Parallel()
	e := &costly{ranked: ranked{indexes: map[string][][]byte{}}, records: map[Key][]byte{}}
	db := &DB{engine: e}
	name, err := identifier.ParseDNS("a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	certificate, err := encode(importRecord{DER: selfSigned(t)})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) {
		e.list(t, &ra.Enrollment{
			ID: ra.ID(n + 1), Org: auth.OrgID(1 + n%ra.MaxOrgs), Requester: "user:7", Profile: "tls", Names: []identifier.Identifier{name}, Created: at,
			Phase: ra.Issued, Imported: true, Serial: "01", Issued: at, NotAfter: at.Add(time.Duration(n+1) * time.Second),
		}, certificate)
	}
	var orgs []auth.OrgID
	for n := range ra.MaxOrgs {
		orgs = append(orgs, auth.OrgID(n+1))
	}
	asked, looked := 0, 0
	conditions := []ra.Condition{
		{Certificate: true, Holds: func(_ *ra.Enrollment, cert *x509.Certificate) bool { looked++; return cert != nil }},
		{Holds: func(e *ra.Enrollment, _ *x509.Certificate) bool { asked++; return e.ID%100 == 0 }},
	}
	all := ra.Query{
		Status: ra.StatusIssued, Profile: "tls", Requester: "user:7", Name: "a.example.com", Suffix: "example.com", CommonName: "a.example.com",
		NotAfterFrom: at, NotAfterTo: at.AddDate(1, 0, 0),
	}
	cost := func(q ra.Query, offset, candidates int, counts, scans, gets int64) {
		t.Helper()
		q.Orgs, q.Where, q.Limit, q.Offset = orgs, conditions, 200, offset
		asked, looked = 0, 0
		e.counts.Store(0)
		e.scans.Store(0)
		e.gets.Store(0)
		found, err := db.Search(t.Context(), q, at)
		held := candidates / 100
		if err != nil || found.Total != int64(held) || len(found.Enrollments) != max(0, held-offset) || asked != candidates || looked != held {
			t.Errorf("%d of %d; %d were looked at, and %d certificates: %v", len(found.Enrollments), found.Total, asked, looked, err)
		}
		if c, s, g := e.counts.Load(), e.scans.Load(), e.gets.Load(); c > counts || s > scans || g > gets {
			t.Errorf("%d counts, %d scans and %d reads; want at most %d, %d and %d", c, s, g, counts, scans, gets)
		}
	}
	for n := range ra.MaxOrgs {
		add(n)
	}
	cost(all, 1<<31-1, ra.MaxOrgs, 8*ra.MaxOrgs, 2*ra.MaxOrgs, 2)
	for n := ra.MaxOrgs; n < ra.MaxCandidates; n++ {
		add(n)
	}
	cost(ra.Query{}, ra.MaxCandidates/100-1, ra.MaxCandidates, ra.MaxOrgs, ra.MaxOrgs, 2*ra.MaxCandidates/500)
	add(ra.MaxCandidates)
	e.scans.Store(0)
	e.gets.Store(0)
	all.Orgs, all.Where, all.Limit = orgs, conditions, 1
	if _, err := db.Search(t.Context(), all, at); err == nil {
		t.Error("one candidate too many is answered")
	} else if many, ok := errors.AsType[*ra.TooManyError](err); !ok || many.Candidates != ra.MaxCandidates+1 {
		t.Errorf("one candidate too many: %v", err)
	}
	if n := e.scans.Load() + e.gets.Load(); n > 0 {
		t.Errorf("it costs %d scans and reads", n)
	}
}

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

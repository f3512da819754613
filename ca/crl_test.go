package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func crlRequest(entries ...CRLEntry) CRLRequest {
	now := time.Now().Truncate(time.Second)
	return CRLRequest{Issuer: "main", Number: 1_700_000_000, ThisUpdate: now, NextUpdate: now.Add(96 * time.Hour), Entries: entries}
}

func TestSignCRL(t *testing.T) {
	w := newWorld(t, nil)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	req := crlRequest(CRLEntry{"01ab", at, Unspecified}, CRLEntry{"7f00000000000000000000000000000001", at, KeyCompromise})
	der, err := w.authority.SignCRL(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(w.hierarchy.Intermediate.Certificate); err != nil {
		t.Error(err)
	}
	if list.Number.Int64() != req.Number || !list.ThisUpdate.Equal(req.ThisUpdate) || !list.NextUpdate.Equal(req.NextUpdate) {
		t.Errorf("number %s, %s to %s", list.Number, list.ThisUpdate, list.NextUpdate)
	}
	first, second := list.RevokedCertificateEntries[0], list.RevokedCertificateEntries[1]
	if SerialOf(first.SerialNumber) != "01ab" || !first.RevocationTime.Equal(at) || len(first.Extensions) != 0 { // RFC 5280, 5.3.1
		t.Errorf("first entry %+v", first)
	}
	if second.ReasonCode != int(KeyCompromise) {
		t.Errorf("second entry %+v", second)
	}
	hash := sha256.Sum256(der)
	if e := w.journal.events; len(e) != 1 || e[0].Kind != audit.CRLSigned || e[0].Issuer != "main" || e[0].Number != req.Number || !bytes.Equal(e[0].Hash, hash[:]) {
		t.Errorf("events %+v", e)
	}
	lintCRL(t, der)
}

// lintCRL holds a list to zlint's rules for lists, of every source that is linked.
func lintCRL(t *testing.T, der []byte) {
	t.Helper()
	list, err := zx509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lint.GlobalRegistry().RevocationListLints().Lints() {
		if r := l.Execute(list, lint.NewEmptyConfig()); r.Status >= lint.Error {
			t.Errorf("%s: %s", l.Name, r.Details)
		}
	}
}

func TestSignCRLRefuses(t *testing.T) {
	at := time.Now()
	for _, tt := range []struct {
		name   string
		change func(r *CRLRequest)
		want   problem.Kind
	}{
		{"unknown issuer", func(r *CRLRequest) { r.Issuer = "other" }, problem.NotFound},
		{"RFC 5280 5.2.3: number not positive", func(r *CRLRequest) { r.Number = 0 }, problem.Internal},
		{"RFC 5280 5.1.2.5: nextUpdate", func(r *CRLRequest) { r.NextUpdate = r.ThisUpdate }, problem.Internal},
		{"serial twice", func(r *CRLRequest) { r.Entries = []CRLEntry{{"01", at, 0}, {"01", at, 0}} }, problem.Internal},
		{"serial not a number", func(r *CRLRequest) { r.Entries = []CRLEntry{{"xy", at, 0}} }, problem.Internal},
		{"serial not canonical", func(r *CRLRequest) { r.Entries = []CRLEntry{{"00AB", at, 0}} }, problem.Internal},
		{"no revocation date", func(r *CRLRequest) { r.Entries = []CRLEntry{{Serial: "01"}} }, problem.Internal},
		{"RFC 5280 5.3.1: removeFromCRL", func(r *CRLRequest) { r.Entries = []CRLEntry{{"01", at, 8}} }, problem.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			req := crlRequest()
			tt.change(&req)
			if der, err := w.authority.SignCRL(t.Context(), req); der != nil || problem.From(err) == nil || problem.From(err).Kind != tt.want {
				t.Errorf("got %x, %v", der, err)
			}
			if len(w.witness.digests)+len(w.journal.events) != 0 {
				t.Error("something was signed or journaled")
			}
		})
	}
}

func TestSignCRLTampered(t *testing.T) {
	for name, change := range map[string]func(l *x509.RevocationList){
		"an entry lost": func(l *x509.RevocationList) { l.RevokedCertificateEntries = l.RevokedCertificateEntries[:1] },
		"other number":  func(l *x509.RevocationList) { l.Number = big.NewInt(3) },
		"lives longer":  func(l *x509.RevocationList) { l.NextUpdate = l.NextUpdate.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			is := w.authority.issuers["main"]
			honest := is.Backend
			is.Backend = &tamperer{Backend: honest, signCRL: func(ctx context.Context, l *x509.RevocationList) ([]byte, error) {
				own := *l
				change(&own)
				return honest.SignCRL(ctx, &own)
			}}
			at := time.Now()
			der, err := w.authority.SignCRL(t.Context(), crlRequest(CRLEntry{"01", at, 0}, CRLEntry{"02", at, 0}))
			if der != nil || !problem.Is(err, problem.Internal) || len(w.journal.events) != 0 {
				t.Errorf("got %x, %v", der, err)
			}
		})
	}
}

// A list that is not in the journal is not released.
func TestSignCRLNeedsJournal(t *testing.T) {
	w := newWorld(t, nil)
	w.journal.faults[audit.CRLSigned] = fails
	if der, err := w.authority.SignCRL(t.Context(), crlRequest()); der != nil || !problem.Is(err, problem.Unavailable) {
		t.Errorf("got %x, %v", der, err)
	}
}

func BenchmarkSignCRL10k(b *testing.B) {
	w := newWorld(b, nil)
	at := time.Now()
	var entries []CRLEntry
	for range 10_000 {
		s, _ := newSerial()
		entries = append(entries, CRLEntry{s, at, KeyCompromise})
	}
	for b.Loop() {
		if _, err := w.authority.SignCRL(b.Context(), crlRequest(entries...)); err != nil {
			b.Fatal(err)
		}
	}
}

package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// A back end that signs anything but the linted bytes, or with another key, is refused, and the serial is abandoned.
func TestTamperingBackends(t *testing.T) {
	type signFunc = func(w *world, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error)
	edit := func(change func(tmpl *x509.Certificate)) signFunc {
		return func(w *world, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
			own := *tmpl
			change(&own)
			return x509.CreateCertificate(rand.Reader, &own, w.hierarchy.Intermediate.Certificate, pub, w.hierarchy.Intermediate.Key)
		}
	}
	honest := edit(func(*x509.Certificate) {})
	for _, tt := range []struct {
		name string
		sign signFunc
		says string
	}{
		{"other serial", edit(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(5) }), "to-be-signed"},
		{"a second longer", edit(func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }), "to-be-signed"},
		{"one name more", edit(func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil.example.com") }), "to-be-signed"},
		{"CA:TRUE", edit(func(c *x509.Certificate) { c.IsCA = true }), "to-be-signed"},
		{"an extension more", edit(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}}
		}), "to-be-signed"},
		{"other subject key", func(w *world, tmpl *x509.Certificate, _ crypto.PublicKey) ([]byte, error) {
			return honest(w, tmpl, w.hierarchy.Root.Key.Public())
		}, "to-be-signed"},
		{"signed by another key", func(w *world, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
			der, err := honest(w, tmpl, pub)
			if err != nil {
				return nil, err
			}
			return resign(t, der, newKey(t, "p256")), nil
		}, "signature"},
		{"garbage", func(*world, *x509.Certificate, crypto.PublicKey) ([]byte, error) { return []byte("ok"), nil }, "parse"},
		{"nothing", func(*world, *x509.Certificate, crypto.PublicKey) ([]byte, error) { return nil, nil }, "parse"},
		{"bytes behind the end", func(w *world, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
			der, err := honest(w, tmpl, pub)
			return append(der, 0), err
		}, "parse"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			is := w.authority.issuers["main"]
			is.Backend = &tamperer{Backend: is.Backend, sign: func(_ context.Context, tmpl *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
				return tt.sign(w, tmpl, pub)
			}}
			c, err := w.authority.Issue(t.Context(), w.request(t))
			if c != nil || !problem.Is(err, problem.Internal) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, %v; want a refusal about %q", c, err, tt.says)
			}
			if r := w.store.all(); len(r) != 1 || r[0].State != Abandoned {
				t.Errorf("records %+v", r)
			}
			if len(w.journal.of(audit.Abandoned)) != 1 || len(w.journal.of(audit.Signed)) != 0 {
				t.Errorf("events %+v", w.journal.events)
			}
		})
	}
}

// resign keeps a certificate's bytes and replaces its signature by another key's.
func resign(t *testing.T, der []byte, by crypto.Signer) []byte {
	t.Helper()
	var c struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	sig, err := crypto.SignMessage(by, rand.Reader, c.TBS.FullBytes, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	out, err := asn1.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The captured bytes are what x509 would have signed, and capturing uses no key.
func TestCaptureEqualsSigned(t *testing.T) {
	w := newWorld(t, nil)
	is := w.authority.issuers["main"]
	decision, err := w.profile.Decide(w.request(t).Policy)
	if err != nil {
		t.Fatal(err)
	}
	_, number := newSerial()
	tmpl, err := is.template(decision, number)
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := is.capture(tmpl, decision.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.witness.digests) != 0 {
		t.Error("capturing used the key")
	}
	der, err := is.Backend.Sign(t.Context(), tmpl, decision.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := is.verify(der, tbs); err != nil {
		t.Error(err)
	}
	if _, err := (&captor{}).Sign(nil, nil, nil); err == nil || errors.Is(err, errCaptured) {
		t.Errorf("a digest was captured: %v", err)
	}
}

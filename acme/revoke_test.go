package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// issue is a certificate for an account, as DER.
func (c *client) issue(name string) []byte {
	c.w.t.Helper()
	o := c.readyOrder(name)
	done := c.to(o.Finalize, c.w.csr(name)).want(c.w.t, http.StatusOK).order(c.w.t)
	return c.w.chainOf(c.read(done.Certificate).want(c.w.t, http.StatusOK).body, name)[0].Raw
}

const revokePath = "/acme/r/revoke-cert"

func TestRevokeByAccount(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	der := c.issue("a.example.com")
	in := map[string]any{"certificate": b64(der), "reason": 4}
	if a := c.post(revokePath, in).want(t, http.StatusOK); len(a.body) != 0 { // RFC 8555, 7.6
		t.Errorf("%q", a.body)
	}
	for _, cert := range w.store.certificates {
		if cert.Revocation == nil || cert.Revocation.Reason != 4 {
			t.Errorf("%+v", cert.Revocation)
		}
	}
	c.post(revokePath, in).wantProblem(t, http.StatusBadRequest, "alreadyRevoked")
}

func TestRevokeByCertificateKey(t *testing.T) {
	w := newWorld(t)
	der := w.account().issue("a.example.com")
	holder := &client{w: w, key: w.key}
	stranger := w.client()
	in := map[string]any{"certificate": b64(der)}
	stranger.post(revokePath, in).wantProblem(t, http.StatusForbidden, "unauthorized")
	holder.post(revokePath, in).want(t, http.StatusOK)
	holder.post(revokePath, in).wantProblem(t, http.StatusBadRequest, "alreadyRevoked")
}

// TestRevokeForged sends a certificate of its own making with the serial of a real one.
func TestRevokeForged(t *testing.T) {
	w := newWorld(t)
	leaf, err := x509.ParseCertificate(w.account().issue("a.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	forger := w.client()
	tmpl := &x509.Certificate{SerialNumber: leaf.SerialNumber, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	parent := w.registrar.hierarchy.Intermediate.Certificate
	key := forger.key.(*ecdsa.PrivateKey)
	fake := *parent
	fake.PublicKey = key.Public()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, &fake, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	forger.post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, http.StatusForbidden, "unauthorized")
	for _, cert := range w.store.certificates {
		if cert.Revocation != nil {
			t.Error("revoked by a forged certificate")
		}
	}
}

func TestRevokeRefusals(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	der := c.issue("a.example.com")
	elsewhere, err := testca.NewHierarchy(testca.HierarchyConfig{Name: "Elsewhere", Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := elsewhere.Leaf("a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	authority := w.registrar.hierarchy.Intermediate
	unknown, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(77), NotBefore: testTime, NotAfter: testTime.Add(time.Hour),
	}, authority.Certificate, key.Public(), authority.Key)
	if err != nil {
		t.Fatal(err)
	}
	in := func(der []byte, reason any) map[string]any {
		m := map[string]any{"certificate": b64(der)}
		if reason != nil {
			m["reason"] = reason
		}
		return m
	}
	for _, tc := range []struct {
		name   string
		who    *client
		in     any
		status int
		word   string
	}{
		{"RFC 8555, 7.6: reason 7 is unused", c, in(der, 7), 400, "badRevocationReason"},
		{"RFC 8555, 7.6: reason below zero", c, in(der, -1), 400, "badRevocationReason"},
		{"reason is no number", c, in(der, "keyCompromise"), 400, "malformed"},
		{"reason is no integer", c, in(der, 1.5), 400, "malformed"},
		{"no certificate", c, map[string]any{}, 400, "malformed"},
		{"not base64url", c, map[string]any{"certificate": "-----"}, 400, "malformed"},
		{"no certificate inside", c, in([]byte("text"), nil), 400, "malformed"},
		{"RFC 8555, 7.6: another account", w.account(), in(der, nil), 403, "unauthorized"},
		{"another organisation", w.accountAt("/acme/r/new-account/in/other"), in(der, nil), 403, "unauthorized"},
		{"another issuer", c, in(foreign.Leaf.Raw, nil), 403, "unauthorized"},
		{"no such serial", c, in(unknown, nil), 403, "unauthorized"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.who.post(revokePath, tc.in).wantProblem(t, tc.status, tc.word)
		})
	}
	if a := c.post(revokePath, in(der, 1)); a.status != http.StatusOK {
		t.Errorf("%s", a.body)
	}
}

// TestRevokeByKeyOfAnAccount holds that an account's key in jwk is not the account: RFC 8555, 7.6 wants kid for that.
func TestRevokeByKeyOfAnAccount(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	der := c.issue("a.example.com")
	(&client{w: w, key: c.key}).post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, http.StatusForbidden, "unauthorized")
}

// TestRevokeLongSerial: RFC 5280, 4.1.2.2: a serial that we cannot have issued reaches no key of the store. Package x509 reads
// serials of any length.
func TestRevokeLongSerial(t *testing.T) {
	asked := &askedToRevoke{}
	w := newWorld(t, func(c *Config) { asked.Registrar, c.Registrar = c.Registrar, asked })
	leaf, err := x509.ParseCertificate(w.account().issue("a.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	forger := w.account()
	for _, octets := range []int{maxSerial + 1, 40_000} {
		serial := new(big.Int).Lsh(big.NewInt(1), uint(8*(octets-1)))
		tmpl := &x509.Certificate{SerialNumber: serial, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
		parent := &x509.Certificate{RawSubject: leaf.RawIssuer, PublicKey: forger.key.Public()}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, forger.key.Public(), forger.key)
		if err != nil {
			t.Fatal(err)
		}
		forger.post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, http.StatusForbidden, "unauthorized")
		(&client{w: w, key: forger.key}).post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, http.StatusForbidden, "unauthorized")
	}
	for _, serial := range asked.serials {
		t.Errorf("the registrar was asked for a serial of %d hex digits", len(serial))
	}
}

// askedToRevoke notes which serials a Registrar is asked to revoke.
type askedToRevoke struct {
	Registrar
	serials []ca.Serial
}

func (r *askedToRevoke) Revoke(ctx context.Context, caller auth.Caller, rev ra.Revocation) error {
	r.serials = append(r.serials, rev.Serial)
	return r.Registrar.Revoke(ctx, caller, rev)
}

func (r *askedToRevoke) RevokeByKey(ctx context.Context, rev ra.Revocation, key crypto.PublicKey) error {
	r.serials = append(r.serials, rev.Serial)
	return r.Registrar.RevokeByKey(ctx, rev, key)
}

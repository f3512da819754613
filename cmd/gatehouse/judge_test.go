package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// scene is where the evidence lies that stopped gateways left behind: one, or several on one store.
type scene struct {
	hierarchy string // folder
	open      func() (storage.Engine, error)
	journals  []string
	witnesses []string
}

// scene of one gateway with its own store.
func (w *world) scene(witness string) scene {
	return scene{
		hierarchy: filepath.Join(w.data, "throw-away-ca"),
		open: func() (storage.Engine, error) {
			engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.data, "store")})
			if err != nil {
				return nil, err
			}
			return engine, engine.Export(context.Background(), embedded.Visitor{}) // checks its own indexes on the way
		},
		journals: []string{filepath.Join(w.data, "journal")}, witnesses: []string{witness},
	}
}

// scene of several gateways on one Redis.
func (f *fleet) scene(c redis.Config) scene {
	s := scene{
		hierarchy: filepath.Join(f.worlds[0].data, "throw-away-ca"), witnesses: f.witnesses,
		open: func() (storage.Engine, error) { return redis.Open(context.Background(), c) },
	}
	for _, w := range f.worlds {
		s.journals = append(s.journals, filepath.Join(w.data, "journal"))
	}
	return s
}

// evidence is everything that stopped gateways left behind.
type evidence struct {
	t        testing.TB
	close    func() error
	db       *storage.DB
	roots    *x509.CertPool
	chain    *x509.CertPool
	signed   [][]byte        // to-be-signed certificates that the signers were given, in order
	journals [][]audit.Event // one for each gateway
	enrolled []*ra.Enrollment
	crl      *x509.RevocationList
}

// judge checks the invariants of the design that a crash could break, by their numbers: 1 to 5, 15, 16,
// 18, 19, 24 and 25. The
// gateway must have stopped. Invariant 17 is the clients' to check, while a gateway runs.
func judge(t testing.TB, w *world, witness string, clients []*history) {
	t.Helper()
	judgeScene(t, w.scene(witness), clients)
}

func judgeScene(t testing.TB, s scene, clients []*history) {
	t.Helper()
	e := gather(t, s)
	defer e.close()
	e.signedIsRecorded()
	e.issuedOnce()
	e.journalled()
	for _, h := range clients {
		e.acknowledgedStays(h)
	}
	e.nothingIsLeftOpen()
}

func gather(t testing.TB, s scene) *evidence {
	t.Helper()
	e := &evidence{t: t}
	for _, witness := range s.witnesses {
		e.signed = append(e.signed, readWitness(t, witness)...)
	}
	h, err := testca.Load(s.hierarchy)
	must(t, err)
	e.roots, e.chain = h.Pool(), x509.NewCertPool()
	e.chain.AddCert(h.Intermediate.Certificate)

	for _, journal := range s.journals {
		if _, err := audit.Verify(journal); err != nil {
			t.Fatalf("invariant 16: the journal does not verify: %v", err)
		}
		var events []audit.Event
		for entry, err := range audit.After(journal, 0) {
			must(t, err)
			events = append(events, entry.Event)
		}
		e.journals = append(e.journals, events)
	}
	engine, err := s.open()
	must(t, err)
	e.close = engine.Close
	t.Cleanup(func() { engine.Close() }) // should it not come to its end
	e.db, err = storage.Open(context.Background(), storage.Config{Engine: engine})
	must(t, err)
	for q := (ra.Query{Limit: 1000}); ; q.After = e.enrolled[len(e.enrolled)-1].ID {
		found, err := e.db.Search(context.Background(), q, time.Now())
		must(t, err)
		e.enrolled = append(e.enrolled, found.Enrollments...)
		if len(found.Enrollments) < q.Limit {
			break
		}
	}
	crl, err := e.db.CRL(context.Background(), "dev", 0)
	must(t, err)
	e.crl, err = x509.ParseRevocationList(crl.DER)
	must(t, err)
	must(t, e.crl.CheckSignatureFrom(h.Intermediate.Certificate))
	return e
}

// events are those of all journals.
func (e *evidence) events() (all []audit.Event) { return slices.Concat(e.journals...) }

// readWitness gives the certificates among what the signer was given: CRLs begin with another field (RFC 5280, 5.1).
func readWitness(t testing.TB, path string) (certificates [][]byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // that gateway never started
	}
	must(t, err)
	for line := range strings.Lines(string(text)) {
		tbs, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		must(t, err)
		var outer asn1.RawValue
		if _, err := asn1.Unmarshal(tbs, &outer); err != nil {
			t.Fatal(err)
		}
		if outer.Bytes[0] == 0xa0 { // RFC 5280, 4.1: [0] version
			certificates = append(certificates, tbs)
		}
	}
	return certificates
}

// serialOf reads the serial of a to-be-signed certificate (RFC 5280, 4.1.2.2).
func serialOf(t testing.TB, tbs []byte) *big.Int {
	t.Helper()
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(tbs, &outer); err != nil {
		t.Fatal(err)
	}
	var version asn1.RawValue
	rest, err := asn1.Unmarshal(outer.Bytes, &version)
	must(t, err)
	var serial *big.Int
	_, err = asn1.Unmarshal(rest, &serial)
	must(t, err)
	return serial
}

// signedIsRecorded is invariants 1, 2, 3 and 5 from the signer's side.
func (e *evidence) signedIsRecorded() {
	e.t.Helper()
	announced := map[string]bool{}
	for _, event := range e.events() {
		if event.Kind == audit.WillSign {
			announced[hex.EncodeToString(event.Hash)] = true
		}
	}
	seen := map[string]bool{}
	for _, tbs := range e.signed {
		hash := sha256.Sum256(tbs)
		serial := ca.SerialOf(serialOf(e.t, tbs))
		if seen[string(serial)] {
			e.t.Errorf("invariant 3: serial %s was signed twice", serial)
		}
		seen[string(serial)] = true
		if !announced[hex.EncodeToString(hash[:])] {
			e.t.Errorf("invariant 2: %s was signed without an entry before", serial)
		}
		c, err := e.db.Certificate(context.Background(), "dev", serial)
		if err != nil {
			e.t.Errorf("invariant 1: %s was signed and is not recorded: %v", serial, err)
			continue
		}
		if c.TBSHash != hash {
			e.t.Errorf("invariant 2: the intent of %s is for other bytes", serial)
		}
		if c.State == ca.Issued {
			e.issuedAsSigned(c, tbs)
		} else if !e.listed(c.Serial) {
			e.t.Errorf("invariant 1: %s was signed, was not issued and is not on the CRL", serial)
		}
	}
}

// issuedAsSigned is invariant 5: recorded and signed bytes are equal and chain.
func (e *evidence) issuedAsSigned(c *ca.Certificate, tbs []byte) {
	e.t.Helper()
	leaf, err := x509.ParseCertificate(c.DER)
	must(e.t, err)
	if !bytes.Equal(leaf.RawTBSCertificate, tbs) {
		e.t.Errorf("invariant 5: %s was recorded with other bytes than were signed", c.Serial)
	}
	options := x509.VerifyOptions{Roots: e.roots, Intermediates: e.chain, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := leaf.Verify(options); err != nil {
		e.t.Errorf("invariant 5: %s does not chain: %v", c.Serial, err)
	}
}

func (e *evidence) listed(serial ca.Serial) bool {
	for _, entry := range e.crl.RevokedCertificateEntries {
		if ca.SerialOf(entry.SerialNumber) == serial {
			return true
		}
	}
	return false
}

// issuedOnce is invariants 4 and 18 from the records' side: one certificate for each enrollment, every serial that was
// begun for it and not issued is abandoned, and "signed" in the journal is issued or closed.
func (e *evidence) issuedOnce() {
	e.t.Helper()
	issued := map[int64]int{}
	for _, event := range e.events() {
		if event.Kind != audit.WillSign {
			continue
		}
		c, err := e.db.Certificate(context.Background(), event.Issuer, ca.Serial(event.Serial))
		switch {
		case problem.Is(err, problem.NotFound): // announced, and the crash came before the intent: nothing was signed
			continue
		case err != nil:
			e.t.Fatal(err)
		case c.State == ca.Issued:
			issued[c.Enrollment]++
		}
	}
	for _, enrollment := range e.enrolled {
		n := issued[int64(enrollment.ID)]
		switch {
		case enrollment.Phase == ra.Issued || enrollment.Phase == ra.Revoked:
			if n != 1 {
				e.t.Errorf("invariant 4: enrollment %d has %d certificates", enrollment.ID, n)
			}
		case n != 0:
			e.t.Errorf("invariant 18: enrollment %d has a certificate and is in phase %d", enrollment.ID, enrollment.Phase)
		}
	}
}

// journalled is invariant 15: what was issued has its entries, in order. A gateway may close or revoke what another one
// announced.
func (e *evidence) journalled() {
	e.t.Helper()
	announced, ended := map[string]bool{}, map[string]bool{}
	for _, event := range e.events() {
		if event.Kind == audit.WillSign {
			announced[event.Issuer+"/"+event.Serial] = true
		}
	}
	for _, journal := range e.journals {
		here := map[string]bool{}
		for _, event := range journal {
			key := event.Issuer + "/" + event.Serial
			switch event.Kind {
			case audit.WillSign:
				here[key] = true
			case audit.Signed:
				if !here[key] {
					e.t.Errorf("invariant 15: %s of %s without a will-sign before", event.Kind, event.Serial)
				}
				ended[key] = true
			case audit.Abandoned:
				ended[key] = true
				fallthrough
			case audit.Revoked:
				if !announced[key] {
					e.t.Errorf("invariant 15: %s of %s, which was never announced", event.Kind, event.Serial)
				}
			}
		}
	}
	for key := range announced {
		if !ended[key] {
			e.t.Errorf("invariant 15: %s was announced, and no journal says what became of it", key)
		}
	}
}

// acknowledgedStays is invariants 5 and 19 from the client's side.
func (e *evidence) acknowledgedStays(h *history) {
	e.t.Helper()
	if h.account != "" {
		thumbprint, err := acme.JWKThumbprint(h.key.Public())
		must(e.t, err)
		account, err := e.db.AccountByKey(context.Background(), thumbprint)
		if err != nil || !strings.HasSuffix(h.account, "/"+string(account.ID)) {
			e.t.Errorf("invariant 19: the account %s was acknowledged and is lost: the store has %+v, %v", h.account, account, err)
		}
	}
	if h.der == nil {
		return
	}
	leaf, err := x509.ParseCertificate(h.der)
	must(e.t, err)
	serial := ca.SerialOf(leaf.SerialNumber)
	c, err := e.db.Certificate(context.Background(), "dev", serial)
	if err != nil {
		e.t.Errorf("invariant 19: %s was downloaded and is not recorded: %v", serial, err)
		return
	}
	if !bytes.Equal(c.DER, h.der) {
		e.t.Errorf("invariant 5: %s was downloaded with other bytes than are recorded", serial)
	}
	if h.revoked && (c.Revocation == nil || !e.listed(serial)) {
		e.t.Errorf("invariant 19: the revocation of %s was acknowledged and is lost", serial)
	}
}

// nothingIsLeftOpen is invariants 24 and 25.
func (e *evidence) nothingIsLeftOpen() {
	e.t.Helper()
	open, err := e.db.OpenIntents(context.Background(), time.Now().Add(time.Hour), 1000)
	must(e.t, err)
	for _, in := range open {
		e.t.Errorf("invariant 24: the intent %s is open after all is done", in.Serial)
	}
	for _, enrollment := range e.enrolled {
		if enrollment.Phase == ra.Requested {
			e.t.Errorf("invariant 25: enrollment %d is still requested", enrollment.ID)
		}
	}
	if time.Until(e.crl.NextUpdate) < time.Minute {
		e.t.Errorf("invariant 25: the CRL is not fresh: %s", e.crl.NextUpdate)
	}
}

// signedBody is a JWS with an account's key id (RFC 8555, 6.2); a nil payload makes a POST-as-GET.
func signedBody(t testing.TB, key *ecdsa.PrivateKey, kid, nonce, url string, payload any) []byte {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid, "nonce": nonce, "url": url})
	must(t, err)
	text := ""
	if payload != nil {
		b, err := json.Marshal(payload)
		must(t, err)
		text = encode(b)
	}
	digest := sha256.Sum256([]byte(encode(header) + "." + text))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	must(t, err)
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	body, err := json.Marshal(map[string]string{"protected": encode(header), "payload": text, "signature": encode(signature)})
	must(t, err)
	return body
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

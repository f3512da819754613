package storage_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// paper is one certificate of enrollment 7, and what a journal says of it.
type paper struct {
	serial   ca.Serial
	names    []string
	der      []byte
	key      crypto.Signer
	at       time.Time
	notAfter time.Time
	hash     [32]byte // of the to-be-signed bytes
}

const paperEnrollment = 7

func newPaper(t *testing.T) paper {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	var octets [17]byte
	rand.Read(octets[1:])
	octets[0] = 1
	p := paper{key: key, names: []string{"*.example.com", "www.example.com", "192.0.2.1"}, at: now().Add(-time.Minute), notAfter: now().Add(time.Hour)}
	p.der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(octets[:]), Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: p.names[:2],
		IPAddresses: []net.IP{netip.MustParseAddr(p.names[2]).AsSlice()}, NotBefore: p.at.Add(-time.Hour), NotAfter: p.notAfter,
	}, h.Intermediate.Certificate, key.Public(), h.Intermediate.Key)
	must(t, err)
	leaf, err := x509.ParseCertificate(p.der)
	must(t, err)
	p.serial, p.hash = ca.SerialOf(leaf.SerialNumber), sha256.Sum256(leaf.RawTBSCertificate)
	return p
}

func (p paper) event(kind audit.Kind) audit.Event {
	return audit.Event{
		Kind: kind, At: p.at.Add(300 * time.Millisecond), Actor: "acme:a", Org: 1, Enrollment: paperEnrollment, Issuer: "main", Serial: string(p.serial),
	}
}

func (p paper) willSign() audit.Event {
	e := p.event(audit.WillSign)
	e.Names, e.Hash, e.NotAfter, e.Door, e.Profile, e.ProfileHash = p.names, p.hash[:], p.notAfter, "acme", "tls", "00ff"
	return e
}

func (p paper) signed() audit.Event {
	e := p.event(audit.Signed)
	e.Names, e.DER, e.Door, e.Profile, e.ProfileHash = p.names, p.der, "acme", "tls", "00ff"
	return e
}

func (p paper) abandoned() audit.Event {
	e := p.event(audit.Abandoned)
	e.NotAfter = p.notAfter
	return e
}

func (p paper) revoked(reason ca.Reason, after time.Duration) audit.Event {
	e := p.event(audit.Revoked)
	e.At, e.Actor, e.Reason = p.at.Add(after), fmt.Sprintf("uid:%d", reason), int(reason)
	e.NotAfter, e.DER, e.Requester, e.Issued, e.Door, e.Profile, e.ProfileHash = p.notAfter, p.der, "acme:a", p.at, "acme", "tls", "00ff"
	return e
}

// bare is a "revoked" as it was written before the entry held the certificate.
func bare(e audit.Event) audit.Event {
	e.NotAfter, e.DER, e.Requester, e.Issued, e.Door, e.Profile, e.ProfileHash = time.Time{}, nil, "", time.Time{}, "", "", ""
	return e
}

// intend records its intent and its enrollment, as an issuance does.
func (p paper) intend(t *testing.T, db *storage.DB) (*ra.Issuance, ca.Intent) {
	t.Helper()
	_, err := db.NextEnrollment(t.Context())
	must(t, err)
	return p.again(t, db, &ra.Enrollment{
		ID: paperEnrollment, Org: 1, Door: ra.DoorACME, Requester: "acme:a", Profile: "tls", ProfileHash: "00ff", Names: p.identifiers(t),
		CommonName: "www.example.com", Created: p.at, Claims: []ra.Claim{{Door: ra.DoorACME, Name: "c"}}, Phase: ra.Requested,
		CSR: []byte("csr"), Due: p.at.Add(time.Minute), Attempts: 1,
	})
}

// again records its intent for an enrollment.
func (p paper) again(t *testing.T, db *storage.DB, e *ra.Enrollment) (*ra.Issuance, ca.Intent) {
	t.Helper()
	i := &ra.Issuance{Enrollment: e}
	in := ca.Intent{
		Issuer: "main", Serial: p.serial, TBSHash: p.hash, Names: p.identifiers(t), NotBefore: p.at.Add(-time.Hour), NotAfter: p.notAfter,
		Enrollment: int64(e.ID), Requester: policy.Requester{Org: 1, Door: "acme", Principal: "acme:a"}, Profile: "tls", ProfileHash: "00ff", Opened: p.at,
	}
	must(t, db.RecordIntent(t.Context(), in, i))
	return i, in
}

// issue records its certificate as well.
func (p paper) issue(t *testing.T, db *storage.DB) {
	t.Helper()
	i, in := p.intend(t, db)
	must(t, db.RecordCertificate(t.Context(), ca.Certificate{Intent: in, DER: p.der, Issued: p.at}, i))
}

func (p paper) revoke(t *testing.T, db *storage.DB, reason ca.Reason, after time.Duration) {
	t.Helper()
	must(t, db.RecordRevocation(t.Context(), *p.read(t, db), ca.Revocation{At: p.at.Add(after), Reason: reason, Actor: fmt.Sprintf("uid:%d", reason)}))
}

func (p paper) identifiers(t *testing.T) []identifier.Identifier {
	t.Helper()
	return append(names(t, p.names[:2]...), identifier.FromAddr(netip.MustParseAddr(p.names[2])))
}

func (p paper) read(t *testing.T, db *storage.DB) *ca.Certificate {
	t.Helper()
	c, err := db.Certificate(t.Context(), "main", p.serial)
	must(t, err)
	return c
}

// replay applies a whole journal, and returns how many entries changed the store.
func replay(t *testing.T, db *storage.DB, events ...audit.Event) int {
	t.Helper()
	n, err := tryReplay(t.Context(), db, events...)
	must(t, err)
	return n
}

func tryReplay(ctx context.Context, db *storage.DB, events ...audit.Event) (int, error) {
	abandoned := map[string]bool{}
	for _, e := range events {
		if e.Kind == audit.Abandoned {
			abandoned[e.Issuer+"/"+e.Serial] = true
		}
	}
	r := db.Replay(abandoned)
	for _, e := range events {
		if err := r.Apply(ctx, e); err != nil {
			return r.Changed, err
		}
	}
	return r.Changed, r.End(ctx)
}

// contents are all records with their versions, all index members and all sequences.
func contents(t *testing.T, c *storetest.Counting) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, c.Engine.(*embedded.Engine).Export(t.Context(), embedded.Visitor{
		Record: func(k storage.Key, it storage.Item, _ time.Time) error {
			all["record "+string(k)] = fmt.Sprintf("%x %x", it.Version, it.Value)
			return nil
		},
		Member:   func(e storage.Entry) error { all[fmt.Sprintf("index %s %x", e.Index, e.Member)] = ""; return nil },
		Sequence: func(name string, last int64) error { all["sequence "+name] = fmt.Sprint(last); return nil },
	}))
	return all
}

// member is an index member that begins with a number, as the store writes them.
func member(n int64, rest string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(n)), rest...)
}

// state demands what has become of a paper: the states of its serial and of enrollment 7 (0: there is none), and the reason
// on the list (-1: it is not on it).
func (p paper) state(t *testing.T, db *storage.DB, state ca.State, phase ra.Phase, reason ca.Reason) {
	t.Helper()
	c, err := db.Certificate(t.Context(), "main", p.serial)
	switch {
	case state == 0 && !problem.Is(err, problem.NotFound), state != 0 && (err != nil || c.State != state):
		t.Errorf("the serial is %+v, %v", c, err)
	case state == ca.Issued && (!bytes.Equal(c.DER, p.der) || c.TBSHash != p.hash || !c.NotAfter.Equal(p.notAfter)):
		t.Errorf("the certificate is %+v", c)
	}
	e, err := db.Enrollment(t.Context(), paperEnrollment)
	switch {
	case phase == 0 && !problem.Is(err, problem.NotFound), phase != 0 && (err != nil || e.Phase != phase):
		t.Errorf("the enrollment is %+v, %v", e, err)
	case phase == ra.Issued && (e.Serial != p.serial || e.Fingerprint != sha256.Sum256(p.der) || e.CSR != nil || !e.Due.IsZero()):
		t.Errorf("the enrollment is not of this certificate: %+v", e)
	}
	on := ca.Reason(-1)
	list, err := db.Revoked(t.Context(), "main", now())
	must(t, err)
	for _, r := range list {
		if r.Serial == p.serial {
			on = r.Reason
		}
	}
	if on != reason {
		t.Errorf("on the list with reason %d, want %d", on, reason)
	}
	if open, err := db.OpenIntents(t.Context(), now().Add(time.Hour), 10); err != nil || len(open) != 0 && state != ca.Open {
		t.Errorf("open intents: %+v, %v", open, err)
	}
}

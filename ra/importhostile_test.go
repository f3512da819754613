package ra_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// withSerial is a self-signed certificate with a serial number that x509 would not write.
func withSerial(t *testing.T, key *ecdsa.PrivateKey, serial *big.Int, name string) []byte {
	t.Helper()
	der := signedBy(t, nil, key, key, nil, name)
	var outer struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	var parts []asn1.RawValue
	for rest := outer.TBS.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	number, err := asn1.Marshal(serial)
	must(t, err)
	var body []byte
	for i, part := range parts {
		if i == 1 {
			body = append(body, number...)
			continue
		}
		body = append(body, part.FullBytes...)
	}
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	must(t, err)
	outer.TBS = asn1.RawValue{FullBytes: tbs}
	der, err = asn1.Marshal(outer)
	must(t, err)
	return der
}

// TestImportOfOddSerials: a number of any length is one bad item at most, and the others of its batch are imported.
func TestImportOfOddSerials(t *testing.T) {
	onEngines(t, func(t *testing.T, w *world) {
		x := newElsewhere(t)
		key := x.key.(*ecdsa.PrivateKey)
		for name, serial := range map[string]*big.Int{
			"of none": big.NewInt(0), "of 21 octets": new(big.Int).Lsh(big.NewInt(1), 160), "of 20,000 octets": new(big.Int).Lsh(big.NewInt(1), 160_000),
		} {
			r := w.imports(ida, ra.ImportItem{Certificate: x.leaf(nil, "a.example.com")}, ra.ImportItem{Certificate: withSerial(t, key, serial, "b.example.com")},
				ra.ImportItem{Certificate: x.leaf(nil, "c.example.com")})
			if r[0].Err != nil || r[2].Err != nil {
				t.Errorf("a serial %s lets others fail: %v, %v", name, r[0].Err, r[2].Err)
			}
			if !problem.Is(r[1].Err, problem.Malformed) || !strings.HasPrefix(problem.From(r[1].Err).Detail, "certificate: ") {
				t.Errorf("a serial %s: %+v", name, r[1])
			}
		}
	})
}

// otherSignature is the same certificate with the other of the two signatures that one of ECDSA makes.
func otherSignature(t *testing.T, der []byte, curve elliptic.Curve) []byte {
	t.Helper()
	var c struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(c.Signature.Bytes, &sig); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(curve.Params().N, sig.S)
	b, err := asn1.Marshal(sig)
	must(t, err)
	c.Signature = asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
	b, err = asn1.Marshal(c)
	must(t, err)
	return b
}

// TestImportOfAnotherSignature: whoever has seen a certificate of ours can write its signature in another way. What was signed is on
// record all the same, and nobody is told that an issuer's key is in other hands.
func TestImportOfAnotherSignature(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "www.example.com")
	issuer, _ := w.authority.Issuer("main")
	der := otherSignature(t, w.certificate(e.Serial).DER, issuer.Chain[0].PublicKey.(*ecdsa.PublicKey).Curve)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	if w.authority.SignedBy(parsed) != "main" {
		t.Fatal("the signature does not hold")
	}
	wantKind(t, w.imports(ivo, ra.ImportItem{Certificate: der})[0].Err, problem.Conflict)
	if r := w.imports(ida, ra.ImportItem{Certificate: der})[0]; r.Err != nil || r.Created || r.Enrollment.ID != e.ID {
		t.Errorf("%+v", r)
	}
	for _, kind := range w.journal.about(e.Serial) {
		if kind == audit.Unrecorded {
			t.Error("the journal has it as unrecorded")
		}
	}
}

// TestImportOfWhatWasForgotten: of a removed enrollment's certificate there is no record after its time, and that is no alarm.
func TestImportOfWhatWasForgotten(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "www.example.com")
	der := w.certificate(e.Serial).DER
	must(t, w.Remove(t.Context(), operator, e.ID))
	w.clock.set(e.NotAfter.Add(ra.RemovedRetention + time.Second))
	must(t, w.ForgetRemoved(t.Context()))
	_, err := w.db.Certificate(t.Context(), "main", e.Serial)
	wantKind(t, err, problem.NotFound)
	wantKind(t, w.imports(ida, ra.ImportItem{Certificate: der})[0].Err, problem.Conflict)
	for _, kind := range w.journal.about(e.Serial) {
		if kind == audit.Unrecorded {
			t.Error("the journal has it as unrecorded")
		}
	}
}

// narrow is a journal that refuses more than the real one takes at once.
type narrow struct{ *journal }

func (j narrow) Append(ctx context.Context, events ...audit.Event) error {
	n := 0
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		n += len(line) + 256
	}
	if n > 4<<20 {
		return fmt.Errorf("the events take %d bytes", n)
	}
	return j.journal.Append(ctx, events...)
}

// TestImportsFitTheJournal: no batch, and no number of notes, is more than the journal takes at once: it would be refused for ever.
func TestImportsFitTheJournal(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	var fields []policy.Field
	var values []policy.FieldValue
	for i := range policy.MaxFields {
		name := fmt.Sprintf("%03d%s", i, strings.Repeat("f", policy.MaxFieldName-3))
		fields = append(fields, policy.Field{Number: int32(i + 1), Name: name})
		values = append(values, policy.FieldValue{Name: name, Value: strings.Repeat("<", policy.MaxFieldValue)})
	}
	defined, err := policy.NewFields(fields, []string{string(ra.DoorConsole)})
	must(t, err)
	profile, err := policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: 24 * time.Hour, Fields: defined})
	must(t, err)
	reg := w.registrar(func(c *ra.Config) {
		c.Journal = narrow{w.journal}
		c.Profiles = map[string]*policy.Profile{"tls": profile}
	})
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("%s.h%d.example.com", strings.Repeat("n", 60), i))
	}
	items := make([]ra.ImportItem, 100)
	for i := range items {
		items[i] = ra.ImportItem{Certificate: x.leaf(nil, append(names, fmt.Sprintf("i%d.example.com", i))...), Profile: "tls", Comments: strings.Repeat("<", ra.MaxComments), CustomFields: values}
	}
	w.journal.refuse(audit.Imported)
	_, err = reg.Import(t.Context(), ida, ra.DoorConsole, items)
	must(t, err)
	w.journal.refuse("")
	results, err := reg.Import(t.Context(), ida, ra.DoorConsole, items)
	must(t, err)
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("item %d: %v", i, r.Err)
		}
	}
	for i := range items {
		items[i].Certificate = x.leaf(nil, fmt.Sprintf("i%d.example.com", i))
	}
	results, err = reg.Import(t.Context(), ida, ra.DoorConsole, items)
	must(t, err)
	for i, r := range results {
		if r.Err != nil || !r.Created {
			t.Fatalf("item %d: %+v", i, r)
		}
	}
}

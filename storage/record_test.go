package storage

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

var exporter = cmp.Comparer(func(a, b identifier.Identifier) bool { return a == b })

func dnsName(t testing.TB, s string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func at(sec int64) time.Time { return time.Unix(sec, 0).UTC() }

// everyRecord is one of each with every field set.
func everyRecord(t testing.TB) (a *acme.Account, o *acme.Order, z *acme.Authorization, c *ca.Certificate, e *ra.Enrollment) {
	name := dnsName(t, "www.example.com")
	ip, err := identifier.ParseIP("192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	proof := dcv.Proof{
		Method: dcv.HTTP01, Identifier: name, At: at(1_800_000_100), Seen: "http://www.example.com/ at 192.0.2.7:80", Until: at(1_800_086_500), Secure: true,
		CAA: dcv.CAA{Identifier: name, At: at(1_800_000_101), Seen: "no CAA records", Secure: true},
	}
	restriction := policy.Restriction{Profiles: []string{"tls"}, Names: []string{"*.example.com", "192.0.2.0/24"}}
	a = &acme.Account{
		ID: "acct", Org: 3, Key: []byte(`{"kty":"EC"}`), Thumbprint: "tp", Contacts: []string{"mailto:a@example.com"},
		TermsAgreed: at(1_800_000_000), Created: at(1_800_000_001), Deactivated: at(1_800_000_002),
		Binding: &acme.Binding{KeyID: "kid", JWS: []byte(`{"protected":"e30"}`), Restriction: restriction},
	}
	o = &acme.Order{
		ID: "order", Account: "acct", Org: 3, Profile: "tls", ProfileHash: "00ff", Names: []identifier.Identifier{ip, name},
		Authzs: []acme.AuthzID{"a1", "a2"}, Created: at(1_800_000_003), Expires: at(1_800_600_000), Enrollment: 7,
		Replaces:  &acme.Replaces{ID: "YQ.AQ", Certificate: acme.CertificateID{Issuer: "main", Serial: "01aa"}, Enrollment: 5},
		Requested: policy.Period{NotBefore: at(1_800_000_030), NotAfter: at(1_800_000_031)},
	}
	z = &acme.Authorization{
		ID: "a1", Account: "acct", Org: 3, Profile: "tls", Identifier: name, Wildcard: true, Created: at(1_800_000_004), Expires: at(1_800_600_001),
		Challenges: []acme.Challenge{
			{Method: dcv.HTTP01, Token: "tok", Begun: at(1_800_000_005), Due: time.UnixMilli(1_800_000_006_007).UTC(), Proof: &proof},
			{Method: dcv.HTTP01, Token: "tok2", Failed: &acme.Failure{Kind: problem.DNS, Detail: "no", At: at(1_800_000_008), Record: []byte("{}")},
				Hindered: &acme.Failure{Kind: problem.Unavailable, Detail: "later", At: at(1_800_000_007), Record: []byte("{}")}},
		},
	}
	c = &ca.Certificate{
		Intent: ca.Intent{
			Issuer: "main", Serial: "01ab", TBSHash: [32]byte{1, 2, 3}, Names: []identifier.Identifier{name}, NotBefore: at(1_800_000_009),
			NotAfter: at(1_807_000_000), Enrollment: 7, Requester: policy.Requester{Org: 3, Door: "acme", Principal: "acme:acct"},
			Profile: "tls", ProfileHash: "00ff", Opened: at(1_800_000_010),
		},
		State: ca.Open, Revocation: &ca.Revocation{At: at(1_800_000_011), Reason: 4, Actor: "uid:0", Comment: "gone"},
		Renewal: &ca.Renewal{Start: at(1_800_000_020), End: at(1_800_000_021), Explanation: "https://example.com/", At: at(1_800_000_022), Actor: "uid:1"},
	}
	e = &ra.Enrollment{
		ID: 7, Org: 3, Door: ra.DoorACME, Requester: "acme:acct", Profile: "tls", ProfileHash: "00ff", Names: []identifier.Identifier{name, ip},
		CommonName: "www.example.com", Created: at(1_800_000_012), Claims: []ra.Claim{{Door: "scm", Scope: "s", Name: "n"}}, Phase: ra.Requested,
		CSR: []byte{0x30}, Proofs: []policy.Proven{{Proof: proof, Org: 3, Account: "acct"}}, Due: time.UnixMilli(1_800_000_013_014).UTC(),
		Restriction: restriction, Attempts: 2, Issuer: "main", Serial: "01ab", NotBefore: at(1_800_000_015), NotAfter: at(1_807_000_000), Issued: at(1_800_000_016),
		Requested: policy.Period{NotBefore: at(1_800_000_032), NotAfter: at(1_800_000_033)},
		Term:      30 * 24 * time.Hour, CustomFields: []policy.FieldValue{{Number: 7, Name: "Cost centre", Value: "4711"}, {Number: 9, Name: "Owner", Value: "a@example.com"}},
		Fingerprint: [32]byte{9}, Replaces: 5, Revocation: c.Revocation, Failure: &ra.Failure{Kind: problem.CAA, Detail: "forbidden", At: at(1_800_000_017)},
	}
	e.Proofs = append(e.Proofs, policy.Proven{Proof: proof, Org: 3, Principal: "user:9", CSR: [32]byte{8}})
	e.Challenges = []ra.Challenge{
		{Identifier: name, Method: dcv.CSRHashHTTP, Publication: dcv.Publication{Place: "A.txt", Value: "B\nC"}, Validated: at(1_800_000_040)},
		{Identifier: ip, Failed: &ra.ChallengeFailure{Kind: problem.DNS, Detail: "no", At: at(1_800_000_041), Record: []byte("{}"),
			Finding: &dcv.Finding{Found: true, Correct: true, Target: "t", Trouble: dcv.TooSlow, Status: 404}}},
	}
	e.CSRHash = dcv.CSRHash{MD5: [16]byte{1}, SHA256: [32]byte{2}, Unique: "0123456789abcde", Suffix: "ca.example.com"}
	e.ValidateBy, e.Checking, e.Canceller = at(1_800_000_042), time.UnixMilli(1_800_000_043_044).UTC(), "user:9"
	e.KeptCSR, e.Edits, e.Comments, e.ExternalRequesters = []byte{0x30, 1}, 4, "line\nline", []string{"a@example.com", "b@example.com"}
	e.AutoRenew, e.SuspendNotifications = ra.AutoRenew{On: true, Days: 30}, true
	e.Trial = ra.RenewalTrial{
		Next: time.UnixMilli(1_800_000_014_015).UTC(), Attempts: 2, Failure: &ra.Failure{Kind: problem.Unauthorized, Detail: "no", At: at(1_800_000_018)}, Done: true,
	}
	e.Locations = []ra.Location{{ID: 2, Name: "rack", Details: map[string]string{"b": "2", "a": "1"}}, {ID: 3, Name: "x"}}
	e.LastLocation, e.RenewedManually, e.ReplaceReason, e.Reissue = 5, at(1_800_000_019), "lost", true
	e.Content, e.Renews, e.Holder, e.Decliner = "00ee", true, "order", "user:3"
	e.Approvals = []policy.Approval{{Content: "00ee", Approver: "user:2", At: at(1_800_000_026), Message: "yes"}}
	e.KeyStored, e.KeyDestroyed = time.UnixMilli(1_800_000_027_028).UTC(), time.UnixMilli(1_800_000_029_030).UTC()
	e.Imported, e.Authority, e.Agent = true, "Example CA", "uid:1"
	e.Removed, e.Remover, e.RevokeFrom = at(1_800_000_023), "user:7", time.UnixMilli(1_800_000_024_025).UTC()
	return a, o, z, c, e
}

// TestEveryFieldIsRecorded: a field that an enrollment is given must be in everyRecord, and so in its record.
func TestEveryFieldIsRecorded(t *testing.T) {
	_, _, _, _, e := everyRecord(t)
	v := reflect.ValueOf(*e)
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "Version", "Key": // of the record itself; of a record of its own
		default:
			if v.Field(i).IsZero() {
				t.Errorf("no test sees that the field %s comes back from the store", name)
			}
		}
	}
}

// TestRecordsRoundTrip holds every record to giving back every field, and equal facts to equal bytes.
func TestRecordsRoundTrip(t *testing.T) {
	a, o, z, c, e := everyRecord(t)
	check := func(name string, first []byte, err error, decoded any, decodeErr error, want any, again []byte) {
		t.Helper()
		if err != nil || decodeErr != nil {
			t.Fatalf("%s: %v, %v", name, err, decodeErr)
		}
		if diff := cmp.Diff(want, decoded, exporter); diff != "" {
			t.Errorf("%s came back changed (-want +got):\n%s", name, diff)
		}
		if !bytes.Equal(first, again) {
			t.Errorf("%s: what was decoded encodes to other bytes", name)
		}
	}
	ab, err := encodeAccount(a)
	a2, err2 := decodeAccount(a.ID, Item{Found: true, Value: ab})
	again, _ := encodeAccount(a2)
	check("account", ab, err, a2, err2, a, again)

	ob, err := encodeOrder(o)
	o2, err2 := decodeOrder(o.ID, Item{Found: true, Value: ob})
	again, _ = encodeOrder(o2)
	check("order", ob, err, o2, err2, o, again)

	zb, err := encodeAuthz(z)
	z2, err2 := decodeAuthz(z.ID, Item{Found: true, Value: zb})
	again, _ = encodeAuthz(z2)
	check("authorization", zb, err, z2, err2, z, again)

	cb, err := encodeCertificate(c)
	c2, err2 := decodeCertificate(c.Issuer, c.Serial, Item{Found: true, Value: cb})
	again, _ = encodeCertificate(c2)
	check("certificate", cb, err, c2, err2, c, again)

	eb, err := encodeEnrollment(e)
	e2, err2 := decodeEnrollment(e.ID, Item{Found: true, Value: eb})
	again, _ = encodeEnrollment(e2)
	check("enrollment", eb, err, e2, err2, e, again)
}

// TestDamagedRecordsAreNotAbsent: what cannot be read is an internal error, never "not found".
func TestDamagedRecordsAreNotAbsent(t *testing.T) {
	for name, value := range map[string][]byte{
		"empty": {}, "schema zero": {0, 0xa0}, "no map": {1, 0x01}, "cut": {1, 0xa2, 0x01},
		"twice": {1, 0xa2, 0x01, 0x01, 0x01, 0x02}, "tag": {1, 0xc0, 0xa0}, "indefinite": {1, 0xbf, 0xff},
	} {
		if got, err := decodeAccount("a", Item{Found: true, Value: value}); !problem.Is(err, problem.Internal) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := decodeAccount("a", Item{}); got != nil || err != nil {
		t.Errorf("an absent record: %v, %v", got, err)
	}
}

// TestNewerFieldsAreRead: an older process reads what a newer one wrote.
func TestNewerFieldsAreRead(t *testing.T) {
	a, _, _, _, _ := everyRecord(t)
	body, err := encoding.Marshal(struct {
		accountRecord
		New string `cbor:"99,keyasint"`
	}{accountRecord{Org: 3, Key: a.Key, Thumbprint: a.Thumbprint, Created: 1}, "later"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAccount("a", Item{Found: true, Value: append([]byte{schema + 1}, body...)})
	if err != nil || got.Thumbprint != a.Thumbprint {
		t.Errorf("%v, %v", got, err)
	}
}

// FuzzRecords feeds every decoder; what one accepts must encode and decode to the same.
func FuzzRecords(f *testing.F) {
	a, o, z, c, e := everyRecord(f)
	for i, enc := range []func() ([]byte, error){
		func() ([]byte, error) { return encodeAccount(a) }, func() ([]byte, error) { return encodeOrder(o) },
		func() ([]byte, error) { return encodeAuthz(z) }, func() ([]byte, error) { return encodeCertificate(c) },
		func() ([]byte, error) { return encodeEnrollment(e) },
	} {
		b, err := enc()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		it := Item{Found: true, Value: b}
		switch which % 6 {
		case 0:
			fuzzed(t, it, func(it Item) (*acme.Account, error) { return decodeAccount("a", it) }, encodeAccount)
		case 1:
			fuzzed(t, it, func(it Item) (*acme.Order, error) { return decodeOrder("o", it) }, encodeOrder)
		case 2:
			fuzzed(t, it, func(it Item) (*acme.Authorization, error) { return decodeAuthz("z", it) }, encodeAuthz)
		case 3:
			fuzzed(t, it, func(it Item) (*ca.Certificate, error) { return decodeCertificate("main", "01", it) }, encodeCertificate)
		case 4:
			fuzzed(t, it, func(it Item) (*ra.Enrollment, error) { return decodeEnrollment(1, it) }, encodeEnrollment)
		case 5:
			if r, err := parseRevoked(b); err == nil {
				back := revokedEntry(&ca.Certificate{
					Intent:     ca.Intent{Issuer: "main", Serial: r.Serial, NotAfter: r.NotAfter},
					Revocation: &ca.Revocation{At: r.At, Reason: r.Reason},
				})
				if !bytes.Equal(back.Member, b) {
					t.Errorf("a revoked member came back as %x, was %x", back.Member, b)
				}
			}
		}
	})
}

func fuzzed[T any](t *testing.T, it Item, decode func(Item) (*T, error), encode func(*T) ([]byte, error)) {
	v, err := decode(it)
	if err != nil {
		return
	}
	b, err := encode(v)
	if err != nil {
		t.Fatalf("decoded %x to %+v, which does not encode: %v", it.Value, v, err)
	}
	again, err := decode(Item{Found: true, Value: b})
	if err != nil {
		t.Fatalf("encoded %+v to %x, which does not decode: %v", v, b, err)
	}
	b2, err := encode(again)
	if err != nil || !bytes.Equal(b, b2) {
		t.Fatalf("encoding is not stable: %x, then %x (%v)", b, b2, err)
	}
}

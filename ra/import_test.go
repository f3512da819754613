package ra_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// ida may request in the organisation 1, and ivo in 2.
var (
	ida = auth.Caller{Principal: "user:7", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Requester}}}
	ivo = auth.Caller{Principal: "user:8", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Requester}}}
)

// elsewhere is an authority that is none of ours.
type elsewhere struct {
	t testing.TB
	*testca.Hierarchy
	key crypto.Signer
}

func newElsewhere(t testing.TB) *elsewhere {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: func() time.Time { return start.AddDate(-1, 0, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	key, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	return &elsewhere{t, h, key}
}

// leaf is a certificate for names, changed by a function.
func (x *elsewhere) leaf(change func(*x509.Certificate), names ...string) []byte {
	x.t.Helper()
	return signedBy(x.t, x.Intermediate.Certificate, x.Intermediate.Key, x.key, change, names...)
}

func signedBy(t testing.TB, parent *x509.Certificate, by crypto.Signer, key crypto.Signer, change func(*x509.Certificate), names ...string) []byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, DNSNames: names, NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(0, 2, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(tmpl)
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (x *elsewhere) chain() [][]byte {
	return [][]byte{x.Root.Certificate.Raw, x.Intermediate.Certificate.Raw}
}

// imports imports certificates for a caller.
func (w *world) imports(caller auth.Caller, items ...ra.ImportItem) []ra.ImportResult {
	w.t.Helper()
	results, err := w.Import(w.t.Context(), caller, ra.DoorConsole, items)
	must(w.t, err)
	if len(results) != len(items) {
		w.t.Fatalf("%d results for %d items", len(results), len(items))
	}
	return results
}

// imported is an enrollment that was imported.
func (w *world) imported(caller auth.Caller, item ra.ImportItem) *ra.Enrollment {
	w.t.Helper()
	r := w.imports(caller, item)[0]
	must(w.t, r.Err)
	return r.Enrollment
}

func onEngines(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{redistest.Start(t).Addr}, Name: "imports"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		test(t, newWorldOn(t, e))
	})
}

func TestImport(t *testing.T) {
	onEngines(t, func(t *testing.T, w *world) {
		x := newElsewhere(t)
		der := x.leaf(nil, "www.example.com", "*.example.org")
		results := w.imports(ida, ra.ImportItem{Certificate: der, Issuers: x.chain(), Comments: "from the old one", ExternalRequesters: []string{"ann@example.com"}},
			ra.ImportItem{Certificate: []byte("rubbish")}, ra.ImportItem{Certificate: der})
		e := results[0].Enrollment
		if results[0].Err != nil || !results[0].Created || results[2].Err != nil || results[2].Created || results[2].Enrollment.ID != e.ID {
			t.Fatalf("%+v", results)
		}
		wantKind(t, results[1].Err, problem.Malformed)
		if e = w.read(e.ID); !e.Imported || e.Status(w.clock.now()) != ra.StatusIssued || e.Org != 1 || e.Requester != ida.Principal || e.Issuer != "" ||
			len(e.Names) != 2 || e.Authority == "" || e.Comments != "from the old one" || len(e.ExternalRequesters) != 1 {
			t.Errorf("%+v", e)
		}
		got, issuers, err := w.ImportedCertificate(t.Context(), e)
		if err != nil || !bytes.Equal(got, der) || len(issuers) != 2 || !bytes.Equal(issuers[0], x.Intermediate.Certificate.Raw) {
			t.Errorf("%d issuers, %v", len(issuers), err)
		}
		if kinds := w.journal.about(e.Serial); len(kinds) != 1 || kinds[0] != audit.Imported {
			t.Errorf("the journal says %v", kinds)
		}
		if again := w.imports(ida, ra.ImportItem{Certificate: der})[0]; again.Err != nil || again.Created || again.Enrollment.ID != e.ID {
			t.Errorf("a second time: %+v", again)
		}
		if other := w.imports(ivo, ra.ImportItem{Certificate: der})[0]; other.Err != nil || !other.Created || other.Enrollment.ID == e.ID {
			t.Errorf("by another organisation: %+v", other)
		}
		for i, q := range []ra.Query{
			{Name: "www.example.com"}, {Suffix: "example.org"}, {Status: ra.StatusIssued}, {Requester: ida.Principal},
			{NotAfterFrom: e.NotAfter, NotAfterTo: e.NotAfter.Add(time.Second)}, {},
		} {
			q.Limit = 10
			if found, err := w.Search(t.Context(), ida, q); err != nil || found.Total != 1 || found.Enrollments[0].ID != e.ID {
				t.Errorf("query %d: %+v, %v", i, found, err)
			}
		}
		found, err := w.BySerial(t.Context(), ida, e.Serial)
		if err != nil || len(found) != 1 || found[0].ID != e.ID {
			t.Errorf("by serial: %v, %v", found, err)
		}
		w.clock.set(e.NotAfter.Add(time.Second))
		if found, err := w.Search(t.Context(), ida, ra.Query{Status: ra.StatusExpired, Limit: 1}); err != nil || found.Total != 1 {
			t.Errorf("expired: %+v, %v", found, err)
		}
	})
}

// TestImportedIsNotOurs: nothing that answers for our certificates answers for it.
func TestImportedIsNotOurs(t *testing.T) {
	w := newWorld(t)
	e := w.imported(ida, ra.ImportItem{Certificate: newElsewhere(t).leaf(nil, "www.example.com"), Profile: "tls"})
	_, err := w.db.Certificate(t.Context(), "main", e.Serial)
	wantKind(t, err, problem.NotFound)
	for _, issuer := range []string{"", "main"} {
		wantKind(t, w.Revoke(t.Context(), operator, ra.Revocation{Issuer: issuer, Serial: e.Serial}), problem.NotFound)
	}
	wantKind(t, w.SuggestRenewal(t.Context(), operator, e, ra.RenewalWord{From: start, By: start.Add(time.Hour)}), problem.Conflict)
	batch, err := w.SuggestRenewals(t.Context(), operator, ra.RenewalFilter{}, ra.RenewalWord{From: start, By: start.Add(time.Hour)}, true)
	if err != nil || batch.Looked != 1 || batch.Changed != 0 {
		t.Errorf("renewals: %+v, %v", batch, err)
	}
	if list := w.revoked(); len(list) != 0 {
		t.Errorf("on the list are %v", list)
	}
	if use, err := w.db.QuotaUse(t.Context(), 1, "tls", e.Names, w.clock.now()); err != nil || use.Certificates != 0 || use.Names[0].Certificates != 0 {
		t.Errorf("it counts towards the quota: %+v, %v", use, err)
	}
	if c := w.issue(alice, "www.example.com"); c.Imported {
		t.Errorf("%+v", c)
	}
	if _, _, err = w.ImportedCertificate(t.Context(), w.issue(alice, "a.example.com")); !problem.Is(err, problem.NotFound) {
		t.Errorf("what was not imported: %v", err)
	}
}

// TestImportOfOurOwn: the organisation that has it is told so, every other nothing, and neither more of what nobody has.
func TestImportOfOurOwn(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "www.example.com")
	der := w.certificate(e.Serial).DER
	if r := w.imports(ida, ra.ImportItem{Certificate: der})[0]; r.Err != nil || r.Created || r.Enrollment.ID != e.ID {
		t.Errorf("%+v", r)
	}
	foreign := w.imports(ivo, ra.ImportItem{Certificate: der})[0].Err
	wantKind(t, foreign, problem.Conflict)

	issuer, _ := w.authority.Issuer("main")
	key := newKey(t)
	rogue, err := w.signer.Backend.Sign(t.Context(), &x509.Certificate{
		SerialNumber: big.NewInt(77), DNSNames: []string{"www.example.com"}, NotBefore: start, NotAfter: start.Add(time.Hour),
	}, key.Public())
	must(t, err)
	for _, caller := range []auth.Caller{ida, ivo} {
		if err := w.imports(caller, ra.ImportItem{Certificate: rogue})[0].Err; err == nil || err.Error() != foreign.Error() {
			t.Errorf("%v, want what is said of another's: %v", err, foreign)
		}
	}
	parsed, err := x509.ParseCertificate(rogue)
	must(t, err)
	if kinds := w.journal.about(ca.SerialOf(parsed.SerialNumber)); len(kinds) != 2 || kinds[0] != audit.Unrecorded {
		t.Errorf("the journal says %v", kinds)
	}
	// A name is anybody's to write: what another key has signed is none of ours.
	forged := signedBy(t, &x509.Certificate{RawSubject: issuer.Chain[0].RawSubject}, newKey(t), key, nil, "www.example.com")
	if r := w.imports(ida, ra.ImportItem{Certificate: forged})[0]; r.Err != nil || !r.Created {
		t.Errorf("%+v", r)
	}
	if w.total() != 2 {
		t.Errorf("there are %d enrollments", w.total())
	}
}

func TestImportRefuses(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	good := x.leaf(nil, "www.example.com")
	big := x.leaf(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, ra.MaxImported)}}
	}, "www.example.com")
	old := x.leaf(func(c *x509.Certificate) { c.NotAfter = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) }, "www.example.com")
	for name, tt := range map[string]struct {
		item  ra.ImportItem
		kind  problem.Kind
		field string
	}{
		"nothing":                   {ra.ImportItem{}, problem.Malformed, "certificate: "},
		"something behind it":       {ra.ImportItem{Certificate: append(bytes.Clone(good), 0)}, problem.Malformed, "certificate: "},
		"cut short":                 {ra.ImportItem{Certificate: good[:len(good)-1]}, problem.Malformed, "certificate: "},
		"too large":                 {ra.ImportItem{Certificate: big}, problem.TooLarge, "certificate: "},
		"an authority's":            {ra.ImportItem{Certificate: x.Intermediate.Certificate.Raw}, problem.Malformed, "certificate: "},
		"over before Unix":          {ra.ImportItem{Certificate: old}, problem.Malformed, "certificate: "},
		"an issuer that is none":    {ra.ImportItem{Certificate: good, Issuers: [][]byte{{1}}}, problem.Malformed, "issuers: "},
		"too many issuers":          {ra.ImportItem{Certificate: good, Issuers: make([][]byte, ra.MaxImportedIssuers+1)}, problem.TooLarge, "issuers: "},
		"another organisation":      {ra.ImportItem{Certificate: good, Org: 2}, problem.NotFound, "org: "},
		"no organisation":           {ra.ImportItem{Certificate: good, Org: -1}, problem.NotFound, "org: "},
		"a profile there is not":    {ra.ImportItem{Certificate: good, Profile: "none"}, problem.Unauthorized, "profile: "},
		"a profile of others":       {ra.ImportItem{Certificate: good, Profile: "inner"}, problem.Unauthorized, "profile: "},
		"comments without an end":   {ra.ImportItem{Certificate: good, Comments: strings.Repeat("x", ra.MaxComments+1)}, problem.Malformed, "comments "},
		"requesters without a host": {ra.ImportItem{Certificate: good, ExternalRequesters: []string{"ida"}}, problem.Malformed, "external requester "},
	} {
		r := w.imports(ida, tt.item)[0]
		if !problem.Is(r.Err, tt.kind) || r.Enrollment != nil || !strings.HasPrefix(problem.From(r.Err).Detail, tt.field) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, caller := range map[string]auth.Caller{"nobody": {}, "an ACME account": alice, "the gateway": {Principal: "system", Org: 1}} {
		if _, err := w.Import(t.Context(), caller, ra.DoorConsole, []ra.ImportItem{{Certificate: good, Org: 1}}); !problem.Is(err, problem.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.Import(t.Context(), ida, ra.DoorConsole, make([]ra.ImportItem, ra.MaxImports+1))
	wantKind(t, err, problem.TooLarge)
	if w.total() != 0 || len(w.journal.about("")) != 0 {
		t.Errorf("%d enrollments, %v", w.total(), w.journal.about(""))
	}
}

// TestImportOfOddNames: the names that can be listed are, the others are counted, and nothing that a stranger wrote gets onto
// a terminal as it is.
func TestImportOfOddNames(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	var many []string
	for i := range 1200 {
		many = append(many, fmt.Sprintf("h%d.example.com", i))
	}
	cn := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.CommonName = name }
	}
	for name, tt := range map[string]struct {
		der     []byte
		names   string
		count   int
		ignored int
	}{
		"not host names": {x.leaf(func(c *x509.Certificate) {
			c.EmailAddresses = []string{"a@example.com"}
			c.IPAddresses = append(c.IPAddresses, []byte{192, 0, 2, 1}, netip.MustParseAddr("2001:db8::1").AsSlice())
		}, "WWW.Example.Com", "_srv.example.com", "b b.example.com"), "www.example.com 192.0.2.1 2001:db8::1", 3, 3},
		"only a CN":           {x.leaf(cn("old.example.com")), "old.example.com", 1, 0},
		"a CN that is none":   {x.leaf(cn("Ann's \x1b[2Jlaptop")), "", 0, 0},
		"a CN beside the SAN": {x.leaf(cn("other.example.com"), "www.example.com"), "www.example.com", 1, 0},
		"very many":           {x.leaf(nil, many...), "", 1000, 200},
		"itself":              {signedBy(t, nil, x.key, x.key, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "self.example.com"), "self.example.com", 1, 0},
	} {
		r := w.imports(ida, ra.ImportItem{Certificate: tt.der})[0]
		if r.Err != nil || r.Ignored != tt.ignored || len(r.Enrollment.Names) != tt.count {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		e := w.read(r.Enrollment.ID)
		for _, want := range strings.Fields(tt.names) {
			if found, err := w.Search(t.Context(), ida, ra.Query{Name: want, Limit: 10}); err != nil || found.Total == 0 {
				t.Errorf("%s: %s is not found, %v", name, want, err)
			}
		}
		if strings.ContainsRune(e.CommonName+e.Authority, 0x1b) {
			t.Errorf("%s: %q, %q", name, e.CommonName, e.Authority)
		}
	}
}

// TestImportAtOnce: of any number who import the same, one makes the enrollment.
func TestImportAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, w *world) {
		x := newElsewhere(t)
		items := make([]ra.ImportItem, 20)
		for i := range items {
			items[i] = ra.ImportItem{Certificate: x.leaf(nil, fmt.Sprintf("h%d.example.com", i)), Issuers: x.chain()}
		}
		const clients = 4
		var all [clients][]ra.ImportResult
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				var err error
				if all[c], err = w.registrar(nil).Import(context.WithoutCancel(t.Context()), ida, ra.DoorConsole, items); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range items {
			made, ids := 0, map[ra.ID]bool{}
			for c := range clients {
				r := all[c][i]
				if r.Err != nil {
					t.Fatalf("client %d, item %d: %v", c, i, r.Err)
				}
				ids[r.Enrollment.ID] = true
				if r.Created {
					made++
				}
			}
			if made != 1 || len(ids) != 1 {
				t.Errorf("item %d was made %d times, as %v", i, made, ids)
			}
		}
		if w.total() != int64(len(items)) {
			t.Errorf("there are %d enrollments", w.total())
		}
		if notes, err := w.db.UnjournaledImports(t.Context(), time.Time{}, 10); err != nil || len(notes) != 0 {
			t.Errorf("notes are left: %v, %v", notes, err)
		}
	})
}

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// benchRuns runs a command in this process and returns what it printed.
func benchRuns(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := run(t.Context(), args, streams{&out, &errs}); status != 0 {
		t.Fatalf("%q ends with %d: %s", args, status, &errs)
	}
	return out.String()
}

// benchRefuses demands that a command fails and says why.
func benchRefuses(t *testing.T, why string, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	if status := run(t.Context(), args, streams{&out, &errs}); status != 1 || !strings.Contains(errs.String(), why) {
		t.Errorf("%q ends with %d and says %q, want one about %q", args, status, &errs, why)
	}
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// storeFile is everything in an embedded store, of which no other process has it open.
func storeFile(t *testing.T, dir string) (lines []string) {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	err = e.Export(t.Context(), embedded.Visitor{
		Record: func(k storage.Key, item storage.Item, _ time.Time) error {
			lines = append(lines, fmt.Sprintf("%s %x %x", k, item.Version, item.Value))
			return nil
		},
		Member: func(entry storage.Entry) error {
			lines = append(lines, fmt.Sprintf("%s %x", entry.Index, entry.Member))
			return nil
		},
	})
	if err != nil {
		t.Error(err) // an index that does not count its members
	}
	return lines
}

// wantTotals compares the totals of all lists with what the numbers of the enrollments say.
func wantTotals(t *testing.T, store *benchStore, ids []ra.ID) {
	t.Helper()
	stock := &benchStock{now: time.Now()}
	type counted struct {
		q ra.Query
		n int64
	}
	want := map[string]*counted{}
	add := func(in map[string]*counted, q ra.Query) {
		key := fmt.Sprintf("%+v", q)
		if in[key] == nil {
			in[key] = &counted{q: q}
		}
		in[key].n++
	}
	valid := map[string]*counted{} // issued and expired
	for _, id := range ids {
		f := stock.facts(id)
		unit := f.names[0][strings.IndexByte(f.names[0], '.')+1:]
		for _, q := range []ra.Query{
			{}, {Org: f.org}, {Org: f.org, Profile: f.profile}, {Org: f.org, Requester: "acme:" + f.account}, {Org: f.org, Name: f.names[1]},
			{Org: f.org, Suffix: unit}, {Org: f.org, Suffix: unit, Profile: f.profile},
			{Orgs: []auth.OrgID{1, 2, 3}}, {Orgs: []auth.OrgID{1, 2, 3}, Profile: f.profile},
		} {
			add(want, q)
		}
		if f.revoked {
			add(want, ra.Query{Org: f.org, Status: ra.StatusRevoked})
		} else {
			add(valid, ra.Query{Org: f.org})
		}
	}
	total := func(q ra.Query) int64 {
		q.Limit = 1
		found, err := store.db.Search(t.Context(), q, time.Now())
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		return found.Total
	}
	for _, c := range want {
		if got := total(c.q); got != c.n {
			t.Errorf("%+v: %d, want %d", c.q, got, c.n)
		}
	}
	for _, c := range valid {
		issued, expired := c.q, c.q
		issued.Status, expired.Status = ra.StatusIssued, ra.StatusExpired
		if got := total(issued) + total(expired); got != c.n {
			t.Errorf("%+v: %d issued or expired, want %d", c.q, got, c.n)
		}
		all := want[fmt.Sprintf("%+v", c.q)].n
		c.q.NotAfterTo = time.Now().Add(stockValidity)
		if got := total(c.q); got != all {
			t.Errorf("%+v: %d, want all %d", c.q, got, all)
		}
	}
}

// wantCertificates reads every enrollment and its certificate.
func wantCertificates(t *testing.T, store *benchStore) (ids []ra.ID) {
	t.Helper()
	serials, issuers := map[ca.Serial]bool{}, map[string]int{}
	for {
		q := ra.Query{Limit: 500}
		if len(ids) > 0 {
			q.After = ids[len(ids)-1]
		}
		found, err := store.db.Search(t.Context(), q, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found.Enrollments {
			ids = append(ids, e.ID)
			c, err := store.db.Certificate(t.Context(), e.Issuer, e.Serial)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(c.DER)
			if err != nil {
				t.Fatal(err)
			}
			issuers[leaf.Issuer.String()]++
			serials[e.Serial] = true
			want := []string{e.Names[0].Value(), e.Names[1].Value()}
			if !slices.Equal(leaf.DNSNames, want) || leaf.SerialNumber.Text(16) != strings.TrimLeft(string(e.Serial), "0") ||
				!leaf.NotAfter.Equal(e.NotAfter) || !leaf.NotBefore.Equal(e.NotBefore) || int64(e.ID) != c.Enrollment {
				t.Fatalf("enrollment %d of %v until %s has a certificate of %v until %s", e.ID, want, e.NotAfter, leaf.DNSNames, leaf.NotAfter)
			}
		}
		if len(found.Enrollments) < q.Limit {
			break
		}
	}
	if len(serials) != len(ids) {
		t.Errorf("%d enrollments have %d serials", len(ids), len(serials))
	}
	return ids
}

func TestBenchLoadsAnEmbeddedStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	report := decoded[benchLoadReport](t, benchRuns(t, "bench", "load", "--store", dir, "1207", "--json"))
	if report.Added != 1207 || report.Total != 1207 || report.CertificateSize < 500 || report.PerCertificate < report.CertificateSize {
		t.Errorf("the first load reports %+v", report)
	}
	benchRefuses(t, "--add", "bench", "load", "--store", dir, "1")
	report = decoded[benchLoadReport](t, benchRuns(t, "bench", "load", "--store", dir, "--add", "50", "--json"))
	if report.Added != 50 || report.Total != 1257 {
		t.Errorf("the second load reports %+v", report)
	}
	storeFile(t, dir)

	store, err := (&benchStoreFlags{Store: dir}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.close()
	store.batch = 64
	many, err := fillStore(t.Context(), store, 300, newBenchProgress(&bytes.Buffer{}))
	if err != nil || many.Added != 300 || many.Total != 1557 {
		t.Errorf("the third load, in many commits, reports %+v, %v", many, err)
	}
	ids := wantCertificates(t, store)
	if len(ids) != 1557 {
		t.Errorf("%d enrollments, want 1557", len(ids))
	}
	wantTotals(t, store, ids)
}

func TestBenchMeasuresLists(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	loaded := decoded[benchLoadReport](t, benchRuns(t, "bench", "load", "--store", dir, "300", "--measure", "--pages", "2", "--json"))
	listed := decoded[benchListReport](t, benchRuns(t, "bench", "list", "--store", dir, "--pages", "3", "--json"))
	for _, r := range []*benchListReport{loaded.Lists, &listed} {
		if r == nil || r.Enrollments != 300 || len(r.Lists) != len(listCases(time.Now(), 1)) || r.Lists[0].Members != 300 || r.Lists[0].After == nil {
			t.Fatalf("not the lists of 300 enrollments: %+v", r)
		}
		for _, l := range r.Lists {
			if l.First.P50 <= 0 || l.Offset.P99 <= 0 || l.Count.P99 <= 0 {
				t.Errorf("%s was not measured: %+v", l.By, l)
			}
		}
	}
	benchRefuses(t, "fill it", "bench", "list", "--store", filepath.Join(t.TempDir(), "store"))
}

// TestBenchLoadRefusesWhatOthersMade: no store that anybody relies on is filled, and a refusal leaves it as it is.
func TestBenchLoadRefusesWhatOthersMade(t *testing.T) {
	gateway := func(t *testing.T, dir string, change func(*storage.DB) error) {
		t.Helper()
		e, err := embedded.Open(embedded.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		db, err := storage.Open(t.Context(), storage.Config{Engine: e})
		if err == nil && change != nil {
			err = change(db)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	foreign := func(db *storage.DB) error {
		stock, err := newBenchStock(time.Now())
		if err != nil {
			return err
		}
		id, err := db.NextEnrollment(t.Context())
		if err != nil {
			return err
		}
		l, err := stock.loaded(id)
		l.Enrollment.Profile, l.Certificate.Profile = "tls", "tls"
		if err != nil {
			return err
		}
		return db.Load(t.Context(), []storage.Loaded{l})
	}
	mark := func(db *storage.DB) error { return db.SetJournalMark(t.Context(), "journal", storage.Mark{Seq: 1}) }
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"a gateway's, still empty", func(t *testing.T, dir string) { gateway(t, dir, nil) }, "store of a gateway"},
		{"a gateway's", func(t *testing.T, dir string) { gateway(t, dir, foreign) }, "store of a gateway"},
		{"one with a foreign enrollment", func(t *testing.T, dir string) {
			benchRuns(t, "bench", "load", "--store", dir, "20")
			gateway(t, dir, foreign)
		}, "holds 21 enrollments, and bench load made 20"},
		{"one on which a gateway has served", func(t *testing.T, dir string) {
			benchRuns(t, "bench", "load", "--store", dir, "20")
			gateway(t, dir, mark)
		}, "a gateway has served"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			test.make(t, dir)
			before := storeFile(t, dir)
			benchRefuses(t, test.want, "bench", "load", "--store", dir, "5", "--add")
			if !slices.Equal(before, storeFile(t, dir)) {
				t.Error("the store was changed")
			}
		})
	}
	t.Run("in a gateway's data folder", func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Mkdir(filepath.Join(folder, "journal"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "journal", "1.jsonl"), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		benchRefuses(t, "data folder", "bench", "load", "--store", filepath.Join(folder, "store"), "5")
		if _, err := os.Stat(filepath.Join(folder, "store")); !os.IsNotExist(err) {
			t.Errorf("the store was made: %v", err)
		}
	})
}

func TestBenchStoreRefusesFlags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for _, test := range []struct{ want, args string }{
		{"name the store", "load 5"},
		{"name the store", "load --store " + dir + " --redis 127.0.0.1:1 5"},
		{"name the store", "list"},
		{"0 enrollments", "load --store " + dir + " 0"},
		{"10000001 enrollments", "load --store " + dir + " 10000001"},
		{"--pages", "load --store " + dir + " 5 --pages 0"},
		{"--pages", "list --store " + dir + " --pages 0"},
		{"missing port", "load --redis 127.0.0.1 5"},
		{"name", "load --redis 127.0.0.1:1 --redis-name a/b 5"},
		{"reaching the Redis at 127.0.0.1:1", "load --redis 127.0.0.1:1 5"},
		{"expected", "load --store " + dir},
	} {
		benchRefuses(t, test.want, append([]string{"bench"}, strings.Fields(test.args)...)...)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a refused command made the store: %v", err)
	}
}

// TestBenchFillEnds: what an end of the context leaves is whole.
func TestBenchFillEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	store, err := (&benchStoreFlags{Store: dir}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := fillStore(ctx, store, 5000, newBenchProgress(&bytes.Buffer{}))
	if err == nil || report.Added != 0 {
		t.Errorf("a load whose context has ended adds %d: %v", report.Added, err)
	}
	if err := store.close(); err != nil {
		t.Fatal(err)
	}
	storeFile(t, dir)
}

// TestAGatewayListsWhatWasLoaded asks a gateway for its lists, as an operator would.
func TestAGatewayListsWhatWasLoaded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	w := newWorld(t)
	if err := os.Mkdir(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(w.data, "store")
	benchRuns(t, "bench", "load", "--store", store, "400")
	i := w.start("--new-journal")
	stock := &benchStock{now: time.Now()}
	var server int64
	for id := ra.ID(1); id <= 400; id++ {
		if f := stock.facts(id); f.org == 1 && f.profile == "bench-server" {
			server++
		}
	}
	list := decoded[listView](t, benchRuns(t, "cert", "list", "--data", w.data, "--json", "--limit", "7"))
	if list.Total != 400 || len(list.Enrollments) != 7 {
		t.Errorf("the list holds %d of %d, want 7 of 400", len(list.Enrollments), list.Total)
	}
	list = decoded[listView](t, benchRuns(t, "cert", "list", "--data", w.data, "--json", "--org", "1", "--profile", "bench-server"))
	if list.Total != server {
		t.Errorf("the list of a profile holds %d, want %d", list.Total, server)
	}
	benchRefuses(t, "data folder", "bench", "load", "--store", store, "--add", "1")
	i.stop()
	benchRefuses(t, "data folder", "bench", "load", "--store", store, "--add", "1")
}

func TestBenchLoadsRedis(t *testing.T) {
	s := redistest.Start(t)
	s.Do("SET somebody else's")
	benchRefuses(t, "holds 1 keys", "bench", "load", "--redis", s.Addr, "10")
	if keys, _ := s.Client().DBSize(t.Context()).Result(); keys != 1 {
		t.Errorf("a refused load leaves %d keys, want 1", keys)
	}
	s.Do("DEL somebody")
	report := decoded[benchLoadReport](t, benchRuns(t, "bench", "load", "--redis", s.Addr, "1300", "--measure", "--pages", "2", "--json"))
	if report.Added != 1300 || report.Total != 1300 || report.PerCertificate < report.CertificateSize || report.Lists == nil {
		t.Errorf("the load reports %+v", report)
	}
	benchRefuses(t, "--add", "bench", "load", "--redis", s.Addr, "10")
	benchRefuses(t, "none of a deployment named gatehouse", "bench", "load", "--redis", s.Addr, "--redis-name", "gatehouse", "10")
	store, err := (&benchStoreFlags{Redis: []string{s.Addr}, RedisName: "gatehouse-bench"}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.close()
	ids := wantCertificates(t, store)
	wantTotals(t, store, ids)
}

func TestBenchRefusesAnUnsafeRedis(t *testing.T) {
	s := redistest.Start(t, "appendfsync no")
	benchRefuses(t, "appendfsync", "bench", "load", "--redis", s.Addr, "10")
}

package ra_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestDomainNumbers are given with the domain, differ, are found, and belong to the name for ever.
func TestDomainNumbers(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	numbers := map[ra.DomainNumber]string{}
	for _, name := range []string{"example.com", "example.org", "www.example.com"} {
		d, err := w.Add(ctx, operator, name, "main")
		must(t, err)
		if d.Number <= 0 || numbers[d.Number] != "" {
			t.Fatalf("%s has the number %d of %q", name, d.Number, numbers[d.Number])
		}
		numbers[d.Number] = name
	}
	for n, name := range numbers {
		if d, err := w.GetNumbered(ctx, operator, n); err != nil || d.Name.Value() != name {
			t.Errorf("%d is %+v, %v", n, d, err)
		}
		_, err := w.GetNumbered(ctx, person("user:9", 2, auth.Administrator), n)
		wantKind(t, err, problem.NotFound)
	}
	_, err := w.GetNumbered(ctx, operator, 1<<30)
	wantKind(t, err, problem.NotFound)

	d, err := w.Get(ctx, operator, "example.com")
	must(t, err)
	_, err = w.Remove(ctx, operator, "example.com")
	must(t, err)
	_, err = w.GetNumbered(ctx, operator, d.Number)
	wantKind(t, err, problem.NotFound)
	again, err := w.Add(ctx, operator, "example.com", "other")
	must(t, err)
	if again.Number != d.Number {
		t.Errorf("example.com was %d and is %d", d.Number, again.Number)
	}
}

// TestTwoGatewaysNumberDomains: domains that are made at once at two gateways have numbers of their own.
func TestTwoGatewaysNumberDomains(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	gateways := []*ra.Domains{w.Domains, ra.NewDomains(w.DomainsConfig)}
	var mu sync.Mutex
	numbers := map[ra.DomainNumber]bool{}
	var all sync.WaitGroup
	for i, name := range []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com", "f.example.com", "g.example.com", "h.example.com"} {
		all.Go(func() {
			d, err := gateways[i%2].Add(ctx, operator, name, "main")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if numbers[d.Number] {
				t.Errorf("%s has the number %d, which is another's", name, d.Number)
			}
			numbers[d.Number] = true
		})
	}
	all.Wait()
}

// unnumbered is a domain as it was recorded before there were numbers.
func (w *domainWorld) unnumbered(name string) {
	w.t.Helper()
	d := &ra.Domain{Name: ids(w.t, name)[0], Org: 1, Created: w.clock.now(), Edits: 1}
	must(w.t, w.db.PutDomain(w.t.Context(), d, nil, w.clock.now()))
}

// TestOldDomainsGetNumbers when they are looked at, one each, whoever looks; and the journal says so.
func TestOldDomainsGetNumbers(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.unnumbered("example.com")
	w.unnumbered("example.org")
	gateways := []*ra.Domains{w.Domains, ra.NewDomains(w.DomainsConfig)}
	seen := make([][]*ra.Domain, 8)
	var all sync.WaitGroup
	for i := range seen {
		all.Go(func() {
			found, err := gateways[i%2].Search(ctx, operator, ra.DomainQuery{Limit: 10})
			if err != nil {
				t.Error(err)
			}
			seen[i] = found.Domains
		})
	}
	all.Wait()
	for _, list := range seen {
		if len(list) != 2 || list[0].Number == 0 || list[1].Number == 0 || list[0].Number == list[1].Number || list[0].Number != seen[0][0].Number || list[1].Number != seen[0][1].Number {
			t.Fatalf("%+v", list)
		}
	}
	if n := len(w.journal.events); n != 2 {
		t.Errorf("%d entries", n)
	}
	if d, err := w.GetNumbered(ctx, operator, seen[0][1].Number); err != nil || d.Name.Value() != "example.org" {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestNumbersComeBack from the journal into an emptied store, in either order; what is made there later gets another one.
func TestNumbersComeBack(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	var want []ra.DomainNumber
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		d, err := w.Add(ctx, operator, name, "main")
		must(t, err)
		want = append(want, d.Number)
	}
	_, err := w.Remove(ctx, operator, "c.example.com")
	must(t, err)
	for _, backwards := range []bool{false, true} {
		other := newDomainWorld(t)
		events := slices.Clone(w.journal.events)
		if backwards {
			slices.Reverse(events)
		}
		for range 2 {
			r := other.db.Replay(nil)
			for _, e := range events {
				must(t, r.Apply(ctx, e))
			}
			must(t, r.End(ctx))
		}
		for i, name := range []string{"a.example.com", "b.example.com"} {
			if d, err := other.GetNumbered(ctx, operator, want[i]); err != nil || d.Name.Value() != name {
				t.Errorf("%d is %+v, %v", want[i], d, err)
			}
		}
		for _, name := range []string{"c.example.com", "d.example.com"} {
			d, err := other.Add(ctx, operator, name, "main")
			must(t, err)
			if had := slices.Index(want, d.Number); had >= 0 != (name == "c.example.com") {
				t.Errorf("%s is number %d; there were %v", name, d.Number, want)
			}
		}
	}
}

// TestANumberThatBecameAnothers: a store that went back gave it away before the journal was replayed. Whose it is now it stays, and
// the other domain gets a new one.
func TestANumberThatBecameAnothers(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	old, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	back := newDomainWorld(t)
	taker, err := back.Add(ctx, operator, "example.org", "main")
	must(t, err)
	if taker.Number != old.Number {
		t.Fatalf("%d and %d", taker.Number, old.Number)
	}
	r := back.db.Replay(nil)
	for _, e := range w.journal.events {
		must(t, r.Apply(ctx, e))
	}
	must(t, r.End(ctx))
	d, err := back.GetNumbered(ctx, operator, old.Number)
	if err != nil || d.Name.Value() != "example.org" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err = back.Get(ctx, operator, "example.com"); err != nil || d.Number == 0 || d.Number == old.Number {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestASequenceThatWentBack is lifted behind the numbers that there are, by whoever comes upon one.
func TestASequenceThatWentBack(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	far := &ra.Domain{Name: ids(t, "far.example.com")[0], Number: 1, Org: 1, Created: w.clock.now(), Edits: 1}
	must(t, w.db.PutDomain(ctx, far, nil, w.clock.now()))
	further := &ra.Domain{Name: ids(t, "further.example.com")[0], Number: 70, Org: 1, Created: w.clock.now(), Edits: 1}
	must(t, w.db.PutDomain(ctx, further, nil, w.clock.now()))
	d, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	if d.Number != 71 {
		t.Errorf("it is number %d", d.Number)
	}
}

// TestWhatReplayKeeps: the later state wins, with the number that the store has.
func TestWhatReplayKeeps(t *testing.T) {
	t.Parallel()
	name := ids(t, "example.com")[0]
	have := &ra.Domain{Name: name, Number: 5, Org: 1, Edits: 7}
	for what, tt := range map[string]struct {
		said *ra.Domain
		want ra.DomainNumber
	}{
		"from before numbers": {&ra.Domain{Name: name, Org: 2, Edits: 8}, 5}, "of another": {&ra.Domain{Name: name, Number: 6, Org: 2, Edits: 8}, 5},
		"of an earlier one": {&ra.Domain{Name: name, Number: 6, Org: 2, Edits: 7}, 0},
	} {
		next := ra.ReplayedDomain(have, tt.said)
		if tt.want == 0 && next != nil || tt.want != 0 && (next == nil || next.Number != tt.want || next.Org != 2) {
			t.Errorf("%s: %+v", what, next)
		}
	}
	if next := ra.ReplayedDomain(&ra.Domain{Name: name, Org: 1, Edits: 7}, &ra.Domain{Name: name, Number: 6, Org: 2, Edits: 8}); next == nil || next.Number != 6 {
		t.Errorf("%+v", next)
	}
	for _, damaged := range []string{`{"name":"example.com","number":-1,"created":"2026-01-01T00:00:00Z","edits":1}`, `{"name":"example.com","own":["all"],"created":"2026-01-01T00:00:00Z","edits":1}`} {
		if d, err := ra.DomainFromEvent(audit.Event{Kind: audit.DomainChanged, Org: 1, Data: []byte(damaged)}); err == nil {
			t.Errorf("%s is %+v", damaged, d)
		}
	}
}

package ra_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// importBounded is a registrar that holds organisation 1 to bounds.
func (w *world) importBounded(b ra.ImportBounds) *ra.Registrar {
	return w.registrar(func(c *ra.Config) {
		c.ImportBounds = func(org auth.OrgID) ra.ImportBounds {
			if org == 1 {
				return b
			}
			return ra.ImportBounds{}
		}
	})
}

// leaves are items of as many certificates.
func (x *elsewhere) leaves(n int) (items []ra.ImportItem) {
	for i := range n {
		items = append(items, ra.ImportItem{Certificate: x.leaf(nil, fmt.Sprintf("h%d.example.com", i))})
	}
	return items
}

// TestImportBound: beyond the bound a certificate is refused with the remedy, those before it and those there already are not, and a
// removal makes room once it is forgotten, of a certificate without an end too.
func TestImportBound(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	reg := w.importBounded(ra.ImportBounds{Certificates: 3})
	endless := ra.ImportItem{Certificate: x.leaf(func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, "www.example.com")}
	over := ra.ImportItem{Certificate: x.leaf(func(c *x509.Certificate) { c.NotAfter = start.AddDate(0, 0, -20) }, "old.example.com")}
	items := append([]ra.ImportItem{endless, over}, x.leaves(2)...)
	items = append(items, items[3])
	imports := func(items ...ra.ImportItem) []ra.ImportResult {
		t.Helper()
		results, err := reg.Import(t.Context(), ida, ra.DoorConsole, items)
		must(t, err)
		return results
	}
	r := imports(items...)
	for i := range r[:3] {
		if r[i].Err != nil || !r[i].Created {
			t.Fatalf("item %d: %+v", i, r[i])
		}
	}
	for i, r := range r[3:] {
		if !problem.Is(r.Err, problem.RateLimited) || r.Enrollment != nil || !strings.Contains(r.Err.Error(), "imports.certificates") || !strings.Contains(r.Err.Error(), "30 days") {
			t.Errorf("item %d: %+v", 3+i, r)
		}
	}
	if again := imports(endless)[0]; again.Err != nil || again.Created {
		t.Errorf("one that is there: %+v", again)
	}
	if other, err := reg.Import(t.Context(), ivo, ra.DoorConsole, items[3:4]); err != nil || other[0].Err != nil {
		t.Errorf("of another organisation: %+v, %v", other, err)
	}
	for i := range 2 {
		must(t, w.Remove(t.Context(), ida, r[i].Enrollment.ID))
	}
	must(t, w.ForgetRemoved(t.Context()))
	wantKind(t, imports(items[3])[0].Err, problem.RateLimited)
	w.clock.add(ra.RemovedRetention + time.Second)
	must(t, w.ForgetRemoved(t.Context()))
	_, err := w.db.Enrollment(t.Context(), r[0].Enrollment.ID)
	wantKind(t, err, problem.NotFound)
	room := imports(items[3], endless, over)
	if room[0].Err != nil || room[1].Err != nil || !room[1].Created || !problem.Is(room[2].Err, problem.RateLimited) {
		t.Errorf("once they are forgotten: %+v", room)
	}
}

// TestImportIssuersBound: what brings no more issuers than there may be is imported, and what is refused takes no place.
func TestImportIssuersBound(t *testing.T) {
	w := newWorld(t)
	x, y := newElsewhere(t), newElsewhere(t)
	reg := w.importBounded(ra.ImportBounds{Issuers: 3})
	with := func(by *elsewhere, name string) ra.ImportItem {
		return ra.ImportItem{Certificate: by.leaf(nil, name), Issuers: by.chain()}
	}
	for range 2 {
		results, err := reg.Import(t.Context(), ida, ra.DoorConsole, []ra.ImportItem{
			with(x, "a.example.com"), with(y, "b.example.com"), with(x, "c.example.com"), {Certificate: y.leaf(nil, "d.example.com"), Issuers: y.chain()[1:]},
			{Certificate: y.leaf(nil, "e.example.com")},
		})
		must(t, err)
		for i, r := range results {
			if i == 1 && (!problem.Is(r.Err, problem.RateLimited) || !strings.Contains(r.Err.Error(), "imports.issuers")) || i != 1 && r.Err != nil {
				t.Errorf("item %d: %+v", i, r)
			}
		}
	}
}

// TestImportBoundAtOnce: however many import at the same time, no more than the bound get in.
func TestImportBoundAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, w *world) {
		const clients, bound = 4, 10
		x := newElsewhere(t)
		var made [clients]int
		var wg sync.WaitGroup
		for c := range clients {
			items := x.leaves(6)
			wg.Go(func() {
				for part := range 3 {
					results, err := w.importBounded(ra.ImportBounds{Certificates: bound}).Import(context.WithoutCancel(t.Context()), ida, ra.DoorConsole, items[2*part:][:2])
					if err != nil {
						t.Error(err)
					}
					for _, r := range results {
						switch {
						case r.Err == nil && r.Created:
							made[c]++
						case !problem.Is(r.Err, problem.RateLimited):
							t.Errorf("%+v", r)
						}
					}
				}
			})
		}
		wg.Wait()
		if sum := made[0] + made[1] + made[2] + made[3]; sum != bound || w.total() != bound {
			t.Errorf("%d were imported, of %d in all", sum, w.total())
		}
	})
}

// TestImportForSeveral: results are in the items' order, whichever organisations they are for.
func TestImportForSeveral(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	items := x.leaves(4)
	for i := range items {
		items[i].Org = auth.OrgID(2 - i%2)
	}
	for i, r := range w.imports(operator, items...) {
		if r.Err != nil || r.Enrollment.Org != items[i].Org || r.Enrollment.Names[0].Value() != fmt.Sprintf("h%d.example.com", i) {
			t.Errorf("item %d: %+v", i, r)
		}
	}
}

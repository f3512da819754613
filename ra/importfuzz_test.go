package ra_test

import (
	"context"
	"crypto/x509"
	"reflect"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// FuzzImport demands of whatever is imported that its journal entry gives the same enrollment back.
func FuzzImport(f *testing.F) {
	x := newElsewhere(f)
	for _, der := range [][]byte{x.leaf(nil, "www.example.com", "*.example.org"), x.leaf(func(c *x509.Certificate) { c.Subject.CommonName = "old.example.com" })} {
		f.Add(der)
	}
	ours := newElsewhere(f)
	backend, err := ca.NewSoftCAS(ours.Chain(), ours.Intermediate.Key)
	if err != nil {
		f.Fatal(err)
	}
	issuers, err := ca.New(ca.Config{
		Issuers: []ca.Issuer{{Name: "main", Chain: ours.Chain(), Backend: backend}}, Store: untouched{}, Journal: &journal{}, Now: func() time.Time { return start },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		store, told := &importsOnly{}, &journal{}
		reg := ra.New(ra.Config{Store: store, Authority: issuers, Journal: told, Now: func() time.Time { return start }})
		results, err := reg.Import(t.Context(), ida, ra.DoorConsole, []ra.ImportItem{{Certificate: der}})
		if err != nil {
			t.Fatal(err)
		}
		if err := results[0].Err; err != nil {
			if results[0].Enrollment != nil || store.made != nil || !problem.Is(err, problem.Malformed) && !problem.Is(err, problem.TooLarge) && !problem.Is(err, problem.Conflict) {
				t.Fatalf("%+v", results[0])
			}
			return
		}
		said, err := ra.ImportFromEvent(told.events[0])
		if err != nil || !reflect.DeepEqual(said.Enrollment, store.made) {
			t.Fatalf("got %+v\nwant %+v, %v", said, store.made, err)
		}
		for _, n := range said.Enrollment.Names {
			if again, err := identifier.Parse(string(n.Type()), n.Value()); err != nil || again != n {
				t.Fatalf("%v is no name: %v", n, err)
			}
		}
	})
}

// importsOnly is a store that has nothing.
type importsOnly struct {
	ra.Store
	made *ra.Enrollment
}

func (*importsOnly) NextEnrollment(context.Context) (ra.ID, error) { return 1, nil }
func (*importsOnly) Imports(_ context.Context, keys []ra.ImportKey) ([]ra.ImportFound, error) {
	return make([]ra.ImportFound, len(keys)), nil
}
func (s *importsOnly) RecordImports(_ context.Context, list []*ra.Import, _ time.Time, _ ra.ImportBounds) error {
	if len(list) > 0 {
		s.made = list[0].Enrollment
	}
	return nil
}
func (*importsOnly) ImportsJournaled(context.Context, []ra.ImportNote) error { return nil }

// untouched is a store that an authority which issues nothing has no use for.
type untouched struct{ ca.Store }

package ra_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestLooksComeAgain with a back-off, keep what they saw, and end with the value's life.
func TestLooksComeAgain(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	_, err = w.Check(ctx, operator, "example.com")
	wantKind(t, err, problem.Conflict)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	must(t, w.Domains.Sweep(ctx))
	if len(w.dns.asked) != 0 {
		t.Error("it is looked at before anybody can have published")
	}
	looks := 0
	for range 6 {
		w.clock.add(time.Minute)
		must(t, w.Domains.Sweep(ctx))
		looks = len(w.dns.asked)
	}
	if looks < 2 || looks > 4 {
		t.Errorf("%d looks in six minutes", looks)
	}
	d, err := w.Get(ctx, operator, "example.com")
	must(t, err)
	f := d.Validation.Failed
	if f == nil || f.Kind != problem.DNS || f.Detail != "nothing is there" || !strings.Contains(string(f.Record), "dns:here") || d.Validation.Attempts != looks {
		t.Errorf("%+v", d.Validation)
	}
	w.dns.publish(d.Validation)
	w.clock.add(time.Hour)
	must(t, w.Domains.Sweep(ctx))
	if d, err = w.Get(ctx, operator, "example.com"); err != nil || d.Proof == nil || d.Validation != nil {
		t.Errorf("%+v, %v", d, err)
	}

	// Thirty days on the value is too old, whatever is published; the proof that there was stays.
	again, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	w.dns.publish(again.Validation)
	w.clock.add(30 * 24 * time.Hour)
	looks = len(w.dns.asked)
	_, err = w.Check(ctx, operator, "example.com")
	wantKind(t, err, problem.Conflict)
	must(t, w.Domains.Sweep(ctx))
	must(t, w.Domains.Sweep(ctx))
	now, err := w.Get(ctx, operator, "example.com")
	if err != nil || len(w.dns.asked) != looks || !now.Proof.At.Equal(d.Proof.At) || !now.Validation.Due.IsZero() {
		t.Errorf("%+v, %v", now, err)
	}
	if due, err := w.db.DueDomains(ctx, w.clock.now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("left are %v, %v", due, err)
	}
}

// TestAChangeDuringALook wins: a proof for what was removed, given away or begun anew is none.
func TestAChangeDuringALook(t *testing.T) {
	for name, change := range map[string]func(context.Context, *domainWorld) error{
		"removed": func(ctx context.Context, w *domainWorld) error {
			_, err := w.Remove(ctx, operator, "example.com")
			return err
		},
		"another's": func(ctx context.Context, w *domainWorld) error {
			if _, err := w.Remove(ctx, operator, "example.com"); err != nil {
				return err
			}
			_, err := w.Add(ctx, operator, "example.com", "other")
			return err
		},
		"begun anew": func(ctx context.Context, w *domainWorld) error {
			_, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
			return err
		},
	} {
		w, ctx := newDomainWorld(t), t.Context()
		_, err := w.Add(ctx, operator, "example.com", "main")
		must(t, err)
		d, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
		must(t, err)
		w.dns.publish(d.Validation)
		w.dns.before = func() { must(t, change(context.WithoutCancel(ctx), w)) }
		_, err = w.Check(ctx, operator, "example.com")
		wantKind(t, err, problem.Conflict)
		w.dns.before = nil
		found, err := w.db.Domains(ctx, ids(t, "example.com"))
		if err != nil || found[0].Proof != nil {
			t.Errorf("%s: %+v, %v", name, found[0], err)
		}
	}
	// A delegation meanwhile does no harm.
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	d, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	w.dns.publish(d.Validation)
	w.dns.before = func() {
		_, err := w.Delegate(context.WithoutCancel(ctx), operator, "example.com", "below")
		must(t, err)
	}
	if d, err = w.Check(ctx, operator, "example.com"); err != nil || d.Proof == nil || len(d.Delegations) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestValuesAreNeverTheSame, and the place does not tell the value.
func TestValuesAreNeverTheSame(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	seen := map[string]bool{}
	for range 20 {
		for _, m := range []dcv.Method{dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME} {
			d, err := w.Validate(ctx, operator, "example.com", m)
			must(t, err)
			p := d.Validation.Publication
			if seen[p.Value] || len(p.Value) < 32 || strings.Contains(p.Place, p.Value) || strings.Contains(p.Value, strings.TrimSuffix(strings.TrimPrefix(p.Place, "_"), ".txt")) {
				t.Errorf("%s: %+v", m, p)
			}
			seen[p.Value] = true
		}
	}
}

package ra_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestUpdate(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	read := e.Version
	got, err := w.Update(ctx, boss, e.ID, ra.Changes{
		Version: read, Comments: new("line one\nline two"), ExternalRequesters: new([]string{"ann@example.com", "b.c+d@mail.example.org"}),
		AutoRenew: &ra.AutoRenew{On: true, Days: 3}, SuspendNotifications: new(true),
	})
	must(t, err)
	stored := w.read(e.ID)
	for _, x := range []*ra.Enrollment{got, stored} {
		if x.Comments != "line one\nline two" || len(x.ExternalRequesters) != 2 || x.AutoRenew != (ra.AutoRenew{On: true, Days: 3}) || !x.SuspendNotifications ||
			x.Edits != 1 || x.Phase != ra.Issued || x.Version != stored.Version {
			t.Errorf("updated to %+v", x)
		}
	}
	if entry := w.lastOf(audit.EnrollmentEdited); entry.Actor != boss.Principal || entry.Enrollment != int64(e.ID) || entry.Requester != rob.Principal {
		t.Errorf("the journal says %+v", entry)
	}
	_, err = w.Update(ctx, rob, e.ID, ra.Changes{Version: read, Comments: new("late")})
	wantKind(t, err, problem.Conflict)
	// What is absent stays; said again, nothing changes.
	for range 2 {
		got, err = w.Update(ctx, rob, e.ID, ra.Changes{Comments: new(""), AutoRenew: &ra.AutoRenew{}})
		must(t, err)
	}
	if got.Comments != "" || got.AutoRenew.On || len(got.ExternalRequesters) != 2 || got.Edits != 2 {
		t.Errorf("then to %+v", got)
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e, acme := w.managed(rob, "tls", "a.example.com"), w.acmeIssued()
	waiting, err := w.Submit(ctx, rob, ra.Request{Door: ra.DoorConsole, Profile: "each", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")})
	must(t, err)
	many := make([]string, 21)
	for i := range many {
		many[i] = strings.Repeat("a", i+1) + "@example.com"
	}
	for name, tt := range map[string]struct {
		caller auth.Caller
		id     ra.ID
		c      ra.Changes
		kind   problem.Kind
	}{
		"foreign":               {evan, e.ID, ra.Changes{Comments: new("x")}, problem.NotFound},
		"approver":              {ann, e.ID, ra.Changes{Comments: new("x")}, problem.Unauthorized},
		"auditor":               {audra, e.ID, ra.Changes{Comments: new("x")}, problem.Unauthorized},
		"another account":       {bob, acme.ID, ra.Changes{Comments: new("x")}, problem.Unauthorized},
		"long comments":         {rob, e.ID, ra.Changes{Comments: new(strings.Repeat("ä", 1025))}, problem.Malformed},
		"odd comments":          {rob, e.ID, ra.Changes{Comments: new("\x1b[2J")}, problem.Malformed},
		"no UTF-8":              {rob, e.ID, ra.Changes{Comments: new("\xff")}, problem.Malformed},
		"no address":            {rob, e.ID, ra.Changes{ExternalRequesters: new([]string{"ann"})}, problem.Malformed},
		"a header":              {rob, e.ID, ra.Changes{ExternalRequesters: new([]string{"ann@example.com\r\nBcc: x@example.com"})}, problem.Malformed},
		"quotes":                {rob, e.ID, ra.Changes{ExternalRequesters: new([]string{`"a b"@example.com`})}, problem.Malformed},
		"a wildcard":            {rob, e.ID, ra.Changes{ExternalRequesters: new([]string{"ann@*.example.com"})}, problem.Malformed},
		"twice the same":        {rob, e.ID, ra.Changes{ExternalRequesters: new([]string{"a@example.com", "a@example.com"})}, problem.Malformed},
		"many":                  {rob, e.ID, ra.Changes{ExternalRequesters: &many}, problem.Malformed},
		"no days":               {rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true}}, problem.Malformed},
		"days below zero":       {rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{Days: -1}}, problem.Malformed},
		"days beyond":           {rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 366}}, problem.Malformed},
		"a colleague's renewal": {una, e.ID, ra.Changes{Comments: new("x"), AutoRenew: &ra.AutoRenew{On: true, Days: 5}}, problem.Unauthorized},
		"a client renews that":  {operator, acme.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 5}}, problem.Conflict},
		"an unknown field":      {rob, e.ID, ra.Changes{CustomFields: new([]policy.FieldValue{{Name: "no such", Value: "x"}})}, problem.Malformed},
		"fields while it waits": {rob, waiting.ID, ra.Changes{CustomFields: new([]policy.FieldValue{})}, problem.Conflict},
	} {
		before := w.read(tt.id)
		if _, err := w.Update(ctx, tt.caller, tt.id, tt.c); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
		if w.read(tt.id).Version != before.Version {
			t.Errorf("%s: it was changed", name)
		}
	}
	// What says nothing of the certificate may be changed while people decide, and voids nothing.
	_, err = w.Update(ctx, rob, waiting.ID, ra.Changes{Comments: new("please hurry"), AutoRenew: &ra.AutoRenew{On: true, Days: 1}})
	must(t, err)
	if got := w.approve(ann, waiting.ID, ra.Issued); got.Comments != "please hurry" || !got.AutoRenew.On {
		t.Errorf("issued as %+v", got)
	}
}

func TestLocations(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	first, err := w.Locate(ctx, rob, e.ID, ra.Location{Name: "rack 7", Details: map[string]string{"host": "a1", "port": "443"}})
	must(t, err)
	second, err := w.Locate(ctx, una, e.ID, ra.Location{Details: map[string]string{"host": "a2"}})
	must(t, err)
	if first.ID != 1 || second.ID != 2 {
		t.Errorf("numbers %d and %d", first.ID, second.ID)
	}
	_, err = w.Locate(ctx, rob, e.ID, ra.Location{ID: 1, Name: "rack 8"})
	must(t, err)
	if got, err := w.Location(ctx, audra, e.ID, 1); err != nil || got.Name != "rack 8" || len(got.Details) > 0 {
		t.Errorf("changed to %+v, %v", got, err)
	}
	must(t, w.Unlocate(ctx, rob, e.ID, 2))
	wantKind(t, w.Unlocate(ctx, rob, e.ID, 2), problem.NotFound)
	third, err := w.Locate(ctx, rob, e.ID, ra.Location{Name: "x"})
	must(t, err)
	if third.ID != 3 {
		t.Errorf("a number was used again: %d", third.ID)
	}
	details := map[string]string{}
	for i := range 21 {
		details[strings.Repeat("k", i+1)] = "v"
	}
	for name, tt := range map[string]struct {
		caller auth.Caller
		l      ra.Location
		kind   problem.Kind
	}{
		"foreign":      {evan, ra.Location{Name: "x"}, problem.NotFound},
		"auditor":      {audra, ra.Location{Name: "x"}, problem.Unauthorized},
		"approver":     {ann, ra.Location{Name: "x"}, problem.Unauthorized},
		"empty":        {rob, ra.Location{}, problem.Malformed},
		"no such":      {rob, ra.Location{ID: 2, Name: "x"}, problem.NotFound},
		"long name":    {rob, ra.Location{Name: strings.Repeat("x", 129)}, problem.Malformed},
		"many details": {rob, ra.Location{Details: details}, problem.Malformed},
		"no key":       {rob, ra.Location{Details: map[string]string{"": "x"}}, problem.Malformed},
		"long key":     {rob, ra.Location{Details: map[string]string{strings.Repeat("x", 65): "x"}}, problem.Malformed},
		"long value":   {rob, ra.Location{Details: map[string]string{"x": strings.Repeat("x", 257)}}, problem.Malformed},
		"two lines":    {rob, ra.Location{Details: map[string]string{"x": "a\nb"}}, problem.Malformed},
	} {
		if _, err := w.Locate(ctx, tt.caller, e.ID, tt.l); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
	}
	wantKind(t, w.Unlocate(ctx, evan, e.ID, 1), problem.NotFound)
	_, err = w.Location(ctx, evan, e.ID, 1)
	wantKind(t, err, problem.NotFound)
	for i := len(w.read(e.ID).Locations); i < ra.MaxLocations; i++ {
		_, err := w.Locate(ctx, rob, e.ID, ra.Location{Name: "x"})
		must(t, err)
	}
	_, err = w.Locate(ctx, rob, e.ID, ra.Location{Name: "one too many"})
	wantKind(t, err, problem.Conflict)
	big := map[string]string{}
	for i := range 20 {
		big[strings.Repeat("k", i+1)] = strings.Repeat("x", 256)
	}
	full := false
	for id := 3; id < 20 && !full; id++ {
		_, err := w.Locate(ctx, rob, e.ID, ra.Location{ID: id, Details: maps.Clone(big)})
		full = problem.Is(err, problem.Conflict)
	}
	if !full {
		t.Error("nothing bounds what all locations have together")
	}
}

// TestUpdateRaces: two changes of two things at once are both there, on both engines.
func TestUpdateRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		peopled(t, w, nil)
		ctx := t.Context()
		two := w.registrar(func(c *ra.Config) { *c = w.Registrar.Config })
		for range rounds {
			e := w.managed(rob, "tls", "a.example.com")
			errs := atOnce(
				func() error { _, err := w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("c")}); return err },
				func() error { _, err := two.Locate(ctx, una, e.ID, ra.Location{Name: "here"}); return err },
				func() error { _, err := two.Locate(ctx, rob, e.ID, ra.Location{Name: "there"}); return err },
			)
			got := w.read(e.ID)
			for _, err := range errs {
				must(t, err)
			}
			if got.Comments != "c" || len(got.Locations) != 2 || got.Locations[0].ID == got.Locations[1].ID || got.Edits != 3 {
				t.Errorf("came to %+v", got)
			}
			errs = atOnce(
				func() error {
					_, err := w.Update(ctx, rob, e.ID, ra.Changes{Version: got.Version, Comments: new("one")})
					return err
				},
				func() error {
					_, err := two.Update(ctx, rob, e.ID, ra.Changes{Version: got.Version, Comments: new("two")})
					return err
				},
			)
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("under one version: %v", errs)
			}
		}
	})
}

// TestDetailsAreReplayed: of two entries the later holds, in whichever order they come, and brings the certificate.
func TestDetailsAreReplayed(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	_, err := w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("first"), SuspendNotifications: new(true)})
	must(t, err)
	_, err = w.Locate(ctx, rob, e.ID, ra.Location{Name: "rack", Details: map[string]string{"a": "b"}})
	must(t, err)
	_, err = w.Update(ctx, boss, e.ID, ra.Changes{Comments: new("second"), ExternalRequesters: new([]string{"a@example.com"}), AutoRenew: &ra.AutoRenew{On: true, Days: 4}})
	must(t, err)
	_, err = w.MarkRenewed(ctx, una, e.ID, 0)
	must(t, err)
	want := w.read(e.ID)
	var edits []audit.Event
	for _, x := range w.journal.events {
		if x.Kind == audit.EnrollmentEdited {
			edits = append(edits, x)
		}
	}
	backwards := []audit.Event{edits[3], edits[2], edits[1], edits[0]}
	for name, events := range map[string][]audit.Event{"in order": w.journal.events, "edits alone": edits, "backwards": backwards, "the last alone": edits[3:]} {
		n := newWorld(t)
		must(t, n.replay(events, nil))
		got := n.read(e.ID)
		if got.Comments != "second" || len(got.Locations) != 1 || got.Locations[0].Details["a"] != "b" || got.LastLocation != 1 || !got.SuspendNotifications ||
			got.AutoRenew != want.AutoRenew || !got.RenewedManually.Equal(want.RenewedManually) || got.Edits != 4 || got.Serial != want.Serial || got.Phase != ra.Issued {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Under its number there is another's enrollment by now.
	n := peopled(t, newWorld(t), nil)
	n.clock.set(w.clock.now())
	other := n.managed(una, "tls", "other.example.com")
	must(t, n.replay(edits, nil))
	if got := n.read(other.ID); other.ID != e.ID || got.Comments != "" || got.Serial != other.Serial {
		t.Errorf("another's enrollment %d became %+v", other.ID, got)
	}
	if found, err := n.BySerial(ctx, operator, e.Serial); err != nil || len(found) != 1 || found[0].Comments != "second" {
		t.Errorf("it came back as %v, %v", found, err)
	}
}

// TestUpdateNeedsTheJournal: said again after the journal refused, it is there.
func TestUpdateNeedsTheJournal(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	w.journal.refuse(audit.EnrollmentEdited)
	_, err := w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("x")})
	wantKind(t, err, problem.Unavailable)
	w.journal.refuse("")
	_, err = w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("x")})
	must(t, err)
	if got := newWorldWith(t, w).read(e.ID); got.Comments != "x" {
		t.Errorf("after a replay: %+v", got)
	}
}

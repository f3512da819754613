package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestWhatWasTakenBackStaysSo: in a store that went back to before that, and only for the very request that was.
func TestWhatWasTakenBackStaysSo(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	_, err := w.Cancel(t.Context(), rob, e.ID)
	must(t, err)
	events := w.journal.events
	if len(events) != 1 || events[0].Kind != audit.Cancelled || events[0].Actor != rob.Principal || events[0].Enrollment != int64(e.ID) {
		t.Fatalf("%+v", events)
	}
	for _, row := range []struct {
		name  string
		by    auth.Caller
		names []string
		later time.Duration
		gone  bool
	}{
		{"the same", rob, []string{"a.example.com"}, 0, true},
		{"another principal's", uma, []string{"a.example.com"}, 0, false},
		{"another organisation's", mia, []string{"a.example.com"}, 0, false},
		{"other names", rob, []string{"a.example.com", "b.example.com"}, 0, false},
		{"a later one", rob, []string{"a.example.com"}, time.Hour, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			back := newPendingWorld(t)
			back.clock.set(w.clock.now().Add(row.later))
			again := back.submit(row.by, back.wants("tls", dcv.DNSTXT, row.names...), ra.Validating)
			if again.ID != e.ID {
				t.Fatalf("it has number %d", again.ID)
			}
			for range 2 {
				must(t, back.replay(events, nil))
			}
			got := back.read(again.ID)
			if row.gone != (got.Phase == ra.Failed && got.Canceller == rob.Principal && got.CSR == nil) || !row.gone && got.Version != again.Version {
				t.Errorf("%+v", got)
			}
		})
	}
}

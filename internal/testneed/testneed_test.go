package testneed

import (
	"errors"
	"testing"
)

// outcome is a test that notes how it ended.
type outcome struct {
	testing.TB
	failed, skipped bool
}

func (o *outcome) Helper()               { o.TB.Helper() }
func (o *outcome) Fatalf(string, ...any) { o.failed = true }
func (o *outcome) Skipf(string, ...any)  { o.skipped = true }

func TestNeeds(t *testing.T) {
	absent := errors.New("not there")
	for _, tt := range []struct {
		list            string
		need            func(t testing.TB)
		failed, skipped bool
	}{
		{"", func(t testing.TB) { Missing(t, "b", absent) }, false, true},
		{"a,b c", func(t testing.TB) { Missing(t, "b", absent) }, true, true}, // Fatalf would have ended it
		{"a,bb", func(t testing.TB) { Missing(t, "b", absent) }, false, true},
		{"", func(t testing.TB) { OnlyIfListed(t, "a") }, false, true},
		{"b a", func(t testing.TB) { OnlyIfListed(t, "a") }, false, false},
		{"", func(t testing.TB) { Programs(t, "go") }, false, false},
		{"", func(t testing.TB) { Programs(t, "go", "no-such-program") }, false, true},
		{"no-such-program", func(t testing.TB) { Programs(t, "no-such-program") }, true, true},
	} {
		t.Setenv(Variable, tt.list)
		o := &outcome{TB: t}
		tt.need(o)
		if o.failed != tt.failed || o.skipped != tt.skipped {
			t.Errorf("with %q: failed %t, skipped %t; want %t, %t", tt.list, o.failed, o.skipped, tt.failed, tt.skipped)
		}
	}
}

package scm

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/rest"
)

func dayOf(t *testing.T, text string) (time.Time, error) {
	t.Helper()
	o, err := rest.ReadObject(httptest.NewRequest("POST", "/", strings.NewReader(fmt.Sprintf(`{"from":%s}`, quote(t, text)))), maxBody)
	must(t, err)
	day := reportDay(o, "from")
	return day, o.Err()
}

func TestReportDay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-03-02": "2026-03-02", "2026-03-02T00:00:00.000Z": "2026-03-02", "2026-03-02T23:59:59.999Z": "2026-03-02", "2026-03-02T23:30:00.000-01:00": "2026-03-03",
		"2026-03-02T00:30:00.916+0100": "2026-03-01", "2026-03-02T12:00:00": "2026-03-02", "2026-03-02T12:00": "2026-03-02", "0001-01-01T00:00:00.000+02:00": "0000-12-31",
	} {
		if day, err := dayOf(t, text); err != nil || day.Format(time.DateOnly) != want {
			t.Errorf("%s is in %s, want %s: %v", text, day.Format(time.DateOnly), want, err)
		}
	}
	for _, text := range []string{"03/02/2026", "2026-13-01", "2026-02-30", "2026-3-2", "today", "1772409600", " 2026-03-02", "0000-01-01", strings.Repeat("2", 41)} {
		if day, err := dayOf(t, text); err == nil || !day.IsZero() {
			t.Errorf("%q passes for %v", text, day)
		}
	}
}

// FuzzReportDay: whatever is sent is the beginning of a day in UTC, or is refused.
func FuzzReportDay(f *testing.F) {
	f.Add("2026-03-02")
	f.Add("2026-03-02T00:30:00.916+0100")
	f.Add("9999-12-31T23:59:59.999999999-23:59")
	f.Fuzz(func(t *testing.T, text string) {
		day, err := dayOf(t, text)
		if err == nil && text != "" && (day.IsZero() || !day.Equal(day.UTC().Truncate(24*time.Hour))) || err != nil && !day.IsZero() {
			t.Errorf("%q is %v, %v", text, day, err)
		}
	})
}

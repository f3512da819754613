package auth

import (
	"strings"
	"testing"
)

func TestDeriveSlug(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxSlug)
	for _, tt := range []struct{ parent, name, taken, want string }{
		{"main", "Sales", "", "main-sales"},
		{"main", "Sales", "main-sales", "main-sales-2"},
		{"main", "Sales", "main-sales main-sales-2", "main-sales-3"},
		{"main", "  Research & Development (EU) ", "", "main-research-development-eu"},
		{"main", "Café 24", "", "main-caf-24"},
		{"main", "研究", "", "main-org"},
		{"main", "", "main-org", "main-org-2"},
		{"in", "x", "", "in-x"},
		{"main", strings.Repeat("b", 58) + " c", "", "main-" + strings.Repeat("b", 58)},
		{"main", strings.Repeat("b", 57) + " c", "", "main-" + strings.Repeat("b", 57)},
		{long, "x", long, long[:61] + "-2"},
		{long, "x", "", long},
	} {
		got := deriveSlug(tt.parent, tt.name, func(s string) bool { return strings.Contains(" "+tt.taken+" ", " "+s+" ") })
		if got != tt.want {
			t.Errorf("below %s, %q makes %s, want %s", tt.parent, tt.name, got, tt.want)
		}
	}
}

// FuzzDeriveSlug: whatever a name is, its slug can be used, is not taken, and begins as the parent's.
func FuzzDeriveSlug(f *testing.F) {
	f.Add("Sales", 0)
	f.Add("--", 3)
	f.Add("Ünïcode "+strings.Repeat("x", 100), 12)
	f.Fuzz(func(t *testing.T, name string, n int) {
		taken := map[string]bool{}
		for range max(0, min(n, 20)) {
			slug := deriveSlug("main", name, func(s string) bool { return taken[s] })
			if !usableSlug(slug) || taken[slug] || !strings.HasPrefix(slug, "main-") {
				t.Fatalf("%q makes %q, with %v taken", name, slug, taken)
			}
			taken[slug] = true
		}
	})
}

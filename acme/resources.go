package acme

import "slices"

// Resources names every resource that this door serves, sorted: for tests that hold a table of them to be complete.
func Resources() []string {
	names := make([]string, 0, len(endpoints))
	for r := range endpoints {
		names = append(names, r.String())
	}
	slices.Sort(names)
	return names
}

package identifier

import (
	"cmp"
	"slices"
)

// Compare orders identifiers by type, then by value, so that equal sets give equal bytes wherever they are hashed or
// stored. It is 0 exactly if a == b.
func Compare(a, b Identifier) int {
	return cmp.Or(cmp.Compare(a.typ, b.typ), cmp.Compare(a.value, b.value))
}

// SortUnique is a new slice with the members of ids in the order of [Compare], each once. ids is left as it was.
func SortUnique(ids []Identifier) []Identifier {
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, Compare)
	return slices.Compact(sorted)
}

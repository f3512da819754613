package auth

import (
	"strconv"
	"strings"
)

// maxSlug is the most octets of a slug.
const maxSlug = 63

// deriveSlug makes a slug for an organisation that was given none: that of the organisation above it, a hyphen, and the letters from a to
// z and the digits of its name, with one hyphen for whatever else stands between them. What is too long is cut, and -2, -3 and so on follow
// where the slug is taken. Beginning with the parent's, it takes none away from another tenant.
func deriveSlug(parent, name string, taken func(slug string) bool) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	if len(words) == 0 {
		words = []string{"org"}
	}
	whole := parent + "-" + strings.Join(words, "-")
	slug := cutSlug(whole, maxSlug)
	for n := 2; taken(slug) || !usableSlug(slug); n++ {
		end := "-" + strconv.Itoa(n)
		slug = cutSlug(whole, maxSlug-len(end)) + end
	}
	return slug
}

// cutSlug cuts a slug without leaving a hyphen at its end.
func cutSlug(slug string, most int) string {
	return strings.TrimRight(slug[:min(len(slug), most)], "-")
}

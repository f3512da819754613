// Package identifier holds the names certificates are asked for, parsed and normalised once.
//
// It decides what is a well-formed DNS name, wildcard or IP address (RFC 1123, 5890, 8555, 8738), and answers questions
// about them: public suffixes, special-purpose addresses. It trusts nothing that it is given. It never decides whether a
// name may be issued for (that is policy) and never resolves one (that is dcv).
//
// An [Identifier] can only be made here, so code that holds one need not check it again. It is comparable and can be a
// map key: two identifiers are the same name exactly if they are ==.
package identifier

// Type is the kind of name, by its word in RFC 8555, 9.7.7.
type Type string

// The types Gatehouse knows. Any other is refused by [Parse].
const (
	DNS Type = "dns" // RFC 8555, 9.7.7
	IP  Type = "ip"  // RFC 8738
)

// Identifier is one name: a DNS name in lower-case A-labels without a trailing dot, possibly with "*" as its whole
// leftmost label, or an IP address in its canonical text. The zero value is no identifier.
type Identifier struct {
	typ   Type
	value string
}

// Type is the kind of name.
func (id Identifier) Type() Type { return id.typ }

// Value is the canonical text: the form in certificates, records, URLs and answers.
func (id Identifier) Value() string { return id.value }

// IsZero reports whether id is the zero value, which names nothing.
func (id Identifier) IsZero() bool { return id.typ == "" }

// String is "type:value", for logs.
func (id Identifier) String() string { return string(id.typ) + ":" + id.value }

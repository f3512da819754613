package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldType says what a custom field takes.
type FieldType string

// The types.
const (
	FieldText      FieldType = "text"      // one line
	FieldMultiline FieldType = "multiline" // several lines
	FieldNumber    FieldType = "number"    // decimal digits, perhaps with a minus sign and a fraction behind a point
	FieldEmail     FieldType = "email"     // one plain address
	FieldDate      FieldType = "date"      // YYYY-MM-DD
	FieldOption    FieldType = "option"    // one of a list
)

func allFieldTypes() []FieldType {
	return []FieldType{FieldText, FieldMultiline, FieldNumber, FieldEmail, FieldDate, FieldOption}
}

// The bounds of custom fields. Lengths are in characters.
const (
	MaxFields     = 100
	MaxOptions    = 100 // of one field
	MaxFieldName  = 256
	MaxFieldValue = 256
)

// Field is a custom field: something that an organisation wants to know of each of its certificates and that is no part of any.
// It is defined once for all profiles.
type Field struct {
	// Number stands for the field in records and in doors that know fields by numbers: above zero, unique, never changed and never
	// given to another field. The name may change.
	Number int32
	Name   string    // unique, letter case aside; 1 to 256 characters
	Type   FieldType // default FieldText
	// MinLength and MaxLength bound a value of a text, number or address, in characters. Default 1 and 256, which is the most.
	MinLength, MaxLength int
	Options              []string // of FieldOption: what may be chosen
	Mandatory            []string // doors at which a request must have it, under whatever profile
}

// Fields are the custom fields of a deployment, checked. A nil one has none. It is immutable and safe for concurrent use.
type Fields struct {
	list  []Field // by number
	doors []string
}

// FieldError is one thing wrong with the definition of a custom field, for the configuration's reader.
type FieldError struct {
	Index  int    // in the list
	Field  string // as in the configuration file: "options"
	Reason string // what is wrong and what would pass
}

// Error is "custom field 1: options: …", counted from 1.
func (e *FieldError) Error() string {
	return fmt.Sprintf("custom field %d: %s: %s", e.Index+1, e.Field, e.Reason)
}

// NewFields checks definitions once and for all. doors are those that can ask for custom fields and so can have mandatory ones.
// The error joins a [*FieldError] for each thing that is wrong.
func NewFields(list []Field, doors []string) (*Fields, error) {
	c := &fieldChecker{doors: doors, names: map[string]bool{}, numbers: map[int32]bool{}}
	f := &Fields{doors: slices.Clone(doors)}
	if len(list) > MaxFields {
		c.refuse(MaxFields, "name", "there are %d custom fields; at most %d can be defined", len(list), MaxFields)
	}
	for i, field := range list {
		f.list = append(f.list, c.check(i, field))
	}
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	slices.SortFunc(f.list, func(a, b Field) int { return cmp.Compare(a.Number, b.Number) })
	return f, nil
}

// List are the fields by number, with their defaults filled in. The caller must not change what it holds.
func (f *Fields) List() []Field {
	if f == nil {
		return nil
	}
	return slices.Clone(f.list)
}

// ByName finds a field by its name, as it is written.
func (f *Fields) ByName(name string) (Field, bool) {
	return f.find(func(d Field) bool { return d.Name == name })
}

// ByNumber finds a field by its number.
func (f *Fields) ByNumber(number int32) (Field, bool) {
	return f.find(func(d Field) bool { return d.Number == number })
}

func (f *Fields) find(is func(Field) bool) (Field, bool) {
	if f != nil {
		if i := slices.IndexFunc(f.list, is); i >= 0 {
			return f.list[i], true
		}
	}
	return Field{}, false
}

// fieldChecker collects every fault of all definitions.
type fieldChecker struct {
	doors   []string
	names   map[string]bool // in lower case
	numbers map[int32]bool
	faults  []error
}

func (c *fieldChecker) refuse(i int, word, format string, args ...any) {
	c.faults = append(c.faults, &FieldError{Index: i, Field: word, Reason: fmt.Sprintf(format, args...)})
}

// check is one definition with its defaults filled in.
func (c *fieldChecker) check(i int, f Field) Field {
	f.Type = cmp.Or(f.Type, FieldText)
	f.Options, f.Mandatory = slices.Clone(f.Options), slices.Clone(f.Mandatory)
	switch {
	case f.Number < 1:
		c.refuse(i, "number", "%d is not from 1 to 2147483647; give each field a number that no other has had", f.Number)
	case c.numbers[f.Number]:
		c.refuse(i, "number", "%d is that of another custom field; give each its own", f.Number)
	}
	switch {
	case !isLabel(f.Name, MaxFieldName):
		c.refuse(i, "name", "%q is not 1 to %d printable characters without blanks around them", f.Name, MaxFieldName)
	case strings.Contains(f.Name, "="): // nobody could give it a value on a command line
		c.refuse(i, "name", "%q has an equals sign, which ends the name in NAME=VALUE; leave it out", f.Name)
	case c.names[strings.ToLower(f.Name)]:
		c.refuse(i, "name", "%q is the name of another custom field; give each its own", f.Name)
	}
	c.numbers[f.Number], c.names[strings.ToLower(f.Name)] = true, true
	if !slices.Contains(allFieldTypes(), f.Type) {
		c.refuse(i, "type", "%q is no type; known are %s", f.Type, list(allFieldTypes()))
		return f
	}
	f.MinLength, f.MaxLength = c.lengths(i, f)
	c.options(i, f)
	c.mandatory(i, f)
	return f
}

// lengths are the bounds of a value, for types that have some.
func (c *fieldChecker) lengths(i int, f Field) (least, most int) {
	if f.Type == FieldDate || f.Type == FieldOption {
		if f.MinLength != 0 {
			c.refuse(i, "min_length", "a value of type %s has no length of its own; leave it out", f.Type)
		}
		if f.MaxLength != 0 {
			c.refuse(i, "max_length", "a value of type %s has no length of its own; leave it out", f.Type)
		}
		return 1, MaxFieldValue
	}
	least, most = cmp.Or(f.MinLength, 1), cmp.Or(f.MaxLength, MaxFieldValue)
	if most < 1 || most > MaxFieldValue {
		c.refuse(i, "max_length", "%d is not from 1 to %d", most, MaxFieldValue)
	} else if least < 1 || least > most {
		c.refuse(i, "min_length", "%d is not from 1 to max_length (%d)", least, most)
	}
	return least, most
}

// options are what may be chosen, for a field of that type.
func (c *fieldChecker) options(i int, f Field) {
	switch n := len(f.Options); {
	case f.Type != FieldOption:
		if n > 0 {
			c.refuse(i, "options", "a field of type %s has none; write type: option or leave them out", f.Type)
		}
		return
	case n == 0 || n > MaxOptions:
		c.refuse(i, "options", "there are %d; list 1 to %d", n, MaxOptions)
	}
	for j, o := range f.Options {
		if !isLabel(o, MaxFieldValue) {
			c.refuse(i, "options", "%q is not 1 to %d printable characters without blanks around them", o, MaxFieldValue)
		} else if slices.Contains(f.Options[:j], o) {
			c.refuse(i, "options", "%q is listed twice", o)
		}
	}
}

// mandatory are the doors that demand the field.
func (c *fieldChecker) mandatory(i int, f Field) {
	for _, door := range f.Mandatory {
		switch {
		case door == acmeDoor:
			c.refuse(i, "mandatory", "an ACME order cannot carry custom fields, so none can be mandatory there; take acme out")
		case !slices.Contains(c.doors, door):
			c.refuse(i, "mandatory", "no door of this gateway that asks for custom fields is called %q; those are %s", door, list(c.doors))
		}
	}
}

// isLabel reports whether a text can stand on a line of its own: printable, without blanks at its ends.
func isLabel(s string, most int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unprintable)
}

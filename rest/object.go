package rest

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Object is a JSON object of a request. Members are read one by one, by their exact names; what nobody reads is ignored, and
// null is as good as absent. The first member that is wrong is the error of the object and of all objects within it, which
// [Object.Err] gives in the end; what was read after it is worthless. It is for one goroutine.
type Object struct {
	path    string // of its members: "", or "customFields[0]."
	members map[string]any
	err     *error // the first, shared with those within
}

func newObject(path string, members map[string]any, err *error) *Object {
	return &Object{path: path, members: members, err: err}
}

// Err is what is wrong with the first member that was wrong, a *problem.Error of kind Malformed that names it and has
// ErrMissing or ErrValue in its chain.
func (o *Object) Err() error { return *o.err }

// Has reports whether a member is there and not null.
func (o *Object) Has(name string) bool { return o.members[name] != nil }

// Empty reports whether it has no member but null ones.
func (o *Object) Empty() bool {
	for _, v := range o.members {
		if v != nil {
			return false
		}
	}
	return true
}

// Require refuses the object unless it has members. A string that is empty or blank is as good as absent.
func (o *Object) Require(names ...string) {
	for _, name := range names {
		v := o.members[name]
		text, isText := v.(string)
		if (v == nil || isText && strings.TrimSpace(text) == "") && *o.err == nil {
			*o.err = problem.Wrap(ErrMissing, problem.Malformed, "%s%s is missing", o.path, name)
		}
	}
}

// Refuse says of a member what the dialect finds wrong with it.
func (o *Object) Refuse(name, format string, args ...any) {
	if *o.err == nil {
		e := problem.New(problem.Malformed, format, args...)
		*o.err = problem.Wrap(ErrValue, problem.Malformed, "%s%s: %s", o.path, name, e.Detail)
	}
}

// Text reads a string of at most so many characters; "" if it is absent.
func (o *Object) Text(name string, most int) string {
	v := o.members[name]
	if v == nil {
		return ""
	}
	text, ok := v.(string)
	switch {
	case !ok:
		o.Refuse(name, "it is no string")
	case utf8.RuneCountInString(text) > most:
		o.Refuse(name, "it has more than %d characters", most)
	default:
		return text
	}
	return ""
}

// Int reads a whole number, or a string of one; 0 if it is absent.
func (o *Object) Int(name string, least, most int64) int64 {
	v := o.members[name]
	if v == nil {
		return 0
	}
	return o.whole(name, v, least, most)
}

// whole reads a value as a whole number. name is for errors.
func (o *Object) whole(name string, v any, least, most int64) int64 {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	default:
		o.Refuse(name, "it is no number")
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil { // 365.0 and 3e2 are whole numbers too
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			o.Refuse(name, "it is no whole number")
			return 0
		}
		n = int64(f)
	}
	if n < least || n > most {
		o.Refuse(name, "it is not from %d to %d", least, most)
		return 0
	}
	return n
}

// Bool reads true or false, or a string of one; false if it is absent.
func (o *Object) Bool(name string) bool {
	switch v := o.members[name].(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		if strings.EqualFold(v, "true") || strings.EqualFold(v, "false") {
			return strings.EqualFold(v, "true")
		}
	}
	o.Refuse(name, "it is neither true nor false")
	return false
}

// Texts reads an array of at most so many strings, each of at most length characters; nil if it is absent.
func (o *Object) Texts(name string, most, length int) []string {
	var list []string
	for i, v := range o.items(name, most) {
		text, ok := v.(string)
		switch {
		case !ok:
			o.Refuse(name+"["+strconv.Itoa(i)+"]", "it is no string")
			return nil
		case utf8.RuneCountInString(text) > length:
			o.Refuse(name+"["+strconv.Itoa(i)+"]", "it has more than %d characters", length)
			return nil
		}
		list = append(list, text)
	}
	return list
}

// Ints reads an array of at most so many whole numbers, or strings of them; nil if it is absent.
func (o *Object) Ints(name string, most int, least, largest int64) []int64 {
	var list []int64
	for i, v := range o.items(name, most) {
		list = append(list, o.whole(name+"["+strconv.Itoa(i)+"]", v, least, largest))
	}
	return list
}

// TextsOrText is Texts of a member that may be one string as well, with separators between its parts; blank parts are left out.
func (o *Object) TextsOrText(name, separator string, most, length int) []string {
	text, ok := o.members[name].(string)
	if !ok {
		return o.Texts(name, most, length)
	}
	var list []string
	for part := range strings.SplitSeq(text, separator) {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if len(list) == most || utf8.RuneCountInString(part) > length {
			o.Refuse(name, "it has more than %d parts, or one of more than %d characters", most, length)
			return nil
		}
		list = append(list, part)
	}
	return list
}

// Object reads an object; one without members if it is absent.
func (o *Object) Object(name string) *Object {
	members, ok := o.members[name].(map[string]any)
	if !ok && o.members[name] != nil {
		o.Refuse(name, "it is no object")
	}
	return newObject(o.path+name+".", members, o.err)
}

// Objects reads an array of at most so many objects; nil if it is absent.
func (o *Object) Objects(name string, most int) []*Object {
	var list []*Object
	for i, v := range o.items(name, most) {
		at := name + "[" + strconv.Itoa(i) + "]"
		members, ok := v.(map[string]any)
		if !ok {
			o.Refuse(at, "it is no object")
			return nil
		}
		list = append(list, newObject(o.path+at+".", members, o.err))
	}
	return list
}

// TextMap reads an object whose members are strings, at most so many; nil if it is absent.
func (o *Object) TextMap(name string, most int) map[string]string {
	members, ok := o.members[name].(map[string]any)
	switch {
	case o.members[name] == nil:
		return nil
	case !ok:
		o.Refuse(name, "it is no object")
		return nil
	case len(members) > most:
		o.Refuse(name, "it has more than %d members", most)
		return nil
	}
	texts := map[string]string{}
	for key, v := range members {
		text, ok := v.(string)
		if !ok {
			o.Refuse(name, "its member %q is no string", shorten(key))
			return nil
		}
		texts[key] = text
	}
	return texts
}

func (o *Object) items(name string, most int) []any {
	items, ok := o.members[name].([]any)
	if !ok && o.members[name] != nil {
		o.Refuse(name, "it is no array")
	}
	if len(items) > most {
		o.Refuse(name, "it has more than %d items", most)
		return nil
	}
	return items
}

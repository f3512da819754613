package jws

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// scanner walks a document that json.Valid has accepted, beside what it will be decoded into, and judges the names of
// members. It relies on validity: it looks for the ends of things and not at what is between them.
type scanner struct {
	data   []byte
	pos    int
	fields map[reflect.Type][]field // for this call only
}

// field is a member that a struct knows, and the type of its value.
type field struct {
	name string
	typ  reflect.Type
}

// peek gives the next byte that is not white space.
func (s *scanner) peek() byte {
	for {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
}

// value passes one value. t is the type it goes to, or nil where nothing is known about it.
func (s *scanner) value(t reflect.Type, depth int) error {
	c := s.peek()
	if c == '{' || c == '[' {
		if depth == MaxDepth {
			return problem.New(problem.Malformed, "the JSON nests deeper than %d", MaxDepth)
		}
		if c == '{' {
			return s.object(plain(t), depth+1)
		}
		return s.array(plain(t), depth+1)
	}
	if c == '"' {
		s.text()
		return nil
	}
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n,]}", s.data[s.pos]) < 0 {
		s.pos++
	}
	return nil
}

func (s *scanner) array(t reflect.Type, depth int) error {
	var element reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		element = t.Elem()
	}
	s.pos++ // [
	for s.peek() != ']' {
		if err := s.value(element, depth); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.pos++
		}
	}
	s.pos++
	return nil
}

func (s *scanner) object(t reflect.Type, depth int) error {
	var known []field
	var element reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		known = s.fieldsOf(t)
	case t.Kind() == reflect.Map:
		element = t.Elem()
	}
	return s.members(func(name []byte, at int) error {
		typ := element
		for _, f := range known {
			if string(name) == f.name {
				typ = f.typ
				break
			}
			if err := distinct(name, at, f.name); err != nil {
				return err
			}
		}
		return s.value(typ, depth)
	})
}

// members passes an object. For each member it judges the name among its neighbours and then calls member, which must
// pass the value.
func (s *scanner) members(member func(name []byte, at int) error) error {
	var seen names
	s.pos++ // {
	for s.peek() != '}' {
		at := s.pos
		name := unquote(s.text())
		if err := seen.add(name, at); err != nil {
			return err
		}
		s.peek()
		s.pos++ // :
		if err := member(name, at); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.pos++
		}
	}
	s.pos++
	return nil
}

// text passes a string and gives it with its quotes.
func (s *scanner) text() []byte {
	start := s.pos
	for s.pos++; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
	}
	s.pos++
	return s.data[start:s.pos]
}

// fieldsOf lists the members a struct knows, those of embedded structs after its own.
func (s *scanner) fieldsOf(t reflect.Type) []field {
	if known, ok := s.fields[t]; ok {
		return known
	}
	if s.fields == nil {
		s.fields = make(map[reflect.Type][]field)
	}
	s.fields[t] = nil // an embedded type that embeds this one adds nothing
	var own, embedded []field
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			embedded = append(embedded, s.fieldsOf(inner)...)
		case !f.IsExported():
		case name == "":
			own = append(own, field{f.Name, f.Type})
		default:
			own = append(own, field{name, f.Type})
		}
	}
	s.fields[t] = append(own, embedded...)
	return s.fields[t]
}

// plain takes pointers off a type. A type that decodes itself is opaque: nil.
func plain(t reflect.Type) reflect.Type {
	for t != nil {
		byPointer := reflect.PointerTo(t)
		if byPointer.Implements(reflect.TypeFor[json.Unmarshaler]()) || byPointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

package jws

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxDepth is how deep objects and arrays may nest in what [DecodeStrict] reads. ACME needs four.
const MaxDepth = 16

// DecodeStrict decodes one JSON document into v, which is what json.Unmarshal takes, without the two habits of
// encoding/json that let two readers of one signed document see two different things:
//
//   - Of two members with the same name the last one would win. Here an object, at any depth and also inside what v
//     ignores, must not have two names that are equal or differ only in letter case.
//   - A member would be matched to a field whatever its letter case. Here a name that differs only in case from a
//     field that v has in that place is refused.
//
// Members that v does not know are ignored (RFC 8555, 7.3 for accounts, RFC 7515, 4 for headers); null leaves a field as
// it was. Text that is not UTF-8, nesting beyond [MaxDepth], a document that is null and anything after the document are
// refused. Types that decode themselves get their part of the document unchecked against their fields; json.RawMessage
// is one, to be given to DecodeStrict again.
//
// The errors are problem.Errors of kind Malformed, or whatever problem a type's own UnmarshalJSON returns.
func DecodeStrict(data []byte, v any) error {
	target := reflect.TypeOf(v)
	if target == nil || target.Kind() != reflect.Pointer {
		return &json.InvalidUnmarshalError{Type: target}
	}
	s, err := newScanner(data)
	if err != nil {
		return err
	}
	if err := s.value(target.Elem(), 0); err != nil {
		return err
	}
	return decodeProblem(json.Unmarshal(data, v))
}

// member is a member of an object that a caller of [decodeMembers] knows. value points to where its JSON goes.
type member struct {
	name  string
	value *json.RawMessage
}

// decodeMembers reads an object by the rules of [DecodeStrict] and hands out the values of known members undecoded and
// uncopied. It is for what every request has, where decoding by reflection would cost four times as much.
func decodeMembers(data []byte, known []member) error {
	s, err := newScanner(data)
	if err != nil {
		return err
	}
	if s.peek() != '{' {
		return problem.New(problem.Malformed, "the JSON must be an object")
	}
	return s.members(func(name []byte, at int) error {
		var into *json.RawMessage
		for _, m := range known {
			if string(name) == m.name {
				into = m.value
				break
			}
			if err := distinct(name, at, m.name); err != nil {
				return err
			}
		}
		s.peek()
		start := s.pos
		if err := s.value(nil, 1); err != nil {
			return err
		}
		if into != nil {
			*into = s.data[start:s.pos]
		}
		return nil
	})
}

// newScanner judges a document as a whole: its encoding, its syntax, and that it is not null.
func newScanner(data []byte) (*scanner, error) {
	// RFC 8259, 8.1. encoding/json would put the same replacement character for every bad octet.
	if !utf8.Valid(data) {
		return nil, problem.New(problem.Malformed, "the JSON is not UTF-8")
	}
	if !json.Valid(data) {
		return nil, syntaxProblem(data)
	}
	s := &scanner{data: data}
	if s.peek() == 'n' {
		return nil, problem.New(problem.Malformed, "the JSON must not be null")
	}
	return s, nil
}

func syntaxProblem(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem.Wrap(err, problem.Malformed, "the JSON is not valid at byte %d: %v", syntax.Offset, syntax)
	}
	return problem.Wrap(err, problem.Malformed, "the JSON is not valid")
}

// decodeProblem says what did not fit. Values are not repeated: they may be long or private.
func decodeProblem(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p
	}
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return err
	}
	mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok && mismatch.Field != "":
		return problem.Wrap(err, problem.Malformed, "%q cannot be read from this kind of JSON value", mismatch.Field)
	case ok:
		return problem.Wrap(err, problem.Malformed, "the JSON must be of another kind: an object where an array or a plain value is, or the reverse")
	}
	return problem.Wrap(err, problem.Malformed, "a value in the JSON has the wrong form")
}

// quote shows a name or value that a client sent, cut to a length that is fit for an answer and a log.
func quote(text string) string {
	const limit = 64
	if len(text) <= limit {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q…", text[:limit])
}

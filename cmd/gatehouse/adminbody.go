package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxBodyDepth is how deep values of a request may lie in each other, far more than any command sends.
const maxBodyDepth = 16

// readBody decodes a command's request into a struct, strictly: one object in UTF-8, each member once, under its exact name, and
// none that the struct does not have. The error is a Malformed and names the member.
func readBody(r *http.Request, into any) error {
	body, err := wholeBody(r)
	if err != nil {
		return err
	}
	return decodeBody(body, into)
}

// noBody refuses a request with a body, where nothing would read it: whoever sent it meant something by it.
func noBody(r *http.Request) error {
	body, err := wholeBody(r)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	return decodeBody(body, &struct{}{})
}

func wholeBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, problem.Wrap(err, problem.Malformed, "the body has more than %d octets, which is as much as the gateway takes here", tooLarge.Limit)
	}
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "the body could not be read: %v", err)
	}
	return body, nil
}

func decodeBody(body []byte, into any) error {
	switch i := badUTF8(body); {
	case len(bytes.TrimSpace(body)) == 0:
		return problem.New(problem.Malformed, "the body is missing; give an object with the members %s", memberList(into))
	case i >= 0:
		return problem.New(problem.Malformed, "the body is not UTF-8: octet %d", i+1)
	}
	if err := checkMembers(body); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return problem.Wrap(err, problem.Malformed, "the body is no object; give one with the members %s", memberList(into))
	}
	known := memberNames(into)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if !slices.Contains(known, name) {
			return problem.New(problem.Malformed, "the body has a member %q, which there is not here; there are %s. Are gateway and command of one version?", name, memberList(into))
		}
		// Each by itself, so that whatever its type says of it is known to be about this one.
		one, err := json.Marshal(map[string]json.RawMessage{name: value})
		if err != nil {
			return problem.Wrap(err, problem.Malformed, "%s cannot be read: %v", name, err)
		}
		d := json.NewDecoder(bytes.NewReader(one))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			return memberError(name, err)
		}
	}
	return nil
}

// memberError says what is wrong with the value of a member.
func memberError(name string, err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field != "" {
			name = wrong.Field
		}
		return problem.Wrap(err, problem.Malformed, "%s cannot be a JSON %s; give %s", name, wrong.Value, inJSON(wrong.Type))
	}
	if inner, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return problem.Wrap(err, problem.Malformed, "%s has a member %s, which there is not here. Are gateway and command of one version?", name, inner)
	}
	return problem.Wrap(err, problem.Malformed, "%s cannot be read: %v", name, err)
}

// inJSON is what a Go type is in JSON, for a person.
func inJSON(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "octets as text in base64"
		}
		return "a list, whose members are " + inJSON(t.Elem())
	default:
		return "an object"
	}
}

// memberNames are the members that a struct has in JSON.
func memberNames(into any) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(into).Elem()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func memberList(into any) string {
	names := memberNames(into)
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// badUTF8 is where a text stops being UTF-8; -1 if it is that to its end.
func badUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// checkMembers demands one JSON value, not too deep, of whose objects none has a member twice: of two, readers choose
// differently (RFC 8259, 4).
func checkMembers(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := checkValue(d, 1, "the body"); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return problem.New(problem.Malformed, "the body holds more than one value")
	}
	return nil
}

func checkValue(d *json.Decoder, depth int, where string) error {
	t, err := d.Token()
	if err != nil {
		return notJSON(err)
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxBodyDepth {
		return problem.New(problem.Malformed, "%s holds values that lie deeper than %d in each other", where, maxBodyDepth)
	}
	for seen := map[string]bool{}; d.More(); {
		inside := where
		if open == '{' {
			if t, err = d.Token(); err != nil {
				return notJSON(err)
			}
			name, _ := t.(string)
			if inside = name; seen[name] {
				return problem.New(problem.Malformed, "%s has the member %q twice", where, name)
			}
			seen[name] = true
		}
		if err := checkValue(d, depth+1, inside); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // its end
		return notJSON(err)
	}
	return nil
}

func notJSON(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return problem.Wrap(err, problem.Malformed, "the body ends in the middle of its JSON")
	}
	return problem.Wrap(err, problem.Malformed, "the body is no JSON: %v", err)
}

package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// maxDepth is how deep arrays and objects may stand in one another.
	maxDepth = 16
	// maxValues is how many values a body may have, so that one of many small ones costs no more memory than its size suggests.
	maxValues = 100_000
)

// ReadObject reads a body that is one JSON object. Media types are not looked at: clients that send JSON call it all sorts of
// things. The error is TooLarge or Malformed, with ErrBody in its chain.
func ReadObject(r *http.Request, limit int64) (*Object, error) {
	v, _, err := readValue(r, limit)
	if err != nil {
		return nil, err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, unreadable("the body is not a JSON object")
	}
	return newObject("", members, new(error)), nil
}

// ReadOptional is ReadObject of a body that may be left out. None, null and "" are an object without members.
func ReadOptional(r *http.Request, limit int64) (*Object, error) {
	v, empty, err := readValue(r, limit)
	switch {
	case empty || err == nil && (v == nil || v == ""):
		return newObject("", nil, new(error)), nil
	case err != nil:
		return nil, err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, unreadable("the body is not a JSON object")
	}
	return newObject("", members, new(error)), nil
}

// ReadList reads a body that is a JSON array of 1 to most objects. Each has an error of its own.
func ReadList(r *http.Request, limit int64, most int) ([]*Object, error) {
	v, _, err := readValue(r, limit)
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if !ok {
		return nil, unreadable("the body is not a JSON array")
	}
	if len(items) == 0 || len(items) > most {
		return nil, problem.Wrap(ErrValue, problem.Malformed, "the body has %d items; send 1 to %d", len(items), most)
	}
	var list []*Object
	for _, item := range items {
		members, ok := item.(map[string]any)
		if !ok {
			return nil, unreadable("an item of the body is not a JSON object")
		}
		list = append(list, newObject("", members, new(error)))
	}
	return list, nil
}

// ReadForm reads a body of media type application/x-www-form-urlencoded. A name that stands there twice is refused.
func ReadForm(r *http.Request, limit int64) (url.Values, error) {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded") {
		return nil, problem.Wrap(ErrBody, problem.UnsupportedMedia, "send a form, of media type application/x-www-form-urlencoded")
	}
	body, err := readAll(r, limit)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !utf8.Valid(body) {
		return nil, unreadable("the body is not a form in UTF-8")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, unreadable("the form has %q more than once", shorten(name))
		}
	}
	return form, nil
}

func readAll(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if err := asItIs(r); err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, problem.Wrap(ErrBody, problem.TooLarge, "the body is larger than %d octets", limit)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	var tooLarge *http.MaxBytesError
	switch {
	case int64(len(body)) > limit, errors.As(err, &tooLarge):
		return nil, problem.Wrap(ErrBody, problem.TooLarge, "the body is larger than %d octets", limit)
	case err != nil:
		return nil, problem.Wrap(errors.Join(ErrBody, err), problem.Malformed, "the body did not come whole")
	}
	return body, nil
}

// asItIs refuses a body that is compressed: what comes of it would be without a bound.
func asItIs(r *http.Request) error {
	for _, coding := range r.Header.Values("Content-Encoding") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return problem.Wrap(ErrBody, problem.UnsupportedMedia, "the body has a Content-Encoding; send it as it is")
		}
	}
	return nil
}

// readValue reads one JSON value. empty says that there is nothing but blanks, which is an error as well.
func readValue(r *http.Request, limit int64) (v any, empty bool, err error) {
	body, err := readAll(r, limit)
	if err != nil {
		return nil, false, err
	}
	if !utf8.Valid(body) {
		return nil, false, unreadable("the body is not UTF-8")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, true, unreadable("there is no body; send JSON")
	}
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(body))}
	d.UseNumber()
	if v, err = d.value(0); err != nil {
		return nil, false, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, false, unreadable("something follows the JSON value of the body")
	}
	return v, false, nil
}

// decoder reads values token by token, because encoding/json lets the last of two equal members win.
type decoder struct {
	*json.Decoder
	values int
}

func (d *decoder) value(depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, unreadable("the body has more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, unreadable("the body is nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, unreadable("the body is not JSON: at octet %d", d.InputOffset())
	}
	switch token {
	case json.Delim('{'):
		return d.object(depth)
	case json.Delim('['):
		return d.array(depth)
	}
	return token, nil
}

func (d *decoder) object(depth int) (any, error) {
	members := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, unreadable("the body is not JSON: at octet %d", d.InputOffset())
		}
		if _, twice := members[name]; twice {
			return nil, unreadable("the body has the member %q twice in one object", shorten(name))
		}
		if members[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return members, d.end()
}

func (d *decoder) array(depth int) (any, error) {
	items := []any{}
	for d.More() {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, d.end()
}

func (d *decoder) end() error {
	if _, err := d.Token(); err != nil {
		return unreadable("the body is not JSON: at octet %d", d.InputOffset())
	}
	return nil
}

func unreadable(format string, args ...any) error {
	return problem.Wrap(ErrBody, problem.Malformed, format, args...)
}

// shorten keeps a client's name for something from filling an error.
func shorten(name string) string {
	const most = 64
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}

package jws

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/problem"
)

type inner struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type shared struct {
	Common string `json:"common"`
}

type own struct{ text string }

func (o *own) UnmarshalJSON(data []byte) error {
	if string(data) == `"refuse"` {
		return problem.New(problem.UnsupportedContact, "not this one")
	}
	if string(data) == `"fail"` {
		return errors.New("secret inside")
	}
	o.text = string(data)
	return nil
}

type outer struct {
	shared
	Names   []inner           `json:"names"`
	One     *inner            `json:"one"`
	ByName  map[string]inner  `json:"byName"`
	Free    any               `json:"free"`
	Raw     json.RawMessage   `json:"raw"`
	Own     own               `json:"own"`
	Time    time.Time         `json:"time"`
	Labels  map[string]string `json:"labels"`
	Count   int               `json:"count"`
	Skipped string            `json:"-"`
	Plain   bool
}

func TestDecodeStrict(t *testing.T) {
	const good = ` { "common":"c", "names":[{"kind":"dns","value":"a"},{"kind":"dns","value":"b"}] , "one":{"value":"x","more":[]},
		"byName":{"k":{"kind":"q"}}, "free":{"A":{"b":[1,-2.5e+3,"\"}{\\",true,false,null]}}, "raw":{"Kind":1}, "own":{"KIND":1,"x":[]},
		"time":"2026-01-02T03:04:05Z", "labels":{"a":"1","b":"2"}, "count":7, "Plain":true, "unknown":{"x":{},"y":[[],{}]}, "names2":null } `
	var v outer
	if err := DecodeStrict([]byte(good), &v); err != nil {
		t.Fatal(err)
	}
	if v.Common != "c" || len(v.Names) != 2 || v.Names[1].Value != "b" || v.One.Value != "x" || v.ByName["k"].Kind != "q" ||
		string(v.Raw) != `{"Kind":1}` || v.Own.text != `{"KIND":1,"x":[]}` || v.Time.Year() != 2026 || v.Labels["b"] != "2" || v.Count != 7 || !v.Plain {
		t.Errorf("decoded %+v", v)
	}
	var free any
	if err := DecodeStrict([]byte(` [1] `), &free); err != nil || len(free.([]any)) != 1 {
		t.Errorf("%v, %v", free, err)
	}
	var number int
	if err := DecodeStrict([]byte("42"), &number); err != nil || number != 42 {
		t.Errorf("%v, %v", number, err)
	}
}

func TestDecodeStrictRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	tests := []struct{ name, data, detail string }{
		{"repeated", `{"count":1,"count":1}`, `"count" at byte 11 was there before`},
		{"repeated with an escape", `{"count":1,"c\u006funt":1}`, "was there before"},
		{"repeated, unknown", `{"x":1,"x":1}`, "was there before"},
		{"empty names", `{"":1,"":2}`, "was there before"},
		{"case-variant, unknown", `{"x":1,"X":1}`, `"X" at byte 7 was there before`},
		{"case-variant of a field", `{"Count":1}`, `"Count" at byte 1 must be written "count"`},
		{"case-variant of an untagged field", `{"plain":1}`, `must be written "Plain"`},
		{"case-variant by long s", "{\"name\u017f\":[]}", `must be written "names"`},
		{"case-variant of a promoted field", `{"COMMON":1}`, `must be written "common"`},
		{"in an array", `{"names":[{"kind":"a"},{"Kind":"a"}]}`, `must be written "kind"`},
		{"behind a pointer", `{"one":{"KIND":"a"}}`, `must be written "kind"`},
		{"in a map of structs", `{"byName":{"k":{"KIND":"a"}}}`, `must be written "kind"`},
		{"names of a map", `{"labels":{"a":"1","A":"2"}}`, "was there before"},
		{"names of a free value", `{"free":{"a":1,"A":2}}`, "was there before"},
		{"names in a raw message", `{"raw":[{"a":1,"a":2}]}`, "was there before"},
		{"names in a type that decodes itself", `{"own":{"a":1,"a":2}}`, "was there before"},
		{"names in an unknown member", `{"q":[0,{"a":{"b":1,"b":2}}]}`, "was there before"},
		{"null", ` null `, "must not be null"},
		{"nothing", ``, "not valid"},
		{"white space", ` `, "not valid"},
		{"trailing object", `{}{}`, "not valid at byte 3"},
		{"trailing comma", `{"count":1,}`, "not valid at byte"},
		{"comment", `{}//x`, "not valid at byte"},
		{"byte order mark", "\ufeff{}", "not valid at byte"},
		{"not UTF-8 in a name", "{\"\xc0\":1}", "UTF-8"},
		{"not UTF-8 in a value", "{\"x\":\"\xed\xa0\x80\"}", "UTF-8"},
		{"too deep", `{"q":` + deep(MaxDepth) + `}`, "nests deeper than 16"},
		{"far too deep", deep(100_000), ""},
		{"wrong type", `{"count":"1"}`, `"count" cannot be read`},
		{"wrong type inside", `{"one":{"kind":1}}`, `"one.kind" cannot be read`},
		{"number too large", `{"count":1e99}`, `"count" cannot be read`},
		{"array for an object", `[]`, "another kind"},
		{"bad time", `{"time":"yesterday"}`, "wrong form"},
		{"a type's own failure", `{"own":"fail"}`, "wrong form"},
		{"long name is cut", `{"` + strings.Repeat("x", 9999) + `":1,"` + strings.Repeat("x", 9999) + `":1}`, `member "` + strings.Repeat("x", 64) + `"… at`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v outer
			err := DecodeStrict([]byte(tt.data), &v)
			refused(t, err, problem.Malformed, tt.detail)
			if strings.Contains(problem.From(err).Detail, "secret") || len(problem.From(err).Detail) > 300 {
				t.Errorf("detail %q", problem.From(err).Detail)
			}
		})
	}
}

func TestDecodeStrictNestsToTheLimit(t *testing.T) {
	var v any
	data := strings.Repeat(`{"a":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth)
	if err := DecodeStrict([]byte(data), &v); err != nil {
		t.Error(err)
	}
}

// A problem that a type's own decoder found reaches the client as it is.
func TestDecodeStrictKeepsProblems(t *testing.T) {
	var v outer
	refused(t, DecodeStrict([]byte(`{"own":"refuse"}`), &v), problem.UnsupportedContact, "not this one")
}

func TestDecodeStrictWithTheWrongArgument(t *testing.T) {
	for _, v := range []any{nil, outer{}, (*outer)(nil)} {
		if err := DecodeStrict([]byte(`{}`), v); problem.From(err) == nil || problem.From(err).Kind != problem.Internal {
			t.Errorf("%T: %v", v, err)
		}
	}
}

type loop struct {
	*loop        //lint:ignore U1000 the embedding itself is what is tested
	Name  string `json:"name"`
}

func TestDecodeStrictWithATypeThatEmbedsItself(t *testing.T) {
	var v loop
	refused(t, DecodeStrict([]byte(`{"NAME":"x"}`), &v), problem.Malformed, `must be written "name"`)
}

// fold must make equal whatever encoding/json would take for the same name, rune by rune.
func TestFoldIsThatOfEncodingJSON(t *testing.T) {
	for r := rune(0); r <= 0x1ffff; r++ { // no case beyond
		if 0xd800 <= r && r <= 0xdfff {
			continue
		}
		if next := unicode.SimpleFold(r); fold(string(r)) != fold(string(next)) {
			t.Fatalf("%q and %q fold apart", r, next)
		}
		if folded := fold(string(r)); !strings.EqualFold(folded, string(r)) {
			t.Fatalf("%q folds to %q, which is another name", r, folded)
		}
	}
	for _, name := range []string{"skip", "SKIP", "\u017fkip", "s\u212aip", "skıp", "skíp"} {
		var v struct {
			Skip int `json:"skip"`
		}
		if err := json.Unmarshal(fmt.Appendf(nil, `{%q:1}`, name), &v); err != nil {
			t.Fatal(err)
		}
		if same := fold(name) == fold("skip"); same != (v.Skip == 1) {
			t.Errorf("%q: fold says %v, encoding/json %v", name, same, v.Skip == 1)
		}
	}
}

// An object with more names than are compared one by one is judged by the same rule.
func TestDecodeStrictWithManyNames(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `"Name%d":%d,`, i, i)
	}
	var v map[string]int
	if err := DecodeStrict([]byte("{"+b.String()+`"last":1}`), &v); err != nil || len(v) != 5001 {
		t.Fatalf("%d names, %v", len(v), err)
	}
	for _, i := range []int{0, 7, 8, 9, 4999} {
		for _, name := range []string{"Name", "nAME"} {
			refused(t, DecodeStrict(fmt.Appendf(nil, `{%s"%s%d":1}`, b.String(), name, i), &v), problem.Malformed, "was there before")
		}
	}
}

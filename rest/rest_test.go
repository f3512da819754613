package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func request(body string) *http.Request {
	return httptest.NewRequest("POST", "/", strings.NewReader(body))
}

func TestReadObjectRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": "", "blanks": " \n", "no JSON": "{", "no value": `{"a":}`, "no object": "[]", "a string": `"x"`, "null": "null", "two values": "{} {}", "a member twice": `{"a":1,"a":2}`,
		"a member twice within": `{"a":[{"b":1,"b":1}]}`, "a member twice by escapes": `{"a":1,"\u0061":2}`, "no UTF-8": "{\"a\":\"\xff\"}", "too deep": strings.Repeat(`{"a":`, 18) + "1" + strings.Repeat("}", 18),
		"too deep in arrays": `{"a":` + strings.Repeat("[", 18) + strings.Repeat("]", 18) + "}", "a comma at the end": `{"a":1,}`, "unfinished": `{"a":[1`, "too many values": `{"a":[` + strings.Repeat("1,", maxValues) + "1]}",
	} {
		_, err := ReadObject(request(body), 1<<20)
		if !problem.Is(err, problem.Malformed) || !errors.Is(err, ErrBody) || problem.From(err).Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := ReadObject(request(`{"a":"`+strings.Repeat("x", 100)+`"}`), 100)
	if !problem.Is(err, problem.TooLarge) || !errors.Is(err, ErrBody) {
		t.Errorf("too large: %v", err)
	}
	if _, err := ReadObject(request(`{"a":`+strings.Repeat("[", 15)+strings.Repeat("]", 15)+"}"), 100); err != nil {
		t.Errorf("as deep as can be: %v", err)
	}
}

func TestReadOptional(t *testing.T) {
	for _, body := range []string{"", " ", `""`, "null", "{}"} {
		if o, err := ReadOptional(request(body), 100); err != nil || o.Has("csr") || o.Text("csr", 10) != "" || o.Err() != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
	for _, body := range []string{`"x"`, "[]", "1", "false", "{"} {
		if _, err := ReadOptional(request(body), 100); !errors.Is(err, ErrBody) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestReadList(t *testing.T) {
	list, err := ReadList(request(`[{"a":1},{"a":"x"}]`), 100, 2)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if list[0].Int("a", 0, 9) != 1 || list[0].Err() != nil {
		t.Error("the first is wrong")
	}
	list[1].Int("a", 0, 9)
	if list[1].Err() == nil || list[0].Err() != nil {
		t.Error("errors are not an item's own")
	}
	for _, body := range []string{"[]", "{}", "[1]", "[{},{},{}]", ""} {
		if _, err := ReadList(request(body), 100, 2); !problem.Is(err, problem.Malformed) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestMembers: each type takes what it should and names what it refuses.
func TestMembers(t *testing.T) {
	const body = `{"text":"héllo","number":7,"string":" 12 ","float":3e2,"half":0.5,"huge":1e400,"yes":true,"word":"False","null":null,"empty":"","blank":" \n",
		"list":["a","b"],"mixed":["a",1],"commas":"a, b,,c ","object":{"in":"x","bad":{}},"objects":[{"name":"n"},{"name":7}],"texts":{"k":"v"},"unknown":[[1]],"numbers":[3,"4"]}`
	for name, tt := range map[string]struct {
		read  func(o *Object) bool
		wrong string // how the error begins; empty: there is none
		cause error
	}{
		"text":             {func(o *Object) bool { return o.Text("text", 5) == "héllo" }, "", nil},
		"text too long":    {func(o *Object) bool { return o.Text("text", 4) == "" }, "text: it has more than 4", ErrValue},
		"no text":          {func(o *Object) bool { return o.Text("number", 4) == "" }, "number: it is no string", ErrValue},
		"absent text":      {func(o *Object) bool { return o.Text("absent", 4) == "" && !o.Has("absent") }, "", nil},
		"null":             {func(o *Object) bool { return o.Text("null", 4) == "" && !o.Has("null") && o.Has("empty") }, "", nil},
		"case":             {func(o *Object) bool { return o.Text("Text", 9) == "" }, "", nil},
		"number":           {func(o *Object) bool { return o.Int("number", 1, 7) == 7 }, "", nil},
		"number in string": {func(o *Object) bool { return o.Int("string", 1, 12) == 12 }, "", nil},
		"whole float":      {func(o *Object) bool { return o.Int("float", 1, 300) == 300 }, "", nil},
		"half":             {func(o *Object) bool { return o.Int("half", 0, 300) == 0 }, "half: it is no whole number", ErrValue},
		"huge":             {func(o *Object) bool { return o.Int("huge", 0, 300) == 0 }, "huge: it is no whole number", ErrValue},
		"too small":        {func(o *Object) bool { return o.Int("number", 8, 9) == 0 }, "number: it is not from 8 to 9", ErrValue},
		"no number":        {func(o *Object) bool { return o.Int("yes", 0, 9) == 0 }, "yes: it is no number", ErrValue},
		"empty number":     {func(o *Object) bool { return o.Int("empty", 0, 9) == 0 }, "empty: it is no whole number", ErrValue},
		"bool":             {func(o *Object) bool { return o.Bool("yes") && !o.Bool("word") && !o.Bool("absent") }, "", nil},
		"no bool":          {func(o *Object) bool { return !o.Bool("number") }, "number: it is neither", ErrValue},
		"list":             {func(o *Object) bool { return len(o.Texts("list", 2, 1)) == 2 }, "", nil},
		"list too long":    {func(o *Object) bool { return o.Texts("list", 1, 1) == nil }, "list: it has more than 1 items", ErrValue},
		"mixed list":       {func(o *Object) bool { return o.Texts("mixed", 9, 9) == nil }, "mixed[1]: it is no string", ErrValue},
		"no list":          {func(o *Object) bool { return o.Texts("text", 9, 9) == nil }, "text: it is no array", ErrValue},
		"numbers":          {func(o *Object) bool { return slices.Equal(o.Ints("numbers", 2, 3, 4), []int64{3, 4}) }, "", nil},
		"absent numbers":   {func(o *Object) bool { return o.Ints("absent", 2, 3, 4) == nil }, "", nil},
		"too many numbers": {func(o *Object) bool { return o.Ints("numbers", 1, 3, 4) == nil }, "numbers: it has more than 1 items", ErrValue},
		"a small number":   {func(o *Object) bool { o.Ints("numbers", 2, 4, 4); return true }, "numbers[0]: it is not from 4 to 4", ErrValue},
		"mixed numbers":    {func(o *Object) bool { o.Ints("mixed", 2, 0, 9); return true }, "mixed[0]: it is no whole number", ErrValue},
		"commas":           {func(o *Object) bool { return strings.Join(o.TextsOrText("commas", ",", 9, 9), "|") == "a|b|c" }, "", nil},
		"list for commas":  {func(o *Object) bool { return len(o.TextsOrText("list", ",", 9, 9)) == 2 }, "", nil},
		"too many commas":  {func(o *Object) bool { return o.TextsOrText("commas", ",", 2, 9) == nil }, "commas: it has more than 2 parts", ErrValue},
		"object": {func(o *Object) bool {
			return o.Object("object").Text("in", 9) == "x" && o.Object("absent").Text("in", 9) == ""
		}, "", nil},
		"within an object": {func(o *Object) bool { o.Object("object").Text("bad", 9); return true }, "object.bad: it is no string", ErrValue},
		"no object":        {func(o *Object) bool { o.Object("list"); return true }, "list: it is no object", ErrValue},
		"objects": {func(o *Object) bool {
			list := o.Objects("objects", 2)
			return list[0].Text("name", 9) == "n" && list[1].Text("name", 9) == ""
		}, "objects[1].name: it is no string", ErrValue},
		"no objects":      {func(o *Object) bool { return o.Objects("list", 2) == nil }, "list[0]: it is no object", ErrValue},
		"texts":           {func(o *Object) bool { return o.TextMap("texts", 1)["k"] == "v" && o.TextMap("absent", 1) == nil }, "", nil},
		"no texts":        {func(o *Object) bool { return o.TextMap("object", 9) == nil }, `object: its member "bad" is no string`, ErrValue},
		"too many texts":  {func(o *Object) bool { return o.TextMap("object", 1) == nil }, "object: it has more than 1 members", ErrValue},
		"required":        {func(o *Object) bool { o.Require("text", "number", "list"); return true }, "", nil},
		"required null":   {func(o *Object) bool { o.Require("text", "null"); return true }, "null is missing", ErrMissing},
		"required empty":  {func(o *Object) bool { o.Require("empty"); return true }, "empty is missing", ErrMissing},
		"required blank":  {func(o *Object) bool { o.Require("blank"); return true }, "blank is missing", ErrMissing},
		"the first error": {func(o *Object) bool { o.Require("absent"); o.Text("number", 1); return true }, "absent is missing", ErrMissing},
		"the dialect's":   {func(o *Object) bool { o.Refuse("text", "not %d%%", 5); o.Require("absent"); return true }, "text: not 5%", ErrValue},
	} {
		o, err := ReadObject(request(body), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		if !tt.read(o) {
			t.Errorf("%s: it is read as something else", name)
		}
		switch err := o.Err(); {
		case (err == nil) != (tt.wrong == ""):
			t.Errorf("%s: %v", name, err)
		case err != nil && (!strings.HasPrefix(problem.From(err).Detail, tt.wrong) || !errors.Is(err, tt.cause) || !problem.Is(err, problem.Malformed)):
			t.Errorf("%s: %v, want %q", name, err, tt.wrong)
		}
	}
}

func TestReadForm(t *testing.T) {
	form := func(media, body string) (url.Values, error) {
		r := request(body)
		r.Header.Set("Content-Type", media)
		return ReadForm(r, 100)
	}
	if v, err := form("Application/x-www-form-urlencoded; charset=UTF-8", "a=1&b=%2B"); err != nil || v.Get("b") != "+" {
		t.Errorf("%v, %v", v, err)
	}
	for name, in := range map[string][2]string{
		"media": {"application/json", "a=1"}, "twice": {"application/x-www-form-urlencoded", "a=1&a=1"}, "escape": {"application/x-www-form-urlencoded", "a=%zz"},
		"large": {"application/x-www-form-urlencoded", strings.Repeat("a", 101)}, "semicolon": {"application/x-www-form-urlencoded", "a=1;b=2"},
	} {
		if _, err := form(in[0], in[1]); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParsePage(t *testing.T) {
	for query, want := range map[string]Page{
		"": {0, 200}, "size=0": {0, 200}, "size=&position=": {0, 200}, "position=-1&size=1": {0, 1}, "position=5&size=200": {5, 200},
	} {
		q, _ := url.ParseQuery(query)
		if got, err := ParsePage(q, 200); err != nil || got != want {
			t.Errorf("%q: %+v, %v", query, got, err)
		}
	}
	for _, query := range []string{"size=201", "size=-1", "size=x", "position=-2", "position=2147483648", "position=1.5"} {
		q, _ := url.ParseQuery(query)
		if _, err := ParsePage(q, 200); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v", query, err)
		}
	}
}

func TestTable(t *testing.T) {
	table, err := NewTable([]Route[string]{
		{"GET", "/", "list"}, {"GET", "/{id}", "one"}, {"DELETE", "/{id}", "remove"}, {"POST", "/enroll", "enroll"}, {"GET", "/{id}/dcv", "dcv"}, {"GET", "/collect/{id}", "collect"},
		{"POST", "/renew/{secret}", "renew"}, {"POST", "/renew/manual/{id}", "manual"}, {"POST", "/revoke/manual", "revoke manual"}, {"POST", "/revoke/{id}", "revoke"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"GET ": "list", "GET /": "list", "GET /7": "one", "GET /7/": "one", "DELETE /7": "remove", "GET /7/dcv": "dcv", "GET /collect/7": "collect", "GET /collect/dcv": "collect",
		"POST /renew/x": "renew", "POST /renew/manual": "renew", "POST /renew/manual/7": "manual", "POST /revoke/manual": "revoke manual", "POST /revoke/7": "revoke", "GET /a%2Fb": "one",
		// The pattern that fits alone counts, whatever its methods.
		"GET /enroll": "", "DELETE /enroll": "", "POST /7": "", "GET /revoke/manual": "",
		"GET //7": "", "GET /7//": "", "GET /7/8": "", "GET /%zz": "", "GET /7/dcv/more": "",
	} {
		method, path, _ := strings.Cut(in, " ")
		found, allowed, ok := table.Find(method, path)
		if ok != (want != "") || found.Route.Handle != want {
			t.Errorf("%s: %q, %v, %t, want %q", in, found.Route.Handle, allowed, ok, want)
		}
	}
	if found, _, _ := table.Find("GET", "/a%2Fb"); found.Parameters["id"] != "a/b" {
		t.Errorf("%v", found.Parameters)
	}
	if _, allowed, _ := table.Find("PUT", "/7"); len(allowed) != 2 {
		t.Errorf("allowed are %v", allowed)
	}
	if _, allowed, _ := table.Find("GET", "/enroll"); len(allowed) != 1 || allowed[0] != "POST" {
		t.Errorf("allowed are %v", allowed)
	}
	if _, err := NewTable([]Route[string]{{"GET", "/{a}/x", ""}, {"GET", "/{b}/x", ""}}); err == nil {
		t.Error("two routes take the same paths")
	}
}

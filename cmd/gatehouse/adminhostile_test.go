package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever comes in at the operator's socket: each route of adminRoutes is tried, also one that is added tomorrow. What is
// refused is refused in the socket's own form, with a text that names what is wrong, and has changed nothing.

// wantRefusal demands a refusal in the socket's own form.
func wantRefusal(t *testing.T, what string, a *httptest.ResponseRecorder) adminError {
	t.Helper()
	var e adminError
	if err := json.Unmarshal(a.Body.Bytes(), &e); err != nil || a.Code < 400 || a.Code >= 500 || e.Kind == "" || len(e.Detail) < 10 || !utf8.ValidString(e.Detail) {
		t.Errorf("%s: status %d, %.200q", what, a.Code, a.Body)
	}
	return e
}

// unchanged demands that nothing was committed and nothing journaled by f.
func (w *adminWorld) unchanged(t *testing.T, what string, f func()) {
	t.Helper()
	commits, entries := w.commits.Load(), w.journaled()
	f()
	if n := w.commits.Load() - commits; n != 0 || w.journaled() != entries {
		t.Errorf("%s: there were %d commits, and the journal has %v after %v", what, n, w.journaled(), entries)
	}
}

// socketPath is a pattern's path with objects that there are; with one part replaced if that is not negative.
func (w *adminWorld) socketPath(pattern string, replaced int, by string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		switch {
		case !strings.HasPrefix(p, "{"):
		case i == replaced:
			parts[i] = by
		case w.objects[p] != "":
			parts[i] = w.objects[p]
		case i > 0 && w.objects[parts[i-1]] != "":
			parts[i] = w.objects[parts[i-1]]
		default:
			parts[i] = "1"
		}
	}
	return method, "/" + strings.Join(parts, "/")
}

func TestSocketRefusesHostilePaths(t *testing.T) {
	t.Parallel()
	w := newAdminWorld(t)
	hostile := []string{
		"0", "-1", "2147483646", "2147483648", "9223372036854775808", "1e3", "0x1", "%20", "%00", "a%00b", "%FF%FE", "..%2F..%2Fmeta", "%2F", "*", "user:0",
		"user:-1", "user:99999999999", "ghk_", "%27%22%3C%3E", "%C3%BC", "xn--", strings.Repeat("a", 4000), strings.Repeat("ab.", 2000) + "com",
	}
	for _, route := range adminRoutes() {
		for i, part := range strings.Split(strings.TrimPrefix(route.pattern[strings.IndexByte(route.pattern, '/'):], "/"), "/") {
			if !strings.HasPrefix(part, "{") {
				continue
			}
			own := ""
			_, good := w.socketPath(route.pattern, -1, "")
			own = strings.Split(good, "/")[i+1]
			list := slices.Clone(hostile)
			for _, other := range slices.Sorted(maps.Values(w.objects)) { // another kind's; dev is an organisation, too
				if other != own && other != "dev" && !(part == "{id}" && regexp.MustCompile(`^\d+$`).MatchString(other)) {
					list = append(list, url.PathEscape(other))
				}
			}
			for _, bad := range list {
				method, path := w.socketPath(route.pattern, i, bad)
				body := ""
				if method == "POST" {
					body = "{}"
				}
				what := fmt.Sprintf("%s with %.60s", route.pattern, bad)
				w.unchanged(t, what, func() { wantRefusal(t, what, w.send(method, path, body)) })
			}
		}
	}
	for _, absent := range []string{"GET /", "GET /nothing", "DELETE /organisations", "PUT /organisations/sales", "POST /enrollments"} {
		method, path, _ := strings.Cut(absent, " ")
		wantRefusal(t, absent, w.send(method, path, ""))
	}
}

// TestSocketSurvivesHostileQueries: with each word that any route reads from its query.
func TestSocketSurvivesHostileQueries(t *testing.T) {
	t.Parallel()
	w := newAdminWorld(t)
	files, err := filepath.Glob("*.go")
	must(t, err)
	words := map[string]bool{"limit": true, "offset": true, "after": true, "org": true, "from": true, "to": true}
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(t, err)
		for _, m := range regexp.MustCompile(`\.Get\("(\w+)"\)`).FindAllSubmatch(text, -1) {
			words[string(m[1])] = true
		}
	}
	values := []string{"-1", "0", "1001", "2147483648", "99999999999999999999", "1.5", "abc", "%00", "%FF", "%", "a%20b", "2027-13-01T00:00:00Z", "....", "user:0", strings.Repeat("x", 5000)}
	for _, route := range adminRoutes() {
		method, path := w.socketPath(route.pattern, -1, "")
		if method != "GET" {
			continue
		}
		for word := range words {
			for _, v := range values {
				what := fmt.Sprintf("%s?%s=%.40s", route.pattern, word, v)
				w.unchanged(t, what, func() {
					if a := w.send(method, path+"?"+word+"="+v, ""); a.Code != 200 {
						wantRefusal(t, what, a)
					}
				})
			}
		}
	}
}

// hostileBodies are no request anywhere; MEMBER stands for one that the route has.
func hostileBodies() map[string]string {
	return map[string]string{
		"a list":                  `[]`,
		"null":                    `null`,
		"text":                    `"MEMBER"`,
		"a number":                `1`,
		"begun":                   `{`,
		"a name":                  `{"MEMBER"`,
		"no value":                `{"MEMBER":`,
		"no end":                  `{"MEMBER": null`,
		"half a text":             `{"MEMBER": "x`,
		"no JSON":                 `slug=sales`,
		"two values":              `{} {}`,
		"more behind":             `{} x`,
		"twice":                   `{"MEMBER": null, "MEMBER": null}`,
		"unknown":                 `{"nothing": 1}`,
		"the name in capitals":    `{"MEMBERX": null}`,
		"deep":                    `{"MEMBER": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
		"deep without an end":     `{"MEMBER": ` + strings.Repeat("[", 60000),
		"deep objects":            `{"MEMBER": ` + strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000) + `}`,
		"no UTF-8":                "{\"MEMBER\": \"\xff\"}",
		"no UTF-8 in a name":      "{\"\xc3\x28\": 1}",
		"NUL":                     "{\"MEMBER\": \"a\x00b\"}",
		"a byte order mark":       "\xef\xbb\xbf{}",
		"a comment":               `{} // nothing`,
		"a comma at the end":      `{"MEMBER": null,}`,
		"numbers that are none":   `{"MEMBER": NaN}`,
		"an unfinished surrogate": `{"MEMBER": "\ud8"}`,
	}
}

// membersOf are the members that a POST route has, which it tells whoever gives another.
func (w *adminWorld) membersOf(t *testing.T, pattern string) []string {
	t.Helper()
	method, path := w.socketPath(pattern, -1, "")
	e := wantRefusal(t, pattern+" with an unknown member", w.send(method, path, `{"nothing": 1}`))
	m := regexp.MustCompile(`there are ([\w, ]+)\. Are gateway`).FindStringSubmatch(e.Detail)
	switch {
	case !strings.Contains(e.Detail, `"nothing"`) || m == nil && !strings.Contains(e.Detail, "there are none"):
		t.Errorf("%s: a body with a member that there is not is answered with %q; read it with readBody or noBody, before anything else", pattern, e.Detail)
		return nil
	case m == nil || m[1] == "none":
		return nil
	}
	return strings.Split(m[1], ", ")
}

func TestSocketRefusesHostileBodies(t *testing.T) {
	t.Parallel()
	w := newAdminWorld(t)
	for _, route := range adminRoutes() {
		method, path := w.socketPath(route.pattern, -1, "")
		if method == "GET" {
			continue
		}
		member := "nothing"
		if list := w.membersOf(t, route.pattern); len(list) > 0 {
			member = list[0]
		}
		bodies := hostileBodies()
		bodies["too large"] = `{"nothing": "` + strings.Repeat("x", int(route.maxBody())) + `"}`
		for name, body := range bodies {
			body = strings.ReplaceAll(strings.ReplaceAll(body, "MEMBERX", strings.ToUpper(member)), "MEMBER", member)
			what := route.pattern + ": " + name
			w.unchanged(t, what, func() {
				if e := wantRefusal(t, what, w.send(method, path, body)); name == "too large" && !strings.Contains(e.Detail, "octets") {
					t.Errorf("%s: %s", what, e.Detail)
				}
			})
		}
	}
}

// TestSocketRefusesWrongTypes of every member of every request. A value of a right type may be accepted.
func TestSocketRefusesWrongTypes(t *testing.T) {
	t.Parallel()
	w := newAdminWorld(t)
	long := strings.Repeat("x", 20000)
	values := map[string][]string{
		"text":    {`"x"`, `""`, `" "`, `"a\u0000b"`, `"\ud800"`, `"-----BEGIN X-----"`, `"2027-13-01T00:00:00Z"`, `"` + long + `"`},
		"number":  {`1`, `-1`, `1.5`, `1e400`, `9223372036854775807`, `9223372036854775808`},
		"bool":    {`true`},
		"list":    {`[]`, `[null]`, `[[]]`, `["a\u0000b"]`, `["` + long + `"]`, `[1]`, `[{"nothing": 1}]`},
		"object":  {`{}`, `{"nothing": 1}`},
		"nothing": {`null`},
	}
	for _, route := range adminRoutes() {
		method, path := w.socketPath(route.pattern, -1, "")
		if method == "GET" {
			continue
		}
		for _, member := range w.membersOf(t, route.pattern) {
			named := 0
			for kind, list := range values {
				wrong := false
				for _, v := range list {
					body := fmt.Sprintf("{%q: %s}", member, v)
					what := fmt.Sprintf("%s %.80s", route.pattern, body)
					commits, entries := w.commits.Load(), w.journaled()
					a := w.send(method, path, body)
					if a.Code == 200 {
						continue
					}
					e := wantRefusal(t, what, a)
					if n := w.commits.Load() - commits; n != 0 || w.journaled() != entries {
						t.Errorf("%s was refused after %d commits: %s", what, n, e.Detail)
					}
					wrong = wrong || strings.Contains(e.Detail, member)
				}
				if wrong && kind != "nothing" {
					named++
				}
			}
			if named < 3 {
				t.Errorf("%s: wrong types of %s are not refused by its name", route.pattern, member)
			}
		}
	}
}

package scm

import (
	"net/http"
	"strings"
	"testing"
)

// TestHostileBodies sends what nobody means to every call that may have a body: each is refused in SCM's form, or the body is of no
// account to it, and none is a failure of the gateway.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := map[string]string{
		"cut off":      `{"orgId":1,"name":"x`,
		"a list":       `[[[]]]`,
		"a number":     `1e999`,
		"deep":         strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000),
		"twice":        `{"orgId":1,"orgId":2,"domain":"a.example.com","domain":"b.example.com"}`,
		"wrong types":  `{"orgId":{},"domain":[1],"domains":"x","name":{},"message":[],"reason":{},"csr":{},"cert":{},"delegations":7,"organizationId":[],"locationType":3}`,
		"no UTF-8":     "{\"name\":\"\xff\xfe\"}",
		"NUL and bidi": `{"orgId":1,"name":"\u0000\u202e","domain":"\u0000.example.com","message":"\u0000","reason":"\u202e","comments":"\u0000"}`,
		"large":        `{"name":"` + strings.Repeat("x", 2<<20) + `"}`,
	}
	for _, r := range endpoints(apis()) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			continue
		}
		path := parameters.ReplaceAllString(r.Pattern, "1")
		for name, body := range bodies {
			rec := w.do(w.as("ada", r.Method, path, body))
			if rec.Code >= 500 {
				t.Errorf("%s %s, %s: %d %s", r.Method, path, name, rec.Code, rec.Body)
			}
			if rec.Code >= 400 && !strings.HasPrefix(rec.Body.String(), `{"code":`) {
				t.Errorf("%s %s, %s: no error of SCM's: %d %.200s", r.Method, path, name, rec.Code, rec.Body)
			}
		}
	}
}

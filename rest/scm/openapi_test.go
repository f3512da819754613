package scm

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

var braces = regexp.MustCompile(`\{([A-Za-z]+)\}`)

// TestOpenAPIRoutes holds the OpenAPI document against the routes of the door: each is in it, by its version or for all of them,
// with the same names of parameters, and nothing else is.
func TestOpenAPIRoutes(t *testing.T) {
	t.Parallel()
	doc, err := document()
	must(t, err)
	extra := map[string]bool{} // operations that no route has asked for yet
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			extra[method+" "+path] = true
			checkOperation(t, method+" "+path, item, operation)
		}
	}
	want := func(method, template, version string) {
		for _, path := range []string{template, anyVersion(template, version)} {
			if operationOf(doc, path, method) != nil {
				delete(extra, method+" "+path)
				return
			}
		}
		t.Errorf("%s %s is not in the OpenAPI document; write it into a fragment in rest/scm/openapi", method, template)
	}
	want(http.MethodPost, TokenPath, "")
	for _, r := range endpoints(apis()) {
		want(r.Method, strings.TrimSuffix(r.Pattern, "/"), r.Handle.version)
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		t.Errorf("%s is in the OpenAPI document, and no route of the door; take it out of its fragment in rest/scm/openapi", name)
	}
	// What holds for each version must be there in each of them.
	for _, a := range apis() {
		for path := range doc.Paths.Map() {
			if strings.HasPrefix(path, a.path+"/{v}") && !slices.Equal(a.versions, []string{"v1", "v2"}) {
				t.Errorf("%s is for v1 and v2, and the door has %v of it; write the version", path, a.versions)
			}
		}
	}
}

// TestOpenAPIForms: the document says the same in YAML and in JSON.
func TestOpenAPIForms(t *testing.T) {
	t.Parallel()
	merged, err := OpenAPI()
	must(t, err)
	converted, err := yaml.YAMLToJSON(merged.YAML)
	must(t, err)
	if diff := cmp.Diff(object(t, merged.JSON), object(t, converted)); diff != "" {
		t.Errorf("-JSON +YAML:\n%s", diff)
	}
}

// checkOperation wants of an operation what people and generators of clients need of it.
func checkOperation(t *testing.T, name string, item *openapi3.PathItem, o *openapi3.Operation) {
	t.Helper()
	if o.OperationID == "" || o.Summary == "" || len(o.Tags) != 1 {
		t.Errorf("%s has no operationId, no summary or not one tag", name)
	}
	var documented []string
	for _, list := range []openapi3.Parameters{item.Parameters, o.Parameters} {
		for _, p := range list {
			if p.Value.In == openapi3.ParameterInPath {
				documented = append(documented, p.Value.Name)
			}
		}
	}
	var named []string
	for _, m := range braces.FindAllStringSubmatch(name, -1) {
		named = append(named, m[1])
	}
	slices.Sort(documented)
	slices.Sort(named)
	if !slices.Equal(documented, named) {
		t.Errorf("%s has the parameters %v in its path, and documents %v", name, named, documented)
	}
	for status, response := range o.Responses.Map() {
		for media, content := range response.Value.Content {
			if media == "application/json" && content.Schema == nil {
				t.Errorf("%s: the answer %s has no schema", name, status)
			}
		}
	}
}

// TestOpenAPISchemas wants the schemas of all answers to be exact: an object is one of other names or has additionalProperties: false.
func TestOpenAPISchemas(t *testing.T) {
	t.Parallel()
	doc, err := document()
	must(t, err)
	seen := map[*openapi3.Schema]bool{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				for _, content := range response.Value.Content {
					exact(t, method+" "+path+" "+status, content.Schema, seen)
				}
			}
		}
	}
}

func exact(t *testing.T, where string, ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	t.Helper()
	if ref == nil || ref.Value == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	if s.Type == nil && len(s.OneOf)+len(s.AnyOf)+len(s.AllOf) == 0 {
		t.Errorf("%s: a schema without a type takes anything", where)
	}
	open := s.AdditionalProperties.Schema == nil && (s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has)
	if s.Type.Is("object") && open {
		t.Errorf("%s: an object of the answer (%v) has no additionalProperties: false", where, slices.Sorted(maps.Keys(s.Properties)))
	}
	exact(t, where, s.Items, seen)
	exact(t, where, s.AdditionalProperties.Schema, seen)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		exact(t, where+" "+name, s.Properties[name], seen)
	}
	for _, list := range []openapi3.SchemaRefs{s.OneOf, s.AnyOf, s.AllOf} {
		for _, one := range list {
			exact(t, where, one, seen)
		}
	}
}

// TestOpenAPIHolds shows that an answer is refused that has a member too many or too few, another type, status or media type.
func TestOpenAPIHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, err := w.holds()
	must(t, err)
	w.issue("ada", "tls", "a.example.com")
	const path = "/api/ssl/v2/1"
	r := w.as("ada", http.MethodGet, path, "")
	rec := w.do(r)
	true200 := rec.Body.String()
	answer := func(status int, media, body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		rec.Header().Set("Content-Type", media)
		rec.WriteHeader(status)
		rec.WriteString(body)
		return rec
	}
	must(t, h.hold(r, nil, answer(200, jsonType, true200)))
	for _, c := range []struct {
		what, want string
		rec        *httptest.ResponseRecorder
	}{
		{"a member too many", `property "code" is unsupported`, answer(200, jsonType, with(t, true200, "code", "0"))},
		{"a member too many within", `is unsupported`, answer(200, jsonType, with(t, true200, "autoRenewDetails", `{"state":"Not scheduled","more":1}`))},
		{"a member too few", `property "status" is missing`, answer(200, jsonType, with(t, true200, "status", ""))},
		{"null", "Value is not nullable", answer(200, jsonType, with(t, true200, "comments", "null"))},
		{"another type", "/id: ", answer(200, jsonType, with(t, true200, "id", `"1"`))},
		{"an unknown word", "value is not one of the allowed values", answer(200, jsonType, with(t, true200, "status", `"Unheard of"`))},
		{"a status", "status is not supported", answer(402, jsonType, `{"code":-1,"description":"x"}`)},
		{"an error without a code", `property "code" is missing`, answer(400, jsonType, `{"description":"x"}`)},
		{"a header too few", "response header", answer(401, jsonType, `{"code":-16,"description":"x"}`)},
		{"a media type", "Content-Type", answer(200, "text/html", true200)},
	} {
		if err := h.hold(r, nil, c.rec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q", c.what, err, c.want)
		}
	}
	none := w.as("ada", http.MethodDelete, path, "")
	if err := h.hold(none, nil, answer(204, jsonType, "{}")); err == nil {
		t.Error("a body is accepted where none is documented")
	}
	for _, body := range []string{`{"certType":7}`, `{"certType":7,"orgId":1,"csr":1}`} {
		post := w.as("ada", http.MethodPost, "/api/ssl/v2/enroll", body)
		if err := h.hold(post, []byte(body), answer(200, jsonType, `{"sslId":1,"renewId":"abcdefghijklmnopqrst"}`)); err == nil {
			t.Errorf("the request %s is accepted, which is not as documented", body)
		}
	}
	if err := h.hold(w.as("ada", http.MethodGet, "/api/ssl/v3", ""), nil, answer(200, jsonType, "[]")); err == nil {
		t.Error("a success where there is no operation is accepted")
	}
}

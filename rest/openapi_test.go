package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/rest"
)

const first = `openapi: 3.0.3
info: {title: A title, version: "1"}
x-responses:
  '500': {description: ours}
  '400': {description: theirs}
components:
  schemas:
    A: {type: string}
`

const second = `tags:
  - name: b
paths:
  /b:
    get:
      responses:
        200: {description: "it is 'there': <yes>\n and 2026-01-02"}
        '400': {description: own}
    parameters: []
components:
  schemas:
    B: {type: integer, minimum: -1, maximum: 1.5, nullable: false, example: null}
`

func fragments(list ...string) fstest.MapFS {
	folder := fstest.MapFS{"notes.txt": {Data: []byte("{")}}
	for i, text := range list {
		folder[string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	return folder
}

func TestMergeOpenAPI(t *testing.T) {
	t.Parallel()
	document, err := rest.MergeOpenAPI(fragments(first, second))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"openapi":"3.0.3","info":{"title":"A title","version":"1"},"tags":[{"name":"b"}],"paths":{"/b":{"get":{"responses":{` +
		`"200":{"description":"it is 'there': \u003cyes\u003e\n and 2026-01-02"},"400":{"description":"own"},"500":{"description":"ours"}}},"parameters":[]}},` +
		`"components":{"schemas":{"A":{"type":"string"},"B":{"type":"integer","minimum":-1,"maximum":1.5,"nullable":false,"example":null}}}}`
	if got := string(document.JSON); got != want {
		t.Errorf("the document is\n%s\nwant\n%s", got, want)
	}
	if document.Title != "A title" {
		t.Errorf("the title is %q", document.Title)
	}
	same(t, document)
}

// same wants both forms of a document to say the same.
func same(t *testing.T, document *rest.OpenAPI) {
	t.Helper()
	var byJSON any
	if err := json.Unmarshal(document.JSON, &byJSON); err != nil {
		t.Fatal(err)
	}
	data, err := yaml.YAMLToJSON(document.YAML)
	if err != nil {
		t.Fatal(err)
	}
	var byYAML any
	if err := json.Unmarshal(data, &byYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byJSON, byYAML); diff != "" {
		t.Errorf("the document in YAML is another one (-JSON +YAML):\n%s", diff)
	}
}

func TestMergeOpenAPIRefuses(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ more, want string }{
		"a path twice":            {"paths: {/b: {}}", "c.yaml: the path /b is defined by b.yaml already"},
		"a component twice":       {"components: {schemas: {A: {type: string}}}", "components/schemas/A is defined by a.yaml already"},
		"a tag twice":             {"tags: [{name: b}]", "the tag b is defined by b.yaml already"},
		"info twice":              {"info: {}", "info is defined by a.yaml already"},
		"a member of no document": {"path: {}", "path is not what a fragment may have"},
		"a key twice":             {"paths: {/c: {}, /c: {}}", "is not a mapping in YAML"},
		"no mapping":              {"- paths", "is not a mapping in YAML"},
		"paths that are none":     {"paths: [1]", "no mapping"},
	} {
		if _, err := rest.MergeOpenAPI(fragments(first, second, c.more)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q", what, err, c.want)
		}
	}
	if _, err := rest.MergeOpenAPI(fragments(second)); err == nil {
		t.Error("a document without info is made")
	}
}

package scm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// document is the OpenAPI document of the door, loaded once for all tests and only read.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	merged, err := OpenAPI()
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(merged.YAML)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
})

// holder holds exchanges against the operations of a document, which it finds by the door's own table: routers of OpenAPI refuse
// paths such as /collect/{sslId} and /{sslId}/location beside each other.
type holder struct {
	doc  *openapi3.T
	find func(method, path string) (template string, parameters map[string]string, ok bool)
}

// holds makes the holder of a Server.
func (s *Server) holds() (*holder, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return &holder{doc: doc, find: func(method, path string) (string, map[string]string, bool) {
		if path == TokenPath {
			return path, nil, method == http.MethodPost
		}
		found, _, ok := s.table.Find(method, strings.TrimPrefix(path, "/private"))
		if !ok {
			return "", nil, false
		}
		template, parameters := strings.TrimSuffix(found.Route.Pattern, "/"), found.Parameters
		if operationOf(doc, template, method) == nil { // not of this version alone
			template = anyVersion(template, found.Route.Handle.version)
			parameters["v"] = found.Route.Handle.version
		}
		return template, parameters, true
	}}, nil
}

// anyVersion is the path template for all versions of an API, of one for a certain version.
func anyVersion(template, version string) string {
	return strings.Replace(template, "/"+version, "/{v}", 1)
}

func operationOf(doc *openapi3.T, template, method string) *openapi3.Operation {
	if item := doc.Paths.Value(template); item != nil {
		return item.GetOperation(method)
	}
	return nil
}

// hold says what of an exchange is not as documented. body is the request's, which has been read.
func (h *holder) hold(r *http.Request, body []byte, rec *httptest.ResponseRecorder) error {
	template, parameters, ok := h.find(r.Method, r.URL.EscapedPath())
	if !ok {
		return h.holdUnrouted(r, rec)
	}
	operation := operationOf(h.doc, template, r.Method)
	if operation == nil {
		return fmt.Errorf("%s %s is not in the OpenAPI document; write it into a fragment in rest/scm/openapi", r.Method, template)
	}
	asked := r.Clone(context.Background())
	asked.Body, asked.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	media := r.Header.Get("Content-Type")
	if template != TokenPath && !strings.HasPrefix(media, "multipart/") { // JSON is taken by any name
		asked.Header.Set("Content-Type", "application/json")
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true}
	options.WithCustomSchemaErrorFunc(brief)
	in := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: parameters,
		Route:   &routers.Route{Spec: h.doc, Path: template, PathItem: h.doc.Paths.Value(template), Method: r.Method, Operation: operation},
		Options: options,
	}
	if rec.Code < 300 && !itemwise[operation.OperationID] {
		if err := lenient(openapi3filter.ValidateRequest(context.Background(), in)); err != nil {
			return fmt.Errorf("%s %s: the request was accepted and is not as documented: %w", r.Method, template, err)
		}
		if operation.RequestBody == nil && len(body) > 0 {
			return fmt.Errorf("%s %s: the request was accepted with a body, of which the OpenAPI document knows nothing", r.Method, template)
		}
	}
	if response := operation.Responses.Status(rec.Code); response != nil && len(response.Value.Content) == 0 && rec.Body.Len() > 0 {
		return fmt.Errorf("%s %s: the answer %d has a body, of which the OpenAPI document knows nothing", r.Method, template, rec.Code)
	}
	if r.Method == http.MethodHead { // whose answers are not looked at otherwise
		asked.Method = http.MethodGet
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes())), Options: in.Options,
	})
	if err != nil {
		return fmt.Errorf("%s %s: the answer %d is not as documented: %w", r.Method, template, rec.Code, err)
	}
	return nil
}

// itemwise are operations that answer 2xx to what is wrong with a part of the request.
var itemwise = map[string]bool{"importSsl": true}

// brief is what is wrong and where, without the schema.
func brief(err *openapi3.SchemaError) string {
	value := fmt.Sprintf("%v", err.Value)
	if len(value) > 200 {
		value = value[:200] + "…"
	}
	return fmt.Sprintf("/%s: %s (%s)", strings.Join(err.JSONPointer(), "/"), err.Reason, value)
}

// holdUnrouted looks at the answer to what is no operation, which the description of the document tells of.
func (h *holder) holdUnrouted(r *http.Request, rec *httptest.ResponseRecorder) error {
	if !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized}, rec.Code) {
		return fmt.Errorf("%s %s is no operation and was answered with %d", r.Method, r.URL.Path, rec.Code)
	}
	return nil
}

var (
	wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)
	truth       = regexp.MustCompile(`(?i)^(true|false)$`)
)

// lenient leaves of what is wrong with a request what the description of the document allows for all of them: null and empty
// parameters where nothing is, numbers and truth values in strings, and words of a list in any letter case.
func lenient(err error) error {
	if err == nil {
		return nil
	}
	if many, ok := errors.AsType[openapi3.MultiError](err); ok {
		var left openapi3.MultiError
		for _, one := range many {
			if one = lenient(one); one != nil {
				left = append(left, one)
			}
		}
		if len(left) == 0 {
			return nil
		}
		return left
	}
	if request, ok := errors.AsType[*openapi3filter.RequestError](err); ok {
		if request.Err != nil && lenient(request.Err) == nil {
			return nil
		}
		return err
	}
	wrong, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		return err
	}
	text, isText := wrong.Value.(string)
	switch {
	case wrong.Value == nil, isText && text == "" && len(wrong.JSONPointer()) == 0:
		return nil
	case isText && wrong.SchemaField == "type" && (wrong.Schema.Type.Is("integer") && wholeNumber.MatchString(text) || wrong.Schema.Type.Is("boolean") && truth.MatchString(text)):
		return nil
	case isText && wrong.SchemaField == "enum" && slices.ContainsFunc(wrong.Schema.Enum, func(word any) bool { return strings.EqualFold(fmt.Sprint(word), text) }):
		return nil
	}
	return err
}

// held makes ready to hold an exchange of a test against the OpenAPI document; what it returns does so afterwards.
func (w *world) held(r *http.Request) (after func(*httptest.ResponseRecorder)) {
	w.t.Helper()
	var read bytes.Buffer
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &read), r.Body}
	}
	return func(rec *httptest.ResponseRecorder) {
		w.t.Helper()
		h, err := w.holds()
		if err == nil {
			err = h.hold(r, read.Bytes(), rec)
		}
		if err != nil {
			w.t.Error(err)
		}
	}
}

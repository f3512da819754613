package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	swaggerui "github.com/swaggest/swgui/v5/static"
)

// DocsConfig is what Docs needs. Documents is required.
type DocsConfig struct {
	Documents []NamedDocument
	// Observe is told of each request: which resource it was for, a constant, and why it failed. Nil: nobody is.
	Observe func(ctx context.Context, resource string, err error)
}

// NamedDocument is a document that is served as /openapi/NAME.yaml and /openapi/NAME.json.
type NamedDocument struct {
	Name string // of a dialect: letters in lower case and digits
	// Load makes it, once, when somebody asks for the first time: few gateways are ever asked, and many are started.
	Load func() (*OpenAPI, error)
}

// Docs serves OpenAPI documents to everybody, and a page that shows them. It is safe for concurrent use.
type Docs struct {
	observe   func(context.Context, string, error)
	documents func() (map[string]file, error) // by path, as well as the next
	viewer    map[string]file
}

// The scripts of the page and their requests come from its own origin alone. Styles are set by scripts, not by text in the page, and
// the pictures of the viewer stand in its style.
const viewerPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

const (
	documentFolder = "/openapi/"
	viewerFolder   = "/docs/"
)

// viewerFiles are what the page is made of beside the viewer: its frame.
//
//go:embed viewer
var viewerFiles embed.FS

var documentName = regexp.MustCompile(`^[a-z0-9]+$`)

// DocsPaths are the paths and subtrees that Docs is to be mounted at. Without a slash at the end, they lead to those with one.
func DocsPaths() []string { return []string{"/openapi", documentFolder, "/docs", viewerFolder} }

// NewDocs makes Docs.
func NewDocs(c DocsConfig) (*Docs, error) {
	if len(c.Documents) == 0 {
		return nil, errors.New("rest: there is no document to serve")
	}
	if c.Observe == nil {
		c.Observe = func(context.Context, string, error) {}
	}
	seen := map[string]bool{}
	for _, doc := range c.Documents {
		if seen[doc.Name] || !documentName.MatchString(doc.Name) {
			return nil, fmt.Errorf("rest: the document %q is there twice, or its name has something else than small letters and digits", doc.Name)
		}
		seen[doc.Name] = true
	}
	viewer, err := viewerOf()
	if err != nil {
		return nil, err
	}
	return &Docs{observe: c.Observe, viewer: viewer, documents: sync.OnceValues(func() (map[string]file, error) { return documentsOf(c.Documents) })}, nil
}

// documentsOf are documents in both forms, and their list.
func documentsOf(documents []NamedDocument) (map[string]file, error) {
	type listed struct {
		Name  string `json:"name"`
		Title string `json:"title"`
		YAML  string `json:"yaml"` // relative to the list
		JSON  string `json:"json"`
	}
	files, list := map[string]file{}, []listed{}
	for _, doc := range documents {
		loaded, err := doc.Load()
		if err != nil {
			return nil, fmt.Errorf("the document %s: %w", doc.Name, err)
		}
		one := listed{doc.Name, loaded.Title, doc.Name + ".yaml", doc.Name + ".json"}
		list = append(list, one)
		files[documentFolder+one.YAML], files[documentFolder+one.JSON] = fileOf("application/yaml", loaded.YAML), fileOf("application/json", loaded.JSON)
	}
	index, err := json.Marshal(map[string]any{"documents": list})
	files[documentFolder] = fileOf("application/json", index)
	return files, err
}

// viewerOf is the page, what it is made of, and the viewer, which is the published build of Swagger UI.
func viewerOf() (map[string]file, error) {
	files := map[string]file{}
	for name, mediaType := range map[string]string{"index.html": "text/html; charset=utf-8", "page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		data, err := fs.ReadFile(viewerFiles, "viewer/"+name)
		if err != nil {
			return nil, err
		}
		f := fileOf(mediaType, data)
		if name == "index.html" {
			name, f.policy = "", viewerPolicy
		}
		files[viewerFolder+name] = f
	}
	for name, mediaType := range map[string]string{"swagger-ui.css.gz": "text/css; charset=utf-8", "swagger-ui-bundle.js.gz": "text/javascript; charset=utf-8", "favicon-32x32.png": "image/png"} {
		data, err := fs.ReadFile(swaggerui.FS, name)
		if err != nil {
			return nil, err
		}
		f := file{mediaType: mediaType, data: data, tag: tagOf(data)}
		if plain, is := strings.CutSuffix(name, ".gz"); is {
			name, f.data, f.packed = plain, nil, data
		}
		files[viewerFolder+name] = f
	}
	return files, nil
}

// fileOf is a file that is packed as well.
func fileOf(mediaType string, data []byte) file {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data) // into memory nothing fails
	w.Close()
	return file{mediaType: mediaType, data: data, packed: b.Bytes(), tag: tagOf(data)}
}

// file is one that is served.
type file struct {
	mediaType string
	data      []byte // nil: to be unpacked
	packed    []byte // by gzip; nil: it is not worthwhile
	tag       string // names what is in it
	policy    string // Content-Security-Policy, where the server's does not do
}

func tagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:12])
}

// ServeHTTP serves DocsPaths.
func (d *Docs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	f, found := d.viewer[path]
	if strings.HasPrefix(path, documentFolder) {
		documents, err := d.documents()
		if err != nil {
			d.observe(r.Context(), "docs/documents", err)
			http.Error(w, "the documents could not be made; the gateway's log says why", http.StatusInternalServerError)
			return
		}
		f, found = documents[path]
	}
	switch {
	case path+"/" == documentFolder, path+"/" == viewerFolder:
		d.observe(r.Context(), "docs/redirect", nil)
		// A relative one, because a proxy may have taken away what stands before it.
		w.Header().Set("Location", strings.TrimPrefix(path, "/")+"/")
		w.WriteHeader(http.StatusPermanentRedirect)
	case !found:
		d.observe(r.Context(), "docs/unknown", nil)
		http.Error(w, "there is nothing at this path; "+documentFolder+" lists the documents", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		d.observe(r.Context(), "docs/unknown", nil)
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this path takes GET and HEAD", http.StatusMethodNotAllowed)
	default:
		d.observe(r.Context(), strings.TrimPrefix(path, "/"), f.serve(w, r))
	}
}

// serve answers with the file, packed where the client takes that, or says that the client has it.
func (f file) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("Cache-Control", "no-cache") // it may be kept and is asked for anew: an update of the gateway changes it
	if f.policy != "" {
		h.Set("Content-Security-Policy", f.policy)
	}
	data, tag := f.data, f.tag
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Values("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			data, tag = f.packed, tag+"-gzip"
		}
	}
	if data == nil {
		var err error
		if data, err = unpack(f.packed); err != nil {
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
			return err
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	return nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3) as far as a yes to gzip goes; whoever says it in another way gets what is not packed.
func takesGzip(values []string) bool {
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, weight, weighted := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			return !weighted || strings.Trim(strings.TrimPrefix(strings.ToLower(weight), "q="), "0.") != ""
		}
	}
	return false
}

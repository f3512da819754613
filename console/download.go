package console

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// DownloadPath is where private keys are downloaded: DownloadPath + the secret of a link.
const DownloadPath = "/download/"

const downloadPage = "download"

// DownloadsConfig is what Downloads need. All but Observe are required.
type DownloadsConfig struct {
	Keys Keys
	// Chain is the PEM that follows a certificate of an issuer; empty if there is no such issuer.
	Chain func(issuer string) []byte
	// Remote is the address a request comes from.
	Remote func(*http.Request) netip.Addr
	// Observe is told which page a request was for, a constant, and of a failure why. Nil: nobody is.
	Observe func(ctx context.Context, page string, err error)
}

// Keys are the links to private keys (ra.Registrar).
type Keys interface {
	Linked(ctx context.Context, secret string) (*ra.Download, *ra.Enrollment, error)
	TakeDownload(ctx context.Context, secret, from string, write func(ra.KeyFile) ([]byte, error)) ([]byte, error)
}

// Downloads serves the pages below [DownloadPath]: a GET says what a link gives and changes nothing, a POST takes the file, once.
// What protects the file is a password that the POST brings, of the person's or one that the page has proposed; it is kept
// nowhere. Safe for concurrent use.
type Downloads struct {
	DownloadsConfig
	pages   *template.Template
	style   template.CSS
	policy  string
	handler http.Handler
}

// NewDownloads makes Downloads.
func NewDownloads(c DownloadsConfig) (*Downloads, error) {
	if c.Observe == nil {
		c.Observe = func(context.Context, string, error) {}
	}
	style, policy, err := look()
	if err != nil {
		return nil, err
	}
	pages, err := template.ParseFS(files, "pages/download.html")
	if err != nil {
		return nil, err
	}
	d := &Downloads{DownloadsConfig: c, pages: pages, style: style, policy: policy}
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Observe(r.Context(), downloadPage, errCrossOrigin)
		d.show(w, http.StatusForbidden, downloadView{Title: "Not from here", Text: []string{"This was not sent by the page of the link, so nothing was changed. Open the link and use the buttons there."}})
	}))
	d.handler = protection.Handler(http.HandlerFunc(d.serve))
	return d, nil
}

// Handler serves [DownloadPath] and what is below it.
func (d *Downloads) Handler() http.Handler { return d.handler }

// downloadView is what the template shows.
type downloadView struct {
	Title string
	Text  []string // paragraphs
	Facts []fact
	Form  *downloadForm // nil: nothing can be taken

	Style template.CSS // set by show
}

type downloadForm struct {
	Action   string // relative to the page: a proxy may have taken away what its path begins with
	Password bool   // the file is encrypted under one, which is chosen now
	Chosen   bool   // it is encrypted under one that was chosen when the link was made
	Proposed string // one that the person may take
	Min, Max int    // characters
	Fault    string // why what was sent did not do
}

func (d *Downloads) serve(w http.ResponseWriter, r *http.Request) {
	secret := strings.TrimPrefix(r.URL.Path, DownloadPath)
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = d.ask(w, r, secret)
	case http.MethodPost:
		err = d.take(w, r, secret)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST") // RFC 9110, 15.5.6
		d.show(w, http.StatusMethodNotAllowed, downloadView{Title: "Not like this", Text: []string{"Open this page in a browser."}})
	}
	d.Observe(r.Context(), downloadPage, err)
}

// ask shows what a link gives.
func (d *Downloads) ask(w http.ResponseWriter, r *http.Request, secret string) error {
	link, e, err := d.Keys.Linked(r.Context(), secret)
	if err != nil {
		d.failed(w, err)
		return err
	}
	d.show(w, http.StatusOK, offered(link, e, secret, ""))
	return nil
}

// offered is the page that offers a file; fault is why the last try did not do.
func offered(link *ra.Download, e *ra.Enrollment, secret, fault string) downloadView {
	format, _ := bundle.ParseFormat(link.Format)
	names := make([]string, len(e.Names))
	for i, n := range e.Names {
		names[i] = n.Value()
	}
	v := downloadView{
		Title: "The private key of " + firstName(e),
		Text:  []string{"This link gives the file once, and only when you press the button. If it does not arrive, ask for another link."},
		Facts: []fact{
			{"Certificate for", strings.Join(names, ", ")}, {"Serial number", string(e.Serial)}, {"Valid until", when(e.NotAfter)},
			{"File", describe(format, link.Content)}, {"Link made by", link.By}, {"Link can be used until", when(link.Expires)},
		},
		Form: &downloadForm{Action: secret, Password: format.NeedsPassword(), Min: bundle.MinPassword, Max: bundle.MaxPassword, Fault: fault},
	}
	if len(link.Sealed) > 0 {
		v.Form.Password, v.Form.Chosen = false, true
	}
	if v.Form.Password {
		v.Form.Proposed = auth.NewPassword()
	}
	return v
}

// describe is a file for people.
func describe(f bundle.Format, content string) string {
	with := ""
	switch content {
	case contentLeaf:
		with = ", with the certificate"
	case contentChain:
		with = ", with the certificate and its chain"
	}
	switch f {
	case bundle.PKCS12:
		return "PKCS #12" + with
	case bundle.JKS:
		return "Java keystore (JKS)" + with
	case bundle.EncryptedKey, bundle.PEMEncryptedKey:
		return "PEM, the key encrypted" + with
	case bundle.Key, bundle.PEMKey:
		return "PEM, the key in clear" + with
	default:
		return f.String() + with
	}
}

// take writes the file under the password of the form, and gives it out.
func (d *Downloads) take(w http.ResponseWriter, r *http.Request, secret string) error {
	password, err := readPassword(w, r)
	if err != nil {
		d.failed(w, err)
		return err
	}
	link, e, err := d.Keys.Linked(r.Context(), secret)
	if err != nil {
		d.failed(w, err)
		return err
	}
	file, err := d.Keys.TakeDownload(r.Context(), secret, d.Remote(r).String(), func(f ra.KeyFile) ([]byte, error) {
		return Write(f, d.Chain(f.Issuer), password)
	})
	switch {
	case problem.Is(err, problem.Malformed):
		fault := problem.From(err).Detail
		d.show(w, http.StatusBadRequest, offered(link, e, secret, fault))
		return err
	case err != nil:
		d.failed(w, err)
		return err
	}
	format, _ := bundle.ParseFormat(link.Format)
	h := w.Header()
	secure(h, d.policy)
	h.Set("Content-Type", format.MediaType())
	h.Set("Content-Disposition", `attachment; filename="`+fileName(e)+"."+format.Extension()+`"`)
	h.Set("Content-Length", strconv.Itoa(len(file)))
	_, _ = w.Write(file) // whoever asked has gone
	clear(file)
	return nil
}

// readPassword reads the form from the body, never from the URL. It may have no password; the format knows.
func readPassword(w http.ResponseWriter, r *http.Request) (string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", errNoAnswer
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", problem.New(problem.TooLarge, "the form is too long")
		}
		return "", errNoAnswer // the error may quote what was sent
	}
	if len(r.PostForm["password"]) > 1 {
		return "", errNoAnswer
	}
	return r.PostForm.Get("password"), nil
}

// firstName is the certificate's first name.
func firstName(e *ra.Enrollment) string {
	if len(e.Names) == 0 {
		return "certificate"
	}
	return e.Names[0].Value()
}

// fileName is a file's, without its extension: the certificate's first name.
func fileName(e *ra.Enrollment) string {
	return strings.Map(func(c rune) rune {
		if c == '.' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' {
			return c
		}
		return '_'
	}, firstName(e))
}

// show writes a page, as [Console] does.
func (d *Downloads) show(w http.ResponseWriter, status int, v downloadView) {
	v.Style = d.style
	var b bytes.Buffer
	if err := d.pages.ExecuteTemplate(&b, "download.html", v); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	secure(w.Header(), d.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// failed shows why there is nothing to download.
func (d *Downloads) failed(w http.ResponseWriter, err error) {
	p := problem.From(err)
	v, status := downloadView{Title: "There is nothing to download"}, http.StatusNotFound
	switch p.Kind {
	case problem.NotFound:
		v.Text = []string{"The link has been used, has expired, or was cut off on its way. Ask for another."}
	case problem.Malformed, problem.TooLarge:
		status = http.StatusBadRequest
		v.Text = []string{"That was not what the page asks for, so nothing was changed. Open the link and use the buttons there."}
	case problem.Conflict:
		status = http.StatusConflict
		v.Text = []string{p.Detail, "The link was not used up."}
	case problem.Unavailable:
		status = http.StatusServiceUnavailable
		retryAfter(w, max(p.RetryAfter, time.Second))
		v.Text = []string{"This does not work right now, and nothing was given out. Open the link again in a minute; if it does not work any more, ask for another."}
	default:
		status = http.StatusInternalServerError
		v.Text = []string{"This does not work. Whoever runs this service finds the reason in its log."}
	}
	d.show(w, status, v)
}

// Package scm is the REST dialect of Sectigo Certificate Manager's API, for SSL certificates and what goes with them, so that what was written for that
// works here with another base URL.
//
// It decides what a request and an answer look like, and which of the vendor's numbers an error has. It trusts auth for who calls,
// ra for what the caller may know and do, and policy for what can be had. No rule about certificates is here: what ra refuses is
// refused, in SCM's words. It never shows that an object of another organisation exists, never takes a password from a URL, and has
// no route for what is not built.
package scm

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const (
	// TokenPath is where a Server gives access tokens.
	TokenPath = "/oauth/token"

	// PrivatePath is what all paths of the API begin with for callers who are known by the client certificate of their connection.
	PrivatePath = "/private"

	// Processing is what clients compare the description of code 0 with: the answer to who collects what is not issued yet.
	Processing = "Being processed by Sectigo"

	// maxBody is the most octets of a body: a CSR of 64 KiB in PEM with everything beside it.
	maxBody = 256 << 10

	jsonType = "application/json;charset=UTF-8"
)

// Config is what a Server needs. All fields but Spool, SpoolRoom, Processing, Login, Remote, Observe and Now are required.
type Config struct {
	PublicURL     string // that Location begins with: "https://ca.example.com", with a path where a proxy takes one away
	Registrar     *ra.Registrar
	Authenticator *auth.Authenticator
	Organisations *auth.Directory
	Tenants       *auth.Tenants // over Organisations
	Domains       *ra.Domains
	External      *auth.ExternalAccounts
	EAB           auth.EABMode // what /acme/directory asks of new accounts
	// DeactivateClient deactivates an ACME account that a key for external account binding has bound, for whoever may manage the keys of its
	// organisation. Errors are *problem.Error, NotFound also if another key has bound it.
	DeactivateClient func(ctx context.Context, caller auth.Caller, kid, account string) error
	Fields           *policy.Fields // custom fields; a nil one has none
	// Chain is the PEM of what certified the certificates of an issuer, the issuing CA first; nil if there is no such issuer.
	Chain func(issuer string) []byte
	// Offer is what a link to a private key is to give in a format, and DownloadPath what such links begin with behind the public URL:
	// the secret of a link follows.
	Offer        func(f bundle.Format) (ra.Offer, error)
	DownloadPath string
	// Spool is the folder of files without names, in which uploads stand while they are read: of at most 50 MiB each, four at a time.
	// Empty: the system's for temporary files. SpoolRoom is asked before each MiB of them whether there is room for it; nil: nobody is.
	Spool     string
	SpoolRoom func() error
	// Processing is the description of code 0; default [Processing].
	Processing string
	// Login is what people know a principal by. Nil: what the registration authority calls it.
	Login func(ctx context.Context, principal string) string
	// Principal finds the principal that has a login among those of a caller; "" if there is none. Nil: there is none.
	Principal func(ctx context.Context, caller auth.Caller, login string) (string, error)
	Remote    func(*http.Request) netip.Addr                        // the client's address. Nil: no client has one
	Observe   func(ctx context.Context, endpoint string, err error) // is told of each request. Nil: nobody is
	Now       func() time.Time                                      // nil: time.Now
}

// Server is the door. It is safe for concurrent use.
type Server struct {
	Config
	table   *rest.Table[endpoint]
	reports *reports
	uploads rest.Uploads

	customers rest.Uploads // the same by customer
}

// handler answers a call, or says why not.
type handler func(s *Server, c *call) error

// New makes a Server.
func New(c Config) (*Server, error) {
	if c.Login == nil {
		c.Login = func(_ context.Context, principal string) string { return principal }
	}
	if c.Principal == nil {
		c.Principal = func(context.Context, auth.Caller, string) (string, error) { return "", nil }
	}
	c.Processing = cmp.Or(c.Processing, Processing)
	if c.Principal == nil {
		c.Principal = func(context.Context, auth.Caller, string) (string, error) { return "", nil }
	}
	if c.Remote == nil {
		c.Remote = func(*http.Request) netip.Addr { return netip.Addr{} }
	}
	if c.Observe == nil {
		c.Observe = func(context.Context, string, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || strings.HasSuffix(c.PublicURL, "/") {
		return nil, errors.New("scm: the public URL has no host, or a slash at its end")
	}
	table, err := rest.NewTable(endpoints(apis()))
	if err != nil {
		return nil, err
	}
	return &Server{
		Config: c, table: table, reports: newReports(),
		uploads: rest.Uploads{Most: uploadsAtOnce, Each: uploadsEach}, customers: rest.Uploads{Most: uploadsAtOnce, Each: uploadsCustomer},
	}, nil
}

// Handler serves Paths.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoint := "scm/unknown"
		err := s.serve(w, r, &endpoint)
		s.Observe(r.Context(), endpoint, err)
		if err != nil {
			s.refuse(w, err)
		}
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, endpoint *string) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.URL.Path == TokenPath {
		*endpoint = "scm/token"
		return s.token(w, r)
	}
	path, authenticate := r.URL.EscapedPath(), s.authenticate
	if behind, ok := strings.CutPrefix(path, PrivatePath+"/"); ok {
		path, authenticate = "/"+behind, s.certified
	}
	found, allowed, ok := s.table.Find(r.Method, path)
	if !ok {
		if len(allowed) == 0 {
			return errUnknownPath
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return problem.New(problem.MethodNotAllowed, "this path takes %s", strings.Join(allowed, ", "))
	}
	*endpoint = found.Route.Handle.name
	caller, err := authenticate(r)
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // a filter that is lost finds the wrong certificates
		return wrongValue("the query of the URL is not encoded as name=value&name=value, with %% and two hexadecimal digits for other characters")
	}
	c := &call{s: s, w: w, r: r, ctx: r.Context(), caller: caller, v2: found.Route.Handle.version == "v2", args: found.Parameters, query: query}
	if c.dates, err = dateForm(c.query.Get("dateFormat")); err != nil {
		return err
	}
	return found.Route.Handle.handle(s, c)
}

// errUnknownPath is the answer for what there is not, whoever asks.
var errUnknownPath = coded(404, codeUnknown, problem.New(problem.NotFound, "there is nothing at this path"))

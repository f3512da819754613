package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// The admin socket is HTTP with JSON over a Unix socket in the data folder, mode 0600. Whoever can open it is the
// machine's operator; the peer's uid is the principal that the journal records.

const (
	adminSocket = "admin.sock"
	// maxSocketPath is what Linux takes in sun_path, with its final NUL.
	maxSocketPath = 107
)

type peerKey struct{}

// operatorDoor is the socket's server: it hands each request to the core that is in service.
type operatorDoor struct {
	core func() *core // nil while there is none
	log  *slog.Logger
}

// admin answers the operator's commands, one request on one core.
type admin struct {
	registrar   *ra.Registrar
	certificate func(ctx context.Context, issuer string, serial ca.Serial) (*ca.Certificate, error)
	now         func() time.Time
	tenants     *auth.Tenants
	external    *auth.ExternalAccounts
	principals  *auth.Principals
	acme        *acme.Server
	domains     *ra.Domains
	mails       *ra.MailQueue
	mailServer  func() notify.ServerStatus
	sendsMail   bool

	profiles       map[string]*policy.Profile // that are configured
	defaultProfile string
	nameRules      func(auth.OrgID) []policy.NameRules
	chain          func(issuer string) []byte // PEM; nil if there is no such issuer

	organisations *auth.Directory
	publicURL     string // for people who are told where something is
}

// listenAdmin opens the socket, in place of one that a dead process left behind. The journal's lock is held by now, so no
// living process can be behind it.
func listenAdmin(folder string) (net.Listener, error) {
	path := filepath.Join(folder, adminSocket)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the data folder's path is too long for the socket %s: %d characters, %d are possible; choose a shorter data folder", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("removing the socket of an earlier run: %w", err)
	}
	old := unix.Umask(0o177) // the socket is never open to others, not even between two calls
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("opening the admin socket: %w", err)
	}
	return l, nil
}

// adminRoute is one request of the operator's commands.
type adminRoute struct {
	pattern string
	handle  func(a *admin, caller auth.Caller, r *http.Request) (any, error)
}

// maxBody is the most octets that a request's body may have.
func (r adminRoute) maxBody() int64 {
	switch r.pattern {
	case "POST /imports":
		return maxImportBody
	case "POST /requests", "POST /enrollments/{id}/renew", "POST /enrollments/{id}/replace": // a CSR of the largest size
		return 1 << 17
	default:
		return 1 << 16
	}
}

// adminRoutes is the socket in one screen. matrix_test.go tries each of them with callers who are no operators.
func adminRoutes() []adminRoute {
	return []adminRoute{
		{"GET /enrollments", (*admin).list},
		{"GET /enrollments/{id}", (*admin).get},
		{"GET /serials/{serial}", (*admin).bySerial},
		{"POST /imports", (*admin).importAll},
		{"POST /serials/{serial}/revoke", (*admin).revoke},
		{"POST /enrollments/{id}", (*admin).certUpdate},
		{"POST /enrollments/{id}/renew", (*admin).certRenew},
		{"POST /enrollments/{id}/renewed", (*admin).certRenewed},
		{"POST /enrollments/{id}/replace", (*admin).certReplace},
		{"POST /enrollments/{id}/revoke", (*admin).certRevoke},
		{"POST /enrollments/{id}/revoked", (*admin).certRevoked},
		{"POST /enrollments/{id}/remove", (*admin).certRemove},
		{"GET /enrollments/{id}/lineage", (*admin).certLineage},
		{"POST /enrollments/{id}/locations", (*admin).locationPut},
		{"GET /enrollments/{id}/locations/{location}", (*admin).locationGet},
		{"POST /enrollments/{id}/locations/{location}", (*admin).locationPut},
		{"POST /enrollments/{id}/locations/{location}/remove", (*admin).locationRemove},
		{"POST /serials/{serial}/renew-now", (*admin).renewSerial},
		{"POST /enrollments/{id}/renew-now", (*admin).renewEnrollment},
		{"POST /renewals", (*admin).renewMany},
		{"GET /authorizations", (*admin).authzList},
		{"GET /authorizations/one", (*admin).authzGet},
		{"GET /requests", (*admin).requestList},
		{"POST /requests", (*admin).requestNew},
		{"GET /requests/{id}", (*admin).requestGet},
		{"POST /requests/{id}/approve", (*admin).requestApprove},
		{"POST /requests/{id}/decline", (*admin).requestDecline},
		{"POST /requests/{id}/validate", (*admin).requestValidate},
		{"POST /requests/{id}/cancel", (*admin).requestCancel},
		{"GET /organisations", (*admin).orgList},
		{"POST /organisations", (*admin).orgAdd},
		{"GET /organisations/{slug}", (*admin).orgGet},
		{"POST /organisations/{slug}", (*admin).orgEdit},
		{"GET /eab-keys", (*admin).eabList},
		{"POST /eab-keys", (*admin).eabAdd},
		{"GET /eab-keys/{kid}", (*admin).eabGet},
		{"POST /eab-keys/{kid}/revoke", (*admin).eabRevoke},
		{"GET /principals", (*admin).userList},
		{"POST /principals", (*admin).userAdd},
		{"GET /principals/{ref}", (*admin).userGet},
		{"POST /principals/{ref}", (*admin).userEdit},
		{"POST /principals/{ref}/password", (*admin).userPassword},
		{"POST /principals/{ref}/credentials", (*admin).keyAdd},
		{"GET /credentials/{id}", (*admin).keyGet},
		{"POST /credentials/{id}/rotate", (*admin).keyRotate},
		{"POST /credentials/{id}/revoke", (*admin).keyRevoke},
		{"GET /profiles", (*admin).profileList},
		{"GET /profiles/{name}", (*admin).profileGet},
		{"POST /profile-tests", (*admin).profileTest},
		{"GET /domains", (*admin).domainList},
		{"POST /domains", (*admin).domainAdd},
		{"GET /domains/{domain}", (*admin).domainGet},
		{"GET /domains/{domain}/addresses", (*admin).domainAddresses},
		{"POST /domains/{domain}/{verb}", (*admin).domainEdit},
		{"GET /enrollments/{id}/key", (*admin).storedKeyGet},
		{"POST /enrollments/{id}/key", (*admin).storedKeyUpload},
		{"POST /enrollments/{id}/key/link", (*admin).storedKeyLink},
		{"POST /enrollments/{id}/key/destroy", (*admin).storedKeyDestroy},
		{"GET /mails", (*admin).mailList},
		{"GET /mails/{id}", (*admin).mailGet},
		{"POST /mails/{id}/retry", (*admin).mailRetry},
		{"POST /mails/{id}/cancel", (*admin).mailCancel},
		{"GET /seal", (*admin).sealList},
		{"POST /seal/rewrap", (*admin).sealRewrap},
	}
}

// server is the HTTP server for the socket's listener.
func (d *operatorDoor) server() *http.Server {
	mux := http.NewServeMux()
	for _, r := range adminRoutes() {
		mux.Handle(r.pattern, http.MaxBytesHandler(d.serve(r.handle), r.maxBody()))
	}
	mux.HandleFunc("/", d.serve(func(_ *admin, _ auth.Caller, r *http.Request) (any, error) {
		return nil, problem.New(problem.NotFound, "the gateway has no %s %s; are gateway and command of one version?", r.Method, r.URL.Path)
	}))
	return &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(c))
		},
	}
}

// peer is the principal behind a connection, by SO_PEERCRED; "" if the kernel does not say.
func peer(c net.Conn) string {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ""
	}
	principal := ""
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			principal = "uid:" + strconv.Itoa(int(cred.Uid))
		}
	})
	return principal
}

// serve adapts a method to HTTP: the caller, the error's form, JSON.
func (d *operatorDoor) serve(handle func(a *admin, caller auth.Caller, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := d.answer(handle, r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			p := problem.From(err)
			if p.Kind == problem.Internal {
				d.log.Error("admin request failed", "path", r.URL.Path, "error", err)
				p = problem.New(problem.Internal, "the gateway met an error that its log describes")
			}
			w.WriteHeader(adminStatus(p.Kind))
			answer = adminError{Kind: p.Kind.String(), Detail: p.Detail}
		}
		json.NewEncoder(w).Encode(answer)
	}
}

func (d *operatorDoor) answer(handle func(a *admin, caller auth.Caller, r *http.Request) (any, error), r *http.Request) (any, error) {
	principal, _ := r.Context().Value(peerKey{}).(string)
	if principal == "" {
		return nil, problem.New(problem.Unauthorized, "the kernel does not say who is calling")
	}
	return d.as(ra.Operator(principal), handle, r)
}

// as does for a caller what a request asks. Nobody but an operator gets further than here.
func (d *operatorDoor) as(caller auth.Caller, handle func(a *admin, caller auth.Caller, r *http.Request) (any, error), r *http.Request) (any, error) {
	c := d.core()
	if c == nil || !c.entrance.enter() {
		return nil, problem.Wrap(errNoCore, problem.Unavailable, "%v; try again in a few seconds", errNoCore).After(reopenLast)
	}
	defer c.entrance.inside.Done()
	if err := c.organisations.May(caller, auth.Operate, 0); err != nil {
		return nil, err
	}
	return handle(&admin{
		registrar: c.registrar, certificate: c.db.Certificate, now: c.clock.Now, tenants: c.tenants, external: c.external, principals: c.principals, acme: c.acme, domains: c.domains, mails: c.mails, mailServer: c.courier.Server, sendsMail: c.settings.sendsMail(), organisations: c.organisations, publicURL: c.settings.publicURLs[0],
		profiles: c.settings.profiles, defaultProfile: c.settings.defaultProfile, nameRules: c.nameRules, chain: c.chain,
	}, caller, r)
}

type adminError struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

func adminStatus(k problem.Kind) int {
	switch k {
	case problem.NotFound:
		return http.StatusNotFound
	case problem.Internal:
		return http.StatusInternalServerError
	case problem.Unavailable:
		return http.StatusServiceUnavailable
	case problem.Unauthorized:
		return http.StatusForbidden
	case problem.Conflict, problem.AlreadyRevoked:
		return http.StatusConflict
	default:
		return http.StatusBadRequest
	}
}

// enrollmentView is an enrollment as the operator's commands show it.
type enrollmentView struct {
	ID           int64           `json:"id"`
	Org          int32           `json:"org"`
	Door         string          `json:"door"`
	Requester    string          `json:"requester"`
	Profile      string          `json:"profile"`
	Names        []string        `json:"names"`
	Status       string          `json:"status"`
	Created      time.Time       `json:"created"`
	Issuer       string          `json:"issuer,omitempty"`
	Serial       string          `json:"serial,omitempty"`
	NotBefore    time.Time       `json:"notBefore,omitzero"`
	NotAfter     time.Time       `json:"notAfter,omitzero"`
	Fingerprint  string          `json:"sha256,omitempty"`
	Revocation   *revocationView `json:"revocation,omitempty"`
	Renewal      *renewalView    `json:"renewal,omitempty"` // with one enrollment alone, not in lists
	Failure      string          `json:"failure,omitempty"`
	Replaces     int64           `json:"replaces,omitempty"`
	ReplacedBy   int64           `json:"replacedBy,omitempty"`  // with one enrollment alone, not in lists
	KeyStored    time.Time       `json:"keyStored,omitzero"`    // since when its private key is kept here
	KeyDestroyed time.Time       `json:"keyDestroyed,omitzero"` // when the last one that was kept was destroyed
	detailsView
	PEM      string `json:"pem,omitempty"`
	Chain    string `json:"chain,omitempty"`    // PEM, the issuing CA first; with PEM
	Imported bool   `json:"imported,omitempty"` // issued elsewhere; Issuer is a distinguished name
	Agent    string `json:"agent,omitempty"`    // the operator who asked in the requester's name
}

type revocationView struct {
	At      time.Time `json:"at"`
	Reason  int       `json:"reason"`
	Actor   string    `json:"actor"`
	Comment string    `json:"comment,omitempty"`
}

func (a *admin) view(e *ra.Enrollment) enrollmentView {
	v := enrollmentView{
		ID: int64(e.ID), Org: int32(e.Org), Door: string(e.Door), Requester: e.Requester, Profile: e.Profile, Names: []string{},
		Status: string(e.Status(a.now())), Created: e.Created, Issuer: shownIssuer(e), Serial: string(e.Serial), Imported: e.Imported, Agent: e.Agent,
		NotBefore: e.NotBefore, NotAfter: e.NotAfter, Replaces: int64(e.Replaces), detailsView: viewDetails(e),
	}
	v.KeyStored, v.KeyDestroyed = e.KeyStored, e.KeyDestroyed
	for _, n := range e.Names {
		v.Names = append(v.Names, n.Value())
	}
	if e.Fingerprint != [32]byte{} {
		v.Fingerprint = hex.EncodeToString(e.Fingerprint[:])
	}
	if r := e.Revocation; r != nil {
		v.Revocation = &revocationView{At: r.At, Reason: int(r.Reason), Actor: r.Actor, Comment: r.Comment}
	}
	if e.Failure != nil {
		v.Failure = e.Failure.Detail
	}
	return v
}

func (a *admin) list(caller auth.Caller, r *http.Request) (any, error) {
	q, err := readQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	found, err := a.registrar.Search(r.Context(), caller, q)
	if err != nil {
		return nil, err
	}
	list := listView{Total: found.Total, Enrollments: make([]enrollmentView, 0, len(found.Enrollments))}
	for _, e := range found.Enrollments {
		list.Enrollments = append(list.Enrollments, a.view(e))
	}
	return list, nil
}

// listView is a page of enrollments and how many there are in all.
type listView struct {
	Total       int64            `json:"total"`
	Enrollments []enrollmentView `json:"enrollments"`
}

// readQuery reads what certListCmd writes.
func readQuery(v url.Values) (ra.Query, error) {
	q := ra.Query{
		Status: ra.Status(v.Get("status")), Profile: v.Get("profile"), Requester: v.Get("requester"), Name: v.Get("name"),
		Suffix: v.Get("suffix"), Newest: v.Get("order") != "oldest", Limit: 100,
	}
	after, org := 0, 0
	for field, into := range map[string]*int{"limit": &q.Limit, "offset": &q.Offset, "after": &after, "org": &org} {
		if err := number(v.Get(field), field, into); err != nil {
			return q, err
		}
	}
	q.After, q.Org = ra.ID(after), auth.OrgID(org)
	for field, into := range map[string]*time.Time{"from": &q.NotAfterFrom, "to": &q.NotAfterTo} {
		if text := v.Get(field); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return q, problem.New(problem.Malformed, "%s is %q; give a time such as 2027-01-31T00:00:00Z", field, text)
			}
			*into = t
		}
	}
	return q, nil
}

func number(text, field string, into *int) error {
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || int64(n) > int64(ra.MaxID) {
		return problem.New(problem.Malformed, "%s is %q; give a whole number", field, text)
	}
	*into = n
	return nil
}

func (a *admin) get(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.numbered(caller, r)
	if err != nil {
		return nil, err
	}
	return a.whole(r.Context(), e)
}

// numbered finds the enrollment whose number is in the path.
func (a *admin) numbered(caller auth.Caller, r *http.Request) (*ra.Enrollment, error) {
	id := 0
	if err := number(r.PathValue("id"), "id", &id); err != nil {
		return nil, err
	}
	return a.registrar.Get(r.Context(), caller, ra.ID(id))
}

func (a *admin) bySerial(caller auth.Caller, r *http.Request) (any, error) {
	e, err := a.one(caller, r)
	if err != nil {
		return nil, err
	}
	return a.whole(r.Context(), e)
}

// one finds the one enrollment of the serial in the path; an issuer in the query chooses where two have used a number.
func (a *admin) one(caller auth.Caller, r *http.Request) (*ra.Enrollment, error) {
	serial, err := ca.ParseSerial(r.PathValue("serial"))
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "%q is no serial: %v", r.PathValue("serial"), err)
	}
	found, err := a.registrar.BySerial(r.Context(), caller, serial)
	if err != nil {
		return nil, err
	}
	issuer := r.URL.Query().Get("issuer")
	var chosen *ra.Enrollment
	for _, e := range found {
		if issuer != "" && shownIssuer(e) != issuer {
			continue
		}
		if chosen != nil && shownIssuer(chosen) == shownIssuer(e) {
			return nil, problem.New(problem.Conflict, "enrollments %d and %d have both imported the certificate with serial %s; name one by its number", chosen.ID, e.ID, serial)
		}
		if chosen != nil {
			return nil, problem.New(problem.Conflict, "issuers %s and %s have both used serial %s; name one with --issuer", shownIssuer(chosen), shownIssuer(e), serial)
		}
		chosen = e
	}
	if chosen == nil {
		return nil, problem.New(problem.NotFound, "issuer %s has no certificate with serial %s", issuer, serial)
	}
	return chosen, nil
}

// whole is the view with the certificate itself and its successor.
func (a *admin) whole(ctx context.Context, e *ra.Enrollment) (any, error) {
	v := a.view(e)
	if e.Issued.IsZero() {
		return v, nil
	}
	next, err := a.registrar.ReplacedBy(ctx, e)
	if err != nil {
		return nil, err
	}
	v.ReplacedBy = int64(next)
	if e.Imported {
		der, issuers, err := a.registrar.ImportedCertificate(ctx, e)
		if err != nil {
			return nil, err
		}
		v.PEM, v.Chain = certificatesPEM(der), certificatesPEM(issuers...)
		return v, nil
	}
	c, err := a.certificate(ctx, e.Issuer, e.Serial)
	if err != nil {
		return nil, err
	}
	v.Renewal = viewRenewal(c.Renewal)
	v.PEM, v.Chain = certificatesPEM(c.DER), string(a.chain(e.Issuer))
	return v, nil
}

// certificatesPEM writes certificates one after the other.
func certificatesPEM(ders ...[]byte) string {
	var out strings.Builder
	for _, der := range ders {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out.String()
}

// shownIssuer is an issuer of the configuration, or the distinguished name of who issued what was imported.
func shownIssuer(e *ra.Enrollment) string { return cmp.Or(e.Issuer, e.Authority) }

func (a *admin) revoke(caller auth.Caller, r *http.Request) (any, error) {
	var body revocationWord
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	e, err := a.one(caller, r)
	if err != nil {
		return nil, err
	}
	if e.Imported {
		return nil, problem.New(problem.Conflict, "certificate %s was imported; it is revoked where it was issued, by %s", e.Serial, e.Authority)
	}
	err = a.registrar.Revoke(r.Context(), caller, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Reason(body.Reason), Comment: body.Comment})
	if err != nil {
		return nil, err
	}
	e, err = a.registrar.Get(r.Context(), caller, e.ID)
	if err != nil {
		return nil, err
	}
	return a.view(e), nil
}

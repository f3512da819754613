package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
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

// operatorPrefix begins the principal of an operator of the machine; the number of its account follows.
const operatorPrefix = "uid:"

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
			principal = operatorPrefix + strconv.Itoa(int(cred.Uid))
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

package scm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/testca"
)

var update = flag.Bool("update", false, "write the golden exchanges anew")

// start is where every test's clock begins.
var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

var operator = ra.Operator("uid:0")

// The numbers of the profiles.
const (
	typeTLS      = 7 // needs no validation
	typeApproved = 8 // the same, and one approval
	typeOther    = 9 // of the other organisation alone
)

// journal takes everything.
type journal struct{}

func (journal) Append(context.Context, ...audit.Event) error { return nil }

// world is the door over a real store, a real signing gate and real principals. The organisations are main (1), below it
// branch (3), and other (2), which is another customer. In main there are ada, who may do everything, rex, who may request,
// may, who may approve, and aud, who may look; in other olga, who may do everything. password knows their passwords.
type world struct {
	*Server
	t         *testing.T
	db        *storage.DB
	authority *ca.Authority
	people    *auth.Principals
	callers   map[string]auth.Caller
	network   *network
	ended     []string // ids of ACME accounts that were deactivated

	mu  sync.Mutex
	now time.Time
	// hide are texts of exchanges that are never twice the same, by what is written for them.
	hide [][2]string
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// wait moves the clock.
func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start, callers: map[string]auth.Caller{}}
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	w.db, err = storage.Open(t.Context(), storage.Config{Engine: engine, Issuers: []string{"main"}})
	must(t, err)
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(t, err)
	soft, err := ca.NewSoftCAS(h.Chain(), h.Intermediate.Key)
	must(t, err)
	w.authority, err = ca.New(ca.Config{
		Issuers: []ca.Issuer{{Name: "main", Chain: h.Chain(), Backend: soft}}, Store: w.db, Journal: journal{}, Now: w.clock,
	})
	must(t, err)
	fields, err := policy.NewFields([]policy.Field{
		{Number: 54, Name: "cost centre", Type: policy.FieldText},
		{Number: 55, Name: "owner", Type: policy.FieldEmail},
	}, []string{string(ra.DoorConsole), string(ra.DoorSCM)})
	must(t, err)
	profiles := map[string]*policy.Profile{}
	for _, c := range []policy.Config{
		{Name: "tls", Number: typeTLS, Description: "web servers"},
		{Name: "approved", Number: typeApproved, Approvals: policy.ApprovalRule{Required: 1}},
		{Name: "other", Number: typeOther},
		{Name: "numberless"},
	} {
		c.Issuer, c.Validity, c.DCV, c.AllowNames, c.Fields = "main", 90*24*time.Hour, policy.NoValidation, []string{"*.example.com"}, fields
		c.Terms = []time.Duration{30 * 24 * time.Hour, 90 * 24 * time.Hour}
		c.ServerKeys = policy.ServerKeysOn
		profiles[c.Name], err = policy.New(c)
		must(t, err)
	}
	profiles["proven"] = provenProfile(t)
	fixed, err := auth.NewDirectory([]auth.Org{
		{ID: 1, Slug: "main", Name: "Main", Profiles: []string{"tls", "approved", "numberless", "proven"}, EAB: auth.EABRequired}, {ID: 2, Slug: "other", Name: "Other"},
		{ID: 3, Slug: "branch", Name: "Branch", Parent: 1},
	}, "tls", "approved", "other", "numberless", "proven")
	must(t, err)
	directory, err := fixed.Open(t.Context(), w.db, nil)
	must(t, err)
	var raw [32]byte
	rand.Read(raw[:])
	key, err := seal.NewKey(raw[:])
	must(t, err)
	sealer, err := seal.New(key)
	must(t, err)
	w.people, err = auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: directory, Store: w.db, Sealer: sealer, Journal: journal{}, Now: w.clock, Argon2: auth.Argon2{Memory: 64, Passes: 1, Threads: 1},
	})
	must(t, err)
	authenticator, err := auth.NewAuthenticator(t.Context(), auth.AuthenticatorConfig{Principals: w.people})
	must(t, err)
	w.network = newNetwork(w.clock)
	domains := w.network.domains(w.db, directory, profiles, sealer)
	registrar := ra.New(ra.Config{
		Store: w.db, Authority: w.authority, Certificate: w.db.Certificate, Profiles: profiles, Allowed: directory.Allowed, May: directory.May, Below: directory.Below, Domains: domains,
		MayDecide: func(caller auth.Caller, role policy.ApproverRole, org auth.OrgID) error {
			if role != policy.ByApprover {
				return problem.New(problem.Unauthorized, "nobody has this role")
			}
			return directory.May(caller, auth.Approve, org)
		},
		Journal: journal{}, Escrow: ra.Escrow{Store: w.db, Sealer: sealer}, Now: w.clock,
	})
	external := auth.NewExternalAccounts(auth.ExternalAccountsConfig{
		Store: w.db, Sealer: sealer, Journal: journal{}, Directory: directory, Now: w.clock, Serves: domains.Serves,
		CheckNames: func(patterns []string) error { return policy.Restriction{Names: patterns}.Check() },
	})
	w.Server, err = New(Config{
		External: external, EAB: auth.EABOptional, DeactivateClient: w.deactivate,
		PublicURL: "https://ca.example.com", Registrar: registrar, Authenticator: authenticator, Organisations: directory, Tenants: w.tenants(directory, registrar), Domains: domains, Fields: fields, Now: w.clock,
		Chain: func(issuer string) (chain []byte) {
			if issuer != "main" {
				return nil
			}
			for _, c := range h.Chain() {
				chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
			}
			return chain
		},
		Offer:        func(f bundle.Format) (ra.Offer, error) { return console.ParseOffer(f.String(), "", false) },
		DownloadPath: console.DownloadPath,
		Login:        w.login,
		Remote:       func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.9") },
	})
	must(t, err)
	for _, p := range []struct {
		login, org string
		roles      []auth.Role
	}{
		{"ada", "main", auth.Roles()}, {"rex", "main", []auth.Role{auth.Requester}}, {"may", "main", []auth.Role{auth.Approver}},
		{"aud", "main", []auth.Role{auth.Auditor}}, {"olga", "other", auth.Roles()},
	} {
		w.person(p.login, p.org, p.roles...)
	}
	return w
}

// person adds a principal.
func (w *world) person(login, org string, roles ...auth.Role) {
	w.t.Helper()
	in := auth.NewPrincipal{Org: org, Login: login}
	for _, r := range roles {
		in.Grants = append(in.Grants, auth.NamedGrant{Org: org, Role: r})
	}
	p, err := w.people.Add(w.t.Context(), operator, in)
	must(w.t, err)
	_, err = w.people.SetPassword(w.t.Context(), operator, auth.Ref{ID: p.ID}, password(login))
	must(w.t, err)
	w.callers[login], err = w.people.Acting(w.t.Context(), operator, auth.Ref{ID: p.ID})
	must(w.t, err)
	w.hides(fmt.Sprintf(`"requesterId":%d`, p.ID), `"requesterId":ID`)
	w.hides(fmt.Sprintf(`"ownerId":%d`, p.ID), `"ownerId":ID`)
}

func password(login string) string { return "correct-horse-of-" + login }

func (w *world) login(ctx context.Context, principal string) string {
	for login, c := range w.callers {
		if c.Principal == principal {
			return login
		}
	}
	return principal
}

// hides has a text written as another in golden exchanges.
func (w *world) hides(text, as string) { w.hide = append(w.hide, [2]string{text, as}) }

// csr is one for names, in PEM, with a new key.
func (w *world) csr(names ...string) string {
	w.t.Helper()
	return string(testca.CSRPEM(w.csrDER(names...)))
}

func (w *world) csrDER(names ...string) []byte {
	w.t.Helper()
	key, err := testca.NewKey(testca.P256)
	must(w.t, err)
	csr, err := testca.CSR(key, names...)
	must(w.t, err)
	return csr
}

// issue has a certificate issued to somebody, by this door.
func (w *world) issue(login, profile string, names ...string) *ra.Enrollment {
	w.t.Helper()
	var list []identifier.Identifier
	for _, n := range names {
		id, err := identifier.ParseDNS(n)
		must(w.t, err)
		list = append(list, id)
	}
	e, err := w.Registrar.Submit(w.t.Context(), w.callers[login], ra.Request{Door: ra.DoorSCM, Profile: profile, Names: list, CSR: w.csrDER(names...)})
	must(w.t, err)
	w.hidesSerial(e)
	return e
}

// hidesSerial hides the serial number of an enrollment, in all its forms.
func (w *world) hidesSerial(e *ra.Enrollment) {
	if e.Serial == "" {
		return
	}
	as := fmt.Sprintf("SERIAL%d", e.ID)
	w.hides(colons(string(e.Serial)), as+":COLONS")
	w.hides(string(e.Serial), as)
	w.hides(strings.ToUpper(string(e.Serial)), as+"-UPPER")
}

// as is a request of somebody with the headers that password clients send. body "" is none.
func (w *world) as(login, method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("login", login)
	r.Header.Set("password", password(login))
	r.Header.Set("customerUri", map[bool]string{true: "other", false: "main"}[login == "olga"])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	after := w.held(r)
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	after(rec)
	return rec
}

// call is an exchange of somebody that must have a status.
func (w *world) call(login, method, path, body string, status int) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := w.do(w.as(login, method, path, body))
	if rec.Code != status {
		w.t.Fatalf("%s %s: status %d, want %d: %s", method, path, rec.Code, status, rec.Body)
	}
	return rec
}

// hashes are hexadecimal digests of what is never twice the same.
var hashes = regexp.MustCompile(`("(?:md5|sha1|sha256)(?:Hash)?":)"[0-9a-f]+"`)

// golden makes an exchange and compares it with testdata/NAME.txt: what was asked, status, headers and body. -update writes the
// file instead. What hides has named is written by its name.
func (w *world) golden(name, login, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.goldenRequest(name, w.as(login, method, path, body), body)
}

func (w *world) goldenRequest(name string, r *http.Request, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	rec := w.do(r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "> %s %s\n", r.Method, r.URL.RequestURI())
	if r.Header.Get("login") != "" {
		fmt.Fprintf(&b, "> login: %s\n", r.Header.Get("login"))
	}
	if body != "" {
		fmt.Fprintf(&b, "> \n> %s\n", strings.ReplaceAll(strings.TrimSpace(body), "\n", "\n> "))
	}
	fmt.Fprintf(&b, "< %d\n", rec.Code)
	for _, h := range []string{"Allow", "Content-Disposition", "Content-Type", "Location", "Retry-After", "WWW-Authenticate", "X-Total-Count"} {
		if v := rec.Header().Get(h); v != "" {
			fmt.Fprintf(&b, "< %s: %s\n", h, v)
		}
	}
	if rec.Body.Len() > 0 {
		fmt.Fprintf(&b, "< \n< %s\n", strings.ReplaceAll(strings.TrimRight(rec.Body.String(), "\n"), "\n", "\n< "))
	}
	text := hashes.ReplaceAllString(b.String(), `$1"HASH"`)
	for _, h := range w.hide {
		text = strings.ReplaceAll(text, h[0], h[1])
	}
	text = hidden(text)
	file := filepath.Join("testdata", name+".txt")
	if *update {
		must(w.t, os.WriteFile(file, []byte(text), 0o644))
		return rec
	}
	want, err := os.ReadFile(file)
	must(w.t, err)
	if text != string(want) {
		w.t.Errorf("%s: the exchange is\n%s\nand was to be\n%s", name, text, want)
	}
	return rec
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

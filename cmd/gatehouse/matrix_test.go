package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Whoever may not, at every route of every door. A door adds a doorTable to doorTables. Its routes come from the door's own
// table, so that a route without a row fails, and so does a row without a route, or one that says nothing of one of the callers.

// stranger is a kind of caller who may not.
type stranger string

const (
	none        stranger = "none"                    // no credentials
	wrong       stranger = "wrong"                   // credentials that are nobody's
	expired     stranger = "expired"                 // that were somebody's
	disabled    stranger = "disabled"                // of somebody who may do nothing any more
	otherTenant stranger = "another organisation"    // who may do this to objects of his own
	lowerRole   stranger = "a role that may not"     // of the organisation itself
	notHere              = "does not apply because " // what begins an outcome that cannot be tried
)

var strangers = []stranger{none, wrong, expired, disabled, otherTenant, lowerRole}

// doorTable is one door.
type doorTable struct {
	door   string
	routes []string
	// rows say for each route and stranger what is tried: nil error is a refusal as it should be. A text that begins with
	// notHere is instead of a trial.
	rows map[string]map[stranger]trial
}

type trial struct {
	why string // notHere and the reason, or empty
	try func(t *testing.T)
}

func not(reason string) trial { return trial{why: notHere + reason} }

func try(f func(t *testing.T)) trial { return trial{try: f} }

// doorTables are all doors.
func doorTables(t *testing.T) []doorTable {
	return []doorTable{socketTable(), acmeTable(t), downloadTable(t), emailTable(t), scmTable(t)}
}

func TestEveryRouteRefusesStrangers(t *testing.T) {
	t.Parallel()
	for _, table := range doorTables(t) {
		if len(table.routes) == 0 {
			t.Errorf("%s has no routes", table.door)
		}
		for route := range table.rows {
			if !slices.Contains(table.routes, route) {
				t.Errorf("%s: there is a row for %s, which is no route", table.door, route)
			}
		}
		for _, route := range table.routes {
			row, ok := table.rows[route]
			if !ok {
				t.Errorf("%s: %s has no row: say what each stranger is told there", table.door, route)
				continue
			}
			for _, s := range strangers {
				switch c := row[s]; {
				case c.try != nil:
					t.Run(fmt.Sprintf("%s/%s/%s", table.door, strings.ReplaceAll(route, "/", "|"), s), c.try)
				case !strings.HasPrefix(c.why, notHere) || len(c.why) < len(notHere)+10:
					t.Errorf("%s: %s says nothing of the stranger %q", table.door, route, s)
				}
			}
		}
	}
}

// socketTable is the operator's socket: nobody who is no operator gets to a handler, of which there is nothing here but the check
// before it.
func socketTable() doorTable {
	table := doorTable{door: "socket", rows: map[string]map[stranger]trial{}}
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}})
	if err != nil {
		panic(err)
	}
	door := &operatorDoor{core: func() *core { return &core{organisations: directory} }}
	handler := door.server().Handler
	grants := func(org auth.OrgID) (list []auth.Grant) {
		for _, r := range auth.Roles() {
			list = append(list, auth.Grant{Org: org, Role: r})
		}
		return list
	}
	for _, route := range adminRoutes() {
		table.routes = append(table.routes, route.pattern)
		method, path, _ := strings.Cut(route.pattern, " ")
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "1")
		as := func(callers ...auth.Caller) trial {
			return try(func(t *testing.T) {
				for _, c := range callers {
					answer, err := door.as(c, route.handle, httptest.NewRequest(method, path, strings.NewReader("{}")))
					if answer != nil || !problem.Is(err, problem.Unauthorized) && !problem.Is(err, problem.NotFound) {
						t.Errorf("%+v: %v, %v", c, answer, err)
					}
				}
			})
		}
		table.rows[route.pattern] = map[stranger]trial{
			none: try(func(t *testing.T) {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
				if w.Code != http.StatusForbidden {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			}),
			wrong:       as(auth.Caller{}, auth.Caller{Operator: true}),
			expired:     not("a user id of the machine does not expire"),
			disabled:    not("whom the machine lets open the socket is not the gateway's matter"),
			otherTenant: as(auth.Caller{Principal: "user:7", Org: 2, Roles: grants(2)}, auth.Caller{Principal: "acme:x", Org: 2}),
			lowerRole:   as(auth.Caller{Principal: "user:7", Org: 1, Roles: grants(1)}, auth.Caller{Principal: "system", Org: 1}),
		}
	}
	return table
}

// acmeTable is the ACME door of a running gateway.
func acmeTable(t *testing.T) doorTable {
	i := startGateway(t)
	i.mustCommand("org", "add", "other")
	at := *i
	at.directory = strings.Replace(i.directory, "/acme/directory", "/acme/in/other/directory", 1)
	owner, foreign, gone := registered(i), registered(&at), registered(i)
	gone.post(gone.kid, map[string]string{"status": "deactivated"}).want(http.StatusOK)
	wrongKey, goneKey := owner.in(t), gone.in(t)
	wrongKey.key, goneKey.kid = foreign.key, ""

	web := i.answers()
	done := owner.ready(web, "www.example.com")
	_, csr := newCSR(t, "www.example.com")
	owner.finalize(done, csr).want(http.StatusOK)
	leaf := owner.await(done)[0]
	done = owner.look(done)
	var account struct{ Orders string }
	owner.post(owner.kid, nil).decode(&account)
	var authz struct{ Challenges []struct{ URL string } }
	owner.post(done.Authorizations[0], nil).decode(&authz)
	if account.Orders == "" || len(authz.Challenges) == 0 || leaf == nil {
		t.Fatalf("the world is incomplete: %+v, %+v", account, authz)
	}
	order := map[string]any{"identifiers": dnsNames("www.example.com")}
	revocation := map[string]any{"certificate": b64(leaf.Raw)}
	entry := func(name string) string { return owner.url(name) }
	table := doorTable{door: "acme", routes: acme.Resources(), rows: map[string]map[stranger]trial{}}
	for route, r := range map[string]struct {
		url     string
		payload any
		object  bool // it is the owner's
		open    bool // anybody may
	}{
		"directory":    {url: i.directory, open: true},
		"new-nonce":    {url: entry("newNonce"), open: true},
		"renewal-info": {url: entry("renewalInfo") + "/" + b64(leaf.AuthorityKeyId) + "." + b64(leaf.SerialNumber.Bytes()), open: true},
		"new-account":  {url: entry("newAccount"), payload: map[string]any{"termsOfServiceAgreed": true}},
		"new-order":    {url: entry("newOrder"), payload: order},
		"new-authz":    {url: entry("newAuthz"), payload: map[string]any{"identifier": dnsNames("www.example.com")[0]}},
		"key-change":   {url: entry("keyChange"), payload: map[string]any{}},
		"revoke-cert":  {url: entry("revokeCert"), payload: revocation},
		"account":      {url: owner.kid, object: true},
		"orders":       {url: account.Orders, object: true},
		"order":        {url: done.URL, object: true},
		"finalize":     {url: done.Finalize, payload: map[string]string{"csr": b64(csr)}, object: true},
		"authz":        {url: done.Authorizations[0], object: true},
		"challenge":    {url: authz.Challenges[0].URL, payload: map[string]any{}, object: true},
		"certificate":  {url: done.Certificate, object: true},
	} {
		by := func(c *rawClient, kinds ...string) trial {
			return try(func(t *testing.T) {
				url := r.url
				if c == gone { // it is told nothing of another's account, so it asks for its own
					url = strings.Replace(url, owner.kid, gone.kid, 1)
				}
				a := c.in(t).post(url, r.payload)
				if a.status < 400 || a.status >= 500 || !slices.Contains(kinds, a.problem()) {
					t.Errorf("status %d: %s, want one of %v", a.status, a.body, kinds)
				}
			})
		}
		row := map[stranger]trial{
			none: try(func(t *testing.T) {
				if a := owner.in(t).do(http.MethodPost, r.url, []byte("{}")); a.status < 400 || a.status >= 500 {
					t.Errorf("status %d: %s", a.status, a.body)
				}
			}),
			wrong:       by(wrongKey, "malformed", "unauthorized"),
			expired:     not("accounts do not expire"),
			disabled:    by(gone, "unauthorized"),
			otherTenant: not("it names no object of an organisation"),
			lowerRole:   not("accounts have no roles"),
		}
		switch {
		case route == "new-account": // signed by a key, not by an account
			row[wrong] = by(wrongKey, "malformed")
			row[disabled] = by(goneKey, "unauthorized")
		case route == "revoke-cert":
			row[otherTenant] = by(foreign, "unauthorized")
		case r.open:
			row[none] = not("it is open to everybody (RFC 8555, 7.1.1 and 7.2; RFC 9773, 4.1)")
		case r.object:
			row[otherTenant] = try(func(t *testing.T) {
				client := foreign.in(t)
				its, absent := client.post(r.url, r.payload), client.post(absentURL(t, r.url), r.payload)
				if its.status < 400 || its.status >= 500 || its.status != absent.status || withoutInstance(its.body) != withoutInstance(absent.body) {
					t.Errorf("another's is answered with %d, and what there is not with %d\n%s\n%s", its.status, absent.status, its.body, absent.body)
				}
			})
		}
		table.rows[route] = row
	}
	return table
}

// in is the client in another test.
func (c *rawClient) in(t *testing.T) *rawClient {
	return &rawClient{t: t, http: c.http, key: c.key, kid: c.kid, directory: c.directory}
}

// absentURL is a URL of the same form as one of an object, of an object that there is not.
func absentURL(t *testing.T, url string) string {
	t.Helper()
	m := regexp.MustCompile(`^(.*/acme/r/[a-z-]+/)([A-Za-z0-9_-])(.+)$`).FindStringSubmatch(url)
	if m == nil {
		t.Fatalf("%s is of no known form", url)
	}
	other := "A"
	if m[2] == other {
		other = "B"
	}
	return m[1] + other + m[3]
}

// withoutInstance is what a problem document says besides its URLs.
func withoutInstance(body []byte) string {
	var p struct{ Type, Detail string }
	json.Unmarshal(body, &p)
	return p.Type + " " + regexp.MustCompile(`https?://\S+`).ReplaceAllString(p.Detail, "URL")
}

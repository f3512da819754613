package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// scmHouse is a whole gateway in this process with two customers, by tokens.
type scmHouse struct {
	t       *testing.T
	core    *core
	clients map[string][3]string // id, secret and the credential's id, by login
	callers map[string]auth.Caller
	old     map[string]string // tokens of those who count no more
	calls   atomic.Int32
}

// scmProfile is the profile's number.
const scmProfile = 7

func newSCMHouse(t *testing.T) *scmHouse {
	t.Helper()
	d, err := newDev(t.TempDir(), devFlags{}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(d.close)
	d.settings.profiles["dev"], err = policy.New(policy.Config{
		Name: "dev", Number: scmProfile, Issuer: "dev", Validity: 12 * time.Hour, Backdate: time.Minute, ServerKeys: policy.ServerKeysOn, DCV: policy.NoValidation,
		AllowNames: []string{"*.example.com"},
	})
	must(t, err)
	h := &scmHouse{t: t, clients: map[string][3]string{}, callers: map[string]auth.Caller{}}
	h.core, err = openCore(t.Context(), d.settings, nil, nil)
	must(t, err)
	t.Cleanup(func() {
		h.core.finish(context.Background())
		h.core.close()
	})
	_, err = h.core.tenants.Add(t.Context(), ra.Operator("uid:0"), auth.NewOrg{Slug: "rival", Name: "Rival"})
	must(t, err)
	return h
}

// person adds a principal with an OAuth2 client.
func (h *scmHouse) person(login, org string, roles ...auth.Role) {
	h.t.Helper()
	operator := ra.Operator("uid:0")
	in := auth.NewPrincipal{Org: org, Login: login}
	for _, r := range roles {
		in.Grants = append(in.Grants, auth.NamedGrant{Org: org, Role: r})
	}
	p, err := h.core.principals.Add(h.t.Context(), operator, in)
	must(h.t, err)
	_, credential, secret, err := h.core.principals.AddCredential(h.t.Context(), operator, auth.Ref{ID: p.ID}, auth.NewCredential{Kind: auth.OAuthClient, Label: "scm"})
	must(h.t, err)
	h.clients[login] = [3]string{secret.ClientID, secret.ClientSecret, credential.ID}
	h.callers[login], err = h.core.principals.Acting(h.t.Context(), operator, auth.Ref{ID: p.ID})
	must(h.t, err)
}

// issue has a certificate made for somebody.
func (h *scmHouse) issue(login string) ra.ID {
	h.t.Helper()
	name, err := identifier.ParseDNS("www.example.com")
	must(h.t, err)
	e, err := h.core.registrar.Submit(h.t.Context(), h.callers[login], ra.Request{
		Door: ra.DoorSCM, Profile: "dev", Names: []identifier.Identifier{name}, Key: policy.ECDSAP256,
	})
	must(h.t, err)
	return e.ID
}

// token asks for an access token with a client's id and secret; empty if it is refused.
func (h *scmHouse) token(client [3]string) (token string, status int) {
	r := httptest.NewRequest(http.MethodPost, scm.TokenPath, strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client[0], client[1])
	r.RemoteAddr = h.address()
	w := httptest.NewRecorder()
	h.core.doors.ServeHTTP(w, r)
	_, rest, _ := strings.Cut(w.Body.String(), `"access_token":"`)
	token, _, _ = strings.Cut(rest, `"`)
	return token, w.Code
}

func (h *scmHouse) do(method, path, body, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.RemoteAddr = h.address()
	w := httptest.NewRecorder()
	h.core.doors.ServeHTTP(w, r)
	return w
}

// address is another one each time: addresses are slowed down that keep trying what does not count.
func (h *scmHouse) address() string {
	n := h.calls.Add(1)
	return fmt.Sprintf("198.51.%d.%d:443", n>>8&0xff, n&0xff)
}

// scmTable is the door for programs that were written for SCM.
func scmTable(t *testing.T) doorTable {
	h := newSCMHouse(t)
	operator := ra.Operator("uid:0")
	all := []auth.Role{auth.Requester, auth.Approver, auth.Administrator, auth.Auditor}
	h.person("owner", "dev", all...)
	h.person("auditor", "dev", auth.Auditor)
	h.person("stranger", "rival", all...)
	h.person("gone", "dev", all...)
	h.person("ended", "dev", all...)
	id := h.issue("owner")
	_, err := h.core.registrar.Locate(t.Context(), h.callers["owner"], id, ra.Location{Name: "rack"})
	must(t, err)
	e, err := h.core.registrar.Get(t.Context(), operator, id)
	must(t, err)
	token := map[string]string{"wrong": "ght_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	for login, client := range h.clients {
		token[login], _ = h.token(client)
		if token[login] == "" {
			t.Fatalf("%s gets no token", login)
		}
	}
	h.old = token
	yes := true
	_, err = h.core.principals.Edit(t.Context(), operator, auth.Ref{ID: principalOf(t, h.callers["gone"])}, auth.PrincipalEdit{Disabled: &yes})
	must(t, err)
	// A rotation without overlap ends what was there.
	_, _, _, err = h.core.principals.Rotate(t.Context(), operator, h.clients["ended"][2], auth.Rotation{})
	must(t, err)
	csr := scmCSR(t, "www.example.com")

	table := doorTable{door: "scm", routes: scm.Routes(), rows: map[string]map[stranger]trial{}}
	table.rows["POST "+scm.TokenPath] = tokenRow(h)
	routes := scmRoutes(e, e.Org, csr)
	maps.Copy(routes, h.acmeRoutes(e.Org))
	maps.Copy(routes, h.dcvRoutes(e.Org))
	maps.Copy(routes, h.domainRoutes(e.Org))
	maps.Copy(routes, h.organizationRoutes(e.Org))
	maps.Copy(routes, keystoreRoutes(e))
	for route, r := range routes {
		method, _, _ := strings.Cut(route, " ")
		by := func(who string, status int, codes ...int) trial {
			return try(func(t *testing.T) { scmRefused(t, method, h.do(method, r.path, r.body, token[who]), status, codes...) })
		}
		row := map[stranger]trial{
			none: by("", 401, -16), wrong: by("wrong", 401, -16), expired: by("ended", 401, -16), disabled: by("gone", 401, -16),
		}
		if r.absent != "" {
			row[otherTenant] = try(func(t *testing.T) {
				foreign, absent := h.do(method, r.path, r.body, token["stranger"]), h.do(method, r.absent, r.absentBody, token["stranger"])
				if foreign.Code < 400 || foreign.Code >= 500 || foreign.Code != absent.Code || scmShape(foreign) != scmShape(absent) {
					t.Errorf("another's is answered with %d: %s\nand what there is not with %d: %s", foreign.Code, foreign.Body, absent.Code, absent.Body)
				}
			})
		} else {
			row[otherTenant] = not("it names no object of an organisation, and shows the caller's own")
		}
		if r.writes {
			row[lowerRole] = by("auditor", 400, -3)
		} else {
			row[lowerRole] = not("every role may look")
		}
		table.rows[route] = row
	}
	h.importRow(table, e.Org)
	return table
}

// importRow is the row of the path that answers for each certificate of a call by itself.
func (h *scmHouse) importRow(table doorTable, org auth.OrgID) {
	const route, path = "POST " + "/api/ssl/{v}/import", "/api/ssl/v2/import"
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(h.t, err)
	leaf, err := hierarchy.Leaf("www.example.net")
	must(h.t, err)
	body := func(org auth.OrgID) string {
		return fmt.Sprintf(`[{"orgID":%d,"cert":%q}]`, org, base64.StdEncoding.EncodeToString(leaf.Certificate[0]))
	}
	tokens := map[string]string{}
	for _, who := range []string{"stranger", "auditor"} {
		tokens[who], _ = h.token(h.clients[who])
	}
	row := map[stranger]trial{}
	for s, token := range map[stranger]string{none: "", wrong: "ght_x", expired: h.old["ended"], disabled: h.old["gone"]} {
		row[s] = try(func(t *testing.T) {
			scmRefused(t, "POST", h.do("POST", path, body(org), token), 401, -16)
			h.zipRefused(t, s, org, token)
		})
	}
	refused := func(who string, org auth.OrgID) string {
		w := h.do("POST", path, body(org), tokens[who])
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"cert"`) || !strings.Contains(w.Body.String(), `"errorMessage"`) {
			return fmt.Sprintf("status %d: %s", w.Code, w.Body)
		}
		return scmShape(w)
	}
	row[otherTenant] = try(func(t *testing.T) {
		if foreign, absent := refused("stranger", org), refused("stranger", 4711); foreign != absent || !strings.HasPrefix(foreign, "[") {
			t.Errorf("another's is answered with %s, and what there is not with %s", foreign, absent)
		}
		h.zipRefused(t, otherTenant, org, tokens["stranger"])
	})
	row[lowerRole] = try(func(t *testing.T) {
		if said := refused("auditor", org); !strings.HasPrefix(said, "[") || !strings.Contains(said, "needs the role") {
			t.Errorf("the answer is %s", said)
		}
		h.zipRefused(t, lowerRole, org, tokens["auditor"])
	})
	table.rows[route] = row
}

// tokenRow is the row of the path that gives tokens.
func tokenRow(h *scmHouse) map[stranger]trial {
	refused := func(client [3]string) trial {
		return try(func(t *testing.T) {
			if token, status := h.token(client); token != "" || status != http.StatusUnauthorized {
				t.Errorf("status %d, token %q", status, token)
			}
		})
	}
	owner := h.clients["owner"]
	return map[stranger]trial{
		none: refused([3]string{}), wrong: refused([3]string{owner[0], h.clients["stranger"][1]}), expired: refused(h.clients["ended"]),
		disabled: refused(h.clients["gone"]), otherTenant: not("it names no object of an organisation"), lowerRole: not("a token is for whoever has a client"),
	}
}

func principalOf(t *testing.T, c auth.Caller) auth.PrincipalID {
	t.Helper()
	id, ok := auth.ParsePrincipalID(c.Principal)
	if !ok {
		t.Fatalf("%s has no number", c.Principal)
	}
	return id
}

// scmRefused demands an answer with one of SCM's numbers. To HEAD there is no body to have one.
func scmRefused(t *testing.T, method string, w *httptest.ResponseRecorder, status int, codes ...int) {
	t.Helper()
	for _, code := range codes {
		if w.Code == status && (method == http.MethodHead || strings.Contains(w.Body.String(), fmt.Sprintf(`"code":%d,`, code))) {
			return
		}
	}
	t.Errorf("status %d: %s, want %d with one of %v", w.Code, w.Body, status, codes)
}

// scmShape is an answer without the numbers that it was asked for.
func scmShape(w *httptest.ResponseRecorder) string {
	return w.Header().Get("Location") + regexp.MustCompile(`(enrollment|certificate|domain|organisation|account|number|location) (\\")?[0-9a-f]+`).ReplaceAllString(w.Body.String(), "$1 X")
}

func scmCSR(t *testing.T, name string) string {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	der, err := testca.CSR(key, name)
	must(t, err)
	text, err := json.Marshal(string(testca.CSRPEM(der)))
	must(t, err)
	return string(text)
}

// scmRoute is what is asked of a route.
type scmRoute struct {
	path, body string
	// absent and absentBody ask for the same of what there is not. Empty: the route names no object.
	absent, absentBody string
	writes             bool
}

// scmRoutes are what is asked of all routes, about an enrollment.
func scmRoutes(e *ra.Enrollment, org auth.OrgID, csr string) map[string]scmRoute {
	const base = "/api/ssl/v2"
	id := fmt.Sprint(e.ID)
	routes := map[string]scmRoute{}
	// of adds a route whose pattern has one object in it.
	of := func(method, pattern, parameter, value, other, body string, writes bool) {
		at := func(v string) string {
			return base + strings.NewReplacer("{"+parameter+"}", v, "{locationId}", "1", "{format}", "x509").Replace(pattern)
		}
		routes[method+" "+"/api/ssl/{v}"+pattern] = scmRoute{at(value), body, at(other), body, writes}
	}
	plain := func(method, pattern, query, absentQuery, body, absentBody string, writes bool) {
		r := scmRoute{base + pattern + query, body, "", absentBody, writes}
		if absentQuery != "" || absentBody != "" {
			r.absent = base + pattern + absentQuery
		}
		routes[method+" "+"/api/ssl/{v}"+pattern] = r
	}
	const reason, message = `{"reason":"x"}`, `{"message":"x"}`
	numbered := func(format string) (string, string) {
		return fmt.Sprintf(format, id), fmt.Sprintf(format, "4711")
	}
	inOrg := func(format string) (string, string) {
		return fmt.Sprintf(format, fmt.Sprint(org)), fmt.Sprintf(format, "4711")
	}
	for _, r := range []struct {
		method, pattern, body string
		writes                bool
	}{
		{"GET", "/{sslId}", "", false}, {"DELETE", "/{sslId}", "", true}, {"GET", "/{sslId}/location", "", false},
		{"POST", "/{sslId}/location", `{"details":{"host":"a1"}}`, true}, {"GET", "/{sslId}/location/{locationId}", "", false},
		{"PUT", "/{sslId}/location/{locationId}", `{"details":{"host":"a1"}}`, true}, {"DELETE", "/{sslId}/location/{locationId}", "", true},
		{"POST", "/renewById/{sslId}", "", true}, {"POST", "/replace/{sslId}", `{"reason":"x","csr":` + csr + `}`, true},
		{"GET", "/collect/{sslId}", "", false}, {"GET", "/collect/{sslId}/{format}", "", false}, {"GET", "/{sslId}/dcv", "", false},
		{"POST", "/{sslId}/dcv/recheck", "", true},
	} {
		of(r.method, r.pattern, "sslId", id, "4711", r.body, r.writes)
	}
	of("POST", "/revoke/{id}", "id", id, "4711", reason, true)
	of("POST", "/approve/{id}", "id", id, "4711", message, true)
	of("POST", "/decline/{id}", "id", id, "4711", message, true)
	of("POST", "/renew/manual/{id}", "id", id, "4711", "", true)
	of("POST", "/revoke/serial/{serialNumber}", "serialNumber", string(e.Serial), "01ab", reason, true)
	of("POST", "/renew/{renewId}", "renewId", e.RenewID(), strings.Repeat("A", 20), "", true)
	its, absent := numbered(`{"certId":%s}`)
	plain("POST", "/revoke/manual", "", "", its, absent, true)
	its, absent = numbered(`{"sslId":%s,"comments":"x"}`)
	plain("PUT", "", "", "", its, absent, true)
	its, absent = inOrg("?orgId=%s")
	plain("GET", "", its, absent, "", "", false)
	plain("HEAD", "", its, absent, "", "", false)
	its, absent = inOrg("?organizationId=%s")
	plain("GET", "/types", its, absent, "", "", false)
	plain("GET", "/customFields", "", "", "", "", false)
	its, absent = inOrg(fmt.Sprintf(`{"orgId":%%s,"certType":%d,"term":1,"csr":%s}`, scmProfile, strings.ReplaceAll(csr, "%", "%%")))
	plain("POST", "/enroll", "", "", its, absent, true)
	its, absent = inOrg(fmt.Sprintf(`{"orgId":%%s,"certType":%d,"term":1,"commonName":"www.example.com","algorithm":"EC","keyParam":"P-256"}`, scmProfile))
	plain("POST", "/enroll-keygen", "", "", its, absent, true)
	return routes
}

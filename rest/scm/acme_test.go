package scm

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// deactivate stands in for the ACME door, whose own tests say what it does.
func (w *world) deactivate(ctx context.Context, caller auth.Caller, kid, account string) error {
	list, _, err := w.db.EABClients(ctx, kid, 0, 100)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(c auth.EABClient) bool { return c.ID == account }) {
		return problem.New(problem.NotFound, "no such ACME account was made by this key")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, caller.Principal+" "+account)
	return nil
}

const acmeMain = "https://ca.example.com/acme/in/main/directory"

// acmeAccount makes an account over the door, and gives its number.
func (w *world) acmeAccount(login string, org auth.OrgID, name, server string) int32 {
	w.t.Helper()
	rec := w.call(login, "POST", "/api/acme/v1/account", fmt.Sprintf(`{"name":%q,"acmeServer":%q,"organizationId":%d}`, name, server, org), http.StatusCreated)
	w.wait(time.Second) // lists are by the second in which accounts were made
	return w.hidesAccount(rec.Header().Get("Location"))
}

// hidesAccount hides what is never twice the same of an account by the URL of it.
func (w *world) hidesAccount(location string) int32 {
	w.t.Helper()
	n, err := strconv.ParseInt(path.Base(location), 10, 32)
	must(w.t, err)
	k, err := w.External.ByNumber(w.t.Context(), operator, int32(n))
	must(w.t, err)
	w.hidesKey(k.EABKey)
	return int32(n)
}

func (w *world) hidesKey(k *auth.EABKey) {
	w.t.Helper()
	w.hides(strconv.Itoa(int(k.Number)), "NUMBER")
	w.hides(k.ID, "KID")
	if mac, err := w.External.MACKey(w.t.Context(), operator, k); err == nil && mac != nil {
		w.hides(base64.RawURLEncoding.EncodeToString(mac), "MACKEY")
	}
}

// bound is an ACME account that was made with the key of a number.
func (w *world) bound(number int32, id string, contacts ...string) {
	w.t.Helper()
	k, err := w.External.ByNumber(w.t.Context(), operator, number)
	must(w.t, err)
	must(w.t, w.db.CreateAccount(w.t.Context(), &acme.Account{
		ID: acme.AccountID(id), Org: k.Org, Key: []byte("{}"), Thumbprint: id, Contacts: contacts, Created: start, Binding: &acme.Binding{KeyID: k.ID, JWS: []byte("{}")},
	}, k.EABKey))
}

// at is a path with the number of an account in the place of N.
func at(pattern string, number int32) string {
	return strings.Replace(pattern, "/N", fmt.Sprintf("/%d", number), 1)
}

// TestACMEAccount: an account from its making to its end, in both versions and as one of a private CA.
func TestACMEAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.domain("example.com", "main")
	body := `{"name":"web servers","acmeServer":"https://ca.example.com/acme/in/main/directory","organizationId":1,"certValidationType":"DV","evDetails":{}}`
	rec := w.do(w.as("ada", "POST", "/api/acme/v1/account", body))
	n := w.hidesAccount(rec.Header().Get("Location"))
	w.goldens([]exchange{
		{"acme-account-get-v1", "ada", "GET", at("/api/acme/v1/account/N", n), ""},
		{"acme-account-get-v2", "ada", "GET", at("/api/acme/v2/account/N", n), ""},
		{"acme-account-get-pca", "ada", "GET", at("/api/acme/v1/pca/account/N", n), ""},
		{"acme-account-get-auditor", "aud", "GET", at("/api/acme/v1/account/N", n), ""},
		{"acme-account-get-foreign", "olga", "GET", at("/api/acme/v1/account/N", n), ""},
		{"acme-account-get-absent", "ada", "GET", "/api/acme/v1/account/77", ""},
		{"acme-account-get-word", "ada", "GET", "/api/acme/v2/account/x", ""},
		{"acme-rename", "ada", "PUT", at("/api/acme/v1/account/N", n), `{"name":"Web"}`},
		{"acme-rename-blank", "ada", "PUT", at("/api/acme/v1/account/N", n), `{"name":" "}`},
		{"acme-rename-long", "ada", "PUT", at("/api/acme/v1/account/N", n), `{"name":` + long(129) + `}`},
		{"acme-rename-lines", "ada", "PUT", at("/api/acme/v1/account/N", n), `{"name":"a\nb"}`},
		{"acme-rename-no-right", "rex", "PUT", at("/api/acme/v1/account/N", n), `{"name":"Web"}`},
		{"acme-rename-foreign", "olga", "PUT", at("/api/acme/v1/account/N", n), `{"name":"Web"}`},
		{"acme-account-get-renamed", "ada", "GET", at("/api/acme/v2/account/N", n), ""},
		{"acme-delete-no-right", "aud", "DELETE", at("/api/acme/v1/account/N", n), ""},
		{"acme-delete-foreign", "olga", "DELETE", at("/api/acme/v1/account/N", n), ""},
		{"acme-delete", "ada", "DELETE", at("/api/acme/v1/account/N", n), ""},
		{"acme-delete-again", "ada", "DELETE", at("/api/acme/v1/account/N", n), ""},
		{"acme-account-get-deleted", "ada", "GET", at("/api/acme/v1/account/N", n), ""},
		{"acme-rename-deleted", "ada", "PUT", at("/api/acme/v2/account/N", n), `{"name":"Web"}`},
		{"acme-domains-add-deleted", "ada", "POST", at("/api/acme/v2/account/N/domain", n), `{"domains":[{"name":"example.com"}]}`},
		{"acme-list-deleted", "ada", "GET", "/api/acme/v1/account?organizationId=1", ""},
	})
	k, err := w.db.EABKeyOfNumber(t.Context(), n)
	must(t, err)
	if k.Removed.IsZero() || k.Revoked.IsZero() || len(k.Domains) != 0 || k.Label != "Web" {
		t.Errorf("the key is %+v", k)
	}
}

// TestACMECreate is what is made, and what is refused and leaves nothing.
func TestACMECreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const v1, pca = "/api/acme/v1/account", "/api/acme/v1/pca/account"
	body := `{"name":"web","acmeServer":"main","organizationId":1}`
	private := with(t, body, "profileName", `"tls"`)
	w.goldens([]exchange{
		{"acme-create-no-organization", "ada", "POST", v1, with(t, body, "organizationId", "")},
		{"acme-create-null-organization", "ada", "POST", v1, with(t, body, "organizationId", "null")},
		{"acme-create-organization-zero", "ada", "POST", v1, with(t, body, "organizationId", "0")},
		{"acme-create-foreign-organization", "ada", "POST", v1, with(t, body, "organizationId", "2")},
		{"acme-create-absent-organization", "ada", "POST", v1, with(t, body, "organizationId", "4711")},
		{"acme-create-no-name", "ada", "POST", v1, with(t, body, "name", "")},
		{"acme-create-long-name", "ada", "POST", v1, with(t, body, "name", long(129))},
		{"acme-create-name-no-text", "ada", "POST", v1, with(t, body, "name", "7")},
		{"acme-create-no-server", "ada", "POST", v1, with(t, body, "acmeServer", "")},
		{"acme-create-long-server", "ada", "POST", v1, with(t, body, "acmeServer", long(1025))},
		{"acme-create-other-server", "ada", "POST", v1, with(t, body, "acmeServer", `"https://acme.example.net/v2/OV"`)},
		{"acme-create-foreign-server", "ada", "POST", v1, with(t, body, "acmeServer", `"https://ca.example.com/acme/directory"`)},
		{"acme-create-ov", "ada", "POST", v1, with(t, body, "certValidationType", `"OV"`)},
		{"acme-create-unknown-type", "ada", "POST", v1, with(t, body, "certValidationType", `"XV"`)},
		{"acme-create-validation", "ada", "POST", v1, with(t, body, "validationId", `"a1"`)},
		{"acme-create-ev", "ada", "POST", v1, with(t, body, "evDetails", `{"orgName":"Example"}`)},
		{"acme-create-array", "ada", "POST", v1, "[]"},
		{"acme-create-no-right", "rex", "POST", v1, body},
		{"acme-create-no-profile", "ada", "POST", pca, body},
		{"acme-create-unknown-profile", "ada", "POST", pca, with(t, body, "profileName", `"none"`)},
		{"acme-create-foreign-profile", "ada", "POST", pca, with(t, body, "profileName", `"other"`)},
		{"acme-create-profile-of-another-server", "ada", "POST", pca, with(t, private, "acmeServer", `"main/approved"`)},
		{"acme-create-nothing-made", "ada", "GET", v1 + "?organizationId=1", ""},
	})
	for _, x := range []struct{ name, login, path, body string }{
		{"acme-create", "ada", v1, body},
		{"acme-create-v2", "ada", "/api/acme/v2/account", with(t, body, "certValidationType", `"DV"`, "validationId", "null")},
		{"acme-create-default-server", "olga", v1, `{"name":"web","acmeServer":"https://ca.example.com/acme/directory","organizationId":"2"}`},
		{"acme-create-pca", "ada", pca, private},
		{"acme-create-server-of-a-profile", "ada", v1, with(t, body, "acmeServer", `"https://ca.example.com/acme/in/main/tls/directory"`)},
	} {
		w.golden(x.name, x.login, "POST", x.path, x.body)
		w.wait(time.Second)
	}
	found, err := w.External.Search(t.Context(), operator, auth.EABQuery{Org: 1, Limit: 10})
	must(t, err)
	for i, profiles := range [][]string{nil, nil, {"tls"}, {"tls"}} {
		k := found.Keys[i]
		if !k.ByDomains || !k.Reusable || len(k.Domains) != 0 || !slices.Equal(k.Profiles, profiles) {
			t.Errorf("made is %+v", k.EABKey)
		}
		w.hidesKey(k.EABKey)
	}
	w.goldens([]exchange{
		{"acme-list-pca", "ada", "GET", pca + "?organizationId=1", ""},
		{"acme-list-server-of-a-profile", "ada", "GET", v1 + "?organizationId=1&acmeServer=main/tls", ""},
	})
}

// TestACMEList: pages, filters and who sees what.
func TestACMEList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.domain("example.com", "main")
	one := w.acmeAccount("ada", 1, "one", acmeMain)
	w.acmeAccount("ada", 1, "two", "main/tls")
	w.acmeAccount("ada", 3, "below", "branch")
	w.acmeAccount("olga", 2, "theirs", "default")
	w.call("ada", "POST", at("/api/acme/v1/account/N/domains", one), `{"domains":[{"name":"example.com"}]}`, 200)
	w.bound(one, "first")
	old, _, err := w.External.Add(t.Context(), operator, auth.NewEABKey{Org: "main", Label: "of the operator", Names: []string{"*.example.com"}})
	must(t, err)
	w.hidesKey(old)
	const v1, v2 = "/api/acme/v1/account?organizationId=1", "/api/acme/v2/account"
	w.goldens([]exchange{
		{"acme-list-v1", "ada", "GET", v1, ""},
		{"acme-list-v2", "ada", "GET", v2 + "?size=0&position=0&organizationId=0", ""},
		{"acme-list-auditor", "aud", "GET", v1, ""},
		{"acme-list-page", "ada", "GET", v2 + "?organizationId=1&size=1&position=1", ""},
		{"acme-list-behind", "ada", "GET", v2 + "?organizationId=1&position=9", ""},
		{"acme-list-branch", "ada", "GET", v2 + "?organizationId=3", ""},
		{"acme-list-default-directory", "olga", "GET", v2, ""},
		{"acme-list-name", "ada", "GET", v1 + "&name=ONE", ""},
		{"acme-list-server", "ada", "GET", v1 + "&acmeServer=https://ca.example.com/acme/in/main/tls/directory", ""},
		{"acme-list-dv", "ada", "GET", v2 + "?certValidationType=dv&name=two", ""},
		{"acme-list-ov", "ada", "GET", v1 + "&certValidationType=OV", ""},
		{"acme-list-valid", "ada", "GET", v1 + "&status=Valid", ""},
		{"acme-list-pending", "ada", "GET", v2 + "?status=pending&size=1&position=1", ""},
		{"acme-list-no-organization", "ada", "GET", "/api/acme/v1/account", ""},
		{"acme-list-organization-zero", "ada", "GET", "/api/acme/v1/account?organizationId=0", ""},
		{"acme-list-organization-word", "ada", "GET", "/api/acme/v1/account?organizationId=x", ""},
		{"acme-list-foreign-organization", "ada", "GET", v2 + "?organizationId=2", ""},
		{"acme-list-absent-organization", "ada", "GET", v2 + "?organizationId=4711", ""},
		{"acme-list-size", "ada", "GET", v1 + "&size=201", ""},
		{"acme-list-unknown-status", "ada", "GET", v1 + "&status=odd", ""},
		{"acme-list-unknown-type", "ada", "GET", v1 + "&certValidationType=XV", ""},
		{"acme-list-long-name", "ada", "GET", v1 + "&name=" + strings.Repeat("x", 129), ""},
		{"acme-list-twice", "ada", "GET", v1 + "&name=a&name=b", ""},
		{"acme-server", "ada", "GET", "/api/acme/v1/server", ""},
		{"acme-server-default", "olga", "GET", "/api/acme/v1/server", ""},
		{"acme-server-page", "ada", "GET", "/api/acme/v1/server?size=1&position=1", ""},
		{"acme-server-name", "ada", "GET", "/api/acme/v1/server?name=MAIN/TLS&url=https://ca.example.com/acme/in/main/tls/directory", ""},
		{"acme-server-ca", "ada", "GET", "/api/acme/v1/server?caId=40485", ""},
		{"acme-server-ov", "ada", "GET", "/api/acme/v1/server?certValidationType=OV", ""},
		{"acme-server-unknown-type", "ada", "GET", "/api/acme/v1/server?certValidationType=XV", ""},
		{"acme-server-size", "ada", "GET", "/api/acme/v1/server?size=-1", ""},
	})
	_, err = w.External.Revoke(t.Context(), operator, old.ID)
	must(t, err)
	w.golden("acme-list-deactivated", "ada", "GET", v1+"&status=Deactivated", "")
}

// TestACMEDomains: what an account may have, one by one, and whose they are.
func TestACMEDomains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.domain("example.com", "main")
	w.domain("example.net", "other")
	w.domain("asleep.example.org", "main")
	_, err := w.Domains.Suspend(t.Context(), operator, "asleep.example.org")
	must(t, err)
	n := w.acmeAccount("ada", 1, "one", acmeMain)
	old, _, err := w.External.Add(t.Context(), operator, auth.NewEABKey{Org: "main", Label: "of the operator", Reusable: true})
	must(t, err)
	w.hidesKey(old)
	v1, v2 := at("/api/acme/v1/account/N/domains", n), at("/api/acme/v2/account/N/domain", n)
	one := `{"domains":[{"name":"example.com"}]}`
	w.goldens([]exchange{
		{"acme-domains-add", "ada", "POST", v1, `{"domains":[{"name":"Example.com"},{"name":"*.shop.example.com"}]}`},
		{"acme-domains-add-some", "ada", "POST", v2, `{"domains":[{"name":"example.net"},{"name":"www.example.com"},{"name":"asleep.example.org"},{"name":"a b"},{"name":"com"},{"name":"192.0.2.1"},{"name":"nobodys.example"}]}`},
		{"acme-domains-add-again", "ada", "POST", v2, one},
		{"acme-domains-list", "ada", "GET", v2, ""},
		{"acme-domains-list-auditor", "aud", "GET", v2 + "?size=1&position=1", ""},
		{"acme-domains-list-name", "ada", "GET", v2 + "?name=EXAMPLE.com", ""},
		{"acme-domains-list-expires", "ada", "GET", v2 + "?expiresWithinNextDays=30", ""},
		{"acme-domains-list-foreign", "olga", "GET", v2, ""},
		{"acme-domains-list-size", "ada", "GET", v2 + "?size=x", ""},
		{"acme-account-get-domains", "ada", "GET", at("/api/acme/v1/account/N", n), ""},
		{"acme-domains-remove-some", "ada", "DELETE", v1, `{"domains":[{"name":"WWW.example.com"},{"name":"other.example.com"},{"name":"a b"}]}`},
		{"acme-domains-remove", "ada", "DELETE", v2, `{"domains":[{"name":"*.shop.example.com"}]}`},
		{"acme-domains-none", "ada", "POST", v1, `{"domains":[]}`},
		{"acme-domains-missing", "ada", "POST", v1, `{}`},
		{"acme-domains-no-name", "ada", "POST", v1, `{"domains":[{"name":""}]}`},
		{"acme-domains-long-name", "ada", "POST", v1, `{"domains":[{"name":` + long(1025) + `}]}`},
		{"acme-domains-texts", "ada", "POST", v1, `{"domains":["example.com"]}`},
		{"acme-domains-add-no-right", "rex", "POST", v1, one},
		{"acme-domains-add-foreign", "olga", "POST", v1, one},
		{"acme-domains-add-absent", "ada", "POST", "/api/acme/v1/account/77/domains", one},
		{"acme-domains-remove-no-right", "aud", "DELETE", v2, one},
		{"acme-domains-remove-foreign", "olga", "DELETE", v2, one},
		{"acme-domains-remove-missing", "ada", "DELETE", v2, "{}"},
		{"acme-domains-add-of-the-operators", "ada", "POST", at("/api/acme/v1/account/N/domains", old.Number), one},
		{"acme-domains-list-of-the-operators", "ada", "GET", at("/api/acme/v2/account/N/domain", old.Number), ""},
	})
	many := make([]string, auth.MaxEABDomains+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"name":"a%d.example.com"}`, i)
	}
	refused := w.call("ada", "POST", v1, `{"domains":[`+strings.Join(many, ",")+`]}`, 400).Body.String()
	if !strings.Contains(refused, `"code":-1601`) || !strings.Contains(refused, "more than 1000 items") {
		t.Error(refused)
	}
	refused = w.call("ada", "POST", v1, `{"domains":[`+strings.Join(many[:auth.MaxEABDomains], ",")+`]}`, 400).Body.String()
	if !strings.Contains(refused, `"code":-130`) || !strings.Contains(refused, "at most 1000") {
		t.Error(refused)
	}
	k, err := w.External.ByNumber(t.Context(), operator, n)
	must(t, err)
	if !slices.Equal(k.Domains, []string{"example.com"}) {
		t.Errorf("it has %v", k.Domains)
	}
}

// TestACMEClients: who has an account by a key, and the end of one.
func TestACMEClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.acmeAccount("ada", 1, "one", acmeMain)
	w.bound(n, "firstfirstfirstfirst11", "mailto:a@example.com", "mailto:b@example.com")
	w.bound(n, "secondsecondsecond2222")
	list := at("/api/acme/v2/account/N/client", n)
	first := auth.EABClient{ID: "firstfirstfirstfirst11"}
	w.goldens([]exchange{
		{"acme-clients", "aud", "GET", list, ""},
		{"acme-clients-page", "ada", "GET", list + "?size=1&position=1", ""},
		{"acme-clients-foreign", "olga", "GET", list, ""},
		{"acme-clients-absent", "ada", "GET", "/api/acme/v2/account/77/client", ""},
		{"acme-clients-agent", "ada", "GET", list + "?userAgent=certbot", ""},
		{"acme-clients-size", "ada", "GET", list + "?size=201", ""},
		{"acme-client-deactivate", "ada", "PUT", list + "/" + first.ID, ""},
		{"acme-client-deactivate-number", "ada", "PUT", fmt.Sprintf("%s/%d", list, first.Number()), `{"status":"DEACTIVATED"}`},
		{"acme-client-activate", "ada", "PUT", list + "/" + first.ID, `{"status":"ACTIVE"}`},
		{"acme-client-absent", "ada", "PUT", list + "/77", ""},
		{"acme-client-of-none", "ada", "PUT", list + "/thirdthirdthirdthird33", ""},
		{"acme-client-no-right", "rex", "PUT", list + "/" + first.ID, ""},
		{"acme-client-foreign", "olga", "PUT", list + "/" + first.ID, ""},
		{"acme-client-no-object", "ada", "PUT", list + "/" + first.ID, `[]`},
	})
	want := w.callers["ada"].Principal + " " + first.ID
	if !slices.Equal(w.ended, []string{want, want}) {
		t.Errorf("ended were %q", w.ended)
	}
}

// TestACMEServersOnce: the directory for everybody is in the list once, wherever among the organisations it is whose.
func TestACMEServersOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	directory, err := auth.NewDirectory([]auth.Org{
		{ID: 1, Slug: "main", EAB: auth.EABOff}, {ID: 2, Slug: "own", Parent: 1, EAB: auth.EABRequired}, {ID: 3, Slug: "none", Parent: 1, EAB: auth.EABOff},
	})
	must(t, err)
	w.Organisations = directory
	rec := httptest.NewRecorder()
	caller := auth.Caller{Principal: "user:1", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	must(t, w.acmeServerList(&call{s: w.Server, ctx: t.Context(), w: rec, r: httptest.NewRequest("GET", "/", nil), caller: caller}))
	if n := strings.Count(rec.Body.String(), `"name":"default"`); n != 1 {
		t.Errorf("it is there %d times: %s", n, rec.Body)
	}
}

// TestACMEServersOfOthers: the profile that the gateway issues its own certificate by is the registrar's alone, and has no directory.
func TestACMEServersOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	org := auth.Org{ID: 1, Slug: "main", EAB: auth.EABRequired}
	directory, err := auth.NewDirectory([]auth.Org{org}, "tls")
	must(t, err)
	w.Organisations = directory
	w.Registrar.Config.Profiles = map[string]*policy.Profile{"tls": w.Registrar.Profiles["tls"], "own-tls": w.Registrar.Profiles["tls"]}
	w.Registrar.Allowed = func(auth.OrgID, string) bool { return true }
	var names []string
	for _, a := range w.acmeServers(org) {
		names = append(names, a.Name)
	}
	if !slices.Equal(names, []string{"main", "main/tls"}) {
		t.Errorf("the servers are %v", names)
	}
}

// TestACMENameFilter: a name is found that is as long as names can be, whatever its letters are.
func TestACMENameFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := strings.Repeat("é", maxACMEName)
	w.acmeAccount("ada", 1, name, "main")
	if body := w.call("ada", "GET", "/api/acme/v1/account?organizationId=1&name="+url.QueryEscape(name), "", 200).Body.String(); !strings.Contains(body, name) {
		t.Errorf("it is not there: %s", body)
	}
	w.call("ada", "GET", "/api/acme/v1/account?organizationId=1&name="+url.QueryEscape(name+"é"), "", 400)
}

package acme

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/ca"
)

func TestLinksRoundTrip(t *testing.T) {
	id := newID()
	serial := ca.Serial("01" + strings.Repeat("ab", 16))
	for _, want := range []target{
		{resource: resDirectory},
		{resource: resDirectory, org: "main"},
		{resource: resDirectory, org: "main", profile: "web"},
		{resource: resDirectory, org: "main", profile: "directory"},
		{resource: resNewNonce},
		{resource: resNewAccount},
		{resource: resNewAccount, org: "main"},
		{resource: resNewOrder},
		{resource: resNewOrder, org: "main"},
		{resource: resNewOrder, org: "main", profile: "a b"},
		{resource: resAccount, account: AccountID(id)},
		{resource: resOrders, account: AccountID(id)},
		{resource: resOrders, account: AccountID(id), query: formatCursor("\x00next/&?")},
		{resource: resOrder, order: OrderID(id)},
		{resource: resFinalize, order: OrderID(id)},
		{resource: resAuthz, authz: AuthzID(id)},
		{resource: resChallenge, authz: AuthzID(id), position: 2},
		{resource: resCertificate, certificate: &CertificateID{Issuer: "v1.ecc", Serial: serial}},
		{resource: resCertificate, certificate: &CertificateID{Issuer: "a/b", Serial: serial}},
		{resource: resCertificate, certificate: &CertificateID{Issuer: "test", Serial: serial}, chain: 1},
		{resource: resCertificate, certificate: &CertificateID{Issuer: "test", Serial: serial}, chain: 255},
		{resource: resRevoke},
		{resource: resNewAuthz},
		{resource: resNewAuthz, org: "main"},
		{resource: resNewAuthz, org: "main", profile: "a b"},
		{resource: resKeyChange},
		{resource: resRenewalInfo, certID: "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"},
	} {
		path, query, _ := strings.Cut(want.path(), "?")
		got, ok := parseURL(path, query)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s parses as %+v, %v", want.path(), got, ok)
		}
	}
}

func TestLinksRefuseOtherSpellings(t *testing.T) {
	id := newID()
	for _, path := range []string{
		"", "/", "/acme", "/acme/", "/acme/directory/", "/acme//directory", "/acme/in//directory", "/acme/in/main/web",
		"/acme/in/main/web/x/directory", "/acme/r", "/acme/r/", "/acme/r/new-nonce/", "/acme/r/new-account/in/main/web",
		"/acme/r/new-order/in/", "/acme/r/new-order/in/main/", "/acme/r/new-order/in/main/%zz", "/acme/r/account/",
		"/acme/r/account/short", "/acme/r/account/" + id + "/", "/acme/r/account/" + id + "/other",
		"/acme/r/order/" + id + "/finalize/", "/acme/r/order/" + id[:21] + "%", "/acme/r/order/" + id[:21] + ".",
		"/acme/r/authz/" + id + "/x", "/acme/r/challenge/" + id, "/acme/r/challenge/" + id + ".", "/acme/r/challenge/" + id + ".01",
		"/acme/r/challenge/" + id + ".-1", "/acme/r/challenge/" + id + ".999", "/acme/r/certificate/test", "/acme/r/certificate/test.",
		"/acme/r/certificate/.01ab", "/acme/r/certificate/test.01AB", "/acme/r/certificate/te%73t.01ab",
		"/acme/r/certificate/test.01ab/", "/acme/r/certificate/test.01ab/0", "/acme/r/certificate/test.01ab/01", "/acme/r/certificate/test.01ab/+1",
		"/acme/r/certificate/test.01ab/-1", "/acme/r/certificate/test.01ab/256", "/acme/r/certificate/test.01ab/1/", "/acme/r/certificate/test.01ab/1/2",
		"/acme/r/certificate/test.01ab/x", "/acme/r/order/" + id + "/1", "/acme/r/certificate/test." + strings.Repeat("a", 41), "/acme/r/key-change/", "/acme/r/key-change/x", "/acme/r/new-authz/in/", "/acme/r/new-authz/in/main/web/x", "/acme/r/renewal-info", "/acme/r/renewal-info/", "/acme/r/renewal-info/a.b/c", "/acme/r/renewal-info/" + strings.Repeat("a", 129),
	} {
		if got, ok := parseURL(path, ""); ok {
			t.Errorf("%q parses as %+v", path, got)
		}
	}
}

func TestCursorRoundTrip(t *testing.T) {
	for _, want := range []string{"a", "\x00next/&?", strings.Repeat("\xff", maxCursorBytes)} {
		if got, ok := parseCursor(formatCursor(want)); !ok || got != want {
			t.Errorf("%q comes back as %q, %v", want, got, ok)
		}
	}
	if got, ok := parseCursor(""); !ok || got != "" {
		t.Errorf("no query is the first page, not %q, %v", got, ok)
	}
	for _, query := range badPages {
		if got, ok := parseCursor(query); ok {
			t.Errorf("the query %q parses as %q", query, got)
		}
	}
}

// badPages are queries that no list's page has.
var badPages = []string{
	"cursor=", "cursor=a", "cursor=!", "x=y", "cursor=YQ&x=y", "cursor=YQ==", "cursor=Y\nQ", "Cursor=YQ",
	"cursor=" + strings.Repeat("Y", 1000),
}

func TestLinksKnowEveryPublicURL(t *testing.T) {
	l, err := newLinks([]string{"https://a.example.com", "https://b.example.com:8443"})
	if err != nil {
		t.Fatal(err)
	}
	id := AccountID(newID())
	for kid, want := range map[string]bool{
		"https://a.example.com/acme/r/account/" + string(id):          true,
		"https://b.example.com:8443/acme/r/account/" + string(id):     true,
		"https://c.example.com/acme/r/account/" + string(id):          false,
		"https://a.example.com/acme/r/account/" + string(id) + "?x=y": false,
		"https://a.example.com.evil/acme/r/account/" + string(id):     false,
		"https://a.example.com/acme/r/order/" + string(id):            false,
		"/acme/r/account/" + string(id):                               false,
	} {
		if got, ok := l.accountOf(kid); ok != want || ok && got != id {
			t.Errorf("kid %q: %q, %v", kid, got, ok)
		}
	}
	if !l.names("https://b.example.com:8443/acme/x?y=z", "/acme/x", "y=z") || l.names("https://a.example.com/acme/x", "/acme/y", "") ||
		l.names("http://a.example.com/acme/x", "/acme/x", "") || l.names("https://A.example.com/acme/x", "/acme/x", "") {
		t.Error("RFC 8555, 6.4: URLs are compared as strings, with every public URL")
	}
	for _, bad := range []string{"", "a.example.com", "https://a.example.com/", "ftp://a.example.com", "https://a.example.com?x", "https://u@a.example.com", "https://"} {
		if _, err := newLinks([]string{bad}); err == nil {
			t.Errorf("%q is taken for a public URL", bad)
		}
	}
	if _, err := newLinks(nil); err == nil {
		t.Error("no public URL at all is taken")
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("/acme/r/challenge/"+newID()+".0", "")
	f.Add("/acme/in/main/web/directory", "cursor=YQ")
	f.Add("/acme/r/certificate/te%2fst.01ab", "")
	f.Fuzz(func(t *testing.T, path, query string) {
		target, ok := parseURL(path, query)
		if !ok {
			return
		}
		if rendered, _, _ := strings.Cut(target.path(), "?"); rendered != path {
			t.Errorf("%q is read and written as %q", path, rendered)
		}
	})
}

func TestEveryResourceHasAName(t *testing.T) {
	seen := map[string]bool{}
	for r := range endpoints {
		if r.String() == "unknown" || seen[r.String()] {
			t.Errorf("resource %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
	if len(resourceNames) != len(endpoints)+1 {
		t.Errorf("%d names for %d resources", len(resourceNames)-1, len(endpoints))
	}
}

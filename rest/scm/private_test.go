package scm

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// clientCertificate is one that TLS has proved, of an issuer that nobody knows.
func (w *world) clientCertificate() *x509.Certificate {
	w.t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock})
	must(w.t, err)
	csr, err := x509.ParseCertificateRequest(w.csrDER("client.example.com"))
	must(w.t, err)
	key, err := testca.NewKey(testca.P256)
	must(w.t, err)
	leaf := &x509.Certificate{
		SerialNumber: h.Intermediate.Certificate.SerialNumber, Subject: csr.Subject, NotBefore: w.clock().Add(-time.Hour), NotAfter: w.clock().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, h.Intermediate.Certificate, key.Public(), h.Intermediate.Key)
	must(w.t, err)
	c, err := x509.ParseCertificate(der)
	must(w.t, err)
	return c
}

// shows is a request on a connection whose client has shown a certificate; nil is a connection without TLS.
func shows(r *http.Request, c *x509.Certificate) *http.Request {
	if c != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	}
	return r
}

// private is a request without anything but a certificate.
func (w *world) private(method, path, body string, c *x509.Certificate) *http.Request {
	r := shows(w.as("", method, path, body), c)
	for _, name := range []string{"login", "password", "customerUri"} {
		r.Header.Del(name)
	}
	return r
}

// bind makes a certificate somebody's.
func (w *world) bind(login string, c *x509.Certificate) auth.Credential {
	w.t.Helper()
	_, credential, _, err := w.people.AddCredential(w.t.Context(), operator, auth.Ref{Login: login, Customer: "main"}, auth.NewCredential{Kind: auth.ClientCertificate, Certificate: c})
	must(w.t, err)
	return credential
}

const unknownUserBody = `{"code":-16,"description":"Unknown user"}`

func TestPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, next, strange := w.clientCertificate(), w.clientCertificate(), w.clientCertificate()
	credential := w.bind("ada", mine)
	w.bind("ada", next) // two at a time, so that one can be changed without a pause
	w.issue("ada", "tls", "a.example.com")
	const fields = "/private/api/ssl/v2/customFields"
	w.goldenRequest("private", w.private("GET", fields, "", mine), "")
	named := w.private("POST", "/private/api/ssl/v1/1/location", `{"details":{"host":"a1"}}`, mine)
	named.Header.Set("login", "ada")
	named.Header.Set("customerUri", "main")
	w.goldenRequest("private-location", named, `{"details":{"host":"a1"}}`)
	w.PublicURL = "https://www.example.com/ca" // of a gateway that has a part of somebody's host
	w.goldenRequest("private-location-behind-a-path", w.private("POST", "/private/api/ssl/v1/1/location/", `{"details":{"host":"a2"}}`, next), `{"details":{"host":"a2"}}`)
	w.PublicURL = "https://ca.example.com"

	w.goldenRequest("private-none", w.private("GET", fields, "", nil), "")
	w.goldenRequest("private-strange", w.private("GET", fields, "", strange), "")
	w.goldenRequest("private-password", w.as("ada", "GET", fields, ""), "")
	for name, change := range map[string]func(r *http.Request){
		"another login":         func(r *http.Request) { r.Header.Set("login", "rex") },
		"another customer":      func(r *http.Request) { r.Header.Set("customerUri", "other") },
		"two logins":            func(r *http.Request) { r.Header.Add("login", "ada"); r.Header.Add("login", "ada") },
		"an issuer of its name": func(r *http.Request) { r.TLS.PeerCertificates = []*x509.Certificate{strange, mine} },
		"no certificate":        func(r *http.Request) { r.TLS.PeerCertificates = nil },
	} {
		r := w.private("GET", fields, "", mine)
		change(r)
		if rec := w.do(r); rec.Code != 401 || rec.Body.String() != unknownUserBody {
			t.Errorf("%s: status %d: %s", name, rec.Code, rec.Body)
		}
	}
	// At /api it makes no difference.
	if rec := w.do(w.private("GET", "/api/ssl/v2/customFields", "", mine)); rec.Code != 401 {
		t.Errorf("a certificate instead of a password: status %d: %s", rec.Code, rec.Body)
	}
	if rec := w.do(shows(w.as("aud", "DELETE", "/api/ssl/v2/1", ""), mine)); rec.Code != 400 || !strings.Contains(rec.Body.String(), `"code":-3`) {
		t.Errorf("a certificate beside a password: status %d: %s", rec.Code, rec.Body)
	}
	// What is revoked ends at once, on connections that go on; so does what has expired.
	_, _, err := w.people.Revoke(t.Context(), operator, credential.ID)
	must(t, err)
	if rec := w.do(w.private("GET", fields, "", mine)); rec.Code != 401 || rec.Body.String() != unknownUserBody {
		t.Errorf("revoked: status %d: %s", rec.Code, rec.Body)
	}
	if rec := w.do(w.private("GET", fields, "", next)); rec.Code != 200 {
		t.Errorf("the other one: status %d: %s", rec.Code, rec.Body)
	}
	w.wait(25 * time.Hour)
	if rec := w.do(w.private("GET", fields, "", next)); rec.Code != 401 {
		t.Errorf("expired: status %d: %s", rec.Code, rec.Body)
	}
}

// TestPrivateRoutes: each route is there for certificates as well, and for nothing else.
func TestPrivateRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, strange := w.clientCertificate(), w.clientCertificate()
	w.bind("ada", mine)
	from := netip.MustParseAddr("198.51.100.0")
	w.Remote = func(*http.Request) netip.Addr { from = from.Next(); return from } // who keeps trying is slowed down
	for _, route := range Routes() {
		method, pattern, _ := strings.Cut(route, " ")
		if pattern == TokenPath {
			continue
		}
		version := apis()[0].versions[0]
		for _, a := range apis() {
			if strings.HasPrefix(pattern, a.path+"/") {
				version = a.versions[0]
			}
		}
		path := PrivatePath + parameters.ReplaceAllString(strings.Replace(pattern, "{v}", version, 1), "4711")
		bearer := w.private(method, path, "", strange)
		bearer.Header.Set("Authorization", "Bearer ght_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		for name, r := range map[string]*http.Request{
			"a password": w.as("ada", method, path, ""), "a token": bearer, "no TLS": w.private(method, path, "", nil),
			"a strange certificate": w.private(method, path, "", strange),
		} {
			if rec := w.do(r); rec.Code != 401 || method != "HEAD" && rec.Body.String() != unknownUserBody {
				t.Errorf("%s %s with %s: status %d: %s", method, path, name, rec.Code, rec.Body)
			}
		}
		if rec := w.do(w.private(method, path, "", mine)); rec.Code == 401 || rec.Code == 405 || strings.Contains(rec.Body.String(), `"code":-1,`) {
			t.Errorf("%s %s with a certificate: status %d: %s", method, path, rec.Code, rec.Body)
		}
	}
	for _, path := range []string{"/private", "/private/", "/private/oauth/token", "/private/private/api/ssl/v2/types", "/%70rivate/api/ssl/v2/types", "/privateapi/ssl/v2/types"} {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, w.private("GET", path, "", mine))
		if rec.Code != 404 {
			t.Errorf("%s: status %d: %s", path, rec.Code, rec.Body)
		}
	}
}

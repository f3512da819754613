package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/registration"
)

// TestACMEAccountOverSCM is an ACME account from its making over SCM to its end, and lego with it: what its domains cover is issued,
// other names and what comes after the end are not.
func TestACMEAccountOverSCM(t *testing.T) {
	t.Parallel()
	i, _ := bindingRequired(t)
	i.mustCommand("domain", "add", "example.com", "--org", "main")
	i.mustCommand("user", "add", "ada", "--org", "main", "--role", "administrator")
	var ada userView
	must(t, json.Unmarshal([]byte(i.mustCommand("user", "password", "ada", "--generate", "--json")), &ada))
	call := func(method, path, body string, status int, into any) http.Header {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+i.doors+"/api/acme/v1"+path, strings.NewReader(body))
		must(t, err)
		r.Header.Set("login", "ada")
		r.Header.Set("password", ada.Password)
		r.Header.Set("customerUri", "main")
		resp, err := i.client().Do(r)
		must(t, err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != status {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, answer)
		}
		if into != nil {
			must(t, json.Unmarshal(answer, into))
		}
		return resp.Header
	}
	var servers []struct{ URL, Name string }
	call("GET", "/server?name=main", "", 200, &servers)
	made := call("POST", "/account", fmt.Sprintf(`{"name":"web","acmeServer":%q,"organizationId":1}`, servers[0].URL), 201, nil)
	account := "/account/" + path.Base(made.Get("Location"))
	var key struct{ MacID, MacKey, ACMEServer string }
	call("GET", account, "", 200, &key)

	c := newLego(i, key.ACMEServer, certcrypto.EC256).byDNS(t, i.dns)
	var err error
	c.resource, err = c.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{
		TermsOfServiceAgreed: true, Kid: key.MacID, HmacEncoded: key.MacKey,
	})
	must(t, err)
	refused := func(name string, status int, word string) {
		t.Helper()
		_, err := c.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{name}})
		isLegoProblem(t, err, status, word)
	}
	refused("a.shop.example.com", 403, "rejectedIdentifier")
	var left map[string][]string
	call("POST", account+"/domains", `{"domains":[{"name":"shop.example.com"},{"name":"example.net"}]}`, 200, &left)
	if len(left) != 1 || len(left["notAddedDomains"]) != 1 {
		t.Errorf("not added are %v", left)
	}
	got, _ := c.obtain(t, certificate.ObtainRequest{Domains: []string{"a.shop.example.com"}})
	refused("www.example.com", 403, "rejectedIdentifier")
	call("DELETE", account+"/domains", `{"domains":[{"name":"shop.example.com"}]}`, 200, nil)
	refused("a.shop.example.com", 403, "rejectedIdentifier")
	call("POST", account+"/domains", `{"domains":[{"name":"example.com"}]}`, 200, nil)
	var clients []struct{ AccountID, Status string }
	call("GET", account+"/client", "", 200, &clients)
	if len(clients) != 1 || !strings.HasSuffix(c.resource.URI, "/"+clients[0].AccountID) || clients[0].Status != "ACTIVE" {
		t.Errorf("its clients are %+v", clients)
	}

	call("DELETE", account, "", 204, nil)
	call("GET", account, "", 404, nil)
	refused("www.example.com", 403, "unauthorized")
	must(t, c.Certificate.Revoke(got.Certificate))
	if out := i.mustCommand("eab", "show", key.MacID); !strings.Contains(out, "removed") {
		t.Error(out)
	}
	// Another one, and the end of its client alone.
	made = call("POST", "/account", `{"name":"web","acmeServer":"main","organizationId":1}`, 201, nil)
	account = "/account/" + path.Base(made.Get("Location"))
	call("GET", account, "", 200, &key)
	c = newLego(i, key.ACMEServer, certcrypto.EC256).byDNS(t, i.dns)
	c.resource, err = c.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: key.MacID, HmacEncoded: key.MacKey})
	must(t, err)
	call("PUT", account+"/client/"+path.Base(c.resource.URI), "", 204, nil)
	_, err = c.Registration.QueryRegistration()
	isLegoProblem(t, err, 401, "unauthorized")
}

package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// TestForeignObjectsLookAbsent compares, byte for byte, what an account hears about another's objects with what it hears
// about objects that do not exist.
func TestForeignObjectsLookAbsent(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	at := i.answers()
	owner, stranger := registered(i), registered(i)
	order := owner.ready(at, "mine.example.com")
	_, csr := newCSR(t, "mine.example.com")
	owner.finalize(order, csr).want(http.StatusOK)
	chain := owner.await(order)
	order = owner.look(order)
	pending := owner.order("pending.example.com")
	a := owner.post(pending.Authorizations[0], nil)
	var authz struct{ Challenges []struct{ URL string } }
	a.decode(&authz)

	for _, object := range []struct {
		name, url string
		payload   any
	}{
		{"order", order.URL, nil},
		{"pending order", pending.URL, nil},
		{"finalize", pending.Finalize, map[string]string{"csr": b64(csr)}},
		{"authorization", pending.Authorizations[0], nil},
		{"authorization, deactivated", pending.Authorizations[0], map[string]string{"status": "deactivated"}},
		{"challenge", authz.Challenges[0].URL, map[string]any{}},
		{"certificate", order.Certificate, nil},
		{"account", owner.kid, nil},
		{"account, deactivated", owner.kid, map[string]string{"status": "deactivated"}},
		{"orders", owner.kid + "/orders", nil},
	} {
		foreign := stranger.post(object.url, object.payload)
		foreign.wantProblem(http.StatusNotFound, "malformed")
		absent := stranger.post(elsewhere(object.url), object.payload)
		if foreign.status != absent.status || !bytes.Equal(foreign.body, absent.body) {
			t.Errorf("%s: a foreign one answers\n%d %s\nan absent one\n%d %s", object.name, foreign.status, foreign.body, absent.status, absent.body)
		}
	}
	if o := owner.look(pending); o.Status != "pending" {
		t.Errorf("a stranger made the order %s", o.Status)
	}

	stranger.revoke(chain[0], 1).wantProblem(http.StatusForbidden, "unauthorized") // RFC 8555, 7.6
	if e := revokedOn(crlOf(t, chain[0]), chain[0]); e != nil {
		t.Error("a stranger revoked the certificate")
	}
}

// elsewhere is a URL of the same form where nothing is: one letter of its id is another.
func elsewhere(url string) string {
	end := len(url)
	for _, tail := range []string{"/finalize", "/orders"} {
		if strings.HasSuffix(url, tail) {
			end -= len(tail)
		}
	}
	if dot := strings.LastIndexByte(url, '.'); dot > strings.LastIndexByte(url, '/') && strings.Contains(url, "/challenge/") {
		end = dot
	}
	// Not the last letter, which in unpadded base64url has bits that must be zero.
	at, other := end-4, "0"
	if url[at] == '0' {
		other = "1"
	}
	return url[:at] + other + url[at+1:]
}

// TestOrdersList pages through more orders than one page holds (RFC 8555, 7.1.2.1).
func TestOrdersList(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registered(i)
	made := map[string]bool{}
	for range 103 {
		made[c.order("listed.example.com").URL] = true
	}
	var account struct{ Orders string }
	a := c.post(c.kid, nil)
	a.decode(&account)
	pages := 0
	for next := account.Orders; next != "" && pages < 10; pages++ {
		a := c.post(next, nil)
		if !a.want(http.StatusOK) {
			return
		}
		var list struct{ Orders []string }
		a.decode(&list)
		for _, url := range list.Orders {
			if !made[url] {
				t.Errorf("%s is listed twice or was never made", url)
			}
			delete(made, url)
		}
		next = nextLink(a.header)
	}
	if len(made) != 0 || pages != 2 {
		t.Errorf("%d orders are missing after %d pages", len(made), pages)
	}
}

// nextLink is the URL of a Link header with rel="next" (RFC 8288).
func nextLink(h http.Header) string {
	for _, link := range h.Values("Link") {
		target, params, _ := strings.Cut(link, ">")
		if strings.Contains(params, `rel="next"`) {
			return strings.TrimPrefix(target, "<")
		}
	}
	return ""
}

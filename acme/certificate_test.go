package acme

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// linksOf lists the targets of an answer's links with a relation (RFC 8288, 3).
func (a answer) linksOf(rel string) (urls []string) {
	for _, l := range a.header.Values("Link") {
		if url, ok := strings.CutSuffix(l, `>;rel="`+rel+`"`); ok {
			urls = append(urls, strings.TrimPrefix(url, "<"))
		}
	}
	return urls
}

// alternates makes two chains that differ from the default one and from one another.
func alternates(t *testing.T) [][]byte {
	t.Helper()
	var chains [][]byte
	for range 2 {
		h, err := testca.NewHierarchy(testca.HierarchyConfig{})
		if err != nil {
			t.Fatal(err)
		}
		chains = append(chains, pemOf(h.Chain()))
	}
	return chains
}

// RFC 8555, 7.4.2: every chain begins with the same end-entity certificate, and each download links to all others.
func TestAlternateChains(t *testing.T) {
	others := alternates(t)
	w := newWorld(t, func(c *Config) {
		c.Alternates = func(issuer string) [][]byte {
			if issuer != "test" {
				t.Errorf("asked for the chains of %q", issuer)
			}
			return others
		}
	})
	c := w.account()
	o := c.readyOrder("a.example.com")
	url := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t).Certificate
	urls := []string{url, url + "/1", url + "/2"}
	chains := append([][]byte{w.server.Chain("test")}, others...)
	var leaf []byte
	for n, u := range urls {
		got := c.read(u).want(t, http.StatusOK)
		if got.header.Get("Content-Type") != "application/pem-certificate-chain" {
			t.Error(u, got.header)
		}
		if want := slices.Delete(slices.Clone(urls), n, n+1); !slices.Equal(got.linksOf("alternate"), want) {
			t.Errorf("%s links to %v, want %v", u, got.linksOf("alternate"), want)
		}
		first, rest := pem.Decode(got.body)
		if leaf == nil {
			leaf = first.Bytes
		}
		if !bytes.Equal(first.Bytes, leaf) || !bytes.Equal(rest, chains[n]) {
			t.Errorf("%s is\n%s", u, got.body)
		}
	}
	for _, unknown := range []string{"/3", "/255", "/256", "/0", "/x"} {
		c.read(url+unknown).wantProblem(t, http.StatusNotFound, "malformed")
	}
	// Whose certificate it is decides before which chains there are.
	foreign := w.account()
	for _, u := range append(urls, url+"/3") {
		if m := foreign.read(u).wantProblem(t, http.StatusNotFound, "malformed"); m["detail"] != errAbsent.Detail {
			t.Errorf("%s of another account: %v", u, m)
		}
	}
}

func TestNoAlternateChains(t *testing.T) {
	for name, f := range map[string]func(string) [][]byte{"nil": nil, "empty": func(string) [][]byte { return nil }} {
		w := newWorld(t, func(c *Config) { c.Alternates = f })
		c := w.account()
		o := c.readyOrder("a.example.com")
		url := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t).Certificate
		if got := c.read(url).want(t, http.StatusOK).linksOf("alternate"); got != nil {
			t.Errorf("%s: links to %v", name, got)
		}
		c.read(url+"/1").wantProblem(t, http.StatusNotFound, "malformed")
	}
}

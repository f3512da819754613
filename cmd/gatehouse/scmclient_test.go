package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// scmClient is a principal of the default organisation of a gateway's own process, who calls as programs for SCM do.
type scmClient struct {
	*instance
	t               *testing.T
	http            *http.Client
	login, password string
}

// newSCMClient makes a principal with roles and a password.
func newSCMClient(i *instance, login string, roles ...string) *scmClient {
	i.t.Helper()
	args := []string{"user", "add", login, "--org", "dev"}
	for _, r := range roles {
		args = append(args, "--role", r)
	}
	i.mustCommand(args...)
	var made userView
	must(i.t, json.Unmarshal([]byte(i.mustCommand("user", "password", login, "--generate", "--json")), &made))
	return &scmClient{i, i.t.(*testing.T), i.client(), login, made.Password}
}

// send makes a request below /api/ssl/v1.
func (c *scmClient) send(method, path, body string) (*http.Response, error) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+c.doors+"/api/ssl/v1"+path, strings.NewReader(body))
	must(c.t, err)
	r.Header.Set("login", c.login)
	r.Header.Set("password", c.password)
	r.Header.Set("customerUri", "dev")
	r.Header.Set("Content-Type", "application/json")
	return c.http.Do(r)
}

// call makes a request, which must have a status, and reads a JSON answer into a value unless that is nil.
func (c *scmClient) call(method, path, body string, status int, into any) []byte {
	c.t.Helper()
	resp, err := c.send(method, path, body)
	must(c.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(c.t, err)
	if resp.StatusCode != status {
		c.t.Fatalf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into != nil {
		must(c.t, json.Unmarshal(answer, into))
	}
	return answer
}

// scmItem is an item of SCM's list.
type scmItem struct {
	ID     int    `json:"sslId"`
	Name   string `json:"commonName"`
	Serial string `json:"serialNumber"`
}

// list finds certificates by a query.
func (c *scmClient) list(query string) (list []scmItem) {
	c.t.Helper()
	c.call("GET", "?"+query, "", 200, &list)
	return list
}

// quotedCSR is a CSR in PEM for names, as a member of a body.
func quotedCSR(t *testing.T, names ...string) string {
	t.Helper()
	_, der := newCSR(t, names...)
	text, err := json.Marshal(string(testca.CSRPEM(der)))
	must(t, err)
	return string(text)
}

package scm

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// varying are parts of exchanges that are never twice the same, by what is written for them.
var varying = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`"renewId":"[A-Za-z0-9]{20}"`), `"renewId":"RENEWID"`},
	{regexp.MustCompile(`user:[0-9]+`), `user:N`},
	{regexp.MustCompile(`(Location: .*/account/)[0-9]+`), `${1}NUMBER`},
	{regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END [A-Z0-9 ]+-----`), `($1)`},
	{regexp.MustCompile(`"host":"_[0-9A-Za-z_-]+\.`), `"host":"_LABEL.`},
	{regexp.MustCompile(`"point":"[0-9A-Za-z._-]+"`), `"point":"POINT"`},
	{regexp.MustCompile(`/\.well-known/pki-validation/[0-9A-Za-z._-]+"`), `/.well-known/pki-validation/FILE"`},
	{regexp.MustCompile(`"firstLine":"[0-9a-f]{64}"`), `"firstLine":"FIRSTLINE"`},
	{regexp.MustCompile(`/download/[0-9A-Za-z_-]{22}"`), `/download/SECRET"`},
	{regexp.MustCompile(`"file":"[^"]+"`), `"file":"CONTENT"`},
	{regexp.MustCompile(`[0-9A-Za-z+/=\\n]{200,}`), `(BASE64)`},
}

// hidden writes the name for what varies.
func hidden(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.as)
	}
	return text
}

// jsonCSR is a CSR for names as a member of a body, in quotes.
func (w *world) jsonCSR(names ...string) string { return quote(w.t, w.csr(names...)) }

func quote(t *testing.T, text string) string {
	t.Helper()
	data, err := json.Marshal(text)
	must(t, err)
	return string(data)
}

// tasks are exchanges, each with a golden of its name.
type exchange struct{ name, login, method, path, body string }

func (w *world) goldens(list []exchange) {
	w.t.Helper()
	for _, x := range list {
		w.golden(x.name, x.login, x.method, x.path, x.body)
	}
}

// object reads an answer.
func object(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var o map[string]any
	must(t, json.Unmarshal(body, &o))
	return o
}

// with is a JSON body with members changed; "" removes one.
func with(t *testing.T, body string, changes ...string) string {
	t.Helper()
	var o map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(body), &o))
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(o, changes[i])
		} else {
			o[changes[i]] = json.RawMessage(changes[i+1])
		}
	}
	data, err := json.Marshal(o)
	must(t, err)
	return string(data)
}

func long(n int) string { return `"` + strings.Repeat("x", n) + `"` }

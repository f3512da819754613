package dcv

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// FilePath is where files are published (Baseline Requirements 3.2.2.4.18).
const FilePath = "/.well-known/pki-validation/"

// file fetches a file whose content was agreed upon (Baseline Requirements 3.2.2.4.18), by the rules of http-01 for addresses
// and redirects. It shows control of this very name alone.
func (v *Validator) file(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	rec.file = true
	t := target{host: req.Identifier, port: v.ports.http, https: req.Method == HTTPSFile}
	t.url = &url.URL{Scheme: "http", Path: FilePath + req.Publication.Place}
	if t.https {
		t.url.Scheme, t.port = "https", v.ports.https
	}
	t.url.Host = t.authority()
	return v.walk(ctx, t, req, rec)
}

// judgeFile compares a 200's body with the file's content.
func (v *Validator) judgeFile(resp response, req Request, rec *Record, hop *Hop) (*Proof, *problem.Error) {
	want := []byte(lines(req.Publication.Value))
	if !resp.more && subtle.ConstantTimeCompare([]byte(lines(string(resp.body))), want) == 1 {
		return v.proof(req, fmt.Sprintf("%s at %s", hop.URL, hop.Dialled)), nil
	}
	found := fmt.Sprintf("%s of %d bytes", kindOf(resp.body), len(resp.body))
	switch {
	case resp.more:
		found = fmt.Sprintf("%s of more than %d bytes", kindOf(resp.body), len(resp.body))
	case len(resp.body) == 0:
		found = "an empty body"
	}
	return nil, rec.fail(problem.IncorrectResponse, "Publish exactly the content that was given, and see that the name reaches that server",
		"%s at %s: expected a file of %d characters, got %s", hop.URL, hop.Dialled, len(want), found)
}

// lines is a text with "\n" for every kind of line end, and without white space at its end.
func lines(text string) string {
	return strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), " \t\n")
}

// content is what a web server is to answer with.
func (r *Request) content() string {
	if r.Method == HTTPFile || r.Method == HTTPSFile {
		return r.Publication.Value
	}
	return r.KeyAuthorization
}

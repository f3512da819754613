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

// file fetches a file whose content was agreed upon (Baseline Requirements 3.2.2.4.18, of addresses 3.2.2.5.1), by the rules of
// http-01 for addresses and redirects, of which a file from a CSR may have none. It shows control of this very name alone.
func (v *Validator) file(ctx context.Context, req Request, rec *Record) (*Proof, *problem.Error) {
	rec.file = true
	t := target{host: req.Identifier, port: v.ports.http, https: req.Method == HTTPSFile || req.Method == CSRHashHTTPS}
	t.url = &url.URL{Scheme: "http", Path: FilePath + req.Publication.Place}
	if t.https {
		t.url.Scheme, t.port = "https", v.ports.https
	}
	t.url.Host = t.authority()
	return v.walk(ctx, t, req, rec)
}

// judgeFile compares a 200's body with the file's content.
func (v *Validator) judgeFile(resp response, req Request, rec *Record, hop *Hop) (*Proof, *problem.Error) {
	form := lines
	if req.Method.FromCSR() {
		form = words
	}
	want := []byte(form(req.Publication.Value))
	if !resp.more && subtle.ConstantTimeCompare([]byte(form(string(resp.body))), want) == 1 {
		rec.Finding = &Finding{Found: true, Correct: true}
		return v.proof(req, fmt.Sprintf("%s at %s", hop.URL, hop.Dialled)), nil
	}
	kind := kindOf(resp.body)
	rec.Finding = &Finding{Found: true, Trouble: ContentWrong}
	if resp.more || len(resp.body) == 0 || kind != "text" {
		rec.Finding.Trouble = ContentUnusable
	}
	found := fmt.Sprintf("%s of %d bytes", kind, len(resp.body))
	switch {
	case resp.more:
		found = fmt.Sprintf("%s of more than %d bytes", kind, len(resp.body))
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

// words is a text with one blank for all white space between its words: clients join the lines of a file from a CSR with "\n",
// "\r\n" or a blank. A file without any separator is another file.
func words(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) }), " ")
}

// content is what a web server is to answer with.
func (r *Request) content() string {
	if r.Method.byFile() {
		return r.Publication.Value
	}
	return r.KeyAuthorization
}

package conformance

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const urn = "urn:ietf:params:acme:error:"

// registered are the types in the registry "ACME Error Types" that a server of these RFCs may use (RFC 8555, 9.7.4; RFC
// 9773, 7.4), and the one that draft-ietf-acme-profiles asks for.
var registered = []string{
	"accountDoesNotExist", "alreadyRevoked", "badCSR", "badNonce", "badPublicKey", "badRevocationReason",
	"badSignatureAlgorithm", "caa", "compound", "connection", "dns", "externalAccountRequired", "incorrectResponse",
	"invalidContact", "malformed", "orderNotReady", "rateLimited", "rejectedIdentifier", "serverInternal", "tls",
	"unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired",
	"alreadyReplaced", "invalidProfile",
}

// answer is what came back.
type answer struct {
	what   string // the request
	status int
	header http.Header
	body   []byte
}

// problemDoc is a problem document (RFC 7807) as RFC 8555, 6.7 extends it.
type problemDoc struct {
	Type, Detail, Instance string
	Status                 int
	Algorithms             []string
	Identifier             any
	Subproblems            []struct {
		Type, Detail string
		Identifier   *ident
	}
}

// check holds an answer to what must be true of every one.
func (a *answer) check(t *testing.T, method string) {
	t.Helper()
	if a.status < 300 && method == http.MethodPost && a.header.Get("Replay-Nonce") == "" { // RFC 8555, 6.5
		t.Errorf("%s: %d without a Replay-Nonce", a.what, a.status)
	}
	if a.status < 400 || method == http.MethodHead {
		return
	}
	var p problemDoc
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %d without a problem document: %s", a.what, a.status, a.body)
	}
	for _, kind := range append([]string{p.Type}, subtypes(p)...) { // RFC 8555, 6.7
		if word, ours := strings.CutPrefix(kind, urn); ours && !slices.Contains(registered, word) {
			t.Errorf("%s: the type %q is not registered", a.what, kind)
		}
	}
	if p.Identifier != nil { // RFC 8555, 6.7.1
		t.Errorf("%s: an identifier at the top level: %s", a.what, a.body)
	}
}

func subtypes(p problemDoc) (kinds []string) {
	for _, s := range p.Subproblems {
		kinds = append(kinds, s.Type)
	}
	return kinds
}

// want ends the test for another status.
func (a *answer) want(t *testing.T, status int) *answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("%s: status %d, want %d\n%s", a.what, a.status, status, a.body)
	}
	return a
}

// refused fails the test for anything but a problem document of this status and type.
func (a *answer) refused(t *testing.T, status int, kind string) *answer {
	t.Helper()
	if got := a.problem(); a.status != status || got.Type != urn+kind {
		t.Errorf("%s: %d %s, want %d %s\n%s", a.what, a.status, got.Type, status, kind, a.body)
	}
	return a
}

func (a *answer) problem() (p problemDoc) {
	_ = json.Unmarshal(a.body, &p) // what is no problem document has no type
	return p
}

func (a *answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v\n%s", a.what, err, a.body)
	}
}

// object is the body as a JSON object.
func (a *answer) object(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	a.into(t, &m)
	return m
}

// links are the URLs of a relation (RFC 8288).
func (a *answer) links(relation string) (urls []string) {
	for _, link := range a.header.Values("Link") {
		if url, found := strings.CutSuffix(link, `>;rel="`+relation+`"`); found {
			urls = append(urls, strings.TrimPrefix(url, "<"))
		}
	}
	return urls
}

package acme

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// names67 are the error types of RFC 8555, 6.7 that this door uses, and of its extensions.
var names67 = map[string]bool{
	"accountDoesNotExist": true, "alreadyRevoked": true, "badCSR": true, "badNonce": true, "badPublicKey": true,
	"badRevocationReason": true, "badSignatureAlgorithm": true, "caa": true, "connection": true, "dns": true,
	"incorrectResponse": true, "invalidContact": true, "malformed": true, "orderNotReady": true, "rateLimited": true,
	"rejectedIdentifier": true, "serverInternal": true, "tls": true, "unauthorized": true, "unsupportedContact": true,
	"unsupportedIdentifier": true, "userActionRequired": true, "externalAccountRequired": true,
	"alreadyReplaced": true, // RFC 9773, 7.4
	"invalidProfile":  true, // draft-ietf-acme-profiles, 6.3
}

func TestEveryKindHasWords(t *testing.T) {
	for _, k := range problem.Kinds() {
		w, ok := wording[k]
		if !ok {
			t.Errorf("%s has no words", k)
			continue
		}
		if !names67[w.name] || http.StatusText(w.status) == "" || w.status < 400 {
			t.Errorf("%s is %q with status %d", k, w.name, w.status)
		}
	}
	if len(wording) != len(problem.Kinds()) {
		t.Error("the table has a kind that does not exist")
	}
	if wordsFor(problem.Kind(250)).name != "serverInternal" {
		t.Error("an unknown kind must be an internal error")
	}
}

func TestProblemDocument(t *testing.T) {
	name := dnsName(t, "a.example.com")
	for _, tc := range []struct {
		name string
		err  *problem.Error
		want string
	}{
		{"RFC 8555, 6.7", problem.New(problem.BadCSR, "no names"), `{"type":"` + urn + `badCSR","detail":"no names","status":400}`},
		{"RFC 8555, 6.2: algorithms", problem.New(problem.BadSignatureAlgorithm, "no"), `{"type":"` + urn +
			`badSignatureAlgorithm","detail":"no","status":400,"algorithms":["ES256","ES384","ES512","EdDSA","RS256"]}`},
		{"RFC 8555, 7.3.6: 401", errDeactivated, `{"type":"` + urn + `unauthorized","detail":` + quoteJSON(t, errDeactivated.Detail) + `,"status":401}`},
		{"RFC 8555, 6.7.1", problem.New(problem.RejectedIdentifier, "no").WithParts([]problem.Part{{Identifier: name, Kind: problem.RejectedIdentifier, Detail: "denied"}}),
			`{"type":"` + urn + `rejectedIdentifier","detail":"no","status":403,"subproblems":[{"type":"` + urn +
				`rejectedIdentifier","detail":"denied","identifier":{"type":"dns","value":"a.example.com"}}]}`},
		{"RFC 8555, 6.7: compound", problem.New(problem.Malformed, "no").WithParts([]problem.Part{{Kind: problem.Malformed}, {Identifier: name, Kind: problem.CAA}}),
			`{"type":"` + urn + `compound","detail":"no","status":400,"subproblems":[{"type":"` + urn +
				`malformed"},{"type":"` + urn + `caa","identifier":{"type":"dns","value":"a.example.com"}}]}`},
	} {
		got, err := json.Marshal(renderProblem(tc.err))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

func quoteJSON(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInternalErrorsShowNothing(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	w.server.writeProblem(rec, httptest.NewRequest(http.MethodPost, "/acme/r/new-order", nil), errors.New("dial 10.0.0.1: password=hunter2"))
	if strings.Contains(rec.Body.String(), "hunter2") || rec.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if !regexp.MustCompile(`"instance":"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`).MatchString(rec.Body.String()) {
		t.Error("no number to ask us about:", rec.Body)
	}
}

// TestRefusalsSayWhy: a certificate that its request would make break a rule is refused with the rule's name, and not with
// what the check said about the bytes (RFC 8555, 7.4 and 6.7).
func TestRefusalsSayWhy(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() {
		w.registrar.refuse = problem.Wrap(errors.New("at offset 7"), problem.BadCSR, "the certificate would violate %s", "e_rule")
	})
	got := c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusBadRequest, "badCSR")
	if got["detail"] != "the certificate would violate e_rule" || got["instance"] != nil {
		t.Error(got)
	}
}

func TestUnavailableSaysWhenToComeBack(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{problem.New(problem.Unavailable, "the store does not answer"), "5"},
		{problem.New(problem.Unavailable, "the store does not answer").After(1200 * time.Millisecond), "2"},
	} {
		w.store.failing("Admit", tc.err)
		a := c.post("/acme/r/new-order", identifiers("a.example.com"))
		a.wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
		if got := a.header.Get("Retry-After"); got != tc.want {
			t.Errorf("Retry-After %q, want %q", got, tc.want)
		}
	}
}

package scm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestTokenSlowedDown: a client that asks for one token after the other is told to come back, in OAuth's form.
func TestTokenSlowedDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, credential, secret, err := w.people.AddCredential(t.Context(), operator, auth.Ref{Login: "ada", Customer: "main"}, auth.NewCredential{Kind: auth.OAuthClient})
	must(t, err)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {credential.Public()}, "client_secret": {secret.ClientSecret}}
	for try := range 100 {
		rec := w.do(w.tokenRequest(form))
		if rec.Code == http.StatusOK {
			continue
		}
		body := object(t, rec.Body.Bytes())
		if try < 5 || rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") == "" || body["error"] != "temporarily_unavailable" || body["code"] != nil {
			t.Errorf("try %d: status %d: %s", try, rec.Code, rec.Body)
		}
		return
	}
	t.Error("a hundred tokens were given")
}

// TestTokenErrors: every kind of error has OAuth's form, with characters that it may have.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := map[problem.Kind][2]any{
		problem.Unauthorized: {401, "invalid_client"}, problem.RateLimited: {429, "temporarily_unavailable"}, problem.Unavailable: {503, "temporarily_unavailable"},
		problem.Malformed: {400, "invalid_request"}, problem.UnsupportedMedia: {400, "invalid_request"}, problem.TooLarge: {413, "invalid_request"},
	}
	for _, kind := range problem.Kinds() {
		rec := httptest.NewRecorder()
		err := w.refuseToken(rec, problem.Wrap(errors.New("the disk is full"), kind, "not \"this\" \\ way, Zoë").After(1500*time.Millisecond))
		if _, ok := errors.AsType[*answered](err); !ok {
			t.Errorf("%s: it would be answered twice: %v", kind, err)
		}
		var body map[string]string
		must(t, json.Unmarshal(rec.Body.Bytes(), &body))
		status, word := 500, "server_error"
		if x, ok := want[kind]; ok {
			status, word = x[0].(int), x[1].(string)
		}
		if rec.Code != status || body["error"] != word || len(body) != 2 || rec.Header().Get("Retry-After") != "2" {
			t.Errorf("%s: status %d %v: %s", kind, rec.Code, rec.Header(), rec.Body)
		}
		if d := body["error_description"]; kind != problem.Unauthorized && d != "not 'this' ' way, Zo?" || strings.Contains(d, "disk") {
			t.Errorf("%s: %s", kind, d)
		}
	}
	rec := httptest.NewRecorder()
	w.refuseToken(rec, errors.New("the disk is full"))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "disk") || !strings.Contains(rec.Body.String(), failed[:20]) {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
}

// TestProcessing: what is said of what is not issued yet can be another text.
func TestProcessing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.issue("rex", "approved", "a.example.com")
	if rec := w.call("rex", "GET", "/api/ssl/v2/collect/1", "", 400); rec.Body.String() != `{"code":0,"description":"Being processed by Sectigo"}` {
		t.Errorf("%s", rec.Body)
	}
	var err error
	c := w.Config
	c.Processing, c.Observe = "Being processed by 100% of Example CA", func(context.Context, string, error) {}
	w.Server, err = New(c)
	must(t, err)
	w.golden("collect-processing", "rex", "GET", "/api/ssl/v2/collect/1", "")
}

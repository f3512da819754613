package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// adminWorld is a whole gateway in this process, without listeners and without anything that goes on by itself, and its
// operator's socket.
type adminWorld struct {
	t       testing.TB
	core    *core
	handler http.Handler
	commits atomic.Int64 // that changed the store
	objects map[string]string
}

// countedCommits is an engine that counts what changed.
type countedCommits struct {
	storage.Engine
	n *atomic.Int64
}

func (c *countedCommits) Commit(ctx context.Context, b storage.Batch) error {
	err := c.Engine.Commit(ctx, b)
	if err == nil {
		c.n.Add(1)
	}
	return err
}

// newAdminWorld has one of each kind of object that the socket's paths name.
func newAdminWorld(t testing.TB) *adminWorld {
	t.Helper()
	w := &adminWorld{t: t}
	d, err := newDev(t.TempDir(), devFlags{Approvals: 1}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(d.close)
	d.settings.wrapEngine = func(e storage.Engine) storage.Engine { return &countedCommits{e, &w.commits} }
	w.core, err = openCore(t.Context(), d.settings, nil, nil)
	must(t, err)
	t.Cleanup(func() {
		w.core.finish(context.Background())
		w.core.close()
	})
	w.handler = (&operatorDoor{core: func() *core { return w.core }, log: slog.New(slog.DiscardHandler)}).server().Handler
	w.fill()
	return w
}

// fill makes the objects, by the socket as far as it makes any.
func (w *adminWorld) fill() {
	w.t.Helper()
	var key struct{ KID string }
	var user, credential struct{ ID string }
	w.must("POST", "/organisations", `{"slug": "sales", "parent": "dev"}`, nil)
	w.must("POST", "/eab-keys", `{"org": "sales"}`, &key)
	w.must("POST", "/principals", `{"org": "sales", "login": "ada", "roles": [{"org": "sales", "role": "requester"}]}`, &user)
	w.must("POST", "/principals/"+user.ID+"/credentials", `{"kind": "api"}`, &credential)
	w.must("POST", "/domains", `{"domain": "example.com", "org": "dev"}`, nil)
	waits, issued := w.request("waits.example.com"), w.request("issued.example.com")
	_, err := w.core.registrar.Approve(w.t.Context(), ra.Operator("uid:0"), issued.ID, "")
	must(w.t, err)
	issued = w.request("issued.example.com")
	if issued.Phase != ra.Issued || waits.Phase != ra.Waiting {
		w.t.Fatalf("the world is incomplete: %+v, %+v", waits, issued)
	}
	var shown, wait struct{ ID json.Number }
	w.must("GET", "/serials/"+string(issued.Serial), "", &shown)
	w.must("GET", "/requests", "", &struct{ Requests []any }{})
	w.must("GET", "/requests/"+jsonID(waits.ID), "", &wait)
	w.objects = map[string]string{
		"enrollments": shown.ID.String(), "serials": string(issued.Serial), "requests": wait.ID.String(), "organisations": "sales",
		"eab-keys": key.KID, "principals": user.ID, "credentials": credential.ID, "profiles": "dev", "domains": "example.com", "{verb}": "validate",
	}
}

func jsonID(id ra.ID) string {
	b, _ := json.Marshal(id)
	return string(b)
}

// request asks for a certificate as an ACME account of the default organisation that has proved the name.
func (w *adminWorld) request(name string) *ra.Enrollment {
	w.t.Helper()
	key, err := testca.NewKey(testca.P256)
	must(w.t, err)
	csr, err := testca.CSR(key, name)
	must(w.t, err)
	id, err := identifier.ParseDNS(name)
	must(w.t, err)
	e, err := w.core.registrar.Submit(w.t.Context(), auth.Caller{Principal: "acme:x", Org: 1}, ra.Request{
		Door: ra.DoorACME, Profile: "dev", Names: []identifier.Identifier{id}, CSR: csr, Holder: "order",
		Proofs: []policy.Proven{{Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id, At: time.Now()}, Org: 1, Account: "x"}},
	})
	must(w.t, err)
	return e
}

// send is one request on the socket.
func (w *adminWorld) send(method, path, body string) *httptest.ResponseRecorder {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "http://admin"+path, reader)
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), peerKey{}, "uid:1000")))
	return answer
}

func (w *adminWorld) must(method, path, body string, into any) {
	w.t.Helper()
	a := w.send(method, path, body)
	if a.Code != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, a.Code, a.Body)
	}
	if into != nil {
		must(w.t, json.Unmarshal(a.Body.Bytes(), into))
	}
}

// journaled is how many entries the journal has.
func (w *adminWorld) journaled() int64 {
	n, _ := w.core.journal.Head()
	return n
}

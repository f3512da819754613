package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// TestPrincipalsOutliveTheStore: principals and credentials that were acknowledged count after kill -9, and after the store is
// gone as well; and nothing on the disk, or in the log, holds a secret.
func TestPrincipalsOutliveTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.start()
	const password = "canary Horse battery"
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	i.mustCommand("user", "add", "ada", "--org", "dev", "--role", "administrator")
	i.mustCommand("user", "password", "ada", "--file", file)
	i.mustCommand("user", "add", "eve", "--org", "dev", "--role", "requester")
	var made userView
	must(t, json.Unmarshal([]byte(i.mustCommand("user", "password", "eve", "--generate", "--json")), &made))
	var api, client, rotated, gone keyView
	for _, k := range []struct {
		into *keyView
		args []string
	}{
		{&api, []string{"add", "ada"}}, {&client, []string{"add", "ada", "--kind", "oauth"}}, {&gone, []string{"add", "ada"}},
	} {
		must(t, json.Unmarshal([]byte(i.mustCommand(append(append([]string{"key"}, k.args...), "--json")...)), k.into))
	}
	must(t, json.Unmarshal([]byte(i.mustCommand("key", "rotate", api.ID, "--json")), &rotated))
	i.mustCommand("key", "revoke", gone.ID)
	i.mustCommand("user", "disable", "eve")
	if out := i.mustCommand("user", "show", "ada"); strings.Contains(out, rotated.Key) || !strings.Contains(out, "revoked") {
		t.Errorf("it shows %s", out)
	}
	i.kill()

	secrets := []string{password, made.Password, api.Key[17:], rotated.Key[17:], gone.Key[17:], client.ClientSecret[4:]}
	w.noSecret(i, secrets...)
	for _, lost := range []bool{false, true} {
		if lost {
			must(t, os.RemoveAll(filepath.Join(w.data, "store")))
		}
		again := w.start()
		if out := again.mustCommand("user", "list"); !strings.Contains(out, "disabled") || !strings.Contains(out, "administrator") {
			t.Errorf("with the store lost %t: %s", lost, out)
		}
		again.stop()
		w.noSecret(again, secrets...)
		w.counts(func(a *auth.Authenticator) {
			from := netip.MustParseAddr("192.0.2.1")
			for name, tt := range map[string]struct {
				call func() (auth.Caller, error)
				ok   bool
			}{
				"the password":          {func() (auth.Caller, error) { return a.Password(t.Context(), "ada", "dev", password, from) }, true},
				"of who is disabled":    {func() (auth.Caller, error) { return a.Password(t.Context(), "eve", "dev", made.Password, from) }, false},
				"the key after":         {func() (auth.Caller, error) { return a.Key(t.Context(), rotated.Key, from) }, true},
				"the key before":        {func() (auth.Caller, error) { return a.Key(t.Context(), api.Key, from) }, false},
				"the key that is gone":  {func() (auth.Caller, error) { return a.Key(t.Context(), gone.Key, from) }, false},
				"the client and secret": {func() (auth.Caller, error) { return bearer(t, a, client, from) }, true},
			} {
				c, err := tt.call()
				if tt.ok != (err == nil) || !tt.ok && !problem.Is(err, problem.Unauthorized) || tt.ok && len(c.Roles) != 1 {
					t.Errorf("with the store lost %t, %s: %+v, %v", lost, name, c, err)
				}
			}
		})
	}
}

func bearer(t *testing.T, a *auth.Authenticator, client keyView, from netip.Addr) (auth.Caller, error) {
	token, _, err := a.Token(t.Context(), client.ClientID, client.ClientSecret, from)
	if err != nil {
		return auth.Caller{}, err
	}
	return a.Bearer(t.Context(), token, from)
}

// counts opens the store of a gateway that was stopped, and asks it who is who.
func (w *world) counts(ask func(*auth.Authenticator)) {
	w.t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.data, "store")})
	must(w.t, err)
	defer e.Close()
	db, err := storage.Open(w.t.Context(), storage.Config{Engine: e})
	must(w.t, err)
	sealer, err := throwAwaySealer(filepath.Join(w.data, "throw-away-ca"))
	must(w.t, err)
	fixed, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "dev"}})
	must(w.t, err)
	directory, err := fixed.Open(w.t.Context(), db, nil)
	must(w.t, err)
	j, err := audit.Open(audit.Config{Dir: filepath.Join(w.t.TempDir(), "journal"), New: true})
	must(w.t, err)
	defer j.Close()
	people, err := auth.NewPrincipals(auth.PrincipalsConfig{Directory: directory, Store: db, Sealer: sealer, Journal: j})
	must(w.t, err)
	a, err := auth.NewAuthenticator(w.t.Context(), auth.AuthenticatorConfig{Principals: people})
	must(w.t, err)
	ask(a)
}

// noSecret demands that no file of the data folder, and no line of the log, holds a secret in any form.
func (w *world) noSecret(i *instance, secrets ...string) {
	w.t.Helper()
	look := func(where string, content []byte) {
		for n, s := range secrets {
			for _, form := range []string{s, hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s))[:len(s)], base64.RawURLEncoding.EncodeToString([]byte(s))} {
				if bytes.Contains(content, []byte(form)) {
					w.t.Errorf("%s holds secret %d", where, n)
				}
			}
		}
	}
	look("the log", []byte(i.log.String()))
	named := 0
	must(w.t, filepath.WalkDir(w.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		look(path, content)
		if bytes.Contains(content, []byte("administrator")) || bytes.Contains(content, []byte(base64.StdEncoding.EncodeToString([]byte(`"administrator"`))[:12])) {
			named++
		}
		return err
	}))
	if named == 0 {
		w.t.Error("no file names a role: this looks at nothing")
	}
}

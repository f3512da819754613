package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// answersAt polls a directory of one gateway until it answers with a status.
func (i *instance) answersAt(slug string, status int) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 30*time.Second)
	defer cancel()
	for {
		resp, err := i.client().Get("https://" + i.doors + "/acme/in/" + slug + "/directory")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == status {
				return
			}
		}
		if !pause(ctx) {
			i.t.Fatalf("the directory of %s does not come to answer %d: %v", slug, status, err)
		}
	}
}

// TestOrganisationsOfAFleet: what is made and disabled at one gateway holds at the other, for clients as well, and what a
// disabled organisation's accounts were issued can still be revoked.
func TestOrganisationsOfAFleet(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	f := newFleet(t, 2, "--redis", redistest.Start(t).Addr)
	gateways := f.start()
	a, b := gateways[0], gateways[1]
	f.doors.to(1)

	a.mustCommand("org", "add", "sales", "--profile", "dev")
	a.mustCommand("org", "add", "sales-east", "--parent", "sales")
	b.answersAt("sales-east", http.StatusOK)
	at := *b
	at.directory = strings.Replace(b.directory, "/acme/directory", "/acme/in/sales-east/directory", 1)
	c := registered(&at)
	web := b.answers()
	chain, _ := c.issue(web, "www.example.com")

	var key eabView
	must(t, json.Unmarshal([]byte(a.mustCommand("eab", "add", "--org", "sales-east", "--reusable", "--json")), &key))
	if out := b.mustCommand("eab", "show", key.KID); !strings.Contains(out, "usable") || strings.Contains(out, key.HMACKey) {
		t.Errorf("the other gateway shows %s", out)
	}
	a.mustCommand("eab", "revoke", key.KID)
	if out := b.mustCommand("eab", "list"); !strings.Contains(out, "revoked") {
		t.Errorf("the other gateway lists %s", out)
	}

	a.mustCommand("org", "disable", "sales")
	b.answersAt("sales-east", http.StatusNotFound)
	c.post(c.url("newOrder"), map[string]any{"identifiers": dnsNames("www.example.com")}).wantProblem(http.StatusForbidden, "unauthorized")
	c.post(c.kid, nil).wantProblem(http.StatusForbidden, "unauthorized")
	if answer := c.post(c.url("newAccount"), map[string]any{}); answer.status < 400 {
		t.Errorf("an account of a disabled organisation: %d", answer.status)
	}
	c.revoke(chain[0], 4).want(http.StatusOK)
	a.mustCommand("org", "enable", "sales")
	b.answersAt("sales-east", http.StatusOK)
	c.issue(web, "www.example.com")
}

// TestTenantsOutliveTheStore: organisations and keys that were acknowledged are there after kill -9, and after the store is
// gone as well; and nowhere on the disk is a MAC key in the clear.
func TestTenantsOutliveTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.start()
	var org, after orgView
	must(t, json.Unmarshal([]byte(i.mustCommand("org", "add", "sales", "--name", "Sales", "--eab", "required", "--json")), &org))
	i.mustCommand("org", "add", "sales-east", "--parent", "sales")
	i.mustCommand("org", "disable", "sales-east")
	var one, two eabView
	must(t, json.Unmarshal([]byte(i.mustCommand("eab", "add", "--org", "sales", "--label", "canary", "--name", "*.example.com", "--json")), &one))
	must(t, json.Unmarshal([]byte(i.mustCommand("eab", "add", "--org", "sales", "--reusable", "--json")), &two))
	i.mustCommand("eab", "revoke", two.KID)
	i.kill()

	for _, lost := range []bool{false, true} {
		if lost {
			must(t, os.RemoveAll(filepath.Join(w.data, "store")))
		}
		again := w.start()
		must(t, json.Unmarshal([]byte(again.mustCommand("org", "show", "sales", "--json")), &after))
		if after.ID != org.ID || after.Name != "Sales" || after.EAB != "required" || after.Children != 1 {
			t.Errorf("with the store lost %t the organisation is %+v, and was %+v", lost, after, org)
		}
		if out := again.mustCommand("org", "show", "sales-east"); !strings.Contains(out, "disabled") {
			t.Errorf("with the store lost %t: %s", lost, out)
		}
		for kid, want := range map[string]string{one.KID: "usable", two.KID: "revoked"} {
			var v eabView
			must(t, json.Unmarshal([]byte(again.mustCommand("eab", "show", kid, "--json")), &v))
			if v.Status != want || v.HMACKey != "" || kid == one.KID && (v.Label != "canary" || len(v.Names) != 1) {
				t.Errorf("with the store lost %t the key is %+v", lost, v)
			}
		}
		w.noCanary(again, one, two)
		again.stop()
		w.noCanary(again, one, two)
	}
	w.noCanary(i, one, two)
}

// noCanary demands that no file of the data folder, and no line of the log, holds a MAC key in any form.
func (w *world) noCanary(i *instance, keys ...eabView) {
	w.t.Helper()
	forms := map[string][]byte{}
	for _, k := range keys {
		mac, err := base64.RawURLEncoding.DecodeString(k.HMACKey)
		must(w.t, err)
		if len(mac) < 32 {
			w.t.Fatalf("the MAC key has %d octets", len(mac))
		}
		forms["raw"+k.KID], forms["hex"+k.KID] = mac[:12], []byte(hex.EncodeToString(mac)[:24])
		forms["base64"+k.KID], forms["base64url"+k.KID] = []byte(base64.StdEncoding.EncodeToString(mac)[:20]), []byte(k.HMACKey[:20])
	}
	look := func(where string, content []byte) (named bool) {
		for form, text := range forms {
			if bytes.Contains(content, text) {
				w.t.Errorf("%s holds the MAC key: %s", where, form)
			}
		}
		return bytes.Contains(content, []byte(keys[0].KID))
	}
	look("the log", []byte(i.log.String()))
	named := 0
	err := filepath.WalkDir(w.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil && look(path, content) {
			named++
		}
		return err
	})
	must(w.t, err)
	if named < 2 {
		w.t.Errorf("only %d files name the key: this looks at nothing", named)
	}
}

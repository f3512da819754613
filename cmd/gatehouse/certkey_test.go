package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// keyLink makes a link to an enrollment's private key.
func (w *world) keyLink(id int64, flags ...string) keyLinkView {
	w.t.Helper()
	var l keyLinkView
	must(w.t, json.Unmarshal([]byte(w.mustCommand(append([]string{"cert", "key", "link", strconv.FormatInt(id, 10), "--json"}, flags...)...)), &l))
	return l
}

// press sends the page's form.
func (i *instance) press(link, password string) (status int, file []byte) {
	i.t.Helper()
	resp, err := i.client().PostForm(link, url.Values{"password": {password}})
	must(i.t, err)
	defer resp.Body.Close()
	file, err = io.ReadAll(resp.Body)
	must(i.t, err)
	return resp.StatusCode, file
}

// keyInClear downloads an enrollment's private key.
func (i *instance) keyInClear(id int64) crypto.Signer {
	i.t.Helper()
	status, file := i.press(i.keyLink(id, "--format", "key", "--clear").Link, "")
	if status != http.StatusOK {
		i.t.Fatalf("status %d: %s", status, file)
	}
	key, err := bundle.ParseKey(file, nil)
	must(i.t, err)
	return key.(crypto.Signer)
}

// certOf is an enrollment with its certificate.
func (w *world) certOf(id int64) (v enrollmentView, cert *x509.Certificate) {
	w.t.Helper()
	must(w.t, json.Unmarshal([]byte(w.mustCommand("cert", "show", strconv.FormatInt(id, 10), "--json")), &v))
	block, _ := pem.Decode([]byte(v.PEM))
	if block != nil {
		var err error
		cert, err = x509.ParseCertificate(block.Bytes)
		must(w.t, err)
		return v, cert
	}
	w.t.Fatalf("enrollment %d has no certificate: %+v", id, v)
	return v, nil
}

// holds demands that a key is an enrollment's.
func (w *world) holds(id int64, key crypto.Signer) {
	w.t.Helper()
	if _, cert := w.certOf(id); !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(cert.PublicKey) {
		w.t.Errorf("the key is not that of enrollment %d", id)
	}
}

// TestPrivateKeysAreKept from a request by command to a download in the browser: across a kill in the middle of the issuance, a
// new seal key, and the loss of the store. What was destroyed stays so, and nothing has a key in clear.
func TestPrivateKeysAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.args = []string{"--server-keys", "--delegated-domains"}
	i := w.start("--die-at", "after=key/:1")
	web := i.answers()
	i.mustCommand("domain", "add", "www.example.com", "--org", "dev")
	v := i.domain("validate", "www.example.com", "--method", "http")
	web.Set(v.Validation.Location[strings.LastIndexByte(v.Validation.Location, '/')+1:], v.Validation.Value)
	i.mustCommand("domain", "check", "www.example.com")
	request := []string{"request", "new", "--org", "dev", "--profile", "dev", "--name", "www.example.com", "--key-type", "ecdsa-p256", "--wait"}
	if _, stderr, status := i.command(request...); status == 0 {
		t.Fatalf("the gateway has not died: %s", stderr)
	}
	<-i.exited

	i = w.start()
	made := i.certList()[0]
	for !made.settled() && pause(t.Context()) {
		made, _ = enrollmentOf(i, made.ID)
	}
	i.holds(made.ID, i.keyInClear(made.ID))
	i.mustCommand(request...)
	gone := i.certList()[0]
	canaries := []crypto.Signer{i.keyInClear(made.ID), i.keyInClear(gone.ID)}

	link := i.keyLink(made.ID)
	for range 2 {
		resp, err := i.client().Get(link.Link)
		must(t, err)
		page, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(page), "www.example.com") || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("status %d: %s", resp.StatusCode, page)
		}
	}
	if status, _ := i.press(link.Link, "short"); status != http.StatusBadRequest {
		t.Errorf("a short password: %d", status)
	}
	if status, file := i.press(link.Link, "correct-horse"); status != http.StatusOK || len(file) < 1000 {
		t.Errorf("status %d, %d octets", status, len(file))
	}
	if status, _ := i.press(link.Link, "correct-horse"); status != http.StatusNotFound {
		t.Errorf("a second time: %d", status)
	}

	// A key of the requester's own.
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	der, err := testca.CSR(key, "www.example.com")
	must(t, err)
	dir := t.TempDir()
	csrFile, keyFile := filepath.Join(dir, "csr.pem"), filepath.Join(dir, "key.pem")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(csrFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	i.mustCommand("request", "new", "--org", "dev", "--profile", "dev", "--csr", csrFile, "--wait")
	own := i.certList()[0]
	if _, stderr, _ := i.command("cert", "key", "upload", strconv.FormatInt(made.ID, 10), keyFile); !strings.Contains(stderr, "does not belong") {
		t.Errorf("another's key: %s", stderr)
	}
	i.mustCommand("cert", "key", "upload", strconv.FormatInt(own.ID, 10), keyFile)
	canaries = append(canaries, key)
	if _, stderr, status := i.command("cert", "key", "destroy", strconv.FormatInt(gone.ID, 10)); status == 0 || !strings.Contains(stderr, "--yes") {
		t.Errorf("destroy without a yes: %s", stderr)
	}
	i.mustCommand("cert", "key", "destroy", strconv.FormatInt(gone.ID, 10), "--yes")
	if out := i.mustCommand("seal", "list", "--json"); !strings.Contains(out, `"secrets": 2`) {
		t.Errorf("seal list says %s", out)
	}
	metrics, err := http.Get("http://" + w.admin + "/metrics")
	must(t, err)
	text, err := io.ReadAll(metrics.Body)
	must(t, err)
	metrics.Body.Close()
	unused := i.keyLink(made.ID).Link
	i.kill()

	w.lacks("the data folder", wholeFolder(t, filepath.Join(w.data, "store")), canaries)
	w.lacks("the journal", unpackedJournal(t, filepath.Join(w.data, "journal")), canaries)
	w.lacks("the log", []byte(i.log.String()), canaries)
	w.lacks("the metrics", text, canaries)
	secret := unused[strings.LastIndex(unused, console.DownloadPath)+len(console.DownloadPath):]
	for where, data := range map[string][]byte{"store": wholeFolder(t, filepath.Join(w.data, "store")), "log": []byte(i.log.String())} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret of a link is in the %s", where)
		}
	}

	must(t, os.RemoveAll(filepath.Join(w.data, "store")))
	i = w.start()
	i.holds(made.ID, i.keyInClear(made.ID))
	i.holds(own.ID, i.keyInClear(own.ID))
	if _, stderr, status := i.command("cert", "key", "link", strconv.FormatInt(gone.ID, 10)); status == 0 || !strings.Contains(stderr, "destroyed") {
		t.Errorf("a destroyed key after the loss of the store: %s", stderr)
	}
	if status, _ := i.press(unused, "correct-horse"); status != http.StatusNotFound {
		t.Errorf("a link of the lost store: %d", status)
	}
}

func (e enrollmentView) settled() bool { return e.Status != "requested" }

func enrollmentOf(i *instance, id int64) (v enrollmentView, err error) {
	i.t.Helper()
	err = json.Unmarshal([]byte(i.mustCommand("cert", "show", strconv.FormatInt(id, 10), "--json")), &v)
	return v, err
}

// lacks demands that no private key is in data, as it is, in base64 or in hex.
func (w *world) lacks(where string, data []byte, keys []crypto.Signer) {
	w.t.Helper()
	if len(data) == 0 {
		w.t.Errorf("%s is empty", where)
	}
	for n, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(w.t, err)
		secret := der[36:68] // of P-256: the private number (RFC 5915, 3, inside RFC 5958)
		traces := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret)))}
		for shift := range 3 {
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), secret...))
			traces = append(traces, []byte(text[4:len(text)-4]))
		}
		for _, trace := range traces {
			if bytes.Contains(data, trace) {
				w.t.Errorf("%s holds the private key %d, as %.10q…", where, n, trace)
			}
		}
	}
}

// wholeFolder is all files below a folder, one after the other.
func wholeFolder(t *testing.T, dir string) (all []byte) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	}))
	return all
}

// unpackedJournal is a journal's text, and what is base64 in it by itself as well.
func unpackedJournal(t *testing.T, dir string) []byte {
	t.Helper()
	all := wholeFolder(t, dir)
	for line := range bytes.Lines(bytes.TrimRight(all, "\x00")) {
		var e struct{ Data, DER []byte }
		if json.Unmarshal(line, &e) == nil {
			all = append(append(all, e.Data...), e.DER...)
		}
	}
	return all
}

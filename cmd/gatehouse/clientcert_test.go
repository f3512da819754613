package main

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// clientFiles writes a client's certificate, of an issuer that nobody knows, and its key.
func clientFiles(t *testing.T, name string, usage x509.ExtKeyUsage) (cert, key string) {
	t.Helper()
	k, err := testca.NewKey(testca.P256)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	template.Subject.CommonName = name
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "client.pem"), filepath.Join(folder, "client.key")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return cert, key
}

// curl asks the gateway for a path, and gives the status and the body.
func (i *instance) curl(path string, args ...string) (status, body string) {
	i.t.Helper()
	out, err := exec.CommandContext(i.t.Context(), "curl", append([]string{"--silent", "--show-error", "--cacert", i.root, "--write-out", "\n%{http_code}", "https://" + i.doors + path}, args...)...).CombinedOutput()
	if err != nil {
		i.t.Fatalf("curl %s: %v\n%s", path, err, out)
	}
	text := string(out)
	at := strings.LastIndex(text, "\n")
	return text[at+1:], text[:at]
}

// TestClientCertificates: whoever shows a certificate that is bound is known below /private/api, until that is revoked; nobody else is,
// and at other doors it makes no difference.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	testneed.Programs(t, "curl")
	w := newWorld(t)
	folder := w.initialized(rootResolver(t))
	edit(t, filepath.Join(folder, initConfig), "\ntls: {issuer", "\nscm: {processing: Being processed by Example CA}\ntls: {client_certificates: on, issuer")
	lines, _ := w.checked(folder)
	w.says(lines, "client certs", true, "/private/api")
	i := w.serveConfig(folder)
	w.mustCommand("user", "add", "ada", "--org", "main", "--role", "requester")
	cert, key := clientFiles(t, "ada", x509.ExtKeyUsageClientAuth)
	strange, strangeKey := clientFiles(t, "ada", x509.ExtKeyUsageClientAuth)
	servers, _ := clientFiles(t, "ada", x509.ExtKeyUsageServerAuth)
	if _, stderr, status := w.command("key", "add", "ada", "--kind", "certificate", "--certificate", servers); status == 0 || !strings.Contains(stderr, "clientAuth") {
		t.Errorf("a server's certificate is bound: %s", stderr)
	}
	var bound keyView
	must(t, json.Unmarshal([]byte(w.mustCommand("key", "add", "ada", "--kind", "certificate", "--certificate", cert, "--json")), &bound))

	const path, refused = "/private/api/ssl/v2/customFields", `{"code":-16,"description":"Unknown user"}`
	for name, tt := range map[string]struct {
		path   string
		args   []string
		status string
		body   string // "": any
	}{
		"bound":               {path, []string{"--cert", cert, "--key", key, "-H", "login: ada", "-H", "customerUri: main"}, "200", "[]"},
		"bound, HTTP/1.1":     {path, []string{"--cert", cert, "--key", key, "--http1.1", "--tls-max", "1.2"}, "200", "[]"},
		"another login":       {path, []string{"--cert", cert, "--key", key, "-H", "login: eve"}, "401", refused},
		"of the same names":   {path, []string{"--cert", strange, "--key", strangeKey, "-H", "login: ada"}, "401", refused},
		"none":                {path, []string{"-H", "login: ada", "-H", "password: correct horse"}, "401", refused},
		"at /api":             {"/api/ssl/v2/customFields", []string{"--cert", cert, "--key", key, "-H", "login: ada"}, "401", refused},
		"ACME":                {"/acme/directory", []string{"--cert", strange, "--key", strangeKey}, "200", ""},
		"a page":              {"/download/x", []string{"--cert", strange, "--key", strangeKey}, "404", ""},
		"ACME, nobody's name": {"/acme/directory", nil, "200", ""},
	} {
		if status, body := i.curl(tt.path, tt.args...); status != tt.status || tt.body != "" && body != tt.body {
			t.Errorf("%s: status %s: %s", name, status, body)
		}
	}
	w.mustCommand("key", "revoke", bound.ID)
	if status, body := i.curl(path, "--cert", cert, "--key", key); status != "401" || body != refused {
		t.Errorf("revoked: status %s: %s", status, body)
	}
}

// TestSCMConfig: what the file may say about the door, and what a start refuses, with the line.
func TestSCMConfig(t *testing.T) {
	t.Parallel()
	folder := hierarchyFolder(t)
	for text, fault := range map[string]string{
		"{}": "", "{processing: Being processed by Example CA}": "", `{processing: "two\nlines"}`: "one line", `{processing: " blanks"}`: "blanks",
		"{processing: " + strings.Repeat("ä", maxProcessing) + "}": "", "{processing: " + strings.Repeat("ä", maxProcessing+1) + "}": "200 characters",
		"{process: x}": "processing",
	} {
		c, err := parseConfig("gatehouse.yaml", []byte(strings.ReplaceAll(goodConfig, "CA/", folder+"/")+"scm: "+text+"\n"))
		if err == nil {
			_, err = c.scm()
		}
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault) && !strings.Contains(err.Error(), "not known here") || !strings.Contains(err.Error(), "gatehouse.yaml:")) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

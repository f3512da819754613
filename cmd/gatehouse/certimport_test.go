package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/bundle"
	"github.com/gatehouse-ca/gatehouse/internal/testneed"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// importOf is what cert import sends of a certificate from elsewhere.
func importOf(t testing.TB, names ...string) certImport {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	leaf, err := h.Leaf(names...)
	must(t, err)
	return certImport{Certificates: []certImportedItem{{Certificate: leaf.Certificate[0]}}}
}

// importFolder is a folder as other programs leave it: a chain in PEM, DER, PKCS #7, keys, and what is none of that.
func importFolder(t *testing.T) string {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	dir := t.TempDir()
	write := func(name string, data []byte) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	leaf := func(name string) []byte {
		cert, err := h.Leaf(name)
		must(t, err)
		return cert.Certificate[0]
	}
	www := leaf("www.example.com")
	write("live/cert.pem", []byte(certificatesPEM(www)))
	write("live/chain.pem", []byte(certificatesPEM(h.Intermediate.Certificate.Raw)))
	write("live/fullchain.pem", []byte(certificatesPEM(www, h.Intermediate.Certificate.Raw)))
	write("live/privkey.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")}))
	write("api.der", leaf("api.example.com"))
	write("notes.txt", []byte("no certificate"))
	chain, err := bundle.NewChain(leaf("mail.example.com"), [][]byte{h.Intermediate.Certificate.Raw, h.Root.Certificate.Raw})
	must(t, err)
	p7, err := chain.Encode(bundle.PKCS7, bundle.Options{Content: bundle.FullChain})
	must(t, err)
	write("mail.p7b", p7)
	return dir
}

// TestImportAndExport: a folder comes into the inventory, a second time changes nothing, one bad file fails alone; what was imported
// is there after a crash and without the store; and what is exported openssl reads.
func TestImportAndExport(t *testing.T) {
	t.Parallel()
	dir := importFolder(t)
	w := newWorld(t)
	i := w.start()
	if out := i.mustCommand("cert", "import", "--dir", dir); !strings.Contains(out, "\n3 imported, 1 there already, 0 failed\n") {
		t.Errorf("import says\n%s", out)
	}
	bad := filepath.Join(dir, "notes.txt")
	out, _, status := i.command("cert", "import", "--dir", dir, bad, "--json")
	var all certImportAll
	must(t, json.Unmarshal([]byte(out), &all))
	if status != 1 || all.Imported != 0 || all.There != 4 || all.Failed != 1 || all.Results[0].File != bad || strings.Contains(out, "canary") {
		t.Errorf("status %d: %s", status, out)
	}
	i.kill()
	i = w.start()
	i.stop()
	must(t, os.RemoveAll(filepath.Join(w.data, "store")))
	i = w.start()
	list := i.certList()
	if len(list) != 3 {
		t.Fatalf("there are %d", len(list))
	}
	for _, e := range list {
		if !e.Imported || e.Status != "issued" || e.Requester == "" || !strings.HasPrefix(e.Issuer, "CN=") {
			t.Errorf("%+v", e)
		}
	}
	if _, errs, status := i.command("cert", "revoke", list[0].Serial); status != 1 || !strings.Contains(errs, "revoked where it was issued") {
		t.Errorf("revoke says %s", errs)
	}
	id := fmt.Sprint(list[0].ID)
	first := filepath.Join(t.TempDir(), "out.pem")
	i.mustCommand("cert", "export", id, "--out", first)
	if _, errs, status := i.here("cert", "export", id, "--out", first); status != 1 || !strings.Contains(errs, "is not written over") {
		t.Errorf("a second export says %s", errs)
	}
	if info, err := os.Stat(first); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	opensslReads(t, i, list[0].Serial)
	i.stop()
}

// TestImportFileWithBadBlocks: what cannot be read of a file is a failure of its own, and none of it keeps the rest from being imported.
func TestImportFileWithBadBlocks(t *testing.T) {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	var good [2]string
	for n := range good {
		leaf, err := h.Leaf("www.example.com")
		must(t, err)
		good[n] = certificatesPEM(leaf.Certificate[0])
	}
	begin, end := "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
	for name, tt := range map[string]struct {
		bad           string
		items, failed int
	}{
		"nothing bad":          {"some text\n", 2, 0},
		"no base64":            {begin + "what is this?\n" + end, 2, 1},
		"nothing in it":        {begin + end, 2, 1},
		"no DER":               {begin + "aGVsbG8gdGhlcmU=\n" + end, 3, 0}, // the gateway refuses that one
		"without an end":       {begin + strings.Join(strings.SplitAfter(good[0], "\n")[1:4], ""), 2, 1},
		"cut in the first":     {begin + end + begin + "!\n" + end, 2, 2},
		"a key, which is text": {"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", 2, 0},
	} {
		file := filepath.Join(t.TempDir(), "all.pem")
		must(t, os.WriteFile(file, []byte(good[0]+tt.bad+good[1]), 0o600))
		g, err := gatherCertificates([]string{file}, nil)
		must(t, err)
		said := ""
		if tt.failed > 0 {
			said = fmt.Sprintf("%d of its PEM blocks cannot be decoded", tt.failed)
		}
		if len(g.items) != tt.items || (said != "") != (len(g.failed) == 1) || said != "" && !strings.HasPrefix(g.failed[0].Error, said) {
			t.Errorf("%s: %d certificates, %+v", name, len(g.items), g.failed)
		}
	}
}

// opensslReads demands that each format of an export is read by openssl as what was exported.
func opensslReads(t *testing.T, i *instance, which string) {
	testneed.Programs(t, "openssl")
	for format, args := range map[string][]string{
		"pem": {"x509"}, "der": {"x509", "-inform", "DER"}, "pkcs7": {"pkcs7", "-inform", "DER", "-print_certs"}, "pkcs7-pem": {"pkcs7", "-print_certs"},
	} {
		exported, errs, status := i.here("cert", "export", which, "--format", format, "--content", "leaf")
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Stdin = strings.NewReader(exported)
		read, err := cmd.Output()
		block, _ := pem.Decode(read)
		want, _, _ := i.here("cert", "export", which, "--content", "leaf")
		if status != 0 || err != nil || block == nil || !bytes.Equal(pem.EncodeToMemory(block), []byte(want)) {
			t.Errorf("%s: %s %v\n%s\nwant\n%s", format, errs, err, read, want)
		}
	}
	for content, n := range map[string]int{"leaf": 1, "full": 2, "issuers": 1} {
		if out, errs, _ := i.here("cert", "export", which, "--content", content); strings.Count(out, "BEGIN CERTIFICATE") != n {
			t.Errorf("%s: %s%s", content, out, errs)
		}
	}
	if _, errs, status := i.here("cert", "export", which, "--format", "der", "--content", "full"); status != 1 || !strings.Contains(errs, "ask for the leaf") {
		t.Errorf("a chain as DER: %s", errs)
	}
}

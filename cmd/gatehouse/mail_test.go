package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// mailList is what gatehouse mail list says.
func (w *world) mailList(args ...string) (list mailsView) {
	w.t.Helper()
	must(w.t, json.Unmarshal([]byte(w.mustCommand(append([]string{"mail", "list", "--json"}, args...)...)), &list))
	return list
}

// TestMailSurvivesKill: what was issued while the mail server was dead is told once it is there, though the gateway was killed
// in between; check says whether the server can be had.
func TestMailSurvivesKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := w.initialized(rootResolver(t))
	smtp := freeAddr(t)
	host, _, _ := strings.Cut(smtp, ":")
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	leaf, err := hierarchy.Leaf(host)
	must(t, err)
	roots, password := filepath.Join(folder, "smtp-root.pem"), filepath.Join(folder, "smtp.password")
	must(t, os.WriteFile(roots, testca.CertificatePEM(hierarchy.Root.Certificate), 0o644))
	const secret = "smtp canary 4711"
	must(t, os.WriteFile(password, []byte(secret), 0o600))
	config, err := os.ReadFile(filepath.Join(folder, initConfig))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, initConfig), append(config, fmt.Appendf(nil,
		"\nmail: {server: %q, from: ca@example.com, ca: %s, username: gatehouse, password: %s}\nnotify: [{events: [issued], to: [ops@example.com, more@example.com]}]\n",
		smtp, roots, password)...), 0o644))

	lines, _ := w.checked(folder)
	w.says(lines, "mail", false, "connection refused")
	i := w.serveConfig(folder) // which issues its own certificate
	for list := w.mailList(); len(list.Mails) < 2 || list.Server.Trouble == ""; list = w.mailList() {
		if !pause(t.Context()) {
			t.Fatalf("no mail waits: %+v", list)
		}
	}
	text := w.mustCommand("mail", "list")
	for _, word := range []string{"the mail server takes nothing", "connection refused", "ops@example.com", "more@example.com", "issued"} {
		if !strings.Contains(text, word) {
			t.Errorf("mail list says nothing of %q:\n%s", word, text)
		}
	}
	_, _, metrics := get(t, "http://"+w.admin+"/metrics")
	for _, line := range []string{"gatehouse_mails_queued 2", "gatehouse_mails_lost 0", "gatehouse_mail_oldest_age_seconds ", `gatehouse_mail_attempts_total{outcome="sent"} 0`} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics have no %q", line)
		}
	}
	i.kill()

	server, err := testca.NewSMTP(testca.SMTPConfig{Addr: smtp, Certificate: &leaf, Username: "gatehouse", Password: secret})
	must(t, err)
	t.Cleanup(func() { server.Close() })
	lines, _ = w.checked(folder)
	w.says(lines, "mail", true, "takes mail of ca@example.com over TLS")
	i = w.serveConfig(folder)
	mails, err := server.Await(t.Context(), 2)
	must(t, err)
	to := map[string]bool{}
	for _, m := range mails {
		to[m.To] = true
		if parsed, err := m.Message(); err != nil || !strings.HasPrefix(parsed.Header.Get("Subject"), "Certificate 1 is issued: ") || !m.TLS {
			t.Errorf("the mail is %s", m.Data)
		}
	}
	if len(mails) != 2 || !to["ops@example.com"] || !to["more@example.com"] {
		t.Errorf("%d mails, to %v", len(mails), to)
	}
	for w.mustCommand("mail", "list") != "no mails wait\n" {
		if !pause(t.Context()) {
			t.Fatal(w.mustCommand("mail", "list"))
		}
	}
	if strings.Contains(i.log.String(), secret) {
		t.Error("the log holds the password")
	}
}

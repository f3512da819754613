package main

import (
	"fmt"
	"io"
	"io/fs"
	"mime/quotedprintable"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// mailedLink is the link of a mail, in its two parts.
var mailedLink = regexp.MustCompile(`(https://\S+/dcv/email/\S+)/(\S+)`)

// linkOf reads the link of a mail: the page, and the code.
func linkOf(t *testing.T, m testca.SMTPMail) (page, code string) {
	t.Helper()
	message, err := m.Message()
	must(t, err)
	var reader io.Reader = message.Body
	if message.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		reader = quotedprintable.NewReader(reader)
	}
	body, err := io.ReadAll(reader)
	must(t, err)
	parts := mailedLink.FindStringSubmatch(string(body))
	if m.To != "admin@example.com" || parts == nil || !strings.Contains(string(body), "shop.example.com") {
		t.Fatalf("the mail to %s is\n%s", m.To, body)
	}
	return parts[1], parts[2]
}

// visit makes a request of a page and reads it.
func visit(t *testing.T, client *http.Client, method, url string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(form.Encode()))
	must(t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text)
}

// TestADomainIsValidatedByMail: a link that is only fetched does nothing; the button behind it, also after a kill and the loss of
// the store, gives an ACME account of the organisation names below the domain with no challenge, and one of another none. The
// code stands in the mail and nowhere else.
func TestADomainIsValidatedByMail(t *testing.T) {
	t.Parallel()
	smtp, err := testca.NewSMTP(testca.SMTPConfig{})
	must(t, err)
	t.Cleanup(func() { smtp.Close() })
	w, dns := newWorld(t), rootResolver(t)
	must(t, dns.Add(`_validation-contactemail.shop.example.com. 60 IN TXT "certs@example.net"`))
	folder := w.initialized(dns)
	config := filepath.Join(folder, initConfig)
	edit(t, config, "    backdate: 1m\n", "    backdate: 1m\n    delegated_domains: true\n")
	text, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, append(text, fmt.Appendf(nil, "\nmail: {server: %q, tls: none, from: ca@example.com}\ndomains: {email_lifetime: 24h}\n", smtp.Addr())...), 0o644))
	i := w.serveConfig(folder)
	i.mustCommand("org", "add", "sales", "--name", "Sales & Co")
	i.mustCommand("org", "add", "other")
	i.mustCommand("domain", "add", "shop.example.com", "--org", "sales")

	list := i.mustCommand("domain", "addresses", "shop.example.com")
	for _, want := range []string{"admin@shop.example.com", "postmaster@example.com", "certs@example.net", "the name alone"} {
		if !strings.Contains(list, want) {
			t.Errorf("domain addresses lacks %s:\n%s", want, list)
		}
	}
	for _, args := range [][]string{{}, {"--address", "eve@example.com"}} {
		if _, stderr, status := i.command(append([]string{"domain", "validate", "shop.example.com", "--method", "email"}, args...)...); status != 1 || !strings.Contains(stderr, "domain addresses shop.example.com") {
			t.Errorf("%v: %d, %s", args, status, stderr)
		}
	}
	if out := i.mustCommand("domain", "validate", "shop.example.com", "--method", "email", "--address", "admin@example.com"); !strings.Contains(out, "mail to admin@example.com is on its way") {
		t.Error(out)
	}
	mails, err := smtp.Await(t.Context(), 1)
	must(t, err)
	page, old := linkOf(t, mails[0])
	if out := i.mustCommand("domain", "resend", "shop.example.com", "--address", "admin@example.com"); !strings.Contains(out, "mail to admin@example.com is on its way") {
		t.Error(out)
	}
	mails, err = smtp.Await(t.Context(), 2)
	must(t, err)
	samePage, code := linkOf(t, mails[1])
	if samePage != page || code == old {
		t.Errorf("the second mail has %s/%s, the first %s/%s", samePage, code, page, old)
	}

	client := i.client()
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, link := range []string{page, page + "/" + code, page + "?answer=confirm&code=" + code} {
			if _, text := visit(t, client, method, link, nil); method == "GET" && !strings.Contains(text, "Sales &amp; Co") {
				t.Errorf("%s says\n%s", link, text)
			}
		}
	}
	if v := i.domain("show", "shop.example.com"); v.Status != "not validated" || v.Email == nil || v.Email.State != "pending" {
		t.Errorf("after the link was fetched: %+v", v)
	}
	i.kill()
	must(t, os.RemoveAll(filepath.Join(w.data, "store"))) // it gets back what the journal has
	again := w.serveConfig(folder)

	client = again.client()
	if status, text := visit(t, client, "POST", page, url.Values{"answer": {"confirm"}, "code": {old}}); status != http.StatusForbidden {
		t.Errorf("the first mail's code: %d\n%s", status, text)
	}
	for range 2 {
		if status, text := visit(t, client, "POST", page, url.Values{"answer": {"confirm"}, "code": {code}}); status != http.StatusOK || !strings.Contains(text, "shop.example.com is confirmed") {
			t.Errorf("the button: %d\n%s", status, text)
		}
	}
	show := again.mustCommand("domain", "show", "shop.example.com")
	for _, want := range []string{"status        validated", "ca-email-constructed: validated at", "e-mail: confirmed", "by the mail to admin@example.com, from 127.0.0.1"} {
		if !strings.Contains(show, want) {
			t.Errorf("domain show lacks %q:\n%s", want, show)
		}
	}

	sales, other := registered(again.at("sales")), registered(again.at("other"))
	o := sales.order("shop.example.com", "www.shop.example.com")
	if o.Status != "ready" {
		t.Errorf("the organisation's order is %s", o.Status)
	}
	_, csr := newCSR(t, "shop.example.com", "www.shop.example.com")
	sales.finalize(o, csr).want(http.StatusOK)
	sales.await(o)
	for name, c := range map[string]*rawClient{"mail.example.com": sales, "example.com": sales, "www.shop.example.com": other} {
		if o := c.order(name); o.Status != "pending" {
			t.Errorf("%s: the order is %s", name, o.Status)
		}
	}
	again.stop()
	for _, log := range []string{i.log.String(), again.log.String()} {
		if strings.Contains(log, code) || strings.Contains(log, old) || !strings.Contains(log, "dcv/email") {
			t.Error("the log has the code, or nothing of the page")
		}
	}
	must(t, filepath.WalkDir(w.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), code) || strings.Contains(string(content), old) {
			t.Errorf("%s has the code", path)
		}
		return err
	}))
}

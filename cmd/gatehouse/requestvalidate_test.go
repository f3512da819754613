package main

import (
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// request runs a command about a request and reads what it says, whatever its status.
func (w *world) request(args ...string) (v requestView) {
	w.t.Helper()
	stdout, stderr, _ := w.command(append(append([]string{"request"}, args...), "--json")...)
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		w.t.Fatalf("gatehouse request %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return v
}

func number64(n int64) string { return strconv.FormatInt(n, 10) }

// TestARequestIsValidated from the terminal: a principal's request waits for its names, each by another method; the gateway is killed
// in between. Another one is taken back.
func TestARequestIsValidated(t *testing.T) {
	t.Parallel()
	dns, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	t.Cleanup(func() { dns.Close() })
	w := newWorld(t)
	w.args = []string{"--resolver", dns.Addr(), "--dcv-methods", "http-01,dns-01,ca-dns-txt,ca-csr-hash-http,ca-csr-hash-cname"}
	i := w.start()
	web := i.answers()
	i.mustCommand("org", "add", "sales")
	i.mustCommand("user", "add", "ada", "--org", "sales", "--role", "requester")
	file := filepath.Join(t.TempDir(), "request.csr")
	_, csr := newCSR(t, "a.example.com", "*.example.com", "b.example.com")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), 0o600))

	if _, stderr, status := i.command("request", "new", "--csr", file, "--org", "sales", "--as", "ada", "--customer", "sales", "--profile", "dev", "--validate", "csr-hash-http"); status != 1 || !strings.Contains(stderr, "*.example.com") {
		t.Errorf("a file for a wildcard: %d, %s", status, stderr)
	}
	r := i.request("new", "--csr", file, "--org", "sales", "--as", "ada", "--customer", "sales", "--profile", "dev", "--validate", "later")
	if ra.Status(r.Status) != ra.StatusValidating || len(r.Challenges) != 3 || r.ValidateBy.Before(time.Now().Add(29*24*time.Hour)) {
		t.Fatalf("%+v", r)
	}
	id := number64(r.ID)
	if text := i.mustCommand("request", "show", id); !strings.Contains(text, "no method was chosen yet; gatehouse request validate "+id) {
		t.Errorf("request show says\n%s", text)
	}
	stdout, stderr, status := i.command("request", "validate", id, "--method", "csr-hash-http", "--name", "*.example.com=txt", "--name", "b.example.com=csr-hash-cname")
	if status != 1 || !strings.Contains(stderr, "not validated yet") || !strings.Contains(stdout, "what to do: ") {
		t.Errorf("before it is published: %d\n%s%s", status, stdout, stderr)
	}
	for n, c := range i.request("show", id).Challenges {
		if c.Failed == nil || c.Failed.Finding == nil || c.Value == "" {
			t.Fatalf("%+v", c)
		}
		switch c.Record {
		case "file":
			if c.Failed.Finding.Trouble != "status" || c.Failed.Finding.Status != 404 {
				t.Errorf("%+v", c.Failed.Finding)
			}
			web.Set(c.Location[strings.LastIndexByte(c.Location, '/')+1:], c.Value)
		default:
			must(t, dns.Add(c.Location+". 60 IN "+c.Record+" "+c.Value+map[string]string{"CNAME": "."}[c.Record]))
		}
		if n == 0 { // one proof outlives the process
			i.request("validate", id)
			i.kill()
			i = w.start()
		}
	}
	r = i.request("validate", id)
	if ra.Status(r.Status) != ra.StatusIssued || r.Serial == "" || !strings.HasPrefix(r.Requester, "user:") || len(r.Challenges) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, c := range r.Challenges {
		if c.Validated.IsZero() || c.Failed != nil {
			t.Errorf("%+v", c)
		}
	}
	if _, stderr, status := i.command("request", "cancel", id); status != 1 || !strings.Contains(stderr, "cannot be taken back") {
		t.Errorf("%d, %s", status, stderr)
	}

	other := i.request("new", "--csr", file, "--org", "sales", "--profile", "dev", "--validate", "txt")
	if out := i.mustCommand("request", "cancel", number64(other.ID)); !strings.Contains(out, "took request") {
		t.Error(out)
	}
	if text := i.mustCommand("request", "show", number64(other.ID)); !strings.Contains(text, "taken back by") || !strings.Contains(text, "failed") {
		t.Errorf("request show says\n%s", text)
	}
}

func TestRequestValidationConfig(t *testing.T) {
	bound := func(n count) *count { return &n }
	for _, row := range []struct {
		given requestValidationConfig
		says  string
	}{
		{requestValidationConfig{}, ""},
		{requestValidationConfig{Lifetime: duration(time.Hour), CSRHashSuffix: "ca.example.com", PerOrganisation: bound(7)}, ""},
		{requestValidationConfig{Lifetime: duration(30 * 24 * time.Hour), PerOrganisation: bound(0)}, ""},
		{requestValidationConfig{Lifetime: duration(time.Minute)}, "one hour to 30 days"},
		{requestValidationConfig{Lifetime: duration(31 * 24 * time.Hour)}, "one hour to 30 days"},
		{requestValidationConfig{CSRHashSuffix: "CA.example.com"}, "in lower case"},
		{requestValidationConfig{CSRHashSuffix: "*.example.com"}, "is no DNS name"},
		{requestValidationConfig{CSRHashSuffix: strings.Repeat("abcdefgh.", 24) + "com"}, "at most"},
	} {
		c := &fileConfig{RequestValidation: row.given, source: mustSource(t)}
		v, err := c.requestValidation()
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%+v: %v", row.given, err)
		}
		if err == nil && (v.Suffix != row.given.CSRHashSuffix || v.Lifetime != time.Duration(row.given.Lifetime)) {
			t.Errorf("%+v became %+v", row.given, v)
		}
	}
	for word, ok := range map[string]bool{"txt": true, "csr-hash-https": true, "ca-dns-cname": true, "dns-01": false, "email": false, "": false, "CNAME": false} {
		if _, err := requestMethod("method", word); (err == nil) != ok {
			t.Errorf("%q: %v", word, err)
		}
	}
	if v, err := (validationWord{Methods: map[string]string{"no name": "txt"}}).validation(); err == nil {
		t.Errorf("%+v", v)
	}
}

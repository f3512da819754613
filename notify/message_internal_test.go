package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestCheckAddress(t *testing.T) {
	for _, good := range []string{"ca@example.com", "a.b-c_d+e=f@sub.example.com", "x@xn--bcher-kva.example"} {
		if err := CheckAddress(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "ca", "@example.com", "ca@", "a@b@example.com", `"admin@victim.example> "@evil.example`, "a b@example.com", "a@example.com\r\nBcc: x@evil.example",
		".a@example.com", "a..b@example.com", "a.@example.com", "-a@example.com", "a|b@example.com", "a@[127.0.0.1]", "a@*.example.com", "a@Example.com",
		"<a@example.com>", "ä@example.com", "a@bücher.example", "a%b@example.com", "a@example.com ", strings.Repeat("a", 65) + "@example.com",
	} {
		if CheckAddress(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestRenderHostile: no word makes a line, a header or a secret's place of its own.
func TestRenderHostile(t *testing.T) {
	m := &ra.Mail{ID: "id", Kind: ra.MailEvent, To: "a@example.com", Created: time.Now(), Data: map[string]string{
		"event": "declined", "enrollment": "7", "names": "a.example.com\r\nBcc: x@evil.example\r\n\r\n" + strings.Repeat("n", 300),
		"detail": "one\ntwo\u2028three\u202efour\x00{{.secret}}", "organisation": "bücher",
	}}
	got, err := render(m, "SECRET")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Subject) > maxSubject || strings.ContainsFunc(got.Subject, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("subject %q", got.Subject)
	}
	if !strings.Contains(got.Body, "message:      one two three?four?{{.secret}}\n") || strings.Contains(got.Body, "SECRET") || !strings.Contains(got.Body, "bücher") {
		t.Errorf("body\n%s", got.Body)
	}
	for _, bad := range []*ra.Mail{
		{Kind: "other", To: "a@example.com"}, {Kind: ra.MailEvent, To: "a@example.com", Data: map[string]string{"event": "facts"}},
		{Kind: ra.MailDomainValidation, To: "a@example.com", Data: map[string]string{"domain": "example.com"}}, {Kind: ra.MailEvent, To: "a", Data: m.Data},
	} {
		if got, err := render(bad, ""); err == nil {
			t.Errorf("%+v is written: %+v", bad, got)
		}
	}
}

// TestTextOfEachEvent: there is one for each kind of event.
func TestTextOfEachEvent(t *testing.T) {
	for _, kind := range ra.EventKinds() {
		got, err := render(&ra.Mail{Kind: ra.MailEvent, To: "a@example.com", Data: map[string]string{"event": string(kind)}}, "")
		if err != nil || got.Subject == "" || strings.Contains(got.Body, "no value") {
			t.Errorf("%s: %v, %+v", kind, err, got)
		}
	}
}

func TestPause(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 5: 16 * time.Minute, 7: time.Hour, 1000: time.Hour} {
		low, high := want*4/5, min(want*6/5, time.Hour)
		seen := map[time.Duration]bool{}
		for range 100 {
			d := pause(failures, firstRetry, lastRetry)
			if d < low || d > high {
				t.Errorf("after %d failures %s, want %s to %s", failures, d, low, high)
			}
			seen[d] = true
		}
		if len(seen) < 10 {
			t.Errorf("after %d failures there is no chance in it", failures)
		}
	}
}

func TestExplain(t *testing.T) {
	got := explain(errors.New("554 spam: https://x/abc\r\n\x1b[31m "+strings.Repeat("é", 400)), "abc")
	if strings.Contains(got, "abc") || strings.ContainsAny(got, "\r\n\x1b") || len(got) > ra.MaxTrouble {
		t.Errorf("%q", got)
	}
}

func TestNewSMTPRefuses(t *testing.T) {
	good := SMTPConfig{Host: "smtp.example.com", Port: 587, TLS: StartTLS, From: "ca@example.com", FromName: "Example CA"}
	if _, err := NewSMTP(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SMTPConfig){
		"no host": func(c *SMTPConfig) { c.Host = "" }, "no port": func(c *SMTPConfig) { c.Port = 0 }, "mode": func(c *SMTPConfig) { c.TLS = "maybe" },
		"from": func(c *SMTPConfig) { c.From = "ca" }, "name": func(c *SMTPConfig) { c.FromName = "x\r\nBcc: y" }, "no password": func(c *SMTPConfig) { c.Username = "x" },
		"clear password": func(c *SMTPConfig) { c.TLS, c.Username, c.Password = Cleartext, "x", "y" },
	} {
		c := good
		change(&c)
		if _, err := NewSMTP(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

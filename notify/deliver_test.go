package notify_test

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// body is the text of a mail as its reader sees it.
func body(t *testing.T, m testca.SMTPMail) string {
	t.Helper()
	parsed := must(m.Message())(t)
	r := parsed.Body
	if strings.EqualFold(parsed.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		r = quotedprintable.NewReader(r)
	}
	return strings.ReplaceAll(string(must(io.ReadAll(r))(t)), "\r\n", "\n")
}

// TestDelivers: a mail is delivered over TLS with a password, is what it should be, and leaves nothing behind.
func TestDelivers(t *testing.T) {
	w := newWorld(t, nil, nil)
	m := w.mail("admin@example.com")
	w.turn(nil)
	got := must(w.server.Await(t.Context(), 1))(t)[0]
	if got.From != "ca@example.com" || got.To != "admin@example.com" || !got.TLS || got.User != "gatehouse" || got.Hello != "gate.example.com" {
		t.Errorf("envelope %s → %s, TLS %v, user %q, hello %q", got.From, got.To, got.TLS, got.User, got.Hello)
	}
	parsed := must(got.Message())(t)
	for name, want := range map[string]string{
		"From": `"Example CA" <ca@example.com>`, "To": "<admin@example.com>", "Auto-Submitted": "auto-generated", "Message-Id": "<" + m.ID + "@example.com>",
		"Subject": "Confirm the use of example.com", "Content-Type": "text/plain; charset=UTF-8", "User-Agent": "", "X-Mailer": "",
	} {
		if got := parsed.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if at, err := parsed.Header.Date(); err != nil || !at.Equal(m.Created) {
		t.Errorf("Date %v, %v", at, err)
	}
	if text := body(t, got); !strings.Contains(text, "    https://ca.example.com/dcv/email/"+secret+"\n") {
		t.Errorf("the link is not a line of its own:\n%s", text)
	}
	if w.stored(m) != nil {
		t.Error("the mail is still there")
	}
	if queued, lost, err := w.db.MailQueue(t.Context()); queued+lost != 0 || err != nil {
		t.Errorf("%d queued, %d lost, %v", queued, lost, err)
	}
	w.absent(secret, password)
}

// absent demands that nothing of the store's files, or of the log, holds a secret.
func (w *world) absent(secrets ...string) {
	w.t.Helper()
	texts := map[string]string{"log": w.log.text()}
	entries := must(os.ReadDir(w.folder))(w.t)
	for _, e := range entries {
		if e.Type().IsRegular() {
			texts[e.Name()] = string(must(os.ReadFile(filepath.Join(w.folder, e.Name())))(w.t))
		}
	}
	if len(texts) < 2 {
		w.t.Error("the store has no files")
	}
	for where, text := range texts {
		for _, s := range secrets {
			for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s))} {
				if strings.Contains(text, form) {
					w.t.Errorf("%s holds the secret %q as %q", where, s, form)
				}
			}
		}
	}
}

// TestImmediateTLS: so it is where the server speaks TLS from the first octet.
func TestImmediateTLS(t *testing.T) {
	w := newWorld(t, nil, func(c *testca.SMTPConfig) { c.Immediate = true })
	w.config.TLS = notify.TLS
	m := w.mail("admin@example.com")
	w.turn(nil)
	if got := w.server.Mails(); len(got) != 1 || !got[0].TLS || got[0].User != "gatehouse" || w.stored(m) != nil {
		t.Errorf("%+v", got)
	}
}

// TestRefusals: what a server does decides whether the mail, or the server, is tried again, and when.
func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		fault   testca.SMTPFault
		outcome notify.Outcome
		says    string
	}{
		"recipient not now":    {testca.SMTPFault{Stage: testca.SMTPTo, Code: 451, Text: "greylisted"}, notify.Deferred, "greylisted"},
		"recipient never":      {testca.SMTPFault{Stage: testca.SMTPTo, Code: 550, Text: "no such user"}, notify.Refused, "no such user"},
		"content not now":      {testca.SMTPFault{Stage: testca.SMTPContent, Code: 452, Text: "full"}, notify.Deferred, "full"},
		"content never":        {testca.SMTPFault{Stage: testca.SMTPContent, Code: 554, Text: "spam: https://ca.example.com/dcv/email/" + secret}, notify.Refused, "[secret]"},
		"closing":              {testca.SMTPFault{Stage: testca.SMTPTo, Code: 421, Text: "closing"}, notify.Unreached, "closing"},
		"sender":               {testca.SMTPFault{Stage: testca.SMTPFrom, Code: 550, Text: "not you"}, notify.Unreached, "not you"},
		"hello":                {testca.SMTPFault{Stage: testca.SMTPHello, Code: 554, Text: "no service"}, notify.Unreached, "no service"},
		"drops the recipient":  {testca.SMTPFault{Stage: testca.SMTPTo}, notify.Unreached, "EOF"},
		"drops behind content": {testca.SMTPFault{Stage: testca.SMTPContent}, notify.Unreached, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, nil)
			w.server.SetFault(tt.fault)
			m := w.mail("admin@example.com")
			c := w.turn(nil)
			w.outcome(tt.outcome)
			got := w.stored(m)
			if got == nil || !strings.Contains(got.Trouble, tt.says) {
				t.Fatalf("it is %+v, want trouble with %q", got, tt.says)
			}
			w.absent(secret, password)
			wait := got.Due.Sub(w.clock.Now())
			switch tt.outcome {
			case notify.Deferred:
				if got.Attempts != 1 || wait < 40*time.Second || wait > 80*time.Second || got.Sealed == nil || c.Server().Trouble != "" {
					t.Errorf("after %s, %+v, server %+v", wait, got, c.Server())
				}
			case notify.Unreached:
				if got.Attempts != 0 || wait < time.Second || wait > 3*time.Second || got.Sealed == nil || c.Server().Trouble == "" {
					t.Errorf("after %s, %+v, server %+v", wait, got, c.Server())
				}
			case notify.Refused:
				if got.GivenUp.IsZero() || got.Sealed != nil {
					t.Errorf("it is %+v", got)
				}
				return
			}
			w.server.SetFault(testca.SMTPFault{})
			w.turn(nil)
			if len(w.server.Mails()) != 0 {
				t.Error("it was tried again before its time")
			}
			w.clock.pass(wait)
			w.turn(nil)
			if got := w.server.Mails(); len(got) != 1 || w.stored(m) != nil {
				t.Errorf("%d mails, stored %+v", len(got), w.stored(m))
			}
		})
	}
}

// outcome demands that there was this one alone.
func (w *world) outcome(want notify.Outcome) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.outcomes) != 1 || w.outcomes[want] != 1 {
		w.t.Errorf("outcomes %v, want one %s", w.outcomes, want)
	}
}

// TestServerThatCannotBeTrusted: to a server without TLS, with another's certificate, or that refuses the password, nothing is
// said but hello.
func TestServerThatCannotBeTrusted(t *testing.T) {
	for name, tt := range map[string]struct {
		server func(*testca.SMTPConfig)
		client func(*world)
		says   string
	}{
		"no STARTTLS":    {func(c *testca.SMTPConfig) { c.Certificate = nil }, nil, "offers no STARTTLS"},
		"untrusted":      {nil, func(w *world) { w.config.Roots = must(testca.NewHierarchy(testca.HierarchyConfig{}))(w.t).Pool() }, "name its roots with ca"},
		"wrong password": {nil, func(w *world) { w.config.Password = "wrong" }, "does not accept username and password"},
		"nobody there":   {nil, func(w *world) { w.server.Close() }, "refused"},
		"another port":   {func(c *testca.SMTPConfig) { c.Immediate = true }, func(w *world) { w.config.TLS = notify.StartTLS }, "does not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, tt.server)
			if tt.client != nil {
				tt.client(w)
			}
			m := w.mail("admin@example.com")
			c := w.turn(func(c *notify.Config) { c.SendTimeout = time.Second })
			w.outcome(notify.Unreached)
			if got := w.stored(m); got == nil || !strings.Contains(got.Trouble, tt.says) || c.Server().Trouble != got.Trouble {
				t.Errorf("it is %+v, server %+v; want %q", got, c.Server(), tt.says)
			}
			if len(w.server.Mails()) != 0 {
				t.Error("a mail was sent")
			}
			w.absent(secret, password)
		})
	}
}

// TestHangingServer: a server that does not answer costs no more than the time for one mail, and no mail.
func TestHangingServer(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.server.SetFaultFor("slow@example.com", testca.SMTPFault{Stage: testca.SMTPContent, Hang: true})
	slow, quick := w.mail("slow@example.com"), w.mail("quick@example.com")
	c, wait := w.courier(func(c *notify.Config) { c.SendTimeout = 2 * time.Second })
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(w.server.Await(t.Context(), 1))(t) // while the other hangs
	wait()
	if w.stored(quick) != nil {
		t.Error("the quick one is still there")
	}
	if got := w.stored(slow); got == nil || got.GivenUp != (time.Time{}) || !strings.Contains(got.Trouble, "in time") {
		t.Errorf("the slow one is %+v", got)
	}
}

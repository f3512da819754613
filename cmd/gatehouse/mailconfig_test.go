package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// mailOf is what a configuration with these words says about mail.
func mailOf(t *testing.T, words string) (*mailSettings, []notifyRule, error) {
	t.Helper()
	c, err := parseConfig("gatehouse.yaml", []byte(goodConfig+words))
	if err != nil {
		return nil, nil, err
	}
	m, err := c.mail()
	if err != nil {
		return nil, nil, err
	}
	rules, err := c.notifications(newLogger(streams{io.Discard, io.Discard}, true, 0))
	return m, rules, err
}

func TestMailConfig(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	secret := filepath.Join(folder, "smtp.password")
	must(t, os.WriteFile(secret, []byte("pass word\n"), 0o600))
	open := filepath.Join(folder, "open.password")
	must(t, os.WriteFile(open, []byte("x"), 0o644))

	if m, rules, err := mailOf(t, ""); m != nil || rules != nil || err != nil {
		t.Errorf("without a word: %+v, %+v, %v", m, rules, err)
	}
	m, rules, err := mailOf(t, `mail: {server: "smtp.example.com:587", from: ca@example.com, from_name: Example CA, username: ca, password: `+secret+`}
notify:
- {events: [waiting], to: [approvers@example.com]}
- {events: [issued, expiring], to: [a@example.com, b@example.com], profiles: [tls], organisations: [main]}
`)
	must(t, err)
	want := notify.SMTPConfig{
		Host: "smtp.example.com", Port: 587, TLS: notify.StartTLS, Hello: "ca.example.com", Username: "ca", Password: "pass word", From: "ca@example.com", FromName: "Example CA",
	}
	if m.server != want {
		t.Errorf("the server is %+v", m.server)
	}
	if len(rules) != 2 || !slices.Equal(rules[1].days, []int{30, 7, 1}) || rules[0].days != nil || !slices.Equal(rules[1].organisations, []string{"main"}) {
		t.Errorf("the rules are %+v", rules)
	}
	const server = "server: \"smtp.example.com:587\", from: ca@example.com"
	for words, says := range map[string]string{
		"mail: {from: ca@example.com}":                                                                  "smtp.example.com:587",
		"mail: {server: smtp.example.com, from: ca@example.com}":                                        "is not host:port",
		"mail: {server: \"smtp.example.com:0\", from: ca@example.com}":                                  "is not host:port",
		"mail: {server: \"smtp example:25\", from: ca@example.com}":                                     "is not host:port",
		"mail: {server: \"smtp.example.com:587\"}":                                                      "from is missing",
		"mail: {server: \"smtp.example.com:587\", from: CA <ca@x.com>}":                                 "before the @",
		"mail: {" + server + ", from_name: \"x\\r\\nBcc: y\"}":                                          "cannot stand beside",
		"mail: {" + server + ", tls: maybe}":                                                            "write starttls, tls or none",
		"mail: {" + server + ", tls: none}":                                                             "cleartext: allow",
		"mail: {" + server + ", tls: none, cleartext: please}":                                          "the word is allow",
		"mail: {" + server + ", cleartext: allow}":                                                      "goes with tls: none",
		"mail: {" + server + ", username: ca}":                                                          "a user name needs a password",
		"mail: {" + server + ", username: ca, password: " + open + "}":                                  "chmod 600",
		"mail: {" + server + ", password: secret in the wrong place}":                                   "there is no file",
		"mail: {" + server + ", ca: " + secret + "}":                                                    "no certificate in PEM",
		"mail: {" + server + ", hello: \"ca example\"}":                                                 "is no host name",
		"mail: {" + server + ", timeout: 1h}":                                                           "give 1s to 10m",
		"mail: {" + server + ", connections: 51}":                                                       "give 1 to 50",
		"mail: {" + server + ", tls: none, cleartext: allow, username: ca, password: " + secret + "}":   "password would be sent in clear",
		"mail: {" + server + ", starttls: on}":                                                          "not known here",
		"notify: [{events: [waiting], to: [a@example.com]}]":                                            "no mail server is configured",
		"mail: {" + server + "}\nnotify: [{events: [waiting]}]":                                         "events and to are needed",
		"mail: {" + server + "}\nnotify: [{events: [other], to: [a@example.com]}]":                      "the events are requested, waiting",
		"mail: {" + server + "}\nnotify: [{events: [waiting], to: [\"a@b@c.example\"]}]":                "a@b@c.example",
		"mail: {" + server + "}\nnotify: [{events: [waiting], to: [a@example.com], days: [3]}]":         "goes with the event expiring",
		"mail: {" + server + "}\nnotify: [{events: [expiring], to: [a@example.com], days: [0]}]":        "give 1 to 365",
		"mail: {" + server + "}\nnotify: [{events: [waiting], to: [a@example.com], organisations: []}]": "organisations is empty",
		"mail: {" + server + "}\nnotify: [{events: [waiting], to: [a@example.com], profiles: []}]":      "profiles is empty",
		"mail: {" + server + "}\nnotify: [{events: [waiting], to: [a@example.com], profiles: [x]}]":     "there is no profile",
	} {
		_, _, err := mailOf(t, words)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "gatehouse.yaml:") || strings.Contains(err.Error(), "secret in the") {
			t.Errorf("%s: %v; want %q", words, err, says)
		}
	}
	if m, _, err := mailOf(t, "mail: {"+server+", tls: none, cleartext: allow}"); err != nil || m.server.TLS != notify.Cleartext {
		t.Errorf("in clear: %v", err)
	}
}

// TestRulesCover: a rule is about the organisations it names and those below them, and about its profiles.
func TestRulesCover(t *testing.T) {
	t.Parallel()
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "team", Parent: 1}, {ID: 3, Slug: "other"}})
	must(t, err)
	c := &core{organisations: directory, settings: &settings{notifications: []notifyRule{
		{events: []ra.EventKind{ra.EventIssued}, to: []string{"a@example.com"}, organisations: []string{"main"}, profiles: []string{"tls"}},
	}}}
	receives := notify.Receives(c.rules())
	for _, tt := range []struct {
		org     auth.OrgID
		profile string
		kind    ra.EventKind
		want    bool
	}{
		{1, "tls", ra.EventIssued, true}, {2, "tls", ra.EventIssued, true}, {3, "tls", ra.EventIssued, false}, {9, "tls", ra.EventIssued, false},
		{1, "other", ra.EventIssued, false}, {1, "tls", ra.EventRevoked, false},
	} {
		if got := receives(&ra.Event{Org: tt.org, Profile: tt.profile, Kind: tt.kind}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

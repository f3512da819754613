package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// TestFailedValidationIsExplained: what a client's log has is enough for an operator to see what happened and what to do.
func TestFailedValidationIsExplained(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	if got := i.mustCommand("authz", "list"); got != "no failed validations\n" {
		t.Errorf("%q", got)
	}
	i.answers() // a web server that has no answer for the token
	c := registered(i)
	order := c.order("fails.example.com")
	var authz struct {
		Challenges []struct{ Type, URL string }
	}
	c.post(order.Authorizations[0], nil).decode(&authz)
	challenge := ""
	for _, ch := range authz.Challenges {
		if ch.Type == "http-01" {
			challenge = ch.URL
		}
	}
	var failed struct {
		Status string
		Error  struct{ Detail, Instance string }
	}
	for failed.Status != "invalid" {
		c.post(challenge, map[string]any{}).decode(&failed)
		if failed.Status == "processing" && !pause(t.Context()) {
			t.Fatal("it does not end")
		}
	}
	if failed.Error.Instance != order.Authorizations[0] {
		t.Errorf("the client is not told what to name to the operator: %+v", failed.Error)
	}
	id := failed.Error.Instance[strings.LastIndexByte(failed.Error.Instance, '/')+1:]

	list := i.mustCommand("authz", "list", "--name", "FAILS.example.com", "--account", c.kid)
	if !strings.Contains(list, id) || !strings.Contains(list, "fails.example.com") || !strings.Contains(list, "http-01") {
		t.Errorf("%s", list)
	}
	for _, filter := range [][]string{{"--name", "other.example.com"}, {"--account", strings.Repeat("A", 22)}} {
		if got := i.mustCommand(append([]string{"authz", "list"}, filter...)...); got != "no failed validations\n" {
			t.Errorf("%v: %s", filter, got)
		}
	}
	for _, which := range []string{id, failed.Error.Instance, challenge, " " + challenge + "\n"} {
		text := i.mustCommand("authz", "show", which)
		for _, want := range []string{id, "fails.example.com (dns)", "status         invalid", "http-01: invalid", "connected to 127.0.0.1:", "answer: status 404", "what to do: ", failed.Error.Detail} {
			if !strings.Contains(text, want) {
				t.Errorf("authz show %q lacks %q:\n%s", which, want, text)
			}
		}
	}
	var v authzView
	if err := json.Unmarshal([]byte(i.mustCommand("authz", "show", id, "--json")), &v); err != nil || v.Status != "invalid" {
		t.Errorf("%+v, %v", v, err)
	}
	for which, says := range map[string]string{
		"nonsense": "this is no authorization", strings.Repeat("A", 22): "there is no authorization",
		order.URL: "this is no authorization",
	} {
		if _, stderr, status := i.command("authz", "show", which); status != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%s: %d, %s", which, status, stderr)
		}
	}
	if _, stderr, status := i.command("authz", "list", "--after", "!"); status != 1 || !strings.Contains(stderr, "no place in the list") {
		t.Errorf("%d, %s", status, stderr)
	}
}

// hostile is what a name server or a web server might say: escape sequences of both control sets, a line of its own, a text
// that runs backwards.
const hostile = "a\x1b[2J\x1b]0;owned\x07\u009b31mb\r\nstatus         valid\u202e\x7f\xff"

func hostileView(t *testing.T) authzView {
	t.Helper()
	record, err := json.Marshal(dcv.Record{
		Started: time.Unix(1_800_000_000, 0), Took: time.Second, Advice: hostile,
		Hops: []dcv.Hop{{
			URL: hostile, Redirect: hostile, Status: 302,
			Lookups:   []dcv.Lookup{{Name: hostile, Type: "A", Server: hostile, Network: "udp", Result: hostile, Explained: []string{hostile}, Aliases: []string{hostile}}},
			Addresses: []dcv.Address{{Addr: netip.MustParseAddr("127.0.0.1"), Refused: hostile}},
			Dials:     []dcv.Dial{{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Failed: hostile}},
		}},
		CAA: []dcv.CAALookup{{Records: []string{hostile}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &failureView{Kind: "connection", Detail: hostile, Record: record}
	return authzView{
		ID: hostile, Identifier: hostile, Organisation: hostile, Profile: hostile,
		Challenges: []challengeView{{Method: hostile, Validated: &provenView{Seen: hostile, CAASeen: hostile}, Failed: f, Hindered: f}},
	}
}

// TestRecordsDoNotReachTheTerminal: nothing of the network's moves a cursor, makes a line or turns a text.
func TestRecordsDoNotReachTheTerminal(t *testing.T) {
	v := hostileView(t)
	var text, encoded strings.Builder
	describeAuthz(&text, v)
	if err := writePlainJSON(&encoded, v); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{"text": text.String(), "JSON": encoded.String()} {
		for _, r := range out {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %q is shown as it came", name, r)
			}
		}
		if strings.Contains(out, "\nstatus         valid") {
			t.Errorf("%s: a foreign text makes a line of its own:\n%s", name, out)
		}
	}
	for _, r := range encoded.String() {
		if r > 0x7e {
			t.Errorf("JSON holds %q", r)
		}
	}
	var back authzView
	if err := json.Unmarshal([]byte(encoded.String()), &back); err != nil || back.Identifier != strings.ToValidUTF8(hostile, "\ufffd") {
		t.Errorf("the JSON says something else: %q, %v", back.Identifier, err)
	}
	if got := plain("müller.example ✓ 山"); got != "müller.example ✓ 山" {
		t.Errorf("what is harmless is changed: %q", got)
	}
}

// TestRecordInWords goes through a record from question to advice.
func TestRecordInWords(t *testing.T) {
	record, err := json.Marshal(dcv.Record{
		Started: time.Unix(1_800_000_000, 0), Waited: 2 * time.Millisecond, Took: 1500 * time.Millisecond, Advice: "Open port 80.",
		Hops: []dcv.Hop{{
			URL:       "http://www.example.com/.well-known/acme-challenge/x",
			Lookups:   []dcv.Lookup{{Name: "www.example.com", Type: "A", Server: "192.0.2.53:53", Network: "udp", Result: "NOERROR", Aliases: []string{"web.example.com"}, Found: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Took: 3 * time.Millisecond, AD: true}},
			Addresses: []dcv.Address{{Addr: netip.MustParseAddr("10.0.0.1"), Refused: "a private address"}},
			Dials:     []dcv.Dial{{Addr: netip.MustParseAddrPort("192.0.2.7:80"), Failed: "connection refused", Took: time.Millisecond}},
		}},
		CAA: []dcv.CAALookup{{Lookup: dcv.Lookup{Name: "example.com", Type: "CAA", Server: "192.0.2.53:53", Network: "tcp", Result: "NOERROR"}, Records: []string{`0 issue ";"`}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	page{&b}.record(record)
	for _, want := range []string{
		"waited 2ms for a place, took 1.5s", "1. http://www.example.com/", "asked 192.0.2.53:53 over udp for A of www.example.com: NOERROR (3ms)",
		"alias of web.example.com", "found 192.0.2.7", "authenticated by DNSSEC", "address 10.0.0.1 not used: a private address",
		"connecting to 192.0.2.7:80: connection refused (1ms)", "2. CAA", "over tcp for CAA of example.com", `found 0 issue ";"`, "what to do: Open port 80.",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, b.String())
		}
	}
	b.Reset()
	page{&b}.record(nil)
	if b.String() != "  nothing was asked\n" {
		t.Errorf("%q", b.String())
	}
}

func TestAuthzListAccount(t *testing.T) {
	t.Parallel()
	const id = "jGoZQqFbk__3NqNfYt9KOQ"
	for _, given := range []string{id, "https://ca.example.com/acme/r/account/" + id, "https://ca.example.com/acme/r/account/" + id + "/"} {
		if got := (&authzListCmd{Account: given}).query().Get("account"); got != id {
			t.Errorf("%s: %q", given, got)
		}
	}
}

package dcv

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	other := strings.Repeat("B", thumbprintSize)
	for _, row := range []struct {
		name, body, want string
	}{
		{"RFC 8555, 8.3: exact", testKeyAuth, ""},
		{"RFC 8555, 8.3: trailing white space", testKeyAuth + "\r\n \t", ""},
		{"empty", "", "an empty body"},
		{"white space", " \r\n", "nothing but white space"},
		{"leading white space", "\n" + testKeyAuth, "the key authorization behind white space or a byte order mark"},
		{"byte order mark", "\ufeff" + testKeyAuth, "the key authorization behind white space or a byte order mark"},
		{"quotation marks", `"` + testKeyAuth + `"`, "the key authorization in quotation marks"},
		{"token alone", testToken + "\n", "the token alone, without the account key's thumbprint"},
		{"another account", testToken + "." + other, "the key authorization of another account key"},
		{"another token", strings.Repeat("a", 30) + "." + testPrint, "another token's key authorization"},
		{"form feed is not white space", testKeyAuth + "\f", "binary data of 77 bytes"},
		{"case", strings.ToLower(testKeyAuth), "another token's key authorization"},
		{"HTML", "\n<!DocType HTML><p>", "an HTML page of 19 bytes"},
		{"HTML without doctype", "<html>", "an HTML page of 6 bytes"},
		{"XML", "<?xml ?>", "a markup document of 8 bytes"},
		{"JSON", `{"a":1}`, "a JSON document of 7 bytes"},
		{"gzip", "\x1f\x8b\x08", "compressed data of 3 bytes"},
		{"PEM", "-----BEGIN CERTIFICATE-----", "a PEM document of 27 bytes"},
		{"text", "Grüß Gott", "text of 11 bytes"},
		{"NUL", testKeyAuth + "\x00", "binary data of 77 bytes"},
		{"Latin-1", "Gr\xfc\xdf Gott", "binary data of 9 bytes"},
		{"prefix", testKeyAuth[:40], "text of 40 bytes"},
	} {
		if got := compare([]byte(row.body), false, testKeyAuth); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	for body, want := range map[string]string{
		testKeyAuth:     "text of more than 76 bytes",
		"<html>":        "an HTML page of more than 6 bytes",
		"Gr\xc3":        "text of more than 3 bytes",
		testKeyAuth[:9]: "text of more than 9 bytes",
	} {
		if got := compare([]byte(body), true, testKeyAuth); got != want {
			t.Errorf("%q and more: %q, want %q", body, got, want)
		}
	}
}

// FuzzCompare: only the key authorization passes, and nothing of a body comes back.
func FuzzCompare(f *testing.F) {
	for _, seed := range []string{testKeyAuth, testKeyAuth + "\n", "<html>", "", "\xff\xfe", `"` + testKeyAuth + `"`} {
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, more bool) {
		got := compare(body, more, testKeyAuth)
		if passes := !more && strings.TrimRight(string(body), " \t\r\n") == testKeyAuth; passes != (got == "") {
			t.Errorf("%q: %q", body, got)
		}
		if text := strings.TrimSpace(string(body)); len(text) > 20 && strings.Contains(got, text) {
			t.Errorf("the body comes back: %q", got)
		}
	})
}

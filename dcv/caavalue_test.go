package dcv

import (
	"fmt"
	"strings"
	"testing"
)

// What a record that nobody can read meant to say is not guessed. miekg/dns gives a record without data as an empty one.
func TestCAAMalformedTags(t *testing.T) {
	for _, tag := range []string{"", "is sue", "issue-x", `\000`} {
		j := caaJudge{identities: []string{ownIdentity}}
		set := caaSet{owner: "example.net", records: []caaRecord{{tag: tagIssue, value: ownIdentity}, {tag: tag}}}
		if refused := j.judge("example.net", set); refused == nil || !strings.Contains(refused.detail, "no well-formed tag") {
			t.Errorf("tag %q: %+v", tag, refused)
		}
	}
}

func FuzzCAAValue(f *testing.F) {
	for _, seed := range []string{"", ";", "ca.example.com", " ca.example.com ; a=b; c-d = e", "%%%", "a;b", "a;=b", "a;;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := parseIssueValue(text)
		if !ok && (v.domain != "" || v.parameters != nil) {
			t.Error("a malformed value names an issuer")
		}
		if ok && v.domain != "" && !strings.Contains(text, v.domain) {
			t.Error("an issuer that is not in the value")
		}
	})
}

func TestParseIssueValue(t *testing.T) {
	for text, want := range map[string]string{
		"ca.example.com":                     "ca.example.com []",
		" \tca.example.com\t ":               "ca.example.com []",
		"ca.example.com;":                    "ca.example.com []",
		"ca.example.com ; ":                  "ca.example.com []",
		"ca.example.com; a = b ;c=d":         "ca.example.com [{a b} {c d}]",
		"; a=b=c":                            " [{a b=c}]",
		"ca.example.com; policy=ev;":         "malformed",
		"ca.example.com; policy":             "malformed",
		"ca.example.com; =ev":                "malformed",
		"ca.example.com; a_b=c":              "malformed",
		"ca.example.com; a=b c":              "malformed",
		"ca.example.com; a=\xc3\xa9":         "malformed",
		"ca.example.com a=b":                 "malformed",
		"ca.example.com.":                    "malformed",
		"ca--x.example.com":                  "ca--x.example.com []",
		"ca-.example.com":                    "malformed",
		"\ncaf.example.com":                  "malformed",
		"ca.example.com; -a=b":               "malformed",
		"ca.example.com\x00; accounturi=abc": "malformed",
	} {
		got := "malformed"
		if v, ok := parseIssueValue(text); ok {
			got = fmt.Sprint(v.domain, " ", v.parameters)
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

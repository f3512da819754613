package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// TestCAAConfig: what the file says of CAA reaches what asks for it and what shows it.
func TestCAAConfig(t *testing.T) {
	t.Parallel()
	folder := hierarchyFolder(t)
	try := func(profile, more string) (*settings, error) {
		t.Helper()
		text := strings.Replace(goodConfig, "validity: 90d", profile, 1) + more
		text = strings.Replace(text, "192.0.2.53", "127.0.0.53", 1) // public mode wants a resolver that nobody can speak for
		file, err := parseConfig("gatehouse.yaml", []byte(strings.ReplaceAll(text, "CA/", folder+"/")))
		if err != nil {
			t.Fatal(err)
		}
		return file.settings(newLogger(streams{io.Discard, io.Discard}, true, 0))
	}
	read := func(profile, more string) *settings {
		t.Helper()
		s, err := try(profile, more)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := try("mode: public", ""); err == nil || !strings.Contains(err.Error(), "caa_identities: [ca.example.com]") {
		t.Errorf("a public profile without an identity: %v", err)
	}
	s := read("caa: on, caa_lifetime: 1h", "caa_identities: [CA.example.com, ca.example.org]\n")
	want := []string{"ca.example.com", "ca.example.org"}
	if !s.profiles["tls"].ChecksCAA() || !slices.Equal(s.caaIdentities, want) || !slices.Equal(s.validation.CAAIdentities, want) {
		t.Errorf("asks %v, identities %v and %v", s.profiles["tls"].ChecksCAA(), s.caaIdentities, s.validation.CAAIdentities)
	}
	if s := read("mode: public", "caa_identities: [ca.example.com]\n"); !s.profiles["tls"].ChecksCAA() {
		t.Error("a public profile does not ask")
	}
	for _, profile := range []string{"validity: 90d", "caa: off"} {
		if s := read(profile, ""); s.profiles["tls"].ChecksCAA() {
			t.Errorf("%s asks", profile)
		}
	}
}

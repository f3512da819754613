package main

import (
	"strings"
	"testing"
	"time"
)

// TestCNAMETarget is the configured name, else dcv. and the first public URL's host; an address has none.
func TestCNAMETarget(t *testing.T) {
	for url, want := range map[string]string{
		"https://ca.example.com": "dcv.ca.example.com", "https://CA.example.com:8443": "dcv.ca.example.com", "https://192.0.2.1": "", "https://[2001:db8::1]:443": "",
		"https://" + strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + ".example.com": "",
	} {
		if got := (&settings{publicURLs: []string{url}}).domainTarget(); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if got := (&settings{publicURLs: []string{"https://ca.example.com"}, cnameTarget: "t.example.net"}).domainTarget(); got != "t.example.net" {
		t.Errorf("configured: %q", got)
	}
	for text, ok := range map[string]bool{"": true, "dcv.example.com": true, "*.example.com": false, "no name": false, strings.Repeat("abcdefgh.", 24) + "com": false} {
		c := &fileConfig{Domains: domainsConfig{CNAMETarget: text}, source: mustSource(t)}
		if _, err := c.cnameTarget(); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestEmailLifetime is at most what the Baseline Requirements let a code live.
func TestEmailLifetime(t *testing.T) {
	const day = 24 * time.Hour
	for given, ok := range map[time.Duration]bool{0: true, 10 * time.Minute: true, 72 * time.Hour: true, 30 * day: true, 30*day + time.Second: false, time.Minute: false, -day: false, time.Hour + time.Millisecond: false} {
		c := &fileConfig{Domains: domainsConfig{EmailLifetime: duration(given)}, source: mustSource(t)}
		if got, err := c.emailLifetime(); (err == nil) != ok || ok && got != given || !ok && !strings.Contains(err.Error(), "email_lifetime is ") {
			t.Errorf("%v: %v, %v", given, got, err)
		}
	}
}

func mustSource(t *testing.T) *source {
	t.Helper()
	s, err := parseSource("gatehouse.yaml", []byte("domains: {cname_target: x}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

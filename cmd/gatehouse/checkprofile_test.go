package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestCheckWarnsOfNoValidation: a profile under which nobody proves anything is named, by check and in the log of every start.
func TestCheckWarnsOfNoValidation(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(goodConfig, "CA/", hierarchyFolder(t)+"/")
	text = strings.Replace(text, "validity: 90d}", `validity: 90d}, open: {issuer: main, dcv: none, allow_names: ["*.example.com"], terms: [30d, 3650d], validity: 30d}, closed: {issuer: main, dcv: none, allow_names: [a.example.com]}`, 1)
	file, err := parseConfig("gatehouse.yaml", []byte(text+"acme: {default_profile: tls}\n"))
	must(t, err)
	var log bytes.Buffer
	s, err := file.settings(newLogger(streams{io.Discard, &log}, true, 0))
	must(t, err)
	got := map[string]checkResult{}
	for _, r := range checkProfiles(s) {
		got[r.Name] = r
	}
	if r := got["profile closed"]; !r.OK || !strings.Contains(r.Detail, "WARNING: dcv is none") {
		t.Errorf("%+v", r)
	}
	if r := got["profile tls"]; !r.OK || strings.Contains(r.Detail, "WARNING") {
		t.Errorf("%+v", r)
	}
	if r := got["profile open"]; r.OK || !strings.Contains(r.Detail, "would outlive the issuer") { // of its longest term
		t.Errorf("%+v", r)
	}
	if n := strings.Count(log.String(), "requires no validation of control"); n != 2 {
		t.Errorf("%d warnings in the log: %s", n, &log)
	}
}

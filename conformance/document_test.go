package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const page = "../docs/conformance.md"

// TestDocument holds docs/conformance.md to the tables.
func TestDocument(t *testing.T) {
	want := render(documents())
	if *update {
		must(t, os.WriteFile(page, want, 0o644))
		return
	}
	have, err := os.ReadFile(page)
	must(t, err)
	if !bytes.Equal(have, want) {
		t.Error("docs/conformance.md is not what the tables say; run: make conformance")
	}
}

// render is the whole page.
func render(all []document) []byte {
	var b bytes.Buffer
	total := 0
	for _, d := range all {
		total += len(d.rows)
	}
	fmt.Fprintf(&b, `# Conformance

What the RFCs demand of an ACME server, and which tests show that the gateway does it: %d requirements. This page is written by
`+"`make conformance`"+` from the tables in package `+"`conformance`"+`, and a test fails when it is not what they say. A requirement is a MUST, MUST NOT,
SHALL or REQUIRED that binds a server, in our words. *Accepts* shows the gateway doing it, *refuses* what it must not take. Where the
gateway departs from the letter, [divergences](divergences.md) says how and why.

To run what a row names: `+"`go test ./conformance -run 'TestRFC8555/6.5'`"+`.
`, total)
	for _, d := range all {
		fmt.Fprintf(&b, "\n## %s\n\n| Section | Requirement | Tests |\n|---|---|---|\n", d.title)
		for _, r := range d.rows {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.section, cell(r.rule), cell(r.evidence(d.test)))
		}
		if d.others != "" {
			fmt.Fprintf(&b, "\nWithout a row: %s\n", d.others)
		}
	}
	return b.Bytes()
}

// evidence is where a row's tests are.
func (r row) evidence(test string) string {
	var kinds, parts []string
	if r.accepts != nil {
		kinds = append(kinds, "accepts")
	}
	if r.refuses != nil {
		kinds = append(kinds, "refuses")
	}
	if len(kinds) > 0 {
		parts = append(parts, fmt.Sprintf("`%s/%s/%s` %s", test, r.section, r.name, strings.Join(kinds, ", ")))
	}
	for _, test := range r.elsewhere {
		parts = append(parts, "`"+test+"`")
	}
	if r.departs != "" {
		parts = append(parts, "[divergence](divergences.md)")
	}
	return strings.Join(parts, "; ")
}

// cell keeps a text inside its cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

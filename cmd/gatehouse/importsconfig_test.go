package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestImportsConfig(t *testing.T) {
	t.Parallel()
	read := func(words string, log io.Writer) (importBounds, error) {
		c, err := parseConfig("gatehouse.yaml", []byte(goodConfig+words))
		if err != nil {
			return importBounds{}, err
		}
		return c.importBounds(newLogger(streams{io.Discard, log}, true, 0)), nil
	}
	if b, err := read("", io.Discard); err != nil || b.of(auth.Org{Slug: "main"}) != (ra.ImportBounds{Certificates: 100_000, Issuers: 1000}) {
		t.Errorf("without a word: %+v, %v", b, err)
	}
	var log bytes.Buffer
	b, err := read("imports:\n  certificates: 7\n  organisations:\n    main: {certificates: off, issuers: 3}\n    later: {issuers: off}\n", &log)
	if err != nil {
		t.Fatal(err)
	}
	for slug, want := range map[string]ra.ImportBounds{"main": {Issuers: 3}, "later": {Certificates: 7}, "another": {Certificates: 7, Issuers: 1000}} {
		if got := b.of(auth.Org{Slug: slug}); got != want {
			t.Errorf("%s: %+v, want %+v", slug, got, want)
		}
	}
	if said := log.String(); !strings.Contains(said, "later") || strings.Contains(said, `"slug":"main"`) {
		t.Errorf("the log says %s", said)
	}
	for words, says := range map[string]string{
		"imports: {certificates: 0}": "from 1 to 1000000, or off", "imports: {issuers: many}": "from 1 to 1000000, or off",
		"imports: {per_hour: 3}": "per_hour", "imports: {organisations: {main: {a: 1}}}": "not known here",
	} {
		if _, err := read(words+"\n", io.Discard); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", words, err, says)
		}
	}
}

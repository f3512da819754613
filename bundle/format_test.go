package bundle

import (
	"mime"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestFormatTable(t *testing.T) {
	all := Formats()
	if len(all) != int(formatCount)-1 {
		t.Fatalf("%d formats of %d are listed", len(all), formatCount-1)
	}
	seen := map[string]bool{}
	for _, f := range all {
		if f.String() == "none" || seen[f.String()] {
			t.Errorf("format %d is called %q", f, f)
		}
		seen[f.String()] = true
		if got, err := ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("ParseFormat(%q) = %v, %v", f, got, err)
		}
		if _, _, err := mime.ParseMediaType(f.MediaType()); err != nil {
			t.Errorf("%s: media type %q: %v", f, f.MediaType(), err)
		}
		if f.Extension() == "" || strings.ContainsAny(f.Extension(), "./") {
			t.Errorf("%s: extension %q", f, f.Extension())
		}
		if f.NeedsPassword() && !f.NeedsKey() {
			t.Errorf("%s: encrypts what is public", f)
		}
	}
	for _, f := range []Format{0, formatCount, 255} {
		if f.String() != "none" || f.MediaType() != "" || f.Extension() != "" || f.NeedsKey() || f.NeedsPassword() {
			t.Errorf("format %d is known: %q", uint8(f), f)
		}
	}
}

func TestUnknownFormatsAreToldWhatThereIs(t *testing.T) {
	for _, name := range []string{"", "none", "PEM", "p12", "pem ", "jks\x00", "p\u212acs7"} {
		f, err := ParseFormat(name)
		refused(t, err, problem.Malformed, "format: there is none of that name; choose one of pem, der, ")
		if f != 0 {
			t.Errorf("%q gives %s", name, f)
		}
	}
}

func FuzzParseFormat(f *testing.F) {
	for _, format := range Formats() {
		f.Add(format.String())
	}
	f.Add("PEM")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := ParseFormat(name)
		switch {
		case err == nil && got.String() != name:
			t.Errorf("%q is read as %s", name, got)
		case err != nil && (got != 0 || !problem.Is(err, problem.Malformed)):
			t.Errorf("%q gives %v, %v", name, got, err)
		}
	})
}

// Package testneed decides whether a test has what it needs from the machine: programs, small file systems, namespaces.
//
// Without them a test skips and says what is missing, so that go test ./... needs nothing installed. Where the environment
// variable GATEHOUSE_TEST_REQUIRE lists a thing, by names separated by commas or blanks, its absence is a failure, so that
// nothing skips where everything is meant to run. It trusts PATH. It never installs anything, and only tests import it.
package testneed

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Variable is the environment variable that lists what must be there.
const Variable = "GATEHOUSE_TEST_REQUIRE"

// Listed reports whether a thing must be there. Tests that take long, or change the machine, run only then.
func Listed(what string) bool {
	list := strings.FieldsFunc(os.Getenv(Variable), func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(list, what)
}

// OnlyIfListed skips the test unless the thing is listed.
func OnlyIfListed(t testing.TB, what string) {
	t.Helper()
	if !Listed(what) {
		t.Skipf("%s does not name %s", Variable, what)
	}
}

// Missing ends the test because something is not there: as a failure if it is listed, otherwise as a skip.
func Missing(t testing.TB, what string, why error) {
	t.Helper()
	if Listed(what) {
		t.Fatalf("%s is required and missing: %v", what, why)
	}
	t.Skipf("%s is missing: %v", what, why)
}

// Programs ends the test, as Missing does, unless all programs are installed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Missing(t, name, err)
		}
	}
}

package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// require skips a test whose program is not installed, by name, unless GATEHOUSE_TEST_REQUIRE, a list separated by
// commas, names it: then a missing program is a failure.
func require(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(t, p, err)
		}
	}
}

// missing skips the test, or fails it if GATEHOUSE_TEST_REQUIRE names what is missing.
func missing(t testing.TB, what string, why error) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("GATEHOUSE_TEST_REQUIRE"), ","), what) {
		t.Fatalf("%s is required and missing: %v", what, why)
	}
	t.Skipf("%s is missing: %v", what, why)
}

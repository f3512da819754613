// Package deploy holds what runs a gateway, and tries it: the image's Dockerfile, docker-compose.yml with the balancer's and
// Redis's configuration, and the systemd unit. It has no code of its own. Its tests read those very files. They trust that a
// container is what containerinit_test.go makes, namespaces and a root of its own, and never that a container engine is
// there; what only an engine can show, images and their registries, they do not show.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets this test binary be the first process of a container.
func TestMain(m *testing.M) {
	if os.Getenv(containerEnv) != "" {
		enterContainer() // never returns
	}
	status := m.Run()
	if built.folder != "" {
		os.RemoveAll(built.folder)
	}
	os.Exit(status)
}

// repository is where the Dockerfile and docker-compose.yml are.
const repository = ".."

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name))
	must(t, err)
	return string(text)
}

// output runs a program that must succeed and returns all it printed.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

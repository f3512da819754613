package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestDemoInvitation does what the demo tells a newcomer to do next, word by word.
func TestDemoInvitation(t *testing.T) {
	testneed.Programs(t, "certbot")
	t.Parallel()
	w := newWorld(t)
	tmp := filepath.Dir(w.data) // not t.TempDir, whose long name would not fit into a socket's path
	demo := exec.Command("gatehouse", "demo", "--listen", w.doors, "--http-listen", w.plain, "--http01-port", strconv.Itoa(int(w.http01)))
	demo.Env = append(os.Environ(), "TMPDIR="+tmp)
	demo.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { demo.Process.Kill() })

	// The commands are the indented lines behind the invitation; a backslash continues one.
	var commands []string
	invited, open := false, false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		line := lines.Text()
		invited = invited || strings.HasPrefix(line, "Every name is this machine")
		if !invited || !strings.HasPrefix(line, "  ") {
			continue
		}
		text, more := strings.CutSuffix(strings.TrimSpace(line), `\`)
		if open {
			commands[len(commands)-1] += text
		} else {
			commands = append(commands, text)
		}
		open = more
		if !open && strings.Contains(line, "cert list") {
			break // the last one
		}
	}
	if len(commands) != 2 {
		t.Fatalf("the demo invites to %q", commands)
	}
	for _, command := range commands {
		sh := exec.CommandContext(t.Context(), "sh", "-c", command)
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		if strings.Contains(command, "cert list") && !strings.Contains(string(out), "my.example.com") {
			t.Errorf("%s prints\n%s", command, out)
		}
	}
	demo.Process.Signal(syscall.SIGINT)
	if err := demo.Wait(); err != nil {
		t.Errorf("after Ctrl-C the demo ends with %v", err)
	}
	left, err := filepath.Glob(filepath.Join(tmp, "gatehouse-demo-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("the demo left %v behind, %v", left, err)
	}
}

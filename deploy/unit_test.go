package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

const unitFile = "deploy/gatehouse.service"

// unit is what a unit file sets; a word that stands twice has both values.
func unit(t testing.TB) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for line := range strings.Lines(readFile(t, unitFile)) {
		line = strings.TrimSpace(line)
		word, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		out[word] = append(out[word], value)
	}
	return out
}

// TestUnit holds the unit to what must not be lost in an edit.
func TestUnit(t *testing.T) {
	u := unit(t)
	for word, want := range map[string]string{
		"User": "gatehouse", "StateDirectory": "gatehouse", "StateDirectoryMode": "0700", "UMask": "0077", "Restart": "always",
		"ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "NoNewPrivileges": "yes",
		"CapabilityBoundingSet": "CAP_NET_BIND_SERVICE", "AmbientCapabilities": "CAP_NET_BIND_SERVICE",
		"MemoryDenyWriteExecute": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK", "RestrictNamespaces": "yes",
		"SystemCallFilter": "@system-service ~@privileged @resources", "SystemCallArchitectures": "native", "LimitCORE": "0",
		"WantedBy": "multi-user.target",
	} {
		if got := strings.Join(u[word], " "); got != want {
			t.Errorf("%s=%s, want %s", word, got, want)
		}
	}
	stop, err := time.ParseDuration(strings.Join(u["TimeoutStopSec"], ""))
	if err != nil || stop < drain(t) {
		t.Errorf("TimeoutStopSec is %s, and draining may take %s", stop, drain(t))
	}
	if files, err := strconv.Atoi(strings.Join(u["LimitNOFILE"], "")); err != nil || files < 16384 {
		t.Errorf("LimitNOFILE is %d", files)
	}
}

// drain is the longest that a gateway takes to stop with the drain_delay that init writes.
func drain(t testing.TB) time.Duration {
	t.Helper()
	within := regexp.MustCompile(`drainWithin = (\d+) \* time.Second`).FindStringSubmatch(readFile(t, "cmd/gatehouse/gateway.go"))
	if within == nil {
		t.Fatal("cmd/gatehouse does not say how long draining may take")
	}
	delay := regexp.MustCompile(`drain_delay: (\d+)s`).FindStringSubmatch(readFile(t, "cmd/gatehouse/initconfig.go"))
	if delay == nil {
		t.Fatal("init writes no drain_delay")
	}
	a, _ := strconv.Atoi(within[1])
	b, _ := strconv.Atoi(delay[1])
	return time.Duration(a+b) * time.Second
}

// TestUnitVerifies asks systemd, with the program where it is here, and for its own judgement of what the unit may do.
func TestUnitVerifies(t *testing.T) {
	testneed.Programs(t, "systemd-analyze")
	const installed = "/usr/local/bin/gatehouse"
	text := readFile(t, unitFile)
	if !strings.Contains(text, "ExecStart="+installed+" serve ") {
		t.Fatalf("ExecStart is not %s serve", installed)
	}
	path := filepath.Join(t.TempDir(), "gatehouse.service")
	program, err := exec.LookPath("true")
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, installed, program)), 0o644))
	if out := output(t, "systemd-analyze", "--man=no", "verify", path); out != "" {
		t.Errorf("systemd-analyze verify says\n%s", out)
	}
	out := output(t, "systemd-analyze", "--no-pager", "--offline=true", "security", path)
	score := regexp.MustCompile(`Overall exposure level for gatehouse.service: ([\d.]+)`).FindStringSubmatch(out)
	if score == nil {
		t.Fatalf("systemd-analyze security gives no score:\n%s", out)
	}
	if exposure, err := strconv.ParseFloat(score[1], 64); err != nil || exposure > 2 {
		t.Error(fmt.Sprintf("the exposure is %s of 10; it was 1.6\n", score[1]) + out)
	}
}

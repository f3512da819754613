package main

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestLabTable orders every name of the table and holds the table to what comes of it.
func TestLabTable(t *testing.T) {
	t.Parallel()
	p := newLabPlace(t)
	stdout, stderr, status := p.run(append([]string{"lab", "--once", "--json"}, p.flags...)...)
	var report labReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	hosts := labHosts()
	if len(report.Results) != len(hosts) {
		t.Fatalf("%d results for %d rows", len(report.Results), len(hosts))
	}
	for i, v := range report.Results {
		h := hosts[i]
		if v.Name != h.Name || v.Method != h.Method || v.Expected != h.Expected {
			t.Errorf("row %d is %s by %s, the table says %s by %s", i, v.Name, v.Method, h.Name, h.Method)
		}
		if v.Got != h.Expected {
			t.Errorf("%s by %s (%s): %s, the table says %s\n%s", h.Name, h.Method, h.Trouble, v.Got, h.Expected, v.Detail)
		}
		if issued := v.Got == labIssued; issued != (v.Serial != "") || issued == (v.Detail != "") {
			t.Errorf("%s: %s with the serial %q and the detail %q", h.Name, v.Got, v.Serial, v.Detail)
		}
	}
	if status != 0 || report.Unexpected != 0 {
		t.Errorf("status %d, %d unexpected\n%s", status, report.Unexpected, stderr)
	}
	if left := p.left(); len(left) != 0 {
		t.Errorf("the lab left %v behind", left)
	}
}

// TestLabTableRows looks for what would make a row meaningless: a name twice, a word that ACME has not.
func TestLabTableRows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, h := range labHosts() {
		key := h.Name + " " + string(h.Method)
		if seen[key] || h.Trouble == "" || (h.Profile != labProfile && h.Profile != labDNSSECProfile) {
			t.Errorf("the row %+v", h)
		}
		seen[key] = true
		known := []string{"connection", "dns", "tls", "caa", "incorrectResponse", "rejectedIdentifier", labIssued}
		if word := shortType(h.Expected); !slices.Contains(known, word) {
			t.Errorf("%s: %q is expected", h.Name, word)
		}
	}
	stdout, _, status := newLabPlace(t).run("lab", "list", "--json")
	var listed []labHost
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil || status != 0 || len(listed) != len(seen) {
		t.Errorf("lab list --json: %d rows, %v", len(listed), err)
	}
}

// TestLabInvitation does what the lab tells a person to do, word by word. lego's commands are run where there is a lego.
func TestLabInvitation(t *testing.T) {
	testneed.Programs(t, "certbot")
	t.Parallel()
	p := newLabPlace(t)
	cmd := p.cmd(append([]string{"lab"}, p.flags...)...)
	var out lockedBuffer
	cmd.Stdout = &out
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	for !strings.Contains(out.String(), "Ctrl-C ends the lab") {
		if !pause(t.Context()) {
			t.Fatalf("the lab does not get on:\n%s", &out)
		}
	}
	_, invitation, _ := strings.Cut(out.String(), "See what the gateway says")
	wants := map[string]string{ // by a part of each command
		"lab try redirect-loop":   "expected  that",
		"-d redirect-loop.http":   "go round in a loop",
		"--manual-auth-hook":      "Successfully received certificate",
		"authz list":              "redirect-loop.http." + labDomain,
		"cert list":               "*.ok.txt." + labDomain,
		"audit verify":            "the chain is whole",
		"export LEGO":             "",
		"--http --http.port":      "Server responded with a certificate",
		"--tls --tls.port":        "Server responded with a certificate",
		"--dns rfc2136":           "Server responded with a certificate",
		"authz show":              "URL-OR-ID", // which stands for one
		"gatehouse lab try --dat": "",          // TestLabTable is about that
	}
	_, noLego := exec.LookPath("lego")
	exported := ""
	for _, line := range strings.Split(strings.ReplaceAll(invitation, "\\\n", " "), "\n") {
		command, indented := strings.CutPrefix(line, "  ")
		if !indented {
			continue
		}
		part := ""
		for key := range wants {
			if strings.Contains(command, key) {
				part = key
			}
		}
		want, known := wants[part]
		delete(wants, part)
		switch {
		case !known:
			t.Errorf("no expectation of %s", command)
		case part == "export LEGO":
			exported = command + "; "
		case want == "" || want == "URL-OR-ID" || strings.HasPrefix(command, "lego") && noLego != nil:
		default:
			sh := exec.CommandContext(t.Context(), "sh", "-c", exported+command)
			sh.Env = cmd.Env
			if text, err := sh.CombinedOutput(); !strings.Contains(string(text), want) {
				t.Errorf("%s: %v\n%s", command, err, text)
			}
		}
	}
	if len(wants) != 0 {
		t.Errorf("the lab does not tell of %v", wants)
	}
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C the lab ends with %v", err)
	}
	if left := p.left(); len(left) != 0 {
		t.Errorf("the lab, or what it told to run, left %v behind", left)
	}
}

// TestLabDocument holds docs/lab.md to the table.
func TestLabDocument(t *testing.T) {
	t.Parallel()
	text := readDoc(t, "docs/lab.md")
	names := regexp.MustCompile(`(\*\.)?[a-z0-9-]+\.(http|dns|txt|tls|caa|dnssec|policy)\.example\.net`).FindAllString(text, -1)
	for _, name := range names {
		if _, ok := findLabHost(name, ""); !ok {
			t.Errorf("docs/lab.md speaks of %s, which the table has not", name)
		}
	}
	if len(names) < 10 {
		t.Errorf("docs/lab.md speaks of %d names of the table", len(names))
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// labPlace is where a lab of a test lives: ports, and a folder for temporary files that is not that of other labs.
type labPlace struct {
	t     *testing.T
	tmp   string
	flags []string
}

func newLabPlace(t *testing.T) *labPlace {
	t.Helper()
	tmp, err := os.MkdirTemp("", "lab-test-") // not t.TempDir, whose long name would not fit into a socket's path
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	port := func() string { return strconv.Itoa(int(freePort(t))) }
	return &labPlace{t, tmp, []string{
		"--listen", freeAddr(t), "--http-listen", freeAddr(t), "--dns-listen", freeAddr(t), "--http01-port", port(), "--tls-alpn-01-port", port(),
	}}
}

func (p *labPlace) cmd(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), "gatehouse", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+p.tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs a command to its end.
func (p *labPlace) run(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := p.cmd(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			p.t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// start starts a lab and returns what it says of itself. stop ends it as Ctrl-C does.
func (p *labPlace) start(args ...string) (l labState, stop func()) {
	p.t.Helper()
	cmd := p.cmd(slices.Concat([]string{"lab", "--json"}, p.flags, args)...)
	var errs lockedBuffer
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	must(p.t, err)
	must(p.t, cmd.Start())
	p.t.Cleanup(func() { cmd.Process.Kill() })
	if err := json.NewDecoder(stdout).Decode(&l); err != nil {
		cmd.Wait()
		p.t.Fatalf("the lab did not start: %v\n%s", err, &errs)
	}
	return l, func() {
		p.t.Helper()
		cmd.Process.Signal(syscall.SIGINT)
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("after Ctrl-C the lab ends with %v\n%s", err, &errs)
		}
	}
}

// left are the folders of labs that are there.
func (p *labPlace) left() []string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.tmp, "*"))
	must(p.t, err)
	return found
}

// TestLabRunning uses a running lab as a person does, without naming it, and looks at what it recorded.
func TestLabRunning(t *testing.T) {
	t.Parallel()
	p := newLabPlace(t)
	if _, stderr, status := p.run("lab", "try", "ok.http."+labDomain); status != 1 || !strings.Contains(stderr, "no lab runs") {
		t.Errorf("without a lab: %d %s", status, stderr)
	}
	l, stop := p.start()
	open := filepath.Join(p.tmp, labFolders+"open") // which anybody could have made
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o777))
	must(t, os.WriteFile(filepath.Join(open, labFile), []byte(`{"directory": "https://127.0.0.1:1/"}`), 0o600))
	must(t, os.Symlink(filepath.Join(l.Data, adminSocket), filepath.Join(open, adminSocket)))

	try := func(status int, args ...string) (v labVerdict) {
		t.Helper()
		stdout, stderr, got := p.run(append([]string{"lab", "try", "--json"}, args...)...)
		if got != status {
			t.Fatalf("%v: status %d\n%s%s", args, got, stdout, stderr)
		}
		must(t, json.Unmarshal([]byte(stdout), &v))
		return v
	}
	loop := try(0, "redirect-loop.http."+labDomain)
	if loop.Got != problemType("connection") || !strings.Contains(loop.Detail, "go round in a loop") || !loop.AsExpected {
		t.Errorf("a loop: %+v", loop)
	}
	if v := try(0, "anything.example.com", "--data", l.Data); v.Got != labIssued || v.Expected != "" || !v.AsExpected {
		t.Errorf("a name that is not in the table: %+v", v)
	}
	if v := try(0, "*.anything.example.com"); v.Got != labIssued || v.Method != dcv.DNS01 {
		t.Errorf("a wildcard that is not in the table: %+v", v)
	}
	if v := try(0, "method.caa."+labDomain, "--method", "dns-01"); v.Got != labIssued || v.Expected != "" || v.Trouble != "" {
		t.Errorf("by another method than the table's: %+v", v)
	}
	if v := try(1, "x.forbidden.caa."+labDomain); v.Got != problemType("caa") || v.AsExpected {
		t.Errorf("a name that is not in the table, and refused: %+v", v)
	}
	if stdout, _, status := p.run("authz", "show", "--data", l.Data, loop.Authorization); status != 0 || !strings.Contains(stdout, "redirected to") {
		t.Errorf("authz show: %d %s", status, stdout)
	}
	if stdout, _, status := p.run("cert", "list", "--data", l.Data); status != 0 || !strings.Contains(stdout, "*.anything.example.com") {
		t.Errorf("cert list: %d %s", status, stdout)
	}
	if stdout, _, status := p.run("lab", "try", "forbidden.caa."+labDomain); status != 0 ||
		!regexp.MustCompile(`(?s)verdict +\S+:caa\n.*do not let this gateway issue.*expected +that.*gatehouse authz show --data `).MatchString(stdout) {
		t.Errorf("in words: %d\n%s", status, stdout)
	}
	other := newLabPlace(t)
	if _, stderr, status := other.run(append([]string{"lab", "--once", "--data", l.Data}, other.flags...)...); status != 1 || !strings.Contains(stderr, "a lab runs in") {
		t.Errorf("a second lab in the same folder: %d %s", status, stderr)
	}
	if _, stderr, status := other.run(append([]string{"lab"}, p.flags...)...); status != 1 || !strings.Contains(stderr, "if another lab runs") {
		t.Errorf("a second lab at the same ports: %d %s", status, stderr)
	}
	must(t, os.RemoveAll(open))
	stop()
	if left := p.left(); len(left) != 0 {
		t.Errorf("the lab left %v behind", left)
	}
}

// TestLabRecord adds and removes the record of a challenge, as certbot's hooks do, where the aliases end.
func TestLabRecord(t *testing.T) {
	t.Parallel()
	p := newLabPlace(t)
	data := filepath.Join(p.tmp, "kept")
	l, stop := p.start("--data", data)
	texts := func(name string) (found []string) {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeTXT)
		reply, _, err := new(dns.Client).ExchangeContext(t.Context(), m, l.DNS)
		must(t, err)
		for _, rr := range reply.Answer {
			if txt, ok := rr.(*dns.TXT); ok {
				found = append(found, txt.Hdr.Name+" "+txt.Txt[0])
			}
		}
		return found
	}
	for name, owner := range map[string]string{
		"www.example.com": "_acme-challenge.www.example.com.", "delegated.txt." + labDomain: "delegated.challenges.example.org.", "*.wild.example.com": "_acme-challenge.wild.example.com.",
	} {
		asked := "_acme-challenge." + strings.TrimPrefix(name, "*.") + "."
		cmd := p.cmd("lab", "record", "add", "--data", data)
		cmd.Env = append(cmd.Env, "CERTBOT_DOMAIN="+name, "CERTBOT_VALIDATION=digest")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got := texts(asked); !slices.Equal(got, []string{owner + " digest"}) {
			t.Errorf("added for %s: %q, want it at %s", name, got, owner)
		}
		if _, stderr, status := p.run("lab", "record", "remove", name, "digest", "--data", data); status != 0 || len(texts(asked)) != 0 {
			t.Errorf("removed: %d %s, %q", status, stderr, texts(asked))
		}
	}
	if _, stderr, status := p.run("lab", "record", "add", "--data", data); status != 1 || !strings.Contains(stderr, "CERTBOT_DOMAIN") {
		t.Errorf("without a name: %d %s", status, stderr)
	}
	stop()
	if left := p.left(); !slices.Equal(left, []string{data}) {
		t.Errorf("there are %v, the folder that was named should be alone", left)
	}
	if _, stderr, status := p.run("lab", "try", "ok.http."+labDomain, "--data", data); status != 1 || !strings.Contains(stderr, "no lab runs in "+data) {
		t.Errorf("a lab that has ended: %d %s", status, stderr)
	}
	again, stop := p.start("--data", data)
	if again != l {
		t.Errorf("begun again it is %+v, was %+v", again, l)
	}
	stop()
}

// TestLabRefuses is what would be no lab: listeners beyond the loopback, a folder that is something else's.
func TestLabRefuses(t *testing.T) {
	t.Parallel()
	p := newLabPlace(t)
	real := filepath.Join(p.tmp, "real")
	must(t, os.Mkdir(real, 0o700))
	must(t, os.WriteFile(filepath.Join(real, membershipFile), []byte("{}"), 0o600))
	for want, args := range map[string][]string{
		"--listen: ":                          {"lab", "--listen", "0.0.0.0:14000"},
		"--http-listen: ":                     {"lab", "--http-listen", "192.0.2.1:14001"},
		"--dns-listen: ":                      {"lab", "--dns-listen", "localhost:0"},
		"--worlds: ":                          {"lab", "--worlds", "127.0.0.1"},
		"is not an address and port":          {"lab", "--listen", "127.0.0.1:0"},
		"holds something that is no lab's":    {"lab", "--data", real},
		"holds no lab":                        {"lab", "try", "ok.http." + labDomain, "--data", real},
		"leave --data away":                   {"lab", "try", "ok.http." + labDomain, "--data", real, "--once"},
		"go with --once":                      {"lab", "try", "ok.http." + labDomain, "--listen", "127.0.0.1:14000"},
		"neither a name nor an address":       {"lab", "try", "no name", "--once"},
		"must be one of":                      {"lab", "try", "ok.http." + labDomain, "--method", "dns-02"},
		"unknown flag --config":               {"lab", "--config", "gatehouse.yaml"},
		"unexpected argument ok.http.example": {"lab", "ok.http.example"},
	} {
		_, stderr, status := p.run(args...)
		if status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: status %d, want %q in\n%s", args, status, want, stderr)
		}
	}
	if left := p.left(); !slices.Equal(left, []string{real}) {
		t.Errorf("there are %v now", left)
	}
}

// TestLabOnce tries one name in a lab of its own, and one with a method that cannot prove it.
func TestLabOnce(t *testing.T) {
	t.Parallel()
	p := newLabPlace(t)
	stdout, stderr, status := p.run(append([]string{"lab", "try", "not-critical.tls." + labDomain, "--once"}, p.flags...)...)
	if status != 0 || !strings.Contains(stdout, "not critical") || strings.Contains(stdout, "authz show") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	stdout, stderr, status = p.run(append([]string{"lab", "try", "*.ok.txt." + labDomain, "--method", "http-01", "--once"}, p.flags...)...)
	if status != 1 || !strings.Contains(stderr, "--method can be dns-01") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	if left := p.left(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

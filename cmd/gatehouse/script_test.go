package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestScripts runs testdata/script: the commands as an operator types them. Each script has a world of its own, in
// $DATA, $DOORS, $PLAIN, $ADMIN and $HTTP01, a resolver at $DNS, and these commands besides testscript's:
//
//	mkca folder               a throw-away hierarchy's files, with a certificate for the listener and one for a client
//	up [flag...]              a throw-away gateway on $DATA
//	down                      SIGTERM to it
//	issue name...             a certificate from it; $SERIAL is its serial
//	refused regexp command... gatehouse must end with status 1 and one line on standard error that matches
//	tamper folder             another bit in the middle of a journal's newest segment
//	expand file...            the values of $VARIABLES in files
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			s := &script{world: newWorld(env.T().(testing.TB))}
			env.Values[scriptKey{}] = s
			resolver, err := testca.NewDNS(testca.DNSConfig{})
			if err != nil {
				return err
			}
			env.Defer(func() { resolver.Close() })
			for name, value := range map[string]string{
				"DATA": s.data, "GATEHOUSE_DATA": s.data, "DOORS": s.doors, "PLAIN": s.plain, "ADMIN": s.admin,
				"HTTP01": strconv.Itoa(int(s.http01)), "DNS": resolver.Addr(),
			} {
				env.Setenv(name, value)
			}
			return resolver.Add(". 60 IN NS ns.example.com.")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mkca": mkca, "up": scriptUp, "down": scriptDown, "issue": scriptIssue, "refused": refused, "tamper": tamper,
			"expand": expand,
		},
	})
}

type scriptKey struct{}

// script is what a script has besides its folder.
type script struct {
	*world
	running *instance
	client  *rawClient
	web     *testca.HTTP
}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func mkca(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mkca folder")
	}
	folder := ts.MkAbs(args[0])
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	ts.Check(err)
	_, err = h.Write(folder)
	ts.Check(err)
	leaf, err := h.Leaf("ca.example.com")
	ts.Check(err)
	key, err := testca.KeyPEM(leaf.PrivateKey.(crypto.Signer))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(folder, "tls.pem"), testca.CertificatePEM(leaf.Leaf, h.Intermediate.Certificate), 0o644))
	ts.Check(os.WriteFile(filepath.Join(folder, "tls.key"), key, 0o600))
	client := leaf.Leaf
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, client, h.Intermediate.Certificate, client.PublicKey, h.Intermediate.Key)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(folder, "client.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
}

func scriptUp(ts *testscript.TestScript, neg bool, args []string) {
	s := scriptOf(ts)
	if neg || s.running != nil {
		ts.Fatalf("usage: up [flag...], once until down")
	}
	i, err := s.tryStart(args...)
	ts.Check(err)
	s.running, s.client = i, nil
}

func scriptDown(ts *testscript.TestScript, neg bool, args []string) {
	s := scriptOf(ts)
	if neg || len(args) != 0 || s.running == nil {
		ts.Fatalf("usage: down, after up")
	}
	s.running.stop()
	s.running = nil
}

func scriptIssue(ts *testscript.TestScript, neg bool, args []string) {
	s := scriptOf(ts)
	if neg || len(args) == 0 || s.running == nil {
		ts.Fatalf("usage: issue name..., after up")
	}
	if s.client == nil {
		s.client = registered(s.running)
	}
	if s.web == nil {
		s.web = s.answers()
	}
	chain, _ := s.client.issue(s.web, args...)
	ts.Setenv("SERIAL", hex.EncodeToString(chain[0].SerialNumber.Bytes()))
}

func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: refused regexp command...")
	}
	want, err := regexp.Compile(`^gatehouse: ` + args[0] + `$`)
	ts.Check(err)
	err = ts.Exec("gatehouse", args[1:]...)
	stderr := ts.ReadFile("stderr")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 {
		ts.Fatalf("the end is %v, want status 1\n%s", err, stderr)
	}
	line, more, _ := strings.Cut(stderr, "\n")
	if more != "" {
		ts.Fatalf("more than one line:\n%s", stderr)
	}
	if !want.MatchString(line) {
		ts.Fatalf("the line is\n%s\nwant a match of\n%s", line, want)
	}
}

func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper folder")
	}
	segments, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.jsonl")) // sorted: the last is the newest
	ts.Check(err)
	if len(segments) == 0 {
		ts.Fatalf("%s holds no segment", args[0])
	}
	path := segments[len(segments)-1]
	text, err := os.ReadFile(path)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(path, text, 0o600))
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

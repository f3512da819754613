package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestMain lets this test binary stand in for the gatehouse command: under that name, which is on PATH while the tests
// run, it is main. So nothing else is built, and with -race the gateways under test are race-checked as well. The race detector
// lets each process sleep for a second at its end, which the hundreds of commands here do not need: a race is reported where it
// is met.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	testscript.Main(m, map[string]func(){"gatehouse": main, "dns01-hook": dns01Hook})
}

// world is where a throw-away gateway lives: a data folder and ports that stay the same when it is started again.
type world struct {
	t      testing.TB
	data   string
	doors  string   // host:port of the ACME door
	plain  string   // host:port of CRLs and health
	admin  string   // host:port of metrics
	http01 uint16   // the port that http-01 validations contact
	alpn01 uint16   // the port that tls-alpn-01 validations contact
	args   []string // further arguments of every gateway here
}

// newWorld chooses a new folder and free ports. The folder is removed when the test ends.
func newWorld(t testing.TB) *world {
	t.Helper()
	// Not t.TempDir, whose long names would not fit into a socket's path.
	data, err := os.MkdirTemp("", "gatehouse-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	return &world{
		t: t, data: filepath.Join(data, "data"), doors: freeAddr(t), plain: freeAddr(t), admin: freeAddr(t), http01: freePort(t), alpn01: freePort(t),
	}
}

// nextPort counts through ports below the range from which the kernel takes ports for outgoing connections, so that no
// connection takes a port between its choice and its use, or while a gateway is down. The random begin keeps test
// processes that run side by side apart.
var nextPort = func() *atomic.Int32 {
	var n atomic.Int32
	n.Store(int32(rand.IntN(10000)))
	return &n
}()

// freePort is a loopback port that nothing listens on and that no other call in this process returns.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 10000 {
		port := 20000 + nextPort.Add(1)%10000
		if canListen(port) {
			return uint16(port)
		}
	}
	t.Fatal("no free port")
	return 0
}

// canListen tries it. No process is forked meanwhile, because until its exec it would hold the listener too, and so the port
// beyond the end of the trial.
func canListen(port int32) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func freeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

// instance is one process of a gateway.
type instance struct {
	*world
	directory string // URL
	root      string // file with the root certificate
	dns       string // host:port of its DNS server, if that is its own

	cmd    *exec.Cmd
	log    *lockedBuffer // what it wrote to standard error
	exited chan struct{} // closed when the process is gone and cmd.ProcessState is set
}

// startGateway starts a gateway in a world of its own. It is stopped when the test ends.
func startGateway(t testing.TB, args ...string) *instance {
	t.Helper()
	return newWorld(t).start(args...)
}

// start runs "gatehouse serve --dev" here, with further arguments, and returns when it has printed that it serves. When
// the test ends it is told to stop, unless it is gone by then, and its log is judged.
func (w *world) start(args ...string) *instance {
	w.t.Helper()
	i, err := w.tryStart(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// tryStart is start for those who expect that the process may end before it serves.
func (w *world) tryStart(args ...string) (*instance, error) {
	i := &instance{world: w, log: &lockedBuffer{}, exited: make(chan struct{})}
	i.cmd = exec.Command("gatehouse", append([]string{
		"serve", "--dev", "--data", w.data, "--listen", w.doors, "--http-listen", w.plain, "--admin-listen", w.admin,
		"--http01-port", strconv.Itoa(int(w.http01)), "--tls-alpn-01-port", strconv.Itoa(int(w.alpn01)),
	}, append(slices.Clone(w.args), args...)...)...)
	i.cmd.Stderr = i.log
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics leaves nothing behind
	stdout, err := i.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan bool, 1)
	go i.watch(stdout, ready)
	if !<-ready {
		<-i.exited
		i.judgeLog()
		return nil, fmt.Errorf("the gateway did not start: %v\n%s", i.cmd.ProcessState, i.log)
	}
	w.t.Cleanup(i.finish)
	return i, nil
}

// watch reads what the gateway prints when it is ready, then waits for its end.
func (i *instance) watch(stdout io.Reader, ready chan<- bool) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		word, value, _ := strings.Cut(lines.Text(), " ")
		switch value = strings.TrimSpace(value); word {
		case "directory":
			i.directory = value
		case "root":
			i.root = value
		case "dns-01":
			i.dns, _, _ = strings.Cut(strings.TrimPrefix(value, "records at "), ",")
		case "data": // the last line
			ready <- true
		}
	}
	i.cmd.Wait()
	close(i.exited)
	close(ready)
}

// stop tells the gateway to end with SIGTERM and waits. A status other than zero fails the test.
func (i *instance) stop() {
	i.t.Helper()
	if !i.running() {
		return
	}
	i.cmd.Process.Signal(syscall.SIGTERM)
	i.mustExit()
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		i.t.Errorf("after SIGTERM the gateway ended with %v\n%s", i.cmd.ProcessState, i.log.tail())
	}
}

// kill ends the gateway as a power cut would end the process, and waits.
func (i *instance) kill() {
	i.cmd.Process.Kill()
	<-i.exited
}

func (i *instance) running() bool {
	select {
	case <-i.exited:
		return false
	default:
		return true
	}
}

// mustExit waits for the end; a gateway that does not come to it shows its goroutines and fails the test.
func (i *instance) mustExit() {
	i.t.Helper()
	select {
	case <-i.exited:
	case <-time.After(time.Minute): // three times what draining may take
		i.cmd.Process.Signal(syscall.SIGQUIT)
		<-i.exited
		i.t.Fatalf("the gateway did not end\n%s", i.log)
	}
}

// finish is how every gateway ends that a test left running.
func (i *instance) finish() {
	i.t.Helper()
	i.stop()
	i.judgeLog()
	if i.t.Failed() {
		i.t.Logf("the gateway's log ends:\n%s", i.log.tail())
	}
}

// judgeLog fails the test for what no gateway may ever write.
func (i *instance) judgeLog() {
	i.t.Helper()
	for _, sign := range []string{"DATA RACE", "panic", "fatal error:"} {
		if text := i.log.String(); strings.Contains(text, sign) {
			i.t.Errorf("the gateway's log holds %q:\n%s", sign, i.log.tail())
		}
	}
}

// command runs a gatehouse command on this gateway's data folder and returns what it printed.
func (w *world) command(args ...string) (stdout, stderr string, status int) {
	w.t.Helper()
	cmd := exec.Command("gatehouse", args...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_DATA="+w.data)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			w.t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// mustCommand is command where anything but success fails the test.
func (w *world) mustCommand(args ...string) string {
	w.t.Helper()
	stdout, stderr, status := w.command(args...)
	if status != 0 {
		w.t.Fatalf("gatehouse %s: status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

// certList is the inventory as the operator sees it, newest first.
func (w *world) certList() []enrollmentView {
	w.t.Helper()
	var list listView
	if err := json.Unmarshal([]byte(w.mustCommand("cert", "list", "--limit", "1000", "--json")), &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Enrollments
}

// roots is a pool that trusts the gateway's root alone.
func (i *instance) roots() *x509.CertPool {
	i.t.Helper()
	pem, err := os.ReadFile(i.root)
	if err != nil {
		i.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		i.t.Fatalf("%s holds no certificate", i.root)
	}
	return pool
}

// client is an HTTP client that trusts the gateway, with room for many connections at once.
func (i *instance) client() *http.Client {
	i.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: i.roots()}, MaxIdleConnsPerHost: 100}
	i.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// answers is a web server on the port that validations contact.
func (w *world) answers() *testca.HTTP {
	w.t.Helper()
	h, err := testca.NewHTTP(testca.HTTPConfig{Addr: fmt.Sprintf("127.0.0.1:%d", w.http01)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { h.Close() })
	return h
}

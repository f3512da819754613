package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDataFolderIsTheGatewaysAlone(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	chain, _ := registered(i).issue(i.answers(), "mode.example.com")
	if len(chain) != 2 {
		t.Errorf("a chain of %d", len(chain))
	}
	err := filepath.Walk(i.data, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		public := strings.HasSuffix(path, ".pem") && strings.Contains(path, "throw-away-ca") // certificates, no keys
		if got := info.Mode().Perm(); got&0o077 != 0 && !public {
			t.Errorf("%s has mode %o", path, got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		i.data: 0o700 | os.ModeDir, filepath.Join(i.data, adminSocket): 0o600 | os.ModeSocket,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

// get is a small GET.
func get(t testing.TB, url string) (status int, header http.Header, body string) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	registered(i).issue(i.answers(), "measured.example.com")
	if status, _, body := get(t, "http://"+i.plain+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	for { // the first CRL is made after the start
		status, _, body := get(t, "http://"+i.plain+"/readyz")
		if status == 200 && body == "ok\n" {
			break
		}
		if status != 503 || !pause(t.Context()) {
			t.Fatalf("/readyz: %d %q", status, body)
		}
	}
	_, _, metrics := get(t, "http://"+i.admin+"/metrics")
	for _, name := range []string{"go_goroutines", "process_open_fds", "gatehouse_http_requests_total"} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("/metrics lacks %s:\n%s", name, metrics)
		}
	}
	if status, _, _ := get(t, "http://"+i.admin+"/debug/pprof/goroutine?debug=1"); status != 200 {
		t.Errorf("/debug/pprof/goroutine: %d", status)
	}
	for _, url := range []string{"http://" + i.plain + "/metrics", "http://" + i.plain + "/debug/pprof/", "http://" + i.plain + "/acme/directory"} {
		if status, _, _ := get(t, url); status != 404 {
			t.Errorf("%s answers %d on the public plain listener", url, status)
		}
	}
}

// TestSIGTERMDrains stops a gateway while a request runs: it is answered, no new connection is taken, the status is zero
// and what was answered is there at the next start.
func TestSIGTERMDrains(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registered(i)
	order := c.ready(i.answers(), "last.example.com")
	_, csr := newCSR(t, "last.example.com")
	running := beginRequest(i, order.Finalize, c.sign(order.Finalize, c.nonce(), map[string]string{"csr": b64(csr)}))

	i.cmd.Process.Signal(syscall.SIGTERM)
	for { // until the listener is closed
		conn, err := net.Dial("tcp", i.doors)
		if err != nil {
			break
		}
		conn.Close()
		if !pause(t.Context()) {
			t.Fatal("the gateway still takes connections")
		}
	}
	if !i.running() {
		t.Fatal("the gateway did not wait for the request")
	}
	status, body := running.finish()
	if status != 200 || !strings.Contains(body, `"valid"`) && !strings.Contains(body, `"processing"`) {
		t.Errorf("the running request is answered with %d %s", status, body)
	}
	i.mustExit()
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the gateway ended with %v", i.cmd.ProcessState)
	}
	i.start()
	if n := i.issuedFor("last.example.com"); n != 1 {
		t.Errorf("%d certificates for the last order", n)
	}
}

// runningRequest is a POST whose header the gateway's handler has and whose body it waits for.
type runningRequest struct {
	t     testing.TB
	conn  *tls.Conn
	reply *bufio.Reader
	body  []byte
}

// beginRequest sends a header with Expect: 100-continue and returns when the handler asks for the body.
func beginRequest(i *instance, url string, body []byte) *runningRequest {
	i.t.Helper()
	conn, err := tls.Dial("tcp", i.doors, &tls.Config{RootCAs: i.roots()})
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { conn.Close() })
	r := &runningRequest{i.t, conn, bufio.NewReader(conn), body}
	_, path, _ := strings.Cut(url, i.doors)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/jose+json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		path, i.doors, len(body))
	if err != nil {
		i.t.Fatal(err)
	}
	if status, _ := r.read(); status != http.StatusContinue {
		i.t.Fatalf("the gateway answers the header with %d", status)
	}
	return r
}

// finish sends the body and reads the answer.
func (r *runningRequest) finish() (status int, body string) {
	r.t.Helper()
	if _, err := r.conn.Write(r.body); err != nil {
		r.t.Fatalf("the running request was cut off: %v", err)
	}
	return r.read()
}

func (r *runningRequest) read() (status int, body string) {
	r.t.Helper()
	resp, err := http.ReadResponse(r.reply, nil)
	if err != nil {
		r.t.Fatalf("the running request was cut off: %v", err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("the running request was cut off: %v", err)
	}
	return resp.StatusCode, string(text)
}

// Package redistest runs real Redis servers for tests: one alone, a primary with a replica and three sentinels, or a
// Cluster; and a proxy that disturbs what passes through it.
//
// It decides ports, folders and settings: every server listens on loopback, keeps an append-only file that is synced
// before each answer, and lives in a temporary folder until its test ends. It trusts the redis-server that is installed.
// It never touches a server it did not start, and never skips a test silently where GATEHOUSE_TEST_REQUIRE names
// redis-server.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// Program is what tests need, and the name by which they skip.
const Program = "redis-server"

// patience is how long a server may take to start, to synchronise or to fail over.
const patience = 30 * time.Second

// Need skips the test unless the environment variable GATEHOUSE_TEST_REQUIRE, a list separated by commas or blanks, names
// redis-server: failovers and clusters take minutes. Where it is named and not installed the test fails.
func Need(t testing.TB) {
	t.Helper()
	testneed.OnlyIfListed(t, Program)
	testneed.Programs(t, Program)
}

// Server is one process. Its methods may be called from any goroutine of the test, one at a time.
type Server struct {
	Addr string // host:port; it stays when the server is started again
	Dir  string // configuration, log and append-only file

	t        testing.TB
	sentinel bool
	tls      *tls.Config
	client   *redis.Client

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
}

// Start runs a server. The settings are lines of redis.conf that come after, and so replace, the usual ones.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	Need(t)
	return start(t, nil, settings)
}

// TLSFiles are PEM files for a server that speaks only TLS and demands a client certificate.
type TLSFiles struct{ Cert, Key, ClientCA string }

// StartTLS is Start with TLS; client is how this package's own client connects.
func StartTLS(t testing.TB, files TLSFiles, client *tls.Config, settings ...string) *Server {
	t.Helper()
	Need(t)
	return start(t, client, append([]string{
		"tls-cert-file " + files.Cert, "tls-key-file " + files.Key, "tls-ca-cert-file " + files.ClientCA, "tls-auth-clients yes",
	}, settings...))
}

func start(t testing.TB, client *tls.Config, settings []string) *Server {
	t.Helper()
	for attempt := 1; ; attempt++ {
		s := &Server{t: t, Dir: t.TempDir(), tls: client}
		port := freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		listen := []string{"port " + port}
		if client != nil {
			listen = []string{"port 0", "tls-port " + port}
		}
		s.configure(append(append(listen,
			"save \"\"", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "repl-diskless-sync-delay 0",
		), settings...))
		err := s.launch()
		if err == nil {
			s.connect()
			return s
		}
		if attempt == 5 { // somebody else may have taken the port
			t.Fatalf("%s does not start: %v\n%s", Program, err, s.log())
		}
	}
}

func (s *Server) configure(lines []string) {
	s.t.Helper()
	lines = append([]string{"bind 127.0.0.1", "dir " + s.Dir, "logfile " + filepath.Join(s.Dir, "log"), "daemonize no"}, lines...)
	if err := os.WriteFile(s.config(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) config() string { return filepath.Join(s.Dir, "redis.conf") }

func (s *Server) log() string {
	data, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return string(data[max(0, len(data)-4000):])
}

// launch starts the process and waits until it answers.
func (s *Server) launch() error {
	args := []string{s.config()}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	process := exec.Command(Program, args...)
	process.SysProcAttr = attributes()
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = process.Wait() // however it ended
		close(exited)
	}()
	s.mu.Lock()
	s.process, s.exited = process, exited
	s.mu.Unlock()
	s.t.Cleanup(func() { s.signal(process, exited, syscall.SIGKILL) })
	return s.answers(exited)
}

func (s *Server) answers(exited <-chan struct{}) error {
	client := redis.NewClient(s.options())
	defer client.Close()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// An error reply is an answer: the server may want a password. It loads its files, if it has any, first.
		last = client.Ping(context.Background()).Err()
		if _, replied := errors.AsType[redis.Error](last); last == nil || replied && !strings.HasPrefix(last.Error(), "LOADING") {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return last
}

func (s *Server) options() *redis.Options {
	return &redis.Options{
		Addr: s.Addr, TLSConfig: s.tls, Protocol: 2, MaxRetries: -1, DialerRetries: 1, PoolSize: 2, PipelinePoolSize: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (s *Server) connect() {
	s.client = redis.NewClient(s.options())
	s.t.Cleanup(func() { s.client.Close() })
}

// Client talks to the server as the test itself, without a password.
func (s *Server) Client() *redis.Client { return s.client }

// Do runs a command, given as one string of words, and fails the test if it fails.
func (s *Server) Do(command string) any {
	s.t.Helper()
	var args []any
	for _, word := range strings.Fields(command) {
		args = append(args, word)
	}
	got, err := s.client.Do(s.t.Context(), args...).Result()
	if err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	return got
}

// Kill ends the process as a crash would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the process in good order.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Pause stops the process without ending it; its connections stay open. Resume lets it go on.
func (s *Server) Pause() { s.send(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.send(syscall.SIGCONT) }

// Restart starts the server again over its files, after Kill or Stop.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatalf("%s does not start again: %v\n%s", Program, err, s.log())
	}
}

// Empty removes what a server that was ended had on disk, except for its configuration.
func (s *Server) Empty() {
	s.t.Helper()
	for _, name := range []string{"appendonlydir", "dump.rdb"} {
		if err := os.RemoveAll(filepath.Join(s.Dir, name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Cut breaks the connections of all clients but replicas and this package.
func (s *Server) Cut() error {
	return s.client.ClientKillByFilter(context.Background(), "TYPE", "normal", "SKIPME", "yes").Err()
}

func (s *Server) send(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal %v: %v", sig, err)
	}
}

func (s *Server) end(sig os.Signal) {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.mu.Unlock()
	s.signal(process, exited, sig)
}

func (s *Server) signal(process *exec.Cmd, exited <-chan struct{}, sig os.Signal) {
	if err := process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal %v: %v", sig, err)
		return
	}
	<-exited
}

func freePort(t testing.TB) string {
	t.Helper()
	// A process that is forked meanwhile would hold the listener until its exec, and so the port.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// until polls, because servers tell nobody when they have agreed.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Field is one field of INFO, such as used_memory, or "" if the server does not answer.
func (s *Server) Field(name string) string {
	text, err := s.client.Info(context.Background()).Result()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name+":"); ok {
			return value
		}
	}
	return ""
}

// Role is "master", "slave", or "" if the server does not answer.
func (s *Server) Role() string { return s.Field("role") }

// WaitReplicas returns when so many replicas are connected and synchronised.
func (s *Server) WaitReplicas(n int) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d replicas", n), func() bool {
		online := 0
		for i := range n {
			if strings.Contains(s.Field(fmt.Sprintf("slave%d", i)), "state=online") {
				online++
			}
		}
		return online == n && s.Field("connected_slaves") == fmt.Sprint(n)
	})
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	benchStart = 3 * time.Minute  // how long a server may take until it answers: a large embedded store takes its time
	benchStop  = 30 * time.Second // how long it may drain before it is killed
)

// benchProcess is a server under measurement, as a child: this program again, or a Redis that one of them needs.
type benchProcess struct {
	name  string
	cmd   *exec.Cmd
	log   string        // the file that has its output
	ended chan struct{} // closed when it has ended, with err set
	err   error
}

// startBenchProcess starts a program with all its arguments, the first being its own name.
func startBenchProcess(name, log, executable string, args ...string) (*benchProcess, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the child has its own
	p := &benchProcess{name: name, log: log, ended: make(chan struct{})}
	p.cmd = exec.Command(executable)
	p.cmd.Args = args
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *benchProcess) pid() int { return p.cmd.Process.Pid }

// alive is nil, or says how the process ended and what it said last.
func (p *benchProcess) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the %s ended by itself (%s); its last words: %s", p.name, p.cmd.ProcessState, p.lastWords())
	default:
		return nil
	}
}

// lastWords are the last line of the process's output.
func (p *benchProcess) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "none"
	}
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// stop ends the process as an operator would, and by force if it does not end in time.
func (p *benchProcess) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the %s: %w", p.name, err)
	}
	timer := time.NewTimer(benchStop)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		err := p.cmd.Process.Kill()
		<-p.ended
		return errors.Join(fmt.Errorf("the %s did not end within %s of SIGTERM and was killed", p.name, benchStop), err)
	}
}

// benchServer is a process with its clients.
type benchServer struct {
	process     *benchProcess
	directory   string
	admin, data string        // of a gateway; "" for the floor
	redis       *benchProcess // where a gateway keeps its state; nil for any other
	clients     []*benchClient
	checker     benchChecker
}

func (s *benchServer) stop() error {
	if s == nil {
		return nil
	}
	for _, c := range s.clients {
		c.http.CloseIdleConnections()
	}
	err := s.process.stop()
	if s.redis != nil {
		err = errors.Join(err, s.redis.stop())
	}
	return err
}

// await waits until the directory can be had.
func (s *benchServer) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, benchStart)
	defer cancel()
	for {
		_, err := fetch(ctx, s.directory)
		if err == nil {
			return nil
		}
		if dead := s.process.alive(); dead != nil {
			return dead
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the %s does not answer: %w", s.process.name, err)
		}
	}
}

// register makes clients, each with an account.
func (s *benchServer) register(ctx context.Context, n int, answers *benchAnswers) error {
	for range n {
		c, err := newBenchClient(ctx, s.directory, answers)
		if err != nil {
			return errors.Join(fmt.Errorf("registering a client with the %s: %w", s.process.name, err), s.process.alive())
		}
		s.clients = append(s.clients, c)
	}
	return nil
}

// measure runs a load and adds up what it cost the server. The certificates are examined afterwards.
func (s *benchServer) measure(ctx context.Context, load *benchLoad) (*benchRun, error) {
	if err := load.prepare(ctx); err != nil {
		return &benchRun{}, errors.Join(err, s.process.alive())
	}
	before, err := s.cpu()
	if err != nil {
		return &benchRun{}, errors.Join(err, s.process.alive())
	}
	run := load.run(ctx)
	after, err := s.cpu()
	if err != nil {
		return run, errors.Join(err, s.process.alive())
	}
	run.cpu, run.redisCPU = after.own-before.own, after.redis-before.redis
	s.checker.check(run)
	if err := ctx.Err(); err != nil {
		return run, err
	}
	return run, s.process.alive()
}

// benchCPU is processor time used so far.
type benchCPU struct{ own, redis time.Duration }

func (s *benchServer) cpu() (c benchCPU, err error) {
	if c.own, err = cpuTime(s.process.pid()); err != nil || s.redis == nil {
		return c, err
	}
	c.redis, err = cpuTime(s.redis.pid())
	return c, err
}

func (s *benchServer) certificates() int    { return len(s.checker.serials) }
func (s *benchServer) certificateSize() int { return s.checker.size }

// heap is the gateway's Go heap after collection, in bytes. Two collections, because a sync.Pool lets go of its content
// only in the second.
func (s *benchServer) heap(ctx context.Context) (int64, error) {
	var size int64
	for range 2 {
		text, err := fetch(ctx, s.admin+"/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			return 0, fmt.Errorf("asking the gateway for its heap: %w", err)
		}
		if size, err = parseHeap(text); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// parseHeap finds runtime.MemStats.HeapAlloc in a heap profile as text.
func parseHeap(text []byte) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			return strconv.ParseInt(number, 10, 64)
		}
	}
	return 0, errors.Join(errors.New("the gateway's heap profile does not say HeapAlloc"), lines.Err())
}

// freeAddrs finds loopback addresses whose ports nobody has. They are all open at once before they are given away, so
// they differ.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// benchTransport is one client's own connection to a server.
func benchTransport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true, IdleConnTimeout: time.Minute}
}

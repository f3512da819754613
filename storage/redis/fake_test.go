package redis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a server that passes all checks, and answers scripts and waits as a test says, in RESP2.
type fake struct {
	addr    string
	version string

	mu       sync.Mutex
	handle   func(script *script, args []string) string // reply to a script other than scriptEnroll
	wait     string                                     // reply to WAIT and WAITAOF
	hello    string                                     // reply to HELLO; an error makes the library send AUTH
	commands []string                                   // what was asked, without scripts
	runs     map[*script]int
}

const done = "*2\r\n:0\r\n:1\r\n"

func startFake(t *testing.T, version string) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: listener.Addr().String(), version: version, wait: ":0\r\n", hello: "-ERR unknown command 'HELLO'\r\n", runs: make(map[*script]int)}
	var tasks sync.WaitGroup
	conns := make(map[net.Conn]struct{})
	tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			conns[conn] = struct{}{}
			f.mu.Unlock()
			tasks.Go(func() {
				defer conn.Close()
				f.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		f.mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		f.mu.Unlock()
		tasks.Wait()
	})
	return f
}

// answer sets the reply to all scripts.
func (f *fake) answer(reply string) {
	f.handleWith(func(*script, []string) string { return reply })
}

func (f *fake) handleWith(handle func(*script, []string) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = handle
	clear(f.runs)
}

func (f *fake) ran(s *script) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[s]
}

func (f *fake) asked(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.commands {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		reply := f.reply(args)
		if reply == "" { // a lost connection
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "*")))
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		if line, err = r.ReadString('\n'); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
		if err != nil {
			return nil, err
		}
		data := make([]byte, size+2)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, err
		}
		args[i] = string(data[:size])
	}
	return args, nil
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func (f *fake) reply(args []string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.ToUpper(args[0])
	if name != "EVALSHA" {
		f.commands = append(f.commands, strings.Join(args, " "))
	}
	switch name {
	case "HELLO":
		return f.hello
	case "AUTH":
		return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	case "INFO":
		return bulk("redis_version:" + f.version + "\r\nrole:master\r\nmaster_replid:" + strings.Repeat("a", 40) +
			"\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\nconnected_slaves:3\r\n")
	case "CONFIG":
		value := map[string]string{"appendfsync": "always", "no-appendfsync-on-rewrite": "no"}[args[2]]
		return "*2\r\n" + bulk(args[2]) + bulk(value)
	case "SCRIPT":
		return bulk(newScript("", "").sha)
	case "WAIT", "WAITAOF":
		return f.wait
	case "EVALSHA":
		return f.evaluate(args)
	}
	return "-ERR unknown command\r\n"
}

func (f *fake) evaluate(args []string) string {
	if args[1] == scriptEnroll.sha {
		return "*3\r\n:0\r\n" + bulk(strings.Repeat("e", 32)) + bulk("9")
	}
	for _, s := range scripts {
		if s.sha == args[1] {
			f.runs[s]++
			if f.handle != nil {
				return f.handle(s, args[2:])
			}
		}
	}
	return done
}

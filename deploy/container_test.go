//go:build linux

package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// patience is how long anything may take here that takes a second or two on an idle machine.
const patience = time.Minute

// container is a service that runs, or ran: one process and its children in namespaces and a root of their own.
type container struct {
	t       testing.TB
	name    string
	service *service
	image   *image
	env     []string
	uid     int
	gid     int

	cmd    *exec.Cmd
	log    *lockedBuffer
	exited chan struct{} // closed when it is gone
}

// startContainer starts a service of a project with the file's command, or with other arguments. It is killed when the
// test ends.
func startContainer(p *project, name string, args ...string) *container {
	p.t.Helper()
	s := p.file.Services[name]
	c := &container{t: p.t, name: name, service: s, image: p.image(s), log: &lockedBuffer{}, exited: make(chan struct{})}
	l := c.layout(p, args)
	exe, err := os.Executable()
	must(p.t, err)
	pipe, send, err := os.Pipe()
	must(p.t, err)
	defer send.Close()
	c.cmd = exec.Command(exe)
	c.cmd.Env = []string{containerEnv + "=" + name}
	c.cmd.ExtraFiles = []*os.File{pipe}
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	p.launch(func() { err = c.cmd.Start() })
	pipe.Close()
	if err != nil {
		testneed.Missing(p.t, "netns", err)
	}
	p.t.Cleanup(c.kill)
	go func() {
		c.cmd.Wait()
		close(c.exited)
	}()
	p.connect(c)
	must(p.t, json.NewEncoder(send).Encode(l))
	return c
}

// layout is the container's as service and image say.
func (c *container) layout(p *project, args []string) *layout {
	c.t.Helper()
	s, i := c.service, c.image
	user := i.user
	if s.User != "" {
		user = s.User
	}
	var err error
	c.uid, c.gid, err = ids(user)
	must(c.t, err)
	c.env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, i.env...)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		c.env = append(c.env, name+"="+s.Environment[name])
	}
	l := &layout{
		Root: c.t.TempDir(), Folders: map[string]string{}, Links: map[string]string{}, Hostname: c.name, UID: c.uid, GID: c.gid,
		Caps: s.caps(c.t), ReadOnly: s.ReadOnly, Sysctls: s.Sysctls, Args: c.command(args), Env: c.env,
		Files: map[string]string{"/etc/resolv.conf": "nameserver " + resolverAddr + "\n", "/etc/hosts": "127.0.0.1 localhost\n", "/etc/hostname": c.name + "\n"},
	}
	if i.program != "" {
		maps.Copy(l.Folders, i.owned)
		l.Binds = append(l.Binds, bind{gatehouse(c.t), i.program, true})
	} else {
		l.debian()
	}
	for _, v := range s.Volumes {
		l.Binds = append(l.Binds, p.volume(v, i))
	}
	return l
}

// command is what the container runs, with the program's path.
func (c *container) command(args []string) []string {
	c.t.Helper()
	line := slices.Clone(c.image.entrypoint)
	if c.service.Entrypoint != nil {
		line = slices.Clone(c.service.Entrypoint)
	}
	switch {
	case args != nil:
		line = append(line, args...)
	case c.service.Command != nil:
		line = append(line, c.service.Command...)
	case c.service.Entrypoint == nil:
		line = append(line, c.image.command...)
	}
	if !filepath.IsAbs(line[0]) {
		path, err := exec.LookPath(line[0])
		must(c.t, err)
		line[0] = path
	}
	return line
}

// debian lays this machine's programs into the root, to stand in for the image's. /usr/local stays empty: the file mounts
// configurations there.
func (l *layout) debian() {
	shared := []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "share"} {
		shared = append(shared, "/usr/"+name)
	}
	for _, name := range shared {
		if target, err := os.Readlink(name); err == nil {
			l.Links[name] = target
		} else if _, err := os.Stat(name); err == nil {
			l.Binds = append(l.Binds, bind{name, name, true})
		}
	}
	for _, name := range []string{"/etc/alternatives", "/etc/ssl", "/etc/ld.so.cache", "/etc/passwd", "/etc/group"} {
		if _, err := os.Stat(name); err == nil {
			l.Binds = append(l.Binds, bind{name, name, true})
		}
	}
	for _, name := range []string{"/run", "/var/tmp", "/var/log", "/var/lib"} {
		l.Folders[name] = "0:0"
	}
}

// exec runs a command in the container, as its user.
func (c *container) exec(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(c.cmd.Process.Pid), "--mount", "--net", "--pid", "--uts", "--ipc",
		"--setuid", strconv.Itoa(c.uid), "--setgid", strconv.Itoa(c.gid), "--"}, args...)...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// awaitHealth asks the health check until it succeeds.
func (c *container) awaitHealth() {
	c.t.Helper()
	command := c.image.health
	if h := c.service.Healthcheck; h != nil {
		if h.Test[0] != "CMD" {
			c.t.Fatalf("%s: a health check begins with %s, which these tests do not know", c.name, h.Test[0])
		}
		command = h.Test[1:]
	}
	if len(command) == 0 {
		c.t.Fatalf("something waits until %s is healthy, and nothing says when it is", c.name)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		out, err := c.exec(ctx, command...)
		if err == nil {
			return
		}
		select {
		case <-c.exited:
			c.t.Fatalf("%s ended before it was healthy: %v\n%s", c.name, c.cmd.ProcessState, c.log)
		case <-ctx.Done():
			c.t.Fatalf("%s is not healthy: %v: %s\n%s", c.name, err, out, c.log)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitEnd wants the program to end by itself, well.
func (c *container) awaitEnd() {
	c.t.Helper()
	select {
	case <-c.exited:
	case <-time.After(2 * patience):
		c.t.Fatalf("%s does not end\n%s", c.name, c.log)
	}
	if !c.cmd.ProcessState.Success() {
		c.t.Fatalf("%s: %v\n%s", c.name, c.cmd.ProcessState, c.log)
	}
}

// stop is an engine's: the image's signal to the first process, and its grace. An end by that very signal is one in order.
func (c *container) stop() {
	c.t.Helper()
	grace := 10 * time.Second
	if c.service.StopGrace != "" {
		grace = duration(c.t, c.service.StopGrace)
	}
	c.cmd.Process.Signal(map[string]syscall.Signal{"": syscall.SIGTERM, "SIGUSR1": syscall.SIGUSR1}[c.image.stopSignal])
	select {
	case <-c.exited:
	case <-time.After(grace):
		c.t.Fatalf("%s did not stop within %s\n%s", c.name, grace, c.log)
	}
	if !c.cmd.ProcessState.Success() {
		c.t.Errorf("%s stopped with %v\n%s", c.name, c.cmd.ProcessState, c.log)
	}
}

func (c *container) kill() {
	c.cmd.Process.Kill()
	<-c.exited
	if c.t.Failed() {
		c.t.Logf("%s said:\n%s", c.name, c.log.tail())
	}
}

// ids reads "uid:gid"; nothing is root.
func ids(owner string) (uid, gid int, err error) {
	if owner == "" {
		return 0, 0, nil
	}
	u, g, _ := strings.Cut(owner, ":")
	uid, errU := strconv.Atoi(u)
	gid, errG := strconv.Atoi(g)
	if err := errors.Join(errU, errG); err != nil {
		return 0, 0, fmt.Errorf("owner %q is not uid:gid: %w", owner, err)
	}
	return uid, gid, nil
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *lockedBuffer) tail() string {
	s := b.String()
	return s[max(0, len(s)-8000):]
}

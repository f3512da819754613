//go:build linux

package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// images are those that the file names and does not build: what they run, and as whom. In a container here this machine's
// programs stand in for theirs.
var images = map[string]image{
	"redis":           {user: "999:999", owned: map[string]string{"/data": "999:999"}}, // its entrypoint becomes this user
	"haproxy":         {user: "99:99", stopSignal: "SIGUSR1"},
	"certbot/certbot": {entrypoint: []string{"certbot"}},
}

// project is the compose file brought to life: networks, volumes and what runs.
type project struct {
	t        testing.TB
	file     *compose
	networks map[string]*network
	volumes  string // a folder with one for each
	up       map[string]*container
	launches chan func()
}

func newProject(t testing.TB) *project {
	t.Helper()
	p := &project{t: t, file: readCompose(t), networks: map[string]*network{}, up: map[string]*container{}, launches: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range p.launches {
			f()
		}
	}()
	t.Cleanup(func() { close(p.launches) })
	// Not t.TempDir, whose folders nobody else may enter.
	var err error
	p.volumes, err = os.MkdirTemp("", "gatehouse-volumes-")
	must(t, err)
	must(t, os.Chmod(p.volumes, 0o755))
	t.Cleanup(func() { os.RemoveAll(p.volumes) })
	for n, name := range slices.Sorted(maps.Keys(p.file.Networks)) {
		p.networks[name] = newNetwork(t, name, n)
	}
	for _, name := range slices.Sorted(maps.Keys(p.file.Services)) {
		for network, aliases := range p.file.Services[name].Networks {
			if p.networks[network] == nil {
				t.Fatalf("%s is in the network %s, which is not declared", name, network)
			}
			p.networks[network].admit(append([]string{name}, aliases...)...)
		}
	}
	return p
}

// launch runs f on a thread that lasts as long as the project: a process that is to end with its parent ends with the
// thread that started it, and those that enter a namespace do not last.
func (p *project) launch(f func()) {
	done := make(chan struct{})
	p.launches <- func() { defer close(done); f() }
	<-done
}

func (p *project) image(s *service) *image {
	p.t.Helper()
	if s.Build != "" {
		i, err := readDockerfile(p.t).image()
		must(p.t, err)
		return i
	}
	name, _, _ := strings.Cut(s.Image, ":")
	i, ok := images[name]
	if !ok {
		p.t.Fatalf("these tests know no image %s", name)
	}
	return &i
}

// connect brings a container into its networks.
func (p *project) connect(c *container) {
	p.t.Helper()
	space, err := os.Open(filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "ns", "net"))
	must(p.t, err)
	defer space.Close()
	must(p.t, inside(space, func() error { return ip("link set lo up") }))
	if c.service.NetworkMode == "none" {
		return
	}
	var members []*network
	for n, name := range slices.Sorted(maps.Keys(c.service.Networks)) {
		w := p.networks[name]
		must(p.t, w.connect(c.cmd.Process.Pid, space, c.name, n))
		members = append(members, w)
	}
	resolver(p.t, space, members)
}

// volume is a folder or file of the repository, or a named volume: a folder that belongs, when it is new, to whom the
// image's folder there belongs to.
func (p *project) volume(text string, i *image) bind {
	p.t.Helper()
	source, rest, _ := strings.Cut(text, ":")
	target, mode, _ := strings.Cut(rest, ":")
	b := bind{Target: target, ReadOnly: mode == "ro"}
	if strings.HasPrefix(source, ".") {
		var err error
		b.Source, err = filepath.Abs(filepath.Join(repository, source))
		must(p.t, err)
		return b
	}
	if _, ok := p.file.Volumes[source]; !ok {
		p.t.Fatalf("the volume %s is not declared", source)
	}
	b.Source = filepath.Join(p.volumes, source)
	if err := os.Mkdir(b.Source, 0o755); err == nil {
		uid, gid, err := ids(i.owned[target])
		must(p.t, err)
		must(p.t, os.Chown(b.Source, uid, gid))
	}
	return b
}

// start brings a service up and, first, what it depends on.
func (p *project) start(name string) {
	p.t.Helper()
	if p.up[name] != nil {
		return
	}
	needs := p.file.Services[name].DependsOn
	for _, other := range slices.Sorted(maps.Keys(needs)) {
		p.start(other)
		switch c := p.up[other]; needs[other].Condition {
		case "service_started":
		case "service_healthy":
			c.awaitHealth()
		case "service_completed_successfully":
			c.awaitEnd()
		default:
			p.t.Fatalf("%s: %q is no condition that these tests know", name, needs[other].Condition)
		}
	}
	p.up[name] = startContainer(p, name)
}

// dockerCaps are what an engine leaves to root in a container.
var dockerCaps = map[string]uintptr{
	"CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID,
	"KILL": unix.CAP_KILL, "SETGID": unix.CAP_SETGID, "SETUID": unix.CAP_SETUID, "SETPCAP": unix.CAP_SETPCAP,
	"NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_RAW": unix.CAP_NET_RAW, "SYS_CHROOT": unix.CAP_SYS_CHROOT,
	"MKNOD": unix.CAP_MKNOD, "AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "SETFCAP": unix.CAP_SETFCAP,
}

// caps are those that the service's root keeps.
func (s *service) caps(t testing.TB) []uintptr {
	t.Helper()
	keep := maps.Clone(dockerCaps)
	for _, c := range s.CapDrop {
		if c != "ALL" {
			t.Fatalf("cap_drop %s is not known here", c)
		}
		clear(keep)
	}
	for _, c := range s.CapAdd {
		value, ok := map[string]uintptr{"DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE}[c]
		if !ok {
			t.Fatalf("cap_add %s is not known here", c)
		}
		keep[c] = value
	}
	return slices.Collect(maps.Values(keep))
}

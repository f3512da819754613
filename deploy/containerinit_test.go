//go:build linux

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// containerEnv is set for a process that is to become a container.
const containerEnv = "GATEHOUSE_TEST_CONTAINER"

// layout is what a container consists of. It comes over descriptor 3 when the network is there.
type layout struct {
	Root     string            // an empty folder, on which the container's root is mounted
	Folders  map[string]string // made, and whose they are: "uid:gid"
	Binds    []bind            // of files and folders
	Links    map[string]string
	Files    map[string]string
	ReadOnly bool
	Sysctls  map[string]string
	Hostname string
	UID, GID int
	Caps     []uintptr // that root keeps
	Args     []string  // the program's path first
	Env      []string
}

type bind struct {
	Source, Target string
	ReadOnly       bool
}

// enterContainer makes the namespaces that this process was started in into a container, and becomes its program.
func enterContainer() {
	runtime.LockOSThread() // capabilities are a thread's, and this thread executes the program
	err := func() error {
		pipe := os.NewFile(3, "layout")
		text, err := io.ReadAll(pipe)
		if err != nil {
			return err
		}
		pipe.Close()
		var l layout
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		if err := l.build(); err != nil {
			return err
		}
		return l.execute()
	}()
	fmt.Fprintln(os.Stderr, "container:", err)
	os.Exit(125)
}

// build mounts the root and enters it. All mounts are seen in this namespace alone and end with it.
func (l *layout) build() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", l.Root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, step := range []func() error{l.folders, l.binds, l.devices, l.files} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(l.Hostname)); err != nil {
		return err
	}
	if err := unix.Chdir(l.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root is now over the new one
		return fmt.Errorf("entering the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	for name, value := range l.Sysctls {
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0); err != nil {
			return err
		}
	}
	if l.ReadOnly {
		return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

func (l *layout) at(path string) string { return filepath.Join(l.Root, path) }

func (l *layout) folders() error {
	for path, owner := range l.Folders {
		if err := os.MkdirAll(l.at(path), 0o755); err != nil {
			return err
		}
		uid, gid, err := ids(owner)
		if err != nil {
			return err
		}
		if err := os.Chown(l.at(path), uid, gid); err != nil {
			return err
		}
	}
	for path, target := range l.Links {
		if err := os.Symlink(target, l.at(path)); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) binds() error {
	for _, b := range l.Binds {
		info, err := os.Stat(b.Source)
		if err != nil {
			return err
		}
		target := l.at(b.Target)
		if info.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			return err
		}
		if err := unix.Mount(b.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", b.Source, b.Target, err)
		}
		if b.ReadOnly {
			if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				return fmt.Errorf("mounting %s read-only: %w", b.Target, err)
			}
		}
	}
	return nil
}

// devices mounts what every container has.
func (l *layout) devices() error {
	for _, name := range []string{"proc", "dev", "tmp"} {
		if err := os.MkdirAll(l.at(name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(l.at("tmp"), 0o1777); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		path := filepath.Join("/dev", name)
		if err := os.WriteFile(l.at(path), nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount(path, l.at(path), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	if err := os.Symlink("/proc/self/fd", l.at("/dev/fd")); err != nil {
		return err
	}
	return unix.Mount("proc", l.at("proc"), "proc", 0, "")
}

func (l *layout) files() error {
	for path, content := range l.Files {
		if err := os.MkdirAll(filepath.Dir(l.at(path)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(l.at(path), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// execute gives up what the container may not do and becomes its program.
func (l *layout) execute() error {
	keep := map[uintptr]bool{}
	for _, c := range l.Caps {
		keep[c] = true
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if keep[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // a kernel that has fewer
			return err
		}
	}
	if err := syscall.Setgroups([]int{}); err != nil {
		return err
	}
	if err := syscall.Setgid(l.GID); err != nil {
		return err
	}
	if err := syscall.Setuid(l.UID); err != nil {
		return err
	}
	// Another user's process has lost the wish to end with its parent.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", l.Args[0], syscall.Exec(l.Args[0], l.Args, l.Env))
}

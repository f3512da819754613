package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// benchMachine is what figures depend on.
type benchMachine struct {
	CPUs       int    `json:"cpus"`
	CPU        string `json:"cpu"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"fileSystem"` // the store's
	Go         string `json:"go"`
	Version    string `json:"version"`
}

func describeMachine(folder string) (benchMachine, error) {
	m := benchMachine{CPUs: runtime.GOMAXPROCS(0), CPU: "unknown processor", Go: runtime.Version(), Version: version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(text, m.CPU)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, fmt.Errorf("asking for the kernel's name: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return m, fmt.Errorf("asking for the file system of %s: %w", folder, err)
	}
	m.FileSystem = fileSystem(int64(stat.Type))
	return m, nil
}

// cpuModel is the first "model name" of /proc/cpuinfo. Not every architecture has one.
func cpuModel(text []byte, otherwise string) string {
	for line := range bytes.Lines(text) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return otherwise
}

// fileSystem names what statfs(2) numbers, for file systems that people put stores on.
func fileSystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs (memory: syncing costs nothing there)"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	}
	return fmt.Sprintf("file system %#x", magic)
}

// cpuTick is the unit of /proc/<pid>/stat: USER_HZ, which is 100 on every architecture that Go supports on Linux.
const cpuTick = time.Second / 100

// cpuTime is how much processor time a process has used, in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("reading a server's CPU time: %w", err)
	}
	return parseStat(text)
}

// parseStat adds utime and stime, fields 14 and 15 of /proc/<pid>/stat (proc(5)). Field 2 is the program's name in
// brackets and may itself hold brackets and blanks, so counting starts behind its last one.
func parseStat(text []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3
	malformed := errors.New("/proc/<pid>/stat is not as proc(5) describes it")
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, malformed
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= stime {
		return 0, malformed
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, malformed
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return 0, malformed
	}
	return time.Duration(user+system) * cpuTick, nil
}

// peakMemory is the most physical memory that a process has had, in bytes.
func peakMemory(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("reading a server's memory: %w", err)
	}
	return parsePeak(text)
}

// parsePeak reads VmHWM from /proc/<pid>/status.
func parsePeak(text []byte) (int64, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		number, ok := strings.CutSuffix(strings.TrimSpace(string(rest)), " kB")
		if kib, err := strconv.ParseInt(number, 10, 64); ok && err == nil {
			return kib << 10, nil
		}
		break
	}
	return 0, errors.New("/proc/<pid>/status does not say VmHWM in kB")
}

// diskUsage is what the files below a folder take on the disk, as du counts it.
func diskUsage(folder string) (int64, error) {
	var size int64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed by the gateway since it was listed
		}
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			size += stat.Blocks * 512 // stat(2): in blocks of 512, whatever the file system's own
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring the store: %w", err)
	}
	return size, nil
}

// written is how long the files below a folder are without the zeros at their ends, which are space taken in advance.
func written(folder string) (int64, error) {
	var size int64
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		n, err := contentLength(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		size += n
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measuring the journal: %w", err)
	}
	return size, nil
}

func contentLength(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	block := make([]byte, 64<<10)
	for end := info.Size(); end > 0; {
		begin := max(end-int64(len(block)), 0)
		if _, err := f.ReadAt(block[:end-begin], begin); err != nil {
			return 0, err
		}
		if content := bytes.TrimRight(block[:end-begin], "\x00"); len(content) > 0 {
			return begin + int64(len(content)), nil
		}
		end = begin
	}
	return 0, nil
}

package main

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoCoreDump: a gateway that dies of a signal which makes others leave a core leaves none.
func TestNoCoreDump(t *testing.T) {
	must(t, refuseCoreDumps())
	got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	must(t, err)
	must(t, unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)) // this process is one test's among many
	if got != 0 {
		t.Errorf("the process is still dumpable: %d", got)
	}

	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_CORE, &before))
	wanted := unix.Rlimit{Cur: before.Max, Max: before.Max} // which the gateway inherits
	if before.Max == 0 {
		wanted = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &wanted); err != nil {
		t.Skipf("this machine lets nobody leave a core, and root alone could change that: %v", err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_CORE, &before) })
	t.Setenv("GOTRACEBACK", "crash")
	i := startGateway(t)
	must(t, i.cmd.Process.Signal(syscall.SIGABRT))
	<-i.exited
	status, ok := i.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.CoreDump() {
		t.Errorf("it ended with %v", i.cmd.ProcessState)
	}
}

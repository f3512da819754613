package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// refuseCoreDumps keeps the process's memory, in which keys and passwords are in the clear for as long as they are used, out
// of files: the kernel writes no core of it, also where cores go to a program and a limit would not count, and no other
// process of the same user may attach to it (prctl(2), PR_SET_DUMPABLE).
func refuseCoreDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping the process's memory out of core files: %w", err)
	}
	return nil
}

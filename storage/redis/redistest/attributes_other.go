//go:build !linux

package redistest

import "syscall"

// attributes has nothing to offer here: a test process that is killed leaves its servers behind.
func attributes() *syscall.SysProcAttr { return nil }

//go:build !linux

package etcdtest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }

// waitStopped can't wait on this platform; a child stops soon after the signal.
func waitStopped(int) error { return nil }

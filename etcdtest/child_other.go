//go:build !linux

package etcdtest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }

// waitStopped can't wait here; a child stands still soon after the signal.
func waitStopped(int) error { return nil }

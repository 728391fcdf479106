package etcdtest

import "syscall"

// dieWithParent lets the kernel kill the child when this process ends. The end
// of standard input alone would not reach a child that is stopped.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

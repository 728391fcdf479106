package etcdtest

import (
	"os"
	"syscall"
)

// dieWithParent makes the kernel kill the child when this process ends. The end of
// standard input alone would not reach a stopped child.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// waitStopped waits until every thread of a child has stopped after SIGSTOP. Until
// then the child may still answer for a moment.
func waitStopped(pid int) error {
	const byPID = 1 // P_PID
	for {
		// WNOWAIT leaves the child's state for others to wait for.
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), 0, syscall.WSTOPPED|syscall.WNOWAIT, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError("waitid", errno)
		}
	}
}

//go:build unix

package etcdtest

import (
	"os"
	"syscall"
)

// The signals of Server.Stop and Server.Continue.
var (
	stopSignal     os.Signal = syscall.SIGSTOP
	continueSignal os.Signal = syscall.SIGCONT
)

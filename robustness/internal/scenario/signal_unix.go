//go:build unix

package scenario

import (
	"os"
	"syscall"
)

// The signals that suspend a process of contenders and let it go on.
var (
	suspend os.Signal = syscall.SIGSTOP
	goOn    os.Signal = syscall.SIGCONT
)

//go:build !unix

package etcdtest

import "os"

// This platform can't stop a process; see Server.signal.
var stopSignal, continueSignal os.Signal

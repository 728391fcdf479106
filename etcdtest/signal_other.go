//go:build !unix

package etcdtest

import "os"

// A process can't be stopped here; see Server.signal.
var stopSignal, continueSignal os.Signal

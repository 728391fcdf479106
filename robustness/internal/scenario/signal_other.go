//go:build !unix

package scenario

import "os"

// This platform can't suspend a process: the scenario fails.
var suspend, goOn os.Signal = os.Kill, os.Kill

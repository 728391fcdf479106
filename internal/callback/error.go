package callback

import (
	"fmt"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
)

// Error is the error of a function that has panicked.
type Error struct {
	Callback string // the function, as its user knows it: "Config.Credentials"
	Value    any    // of the panic
	Place    string // file, line and function of the panic; empty: not known
	Stack    string
}

func (e *Error) Error() string {
	text := e.Callback + " panicked"
	if e.Place != "" {
		text += " at " + e.Place
	}
	return text + ": " + fmt.Sprint(e.Value)
}

// ErrorOf is the error of a panic. Only a function that is deferred calls it.
func ErrorOf(name string, value any) *Error {
	return &Error{Callback: name, Value: value, Place: place(), Stack: string(debug.Stack())}
}

// place is where the panic of this goroutine began.
func place() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf("%s:%d (%s)", path.Base(f.File), f.Line, path.Base(f.Function))
		}
		if !more {
			return ""
		}
	}
}

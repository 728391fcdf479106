package transport

// errDry is the error of a Read that does not wait, when nothing has arrived. It looks like a
// deadline, after which package tls reads on.
var errDry error = dry{}

type dry struct{}

func (dry) Error() string   { return "nothing has arrived" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

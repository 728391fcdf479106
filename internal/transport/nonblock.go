package transport

// errDry is the error of a Read that does not wait, when nothing has arrived. Package tls takes
// it for a deadline that has passed, and can read on.
var errDry error = dry{}

type dry struct{}

func (dry) Error() string   { return "nothing has arrived" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

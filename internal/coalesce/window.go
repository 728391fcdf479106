package coalesce

import "time"

// window limits how many requests of a queue may be in flight, and so decides when
// calls wait for one another. It is wide while requests are answered at full speed:
// calls need not wait, and go alone. It narrows when requests take longer, because
// the servers or this process are busy: the same calls in fewer requests are less
// work for both. Guarded by queue.mu.
type window struct {
	size int
	// base is how long a request takes when nothing else is in flight; 0 if not
	// known. Only such requests may raise it, because under load all requests are
	// slow.
	base time.Duration
}

const (
	firstWindow = 16
	minWindow   = 2
	maxWindow   = 256
)

func (w *window) init() { w.size = firstWindow }

// note records how long a request took. idle: it was the only one in flight, and no
// call waited. waiting: calls wait now.
func (w *window) note(took time.Duration, idle, waiting bool) {
	switch {
	case w.base == 0 || took < w.base:
		w.base = took
	case idle:
		w.base += (took - w.base) / 8
	}
	switch {
	case took > 2*w.base:
		w.size = max(w.size-1, minWindow)
	case waiting && took <= w.base+w.base/2:
		w.size = min(w.size+1, maxWindow)
	}
}

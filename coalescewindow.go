package etcd

import "time"

// window is how many requests of a line may be under way, and so when calls wait
// for one another. It is wide while requests are answered as fast as they can be:
// then calls have no need to wait, and go alone. It narrows when requests take
// longer than that, because the servers or this process are busy: the same calls
// in fewer requests are less work for both. Guarded by line.mu.
type window struct {
	size int
	// base is how long a request takes when nothing else is under way; 0: not
	// known. It is learned from such requests, and never grows but by them: under
	// load all are slow.
	base time.Duration
}

const (
	firstWindow = 16
	minWindow   = 2
	maxWindow   = 256
)

func (w *window) init() { w.size = firstWindow }

// note says that a request has taken so long. idle: it was the only one under way,
// and no call waited; waiting: calls wait now.
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

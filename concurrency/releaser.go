package concurrency

import (
	"context"
	"errors"
	"sync"
	"time"

	"silly.store/etcd"
)

// maxReleasers bounds concurrent releases; there are several, so that failing ones do
// not hold up the others.
const maxReleasers = 16

// releaser retries releases until they are done: the code that has put a key hands it
// over here when its own context has ended or its attempt has failed. It has goroutines
// only while releases are pending.
type releaser struct {
	co *Coordinator

	mu      sync.Mutex // guards the fields below
	due     []*release
	running int
	paused  map[*release]*time.Timer
	closed  bool
}

// release is one key or lease to be released.
type release struct {
	// do makes an attempt. done: there is nothing left to do, and err is the result.
	do func(ctx context.Context) (done bool, err error)
	// name is logged; it may be empty.
	name string

	done     chan struct{} // closed when it is done; nil if nobody waits for it
	err      error         // its result, once done
	failures int           // used by one goroutine at a time
}

func (r *releaser) add(job *release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		job.over(ErrClosed)
		return
	}
	delete(r.paused, job)
	r.due = append(r.due, job)
	if r.running < maxReleasers {
		r.running++
		r.co.routines.Go(r.run)
	}
}

func (r *releaser) run() {
	for {
		r.mu.Lock()
		if len(r.due) == 0 || r.closed {
			r.running--
			r.mu.Unlock()
			return
		}
		job := r.due[0]
		r.due = r.due[1:]
		r.mu.Unlock()
		r.attempt(job)
	}
}

func (r *releaser) attempt(job *release) {
	done, err := job.do(r.co.life)
	if done || errors.Is(err, etcd.ErrClosed) {
		if err == nil {
			r.co.counters.releases.Add(1)
		}
		job.over(err)
		return
	}
	if job.failures%16 == 0 {
		r.co.warn(r.co.life, "release failed, trying again", "name", job.name, "error", err)
	}
	wait := pauses.Jittered(job.failures)
	job.failures++
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		job.over(ErrClosed)
		return
	}
	if r.paused == nil {
		r.paused = make(map[*release]*time.Timer)
	}
	r.paused[job] = time.AfterFunc(wait, func() { r.add(job) })
}

// close drops what is left: the leases are revoked or are left to their TTLs.
func (r *releaser) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for job, timer := range r.paused {
		if timer.Stop() {
			job.over(ErrClosed)
		}
	}
	for _, job := range r.due {
		job.over(ErrClosed)
	}
	r.due, r.paused = nil, nil
}

func (r *releaser) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.due) + len(r.paused) + r.running
}

func (job *release) over(err error) {
	job.err = err
	if job.done != nil {
		close(job.done)
	}
}

// wait returns the release's result. When ctx ends before, the release goes on.
func (job *release) wait(ctx context.Context) error {
	select {
	case <-job.done:
		return job.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package concurrency

import (
	"context"
	"errors"
	"fmt"
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
	left    []*release // what finish is to release
}

// release is one key or lease to be released.
type release struct {
	// do makes an attempt. done: there is nothing left to do, and err is the result.
	do func(ctx context.Context) (done bool, err error)
	// name is logged; it may be empty.
	name string
	// lasting: no lease takes the key along, so Close of the coordinator waits for it.
	lasting bool

	done     chan struct{} // closed when it is done; nil if nobody waits for it
	err      error         // its result, once done
	failures int           // used by one goroutine at a time
}

func (r *releaser) add(job *release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.leaveLocked(job)
		return
	}
	r.addLocked(job)
}

func (r *releaser) addLocked(job *release) {
	r.due = append(r.due, job)
	if r.running < maxReleasers {
		r.running++
		r.co.routines.Go(r.run)
	}
}

// again makes another attempt after a pause, unless close has taken the job.
func (r *releaser) again(job *release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused[job] != nil {
		delete(r.paused, job)
		r.addLocked(job)
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
		r.leaveLocked(job)
		return
	}
	if r.paused == nil {
		r.paused = make(map[*release]*time.Timer)
	}
	r.paused[job] = time.AfterFunc(wait, func() { r.again(job) })
}

// close leaves what is not released to the leases, which are revoked or live out their TTLs,
// and the rest to finish.
func (r *releaser) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for job, timer := range r.paused {
		timer.Stop()
		r.leaveLocked(job)
	}
	for _, job := range r.due {
		r.leaveLocked(job)
	}
	r.due, r.paused = nil, nil
}

func (r *releaser) leaveLocked(job *release) {
	if job.lasting {
		r.left = append(r.left, job)
	} else {
		job.over(ErrClosed)
	}
}

// finish releases, when no goroutine of the releaser is left, what no lease takes along. When
// ctx ends before, its error names the first that stays.
func (r *releaser) finish(ctx context.Context) error {
	r.mu.Lock()
	left := r.left
	r.left = nil
	r.mu.Unlock()
	var failed error
	for _, job := range left {
		done, err := job.do(ctx)
		for failures := 0; !done && !errors.Is(err, etcd.ErrClosed) && pause(ctx, failures); failures++ {
			done, err = job.do(ctx)
		}
		if job.over(err); !done && failed == nil {
			failed = fmt.Errorf("%q is not released: %w", job.name, err)
		}
	}
	return failed
}

func (r *releaser) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.due) + len(r.paused) + r.running + len(r.left)
}

func (job *release) over(err error) {
	job.err = err
	if job.done != nil {
		close(job.done)
	}
}

// wait waits for the release. It returns false when ctx ends before; the release goes on.
func (job *release) wait(ctx context.Context) (over bool) {
	select {
	case <-job.done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-job.done: // at the same time: nobody may ask for the result again
		return true
	default:
		return false
	}
}

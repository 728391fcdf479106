package history

import (
	"context"
	"sync"
	"time"
)

// Recorder collects a run's history. It is safe for concurrent use.
type Recorder struct {
	zero time.Time

	mu  sync.Mutex // guards the fields below
	run Run
	ids int
}

// NewRecorder starts the clock.
func NewRecorder(run Run) *Recorder {
	run.Began = time.Now()
	return &Recorder{zero: run.Began, run: run}
}

// Now returns the time on the run's clock. It is never 0.
func (r *Recorder) Now() int64 { return max(int64(time.Since(r.zero)), 1) }

// At converts a time of this process to the run's clock.
func (r *Recorder) At(t time.Time) int64 { return int64(t.Sub(r.zero)) }

// Call adds a call that has ended.
func (r *Recorder) Call(c Call) { r.Change(func(run *Run) { run.Calls = append(run.Calls, c) }) }

// Fault records the begin of a fault and returns a function that records its end.
// It sets the fault's times.
func (r *Recorder) Fault(f Fault) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.run.Faults)
	f.From = r.Now()
	r.run.Faults = append(r.run.Faults, f)
	return func() { r.Change(func(run *Run) { run.Faults[i].To = r.Now() }) }
}

// Sample adds a figure under a name.
func (r *Recorder) Sample(name string, d time.Duration) {
	r.Change(func(run *Run) {
		if run.Samples == nil {
			run.Samples = make(map[string][]time.Duration)
		}
		run.Samples[name] = append(run.Samples[name], d)
	})
}

// NewWatch adds a watch. It belongs to its reader until the run is over.
func (r *Recorder) NewWatch(f Filter, requested, before int64) *Watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	w := &Watch{ID: r.ids, Filter: f, Requested: requested, Before: before, Began: r.Now()}
	r.run.Watches = append(r.run.Watches, w)
	return w
}

// Change lets f change the history. f must not retain it.
func (r *Recorder) Change(f func(*Run)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.run)
}

// Finish stops the clock and returns the history. Add nothing afterwards.
func (r *Recorder) Finish() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Took = time.Since(r.zero)
	return &r.run
}

// Cut returns the history so far and begins the next window on the same clock. No
// call, watch or fault may be in progress.
func (r *Recorder) Cut() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.run
	run.Took = time.Since(r.zero)
	r.run = Run{
		Scenario: run.Scenario, Number: run.Number, Client: run.Client, Seed: run.Seed, Began: run.Began,
		Judged: run.Judged, LeasesMayEnd: run.LeasesMayEnd,
	}
	return &run
}

const (
	pulse = 5 * time.Millisecond
	// pause is how late a tick must be to count as a pause of the machine.
	pause = 15 * time.Millisecond
)

// Pauses records, until ctx ends, when this process did not get the CPU: delays at
// such times are not the client's fault.
func (r *Recorder) Pauses(ctx context.Context) {
	last := r.Now()
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := r.Now()
		if late := now - last - int64(pulse); late > int64(pause) {
			r.Change(func(run *Run) { run.Pauses = append(run.Pauses, Pause{last, now}) })
		}
		last = now
	}
}

// Interner keeps one copy of each string: a history names the same keys and
// values many times, and the clients' strings would keep whole messages alive.
// Safe for concurrent use.
type Interner struct {
	mu    sync.Mutex // guards known
	known map[string]string
}

// NewInterner returns an empty interner.
func NewInterner() *Interner { return &Interner{known: make(map[string]string)} }

// Bytes returns the string of b.
func (in *Interner) Bytes(b []byte) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s, ok := in.known[string(b)]; ok {
		return s
	}
	s := string(b)
	in.known[s] = s
	return s
}

// Forget drops all strings; returned ones stay valid.
func (in *Interner) Forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.known = make(map[string]string)
}

// String returns a copy of s that keeps no other memory alive.
func (in *Interner) String(s string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if t, ok := in.known[s]; ok {
		return t
	}
	t := string([]byte(s))
	in.known[t] = t
	return t
}

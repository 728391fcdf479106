package cache

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/yield"
)

// flight is a linearizable read of the store's revision, which all share that have asked
// before it left, and the wait for the cache to be there.
type flight struct {
	over chan struct{} // closed when the fields below are set

	left     time.Time
	before   *published // the published state when it left
	revision int64      // of the store; 0: the read has failed
	term     uint64
	// now is the state that was published when the cache reached the revision that the
	// flight has found. Nil without an error: the store was reset meanwhile.
	now *published
	err error
}

// covered reports whether a state has reached the revision that the flight has found, or
// is of another history.
func (f *flight) covered(p *published) bool {
	return p.epoch != f.before.epoch || p.revision >= f.revision
}

// flights are the flights of a cache: shared reads of the store's revision. A reader joins
// the one that has not left yet: one that has left may have read the revision before the
// reader's call began.
type flights struct {
	read   func(*flight)
	settle func(*flight) bool // is after read, and reports whether the cache is there
	await  func(*flight)      // waits for that; the next flight does not wait for it
	launch func(func()) bool  // runs it in a goroutine; false: the cache is closed
	closed <-chan struct{}    // with the cache
	turn   yield.Turn         // behind the readers that have been answered

	mu      sync.Mutex // guards the fields below
	next    *flight    // has not left
	inAir   int
	lastOff time.Time     // when the last one left
	trip    time.Duration // how long the last one took
	off     chan struct{} // not nil: closed when next leaves, before its time has come
	landing bool          // one has its answer, and landed is about to be called
}

// leastHeadway is how long a flight waits at least for the one before it to land.
const leastHeadway = 5 * time.Millisecond

// join returns the flight that has not left, and has it leave as soon as that may be.
func (fs *flights) join() *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.next != nil {
		return fs.next
	}
	f := &flight{over: make(chan struct{})}
	fs.next = f
	fs.scheduleLocked()
	return f
}

// scheduleLocked has the next flight leave now, or when its time has come.
func (fs *flights) scheduleLocked() {
	f, headway := fs.next, max(2*fs.trip, leastHeadway)-time.Since(fs.lastOff)
	switch {
	case fs.landing: // landed comes at once
	case fs.inAir == 0 || headway <= 0:
		fs.leaveLocked()
	case fs.off == nil: // the one before it may hang
		off := make(chan struct{})
		fs.off = off
		if !fs.launch(func() { fs.wait(f, headway, off) }) {
			fs.leaveLocked() // and fails
		}
	}
}

// wait has a flight leave although another one is still away.
func (fs *flights) wait(f *flight, headway time.Duration, off <-chan struct{}) {
	timer := time.NewTimer(headway)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-fs.closed: // it fails
	case <-off:
		return
	}
	fs.leaveLate(f)
}

// leaveLocked has the next flight leave.
func (fs *flights) leaveLocked() {
	f := fs.next
	fs.next = nil
	fs.inAir++
	fs.lastOff = time.Now()
	if fs.off != nil {
		close(fs.off)
		fs.off = nil
	}
	if !fs.launch(func() { fs.fly(f) }) {
		fs.inAir--
		f.err = ErrClosed
		close(f.over)
	}
}

func (fs *flights) leaveLate(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.next == f {
		fs.leaveLocked()
	}
}

// fly makes the read, has the next flight leave, if somebody waits for it, and waits for the
// cache.
func (fs *flights) fly(f *flight) {
	f.left = time.Now()
	fs.read(f)
	trip := time.Since(f.left)
	over := f.err != nil || fs.settle(f)
	if over {
		fs.answer(f)
	}
	fs.landed(trip)
	if !over {
		fs.await(f)
		close(f.over)
	}
}

// answer is the end of a flight. A reader that has its answer may ask again at once, and share
// the next flight.
func (fs *flights) answer(f *flight) {
	fs.mu.Lock()
	fs.landing = true
	fs.mu.Unlock()
	close(f.over)
	fs.turn.BehindAll()
}

// landed has the next flight leave, if somebody waits for it.
func (fs *flights) landed(trip time.Duration) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.inAir--
	fs.trip, fs.landing = trip, false
	if fs.next != nil {
		fs.scheduleLocked()
	}
}

// roundTrip is how long the last flight took.
func (fs *flights) roundTrip() time.Duration {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.trip
}

// readIndex makes the read of a flight: of the range's first key, and only whether it is
// there, so that it needs no permission that the cache does not need.
func (ca *Cache) readIndex(f *flight) {
	f.before = ca.current.Load()
	ca.counts.flights.Add(1)
	for range 2 { // the client reports once that the store was reset
		var resp *etcd.GetResponse
		resp, f.err = ca.c.Get(ca.ctx, etcd.GetRequest{Key: cmp.Or(ca.config.Key, "\x00"), CountOnly: true})
		if f.err == nil {
			f.revision, f.term = resp.Header.Revision, resp.Header.RaftTerm
		}
		if !errors.Is(f.err, etcd.ErrHistoryReset) {
			return
		}
	}
}

// launch runs a flight in a goroutine of the cache's, unless that is closed.
func (ca *Cache) launch(fly func()) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if ca.closing {
		return false
	}
	ca.routines.Go(fly)
	return true
}

// proof is that the store was at a revision at some time after a flight had left.
type proof struct {
	left     time.Time
	epoch    int
	revision int64
	term     uint64
}

// fresh joins a flight and returns it when it is over. Its error is that of ctx, or that of
// the flight, which is returned too if it has found a revision.
func (ca *Cache) fresh(ctx context.Context) (*flight, error) {
	f := ca.flights.join()
	select {
	case <-f.over:
	case <-ctx.Done():
		return nil, ca.gaveUp(ctx)
	}
	switch {
	case f.err == nil:
		return f, nil
	case ca.ctx.Err() != nil:
		return nil, ErrClosed
	case f.revision == 0:
		return nil, f.err
	}
	return f, f.err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/etcdtest"
)

// The figures of watches, besides the common ones.
const (
	figWatchBytes      = "watch_bytes"       // live heap per watch, without stacks
	figWatchStackBytes = "watch_stack_bytes" // stacks per watch
	figWatchGoroutines = "watch_goroutines"
	figResume          = "resume_s" // from the cut until every watch has delivered again
)

const (
	// resumeDelay is the one-way delay to the server in watch-resume.
	resumeDelay = time.Millisecond
	// watchRound is the shortest round of idle watches.
	watchRound = 100 * time.Millisecond
)

// watchRows measure watches that replay, fan out, idle and resume.
func watchRows() []row {
	return []row{
		{
			name: "watch-replay", about: "100,000 events of 256 B from history, 4 per revision; an operation is an event",
			callers: []int{1},
			prepare: putEvents,
			run:     runReplay,
		},
		{
			name: "watch-fanout", about: "1,000 watches of one key; an operation is a delivery to one of them",
			callers: []int{1},
			run:     runFanOut,
		},
		{
			name: "watch-idle", about: "10,000 watches without events; an operation is a watch kept for a second",
			callers: []int{1},
			run:     runIdle,
		},
		{
			name: "watch-resume", about: "10,000 watches after a lost connection, 1 ms away each way; an operation is a watch that delivers again",
			callers: []int{1},
			run:     runResume,
		},
	}
}

// replayTxn is the number of events per revision of watch-replay. The server sends
// at most a thousand revisions every 100 ms, so with one event each the row would
// hardly measure the clients. With enough to make the server fragment its responses,
// it would measure etcd, whose time for that grows with the square of the events.
const replayTxn = 4

func putEvents(ctx context.Context, l load, s scale) error {
	const writers = 64
	keys := newKeys("replay/", s.Events)
	v := newValue(valueSize)
	var wg sync.WaitGroup
	var errs [writers]error
	for w := range writers {
		wg.Go(func() {
			for at := w * replayTxn; at < len(keys) && errs[w] == nil; at += writers * replayTxn {
				errs[w] = l.txnPut(ctx, keys[at:min(at+replayTxn, len(keys))], v)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

func runReplay(ctx context.Context, r *round) (figures, error) {
	return r.measure(func() (int64, error) {
		var events int64
		for ends := time.Now().Add(r.length); events == 0 || time.Now().Before(ends); {
			w, err := r.load.watch(ctx, "replay/", true, 1)
			if err != nil {
				return 0, err
			}
			for n := 0; n < r.scale.Events; {
				got, err := w.next(ctx)
				if err != nil {
					return 0, err
				}
				n += got
			}
			w.stop()
			events += int64(r.scale.Events)
		}
		return events, nil
	})
}

// watchSet holds the watches of one client, kept from round to round. After read,
// each has a goroutine that reads it.
type watchSet struct {
	keys                     []string
	watches                  []watching
	bytes, stack, goroutines float64 // per watch

	delivered atomic.Int64
	due       atomic.Int64 // the total of deliveries that wait waits for
	reached   chan struct{}
	failed    chan error
}

// newWatchSet opens one watch per key, a few at a time.
func newWatchSet(ctx context.Context, l load, keys []string) (*watchSet, error) {
	s := &watchSet{
		keys: keys, watches: make([]watching, len(keys)),
		reached: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	// Connect before the watches exist.
	first, err := l.watch(ctx, "first", false, 0)
	if err != nil {
		return nil, err
	}
	defer first.stop()
	heap, stack, goroutines := liveHeap(), liveStack(), runtime.NumGoroutine()
	err = share(len(keys), 64, func(i int) (err error) {
		s.watches[i], err = l.watch(ctx, keys[i], false, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := float64(len(keys))
	s.bytes, s.stack = (liveHeap()-heap)/n, (liveStack()-stack)/n
	s.goroutines = float64(runtime.NumGoroutine()-goroutines) / n
	return s, nil
}

// read counts the watches' deliveries from now until the process ends.
func (s *watchSet) read() {
	for _, w := range s.watches {
		go func() {
			for {
				n, err := w.next(context.Background())
				if err != nil {
					select {
					case s.failed <- err:
					default:
					}
					return
				}
				if total := s.delivered.Add(int64(n)); total >= s.due.Load() && total-int64(n) < s.due.Load() {
					s.reached <- struct{}{}
				}
			}
		}()
	}
}

// expect sets how many further deliveries wait waits for. Call it before the first
// of them can arrive.
func (s *watchSet) expect(n int) { s.due.Store(s.delivered.Load() + int64(n)) }

func (s *watchSet) wait(ctx context.Context) error {
	select {
	case <-s.reached:
		return nil
	case err := <-s.failed:
		return fmt.Errorf("a watch ended: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func runFanOut(ctx context.Context, r *round) (figures, error) {
	key := "fanout/" + r.client // the server has the other client's watches too
	set, ok := r.state.(*watchSet)
	if !ok {
		keys := make([]string, r.scale.FanOut)
		for i := range keys {
			keys[i] = key
		}
		var err error
		if set, err = newWatchSet(ctx, r.load, keys); err != nil {
			return nil, err
		}
		set.read()
		r.state = set
	}
	v := newValue(valueSize)
	return r.measure(func() (int64, error) {
		var deliveries int64
		for ends := time.Now().Add(r.length); deliveries == 0 || time.Now().Before(ends); {
			set.expect(len(set.watches))
			if err := r.load.put(ctx, key, v); err != nil {
				return 0, err
			}
			if err := set.wait(ctx); err != nil {
				return 0, err
			}
			deliveries += int64(len(set.watches))
		}
		return deliveries, nil
	})
}

func runIdle(ctx context.Context, r *round) (figures, error) {
	set, ok := r.state.(*watchSet)
	if !ok {
		var err error
		if set, err = newWatchSet(ctx, r.load, newKeys("idle/"+r.client+"/", r.scale.Watches)); err != nil {
			return nil, err
		}
		r.state = set
	}
	length := max(r.length, watchRound)
	out, err := r.measure(func() (int64, error) {
		select {
		case <-time.After(length):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		return max(1, int64(float64(len(set.watches))*length.Seconds())), nil
	})
	if err != nil {
		return nil, err
	}
	delete(out, figServerCPU) // the server also keeps the other client's watches
	out[figWatchBytes], out[figWatchStackBytes], out[figWatchGoroutines] = set.bytes, set.stack, set.goroutines
	return out, nil
}

// resumeState is the state of watch-resume between rounds.
type resumeState struct {
	way *etcdtest.Proxy
	set *watchSet
}

func runResume(ctx context.Context, r *round) (figures, error) {
	state, ok := r.state.(*resumeState)
	if !ok {
		var err error
		if state, err = newResumeState(ctx, r); err != nil {
			return nil, err
		}
		r.state = state
	}
	set := state.set
	v := newValue(1)
	var took time.Duration
	out, err := r.measure(func() (int64, error) {
		began := time.Now()
		set.expect(len(set.keys))
		state.way.Reset()
		for at := 0; at < len(set.keys); at += txnSize {
			if err := r.load.txnPut(ctx, set.keys[at:min(at+txnSize, len(set.keys))], v); err != nil {
				return 0, err
			}
		}
		err := set.wait(ctx)
		took = time.Since(began)
		return int64(len(set.keys)), err
	})
	if err != nil {
		return nil, err
	}
	// The client's process adds the delay.
	for _, name := range []string{figClientCPU, figAllocs, figBytes} {
		delete(out, name)
	}
	out[figResume] = took.Seconds()
	return out, nil
}

func newResumeState(ctx context.Context, r *round) (*resumeState, error) {
	way, err := etcdtest.NewProxy(r.target.Endpoints[0]) // ends with the process
	if err != nil {
		return nil, err
	}
	way.Set(etcdtest.BothWays, etcdtest.Fault{Delay: resumeDelay})
	l, err := newLoad(r.client, r.coalesce)
	if err != nil {
		return nil, err
	}
	if err := l.open(target{Endpoints: []string{way.Endpoint()}}); err != nil {
		return nil, err
	}
	set, err := newWatchSet(ctx, l, newKeys("resume/"+r.client+"/", r.scale.Resumes))
	if err != nil {
		return nil, err
	}
	set.read()
	return &resumeState{way, set}, nil
}

// liveStack returns the bytes of all stacks.
func liveStack() float64 {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return float64(mem.StackInuse)
}

package mirror

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"silly.store/etcd"
)

const (
	// silentAfter is how long a request waits before that counts as trouble. The client
	// repeats it by itself for about a minute, and returns no error until then.
	silentAfter = time.Second
	// lookEvery is how often that is checked.
	lookEvery = 250 * time.Millisecond
)

// wait is what Run waits for at one side. Its methods do nothing on nil, which is for
// Verify.
type wait struct {
	side   string
	client *etcd.Client

	mu    sync.Mutex // guards the fields below
	since time.Time  // zero: Run waits for nothing here
	err   error      // of the last attempt that has failed
}

// begin notes that a request is made.
func (w *wait) begin() { w.set(time.Now(), nil) }

// end notes that it has ended.
func (w *wait) end() { w.set(time.Time{}, nil) }

func (w *wait) set(since time.Time, err error) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.err = since, err
}

// failed notes why the request is made again.
func (w *wait) failed(err error) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// over yields what a range reads, and notes that it is waited for in between.
func (w *wait) over(of iter.Seq2[etcd.KeyValue, error]) iter.Seq2[etcd.KeyValue, error] {
	return func(yield func(etcd.KeyValue, error) bool) {
		defer w.end()
		w.begin()
		for kv, err := range of {
			if w.end(); !yield(kv, err) {
				return
			}
			w.begin()
		}
	}
}

// trouble is why there is no answer; nil: there may be one soon.
func (w *wait) trouble() error {
	w.mu.Lock()
	since, err := w.since, w.err
	w.mu.Unlock()
	switch {
	case since.IsZero() || time.Since(since) < silentAfter:
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", w.side, err)
	}
	var text strings.Builder
	for _, e := range w.client.Stats().Endpoints {
		fmt.Fprintf(&text, "; %s is %v", e.Endpoint, e.State)
		if e.LastError != "" {
			text.WriteString(": " + e.LastError)
		}
	}
	return fmt.Errorf("%s: no answer for %v%s", w.side, time.Since(since).Round(time.Second), text.String())
}

// watchOutages notes, until ctx ends, what Run waits for in vain.
func (m *Mirror) watchOutages(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, w := range []*wait{m.from, m.to} {
			if err := w.trouble(); err != nil {
				m.trouble(ctx, err)
			}
		}
	}
}

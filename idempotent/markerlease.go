package idempotent

import (
	"context"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// markersPerLease bounds how many markers are deleted at once: etcd deletes the keys of a
// lease in one step, during which it serves nothing else, and with authentication it looks at
// all of them whenever one is put.
const markersPerLease = 256

// slack is how much longer than Config.Keep a lease of markers lives, and so for how long it
// takes new ones.
func slack(keep time.Duration) time.Duration {
	return min(max(keep/4, 10*time.Second), time.Hour)
}

// markerLeases grants the leases of markers. They are not renewed, and outlive the process.
type markerLeases struct {
	granting chan struct{} // capacity 1: a value in it is the right to grant

	mu      sync.Mutex // guards the fields below
	current *etcd.Lease
	left    int // markers that it may still take
}

// take returns a lease that lives for Config.Keep at least.
func (m *markerLeases) take(ctx context.Context, w *Writer) (etcd.LeaseID, error) {
	if lease, ok := m.use(w.config.Keep); ok {
		return lease, nil
	}
	select {
	case m.granting <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-m.granting }()
	if lease, ok := m.use(w.config.Keep); ok {
		return lease, nil // granted meanwhile
	}
	lease, err := w.grantMarkers(ctx)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.left = lease, markersPerLease-1
	return lease.ID, nil
}

// grantMarkers grants a lease for markers. It repeats a Grant of unknown outcome, which costs a
// lease without keys at worst: the write that waits for it was not sent, so its error must not
// be one that etcd.MaybeApplied reports.
func (w *Writer) grantMarkers(ctx context.Context) (*etcd.Lease, error) {
	req := etcd.GrantRequest{TTL: w.config.Keep + slack(w.config.Keep), NoKeepAlive: true}
	for failures := 0; ; failures++ {
		lease, err := w.client.Grant(call.WithCopies(ctx, failures), req)
		if !etcd.MaybeApplied(err) {
			return lease, err
		}
		if !call.Sleep(ctx, pauses.Jittered(failures)) {
			return nil, context.Cause(ctx)
		}
	}
}

// use takes a place on the current lease, if a marker would live there for keep.
func (m *markerLeases) use(keep time.Duration) (etcd.LeaseID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left <= 0 || time.Until(m.current.Deadline()) < keep {
		return 0, false
	}
	m.left--
	return m.current.ID, true
}

// drop has the next marker get another lease.
func (m *markerLeases) drop(lease etcd.LeaseID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current.ID == lease {
		m.left = 0
	}
}

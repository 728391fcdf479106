package scenario

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/robustness/internal/history"
	"silly.store/etcd/robustness/internal/store"
)

// oracle watches every key from the first revision on, on every member through a
// separate client/v3. The first sight of a revision is the truth; the other
// members must show the same.
type oracle struct {
	rec      *history.Recorder
	names    *history.Interner
	routines sync.WaitGroup

	mu        sync.Mutex // guards the fields below and those of witnesses that say so
	revisions map[int64][]history.Event
	highest   int64
	witnesses map[string]*witness // by member
	dropped   int64               // revisions up to here were dropped
	faults    []string
}

// witness watches one member.
type witness struct {
	member  string
	client  *clientv3.Client
	stop    context.CancelFunc
	reached int64 // revision; guarded by oracle.mu
}

func newOracle(w *world) (*oracle, error) {
	o := &oracle{
		rec: w.rec, names: w.names, highest: 1,
		revisions: make(map[int64][]history.Event), witnesses: make(map[string]*witness),
	}
	for _, m := range w.cluster.Members() {
		if err := o.join(w, m); err != nil {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

// join watches one more member.
func (o *oracle) join(w *world, m *etcdtest.Server) error {
	c, err := w.official(m.Endpoints()...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	x := &witness{member: m.Name(), client: c, stop: stop}
	o.mu.Lock()
	o.witnesses[x.member] = x
	o.mu.Unlock()
	o.routines.Go(func() { o.follow(ctx, x) })
	return nil
}

// leave stops watching a member that is about to be removed.
func (o *oracle) leave(m *etcdtest.Server) {
	o.mu.Lock()
	x := o.witnesses[m.Name()]
	delete(o.witnesses, m.Name())
	o.mu.Unlock()
	x.stop()
}

func (o *oracle) close() {
	o.mu.Lock()
	for _, x := range o.witnesses {
		x.stop()
	}
	o.mu.Unlock()
	o.routines.Wait()
}

// follow watches one member. After a compaction error it resumes at the compacted
// revision: the others must have seen the revisions before.
func (o *oracle) follow(ctx context.Context, x *witness) {
	defer func() { _ = x.client.Close() }() // the only error is that it is closed
	next := int64(1)
	for ctx.Err() == nil {
		watch, cancel := context.WithCancel(ctx)
		for r := range x.client.Watch(watch, "\x00", clientv3.WithFromKey(), clientv3.WithRev(next)) {
			if r.CompactRevision > 0 {
				next = r.CompactRevision
			}
			if n := len(r.Events); n > 0 {
				o.add(x, r.Events)
				next = r.Events[n-1].Kv.ModRevision + 1
			}
		}
		cancel()
	}
}

// add takes the events of whole revisions from a member.
func (o *oracle) add(x *witness, events []*clientv3.Event) {
	now := o.rec.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(events) > 0 {
		revision, n := events[0].Kv.ModRevision, 1
		for n < len(events) && events[n].Kv.ModRevision == revision {
			n++
		}
		o.addRevisionLocked(x.member, revision, events[:n], now)
		events = events[n:]
		x.reached = revision
		o.highest = max(o.highest, revision)
	}
}

func (o *oracle) addRevisionLocked(member string, revision int64, events []*clientv3.Event, now int64) {
	known, ok := o.revisions[revision]
	if !ok {
		for _, e := range events {
			known = append(known, o.event(e, now))
		}
		o.revisions[revision] = known
		return
	}
	same := len(known) == len(events)
	for i := 0; same && i < len(known); i++ {
		e := o.event(events[i], known[i].At)
		same = e == known[i]
	}
	if !same {
		o.faults = append(o.faults, fmt.Sprintf("member %s disagrees with another on the events of revision %d", member, revision))
	}
}

func (o *oracle) event(e *clientv3.Event, at int64) history.Event {
	return history.Event{
		Revision: e.Kv.ModRevision, Delete: e.Type == mvccpb.Event_DELETE,
		Key: o.names.Bytes(e.Kv.Key), Value: o.names.String(store.Text(string(e.Kv.Value))),
		Created: e.Kv.CreateRevision, Version: e.Kv.Version, Lease: e.Kv.Lease, At: at,
	}
}

// now returns a revision that exists.
func (o *oracle) now() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.highest
}

// reach waits until all members have shown a revision.
func (o *oracle) reach(ctx context.Context, revision int64) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		o.mu.Lock()
		lowest := o.highest
		for _, x := range o.witnesses {
			lowest = min(lowest, x.reached)
		}
		o.mu.Unlock()
		if lowest >= revision {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("an oracle is at revision %d, want %d", lowest, revision)
		}
	}
}

// truth returns all events up to a revision.
func (o *oracle) truth(upTo int64) []history.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	var revisions []int64
	for r := range o.revisions {
		if r <= upTo {
			revisions = append(revisions, r)
		}
	}
	sort.Slice(revisions, func(i, j int) bool { return revisions[i] < revisions[j] })
	var events []history.Event
	for _, r := range revisions {
		events = append(events, o.revisions[r]...)
	}
	return events
}

// drop forgets the revisions up to one that all members have shown.
func (o *oracle) drop(upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := make(map[int64][]history.Event)
	for r, events := range o.revisions {
		if r > upTo {
			kept[r] = events
		}
	}
	o.revisions, o.dropped = kept, upTo
}

// behind returns how many revisions follow one, and when the first of them was seen.
func (o *oracle) behind(revision int64) (n, since int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if next := o.revisions[revision+1]; len(next) > 0 {
		since = next[0].At
	}
	return max(o.highest-revision, 0), since
}

// last returns the last revision up to a bound that a filter lets through; 0 if none.
func (o *oracle) last(upTo int64, matches func(*history.Event) bool) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for r := upTo; r > o.dropped; r-- {
		for i := range o.revisions[r] {
			if matches(&o.revisions[r][i]) {
				return r
			}
		}
	}
	return 0
}

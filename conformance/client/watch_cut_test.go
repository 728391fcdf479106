package client

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/namespaced"
	"silly.store/etcd/etcdtest"
)

var (
	cutSeed = flag.Uint64("cut.seed", 0, "the random choices of TestWatchCuts; 0 takes new ones")
	cutTime = flag.Duration("cut.time", 0, "how long TestWatchCuts goes on; 0 is 3 s, with -slow 2 minutes")
)

func cutDuration() time.Duration {
	switch {
	case *cutTime > 0:
		return *cutTime
	case *slow:
		return 2 * time.Minute
	}
	return 3 * time.Second
}

// Connections are cut at random bytes, in both directions, while writers put,
// delete and run transactions. Each watch must deliver exactly the history from its
// start: no event missing, repeated or out of order, and no revision in two pieces.
func TestWatchCuts(t *testing.T) {
	t.Parallel()
	cutWatches(t, cutting{
		writers: 3, write: writeAtRandom, clients: 40, watches: 4, requests: cutRequests, back: 300, reads: 17, writes: 13,
		duration: cutDuration(), least: 60,
	})
}

// The same for revisions that the server sends in fragments, with cuts between and
// inside fragments. Only deletions can be that large, because of the previous
// values.
func TestWatchCutsInFragments(t *testing.T) {
	t.Parallel()
	cutWatches(t, cutting{
		writers: 1, write: writeLargeRevisions, clients: 4, watches: 2, requests: []etcd.WatchRequest{
			{Key: "k/", Prefix: true, PrevKV: true, Fragment: true}, {Key: "k/", Prefix: true, PrevKV: true, NoPut: true, Fragment: true},
		}, back: 200, reads: 22, writes: 13,
		duration: cutDuration() / 2, least: 5,
	})
}

// cutting configures what a test cuts.
type cutting struct {
	writers  int
	write    func(t *testing.T, c *etcd.Client, random *rand.Rand, stop <-chan struct{})
	clients  int
	watches  int // of each client
	requests []etcd.WatchRequest
	back     int64 // how many revisions back a replay begins, at most
	// A connection ends after up to 2^reads bytes read or 2^writes written.
	reads, writes int
	duration      time.Duration
	least         int64 // minimum number of connections that must be cut
}

func cutWatches(t *testing.T, cutting cutting) {
	seed := *cutSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-cut.seed=%d", seed)
	// The server's fragments are half a megabyte larger than that.
	s, c := private(t, etcdtest.Config{MaxRequestBytes: 32 << 10}, etcd.Config{})
	history := record(t, s)
	var cuts, watches, events atomic.Int64
	began := time.Now()
	stop := make(chan struct{})
	var writers, slots sync.WaitGroup
	for i := range cutting.writers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		writers.Go(func() { cutting.write(t, c, random, stop) })
	}
	for i := range cutting.clients {
		random := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		slots.Go(func() {
			for (time.Since(began) < cutting.duration || cuts.Load() < cutting.least) && !t.Failed() {
				session := &cutSession{cutting: cutting, t: t, server: s, calm: c, random: random, history: history}
				session.run()
				cuts.Add(session.dialer.cuts.Load())
				watches.Add(int64(len(session.logs)))
				for _, log := range session.logs {
					events.Add(int64(len(log.events)))
				}
			}
		})
	}
	slots.Wait()
	close(stop)
	writers.Wait()
	t.Logf("%d connections cut, %d watches, %d events", cuts.Load(), watches.Load(), events.Load())
}

// writeAtRandom keeps a few dozen keys changing.
func writeAtRandom(t *testing.T, c *etcd.Client, random *rand.Rand, stop <-chan struct{}) {
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	ctx := context.Background()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		key := fmt.Sprintf("k/%02d", random.IntN(30))
		value := fmt.Appendf(nil, "%d %0*d", n, random.IntN(120), 0)
		var err error
		switch random.IntN(10) {
		case 0, 1, 2:
			_, err = c.Delete(ctx, etcd.DeleteRequest{Key: key})
		case 3:
			_, err = c.Delete(ctx, etcd.DeleteRequest{Key: "k/1", Prefix: true})
		case 4:
			var then []etcd.Op
			for i := range 30 {
				then = append(then, etcd.PutRequest{Key: fmt.Sprintf("k/%02d", i), Value: value})
			}
			_, err = c.Txn(ctx, etcd.TxnRequest{Then: then})
		default:
			_, err = c.Put(ctx, etcd.PutRequest{Key: key, Value: value})
		}
		if err != nil {
			t.Errorf("writing: %v", err)
			return
		}
	}
}

// writeLargeRevisions writes keys one by one and deletes all of them at once.
func writeLargeRevisions(t *testing.T, c *etcd.Client, random *rand.Rand, stop <-chan struct{}) {
	ctx := context.Background()
	value := make([]byte, 16<<10)
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		for i := range 80 {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if _, err := c.Put(ctx, etcd.PutRequest{Key: fmt.Sprintf("k/%03d", i), Value: value[:10<<10+random.IntN(6<<10)]}); err != nil {
				t.Errorf("writing: %v", err)
				return
			}
		}
		if _, err := c.Delete(ctx, etcd.DeleteRequest{Key: "k/", Prefix: true}); err != nil {
			t.Errorf("writing: %v", err)
			return
		}
	}
}

// cutSession is one client whose connections are cut for a while, and a few watches
// that begin during that time.
type cutSession struct {
	cutting
	t       *testing.T
	server  *etcdtest.Server
	calm    *etcd.Client // its connections are not cut
	random  *rand.Rand
	history *recorded
	dialer  *cuttingDialer
	logs    []*watchLog
}

// watchLog holds the events that one watch delivered.
type watchLog struct {
	req        etcd.WatchRequest
	notBefore  int64 // a revision from before Watch was called
	start      int64
	startKnown int64 // a revision from after Watch had returned
	events     []etcd.Event
}

var cutRequests = []etcd.WatchRequest{
	{Key: "k/", Prefix: true},
	{Key: "k/", Prefix: true, PrevKV: true},
	{Key: "k/", Prefix: true, NoPut: true, PrevKV: true},
	{Key: "k/", Prefix: true, NoDelete: true},
	{Key: "k/05"},
	{Key: "k/11", RangeEnd: "k/14", PrevKV: true},
	{Key: "k/2", FromKey: true},
	{Key: "k/07", ProgressNotify: true},
}

func (s *cutSession) run() {
	s.dialer = &cuttingDialer{reads: s.reads, writes: s.writes, random: rand.New(rand.NewPCG(s.random.Uint64(), 0))}
	c, err := etcd.New(etcd.Config{
		Endpoints: s.server.Endpoints(), DialContext: s.dialer.dial,
		Retry: 10, RetrySleep: 10 * time.Millisecond,
	})
	if err != nil {
		s.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	view := c.Namespace(namespaced.Prefix)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stop := make(chan struct{}) // closed with until set
	var until int64
	var watchers sync.WaitGroup
	for range s.watches {
		log := &watchLog{req: s.requests[s.random.IntN(len(s.requests))]}
		now := s.revision(ctx)
		log.notBefore = now
		switch s.random.IntN(3) {
		case 0:
			log.req.Revision = max(1, now+1-s.random.Int64N(s.back))
		case 1:
			log.req.Revision = now + s.random.Int64N(100)
		}
		s.logs = append(s.logs, log)
		watchers.Go(func() { s.follow(ctx, view, log, stop, &until) })
	}
	faults := time.NewTimer(time.Second + time.Duration(s.random.IntN(1000))*time.Millisecond)
	<-faults.C
	s.dialer.calm.Store(true)
	until = s.revision(ctx)
	close(stop)
	watchers.Wait()
	for _, log := range s.logs {
		s.check(log)
	}
}

func (s *cutSession) revision(ctx context.Context) int64 {
	r, err := s.calm.Get(ctx, etcd.GetRequest{Key: "k/", CountOnly: true})
	if err != nil {
		s.t.Errorf("reading the revision: %v", err)
		return 0
	}
	return r.Header.Revision
}

// follow opens the watch and reads it past the revision until, which is set once
// stop is closed.
func (s *cutSession) follow(ctx context.Context, c *etcd.Client, log *watchLog, stop <-chan struct{}, until *int64) {
	var w *etcd.Watcher
	for {
		var err error
		if w, err = c.Watch(ctx, log.req); err == nil {
			break
		}
		if !errors.Is(err, etcd.ErrUnavailable) || ctx.Err() != nil {
			s.t.Errorf("Watch: %v", err)
			return
		}
		log.notBefore = s.revision(ctx)
	}
	defer func() { _ = w.Close() }()
	log.start = w.Revision()
	log.startKnown = s.revision(ctx)
	for {
		resp, err := w.Read(ctx)
		if err != nil {
			s.t.Errorf("%+v from revision %d, after %d events: %v", log.req, log.start, len(log.events), err)
			return
		}
		if len(resp.Events) == 0 {
			continue
		}
		last := resp.Events[len(resp.Events)-1].KV.ModRevision
		if n := len(log.events); n > 0 && resp.Events[0].KV.ModRevision <= log.events[n-1].KV.ModRevision {
			s.t.Errorf("%+v: a response begins with revision %d, the one before ended with %d", log.req, resp.Events[0].KV.ModRevision, log.events[n-1].KV.ModRevision)
			return
		}
		if resp.Header.Revision < last {
			s.t.Errorf("%+v: a header of revision %d with an event of %d", log.req, resp.Header.Revision, last)
		}
		log.events = append(log.events, resp.Events...)
		select {
		case <-stop:
			if last > *until {
				return
			}
		default:
		}
	}
}

// check compares the events of a watch with the history.
func (s *cutSession) check(log *watchLog) {
	if s.t.Failed() {
		return
	}
	switch {
	case log.req.Revision != 0 && log.start != log.req.Revision:
		s.t.Errorf("%+v starts at %d", log.req, log.start)
	case log.req.Revision == 0 && (log.start <= log.notBefore || log.start > log.startKnown+1):
		s.t.Errorf("%+v starts at %d; it was %d before Watch and %d after it", log.req, log.start, log.notBefore, log.startKnown)
	}
	last := log.events[len(log.events)-1].KV.ModRevision
	want := s.history.expected(log.req, log.start, last)
	got := make([]string, len(log.events))
	for i, ev := range log.events {
		got[i] = full(ev)
	}
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			s.t.Errorf("%+v from revision %d to %d: event %d of %d is\n%s, want (of %d)\n%s", log.req, log.start, last, i, len(got), g, len(want), w)
			return
		}
	}
}

// full formats all fields of an event.
func full(ev etcd.Event) string {
	out := fmt.Sprintf("%s %s=%q %d %d %d", ev.Type, ev.KV.Key, ev.KV.Value, ev.KV.CreateRevision, ev.KV.ModRevision, ev.KV.Version)
	if p := ev.PrevKV; p != nil {
		out += fmt.Sprintf(" was %q %d %d %d", p.Value, p.CreateRevision, p.ModRevision, p.Version)
	}
	return out
}

// cuttingDialer makes real connections that end after a random number of bytes.
type cuttingDialer struct {
	cuts atomic.Int64
	calm atomic.Bool // no more cuts
	// reads and writes are cutting's.
	reads, writes int

	mu     sync.Mutex // guards random
	random *rand.Rand
}

func (d *cuttingDialer) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(n)
}

func (d *cuttingDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	// The server serves watches that are behind every 100 ms, so use gaps both
	// shorter and longer than that.
	if !d.calm.Load() && d.intN(4) == 0 {
		gap := time.NewTimer(time.Duration(d.intN(300)) * time.Millisecond)
		defer gap.Stop()
		select {
		case <-gap.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &cuttingConn{Conn: nc, dialer: d}
	// Small numbers end the connection in the handshake, a creation or a first
	// response.
	c.reads.Store(int64(d.intN(1 << (4 + d.intN(d.reads-3)))))
	c.writes.Store(int64(d.intN(1 << (4 + d.intN(d.writes-3)))))
	return c, nil
}

// cuttingConn ends when either count of bytes is used up.
type cuttingConn struct {
	net.Conn
	dialer        *cuttingDialer
	reads, writes atomic.Int64
	once          sync.Once
}

// spend subtracts n bytes from left, and cuts the connection if fewer are left. It
// returns how many of the bytes may pass.
func (c *cuttingConn) spend(left *atomic.Int64, n int) (int, error) {
	if left.Add(-int64(n)) > 0 || c.dialer.calm.Load() {
		return n, nil
	}
	c.once.Do(func() { c.dialer.cuts.Add(1) })
	rest := max(0, int(left.Load())+n)
	return rest, syscall.ECONNRESET
}

func (c *cuttingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	n, err = c.spend(&c.reads, n)
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

func (c *cuttingConn) Write(b []byte) (int, error) {
	n, cut := c.spend(&c.writes, len(b))
	n, err := c.Conn.Write(b[:n])
	if cut != nil {
		_ = c.Conn.Close()
		return n, cut
	}
	return n, err
}

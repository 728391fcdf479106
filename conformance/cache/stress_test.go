package cache

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/cache"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
)

// written is what the writer of a stress test has been told of.
type written struct {
	number, revision int64
}

// stress is a writer, which puts one number under several keys at once, and readers of a
// cache, which hold their answers against what they know.
type stress struct {
	t     testing.TB
	ca    *cache.Cache
	acked atomic.Pointer[written]
	// seen is the highest revision of an answer of the cache.
	seen atomic.Int64
	stop chan struct{}
}

const stressKeys = 4

func (s *stress) write(c *etcd.Client) {
	for n := int64(1); s.going(); n++ {
		var ops []etcd.Op
		for i := range stressKeys {
			ops = append(ops, etcd.PutRequest{Key: fmt.Sprint(scope, i), Value: strconv.AppendInt(nil, n, 10)})
		}
		resp, err := c.Txn(s.t.Context(), etcd.TxnRequest{Then: ops})
		if err != nil {
			s.t.Error(err)
			return
		}
		s.acked.Store(&written{n, resp.Header.Revision})
		if n%3 == 0 {
			testbed.Put(s.t, c, "out", "1")
		}
	}
}

func (s *stress) going() bool {
	select {
	case <-s.stop:
		return false
	default:
		return !s.t.Failed()
	}
}

func (s *stress) read() {
	for s.going() {
		acked, seen := s.acked.Load(), s.seen.Load()
		f := cache.Local
		least := int64(0)
		switch rand.IntN(4) {
		case 0:
			f, least = cache.Linearizable, acked.number
		case 1:
			f, least = cache.AtLeast(acked.revision), acked.number
		case 2:
			f = cache.Within(time.Second)
		}
		if rand.IntN(2) == 0 {
			s.readAll(f, least, seen)
			continue
		}
		r, err := s.ca.Get(testbed.Within(s.t, 30*time.Second), fmt.Sprint(scope, rand.IntN(stressKeys)), f)
		switch n, _ := strconv.ParseInt(string(r.KV.Value), 10, 64); {
		case err != nil:
			s.t.Error(err)
		case n < least:
			s.t.Errorf("%+v: number %d of revision %d, but %d was written before, at %d", f, n, r.Revision, acked.number, acked.revision)
		case r.FromServer:
		case r.Revision < seen:
			s.t.Errorf("%+v: an answer of revision %d after one of %d", f, r.Revision, seen)
		default:
			s.saw(r.Revision)
		}
	}
}

// readAll reads all keys, which have one number.
func (s *stress) readAll(f cache.Freshness, least, seen int64) {
	sn, err := s.ca.Snapshot(testbed.Within(s.t, 30*time.Second), f)
	if err != nil {
		s.t.Error(err)
		return
	}
	first, _ := sn.Get(scope + "0")
	for kv := range sn.All(scope) {
		if string(kv.Value) != string(first.Value) || kv.ModRevision != first.ModRevision {
			s.t.Errorf("half of a revision: %s=%s, %s=%s", first.Key, first.Value, kv.Key, kv.Value)
		}
	}
	if n, _ := strconv.ParseInt(string(first.Value), 10, 64); n < least || sn.Revision() < seen || sn.Len() != stressKeys || first.ModRevision > sn.Revision() {
		s.t.Errorf("%+v: a snapshot with %d of revision %d with %d keys; %d was written, %d seen", f, n, sn.Revision(), sn.Len(), least, seen)
	}
	s.saw(sn.Revision())
}

func (s *stress) saw(revision int64) {
	for {
		seen := s.seen.Load()
		if revision <= seen || s.seen.CompareAndSwap(seen, revision) {
			return
		}
	}
}

// Under cuts and compactions, no answer is older than it may be, none goes back, and each is
// of one revision.
func TestReadsUnderFaults(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	direct := testbed.Connect(t, etcd.Config{Endpoints: server.Endpoints()})
	proxy := etcdtest.StartProxy(t, server.Endpoints()[0])
	s := &stress{t: t, stop: make(chan struct{})}
	s.acked.Store(&written{})
	var routines sync.WaitGroup
	routines.Go(func() { s.write(direct) })
	for s.acked.Load().number == 0 && s.going() {
		if _, err := direct.Get(t.Context(), etcd.GetRequest{Key: scope}); err != nil {
			t.Fatal(err)
		}
	}
	s.ca = caching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}))
	for range 8 {
		routines.Go(s.read)
	}
	for range 12 {
		proxy.Reset()
		snapshot(t, s.ca, cache.AtLeast(s.acked.Load().revision)) // it is back
		proxy.Silence(true)
		proxy.Reset()
		now := s.acked.Load()
		for s.acked.Load().number < now.number+20 && s.going() {
			testbed.Put(t, direct, "out", "1")
		}
		if _, err := direct.Compact(t.Context(), etcd.CompactRequest{Revision: s.acked.Load().revision}); err != nil {
			t.Error(err)
		}
		proxy.Silence(false)
		proxy.Reset()
		snapshot(t, s.ca, cache.Linearizable)
	}
	close(s.stop)
	routines.Wait()
	if st := s.ca.Stats(); st.Resyncs == 0 || st.Epoch != 1 {
		t.Errorf("%+v", st)
	}
}

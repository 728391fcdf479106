package mirror

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// fill puts keys at the source, from first on.
func (s *sides) fill(n, size int, first int) {
	s.t.Helper()
	const each = 100
	var next atomic.Int64
	var putting sync.WaitGroup
	for range 8 {
		putting.Go(func() {
			for {
				from := int(next.Add(each)) - each
				if from >= n {
					return
				}
				ops := make([]etcd.Op, 0, each)
				for i := from; i < min(from+each, n); i++ {
					ops = append(ops, etcd.PutRequest{Key: fmt.Sprintf("%s%08d", s.config.Prefix, first+i), Value: make([]byte, size)})
				}
				if _, err := s.src.Txn(s.t.Context(), etcd.TxnRequest{Then: ops}); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	putting.Wait()
}

// A mirror that is behind catches up with 20,000 changes a second, ten in each revision. With one
// in each, etcd's replay of history is the limit, see docs/mirror.md.
func TestThroughput(t *testing.T) {
	changes := 2000
	if *slow {
		changes = 100_000
	}
	s := between(t)
	m, end := s.begin()
	s.reaches(m, s.put("first", "1"))
	s.stopped(end)
	s.change(changes)
	last := s.put("last", "1")
	begun := time.Now()
	m, end = s.begin()
	s.reaches(m, last)
	rate := float64(changes) / time.Since(begun).Seconds()
	st := m.Status()
	t.Logf("%.0f changes a second, in %d Txns", rate, st.Txns)
	if st.Copies != 0 || st.Changes != int64(changes)+1 {
		t.Errorf("%+v", st)
	}
	if *slow && rate < 20_000 {
		t.Errorf("%.0f changes a second", rate)
	}
	s.equal(m)
	s.stopped(end)
}

// change makes changes at the source, ten in each revision.
func (s *sides) change(changes int) {
	s.t.Helper()
	const each, writers = 10, 16
	var putting sync.WaitGroup
	for w := range writers {
		putting.Go(func() {
			for i := w * each; i < changes; i += writers * each {
				var ops []etcd.Op
				for k := i; k < i+each; k++ {
					ops = append(ops, etcd.PutRequest{Key: fmt.Sprint(s.config.Prefix, k%5000), Value: make([]byte, 100)})
				}
				if _, err := s.src.Txn(s.t.Context(), etcd.TxnRequest{Then: ops}); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	putting.Wait()
}

// A first copy takes at most 64 MiB, however many keys there are.
func TestMemory(t *testing.T) {
	keys := 20_000
	if *slow {
		keys = 1_000_000
	}
	s := between(t)
	if *slow {
		s.src = connect(t, etcdtest.StartProcess(t, testbed.Quick).Endpoints()[0])
		s.dst = connect(t, etcdtest.StartProcess(t, testbed.Quick).Endpoints()[0])
	}
	s.fill(keys, 256, 0)
	last := s.put("last", "1")
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	begun := time.Now()
	m, end := s.begin()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(5 * time.Minute); m.Status().Revision < last; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%+v", m.Status())
		}
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}
	t.Logf("%d keys in %v; the heap was %d MiB before, %d MiB at most", keys, time.Since(begun), before.HeapInuse>>20, peak>>20)
	if peak > before.HeapInuse+64<<20 {
		t.Errorf("the heap had %d MiB", peak>>20)
	}
	if r := s.equal(m); r.Keys != int64(keys)+1 {
		t.Errorf("%+v", r)
	}
	s.stopped(end)
}

// At 1,000 changes a second a change is at the target within 100 ms.
func TestLag(t *testing.T) {
	changes := 500
	if *slow {
		changes = 10_000
	}
	s := between(t)
	m, end := s.begin()
	s.reaches(m, s.put("first", "1"))
	w, err := s.dst.Watch(t.Context(), etcd.WatchRequest{Key: s.config.DestPrefix + "at", Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sent := make([]atomic.Int64, changes)
	begun := time.Now()
	var putting sync.WaitGroup
	putting.Go(func() { s.putSteadily(begun, sent) })
	var lags, said []time.Duration
	for len(lags) < changes {
		resp, err := w.Read(testbed.Within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, m.Status().Lag())
		for _, e := range resp.Events {
			var i int
			if _, err := fmt.Sscanf(string(e.KV.Value), "%d", &i); err != nil {
				t.Fatal(err)
			}
			lags = append(lags, time.Since(begun)-time.Duration(sent[i].Load()))
		}
	}
	putting.Wait()
	took := time.Since(begun)
	slices.Sort(lags)
	slices.Sort(said)
	t.Logf("%.0f changes a second: there after %v (median), %v (99%%), %v at most; Status says %v (median), %v (99%%)",
		float64(changes)/took.Seconds(), lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1], said[len(said)/2], said[len(said)*99/100])
	if *slow && lags[len(lags)*99/100] > 100*time.Millisecond {
		t.Errorf("1 of 100 changes is there after more than %v", lags[len(lags)*99/100])
	}
	if m.Status().Phase != mirror.Following {
		t.Errorf("%+v", m.Status())
	}
	s.stopped(end)
}

// putSteadily puts a change each millisecond, and notes when.
func (s *sides) putSteadily(begun time.Time, sent []atomic.Int64) {
	var putting sync.WaitGroup
	defer putting.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(sent); {
		<-tick.C
		for due := int(time.Since(begun) / time.Millisecond); i < min(due, len(sent)); i++ {
			n := i
			putting.Go(func() {
				sent[n].Store(int64(time.Since(begun)))
				if _, err := s.src.Put(s.t.Context(), etcd.PutRequest{Key: fmt.Sprint(s.config.Prefix, "at", n), Value: fmt.Append(nil, n)}); err != nil {
					s.t.Error(err)
				}
			})
		}
	}
}

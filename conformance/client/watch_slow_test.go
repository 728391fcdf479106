package client

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// A reader is half as fast as the writers all the time, under ten minutes' worth of
// writes (100 per second of 1 KiB; written faster). Its memory stays within its
// bound, it sees every event once, and it costs the server little more than a
// reader that keeps up. Not parallel: it measures.
func TestWatchSlowReaderCosts(t *testing.T) {
	writes := 4000
	if *slow {
		writes = 60_000
	}
	fast := lagging{writes: writes}.run(t)
	behind := lagging{writes: writes, slow: true}.run(t)
	t.Logf("%d writes: server CPU %v, with a slow reader %v; it was up to %d events behind, the heap grew by up to %d KiB",
		writes, fast.cpu, behind.cpu, behind.most, behind.grown>>10)
	if behind.most < int64(writes)/10 {
		t.Errorf("the slow reader was never more than %d events behind", behind.most)
	}
	// Its buffer, a response once or twice, and the stream's window.
	if limit := int64(4<<20 + 2*(2<<20) + 1<<20); behind.grown > limit {
		t.Errorf("the heap grew by %d KiB, want at most %d", behind.grown>>10, limit>>10)
	}
	if *slow && behind.cpu > fast.cpu*3/2 {
		t.Errorf("the server took %v of CPU with a slow reader, %v with a fast one", behind.cpu, fast.cpu)
	}
}

// lagging is a watch under many writes.
type lagging struct {
	writes int
	slow   bool // the reader takes an event when two have been written
}

// lagged is the result.
type lagged struct {
	cpu   time.Duration // of the server
	most  int64         // the most events by which the reader was behind
	grown int64         // of the heap, in bytes
}

func (l lagging) run(t *testing.T) (out lagged) {
	s, writing := private(t, etcdtest.Config{}, etcd.Config{})
	watching := connect(t, etcd.Config{Endpoints: s.Endpoints()})
	w := watch(t, watching, etcd.WatchRequest{Key: "k/", Prefix: true})
	first := w.Revision()
	heapBefore, cpuBefore := heap(), serverCPU(t, s)
	written := make(chan struct{})
	var done atomic.Int64
	var writers sync.WaitGroup
	const n = 8
	value := make([]byte, 1<<10)
	for i := range n {
		writers.Go(func() {
			for j := i; j < l.writes; j += n {
				if _, err := writing.Put(context.Background(), etcd.PutRequest{Key: fmt.Sprintf("k/%d", i), Value: value}); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	go func() { writers.Wait(); close(written) }()
	for seen := 0; seen < l.writes && !t.Failed(); {
		resp := read(t, w)
		for _, ev := range resp.Events {
			if want := first + int64(seen); ev.KV.ModRevision != want {
				t.Fatalf("an event of revision %d, want %d", ev.KV.ModRevision, want)
			}
			seen++
		}
		if next := int64(min(2*seen, l.writes)); l.slow && done.Load() < next {
			for done.Load() < next && !t.Failed() {
				busy(time.Millisecond)
			}
			out.grown = max(out.grown, heap()-heapBefore)
		}
		out.most = max(out.most, done.Load()-int64(seen))
	}
	<-written
	out.cpu = serverCPU(t, s) - cpuBefore
	return out
}

// busy is a reader's work.
func busy(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// serverCPU returns the CPU time of the server's process so far; zero on platforms
// that do not report it.
func serverCPU(t *testing.T, s *etcdtest.Server) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * (time.Second / 100)
}

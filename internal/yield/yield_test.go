package yield

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"silly.store/etcd/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const callers = 200

// woken has the callers block, and wakes them, the last one by way of wait. It returns how
// many had run when that returned.
func woken(wait func(last func())) int {
	var ran atomic.Int64
	var all sync.WaitGroup
	asleep, wake := make(chan struct{}, callers), make([]chan struct{}, callers)
	for i := range wake {
		wake[i] = make(chan struct{})
		all.Go(func() {
			asleep <- struct{}{}
			<-wake[i]
			ran.Add(1)
		})
	}
	for range callers {
		<-asleep
	}
	runtime.Gosched() // the last one may be about to block
	for _, w := range wake[1:] {
		w <- struct{}{}
	}
	wait(func() { wake[0] <- struct{}{} })
	n := int(ran.Load())
	all.Wait()
	return n
}

// All that were woken have run when Behind returns. The scheduler may run one of its own
// goroutines in between, and with -race it runs them in any order.
func TestBehind(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	turn := New()
	for name, wait := range map[string]func(last func()){
		"Behind":    turn.Behind,
		"BehindAll": func(last func()) { last(); turn.BehindAll() },
	} {
		const rounds = 50
		full := 0
		for range rounds {
			if woken(wait) == callers {
				full++
			}
		}
		if full < rounds/2 && !race {
			t.Errorf("%s: all had run in %d of %d rounds only", name, full, rounds)
		}
	}
}

// Several goroutines may use one Turn, and each goes on.
func TestTogether(t *testing.T) {
	turn := New()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				turn.BehindAll()
			}
		})
	}
	all.Wait()
}

// Each request of several calls has its Turn.
func TestAllocations(t *testing.T) {
	turn := New()
	if n := testing.AllocsPerRun(100, turn.BehindAll); n > 0 && !race {
		t.Errorf("%v allocations", n)
	}
}

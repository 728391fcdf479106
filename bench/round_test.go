package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestTimedCountsAndMeasures(t *testing.T) {
	const callers = 2*maxHistograms + 1
	r := &round{callers: callers, length: 30 * time.Millisecond}
	var counts [callers]int
	f, err := r.timed(t.Context(), func(caller int) operation {
		return operation{do: func(_ context.Context, seq int) error {
			if seq != counts[caller] {
				return errors.New("operations are not numbered from 0")
			}
			counts[caller]++
			return nil
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	total, recorded := 0, int64(0)
	for i := range counts {
		total += counts[i]
	}
	for _, h := range r.hists {
		recorded += h.total()
	}
	if recorded != int64(total) {
		t.Errorf("%d operations, %d latencies", total, recorded)
	}
	if f[figOps] <= 0 || f[figP99] < f[figP50] {
		t.Errorf("figures are %v", f)
	}
	// The loop itself must not affect the clients' figures.
	if f[figAllocs] > 0.01 {
		t.Errorf("the measuring loop allocates %v times per operation", f[figAllocs])
	}
}

func TestTimedDoesTheLeastAndKeepsAfterOutOfTheLatency(t *testing.T) {
	r := &round{callers: 1}
	done, after := 0, 0
	f, err := r.timed(t.Context(), func(int) operation {
		return operation{
			least: 3,
			do:    func(context.Context, int) error { done++; return nil },
			after: func() error {
				after++
				for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
				}
				return nil
			},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if done != 3 || after != 3 {
		t.Errorf("%d operations and %d times after, want 3", done, after)
	}
	if f[figP50] > 4000 || f[figOps] > 200 {
		t.Errorf("p50 %v µs, %v ops/s: the latency is without what comes after, the rate with it", f[figP50], f[figOps])
	}
}

func TestTimedReportsAnError(t *testing.T) {
	broken := errors.New("broken")
	r := &round{callers: 4, length: time.Millisecond}
	for name, op := range map[string]operation{
		"do":    {do: func(_ context.Context, seq int) error { return broken }},
		"after": {do: func(context.Context, int) error { return nil }, after: func() error { return broken }},
	} {
		_, err := r.timed(t.Context(), func(caller int) operation {
			if caller != 2 {
				return operation{do: func(context.Context, int) error { return nil }}
			}
			return op
		})
		if !errors.Is(err, broken) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestMeasureDividesByOperations(t *testing.T) {
	r := &round{serverPID: []int{os.Getpid()}}
	start := time.Now()
	busy := func() time.Duration { // of this process, however much of a CPU the machine gives it
		if d, ok := clientCPU(); ok {
			return d
		}
		return time.Since(start)
	}
	var keep [][]byte
	f, err := r.measure(func() (int64, error) {
		for began := busy(); busy() < began+20*time.Millisecond; {
		}
		for range 1000 {
			keep = append(keep, make([]byte, 4096))
		}
		return 100, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(keep)
	if f[figAllocs] < 10 || f[figAllocs] > 12 || f[figBytes] < 40_960 {
		t.Errorf("10 allocations of 4 kB per operation read as %v and %v B", f[figAllocs], f[figBytes])
	}
	if runtime.GOOS != "linux" {
		return
	}
	// Both clocks measure this process, which was busy for 200 µs per operation.
	ours, server := f[figClientCPU], f[figServerCPU]
	if ours < 200 || server < 0.8*ours || server > 1.5*ours+100 {
		t.Errorf("CPU per operation: %v µs by getrusage, %v µs by the process's clock", ours, server)
	}
}

func TestMeasureRefusesNothing(t *testing.T) {
	r := &round{}
	if f, err := r.measure(func() (int64, error) { return 0, nil }); err == nil {
		t.Errorf("a round without operations has figures %v", f)
	}
}

func TestHeapWatchSeesThePeak(t *testing.T) {
	h := watchHeap()
	h.reset()
	big := make([]byte, 64<<20)
	h.read()
	runtime.KeepAlive(big)
	big = nil
	runtime.GC()
	if peak := h.stop(); peak < 64<<20 {
		t.Errorf("peak is %d, want at least 64 MiB", peak)
	}
}

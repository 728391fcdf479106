package scenario

import (
	"math"
	"runtime"
	"testing"
)

// What a package's functions have allocated and started does not count.
func TestOutside(t *testing.T) {
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = profileRate
	const own, none, size = "silly.store/etcd/robustness/internal/scenario.", "no/such/package.", 8 << 20
	heapBefore, goroutinesBefore := heapOutside(own), goroutinesOutside(own)
	ballast, stop := make([]byte, size), make(chan struct{})
	go func() { <-stop }()
	defer close(stop)
	if all, outside := heapOutside(none), heapOutside(own); all-outside < size || math.Abs(outside-heapBefore) > size/8 {
		t.Errorf("the heap is %.0f, outside %.0f, before %.0f", all, outside, heapBefore)
	}
	if all, outside := goroutinesOutside(none), goroutinesOutside(own); all < outside+1 || outside != goroutinesBefore {
		t.Errorf("%.0f goroutines, outside %.0f, before %.0f", all, outside, goroutinesBefore)
	}
	runtime.KeepAlive(ballast)
}

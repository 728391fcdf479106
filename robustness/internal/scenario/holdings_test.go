package scenario

import (
	"math"
	"runtime"
	"testing"
)

// The heap and goroutines of a package's functions are counted separately.
func TestOutside(t *testing.T) {
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = profileRate
	const own, none, size = "silly.store/etcd/robustness/internal/scenario.", "no/such/package.", 8 << 20
	heapBefore, goroutinesBefore := heapOf(own), goroutinesOutside(own)
	ballast, stop := make([]byte, size), make(chan struct{})
	go func() { <-stop }()
	defer close(stop)
	runtime.GC()
	runtime.GC() // the profile lags one collection behind
	if grown := heapOf(own) - heapBefore; math.Abs(grown-size) > size/100 || heapOf(none) != 0 {
		t.Errorf("%.0f bytes more, nobody has %.0f", grown, heapOf(none))
	}
	if all, outside := goroutinesOutside(none), goroutinesOutside(own); all < outside+1 || outside != goroutinesBefore {
		t.Errorf("%.0f goroutines, outside %.0f, before %.0f", all, outside, goroutinesBefore)
	}
	runtime.KeepAlive(ballast)
}

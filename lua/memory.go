package lua

import (
	goruntime "runtime"
	"runtime/metrics"
	"time"
)

// watchMemory ends the program when the heap has reached MaxMemory with all garbage
// collected.
func (r *runtime) watchMemory() {
	const interval = 20 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		if heapBytes() < r.script.MaxMemory {
			continue
		}
		goruntime.GC()
		if heapBytes() >= r.script.MaxMemory {
			r.kill(ErrMemory)
		}
	}
}

// heapBytes is the size of all objects on the heap of the process.
func heapBytes() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

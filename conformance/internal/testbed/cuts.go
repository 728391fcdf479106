package testbed

import (
	"sync"
	"time"

	"silly.store/etcd/etcdtest"
)

// Cuts resets the connections through the proxy after pauses that begin with first and grow, so
// that work gets done between them. The function that it returns ends that and waits for the end.
func Cuts(proxy *etcdtest.Proxy, first time.Duration) (end func()) {
	done := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for pause := first; ; pause = pause * 9 / 8 {
			select {
			case <-time.After(pause):
				proxy.Reset()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		cutter.Wait()
	}
}

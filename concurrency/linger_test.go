package concurrency

import (
	"testing"

	"silly.store/etcd"
)

// Regression: a lock that was lost as soon as it was acquired began a chain that nothing ended,
// with a watch and a goroutine that stayed until the mutex was used again.
func TestLostLockDoesNotLinger(t *testing.T) {
	c, err := etcd.New(etcd.Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	co, err := New(c, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer co.Close(t.Context())
	for _, phase := range []holding{holdingLost, holdingReleased, holdingHeld} {
		q := plainQueue(co, "n", nil)
		co.lingers.attend(&Lock{p: &place{q: &q}, phase: phase})
		co.lingers.mu.Lock()
		if g := co.lingers.all[q.root]; (g != nil) != (phase == holdingHeld) {
			t.Errorf("phase %d: %+v", phase, g)
		}
		co.lingers.mu.Unlock()
	}
}

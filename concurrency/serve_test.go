package concurrency

import (
	"context"
	"sync"
	"testing"
)

// endsBetween is a context that ends after it was asked once.
type endsBetween struct {
	context.Context
	once sync.Once
}

func (c *endsBetween) Err() (err error) {
	err = c.Context.Err()
	c.once.Do(func() { err = nil })
	return err
}

// Regression: a goroutine for holders that was about to end could take the signal for the one
// that had begun in its place. Nobody read the watch then, and a holder did not learn that its
// lock was lost.
func TestServeLeavesTheSignal(t *testing.T) {
	over, end := context.WithCancel(t.Context())
	end()
	for range 50 {
		h := &hub{of: new(hubs), reading: true, nudge: make(chan struct{}, 1)}
		h.nudge <- struct{}{}
		h.serve(&endsBetween{Context: over})
		if len(h.nudge) != 1 {
			t.Fatal("the signal is gone")
		}
	}
}

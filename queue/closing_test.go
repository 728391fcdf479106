package queue

import (
	"context"
	"testing"
	"testing/synctest"
)

// Regression: a Take that began to claim right after the last call had left was no longer
// waited for by Close, which then did not give its item back.
func TestCloseWaitsForWhatBeganMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := new(Queue)
		if !q.enter() {
			t.Fatal("a new queue is closed")
		}
		closed := false
		go func() {
			closed = q.awaitIdle(context.Background()) == nil
		}()
		synctest.Wait()
		q.leave()
		began := q.enter()
		synctest.Wait()
		if began == closed {
			t.Fatalf("began to claim: %v, closed: %v", began, closed)
		}
		if began {
			q.leave()
			synctest.Wait()
		}
		if !closed || q.enter() {
			t.Error("Close waits although nothing is claimed, or lets claims begin")
		}
	})
}

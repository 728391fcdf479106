package etcd

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Regression: the receiver of a stream that its only watch had left waited for the watch's
// reader too, and could take the only signal that there was room. The stream that the watch was
// on then, and its reader, waited for each other for good.
func TestRoomIsForTheStreamOfTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former, now := new(watchStream), new(watchStream)
		w := &Watcher{hub: &watchHub{observer: new(observer)}, maxBuffer: 10}
		w.placeLocked(now, 1, 0)
		w.pushLocked(&WatchResponse{}, 10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var goesOn atomic.Bool
		go w.waitRoom(ctx, former)
		synctest.Wait()
		go func() {
			w.waitRoom(ctx, now)
			goesOn.Store(ctx.Err() == nil)
		}()
		synctest.Wait()
		if goesOn.Load() {
			t.Error("the stream goes on without room")
		}
		if _, err := w.Read(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !goesOn.Load() {
			t.Error("the stream does not go on although there is room")
		}
	})
}

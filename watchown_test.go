package etcd

import (
	"testing"
	"testing/synctest"
	"time"
)

// A watch with OwnStream shares its stream with no other one, neither at first nor when it
// has moved.
func TestOwnStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		_, shared, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 50})
		w, own, create := begin(t, c, m, WatchRequest{Key: "own", Revision: 50, OwnStream: true, BufferBytes: 2000})
		beginOn(t, c, shared, WatchRequest{Key: "b", Revision: 50})
		begin(t, c, m, WatchRequest{Key: "own", Revision: 50, OwnStream: true})

		// A slow reader stays where it is: the server waits.
		large := puts("own", 61)[0]
		large.KV.Value = make([]byte, 3000)
		own.send(eventsOf(create.WatchID, puts("own", 60)...), eventsOf(create.WatchID, large))
		synctest.Wait()
		if len(own.Came()) > 0 || w.State().SlowReader {
			t.Errorf("it was moved: %+v", w.State())
		}
		wantNext(t, w, 60)
		wantNext(t, w, 61)

		m.Cut(nil)
		keys := map[string]int{}
		for range 3 {
			s := m.next(t)
			key := s.created(t).Key
			if key != "own" {
				key += s.created(t).Key
			}
			keys[key]++
		}
		if keys["own"] != 2 || keys["ab"]+keys["ba"] != 1 {
			t.Errorf("resumed on streams like this: %v", keys)
		}
	})
}

// The server drops questions for progress while the watch is behind. On a stream of its
// own they are repeated soon.
func TestOwnStreamAsksSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatchMember("127.0.0.1:1")
		c := watched(t, Config{}, m)
		w, s, _ := begin(t, c, m, WatchRequest{Key: "a", Revision: 50, OwnStream: true})
		for revision := int64(100); revision <= 200; revision += 100 {
			m.set(func(m *watchMember) { m.revision = revision }) // so that it is not ahead
			reads := m.readCount()
			w.RequestProgress()
			time.Sleep(time.Second + time.Millisecond)
			if n := len(s.Came()); n < 20 || n > 26 {
				t.Errorf("asked %d times in a second", n)
			}
			if n := m.readCount() - reads; n > 2 {
				t.Errorf("%d reads in a second", n)
			}
			s.send(watchResponse{Header: ResponseHeader{Revision: revision}, WatchID: allWatches})
			if resp, err := w.Read(soon(t)); err != nil || !resp.IsProgress() || resp.Unreliable || resp.Header.Revision != revision {
				t.Errorf("response %+v, error %v", resp, err)
			}
			time.Sleep(time.Second)
			s.Came()
			time.Sleep(time.Minute)
			if n := len(s.Came()); n != 0 {
				t.Errorf("asked %d times after the answer", n)
			}
		}
	})
}

// A progress response says when it is not to be relied on.
func TestUnreliableProgress(t *testing.T) {
	for version, unreliable := range map[string]bool{"3.5.12": true, "3.5.13": false, "3.7.3": false} {
		synctest.Test(t, func(t *testing.T) {
			m := newWatchMember("127.0.0.1:1")
			m.version = version
			c := watched(t, Config{}, m)
			w, s, create := begin(t, c, m, WatchRequest{Key: "a", Revision: 50, ProgressNotify: true})
			s.send(watchResponse{Header: ResponseHeader{Revision: 100}, WatchID: create.WatchID})
			if resp, err := w.Read(soon(t)); err != nil || !resp.IsProgress() || resp.Unreliable != unreliable {
				t.Errorf("%s: response %+v, error %v", version, resp, err)
			}
		})
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// watch opens a watch that closes with the test.
func watch(t testing.TB, c *etcd.Client, req etcd.WatchRequest) *etcd.Watcher {
	t.Helper()
	w, err := c.Watch(within(t, 20*time.Second), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// read returns the next response.
func read(t testing.TB, w *etcd.Watcher) *etcd.WatchResponse {
	t.Helper()
	resp, err := w.Read(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// readUntil reads up to the event of the marker's key, and returns the earlier
// events as text, without the keys' prefix.
func readUntil(t testing.TB, w *etcd.Watcher, prefix, marker string) []string {
	t.Helper()
	var out []string
	for {
		for _, ev := range read(t, w).Events {
			if ev.KV.Key == marker {
				return out
			}
			out = append(out, text(ev, prefix))
		}
	}
}

// text shows an event like "PUT a=2 (was 1)" or "DELETE a (was 2)".
func text(ev etcd.Event, prefix string) string {
	s := ev.Type.String() + " " + strings.TrimPrefix(ev.KV.Key, prefix)
	if ev.Type == etcd.EventPut {
		s += "=" + string(ev.KV.Value)
	}
	if ev.PrevKV != nil {
		s += " (was " + string(ev.PrevKV.Value) + ")"
	}
	return s
}

func remove(t testing.TB, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// Each field, on future events and on the same events from history.
func TestWatchFields(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	tests := map[string]struct {
		req     etcd.WatchRequest // keys without the test's prefix
		want    []string
		deletes bool // the marker that ends the test must be a deletion
	}{
		"key":       {req: etcd.WatchRequest{Key: "a"}, want: []string{"PUT a=1", "PUT a=2", "DELETE a"}},
		"prefix":    {req: etcd.WatchRequest{Key: "b", Prefix: true}, want: []string{"PUT b=1", "PUT bb=1", "DELETE bb"}},
		"range end": {req: etcd.WatchRequest{Key: "a", RangeEnd: "bb"}, want: []string{"PUT a=1", "PUT b=1", "PUT a=2", "DELETE a"}},
		"previous": {req: etcd.WatchRequest{Key: "", Prefix: true, PrevKV: true}, want: []string{
			"PUT a=1", "PUT b=1", "PUT bb=1", "PUT a=2 (was 1)", "DELETE a (was 2)", "DELETE bb (was 1)", "PUT c=1",
		}},
		"no puts":         {req: etcd.WatchRequest{Key: "", Prefix: true, NoPut: true}, want: []string{"DELETE a", "DELETE bb"}, deletes: true},
		"no deletes":      {req: etcd.WatchRequest{Key: "", Prefix: true, NoDelete: true}, want: []string{"PUT a=1", "PUT b=1", "PUT bb=1", "PUT a=2", "PUT c=1"}},
		"no puts, before": {req: etcd.WatchRequest{Key: "", Prefix: true, NoPut: true, PrevKV: true}, want: []string{"DELETE a (was 2)", "DELETE bb (was 1)"}, deletes: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := t.Name() + "/"
			// The marker lies in every watched range: each case watches the
			// marker's key, or a range that begins there.
			req := test.req
			req.Key = prefix + req.Key
			if req.RangeEnd != "" {
				req.RangeEnd = prefix + req.RangeEnd
			}
			marker := req.Key + "\x00marker"
			if !req.Prefix && req.RangeEnd == "" {
				req.RangeEnd = marker + "\x00"
			}
			live := watch(t, c, req)

			first := put(t, c, prefix+"a", "1")
			put(t, c, prefix+"b", "1")
			put(t, c, prefix+"bb", "1")
			put(t, c, prefix+"a", "2")
			remove(t, c, prefix+"a")
			remove(t, c, prefix+"bb")
			put(t, c, prefix+"c", "1")
			before := put(t, c, "elsewhere/"+prefix, "")
			mark := func() {
				if test.deletes {
					put(t, c, marker, "")
					remove(t, c, marker)
				} else {
					put(t, c, marker, "")
				}
			}
			mark()
			if got := readUntil(t, live, prefix, marker); !slices.Equal(got, test.want) {
				t.Errorf("live: %q, want %q", got, test.want)
			}
			if rev := live.Revision(); rev > first {
				t.Errorf("the watch starts at revision %d, behind the first event's %d", rev, first)
			}
			req.Revision = first
			replay := watch(t, c, req)
			if got := readUntil(t, replay, prefix, marker); !slices.Equal(got, test.want) {
				t.Errorf("replay: %q, want %q", got, test.want)
			}
			if rev := replay.Revision(); rev != first {
				t.Errorf("the replay starts at revision %d, want %d", rev, first)
			}
			// From a revision after all of them there are only new events.
			req.Revision = before + 1
			behind := watch(t, c, req)
			mark()
			if got := readUntil(t, behind, prefix, marker); len(got) != 0 {
				t.Errorf("from revision %d: %q, want nothing", before+1, got)
			}
		})
	}
}

// Ranges that contain everything, and so need their own server.
func TestWatchWideRanges(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	all := watch(t, c, etcd.WatchRequest{Prefix: true})
	allFrom := watch(t, c, etcd.WatchRequest{FromKey: true})
	from := watch(t, c, etcd.WatchRequest{Key: "m", FromKey: true})
	high := watch(t, c, etcd.WatchRequest{Key: "\xff", Prefix: true})
	for _, key := range []string{"\x00", "a", "m", "z", "\xff\xff", "zz"} {
		put(t, c, key, "1")
	}
	want := func(w *etcd.Watcher, keys ...string) {
		t.Helper()
		var got []string
		for len(got) < len(keys) {
			for _, ev := range read(t, w).Events {
				got = append(got, ev.KV.Key)
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("%q, want %q", got, keys)
		}
	}
	want(all, "\x00", "a", "m", "z", "\xff\xff", "zz")
	want(allFrom, "\x00", "a", "m", "z", "\xff\xff", "zz")
	want(from, "m", "z", "\xff\xff", "zz")
	want(high, "\xff\xff")
}

// A watch waits for a future revision and delivers no events before it, even after
// the watch has moved.
func TestWatchFutureRevision(t *testing.T) {
	t.Parallel()
	s, c := private(t, etcdtest.Config{}, etcd.Config{})
	d := newDialer()
	faulty := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial})
	now := put(t, c, "k", "0")
	w := watch(t, faulty, etcd.WatchRequest{Key: "k", Revision: now + 10})
	if w.Revision() != now+10 {
		t.Errorf("it starts at revision %d, want %d", w.Revision(), now+10)
	}
	confirmed := w.Header()
	if confirmed.Revision != now || confirmed.ClusterID == 0 || confirmed.MemberID == 0 || confirmed.RaftTerm == 0 {
		t.Errorf("confirmed with %+v at revision %d", confirmed, now)
	}
	for i := 1; i <= 15; i++ {
		if i == 5 || i == 9 {
			d.cutAll()
		}
		put(t, c, "k", fmt.Sprint(i))
	}
	for i := 10; i <= 15; {
		for _, ev := range read(t, w).Events {
			if want := fmt.Sprint(i); string(ev.KV.Value) != want || ev.KV.ModRevision != now+int64(i) {
				t.Fatalf("event %s at revision %d, want %s at %d", ev.KV.Value, ev.KV.ModRevision, want, now+int64(i))
			}
			i++
		}
	}
	if again := w.Header(); again != confirmed {
		t.Errorf("the header is %+v after the watch has moved", again)
	}
}

// A transaction with many keys is one response, although the server sends it in
// fragments.
func TestWatchRevisionsAreAtomic(t *testing.T) {
	t.Parallel()
	// A fragment is half a megabyte larger than a request may be.
	s, c := private(t, etcdtest.Config{MaxRequestBytes: 32 << 10}, etcd.Config{})
	first := put(t, c, "k/0", "1")
	value := make([]byte, 200)
	var revisions []int64
	live := watch(t, c, etcd.WatchRequest{Key: "k/", Prefix: true, PrevKV: true})
	for range 20 {
		var then []etcd.Op
		for i := range 100 {
			then = append(then, etcd.PutRequest{Key: fmt.Sprintf("k/%03d", i), Value: value})
		}
		resp, err := c.Txn(t.Context(), etcd.TxnRequest{Then: then})
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, resp.Header.Revision)
	}
	// A deletion with the previous pairs is three fragments.
	for range 2 {
		for i := range 100 {
			put(t, c, fmt.Sprintf("k/%03d", i), strings.Repeat("v", 16<<10))
		}
		resp, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: "k/", Prefix: true})
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, resp.Header.Revision)
	}
	replay := watch(t, connect(t, etcd.Config{Endpoints: s.Endpoints()}),
		etcd.WatchRequest{Key: "k/", Prefix: true, PrevKV: true, Revision: first + 1})
	for name, w := range map[string]*etcd.Watcher{"live": live, "replay": replay} {
		var events []etcd.Event // of one response
		for _, want := range revisions {
			for len(events) == 0 || events[0].KV.ModRevision < want { // single puts between
				if len(events) > 0 {
					events = events[1:]
				} else {
					events = read(t, w).Events
				}
			}
			n := 0
			for n < len(events) && events[n].KV.ModRevision == want {
				n++
			}
			if n < 100 {
				t.Fatalf("%s: %d events of revision %d in one response of %d events", name, n, want, len(events))
			}
			events = events[n:]
		}
	}
}

// A watch from now delivers nothing from before the call and everything after it.
func TestWatchStartsExactly(t *testing.T) {
	t.Parallel()
	c := connect(t, etcd.Config{})
	key := t.Name()
	stop := make(chan struct{})
	var writers []<-chan error
	for range 3 {
		writers = append(writers, async(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if _, err := c.Put(context.Background(), etcd.PutRequest{Key: key}); err != nil {
					return err
				}
			}
		}))
	}
	for range 25 { // each takes the server 100 ms, because the watch starts behind
		before := put(t, c, key, "")
		w := watch(t, c, etcd.WatchRequest{Key: key})
		after := put(t, c, key, "")
		if rev := w.Revision(); rev <= before || rev > after {
			t.Fatalf("the watch starts at revision %d; a put before it had %d, one after it %d", rev, before, after)
		}
		// Every version of the key from there on, from any writer.
		var last etcd.KeyValue
		for last.ModRevision < after {
			for _, ev := range read(t, w).Events {
				if ev.KV.ModRevision < w.Revision() {
					t.Fatalf("an event of revision %d, below the start %d", ev.KV.ModRevision, w.Revision())
				}
				if last.Version != 0 && ev.KV.Version != last.Version+1 {
					t.Fatalf("version %d follows %d", ev.KV.Version, last.Version)
				}
				if last.Version == 0 {
					at := get(t, c, etcd.GetRequest{Key: key, Revision: w.Revision() - 1})
					if ev.KV.Version != at.KVs[0].Version+1 {
						t.Fatalf("the first event is version %d, that before the start %d", ev.KV.Version, at.KVs[0].Version)
					}
				}
				last = ev.KV
			}
		}
		_ = w.Close()
	}
	close(stop)
	for _, w := range writers {
		if err := await(t, w); err != nil {
			t.Error(err)
		}
	}
}

// askProgress asks until there is an answer: the server does not answer while a
// watch on the same stream is behind.
func askProgress(t testing.TB, w *etcd.Watcher) *etcd.WatchResponse {
	t.Helper()
	for end := within(t, 20*time.Second); ; {
		w.RequestProgress()
		ctx, cancel := context.WithTimeout(end, 50*time.Millisecond)
		resp, err := w.Read(ctx)
		cancel()
		if err == nil {
			return resp
		}
		if end.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// Nothing at all changes on a server. The server reports no progress to a watch from
// now; the client does.
func TestWatchProgressOnAQuietStore(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{WatchProgressInterval: 100 * time.Millisecond}, etcd.Config{})
	now := put(t, c, "other", "")
	for _, req := range []etcd.WatchRequest{{Key: "k", ProgressNotify: true}, {Key: "k", Revision: now + 5, ProgressNotify: true}} {
		if resp := read(t, watch(t, c, req)); !resp.IsProgress() || resp.Header.Revision != now || resp.Header.MemberID == 0 {
			t.Errorf("%+v: response %+v, want progress at revision %d", req, resp, now)
		}
	}
}

// Beside a watch that waits for a revision to come, the server answers no question for
// progress on the stream; on its own stream a watch has its answer at once.
func TestWatchOwnStream(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{}, etcd.Config{})
	watch(t, c, etcd.WatchRequest{Key: "k", Revision: 1_000_000})
	own := watch(t, c, etcd.WatchRequest{Key: "k", Revision: 1, OwnStream: true})
	watch(t, c, etcd.WatchRequest{Key: "k", Revision: 1_000_000})
	if s := c.Stats(); s.Watches != 3 || s.WatchStreams != 2 {
		t.Errorf("%d watches on %d streams, want 3 on 2", s.Watches, s.WatchStreams)
	}
	var took []time.Duration
	for range 20 {
		now := put(t, c, "other", "")
		began := time.Now()
		own.RequestProgress()
		for resp := read(t, own); !resp.IsProgress() || resp.Unreliable || resp.Header.Revision < now; resp = read(t, own) {
			own.RequestProgress()
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("progress took %v in the median, %v at most", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 200*time.Millisecond {
		t.Errorf("progress took %v in the median", took[len(took)/2])
	}
}

// Watches get periodic progress only if they ask for it, and also on request.
func TestWatchProgress(t *testing.T) {
	t.Parallel()
	_, c := private(t, etcdtest.Config{WatchProgressInterval: 100 * time.Millisecond}, etcd.Config{})
	quiet := watch(t, c, etcd.WatchRequest{Key: "k"})
	told := watch(t, c, etcd.WatchRequest{Key: "k", ProgressNotify: true})
	rev := put(t, c, "other", "")
	for n := 0; n < 3; {
		resp := read(t, told)
		if !resp.IsProgress() || resp.Header.MemberID == 0 {
			t.Fatalf("response %+v, want progress", resp)
		}
		if resp.Header.Revision >= rev { // the first may be of where the watch began
			n++
		}
	}
	put(t, c, "k", "1")
	if resp := read(t, quiet); resp.IsProgress() {
		t.Errorf("a watch that asked for no progress got %+v", resp)
	}
	for {
		resp := read(t, told)
		if !resp.IsProgress() {
			break
		}
	}

	slow := etcdtest.StartProcess(t, etcdtest.Config{})
	c = connect(t, etcd.Config{Endpoints: slow.Endpoints()})
	asking := watch(t, c, etcd.WatchRequest{Key: "k"})
	both := watch(t, c, etcd.WatchRequest{Key: "k", NoPut: true, NoDelete: true, Revision: 1})
	for _, w := range []*etcd.Watcher{asking, both} {
		put(t, c, "k", "2")
		now := put(t, c, "other", "")
		for w == asking {
			if len(read(t, w).Events) > 0 {
				break
			}
		}
		resp := askProgress(t, w)
		if !resp.IsProgress() || resp.Header.Revision < now {
			t.Errorf("response %+v, want progress at revision %d", resp, now)
		}
		if w == asking {
			continue
		}
		for range 5 {
			put(t, c, "k", "3")
		}
		remove(t, c, "k")
		for resp.Header.Revision < now+6 {
			if resp = askProgress(t, w); !resp.IsProgress() {
				t.Fatalf("a watch without puts and deletions got %+v", resp)
			}
		}
	}
}

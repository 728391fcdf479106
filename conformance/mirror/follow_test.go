package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// sink keeps what it is given, and says what that was.
type sink struct {
	said  chan string
	pairs map[string]string
	fail  error // of Apply
}

func (s *sink) Reset(_ context.Context, _ int64, pairs iter.Seq2[etcd.KeyValue, error]) error {
	s.pairs = make(map[string]string)
	for kv, err := range pairs {
		if err != nil {
			return err
		}
		s.pairs[kv.Key] = string(kv.Value)
	}
	s.said <- fmt.Sprint("reset ", s.pairs)
	return nil
}

func (s *sink) Apply(_ context.Context, _ int64, changes []mirror.Change) error {
	for _, ch := range changes {
		if ch.KV == nil {
			delete(s.pairs, ch.Key)
		} else {
			s.pairs[ch.Key] = string(ch.KV.Value)
		}
	}
	s.said <- fmt.Sprint("apply ", len(changes), " ", s.pairs)
	return s.fail
}

func (s *sink) Progress(context.Context, int64) error { return nil }

// A sink gets the state, each revision whole, and after a loss of history the state again; one
// that has a revision goes on behind it.
func TestFollow(t *testing.T) {
	t.Parallel()
	server := etcdtest.StartProcess(t, testbed.Quick)
	proxy := etcdtest.StartProxy(t, server.Endpoints()[0])
	c, away := connect(t, server.Endpoints()[0]), connect(t, proxy.Endpoint())
	txn := func(ops ...etcd.Op) int64 {
		resp, err := c.Txn(t.Context(), etcd.TxnRequest{Then: ops})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	put := func(key, value string) etcd.Op { return etcd.PutRequest{Key: key, Value: []byte(value)} }
	txn(put("k/a", "1"), put("k/b", "1"), put("out", "1"))
	follow := func(s *sink, c *etcd.Client, revision int64) (end func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- mirror.Follow(ctx, c, mirror.FollowRequest{Key: "k/", Prefix: true, Revision: revision}, s)
		}()
		return func() error {
			cancel()
			return <-done
		}
	}
	s := &sink{said: make(chan string)}
	want := func(text string) {
		t.Helper()
		select {
		case got := <-s.said:
			if got != text {
				t.Errorf("%q, want %q", got, text)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("waited in vain for %q", text)
		}
	}
	end := follow(s, away, 0)
	want("reset map[k/a:1 k/b:1]")
	revision := txn(put("k/a", "2"), etcd.DeleteRequest{Key: "k/b"}, put("out", "2"))
	want("apply 2 map[k/a:2]")
	proxy.Silence(true)
	proxy.Reset()
	last := txn(put("k/c", "3"))
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	txn(put("k/d", "4"))
	proxy.Silence(false)
	proxy.Reset()
	if got := <-s.said; got != "apply 1 map[k/a:2 k/c:3]" { // the watch begins at last, which is compacted but still there
		if got != "reset map[k/a:2 k/c:3 k/d:4]" {
			t.Errorf("after a compaction %q", got)
		}
	} else {
		want("apply 1 map[k/a:2 k/c:3 k/d:4]")
	}
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	end = follow(s, c, last)
	want("apply 1 map[k/a:2 k/c:3 k/d:4]")
	_ = end()
	end = follow(s, c, revision-1)
	want("reset map[k/a:2 k/c:3 k/d:4]")
	s.fail = etcd.ErrCompacted // it is the sink's, whatever it is
	txn(put("k/a", "5"))
	want("apply 1 map[k/a:5 k/c:3 k/d:4]")
	if err := end(); !errors.Is(err, etcd.ErrCompacted) {
		t.Error(err)
	}
}

package v3compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// A script uses a clientv3.Client and records the results.
type script struct {
	*testing.T
	client *clientv3.Client
	lines  []string
}

func (s *script) line(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *script) put(key, value string, opts ...clientv3.OpOption) int64 {
	s.Helper()
	resp, err := s.client.Put(within(s, 20*time.Second), key, value, opts...)
	if err != nil {
		s.Fatal(err)
	}
	return resp.Header.Revision
}

// read records n responses of a channel, or fewer and the end of the channel.
func (s *script) read(ch clientv3.WatchChan, n int) {
	s.Helper()
	for range n {
		select {
		case resp, ok := <-ch:
			if !ok {
				s.line("closed")
				return
			}
			s.response(&resp)
		case <-time.After(20 * time.Second):
			s.Fatalf("no response; until then:\n%s", strings.Join(s.lines, "\n"))
		}
	}
}

// ended waits for the end of a channel. When client/v3 is closed, a response with
// an error may or may not precede the end.
func (s *script) ended(ch clientv3.WatchChan) {
	s.Helper()
	for {
		select {
		case resp, ok := <-ch:
			if !ok {
				s.line("closed")
				return
			}
			if !resp.Canceled {
				s.Fatalf("%+v instead of the end", resp)
			}
		case <-time.After(20 * time.Second):
			s.Fatal("the channel is not closed")
		}
	}
}

func (s *script) response(r *clientv3.WatchResponse) {
	s.line("created %v, canceled %v, compacted %d, progress %v, revision %d, error %v",
		r.Created, r.Canceled, r.CompactRevision, r.IsProgressNotify(), r.Header.GetRevision(), r.Err())
	for _, ev := range r.Events {
		s.line("  create %v, modify %v, %s", ev.IsCreate(), ev.IsModify(), plain(ev))
	}
}

// playedAlike plays a script with client/v3 and with ours, each on its own server,
// and compares the records.
func playedAlike(t *testing.T, play func(s *script)) {
	t.Helper()
	config := etcdtest.Config{Heartbeat: 10 * time.Millisecond}
	theirs, err := clientv3.New(clientv3.Config{Endpoints: etcdtest.StartConfig(t, config).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	ours, err := v3compat.New(clientv3.Config{Endpoints: etcdtest.StartConfig(t, config).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	want, got := &script{T: t, client: theirs}, &script{T: t, client: ours}
	play(want)
	play(got)
	if !slices.Equal(got.lines, want.lines) {
		t.Errorf("ours:\n%s\nclient/v3's:\n%s", strings.Join(got.lines, "\n"), strings.Join(want.lines, "\n"))
	}
}

func TestWatchesAlike(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(*script){
		"from now": func(s *script) {
			s.put("a", "0")
			ch := s.client.Watch(s.Context(), "a", clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
			s.read(ch, 1)
			s.put("a", "1")
			s.read(ch, 1)
			s.put("b", "1")
			s.put("a", "")
			s.read(ch, 1)
			_, _ = s.client.Delete(s.Context(), "a")
			s.read(ch, 1)
		},
		"from the past": func(s *script) {
			first := s.put("a/1", "0")
			s.put("a/2", "0")
			_, _ = s.client.Delete(s.Context(), "a/1")
			ch := s.client.Watch(s.Context(), "a/", clientv3.WithPrefix(), clientv3.WithRev(first))
			s.read(ch, 1)
			ch = s.client.Watch(s.Context(), "", clientv3.WithFromKey(), clientv3.WithRev(first), clientv3.WithFilterPut())
			s.read(ch, 1)
			ch = s.client.Watch(s.Context(), "a/1", clientv3.WithRange("a/2"), clientv3.WithRev(first), clientv3.WithFilterDelete())
			s.read(ch, 1)
		},
		"from a negative revision": func(s *script) {
			s.put("a", "0")
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithRev(-1)), 1)
		},
		"from the future": func(s *script) {
			now := s.put("a", "0")
			ch := s.client.Watch(s.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(now+2))
			s.put("a", "1")
			s.put("a", "2")
			s.read(ch, 1)
		},
		"a transaction": func(s *script) {
			ch := s.client.Watch(s.Context(), "a", clientv3.WithPrefix())
			_, err := s.client.Txn(s.Context()).Then(clientv3.OpPut("a1", "1"), clientv3.OpPut("b", "1"), clientv3.OpPut("a2", "2")).Commit()
			s.line("%v", err)
			s.read(ch, 1)
		},
		"a lease": func(s *script) {
			lease, err := s.client.Grant(s.Context(), 1)
			if err != nil {
				s.Fatal(err)
			}
			ch := s.client.Watch(s.Context(), "a", clientv3.WithFilterPut())
			s.put("a", "1", clientv3.WithLease(lease.ID))
			s.read(ch, 1)
		},
		"compacted": func(s *script) {
			first := s.put("a", "0")
			last := s.put("a", "1")
			_, err := s.client.Compact(s.Context(), last)
			s.line("%v", err)
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithRev(first)), 2)
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithRev(first), clientv3.WithCreatedNotify()), 3)
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithRev(last)), 1)
		},
		"progress": func(s *script) {
			ch := s.client.Watch(s.Context(), "a")
			s.line("%v", s.client.RequestProgress(s.Context()))
			s.read(ch, 1)
			s.put("b", "")
			s.line("%v", s.client.RequestProgress(s.Context()))
			s.read(ch, 1)
			s.line("%v", s.client.RequestProgress(clientv3.WithRequireLeader(s.Context())))
			s.put("a", "")
			s.read(ch, 1)
		},
		"the context ends": func(s *script) {
			ctx, cancel := context.WithCancel(s.Context())
			ch := s.client.Watch(ctx, "a")
			cancel()
			s.read(ch, 1)
			s.read(s.client.Watch(ctx, "a", clientv3.WithCreatedNotify()), 1)
		},
		"the watcher is closed": func(s *script) {
			ch := s.client.Watch(s.Context(), "a")
			s.line("%v", s.client.Watcher.Close())
			s.ended(ch)
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithCreatedNotify()), 1)
			s.line("%v", s.client.RequestProgress(s.Context()) != nil)
			s.line("%v", s.client.Watcher.Close())
		},
		"the client is closed": func(s *script) {
			ch := s.client.Watch(s.Context(), "a")
			s.line("%v", s.client.Close())
			s.ended(ch)
			s.read(s.client.Watch(s.Context(), "a", clientv3.WithCreatedNotify()), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playedAlike(t, play)
		})
	}
}

func TestLeasesAlike(t *testing.T) {
	t.Parallel()
	granted := func(s *script, ttl int64) clientv3.LeaseID {
		lease, err := s.client.Grant(s.Context(), ttl)
		if err != nil {
			s.line("Grant %d: %v (%T)", ttl, err, err)
			return 0
		}
		s.line("Grant %d: TTL %d, revision %d, error %q", ttl, lease.TTL, lease.Revision, lease.Error)
		return lease.ID
	}
	left := func(s *script, id clientv3.LeaseID) {
		resp, err := s.client.TimeToLive(s.Context(), id, clientv3.WithAttachedKeys())
		if err != nil {
			s.line("TimeToLive: %v (%T)", err, err)
			return
		}
		s.line("TimeToLive: of it %v, negative %v, granted %d, keys %q", resp.ID == id, resp.TTL < 0, resp.GrantedTTL, resp.Keys)
	}
	once := func(s *script, id clientv3.LeaseID) {
		resp, err := s.client.KeepAliveOnce(s.Context(), id)
		if resp == nil {
			s.line("KeepAliveOnce: %v (%T)", err, err)
			return
		}
		s.line("KeepAliveOnce: of it %v, TTL %d, header %v, %v (%T)", resp.ID == id, resp.TTL, resp.ResponseHeader != nil, err, err)
	}
	for name, play := range map[string]func(*script){
		"calls": func(s *script) {
			for _, ttl := range []int64{60, 1, 0, -1, 9_000_000_000, 9_000_000_001} {
				granted(s, ttl)
			}
			id := granted(s, 60)
			s.put("a", "", clientv3.WithLease(id))
			left(s, id)
			once(s, id)
			all, err := s.client.Leases(s.Context())
			s.line("%v, %v", err, slices.Contains(all.Leases, clientv3.LeaseStatus{ID: id}))
			for _, id := range []clientv3.LeaseID{id, id, 0, 12345} {
				resp, err := s.client.Revoke(s.Context(), id)
				s.line("Revoke: %v, %v (%T)", resp != nil && resp.Header.GetRevision() > 0, err, err)
				left(s, id)
				once(s, id)
			}
		},
		"keep-alive": func(s *script) {
			id := granted(s, 60)
			ctx, cancel := context.WithCancel(s.Context())
			defer cancel()
			ch, err := s.client.KeepAlive(ctx, id)
			s.line("%v", err)
			resp := <-ch
			s.line("of it %v, TTL %d, header %v", resp.ID == id, resp.TTL, resp.ResponseHeader != nil)
			cancel()
			_, ok := <-ch
			s.line("open %v", ok)

			ch, err = s.client.KeepAlive(s.Context(), 12345)
			s.line("%v", err)
			_, ok = <-ch
			s.line("open %v", ok)

			ch, _ = s.client.KeepAlive(s.Context(), id)
			<-ch
			s.line("%v", s.client.Lease.Close())
			_, ok = <-ch
			s.line("open %v", ok)
			ch, err = s.client.KeepAlive(s.Context(), id)
			_, ok = <-ch
			s.line("open %v, halted %v: %v", ok, errors.As(err, new(clientv3.ErrKeepAliveHalted)), err)
			left(s, id)
			once(s, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playedAlike(t, play)
		})
	}
}

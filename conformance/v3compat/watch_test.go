package v3compat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/v3compat"
)

// ours is this module's own client, for changes that a test makes without the
// client under test.
func ours(t testing.TB, endpoints []string) *etcd.Client {
	t.Helper()
	c, err := etcd.New(etcd.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wrapped is a clientv3.Client on c.
func wrapped(t testing.TB, c *etcd.Client) *clientv3.Client {
	t.Helper()
	client := v3compat.Wrap(c)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func store(t testing.TB, c *etcd.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(within(t, 20*time.Second), etcd.PutRequest{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func erase(t testing.TB, c *etcd.Client, key string) int64 {
	t.Helper()
	resp, err := c.Delete(within(t, 20*time.Second), etcd.DeleteRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// next returns the next response of a watch that is still open.
func next(t testing.TB, ch clientv3.WatchChan) clientv3.WatchResponse {
	t.Helper()
	select {
	case resp, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		if resp.Header == nil {
			t.Error("a response without header")
		}
		return resp
	case <-time.After(20 * time.Second):
		t.Fatal("no response")
	}
	panic("not reached")
}

// isClosed fails the test unless the channel is closed, without another response.
func isClosed[T any](t testing.TB, ch <-chan T) {
	t.Helper()
	select {
	case resp, ok := <-ch:
		if ok {
			t.Errorf("a response %+v instead of the end", resp)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the channel is not closed")
	}
}

// seen reads n events and shows them like "PUT a=1" or "DELETE a (was 1)".
func seen(t testing.TB, ch clientv3.WatchChan, prefix string, n int) string {
	t.Helper()
	var out []string
	for len(out) < n {
		resp := next(t, ch)
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			s := ev.Type.String() + " " + strings.TrimPrefix(string(ev.Kv.Key), prefix)
			if ev.Type == clientv3.EventTypePut {
				s += "=" + string(ev.Kv.Value)
			}
			if ev.PrevKv != nil {
				s += " (was " + string(ev.PrevKv.Value) + ")"
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

func TestWatchOptions(t *testing.T) {
	t.Parallel()
	client, c := connect(t, clientv3.Config{}), ours(t, testbed.Shared.Endpoints())
	p := "~" + t.Name() + "/" // behind the keys of all other tests, for the watch from a key on
	before := store(t, c, p+"a", "0")
	type opts = []clientv3.OpOption
	tests := map[string]struct {
		key  string
		opts opts
		want string
	}{
		"key":           {"a", nil, "PUT a=1, DELETE a"},
		"prefix":        {"", opts{clientv3.WithPrefix()}, "PUT a=1, PUT b=2, DELETE a, PUT end="},
		"range":         {"a", opts{clientv3.WithRange(p + "b")}, "PUT a=1, DELETE a"},
		"from key":      {"b", opts{clientv3.WithFromKey(), clientv3.WithFilterDelete()}, "PUT b=2, PUT end="},
		"previous":      {"a", opts{clientv3.WithPrevKV()}, "PUT a=1 (was 0), DELETE a (was 1)"},
		"no put":        {"", opts{clientv3.WithPrefix(), clientv3.WithFilterPut()}, "DELETE a"},
		"no delete":     {"", opts{clientv3.WithPrefix(), clientv3.WithFilterDelete()}, "PUT a=1, PUT b=2, PUT end="},
		"from revision": {"", opts{clientv3.WithPrefix(), clientv3.WithRev(before)}, "PUT a=0, PUT a=1, PUT b=2, DELETE a, PUT end="},
		"fragments":     {"", opts{clientv3.WithPrefix(), clientv3.WithFragment()}, "PUT a=1, PUT b=2, DELETE a, PUT end="},
		"log":           {"b", opts{clientv3.WithWatchBufLog()}, "PUT b=2"},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	channels := make(map[string]clientv3.WatchChan)
	for name, test := range tests {
		channels[name] = client.Watch(ctx, p+test.key, test.opts...)
	}
	store(t, c, p+"a", "1")
	store(t, c, p+"b", "2")
	erase(t, c, p+"a")
	store(t, c, p+"end", "")
	for name, test := range tests {
		if got := seen(t, channels[name], p, strings.Count(test.want, ",")+1); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	cancel()
	for _, ch := range channels {
		isClosed(t, ch)
	}
}

// The fields of a response are the server's.
func TestWatchResponse(t *testing.T) {
	t.Parallel()
	client, c, p := connect(t, clientv3.Config{}), ours(t, testbed.Shared.Endpoints()), t.Name()+"/"
	before := store(t, c, p+"a", "old")
	ch := client.Watch(t.Context(), p, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify(), clientv3.WithRev(before+1))
	first := next(t, ch)
	if !first.Created || first.IsProgressNotify() || first.Err() != nil || first.Header.Revision < before || first.Header.ClusterId == 0 || first.Header.MemberId == 0 {
		t.Errorf("created: %+v", first)
	}
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.Put(t.Context(), etcd.PutRequest{Key: p + "a", Value: []byte("new"), Lease: etcd.LeaseID(lease.ID)})
	if err != nil {
		t.Fatal(err)
	}
	resp := next(t, ch)
	if len(resp.Events) != 1 || resp.Canceled || resp.Created || resp.IsProgressNotify() || resp.Err() != nil || resp.Header.Revision < now.Header.Revision {
		t.Fatalf("%+v", resp)
	}
	ev := resp.Events[0]
	if !ev.IsModify() || ev.IsCreate() || ev.Kv.ModRevision != now.Header.Revision || ev.Kv.CreateRevision != before || ev.Kv.Version != 2 || ev.Kv.Lease != int64(lease.ID) {
		t.Errorf("%+v", ev)
	}
	if ev.PrevKv.ModRevision != before || string(ev.PrevKv.Key) != p+"a" || string(ev.PrevKv.Value) != "old" {
		t.Errorf("before: %+v", ev.PrevKv)
	}
	if cap(ev.Kv.Key) != len(ev.Kv.Key) || cap(ev.PrevKv.Key) != len(ev.PrevKv.Key) {
		t.Error("an append to one key writes to the next one")
	}
}

// The Created response of a watch from now has the revision after which the watch
// begins.
func TestWatchCreatedFromNow(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client, c := connect(t, clientv3.Config{Endpoints: s.Endpoints()}), ours(t, s.Endpoints())
	now := store(t, c, "k", "0")
	ch := client.Watch(t.Context(), "k", clientv3.WithCreatedNotify())
	store(t, c, "k", "1")
	if resp := next(t, ch); !resp.Created || resp.Header.Revision != now {
		t.Errorf("created at %+v, want revision %d", resp, now)
	}
	if got := seen(t, ch, "", 1); got != "PUT k=1" {
		t.Error(got)
	}
}

func TestWatchProgress(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartConfig(t, etcdtest.Config{WatchProgressInterval: 100 * time.Millisecond})
	client, c := connect(t, clientv3.Config{Endpoints: s.Endpoints()}), ours(t, s.Endpoints())
	leader := clientv3.WithRequireLeader(t.Context())
	silent := client.Watch(leader, "k")
	noisy := client.Watch(t.Context(), "k", clientv3.WithProgressNotify())
	now := store(t, c, "other", "0")
	for told := 0; told < 2; {
		resp := next(t, noisy)
		if !resp.IsProgressNotify() || resp.Header.Revision > now || resp.Err() != nil {
			t.Fatalf("%+v", resp)
		}
		if resp.Header.Revision == now { // the first may be of where the watch began
			told++
		}
	}

	// RequestProgress is for the watches of the same metadata.
	asked := client.Watch(t.Context(), "k")
	if err := client.RequestProgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp := next(t, asked); !resp.IsProgressNotify() || resp.Header.Revision != now {
		t.Errorf("%+v", resp)
	}
	store(t, c, "k", "1")
	if resp := next(t, silent); resp.IsProgressNotify() {
		t.Errorf("progress for another one: %+v", resp)
	}
	if err := client.RequestProgress(leader); err != nil {
		t.Fatal(err)
	}
	if resp := next(t, silent); !resp.IsProgressNotify() {
		t.Errorf("%+v", resp)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.RequestProgress(ended); err != context.Canceled {
		t.Error(err)
	}
	_ = client.Watcher.Close()
	if err := client.RequestProgress(t.Context()); err == nil {
		t.Error("progress of a closed watcher")
	}
}

func TestWatchCompacted(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client, c := connect(t, clientv3.Config{Endpoints: s.Endpoints()}), ours(t, s.Endpoints())
	store(t, c, "k", "0")
	last := store(t, c, "k", "1")
	if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	ch := client.Watch(t.Context(), "k", clientv3.WithRev(1), clientv3.WithCreatedNotify())
	if resp := next(t, ch); !resp.Created {
		t.Errorf("%+v", resp)
	}
	resp := next(t, ch)
	if resp.Err() != rpctypes.ErrCompacted || resp.CompactRevision != last || !resp.Canceled || resp.IsProgressNotify() || resp.Header.ClusterId == 0 {
		t.Errorf("%+v", resp)
	}
	isClosed(t, ch)
}

// The ways in which a watch ends, and what its channel then returns.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*clientv3.Client, context.CancelFunc){
		"its context":  func(_ *clientv3.Client, cancel context.CancelFunc) { cancel() },
		"the watcher":  func(client *clientv3.Client, _ context.CancelFunc) { _ = client.Watcher.Close() },
		"the client":   func(client *clientv3.Client, _ context.CancelFunc) { _ = client.Close() },
		"its deadline": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, c, p := connect(t, clientv3.Config{}), ours(t, testbed.Shared.Endpoints()), t.Name()+"/"
			ctx, cancel := context.WithCancel(t.Context())
			if end == nil {
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
			}
			defer cancel()
			quiet := client.Watch(ctx, p+"quiet")
			full := client.Watch(ctx, p+"full") // its reader is behind
			for i := range 10 {
				store(t, c, p+"full", fmt.Sprint(i))
			}
			if end != nil {
				end(client, cancel)
			}
			isClosed(t, quiet)
			deadline := time.After(20 * time.Second)
			for open := true; open; {
				select {
				case resp, ok := <-full:
					open = ok
					if resp.Err() != nil || resp.Canceled {
						t.Errorf("%+v", resp)
					}
				case <-deadline:
					t.Fatal("the channel is not closed")
				}
			}
			if name != "its context" && name != "its deadline" {
				isClosed(t, client.Watch(t.Context(), p))
			}
			isClosed(t, client.Watch(ctx, p, clientv3.WithCreatedNotify()))
		})
	}
}

// Closing a wrapped client silently ends everything that uses it.
func TestWrappedClientIsClosed(t *testing.T) {
	t.Parallel()
	own := ours(t, testbed.Shared.Endpoints())
	client := wrapped(t, own)
	id := grant(t, client, 60)
	kept := keepAlive(t, t.Context(), client, id)
	ch := client.Watch(t.Context(), t.Name())
	served := clientv3.NewWatcher(client).Watch(t.Context(), t.Name())
	_ = own.Close()
	isClosed(t, ch)
	isClosed(t, kept)
	isClosed(t, served)
	isClosed(t, client.Watch(t.Context(), t.Name()))
	kept, err := client.KeepAlive(t.Context(), id)
	if err != nil {
		t.Error(err)
	}
	isClosed(t, kept)
}

// Watch waits for a server as long as its context allows, and Close ends the wait.
func TestWatchWaitsForAServer(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	c := ours(t, s.Endpoints())
	impatient, err := etcd.New(etcd.Config{Endpoints: []string{proxy.Endpoint()}, Timeout: 50 * time.Millisecond, Retry: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = impatient.Close() })
	client := wrapped(t, impatient)

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	isClosed(t, client.Watch(short, "k"))

	begun := make(chan clientv3.WatchChan)
	go func() { begun <- client.Watch(t.Context(), "k") }()
	select {
	case <-begun:
		t.Fatal("a watch without a server")
	case <-time.After(500 * time.Millisecond):
	}
	proxy.Heal()
	ch := <-begun
	store(t, c, "k", "1")
	if got := seen(t, ch, "", 1); got != "PUT k=1" {
		t.Error(got)
	}

	proxy.Set(etcdtest.BothWays, etcdtest.Fault{Discard: true})
	go func() { begun <- client.Watch(t.Context(), "other") }()
	time.AfterFunc(200*time.Millisecond, func() { _ = client.Watcher.Close() })
	isClosed(t, <-begun)
	isClosed(t, ch)
}

// Cut connections are not visible: every event arrives once, in order.
func TestWatchSurvivesCuts(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	client, c := connect(t, clientv3.Config{Endpoints: []string{proxy.Endpoint()}}), ours(t, s.Endpoints())
	const watches, puts = 20, 60
	var channels []clientv3.WatchChan
	for range watches {
		channels = append(channels, client.Watch(t.Context(), "k", clientv3.WithPrevKV(), clientv3.WithCreatedNotify()))
	}
	for i := range puts {
		store(t, c, "k", fmt.Sprint(i))
		if i%10 == 9 {
			proxy.Reset()
		}
	}
	for _, ch := range channels {
		if resp := next(t, ch); !resp.Created {
			t.Fatalf("%+v", resp)
		}
		for i := 0; i < puts; {
			resp := next(t, ch)
			if resp.Created || resp.Err() != nil {
				t.Fatalf("%+v", resp)
			}
			for _, ev := range resp.Events {
				if string(ev.Kv.Value) != fmt.Sprint(i) || i > 0 && string(ev.PrevKv.GetValue()) != fmt.Sprint(i-1) {
					t.Fatalf("event %d is %+v", i, ev)
				}
				i++
			}
		}
	}
}

func TestWatchRefused(t *testing.T) {
	t.Parallel()
	client := connect(t, clientv3.Config{})
	for name, ch := range map[string]clientv3.WatchChan{
		"empty range": client.Watch(t.Context(), "b", clientv3.WithRange("a")),
		"revision":    client.Watch(t.Context(), "b", clientv3.WithRev(-1)),
	} {
		resp := next(t, ch)
		if !resp.Canceled || resp.Err() == nil || resp.CancelReason == "" {
			t.Errorf("%s: %+v", name, resp)
		}
		isClosed(t, ch)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for an option that no watch has, as in client/v3")
		}
	}()
	client.Watch(t.Context(), "k", clientv3.WithLimit(1))
}

// The reader of one channel sleeps. The others are served, memory stays bounded,
// and nothing is lost.
func TestWatchSlowReader(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := ours(t, s.Endpoints())
	own := ours(t, s.Endpoints())
	client := wrapped(t, own)
	slow, quick := client.Watch(t.Context(), "k"), client.Watch(t.Context(), "k")
	const puts, size = 200, 100_000 // 20 MB
	value := strings.Repeat("x", size)
	for i := range puts {
		store(t, c, "k", fmt.Sprintf("%04d", i)+value)
		if resp := next(t, quick); len(resp.Events) != 1 || string(resp.Events[0].Kv.Value[:4]) != fmt.Sprintf("%04d", i) {
			t.Fatalf("event %d is %d events", i, len(resp.Events))
		}
	}
	// It has its own stream, on which the server waits: no buffer here grows.
	if n := own.Stats().WatchStreams; n != 2 {
		t.Errorf("%d watch streams, want 2", n)
	}
	for i := 0; i < puts; {
		for _, ev := range next(t, slow).Events {
			if string(ev.Kv.Value[:4]) != fmt.Sprintf("%04d", i) {
				t.Fatalf("event %d is %s", i, ev.Kv.Value[:4])
			}
			i++
		}
	}
}

// A watch without permission ends with the error that code checks for, and does not
// affect others.
func TestWatchDenied(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	root := ours(t, s.Endpoints())
	secure(t, root, "may/")
	own, err := etcd.New(etcd.Config{Endpoints: s.Endpoints(), Username: "user", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	client := wrapped(t, own)

	may := client.Watch(t.Context(), "may/", clientv3.WithPrefix())
	denied := client.Watch(t.Context(), "must-not")
	resp := next(t, denied)
	if !resp.Canceled || resp.Err() != rpctypes.ErrPermissionDenied {
		t.Errorf("%+v: %v", resp, resp.Err())
	}
	isClosed(t, denied)
	if _, err := own.Put(t.Context(), etcd.PutRequest{Key: "may/a"}); err != nil {
		t.Fatal(err)
	}
	if got := seen(t, may, "", 1); got != "PUT may/a=" {
		t.Error(got)
	}
}

// secure makes a user that may use a prefix, and switches authentication on.
func secure(t testing.TB, c *etcd.Client, prefix string) {
	t.Helper()
	ctx, auth := within(t, 20*time.Second), c.Auth()
	_, err1 := auth.UserAdd(ctx, etcd.UserAddRequest{Name: "root", Password: "root"})
	_, err2 := auth.UserAdd(ctx, etcd.UserAddRequest{Name: "user", Password: "secret"})
	_, err3 := auth.RoleAdd(ctx, etcd.RoleAddRequest{Name: "role"})
	_, err4 := auth.RoleGrantPermission(ctx, etcd.RoleGrantPermissionRequest{Role: "role", Type: etcd.PermissionReadWrite, Key: prefix, Prefix: true})
	_, err5 := auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "user", Role: "role"})
	_, err6 := auth.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: "root", Role: "root"})
	_, err7 := auth.Enable(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
}

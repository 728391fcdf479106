package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/etcdtest"
)

func refused(t testing.TB, err error, text string) {
	t.Helper()
	if !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want an invalid configuration with %q", err, text)
	}
}

// Sets in the order of IDs, with what was added, removed and updated.
func TestWatch(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	b := register(t, co, discovery.Instance{Service: name, ID: "b", Addr: "2", Metadata: map[string]any{"weight": 3, "zone": "x"}})
	put(t, c, etcd.PutRequest{Key: name + "/nested/a", Value: []byte(`{"Addr":"9"}`)})
	put(t, c, etcd.PutRequest{Key: name + "/bad", Value: []byte(`{`)})
	w, err := discovery.Watch(c, discovery.WatchConfig{Service: name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	actions := []func(){
		func() { register(t, co, discovery.Instance{Service: name, ID: "a", Addr: "1"}) },
		func() {
			if err := b.Update(t.Context(), discovery.Instance{Addr: "3"}); err != nil {
				t.Error(err)
			}
		},
		func() { closeNow(t, b) },
		func() { put(t, c, etcd.PutRequest{Key: name + "/bad", Value: []byte(`{"Addr":"4"}`)}) },
		func() { put(t, c, etcd.PutRequest{Key: name + "/bad", Value: []byte(`{"Op":1,"Addr":"4"}`)}) },
	}
	want := []string{
		"[b] +[b] -[] ~[] ?1", "[a b] +[a] -[] ~[] ?1", "[a b] +[] -[] ~[b] ?1", "[a] +[] -[b] ~[] ?1", "[a bad] +[bad] -[] ~[] ?0", "[a] +[] -[bad] ~[] ?1",
	}
	n := 0
	for set, err := range w.All(testbed.Within(t, 20*time.Second)) {
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("[%s] +[%s] -[%s] ~[%s] ?%d", ids(set.Instances), ids(set.Added), ids(set.Removed), ids(set.Updated), len(set.Undecodable))
		if got != want[n] {
			t.Errorf("set %d is %q, want %q", n, got, want[n])
		}
		if n == 0 {
			weight, ok := set.Instances[0].Weight()
			if i := set.Instances[0]; i.Addr != "2" || i.Service != name || i.Revision == 0 || !ok || weight != 3 {
				t.Errorf("%+v, weight %d", i, weight)
			}
		}
		if n == len(actions) {
			break
		}
		actions[n]()
		n++
	}
	if cur := w.Current(); ids(cur.Instances) != "a" {
		t.Errorf("Current has %s", ids(cur.Instances))
	}
	shows(t, watching(t, c, discovery.WatchConfig{Service: name, Nested: true}), "a nested/a")
}

// While etcd is away the last set stays, and says so; what has changed meanwhile comes as a
// panicking is a codec that cannot take each value, and looks at the watcher meanwhile.
type panicking struct {
	discovery.Plain
	watcher func() *discovery.Watcher
}

func (p panicking) Decode(value []byte, into *discovery.Instance) error {
	p.watcher().Current()
	if string(value) == "bad" {
		panic("bad")
	}
	return p.Plain.Decode(value, into)
}

// A value whose codec panics is one that cannot be read, and the watch goes on.
func TestCodecPanics(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	put(t, c, etcd.PutRequest{Key: name + "/a", Value: []byte("1")})
	put(t, c, etcd.PutRequest{Key: name + "/b", Value: []byte("bad")})
	made := make(chan struct{})
	var w *discovery.Watcher
	codec := panicking{watcher: func() *discovery.Watcher { <-made; return w }}
	w, err := discovery.Watch(c, discovery.WatchConfig{Service: name, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	close(made)
	defer w.Close()
	for set, err := range w.All(testbed.Within(t, 20*time.Second)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case len(set.Instances) == 2 && len(set.Undecodable) == 0:
			return
		case ids(set.Instances) != "a" || len(set.Undecodable) != 1 || set.Undecodable[0] != name+"/b":
			t.Fatalf("%+v", set)
		}
		put(t, c, etcd.PutRequest{Key: name + "/b", Value: []byte("2")})
	}
}

// difference, after a compaction too.
func TestStale(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	plain := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	entry := func(id string) {
		put(t, plain, etcd.PutRequest{Key: "svc/" + id, Value: []byte(`{"Addr":"` + id + `"}`)})
	}
	entry("a")
	entry("b")
	w := watching(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), discovery.WatchConfig{Service: "svc"})
	step := 0
	for set, err := range w.All(testbed.Within(t, 30*time.Second)) {
		if err != nil {
			t.Fatal(err)
		}
		switch step {
		case 0:
			proxy.Silence(true)
			proxy.Reset()
		case 1:
			if set.StaleSince.IsZero() || ids(set.Instances) != "a b" || time.Since(set.StaleSince) > 20*time.Second || w.Err() == nil {
				t.Fatalf("without etcd: %+v, %v", set, w.Err())
			}
			entry("c")
			resp, err := plain.Delete(t.Context(), etcd.DeleteRequest{Key: "svc/a"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plain.Compact(t.Context(), etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
				t.Fatal(err)
			}
			proxy.Silence(false)
			proxy.Reset()
		}
		step++
		if set.StaleSince.IsZero() && ids(set.Instances) == "b c" {
			return
		}
	}
}

// Before etcd was reached there is no set, not an empty one.
func TestNeverReached(t *testing.T) {
	t.Parallel()
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	proxy.Silence(true)
	name, plain := testbed.OwnName(t), testbed.Connect(t, etcd.Config{})
	w, err := discovery.Watch(testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), discovery.WatchConfig{Service: name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	for set, err := range w.All(short) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a set %+v, error %v", set, err)
		}
	}
	if set := w.Current(); set.Revision != 0 {
		t.Errorf("%+v", set)
	}
	proxy.Silence(false)
	proxy.Reset()
	until(t, w, "an empty set", func(s discovery.Set) bool { return s.Revision > 0 })
	put(t, plain, etcd.PutRequest{Key: name + "/a", Value: []byte(`{"Addr":"1"}`)})
	shows(t, w, "a")
}

// A key that comes back within RemoveDelay was never gone.
func TestRemoveDelay(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	entry := func() { put(t, c, etcd.PutRequest{Key: name + "/a", Value: []byte(`{"Addr":"1"}`)}) }
	drop := func() {
		if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/a"}); err != nil {
			t.Fatal(err)
		}
	}
	entry()
	w := watching(t, c, discovery.WatchConfig{Service: name, RemoveDelay: 2 * time.Second})
	drop()
	begun := time.Now()
	if set := until(t, w, "it to be kept", func(s discovery.Set) bool { return s.Kept == 1 }); ids(set.Instances) != "a" {
		t.Errorf("%+v", set)
	}
	entry()
	until(t, w, "it to be back", func(s discovery.Set) bool { return s.Kept == 0 && len(s.Instances) == 1 })
	drop()
	shows(t, w, "")
	if d := time.Since(begun); d < 2*time.Second {
		t.Errorf("gone after %v", d)
	}
}

// A fault that takes all keys at once does not take all instances.
func TestMinKeep(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	for i := range 10 {
		put(t, c, etcd.PutRequest{Key: fmt.Sprint(name, "/", i), Value: []byte(`{"Addr":"1"}`)})
	}
	w := watching(t, c, discovery.WatchConfig{Service: name, MinKeep: 0.5})
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/", Prefix: true}); err != nil {
		t.Fatal(err)
	}
	set := until(t, w, "the deletion", func(s discovery.Set) bool { return s.Kept > 0 })
	if set.Kept != 5 || len(set.Instances) != 5 {
		t.Errorf("%d instances, of which %d are kept", len(set.Instances), set.Kept)
	}
}

// What client/v3's naming package writes is read, and the other way round.
func TestOfficialNaming(t *testing.T) {
	t.Parallel()
	c, v3, name := testbed.Connect(t, etcd.Config{}), testbed.Official(t, testbed.Shared.Endpoints()...), testbed.OwnName(t)
	em, err := endpoints.NewManager(v3, name)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testbed.Within(t, 20*time.Second)
	w := watching(t, c, discovery.WatchConfig{Service: name})
	if err := em.AddEndpoint(ctx, name+"/theirs", endpoints.Endpoint{Addr: "10.0.0.1:80", Metadata: map[string]any{"weight": 7}}); err != nil {
		t.Fatal(err)
	}
	shows(t, w, "theirs")
	i := w.Current().Instances[0]
	if weight, _ := i.Weight(); i.Addr != "10.0.0.1:80" || weight != 7 {
		t.Errorf("read: %+v", i)
	}
	watched, err := em.NewWatchChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-watched
	reg := register(t, testbed.Coordinate(t, c, concurrency.Config{}), discovery.Instance{Service: name, ID: "ours", Addr: "10.0.0.2:80", Metadata: "blue"})
	update := (<-watched)[0]
	if update.Op != endpoints.Add || update.Key != name+"/ours" || update.Endpoint != (endpoints.Endpoint{Addr: "10.0.0.2:80", Metadata: "blue"}) {
		t.Errorf("their watch: %+v", update)
	}
	list, err := em.List(ctx)
	if err != nil || len(list) != 2 || list[name+"/ours"].Addr != "10.0.0.2:80" {
		t.Errorf("their list: %v, %v", list, err)
	}
	if err := em.DeleteEndpoint(ctx, name+"/theirs"); err != nil {
		t.Fatal(err)
	}
	shows(t, w, "ours")
	<-watched
	closeNow(t, reg)
	if update := (<-watched)[0]; update.Op != endpoints.Delete || update.Key != name+"/ours" {
		t.Errorf("their watch: %+v", update)
	}
}

func TestWatchRefused(t *testing.T) {
	t.Parallel()
	c := testbed.Connect(t, etcd.Config{})
	for text, config := range map[string]discovery.WatchConfig{
		"Service is empty":            {},
		"Service ends with":           {Service: "a/"},
		"WatchConfig.RemoveDelay is":  {Service: "a", RemoveDelay: -1},
		"did you mean 5 * time.Secon": {Service: "a", RemoveDelay: 5},
		"WatchConfig.MinKeep is":      {Service: "a", MinKeep: 1.5},
	} {
		_, err := discovery.Watch(c, config)
		refused(t, err, text)
	}
	_, err := discovery.Watch(nil, discovery.WatchConfig{Service: "a"})
	refused(t, err, "client is nil")
}

// Close ends those who wait.
func TestWatcherClose(t *testing.T) {
	t.Parallel()
	w := watching(t, testbed.Connect(t, etcd.Config{}), discovery.WatchConfig{Service: testbed.OwnName(t)})
	for set, err := range w.All(testbed.Within(t, 20*time.Second)) {
		if err == nil {
			if len(set.Instances) != 0 {
				t.Errorf("%+v", set)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, discovery.ErrClosed) {
			t.Error(err)
		}
	}
}

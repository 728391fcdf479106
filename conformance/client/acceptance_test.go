package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// acceptance is the fixture of a test of the list: a client of the list's own
// server, with its own keys.
type acceptance struct {
	*testing.T
	c   *etcd.Client
	s   *etcdtest.Server
	dir string // prefix of its keys
}

func (a *acceptance) put(key, value string) int64 {
	a.Helper()
	return put(a.T, a.c, a.dir+key, value)
}

func (a *acceptance) value(key string) string {
	a.Helper()
	return string(stored(a.T, a.c, a.dir+key).Value)
}

func (a *acceptance) count(prefix string) int64 {
	a.Helper()
	return get(a.T, a.c, etcd.GetRequest{Key: a.dir + prefix, Prefix: true, CountOnly: true}).Count
}

func (a *acceptance) grant(ttl time.Duration) *etcd.Lease {
	a.Helper()
	l, err := a.c.Grant(a.Context(), etcd.GrantRequest{TTL: ttl})
	a.must(err)
	return l
}

func (a *acceptance) putOn(l *etcd.Lease, keys ...string) {
	a.Helper()
	for _, key := range keys {
		_, err := a.c.Put(a.Context(), etcd.PutRequest{Key: a.dir + key, Value: []byte(key), Lease: l.ID})
		a.must(err)
	}
}

func (a *acceptance) revoke(l *etcd.Lease) {
	a.Helper()
	_, err := a.c.Revoke(a.Context(), etcd.RevokeRequest{ID: l.ID})
	a.must(err)
}

func (a *acceptance) watch(req etcd.WatchRequest) *etcd.Watcher {
	a.Helper()
	req.Key = a.dir + req.Key
	return watch(a.T, a.c, req)
}

// events reads n events as text.
func (a *acceptance) events(w *etcd.Watcher, n int) []string {
	a.Helper()
	var out []string
	for len(out) < n {
		for _, ev := range read(a.T, w).Events {
			out = append(out, text(ev, a.dir))
		}
	}
	return out
}

// stays checks for the given time that the key exists.
func (a *acceptance) stays(key string, d time.Duration) {
	a.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < d; <-tick.C {
		if stored(a.T, a.c, a.dir+key).Version == 0 {
			a.Fatalf("key %s is gone after %v", key, time.Since(began))
		}
	}
}

func (a *acceptance) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

func (a *acceptance) want(what string, got, want any) {
	a.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		a.Errorf("%s: %v, want %v", what, got, want)
	}
}

// The examples of the reference, in its order: what each of them shows.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	// A short election lets leases be as short as two seconds.
	server := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond})
	for i, f := range []struct {
		name string
		run  func(a *acceptance)
	}{
		{"options", acceptOptions},
		{"put", acceptPut},
		{"get", acceptGet},
		{"delete", acceptDelete},
		{"compact", acceptCompact},
		{"lease", acceptLease},
		{"revoke", acceptRevoke},
		{"ttl", acceptTTL},
		{"leases", acceptLeases},
		{"keepalive", acceptKeepAlive},
		{"watch", acceptWatch},
		{"configurations", acceptConfigurations},
		{"registration", acceptRegistration},
		{"watched configuration", acceptWatchedConfiguration},
		{"versions", acceptVersions},
		{"transaction", acceptTransaction},
		{"heartbeat", acceptHeartbeat},
		{"shutdown", acceptShutdown},
		{"any goroutine", acceptAnyGoroutine},
		{"automatic keep-alive", acceptAutomatic},
		{"errors", acceptErrors},
		{"close ends read", acceptClose},
		{"hierarchy", acceptHierarchy},
		{"compact and go on", acceptCompactOlder},
		{"concurrent puts", acceptConcurrent},
		{"one get for a map", acceptMap},
		{"filter", acceptFilter},
		{"keys on one lease", acceptKeysOnLease},
		{"configurations of networks", acceptNetworks},
	} {
		t.Run(fmt.Sprintf("%d %s", i+1, f.name), func(t *testing.T) {
			t.Parallel()
			f.run(&acceptance{t, connect(t, etcd.Config{Endpoints: server.Endpoints()}), server, fmt.Sprintf("/%d/", i+1)})
		})
	}
}

func acceptOptions(a *acceptance) {
	// Construction needs no server.
	c, err := etcd.New(etcd.Config{
		Endpoints: []string{"127.0.0.1:1"}, Retry: 3, RetrySleep: 500 * time.Millisecond, Timeout: 5 * time.Second,
	})
	a.must(err)
	a.must(c.Close())
}

func acceptPut(a *acceptance) {
	first := a.put("name", "one")
	resp, err := a.c.Put(a.Context(), etcd.PutRequest{Key: a.dir + "name", Value: []byte("two"), PrevKV: true})
	a.must(err)
	if resp.Header.Revision <= first {
		a.Errorf("revision %d does not follow %d", resp.Header.Revision, first)
	}
	a.want("previous value", string(resp.PrevKV.Value), "one")
	a.want("previous version", resp.PrevKV.Version, 1)
}

func acceptGet(a *acceptance) {
	a.put("config/host", "localhost")
	a.put("config/port", "8080")
	all := get(a.T, a.c, etcd.GetRequest{Key: a.dir + "config/", Prefix: true})
	a.want("count", all.Count, 2)
	for _, kv := range get(a.T, a.c, etcd.GetRequest{Key: a.dir + "config/", Prefix: true, KeysOnly: true}).KVs {
		a.want("value of a key alone", len(kv.Value), 0)
	}
	sorted := get(a.T, a.c, etcd.GetRequest{Key: a.dir + "config/", Prefix: true, SortOrder: etcd.Descend, SortTarget: etcd.SortByKey})
	a.want("descending", keysOf(sorted.KVs, a.dir), "config/port config/host")
}

func acceptDelete(a *acceptance) {
	a.put("one", "1")
	a.put("dir/two", "2")
	resp, err := a.c.Delete(a.Context(), etcd.DeleteRequest{Key: a.dir + "one", PrevKV: true})
	a.must(err)
	a.want("old pair", string(resp.PrevKVs[0].Value), "1")
	resp, err = a.c.Delete(a.Context(), etcd.DeleteRequest{Key: a.dir + "dir/", Prefix: true})
	a.must(err)
	a.want("deleted", resp.Deleted, 1)
}

func acceptCompact(a *acceptance) {
	_, c := private(a.T, etcdtest.Config{}, etcd.Config{})
	var revision int64
	for i := range 10 {
		revision = put(a.T, c, "k", fmt.Sprint(i))
	}
	_, err := c.Compact(a.Context(), etcd.CompactRequest{Revision: revision - 5, Physical: true})
	a.must(err)
	if _, err := c.Get(a.Context(), etcd.GetRequest{Key: "k", Revision: revision - 6}); !errors.Is(err, etcd.ErrCompacted) {
		a.Errorf("an older read: %v, want ErrCompacted", err)
	}
	a.want("a newer read", string(get(a.T, c, etcd.GetRequest{Key: "k", Revision: revision - 4}).KVs[0].Value), 5)
}

func acceptLease(a *acceptance) {
	l := a.grant(time.Minute)
	a.want("TTL", l.TTL, time.Minute)
	a.putOn(l, "service")
	a.want("value", a.value("service"), "service")
	// It outlives its TTL; a shorter TTL shows that sooner.
	brief := a.grant(2 * time.Second)
	a.putOn(brief, "brief")
	a.stays("brief", 5*time.Second)
	a.revoke(brief)
	a.revoke(l)
}

func acceptRevoke(a *acceptance) {
	l := a.grant(time.Minute)
	a.putOn(l, "temp")
	a.want("keys before", a.count("temp"), 1)
	a.revoke(l)
	a.want("keys after", a.count("temp"), 0)
	<-l.Done()
	if err := l.Err(); err == nil {
		a.Error("a revoked lease has no error")
	}
}

func acceptTTL(a *acceptance) {
	l := a.grant(time.Minute)
	a.putOn(l, "one", "two")
	resp, err := a.c.TTL(a.Context(), etcd.TTLRequest{ID: l.ID, Keys: true})
	a.must(err)
	a.want("ID", resp.ID, l.ID)
	a.want("granted", resp.GrantedTTL, time.Minute)
	if resp.TTL > time.Minute || resp.TTL < 50*time.Second {
		a.Errorf("TTL %v of a minute", resp.TTL)
	}
	slices.Sort(resp.Keys)
	a.want("keys", resp.Keys, []string{a.dir + "one", a.dir + "two"})
	a.revoke(l)
}

func acceptLeases(a *acceptance) {
	one, two := a.grant(time.Minute), a.grant(time.Minute)
	resp, err := a.c.Leases(a.Context())
	a.must(err)
	if !slices.Contains(resp.Leases, one.ID) || !slices.Contains(resp.Leases, two.ID) {
		a.Errorf("leases %v without %d or %d", resp.Leases, one.ID, two.ID)
	}
	a.revoke(one)
	a.revoke(two)
}

func acceptKeepAlive(a *acceptance) {
	l, err := a.c.Grant(a.Context(), etcd.GrantRequest{TTL: time.Minute, NoKeepAlive: true})
	a.must(err)
	stream, err := a.c.KeepAlive(a.Context(), etcd.KeepAliveRequest{ID: l.ID})
	a.must(err)
	for range 3 {
		a.must(stream.Write(a.Context(), etcd.KeepAliveRequest{ID: l.ID}))
		resp, err := stream.Read(a.Context())
		a.must(err)
		a.want("ID", resp.ID, l.ID)
		a.want("TTL", resp.TTL, time.Minute)
	}
	a.must(stream.Close())
	resp, err := a.c.KeepAliveOnce(a.Context(), etcd.KeepAliveRequest{ID: l.ID})
	a.must(err)
	a.want("TTL of one renewal", resp.TTL, time.Minute)
	a.revoke(l)
}

func acceptWatch(a *acceptance) {
	w := a.watch(etcd.WatchRequest{Key: "config/", Prefix: true})
	a.put("config/name", "v1")
	a.put("config/name", "v2")
	remove(a.T, a.c, a.dir+"config/name")
	a.want("events", a.events(w, 3), []string{"PUT config/name=v1", "PUT config/name=v2", "DELETE config/name"})
}

func acceptConfigurations(a *acceptance) {
	type config struct {
		Host string `json:"host"`
		Port int    `json:"port"`
	}
	want := map[string]config{"database": {"db.local", 5432}, "cache": {"cache.local", 6379}}
	for name, c := range want {
		b, err := json.Marshal(c)
		a.must(err)
		a.put("config/"+name, string(b))
	}
	got := map[string]config{}
	for _, kv := range get(a.T, a.c, etcd.GetRequest{Key: a.dir + "config/", Prefix: true}).KVs {
		var c config
		a.must(json.Unmarshal(kv.Value, &c))
		got[strings.TrimPrefix(kv.Key, a.dir+"config/")] = c
	}
	a.want("configurations", got, want)
}

func acceptRegistration(a *acceptance) {
	l := a.grant(10 * time.Second)
	a.putOn(l, "services/web/1")
	a.want("found", a.count("services/web/"), 1)
	a.revoke(l)
	a.want("found after", a.count("services/web/"), 0)
}

// The watch begins first, then the list is loaded, and changes happen in between:
// the newer version wins, whether it comes from the watch or the list.
func acceptWatchedConfiguration(a *acceptance) {
	a.put("timeout", "10")
	a.put("name", "app")
	w := a.watch(etcd.WatchRequest{Prefix: true})
	type entry struct {
		value    string
		revision int64
		deleted  bool
	}
	current := map[string]entry{}
	apply := func(key string, e entry) {
		if e.revision > current[key].revision {
			current[key] = e
		}
	}
	follow := func(n int) {
		for range n {
			for _, ev := range read(a.T, w).Events {
				apply(strings.TrimPrefix(ev.KV.Key, a.dir), entry{string(ev.KV.Value), ev.KV.ModRevision, ev.Type == etcd.EventDelete})
			}
		}
	}
	a.put("timeout", "30")
	list := get(a.T, a.c, etcd.GetRequest{Key: a.dir, Prefix: true})
	a.put("timeout", "60")
	remove(a.T, a.c, a.dir+"timeout")
	// The events are all there before the list, which is older, is looked at.
	follow(3)
	for _, kv := range list.KVs {
		apply(strings.TrimPrefix(kv.Key, a.dir), entry{value: string(kv.Value), revision: kv.ModRevision})
	}
	a.want("name", current["name"].value, "app")
	a.want("timeout is deleted", current["timeout"].deleted, true)
	a.put("timeout", "90")
	follow(1)
	a.want("timeout", current["timeout"].value, "90")
}

func acceptVersions(a *acceptance) {
	// A server on which no other test raises the revision.
	_, c := private(a.T, etcdtest.Config{}, etcd.Config{})
	var revisions []int64
	for i := 1; i <= 5; i++ {
		revisions = append(revisions, put(a.T, c, "readme", fmt.Sprintf("version %d", i)))
	}
	if !slices.IsSorted(revisions) || len(slices.Compact(slices.Clone(revisions))) != 5 {
		a.Errorf("revisions %v do not rise", revisions)
	}
	now := get(a.T, c, etcd.GetRequest{Key: "readme"})
	a.want("version", now.KVs[0].Version, 5)
	old := get(a.T, c, etcd.GetRequest{Key: "readme", Revision: now.Header.Revision - 2})
	a.want("two revisions ago", string(old.KVs[0].Value), "version 3")
}

func acceptTransaction(a *acceptance) {
	number := func(key string) (n int) {
		_, err := fmt.Sscan(a.value(key), &n)
		a.must(err)
		return n
	}
	a.put("a", "10")
	a.put("b", "20")
	a.want("sum", number("a")+number("b"), 30)
	a.put("a", fmt.Sprint(number("a")+1))
	a.put("b", fmt.Sprint(number("b")+1))
	a.want("incremented", []int{number("a"), number("b")}, []int{11, 21})

	// Again as one transaction: only if neither has changed since it was read.
	was := []etcd.KeyValue{stored(a.T, a.c, a.dir+"a"), stored(a.T, a.c, a.dir+"b")}
	increment := etcd.TxnRequest{
		If: []etcd.Compare{
			etcd.Unchanged(was[0]),
			etcd.Unchanged(was[1]),
		},
		Then: []etcd.Op{
			etcd.PutRequest{Key: a.dir + "a", Value: []byte("12")},
			etcd.PutRequest{Key: a.dir + "b", Value: []byte("22")},
		},
	}
	for _, want := range []bool{true, false} {
		resp, err := a.c.Txn(a.Context(), increment)
		a.must(err)
		a.want("succeeded", resp.Succeeded, want)
	}
	a.want("as one", []int{number("a"), number("b")}, []int{12, 22})
	one, two := stored(a.T, a.c, a.dir+"a"), stored(a.T, a.c, a.dir+"b")
	a.want("revision of both", one.ModRevision, two.ModRevision)
}

func acceptHeartbeat(a *acceptance) {
	ttl, wait := 2*time.Second, 5*time.Second
	if *slow {
		ttl, wait = 5*time.Second, 15*time.Second
	}
	w := a.watch(etcd.WatchRequest{Key: "heartbeat", NoPut: true})
	l := a.grant(ttl)
	a.putOn(l, "heartbeat")
	a.stays("heartbeat", wait)
	a.revoke(l)
	a.want("event", a.events(w, 1), []string{"DELETE heartbeat"})
	a.putOn(a.grant(time.Minute), "heartbeat")
	remove(a.T, a.c, a.dir+"heartbeat")
	a.want("the next event", a.events(w, 1), []string{"DELETE heartbeat"})
}

func acceptShutdown(a *acceptance) {
	l := a.grant(30 * time.Second)
	a.putOn(l, "1", "2", "3")
	a.want("keys", a.count(""), 3)
	a.revoke(l)
	a.want("keys left", a.count(""), 0)
}

func acceptAnyGoroutine(a *acceptance) {
	w := a.watch(etcd.WatchRequest{Prefix: true})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			key := fmt.Sprintf("%s%d", a.dir, i)
			if _, err := a.c.Put(context.Background(), etcd.PutRequest{Key: key, Value: []byte("x")}); err != nil {
				a.Error(err)
			}
			if resp, err := a.c.Get(context.Background(), etcd.GetRequest{Key: key}); err != nil || len(resp.KVs) != 1 {
				a.Errorf("get: %v, %v", resp, err)
			}
		})
	}
	wg.Wait()
	a.want("events", len(a.events(w, 10)), 10)
}

func acceptAutomatic(a *acceptance) {
	ttl, wait := 2*time.Second, 5*time.Second
	if *slow {
		ttl, wait = 10*time.Second, 30*time.Second
	}
	l := a.grant(ttl)
	a.putOn(l, "alive")
	a.stays("alive", wait)
	a.must(l.Err())
	a.revoke(l)
	a.want("after revoke", a.count("alive"), 0)
}

func acceptErrors(a *acceptance) {
	_, err := a.c.Put(a.Context(), etcd.PutRequest{Key: "", Value: []byte("x")})
	if !errors.Is(err, etcd.ErrInvalidRequest) {
		a.Errorf("put: %v", err)
	}
	if _, err = a.c.Put(a.Context(), etcd.PutRequest{Key: a.dir + "x", Lease: 4711}); !errors.Is(err, etcd.ErrLeaseNotFound) {
		a.Errorf("put on a lease that does not exist: %v", err)
	}
	if _, err = a.c.Grant(a.Context(), etcd.GrantRequest{TTL: -1}); !errors.Is(err, etcd.ErrInvalidRequest) {
		a.Errorf("grant: %v", err)
	}
	nowhere := connect(a.T, etcd.Config{Endpoints: []string{"127.0.0.1:1"}, Retry: -1})
	if _, err = nowhere.Put(a.Context(), etcd.PutRequest{Key: "x"}); !errors.Is(err, etcd.ErrUnavailable) || etcd.MaybeApplied(err) {
		a.Errorf("put without a server: %v", err)
	}
	if _, err = nowhere.Grant(a.Context(), etcd.GrantRequest{TTL: time.Minute}); !errors.Is(err, etcd.ErrUnavailable) {
		a.Errorf("grant without a server: %v", err)
	}
}

func acceptClose(a *acceptance) {
	w := a.watch(etcd.WatchRequest{Key: "x"})
	ended := async(func() error {
		_, err := w.Read(context.Background())
		return err
	})
	a.must(w.Close())
	if err := await(a.T, ended); !errors.Is(err, etcd.ErrWatchClosed) {
		a.Errorf("read ended with %v", err)
	}
	a.must(w.Close())
}

func acceptHierarchy(a *acceptance) {
	for _, key := range []string{"app/database/host", "app/database/port", "app/cache/host"} {
		a.put(key, "x")
	}
	a.want("count", get(a.T, a.c, etcd.GetRequest{Key: a.dir + "app/database/", Prefix: true}).Count, 2)
}

func acceptCompactOlder(a *acceptance) {
	_, c := private(a.T, etcdtest.Config{}, etcd.Config{})
	compact := func() (done bool) {
		revision := get(a.T, c, etcd.GetRequest{Key: "k"}).Header.Revision - 50
		if revision <= 0 {
			return false
		}
		_, err := c.Compact(a.Context(), etcd.CompactRequest{Revision: revision})
		a.must(err)
		return true
	}
	a.want("compacted at once", compact(), false)
	for i := range 100 {
		put(a.T, c, "k", fmt.Sprint(i))
	}
	a.want("compacted after", compact(), true)
	a.want("value", string(stored(a.T, c, "k").Value), "99")
}

func acceptConcurrent(a *acceptance) {
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			if _, err := a.c.Put(context.Background(), etcd.PutRequest{Key: fmt.Sprintf("%s%d", a.dir, i), Value: []byte(fmt.Sprint(i))}); err != nil {
				a.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		a.want("value", a.value(fmt.Sprint(i)), i)
	}
}

func acceptMap(a *acceptance) {
	want := map[string]string{"host": "localhost", "port": "8080", "user": "admin"}
	for key, value := range want {
		a.put("db/"+key, value)
	}
	got := map[string]string{}
	for _, kv := range get(a.T, a.c, etcd.GetRequest{Key: a.dir + "db/", Prefix: true}).KVs {
		got[strings.TrimPrefix(kv.Key, a.dir+"db/")] = string(kv.Value)
	}
	a.want("map", got, want)
}

func acceptFilter(a *acceptance) {
	w := a.watch(etcd.WatchRequest{Prefix: true, NoPut: true})
	a.put("one", "1")
	a.put("two", "2")
	remove(a.T, a.c, a.dir+"one")
	a.put("one", "3")
	remove(a.T, a.c, a.dir+"two")
	a.want("events", a.events(w, 2), []string{"DELETE one", "DELETE two"})
}

func acceptKeysOnLease(a *acceptance) {
	l := a.grant(time.Minute)
	a.putOn(l, "node/ip", "node/port", "node/status")
	a.want("keys", a.count("node/"), 3)
	a.revoke(l)
	a.want("keys left", a.count("node/"), 0)
}

func acceptNetworks(a *acceptance) {
	for name, config := range map[string]etcd.Config{
		"LAN": {Retry: 2, RetrySleep: 100 * time.Millisecond, Timeout: 2 * time.Second},
		"WAN": {Retry: 5, RetrySleep: 2 * time.Second, Timeout: 10 * time.Second},
	} {
		config.Endpoints = a.s.Endpoints()
		c := connect(a.T, config)
		put(a.T, c, a.dir+name, name)
		a.want(name, string(stored(a.T, c, a.dir+name).Value), name)
	}
}

package mirror

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// children are what the test binary does as a child process.
var children = map[string]func(ctx context.Context, endpoints []string) error{"mirror": killedMirror}

// killedMirror runs a mirror from the first endpoint to the second, until it is killed.
func killedMirror(ctx context.Context, endpoints []string) error {
	src, err := etcd.New(etcd.Config{Endpoints: endpoints[:1]})
	if err != nil {
		return err
	}
	dst, err := etcd.New(etcd.Config{Endpoints: endpoints[1:]})
	if err != nil {
		return err
	}
	m, err := mirror.New(src, dst, mirror.Config{Name: "killed", Prefix: "a/", DestPrefix: "b/"})
	if err != nil {
		return err
	}
	fmt.Println("begins")
	return m.Run(ctx)
}

// A mirror that is killed 20 times at random, with compactions meanwhile, leaves the target
// equal to the source, and has applied no revision twice: each key's values, which grow at
// the source, grow at the target.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills, keys := 20, 50
	if *slow {
		kills, keys = 200, 2000
	}
	s := &sides{t: t, config: mirror.Config{Name: "killed", Prefix: "a/", DestPrefix: "b/"}}
	servers := [2]*etcdtest.Server{}
	for i := range servers {
		servers[i] = etcdtest.StartProcess(t, testbed.Quick)
	}
	s.src, s.dst = connect(t, servers[0].Endpoints()[0]), connect(t, servers[1].Endpoints()[0])
	history, err := s.dst.Watch(t.Context(), etcd.WatchRequest{Key: "b/", Prefix: true, Revision: 1, BufferBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer history.Close()

	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() { churn(t, ctx, s.src, keys) })
	for n := range kills {
		killOne(t, servers, time.Duration(rand.IntN(120))*time.Millisecond)
		if n%4 == 3 {
			resp, err := s.src.Get(t.Context(), etcd.GetRequest{Key: "a/", CountOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.src.Compact(t.Context(), etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	writing.Wait()
	m, end := s.begin()
	s.reaches(m, s.put("last", "999999999"))
	s.equal(m)
	s.stopped(end)
	wantGrowing(t, history)
}

// killOne runs a mirror in a separate process, and kills it after a time.
func killOne(t testing.TB, servers [2]*etcdtest.Server, after time.Duration) {
	t.Helper()
	child := testbed.StartChild(t, "mirror", servers[0].Endpoints()[0], servers[1].Endpoints()[0])
	child.Says(t, "begins")
	<-time.After(after)
	child.Kill()
}

// churn puts and deletes keys until ctx ends. Values only grow.
func churn(t testing.TB, ctx context.Context, c *etcd.Client, keys int) {
	value := 0
	for ctx.Err() == nil {
		var ops []etcd.Op
		for _, k := range rand.Perm(keys)[:1+rand.IntN(5)] {
			key := fmt.Sprintf("a/%d", k)
			if value++; rand.IntN(4) == 0 {
				ops = append(ops, etcd.DeleteRequest{Key: key})
			} else {
				ops = append(ops, etcd.PutRequest{Key: key, Value: []byte(strconv.Itoa(value))})
			}
		}
		if _, err := c.Txn(ctx, etcd.TxnRequest{Then: ops}); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

// wantGrowing reads a history up to the key b/last, and checks that each key's values grow.
func wantGrowing(t testing.TB, history *etcd.Watcher) {
	t.Helper()
	latest := make(map[string]int)
	puts := 0
	for {
		resp, err := history.Read(testbed.Within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.Events {
			if e.Type != etcd.EventPut {
				continue
			}
			puts++
			value, err := strconv.Atoi(string(e.KV.Value))
			if err != nil || value <= latest[e.KV.Key] {
				t.Errorf("%s is %s after %d", e.KV.Key, e.KV.Value, latest[e.KV.Key])
			}
			latest[e.KV.Key] = value
			if e.KV.Key == "b/last" {
				t.Logf("%d puts", puts)
				return
			}
		}
	}
}

package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/internal/follow"
)

// says is a step in a form to compare, without revisions.
func says(step follow.Step) string {
	value := func(kv *etcd.KeyValue) string {
		if kv == nil {
			return "-"
		}
		return string(kv.Value)
	}
	out := fmt.Sprint(step.Kind, " ", step.Epoch, ":")
	for _, ch := range step.Changes {
		out += fmt.Sprintf(" %s %s>%s", strings.TrimPrefix(ch.Key(), scope), value(ch.Old), value(ch.New))
	}
	return out
}

func want(t testing.TB, step follow.Step, revision int64, text string) {
	t.Helper()
	if got := says(step); got != text || step.Revision != revision {
		t.Errorf("step %q at %d, want %q at %d", got, step.Revision, text, revision)
	}
}

// wantPairs checks what a follower has handed on.
func wantPairs(t testing.TB, f *follow.Follower, want string) {
	t.Helper()
	var got []string
	for kv := range f.Pairs() {
		got = append(got, fmt.Sprintf("%s=%s", strings.TrimPrefix(kv.Key, scope), kv.Value))
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("the pairs are %q, want %q", s, want)
	}
}

// A snapshot, then each revision as a whole, with what was there before.
func TestSnapshotThenRevisions(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	testbed.Put(t, c, scope+"b", "1")
	outside := testbed.Put(t, c, "out", "1")
	f := following(t, c, follow.Config{Key: scope, Prefix: true})
	want(t, next(t, f), outside, "snapshot 1: a ->1 b ->1")
	testbed.Put(t, c, "out", "2")
	resp, err := c.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{
		etcd.PutRequest{Key: scope + "a", Value: []byte("2")}, etcd.DeleteRequest{Key: scope + "b"}, etcd.PutRequest{Key: scope + "c", Value: []byte("2")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	again := testbed.Put(t, c, scope+"b", "3")
	want(t, next(t, f), resp.Header.Revision, "changed 1: a 1>2 b 1>- c ->2")
	want(t, next(t, f), again, "changed 1: b ->3")
	wantPairs(t, f, "a=2 b=3 c=2")

	gone, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: scope, Prefix: true})
	if err != nil {
		t.Fatal(err)
	}
	want(t, next(t, f), gone.Header.Revision, "changed 1: a 2>- b 3>- c 2>-")
	wantPairs(t, f, "")
}

// One key, a range, everything, and keys without values.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"a", "b", "c"} {
		testbed.Put(t, c, key, "1")
	}
	scopes := map[string]follow.Config{
		"b":     {Key: "b"},
		"a b":   {Key: "a", RangeEnd: "c"},
		"b c":   {Key: "b", FromKey: true},
		"a b c": {Prefix: true},
		"a  b ": {Key: "a", RangeEnd: "c", KeysOnly: true},
	}
	keys := func(step follow.Step, keysOnly bool) string {
		var out []string
		for _, ch := range step.Changes {
			if keysOnly != (len(ch.New.Value) == 0) {
				t.Errorf("value %q, keys only: %v", ch.New.Value, keysOnly)
			}
			out = append(out, ch.Key())
		}
		return strings.Join(out, " ")
	}
	followers := make(map[string]*follow.Follower)
	for name, config := range scopes {
		f := following(t, c, config)
		if got := keys(next(t, f), config.KeysOnly); strings.Fields(got)[0] != strings.Fields(name)[0] || len(strings.Fields(got)) != len(strings.Fields(name)) {
			t.Errorf("%q: the snapshot has %s", name, got)
		}
		followers[name] = f
	}
	for _, key := range []string{"a", "b", "c"} {
		testbed.Put(t, c, key, "2")
	}
	for name, f := range followers {
		for _, key := range strings.Fields(name) {
			if got := keys(next(t, f), scopes[name].KeysOnly); got != key {
				t.Errorf("%q: a change of %s, want %s", name, got, key)
			}
		}
	}
	if _, err := following(t, c, follow.Config{}).Next(t.Context()); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("without a key: %v", err)
	}
}

// What was missed because of a compaction comes as the difference, in one step.
func TestCompactionWhileAway(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for _, key := range []string{"changed", "deleted", "kept", "recreated"} {
		testbed.Put(t, c, scope+key, "1")
	}
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	testbed.Put(t, c, scope+"kept", "2")
	last := testbed.Put(t, c, scope+"kept", "3")
	want(t, next(t, f), last-1, "changed 1: kept 1>2")
	want(t, next(t, f), last, "changed 1: kept 2>3")
	cutOff(proxy)
	for i := range 5 {
		testbed.Put(t, c, scope+"changed", fmt.Sprint(i))
	}
	testbed.Delete(t, c, scope+"deleted")
	testbed.Delete(t, c, scope+"recreated")
	testbed.Put(t, c, scope+"recreated", "2")
	last = testbed.Put(t, c, scope+"created", "1")
	compact(t, c, last)
	rejoin(proxy)
	want(t, next(t, f), last, "resynced 1: changed 1>4 created ->1 deleted 1>- recreated 1>- recreated ->2")
	wantPairs(t, f, "changed=4 created=1 kept=3 recreated=2")
	revision := testbed.Put(t, c, scope+"a", "1")
	want(t, next(t, f), revision, "changed 1: a ->1")
}

// A compaction while the watch stands takes nothing from it.
func TestCompactionOfWhatWasHandedOn(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for i := range 20 {
		last := testbed.Put(t, c, scope+"a", fmt.Sprint(i))
		if step := next(t, f); step.Kind != follow.Changed || step.Revision != last {
			t.Fatalf("%s at %d", says(step), step.Revision)
		}
		compact(t, c, last)
		if i%5 == 0 {
			proxy.Reset()
		}
	}
}

// A restored store, whose reset another reader of the client has been told of, is a new
// epoch, also when the follower has no watch yet.
func TestResetBeforeTheWatch(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	kept := testbed.Put(t, c, scope+"a", "kept")
	b := testbed.TakeBackup(t, s)
	testbed.NewHistory(t, c)
	testbed.Put(t, c, scope+"a", "lost")
	lost := testbed.Put(t, c, scope+"b", "lost")
	f := following(t, c, follow.Config{Key: scope, Prefix: true})
	want(t, next(t, f), lost, "snapshot 1: a ->lost b ->lost")
	b.Restore(t)
	testbed.NewHistory(t, c)
	want(t, next(t, f), kept, "resynced 2: a lost>kept b lost>-")
	revision := testbed.Put(t, c, scope+"a", "new")
	want(t, next(t, f), revision, "changed 2: a kept>new")
}

// The same with a watch that stood before and resumes on a revision that is not there yet.
func TestResetUnderTheWatch(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "kept")
	b := testbed.TakeBackup(t, s)
	testbed.NewHistory(t, c)
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	lost := testbed.Put(t, c, scope+"a", "lost")
	want(t, next(t, f), lost, "changed 1: a kept>lost")
	cutOff(proxy)
	b.Restore(t)
	testbed.NewHistory(t, c)
	rejoin(proxy)
	testbed.NewHistory(t, client) // or the follower's own read is told: it is the same to it
	want(t, next(t, f), lost-1, "resynced 2: a lost>kept")
	revision := testbed.Put(t, c, scope+"b", "new")
	want(t, next(t, f), revision, "changed 2: b ->new")
}

// A new history that has overtaken the follower shows by its raft term, if that has fallen.
func TestResetThatHasOvertaken(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "kept")
	b := testbed.TakeBackup(t, s)
	restart(t, s)
	testbed.NewHistory(t, c)
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	lost := testbed.Put(t, c, scope+"b", "lost")
	want(t, next(t, f), lost, "changed 1: b ->lost")
	cutOff(proxy)
	b.Restore(t)
	testbed.NewHistory(t, c)
	var last int64
	for i := range 5 {
		last = testbed.Put(t, c, scope+"a", fmt.Sprint(i))
	}
	rejoin(proxy)
	want(t, next(t, f), last, "resynced 2: a kept>4 b lost>-")
}

// ghostly is a state with a key that the store does not have: as if a member had left a
// deletion out.
type ghostly struct {
	pairs map[string]*etcd.KeyValue
}

func (g *ghostly) Get(key string) *etcd.KeyValue { return g.pairs[key] }
func (g *ghostly) Len() int                      { return len(g.pairs) }
func (g *ghostly) All() iter.Seq[*etcd.KeyValue] {
	return func(yield func(*etcd.KeyValue) bool) {
		var keys []string
		for key := range g.pairs {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			if !yield(g.pairs[key]) {
				return
			}
		}
	}
}

func (g *ghostly) apply(step follow.Step) {
	for _, ch := range step.Changes {
		if ch.New == nil {
			delete(g.pairs, ch.Key())
		} else {
			g.pairs[ch.Key()] = ch.New
		}
	}
}

// A deletion that a watch leaves out when it resumes is found by counting, whether the
// range changes afterwards or not. A watch that has missed nothing is not counted.
func TestDeletionLeftOut(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	testbed.Put(t, c, scope+"a", "1")
	client, proxy := away(t, s)
	g := &ghostly{pairs: make(map[string]*etcd.KeyValue)}
	f := following(t, client, follow.Config{Key: scope, Prefix: true, State: g})
	g.apply(next(t, f))
	for i, changes := range []bool{true, false} {
		testbed.Put(t, c, scope+"a", "2")
		g.apply(next(t, f))
		key := fmt.Sprint(scope, "ghost", i)
		g.pairs[key] = &etcd.KeyValue{Key: key, Value: []byte("1"), CreateRevision: 1, ModRevision: 1, Version: 1}
		cutOff(proxy)
		testbed.Put(t, c, "out", "1")
		last := testbed.Put(t, c, "out", "1")
		if changes {
			last = testbed.Put(t, c, scope+"a", "3")
		}
		rejoin(proxy)
		if changes {
			step := next(t, f)
			want(t, step, last, "changed 1: a 2>3")
			g.apply(step)
			last = testbed.Put(t, c, "out", "1") // the first revision after the count is of no key here
		}
		step := next(t, f)
		want(t, step, last, "resynced 1: ghost"+fmt.Sprint(i)+" 1>-")
		g.apply(step)
	}
}

// An idle range on a store that moves: progress says how far it is.
func TestProgress(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	f := following(t, c, follow.Config{Key: scope, Prefix: true, Progress: true})
	f.RequestProgress() // there is no watch yet
	next(t, f)
	for range 3 {
		last := testbed.Put(t, c, "out", "1")
		var ask sync.WaitGroup
		ask.Go(func() { f.RequestProgress() })
		for next(t, f).Revision < last {
			f.RequestProgress()
		}
		ask.Wait()
	}
}

// The end of the context leaves the follower as it is; the error has its cause.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client, proxy := away(t, s)
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	cause := errors.New("cause")
	giveUp := func() {
		t.Helper()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
		defer cancel()
		if _, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || etcd.Temporary(err) {
			t.Errorf("error %v", err)
		}
	}
	cutOff(proxy)
	giveUp()
	rejoin(proxy)
	next(t, f)
	giveUp()
	cutOff(proxy)
	giveUp()
	last := testbed.Put(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}), scope+"a", "1")
	rejoin(proxy)
	want(t, next(t, f), last, "changed 1: a ->1")
}

// A range that is compacted again and again while it is read is read in one request.
func TestSnapshotUnderCompactions(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	const keys = 3000
	filler := strings.Repeat("x", 2000)
	var ops []etcd.Op
	for i := range keys {
		if ops = append(ops, etcd.PutRequest{Key: fmt.Sprintf("%s%05d", scope, i), Value: []byte(filler)}); len(ops) == 100 {
			if _, err := c.Txn(t.Context(), etcd.TxnRequest{Then: ops}); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	stop := make(chan struct{})
	var compactor sync.WaitGroup
	compactor.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				compact(t, c, testbed.Put(t, c, "out", "1"))
			}
		}
	})
	defer compactor.Wait()
	defer close(stop)
	client, proxy := away(t, s)
	proxy.Set(etcdtest.ToClient, etcdtest.Fault{BytesPerSecond: 20 << 20}) // no range fits between two compactions
	f := following(t, client, follow.Config{Key: scope, Prefix: true})
	if step := next(t, f); step.Kind != follow.Snapshot || len(step.Changes) != keys {
		t.Errorf("%v of %d keys", step.Kind, len(step.Changes))
	}
}

// Followers that lose history together all recover.
func TestManyResynchronizations(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	client, proxy := away(t, s)
	var all []*follow.Follower
	for range 50 {
		f := following(t, client, follow.Config{Key: scope, Prefix: true})
		next(t, f)
		all = append(all, f)
	}
	testbed.Put(t, c, scope+"a", "1")
	for _, f := range all {
		next(t, f)
	}
	cutOff(proxy)
	testbed.Put(t, c, scope+"a", "2")
	last := testbed.Put(t, c, scope+"a", "3")
	compact(t, c, last)
	rejoin(proxy)
	var readers sync.WaitGroup
	for _, f := range all {
		readers.Go(func() {
			if step, err := f.Next(testbed.Within(t, 30*time.Second)); err != nil || says(step) != "resynced 1: a 1>3" || step.Revision != last {
				t.Errorf("%s at %d, %v", says(step), step.Revision, err)
			}
		})
	}
	readers.Wait()
}

// A permission that is taken away ends Next with that error; when it is given back, Next
// goes on without a gap.
func TestPermissionLost(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	ctx := testbed.Within(t, time.Minute)
	open := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}).Auth()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	grant := etcd.RoleGrantPermissionRequest{Role: "reader", Type: etcd.PermissionRead, Key: scope, Prefix: true}
	must(open.RoleAdd(ctx, etcd.RoleAddRequest{Name: "reader"}))
	must(open.RoleGrantPermission(ctx, grant))
	must(open.RoleAdd(ctx, etcd.RoleAddRequest{Name: "root"}))
	for name, role := range map[string]string{"root": "root", "reader": "reader"} {
		must(open.UserAdd(ctx, etcd.UserAddRequest{Name: name, Password: name}))
		must(open.UserGrantRole(ctx, etcd.UserGrantRoleRequest{User: name, Role: role}))
	}
	must(open.Enable(ctx))

	root := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "root", Password: "root"})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	reader := testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}, Username: "reader", Password: "reader"})
	f := following(t, reader, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	last := testbed.Put(t, root, scope+"a", "1")
	want(t, next(t, f), last, "changed 1: a ->1")
	must(root.Auth().RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Role: "reader", Key: scope, Prefix: true}))
	proxy.Reset()
	if step, err := f.Next(ctx); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Fatalf("%s, %v without permission", says(step), err)
	}
	last = testbed.Put(t, root, scope+"a", "2")
	if step, err := f.Next(ctx); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Fatalf("%s, %v without permission", says(step), err)
	}
	must(root.Auth().RoleGrantPermission(ctx, grant))
	want(t, next(t, f), last, "changed 1: a 1>2")
}

// The end of the client is the end of Next.
func TestClientCloses(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	f := following(t, c, follow.Config{Key: scope, Prefix: true})
	next(t, f)
	ended := make(chan error, 1)
	go func() {
		_, err := f.Next(t.Context())
		ended <- err
	}()
	_ = c.Close()
	if err := <-ended; !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("Next ended with %v", err)
	}
	if _, err := f.Next(t.Context()); !errors.Is(err, etcd.ErrClosed) {
		t.Errorf("Next returned %v", err)
	}
}

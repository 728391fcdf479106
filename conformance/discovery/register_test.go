package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/discovery"
	"silly.store/etcd/etcdtest"
)

// The key is there from Register to Close, on the coordinator's lease, and says what Update
// has said last.
func TestRegister(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	reg := register(t, co, discovery.Instance{Service: name, ID: "a", Addr: "10.0.0.1:80"})
	st := reg.State()
	kv, ok := get(t, c, name+"/a")
	if !ok || kv.Lease == 0 || kv.Lease != st.Lease || kv.ModRevision != st.Revision || st.Phase != discovery.Registered {
		t.Errorf("%+v, the state is %+v", kv, st)
	}
	if err := reg.Update(testbed.Within(t, 20*time.Second), discovery.Instance{Addr: "10.0.0.2:80"}); err != nil {
		t.Fatal(err)
	}
	after, _ := get(t, c, name+"/a")
	if string(after.Value) != `{"Op":0,"Addr":"10.0.0.2:80","Metadata":null}` || after.CreateRevision != kv.CreateRevision || after.Lease != kv.Lease {
		t.Errorf("after Update: %s, %+v", after.Value, after)
	}
	closeNow(t, reg)
	if _, ok := get(t, c, name+"/a"); ok {
		t.Error("the key is there after Close")
	}
	if st := reg.State(); st.Phase != discovery.Closed || st.Again != 0 {
		t.Errorf("%+v", st)
	}
	if err := reg.Update(t.Context(), discovery.Instance{Addr: "x"}); !errors.Is(err, discovery.ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}

// What is lost comes back: the lease, the key, and what a stranger has written over it.
func TestComesBack(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	reg := register(t, testbed.Coordinate(t, c, concurrency.Config{}), discovery.Instance{Service: name, ID: "a", Addr: "1"})
	own, _ := get(t, c, name+"/a")
	losses := []struct {
		name string
		lose func() error
	}{
		{"the lease revoked", func() error {
			_, err := c.Revoke(t.Context(), etcd.RevokeRequest{ID: reg.State().Lease})
			return err
		}},
		{"the key deleted", func() error {
			_, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/a"})
			return err
		}},
		{"the value overwritten, without a lease", func() error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/a", Value: []byte("?")})
			return err
		}},
		{"the value overwritten, on the lease", func() error {
			_, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/a", Value: []byte("?"), IgnoreLease: true})
			return err
		}},
	}
	for i, loss := range losses {
		if err := loss.lose(); err != nil {
			t.Fatal(err)
		}
		testbed.Eventually(t, loss.name, func() bool {
			kv, ok := get(t, c, name+"/a")
			return ok && string(kv.Value) == string(own.Value) && kv.Lease != 0 && kv.Lease == reg.State().Lease
		})
		testbed.Eventually(t, "Again to count "+loss.name, func() bool { return reg.State().Again == i+1 })
	}
	closeNow(t, reg)
	if kv, ok := get(t, c, name+"/a"); ok {
		t.Errorf("after Close there is %s", kv.Value)
	}
}

// The store is set back right after Register, maybe before the registration has read its key:
// the key comes back, although the lease lives and revisions have fallen.
func TestRestoredRightAfterRegister(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: testbed.Patience})
	if _, err := co.Session(testbed.Within(t, testbed.Patience)); err != nil { // its lease is older than the backup
		t.Fatal(err)
	}
	backup := testbed.TakeBackup(t, s)
	plain := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	for i := range 20 { // so that the new history does not pass the key's revision
		testbed.Put(t, plain, "other", fmt.Sprint(i))
	}
	reg := register(t, co, discovery.Instance{Service: "s", ID: "a", Addr: "1"})
	backup.Restore(t)
	testbed.NewHistory(t, plain)
	testbed.Eventually(t, "the key to come back", func() bool {
		kv, ok := get(t, plain, "s/a")
		return ok && kv.Lease == reg.State().Lease && kv.ModRevision == reg.State().Revision
	})
	closeNow(t, reg)
}

// Somebody who deletes the key again and again makes one put a second, no war.
func TestOnceASecond(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	reg := register(t, testbed.Coordinate(t, c, concurrency.Config{}), discovery.Instance{Service: name, ID: "a", Addr: "1"})
	w, err := c.Watch(t.Context(), etcd.WatchRequest{Key: name + "/a", NoDelete: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	last := time.Now()
	for range 2 {
		if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/a"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(testbed.Within(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(last); d < 900*time.Millisecond {
			t.Errorf("put again after %v", d)
		}
		last = time.Now()
	}
	closeNow(t, reg)
}

// A second registration of an ID by the same Coordinator is refused until the first is closed:
// on one lease they could not tell each other apart.
func TestRegisterTwice(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	a := discovery.Instance{Service: name, ID: "a", Addr: "1"}
	first := register(t, co, a)
	a.Addr = "2"
	_, err := discovery.Register(testbed.Within(t, 20*time.Second), co, a)
	if !errors.Is(err, discovery.ErrExists) || !strings.Contains(err.Error(), "the same Coordinator") {
		t.Fatalf("the second: %v", err)
	}
	if kv, _ := get(t, c, name+"/a"); kv.ModRevision != first.State().Revision || kv.Version != 1 {
		t.Errorf("the first one's key was put again: %+v", kv)
	}
	a.ID = "b"
	closeNow(t, register(t, co, a))
	a.ID = "a"
	closeNow(t, first)
	second := register(t, co, a)
	if kv, _ := get(t, c, name+"/a"); kv.ModRevision != second.State().Revision {
		t.Errorf("after Close of the first: %+v", kv)
	}
	closeNow(t, second)
}

// A program that restarts takes its key over without a gap; the former registration yields,
// and its end does not touch the key.
func TestTakeover(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	first, second := testbed.Coordinate(t, c, concurrency.Config{}), testbed.Coordinate(t, c, concurrency.Config{})
	a := discovery.Instance{Service: name, ID: "a", Addr: "1"}
	old := register(t, first, a)
	was, _ := get(t, c, name+"/a")
	_, err := discovery.RegisterConfig{NoTakeover: true}.Register(testbed.Within(t, 20*time.Second), second, a)
	if !errors.Is(err, discovery.ErrExists) {
		t.Fatalf("NoTakeover: %v", err)
	}
	a.Addr = "2"
	current := register(t, second, a)
	kv, _ := get(t, c, name+"/a")
	if kv.CreateRevision != was.CreateRevision || kv.Lease != current.State().Lease {
		t.Errorf("taken over: %+v, before %+v", kv, was)
	}
	if st := state(t, old, discovery.Ended); !errors.Is(st.Err, discovery.ErrSuperseded) {
		t.Errorf("the former one: %v", st.Err)
	}
	if err := old.Update(t.Context(), a); !errors.Is(err, discovery.ErrSuperseded) {
		t.Errorf("Update of the former one: %v", err)
	}
	closeNow(t, old)
	if err := first.Close(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if after, ok := get(t, c, name+"/a"); !ok || after.ModRevision != kv.ModRevision {
		t.Errorf("the end of the former one has changed the key: %+v", after)
	}
	closeNow(t, current)
}

// Whatever becomes of the request that registers or takes back, the result is the same, and a
// late copy has no effect.
func TestRegisterFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			var config etcd.Config
			f, plain, name := testbed.WithFaults(t, &config), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
			co := testbed.Coordinate(t, testbed.Connect(t, config), concurrency.Config{})
			if _, err := co.Session(testbed.Within(t, 20*time.Second)); err != nil {
				t.Fatal(err)
			}
			f.Arm(k, name)
			reg := register(t, co, discovery.Instance{Service: name, ID: "a", Addr: "1"})
			if k != onefault.Late {
				f.Arm(k, name)
			}
			closeNow(t, reg)
			if _, ok := get(t, plain, name+"/a"); ok {
				t.Error("the key is there after Close")
			}
			if k == onefault.Late {
				f.Deliver(t)
				if kv, ok := get(t, plain, name+"/a"); ok {
					t.Errorf("the late copy has put %s", kv.Value)
				}
			}
		})
	}
}

// A Register whose context ends leaves nothing, also when its put arrives late.
func TestRegisterGivenUp(t *testing.T) {
	t.Parallel()
	var config etcd.Config
	f, plain, name := testbed.WithFaults(t, &config), testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, testbed.Connect(t, config), concurrency.Config{})
	if _, err := co.Session(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	hit := f.Arm(onefault.Stall, name)
	ctx, cancel := context.WithCancel(testbed.Within(t, 20*time.Second))
	failed := make(chan error, 1)
	go func() {
		_, err := discovery.Register(ctx, co, discovery.Instance{Service: name, ID: "a", Addr: "1"})
		failed <- err
	}()
	<-hit
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	f.Sever()
	testbed.Eventually(t, "the fence", func() bool { return co.Stats().Fences == 1 })
	f.Deliver(t)
	if kv, ok := get(t, plain, name+"/a"); ok {
		t.Errorf("the late copy has put %s", kv.Value)
	}
}

// Etcd is away at the start, for a moment, and for longer than the lease lives: the instance
// is registered as soon as that is possible.
func TestOutages(t *testing.T) {
	t.Parallel()
	s := etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond})
	proxy := etcdtest.StartProxy(t, s.Endpoints()[0])
	plain := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()})
	c := testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}})
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: time.Second})
	cut := func() {
		proxy.Silence(true)
		proxy.Reset()
	}
	heal := func() {
		proxy.Silence(false)
		proxy.Reset()
	}
	cut()
	inst := discovery.Instance{Service: "svc", ID: "a", Addr: "1"}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := discovery.Register(short, co, inst); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Register without etcd: %v", err)
	}
	reg, err := discovery.RegisterConfig{NoWait: true}.Register(t.Context(), co, inst)
	if err != nil {
		t.Fatal(err)
	}
	heal()
	first := state(t, reg, discovery.Registered)

	cut()
	testbed.Eventually(t, "the key to go", func() bool { _, ok := get(t, plain, "svc/a"); return !ok })
	state(t, reg, discovery.Putting)
	heal()
	if st := state(t, reg, discovery.Registered); st.Lease == first.Lease || st.Again != 1 {
		t.Errorf("registered again: %+v, first %+v", st, first)
	}
	closeNow(t, reg)
	if _, ok := get(t, plain, "svc/a"); ok {
		t.Error("the key is there after Close")
	}
}

// Close without etcd returns with its context, and the key goes when etcd is back.
func TestCloseWithoutEtcd(t *testing.T) {
	t.Parallel()
	proxy := etcdtest.StartProxy(t, testbed.Shared.Endpoints()[0])
	plain, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{Endpoints: []string{proxy.Endpoint()}}), concurrency.Config{TTL: time.Minute})
	reg := register(t, co, discovery.Instance{Service: name, ID: "a", Addr: "1"})
	proxy.Silence(true)
	proxy.Reset()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := reg.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close without etcd: %v", err)
	}
	proxy.Silence(false)
	proxy.Reset()
	closeNow(t, reg)
	if _, ok := get(t, plain, name+"/a"); ok {
		t.Error("the key is there")
	}
}

// The end of the coordinator or the client ends the registration.
func TestEndedFromBelow(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	reg := register(t, co, discovery.Instance{Service: name, ID: "a", Addr: "1"})
	if err := co.Close(testbed.Within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if st := state(t, reg, discovery.Ended); !errors.Is(st.Err, concurrency.ErrClosed) {
		t.Errorf("after the coordinator's Close: %v", st.Err)
	}
	closed := testbed.Connect(t, etcd.Config{})
	reg = register(t, testbed.Coordinate(t, closed, concurrency.Config{TTL: 2 * time.Second}), discovery.Instance{Service: name, ID: "b", Addr: "1"})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if st := state(t, reg, discovery.Ended); !errors.Is(st.Err, etcd.ErrClosed) {
		t.Errorf("after the client's Close: %v", st.Err)
	}
}

// Bad input is refused before anything is sent, and the text names the field.
func TestRegisterRefused(t *testing.T) {
	t.Parallel()
	co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
	for want, i := range map[string]discovery.Instance{
		"Service is empty":        {ID: "a", Addr: "1"},
		"Service ends with":       {Service: "s/", ID: "a", Addr: "1"},
		"Instance.Addr is empty":  {Service: "s", ID: "a"},
		"Instance.ID has a slash": {Service: "s", ID: "a/b", Addr: "1"},
		"stands for the ID":       {Service: "s", Addr: "http://h"},
		"Instance: json":          {Service: "s", Addr: "1", Metadata: make(chan int)},
	} {
		_, err := discovery.Register(t.Context(), co, i)
		refused(t, err, want)
	}
	_, err := discovery.Register(t.Context(), nil, discovery.Instance{Service: "s", Addr: "1"})
	refused(t, err, "coordinator is nil")
	var none context.Context
	if _, err := discovery.Register(none, co, discovery.Instance{Service: "s", Addr: "1"}); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Errorf("a nil context: %v", err)
	}
}

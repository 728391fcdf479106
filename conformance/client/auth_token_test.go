package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/etcdtest"
)

// quickAuth is a server for tokens and leases of about a second.
func quickAuth(t testing.TB, config etcdtest.Config) *etcdtest.Server {
	t.Helper()
	config.Heartbeat = 10 * time.Millisecond
	return etcdtest.StartProcess(t, config)
}

// The server forgets a token that calls, a watch and a lease use.
func TestAuthTokenForgotten(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "p", "u/")
	before := authentications(t, s)
	c := asUser(t, s, "u", "p")
	old := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	l := granted(t, c, 3*time.Second)
	attach(t, c, "u/leased", l.ID)
	manual, err := c.KeepAlive(t.Context(), etcd.KeepAliveRequest{ID: l.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer manual.Close()
	fill(t, c, "u/n/", 100, 10)
	all := rangeOf(t, c, etcd.GetRequest{Key: "u/n/", Prefix: true})
	if n := authentications(t, s) - before; n != 1 {
		t.Errorf("%d Authenticate calls for all of this, want 1", n)
	}

	endTokens(t, root, "u", "p")
	checkNumbered(t, collect(t, all), "u/n/", 0, 99)
	put(t, c, "u/after", "v")
	young := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	put(t, c, "u/end", "v")
	readUntil(t, old, "u/", "u/end")
	readUntil(t, young, "u/", "u/end")
	if n := authentications(t, s) - before; n != 2 {
		t.Errorf("%d Authenticate calls, want 2", n)
	}

	// The manual stream keeps its token; another one gets the new one.
	if err := manual.Write(t.Context(), etcd.KeepAliveRequest{ID: l.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := manual.Read(within(t, 10*time.Second)); !errors.Is(err, etcd.ErrInvalidAuthToken) {
		t.Errorf("error %v", err)
	}
	if manual, err = c.KeepAlive(t.Context(), etcd.KeepAliveRequest{ID: l.ID}); err != nil {
		t.Fatal(err)
	}
	defer manual.Close()
	must(t)(nil, manual.Write(t.Context(), etcd.KeepAliveRequest{ID: l.ID}))
	must(t)(manual.Read(within(t, 10*time.Second)))

	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		select {
		case <-l.Done():
			t.Fatal(l.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	if !exists(t, c, "u/leased") {
		t.Error("the lease has expired")
	}
	if n := authentications(t, s) - before; n != 2 {
		t.Errorf("%d Authenticate calls in the end, want 2", n)
	}
	if n := c.Stats().Authentications; n != 2 {
		t.Errorf("the client counts %d authentications, want 2", n)
	}
}

// A simple token expires on the server when it is unused for a time, here two seconds.
func TestAuthTokenExpires(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{AuthTokenTTL: 2 * time.Second})
	root := authOn(t, s)
	w := watch(t, root, etcd.WatchRequest{Key: "k"})
	before := authentications(t, s)
	time.Sleep(4 * time.Second) // etcd looks once a second
	w2 := watch(t, root, etcd.WatchRequest{Key: "k"})
	put(t, root, "k", "v")
	read(t, w)
	read(t, w2)
	if n := authentications(t, s) - before; n != 1 {
		t.Errorf("%d Authenticate calls, want 1", n)
	}
}

// A thousand callers use a token that is no longer accepted. None fails, and each
// write is applied once: the rejections came before the proposals.
func TestAuthTokenStorm(t *testing.T) {
	t.Parallel()
	const callers = 1000
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "p", "u/")
	c := asUser(t, s, "u", "p")
	put(t, c, "u/0", "v")
	before := authentications(t, s)
	for range 3 {
		endTokens(t, root, "u", "p")
		var calls sync.WaitGroup
		for i := range callers {
			calls.Go(func() {
				if _, err := c.Put(t.Context(), etcd.PutRequest{Key: fmt.Sprint("u/", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
	}
	if n := authentications(t, s) - before; n != 3 {
		t.Errorf("%d Authenticate calls, want 3", n)
	}
	for _, kv := range get(t, c, etcd.GetRequest{Key: "u/", Prefix: true}).KVs {
		if want := int64(3); kv.Version != want && kv.Key != "u/0" {
			t.Errorf("%s has version %d, want %d", kv.Key, kv.Version, want)
		}
	}
}

// Authentication is switched on, off and on again under a client with a watch and a
// lease that has credentials from the start.
func TestAuthSwitched(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	c := asUser(t, s, "root", rootPassword)
	w := watch(t, c, etcd.WatchRequest{Key: "k/", Prefix: true})
	l := granted(t, c, 3*time.Second)
	attach(t, c, "k/leased", l.ID)
	read(t, w)
	step := func(name string) {
		t.Helper()
		put(t, c, "k/"+name, "v")
		if ev := read(t, w).Events[0]; ev.KV.Key != "k/"+name {
			t.Errorf("event %v, want that of %s", ev, name)
		}
		another := watch(t, c, etcd.WatchRequest{Key: "k/" + name, Revision: 1})
		if ev := read(t, another).Events[0]; ev.KV.Key != "k/"+name {
			t.Errorf("event %v, want that of %s", ev, name)
		}
		renewed := l.Deadline()
		for end := time.Now().Add(10 * time.Second); !l.Deadline().After(renewed); time.Sleep(10 * time.Millisecond) {
			alive(t, l)
			if time.Now().After(end) {
				t.Fatalf("%s: the lease is not renewed", name)
			}
		}
		alive(t, l)
	}
	step("off")
	root := authOn(t, s)
	step("on")
	must(t)(root.Auth().Disable(t.Context()))
	step("off again")
	must(t)(connect(t, etcd.Config{Endpoints: s.Endpoints()}).Auth().Enable(t.Context()))
	step("on again")
	if !exists(t, c, "k/leased") {
		t.Error("the lease has expired")
	}
}

// Every kind of request fails at once with the wrong password, and the server does
// not have to check it for each.
func TestAuthWrongPassword(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	before := authentications(t, s)
	c := asUser(t, s, "root", "battery staple")
	ctx := within(t, time.Minute)
	began := time.Now()
	for name, call := range map[string]func() error{
		"Ready": func() error { return c.Ready(ctx) },
		"Put":   func() error { _, err := c.Put(ctx, etcd.PutRequest{Key: "k"}); return err },
		"Get":   func() error { _, err := c.Get(ctx, etcd.GetRequest{Key: "k"}); return err },
		"Range": func() error { _, err := c.Range(ctx, etcd.GetRequest{Key: "k", Prefix: true}); return err },
		"Watch": func() error { _, err := c.Watch(ctx, etcd.WatchRequest{Key: "k"}); return err },
		"Watch from a revision": func() error {
			_, err := c.Watch(ctx, etcd.WatchRequest{Key: "k", Revision: 1})
			return err
		},
		"Grant":         func() error { _, err := c.Grant(ctx, etcd.GrantRequest{TTL: time.Second}); return err },
		"KeepAlive":     func() error { _, err := c.KeepAlive(ctx, etcd.KeepAliveRequest{ID: 1}); return err },
		"KeepAliveOnce": func() error { _, err := c.KeepAliveOnce(ctx, etcd.KeepAliveRequest{ID: 1}); return err },
		"UserList":      func() error { _, err := c.Auth().UserList(ctx); return err },
	} {
		err := call()
		if !errors.Is(err, etcd.ErrAuthFailed) || etcd.MaybeApplied(err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	var calls sync.WaitGroup
	for range 200 {
		calls.Go(func() {
			_, err := c.Put(ctx, etcd.PutRequest{Key: "k"})
			wants(t, err, etcd.ErrAuthFailed, etcd.OutcomeNotSent)
		})
	}
	calls.Wait()
	if n, most := authentications(t, s)-before, 2+int(time.Since(began)/(150*time.Millisecond)); n > most {
		t.Errorf("%d Authenticate calls, want at most %d", n, most)
	}
	if _, err := asUser(t, s, "nobody", "p").Put(ctx, etcd.PutRequest{Key: "k"}); !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("an unknown user: %v", err)
	}
	must(t)(root.Auth().UserAdd(ctx, etcd.UserAddRequest{Name: "cert", NoPassword: true}))
	if _, err := asUser(t, s, "cert", "p").Put(ctx, etcd.PutRequest{Key: "k"}); !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("a user without password: %v", err)
	}

	// The password becomes right.
	endTokens(t, root, "root", "battery staple")
	for {
		_, err := c.Put(ctx, etcd.PutRequest{Key: "k"})
		if err == nil {
			break
		}
		wants(t, err, etcd.ErrAuthFailed, etcd.OutcomeNotSent)
		if ctx.Err() != nil {
			t.Fatal("it goes on failing")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The password changes, and the client's callback knows the new one.
func TestAuthRotation(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "p0", "u/")
	var password atomic.Value
	password.Store("p0")
	var asked atomic.Int64
	d := newDialer()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial,
		Credentials: func(context.Context) (etcd.Credentials, error) {
			asked.Add(1)
			return etcd.Credentials{Username: "u", Password: password.Load().(string)}, nil
		},
	})
	w := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	l := granted(t, c, 3*time.Second)
	attach(t, c, "u/leased", l.ID)
	read(t, w)
	cuts := int64(0)
	for i := range 5 {
		next := fmt.Sprint("p", i+1)
		password.Store(next)
		endTokens(t, root, "u", next)
		if i%2 == 1 {
			d.cutAll() // the watch has to resume
			cuts++
		}
		put(t, c, "u/k", next)
		if ev := read(t, w).Events[0]; string(ev.KV.Value) != next {
			t.Errorf("event %v, want %s", ev, next)
		}
	}
	alive(t, l)
	// A cut may meet the Authenticate call of a renewal, which then asks again.
	if n := asked.Load(); n > 6+cuts {
		t.Errorf("the callback was asked %d times, want at most %d", n, 6+cuts)
	}
}

// A user without a permission gets an error, and a watch that lost its permission
// ends when it has to resume.
func TestAuthPermissions(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "p", "u/")
	d := newDialer()
	c := connect(t, etcd.Config{Endpoints: s.Endpoints(), Username: "u", Password: "p", DialContext: d.dial})
	ctx := within(t, 20*time.Second)
	must(t)(nil, c.Ready(ctx))
	for name, call := range map[string]func() error{
		"Put":      func() error { _, err := c.Put(ctx, etcd.PutRequest{Key: "k"}); return err },
		"Get":      func() error { _, err := c.Get(ctx, etcd.GetRequest{Key: "k"}); return err },
		"Watch":    func() error { _, err := c.Watch(ctx, etcd.WatchRequest{Key: "k"}); return err },
		"Prefix":   func() error { _, err := c.Watch(ctx, etcd.WatchRequest{Prefix: true, Revision: 1}); return err },
		"Compact":  func() error { _, err := c.Compact(ctx, etcd.CompactRequest{Revision: 1}); return err },
		"UserList": func() error { _, err := c.Auth().UserList(ctx); return err },
		"Disable":  func() error { _, err := c.Auth().Disable(ctx); return err },
	} {
		if err := call(); !errors.Is(err, etcd.ErrPermissionDenied) || etcd.MaybeApplied(err) {
			if name == "Compact" && err != nil && !etcd.MaybeApplied(err) {
				continue // etcd checks its permission since 3.7
			}
			t.Errorf("%s: error %v", name, err)
		}
	}
	user, err := c.Auth().UserGet(ctx, etcd.UserGetRequest{Name: "u"})
	if err != nil || fmt.Sprint(user.Roles) != "[u]" {
		t.Errorf("the user asks for itself: %+v, %v", user, err)
	}

	w := watch(t, c, etcd.WatchRequest{Key: "u/", Prefix: true})
	must(t)(root.Auth().RoleRevokePermission(ctx, etcd.RoleRevokePermissionRequest{Role: "u", Key: root.Prefix() + "u/", Prefix: true}))
	put(t, root, "u/k", "v")
	if ev := read(t, w).Events[0]; ev.KV.Key != "u/k" {
		t.Errorf("event %v", ev)
	}
	d.cutAll()
	if _, err := w.Read(ctx); !errors.Is(err, etcd.ErrPermissionDenied) {
		t.Errorf("the watch ended with %v", err)
	}
}

// A token costs a call no allocation. The race detector empties pools at random, so
// both averages vary by about a tenth.
func TestAuthTokenAllocations(t *testing.T) {
	s := quickAuth(t, etcdtest.Config{})
	measure := func(c *etcd.Client) float64 {
		t.Helper()
		const calls = 2000
		put(t, c, "k", "v")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			get(t, c, etcd.GetRequest{Key: "k"})
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / calls
	}
	without := measure(connect(t, etcd.Config{Endpoints: s.Endpoints()}))
	root := authOn(t, s)
	with := measure(root)
	if with > without+0.5 {
		t.Errorf("%.2f allocations with a token, %.2f without", with, without)
	}
}

// A password changes under two clients that do not know the new one yet, and then
// their watches have to resume. The first client never learns it: its watch ends,
// and its lease is lost for that reason. The other's callback learns it eventually.
func TestAuthLockedOut(t *testing.T) {
	t.Parallel()
	s := quickAuth(t, etcdtest.Config{})
	root := authOn(t, s)
	addUser(t, root, "u", "old", "u/")
	var password atomic.Value
	password.Store("old")
	d := newDialer()
	fixed := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial, Username: "u", Password: "old"})
	asking := connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: d.dial,
		Credentials: func(context.Context) (etcd.Credentials, error) {
			return etcd.Credentials{Username: "u", Password: password.Load().(string)}, nil
		},
	})
	ends := watch(t, fixed, etcd.WatchRequest{Key: "u/k"})
	goesOn := watch(t, asking, etcd.WatchRequest{Key: "u/k"})
	lease := granted(t, fixed, 3*time.Second)
	attach(t, fixed, "u/leased", lease.ID)
	endTokens(t, root, "u", "new")
	put(t, root, "u/k", "1")
	read(t, ends)
	read(t, goesOn)
	d.cutAll()
	if _, err := ends.Read(within(t, 10*time.Second)); !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("the watch ended with %v", err)
	}
	if _, err := asking.Get(t.Context(), etcd.GetRequest{Key: "u/k"}); !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("error %v", err)
	}
	put(t, root, "u/k", "2")
	password.Store("new")
	if ev := read(t, goesOn).Events[0]; string(ev.KV.Value) != "2" {
		t.Errorf("event %v", ev)
	}
	if err := lost(t, lease, 10*time.Second); !errors.Is(err, etcd.ErrLeaseNotRenewed) || !errors.Is(err, etcd.ErrAuthFailed) {
		t.Errorf("the lease is lost with %v", err)
	}
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type hookKey struct{}

// The context of Hooks.Call is that of the attempts, and its end sees what they were.
func TestCallHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun []CallInfo
		var ended []CallResult
		var attempts []AttemptInfo
		c, _ := scriptedBy(t, Config{Retry: 1, RetrySleep: time.Second, Hooks: Hooks{
			Call: func(ctx context.Context, info CallInfo) (context.Context, func(CallResult)) {
				begun = append(begun, info)
				return context.WithValue(ctx, hookKey{}, "mine"), func(r CallResult) { ended = append(ended, r) }
			},
			Attempt: func(ctx context.Context, a AttemptInfo) func(AttemptResult) {
				if ctx.Value(hookKey{}) != "mine" {
					t.Error("an attempt has another context")
				}
				attempts = append(attempts, a)
				return nil
			},
		}}, busy, ok, ok, lost)
		_, _ = c.Put(t.Context(), PutRequest{Key: "k", Value: []byte("v")})
		_, _ = c.Get(t.Context(), GetRequest{Key: "k"})
		_, err := c.Delete(t.Context(), DeleteRequest{Key: "k"})
		if len(ended) != 3 || begun[0].Op != "Put" || begun[0].Key != "k" || begun[0].Bytes != 6 || begun[0].Operations != 1 {
			t.Fatalf("begun %+v, ended %+v", begun, ended)
		}
		if r := ended[0]; r.Err != nil || r.Attempts != 2 || r.Endpoint != "a:1" || r.Duration < 800*time.Millisecond {
			t.Errorf("the put ended with %+v", r)
		}
		if r := ended[2]; !errors.Is(r.Err, ErrUnavailable) || err == nil || !MaybeApplied(r.Err) {
			t.Errorf("the delete ended with %+v", r)
		}
		if a := attempts[0]; a.Method != "etcdserverpb.KV/Put" {
			t.Errorf("the method is %q", a.Method)
		}
	})
}

// Those who share a request are named with the contexts of their calls.
func TestAttemptHookNamesThoseWhoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards shared
		shared := make(map[string]int)
		c, g := gatedClientWith(t, Config{Hooks: Hooks{
			Call: func(ctx context.Context, info CallInfo) (context.Context, func(CallResult)) {
				return context.WithValue(ctx, hookKey{}, info.Key), nil
			},
			Attempt: func(_ context.Context, a AttemptInfo) func(AttemptResult) {
				if a.Calls > 1 && len(a.Shared) != a.Calls {
					t.Errorf("%d calls share a request, and %d contexts", a.Calls, len(a.Shared))
				}
				mu.Lock()
				defer mu.Unlock()
				for _, ctx := range a.Shared {
					shared[ctx.Value(hookKey{}).(string)]++
				}
				return nil
			},
		}})
		for i := range crowd {
			c.startGet(context.Background(), fmt.Sprint(i))
		}
		alone := 0
		for held := g.Came(); len(held) > 0; held = g.Came() {
			for _, h := range held {
				h.Answer(reply{Body: echo(h.Request)})
			}
			if alone == 0 {
				alone = len(held) // nobody waited yet
			}
		}
		if len(shared) != crowd-alone || alone == crowd {
			t.Errorf("%d of %d calls that waited were named", len(shared), crowd-alone)
		}
	})
}

// A hook that panics is counted and told of, and the client goes on.
func TestHooksMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hooks Hooks
		v := reflect.ValueOf(&hooks).Elem()
		for i := range v.NumField() {
			v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value { panic("oh") }))
		}
		log := new(strings.Builder)
		c, _ := scriptedBy(t, Config{Hooks: hooks, Logger: slog.New(slog.NewTextHandler(log, nil))}, ok)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil {
			t.Error(err)
		}
		synctest.Wait() // the hooks of the connection
		if c.Stats().HookPanics < 3 || !strings.Contains(log.String(), "callback panicked") {
			t.Errorf("%d panics; the log says\n%s", c.Stats().HookPanics, log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := scriptedBy(t, Config{Hooks: Hooks{
			Call: func(context.Context, CallInfo) (context.Context, func(CallResult)) {
				return nil, func(CallResult) { panic("oh") }
			},
			Attempt: func(context.Context, AttemptInfo) func(AttemptResult) {
				return func(AttemptResult) { panic("oh") }
			},
		}}, ok)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil || c.Stats().HookPanics != 2 {
			t.Errorf("%v, %d panics", err, c.Stats().HookPanics)
		}
	})
}

// Every field is guarded and joined: one that is forgotten would be silent.
func TestHooksAreJoinedWhole(t *testing.T) {
	var order []string
	all := func(name string) (h Hooks) {
		v := reflect.ValueOf(&h).Elem()
		for i := range v.NumField() {
			f := v.Field(i).Type()
			v.Field(i).Set(reflect.MakeFunc(f, func(in []reflect.Value) (out []reflect.Value) {
				order = append(order, name)
				for o := range f.NumOut() {
					if f.Out(o).Kind() == reflect.Func {
						out = append(out, reflect.MakeFunc(f.Out(o), func([]reflect.Value) []reflect.Value { order = append(order, name+" ends"); return nil }))
					} else {
						out = append(out, in[0])
					}
				}
				return out
			}))
		}
		return h
	}
	joined := reflect.ValueOf(new(observer).guarded(JoinHooks(Hooks{}, all("a"), Hooks{}, all("b"))))
	for i := range joined.NumField() {
		order = nil
		f := joined.Field(i)
		var in []reflect.Value
		for j := range f.Type().NumIn() {
			if arg := f.Type().In(j); arg.Kind() == reflect.Interface {
				in = append(in, reflect.ValueOf(t.Context()))
			} else {
				in = append(in, reflect.Zero(arg))
			}
		}
		out := f.Call(in)
		want := []string{"a", "b"}
		if len(out) > 0 {
			out[len(out)-1].Call([]reflect.Value{reflect.Zero(out[len(out)-1].Type().In(0))})
			want = []string{"a", "b", "b ends", "a ends"}
		}
		if !slices.Equal(order, want) {
			t.Errorf("%s: %q", joined.Type().Field(i).Name, order)
		}
	}
	if none := JoinHooks(Hooks{}, Hooks{}); !reflect.ValueOf(none).IsZero() {
		t.Error("two hooks that are nil cost something")
	}
}

func TestSetHeaderRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs []error
		c, _ := scriptedBy(t, Config{Hooks: Hooks{Attempt: func(_ context.Context, a AttemptInfo) func(AttemptResult) {
			for _, h := range [][2]string{
				{"", "v"}, {"Upper", "v"}, {":path", "v"}, {"grpc-timeout", "v"}, {"token", "v"}, {"te", "v"}, {"a b", "v"},
				{"ok", "line\n"}, {"ok", "\xff"}, {"big", strings.Repeat("v", 1024)},
			} {
				errs = append(errs, a.SetHeader(h[0], h[1]))
			}
			for i := range maxHeaders {
				if err := a.SetHeader(fmt.Sprint("n", i), "v"); err != nil {
					t.Error(err)
				}
			}
			errs = append(errs, a.SetHeader("one-more", "v"))
			return nil
		}}}, ok)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		if len(errs) != 11 || slices.Contains(errs, nil) {
			t.Errorf("%q", errs)
		}
		if (AttemptInfo{}).SetHeader("a", "b") == nil {
			t.Error("an AttemptInfo of nothing takes headers")
		}
	})
}

// A call whose end is heard of costs one allocation, its context; others cost none.
func TestCallHookAllocations(t *testing.T) {
	hear := func(CallResult) {}
	for name, test := range map[string]struct {
		hook func(context.Context, CallInfo) (context.Context, func(CallResult))
		want float64
	}{
		"nil":   {nil, 0},
		"empty": {func(ctx context.Context, _ CallInfo) (context.Context, func(CallResult)) { return ctx, nil }, 0},
		"end":   {func(ctx context.Context, _ CallInfo) (context.Context, func(CallResult)) { return ctx, hear }, 1},
	} {
		o := new(observer)
		o.hooks = o.guarded(Hooks{Call: test.hook})
		ctx, req, resp := context.Background(), &rangeRequest{Key: "config/color"}, new(GetResponse)
		if got := testing.AllocsPerRun(100, func() {
			_, begun := o.begin(ctx, infoOf("Get", req))
			begun.end(nil, resp)
		}); got != test.want {
			t.Errorf("%s: %v allocations, want %v", name, got, test.want)
		}
	}
}

// BenchmarkCallHook is what a call costs more that nobody hears of, one whose hook does
// nothing, and one whose end is heard of.
func BenchmarkCallHook(b *testing.B) {
	hear := func(CallResult) {}
	for name, hook := range map[string]func(context.Context, CallInfo) (context.Context, func(CallResult)){
		"nil":   nil,
		"empty": func(ctx context.Context, _ CallInfo) (context.Context, func(CallResult)) { return ctx, nil },
		"end":   func(ctx context.Context, _ CallInfo) (context.Context, func(CallResult)) { return ctx, hear },
	} {
		b.Run(name, func(b *testing.B) {
			o := new(observer)
			o.hooks = o.guarded(Hooks{Call: hook})
			ctx, req, resp := context.Background(), &rangeRequest{Key: "config/color"}, new(GetResponse)
			b.ReportAllocs()
			for b.Loop() {
				if o.hooks.Call == nil {
					continue
				}
				_, begun := o.begin(ctx, infoOf("Get", req))
				begun.end(nil, resp)
			}
		})
	}
}

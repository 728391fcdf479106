package etcd

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/call"
)

// hooksThat call f in every field with its arguments, and with their result when their
// function for the end is called.
func hooksThat(f func(in []reflect.Value)) (h Hooks) {
	v := reflect.ValueOf(&h).Elem()
	for i := range v.NumField() {
		hook := v.Field(i).Type()
		v.Field(i).Set(reflect.MakeFunc(hook, func(in []reflect.Value) (out []reflect.Value) {
			f(in)
			for o := range hook.NumOut() {
				if end := hook.Out(o); end.Kind() == reflect.Func {
					out = append(out, reflect.MakeFunc(end, func(in []reflect.Value) []reflect.Value { f(in); return nil }))
				} else {
					out = append(out, in[0])
				}
			}
			return out
		}))
	}
	return h
}

// Whatever hook panics, and wherever it was joined, the others are called, and each panic is
// counted and named.
func TestJoinedHooksMayPanic(t *testing.T) {
	calls := make(map[string]int)
	counts := func(name string) Hooks { return hooksThat(func([]reflect.Value) { calls[name]++ }) }
	panics := hooksThat(func([]reflect.Value) { panic("oh") })
	endPanics := hooksThat(func(in []reflect.Value) {
		if len(in) == 1 {
			panic("the end")
		}
	})
	log := new(strings.Builder)
	o := &observer{log: slog.New(slog.NewTextHandler(log, nil))}
	o.hooks = o.guarded(JoinHooks(JoinHooks(panics, counts("a"), endPanics), panics, counts("b"), JoinHooks(counts("c"), panics)))
	all := reflect.ValueOf(o.hooks)
	for i := range all.NumField() {
		clear(calls)
		log.Reset()
		before, name := o.hookPanics.Load(), "Hooks."+all.Type().Field(i).Name
		switch name { // the client guards the ends of these two where it calls them
		case "Hooks.Call":
			_, begun := o.begin(t.Context(), CallInfo{})
			begun.end(nil, nil)
		case "Hooks.Attempt":
			o.AttemptEnds(o.AttemptBegins(t.Context(), call.Attempt{}), nil)
		default:
			all.Field(i).Call([]reflect.Value{reflect.Zero(all.Type().Field(i).Type.In(0))})
		}
		want := 1
		if all.Type().Field(i).Type.NumOut() > 0 {
			want = 2 // the end too
		}
		if calls["a"] != want || calls["b"] != want || calls["c"] != want {
			t.Errorf("%s: %v calls, want %d each", name, calls, want)
		}
		if n := o.hookPanics.Load() - before; n != 4 || strings.Count(log.String(), "callback="+name+" ") != 4 || strings.Count(log.String(), `at="hookjoin_test.go:`) != 4 {
			t.Errorf("%s: %d panics are counted, want 4; the log says\n%s", name, n, log)
		}
	}
}

// The context of a call has what each hook has put there, though one has panicked between them.
func TestJoinedHooksKeepContexts(t *testing.T) {
	type key string
	adds := func(name string) Hooks {
		return Hooks{Call: func(ctx context.Context, _ CallInfo) (context.Context, func(CallResult)) {
			return context.WithValue(ctx, key(name), name), nil
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		var values []any
		panics := Hooks{Call: func(context.Context, CallInfo) (context.Context, func(CallResult)) { panic("oh") }}
		c, _ := scriptedBy(t, Config{Hooks: JoinHooks(adds("a"), panics, adds("b"), Hooks{
			Attempt: func(ctx context.Context, _ AttemptInfo) func(AttemptResult) {
				values = append(values, ctx.Value(key("a")), ctx.Value(key("b")))
				return nil
			},
		})}, ok)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil || c.Stats().HookPanics != 1 {
			t.Errorf("%v, %d panics", err, c.Stats().HookPanics)
		}
		if !slices.Equal(values, []any{"a", "b"}) {
			t.Errorf("an attempt sees %v of the context", values)
		}
	})
}

// A caller of joined hooks without a client gets the panic, after the others were called.
func TestJoinedHooksPanicWithoutAClient(t *testing.T) {
	called := false
	defer func() {
		err, _ := recover().(error)
		if !called || err == nil || !strings.Contains(err.Error(), "Hooks.Retry panicked at hookjoin_test.go:") {
			t.Errorf("called: %t; %v", called, err)
		}
	}()
	JoinHooks(Hooks{Retry: func(RetryInfo) { panic("oh") }}, Hooks{Retry: func(RetryInfo) { called = true }}).Retry(RetryInfo{})
}

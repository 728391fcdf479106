package etcd

import (
	"context"

	"silly.store/etcd/internal/callback"
)

// JoinHooks returns hooks that call those of each, in the order given: metrics beside
// traces, and your own beside both. Each Call hook gets the context that the one before has
// returned, and their end functions are called in reverse order. Nil fields cost nothing.
//
// A hook that panics stops none of the others: they are called, with the context that the
// ones before it have returned, and so are their functions for the end. The client logs and
// counts each panic, one of a Call or an Attempt when that call or attempt ends.
func JoinHooks(all ...Hooks) Hooks {
	var joined Hooks
	for _, h := range all {
		joined = Hooks{
			Call:           joinCall(joined.Call, h.Call),
			Attempt:        joinAttempt(joined.Attempt, h.Attempt),
			Retry:          join("Hooks.Retry", joined.Retry, h.Retry),
			Connected:      join("Hooks.Connected", joined.Connected, h.Connected),
			Disconnected:   join("Hooks.Disconnected", joined.Disconnected, h.Disconnected),
			WatchDelivered: join("Hooks.WatchDelivered", joined.WatchDelivered, h.WatchDelivered),
			WatchStale:     join("Hooks.WatchStale", joined.WatchStale, h.WatchStale),
			WatchResumed:   join("Hooks.WatchResumed", joined.WatchResumed, h.WatchResumed),
			WatchEnded:     join("Hooks.WatchEnded", joined.WatchEnded, h.WatchEnded),
			LeaseGranted:   join("Hooks.LeaseGranted", joined.LeaseGranted, h.LeaseGranted),
			LeaseRenewed:   join("Hooks.LeaseRenewed", joined.LeaseRenewed, h.LeaseRenewed),
			LeaseLost:      join("Hooks.LeaseLost", joined.LeaseLost, h.LeaseLost),
		}
	}
	return joined
}

// join calls both, and panics afterwards if one has panicked: JoinHooks knows no client to
// report to, and the client's guard catches it.
func join[T any](name string, a, b func(T)) func(T) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(info T) {
		var panics callback.Panics
		panics.Call(name, func() { a(info) })
		panics.Call(name, func() { b(info) })
		panics.Raise()
	}
}

// bothEnds is what is called at the end when two want to hear of it: the last that began
// first. Panics of their beginnings are raised then, since a panic at the beginning would lose
// the functions for the end.
func bothEnds[T any](name string, begun callback.Panics, a, b func(T)) func(T) {
	ended := join(name, b, a)
	if len(begun) == 0 {
		return ended
	}
	return func(result T) {
		if ended != nil {
			begun.Call(name, func() { ended(result) })
		}
		begun.Raise()
	}
}

func joinCall(a, b func(context.Context, CallInfo) (context.Context, func(CallResult))) func(context.Context, CallInfo) (context.Context, func(CallResult)) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	const name = "Hooks.Call"
	return func(ctx context.Context, info CallInfo) (context.Context, func(CallResult)) {
		var panics callback.Panics
		var endA, endB func(CallResult)
		var own, next context.Context
		panics.Call(name, func() { own, endA = a(ctx, info) })
		if own == nil {
			own = ctx
		}
		panics.Call(name, func() { next, endB = b(own, info) })
		if next == nil {
			next = own
		}
		return next, bothEnds(name, panics, endA, endB)
	}
}

func joinAttempt(a, b func(context.Context, AttemptInfo) func(AttemptResult)) func(context.Context, AttemptInfo) func(AttemptResult) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	const name = "Hooks.Attempt"
	return func(ctx context.Context, info AttemptInfo) func(AttemptResult) {
		var panics callback.Panics
		var endA, endB func(AttemptResult)
		panics.Call(name, func() { endA = a(ctx, info) })
		panics.Call(name, func() { endB = b(ctx, info) })
		return bothEnds(name, panics, endA, endB)
	}
}

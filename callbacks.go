package etcd

import (
	"context"
	"fmt"
	"net"

	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/transport"
)

// Functions of the user that run in goroutines of the client: a panic would end the process.
// It is logged and counted here, and is an error where one can be returned.

// guard replaces the functions of a configuration.
func (c *Config) guard(o *observer) {
	c.Hooks = o.guarded(c.Hooks)
	c.Logger = callback.Logger(c.Logger, func() { o.hookPanics.Add(1) })
	if c.DialContext != nil {
		c.DialContext = transport.Checked("Config.DialContext", o.panicked, c.DialContext)
	}
	if c.Credentials != nil {
		c.Credentials = guardCredentials(o, c.Credentials)
	}
	if r := c.Resolver; r != nil && r.Dial != nil {
		c.Resolver = &net.Resolver{
			PreferGo: r.PreferGo, StrictErrors: r.StrictErrors,
			Dial: transport.Checked("Config.Resolver.Dial", o.panicked, r.Dial),
		}
	}
}

// guardCredentials has one call of ask under way at a time, as its documentation says: one
// that goes on after its context has ended is waited for.
func guardCredentials(o *observer, ask func(context.Context) (Credentials, error)) func(context.Context) (Credentials, error) {
	bounded := &callback.Bounded{Name: "Config.Credentials", Report: o.panicked, Most: 1}
	return func(ctx context.Context) (Credentials, error) {
		return callback.Call(ctx, bounded, func(ctx context.Context) (Credentials, error) {
			given, err := ask(ctx)
			if err != nil {
				err = fmt.Errorf("Config.Credentials failed: %w", err)
			}
			return given, err
		}, func(Credentials) {})
	}
}

// caught keeps a panic from ending the process. It is to be deferred.
func (o *observer) caught(ctx context.Context, name string) {
	if r := recover(); r != nil {
		for _, e := range callback.PanicsOf(name, r) {
			o.panickedIn(ctx, e)
		}
	}
}

// guarded are hooks whose panics are caught.
func (o *observer) guarded(h Hooks) Hooks {
	return Hooks{
		Call: guardCall(o, h.Call), Attempt: guardAttempt(o, h.Attempt),
		Retry:          guardHook(o, "Hooks.Retry", h.Retry),
		Connected:      guardHook(o, "Hooks.Connected", h.Connected),
		Disconnected:   guardHook(o, "Hooks.Disconnected", h.Disconnected),
		WatchDelivered: guardHook(o, "Hooks.WatchDelivered", h.WatchDelivered),
		WatchStale:     guardHook(o, "Hooks.WatchStale", h.WatchStale),
		WatchResumed:   guardHook(o, "Hooks.WatchResumed", h.WatchResumed),
		WatchEnded:     guardHook(o, "Hooks.WatchEnded", h.WatchEnded),
		LeaseGranted:   guardHook(o, "Hooks.LeaseGranted", h.LeaseGranted),
		LeaseRenewed:   guardHook(o, "Hooks.LeaseRenewed", h.LeaseRenewed),
		LeaseLost:      guardHook(o, "Hooks.LeaseLost", h.LeaseLost),
	}
}

func guardHook[T any](o *observer, name string, f func(T)) func(T) {
	if f == nil {
		return nil
	}
	report := callback.Report(o.panicked)
	return func(info T) {
		defer report.Recover(name, nil)
		f(info)
	}
}

func guardCall(o *observer, f func(context.Context, CallInfo) (context.Context, func(CallResult))) func(context.Context, CallInfo) (context.Context, func(CallResult)) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, info CallInfo) (own context.Context, ended func(CallResult)) {
		own = ctx
		defer o.caught(ctx, "Hooks.Call")
		got, ended := f(ctx, info)
		if got == nil {
			got = ctx
		}
		return got, ended
	}
}

func guardAttempt(o *observer, f func(context.Context, AttemptInfo) func(AttemptResult)) func(context.Context, AttemptInfo) func(AttemptResult) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, a AttemptInfo) (ended func(AttemptResult)) {
		defer o.caught(ctx, "Hooks.Attempt")
		return f(ctx, a)
	}
}

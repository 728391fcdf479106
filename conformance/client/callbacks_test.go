package client

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
)

// Invalid results and panics of the user's functions do not crash the process, and the error
// of the call names the function.
func TestCallbacksReturnNothing(t *testing.T) {
	t.Parallel()
	noConn := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	realDial := new(net.Dialer).DialContext
	for name, test := range map[string]struct {
		config   etcd.Config
		sentinel error
		says     string
	}{
		"DialContext": {
			etcd.Config{DialContext: noConn}, etcd.ErrBadEndpoint,
			"Config.DialContext returned neither a connection nor an error",
		},
		"DialContext, a nil pointer": {
			etcd.Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
				return (*net.TCPConn)(nil), nil
			}}, etcd.ErrBadEndpoint,
			"Config.DialContext returned neither a connection nor an error",
		},
		"Resolver.Dial for SRV records": {
			etcd.Config{DiscoverySRV: "etcd.test", Resolver: &net.Resolver{PreferGo: true, Dial: noConn}}, etcd.ErrUnavailable,
			"Config.Resolver.Dial returned neither a connection nor an error",
		},
		"DialContext, a panic": {
			etcd.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { panic("no cable") }}, etcd.ErrUnavailable,
			"Config.DialContext panicked at callbacks_test.go:",
		},
		"a connection that panics": {
			etcd.Config{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				nc, err := realDial(ctx, network, address)
				return panickyConn{nc}, err
			}}, etcd.ErrUnavailable,
			"the connection of Config.DialContext panicked at callbacks_test.go:",
		},
		"Resolver.Dial, a panic": {
			etcd.Config{DiscoverySRV: "etcd.test", Resolver: &net.Resolver{
				PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { panic("no cable") },
			}}, etcd.ErrUnavailable,
			"Config.Resolver.Dial panicked at callbacks_test.go:",
		},
		"Credentials, a panic": {
			etcd.Config{Credentials: func(context.Context) (etcd.Credentials, error) { panic("no vault") }}, etcd.ErrNoCredentials,
			"Config.Credentials panicked at callbacks_test.go:",
		},
		"Credentials": {
			etcd.Config{Credentials: func(context.Context) (etcd.Credentials, error) { return etcd.Credentials{}, nil }}, etcd.ErrNoCredentials,
			"invalid credentials from Config.Credentials",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.config.Retry = -1
			c := connect(t, test.config)
			_, err := c.Get(within(t, 10*time.Second), etcd.GetRequest{Key: "k"})
			wants(t, err, test.sentinel, etcd.OutcomeNotSent)
			mustSay(t, err, test.says)
			// Background work gets the same results.
			_, err = c.Watch(within(t, 300*time.Millisecond), etcd.WatchRequest{Key: "k"})
			if err == nil {
				t.Error("a watch was made")
			}
		})
	}

	c := connect(t, etcd.Config{Hooks: etcd.Hooks{
		Attempt: func(context.Context, etcd.AttemptInfo) func(etcd.AttemptResult) { return nil },
	}})
	get(t, c, etcd.GetRequest{Key: "k"})

	_, err := etcd.New(etcd.Config{Endpoints: testbed.Shared.Endpoints(), Logger: new(slog.Logger)})
	refused(t, err, etcd.ErrInvalidConfig, "Config.Logger has no handler")
}

type panickyConn struct{ net.Conn }

func (panickyConn) Read([]byte) (int, error) { panic("no cable") }

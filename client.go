package etcd

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/coalesce"
	"silly.store/etcd/internal/keepalive"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// Client is a client of one etcd cluster. Make it with [New], share it, and
// close it once. All methods may be called concurrently.
type Client struct {
	*core
	space space
	view  bool // made by Namespace
}

// core is what a client and its views share.
type core struct {
	engine    *call.Engine
	observer  observer
	endpoints endpoints
	watches   *watchHub
	leases    func() *keepalive.Keeper // made when first needed
	coalescer *coalesce.Coalescer

	// streamMissingSince is when a member last said that it has no RangeStream,
	// in Unix nanoseconds; 0: never.
	streamMissingSince atomic.Int64
}

// New makes a client. It checks the configuration and connects to nothing:
// connections are made when first needed. Use [Client.Ready] to wait for the
// cluster.
//
// The error names the field that is wrong; errors.Is finds ErrInvalidConfig.
func New(config Config) (*Client, error) {
	return newClient(config, transport.Dial, (*Config).hostLookup)
}

// dialFunc is transport.Dial, or what a test has in its place.
type dialFunc func(context.Context, transport.Target, transport.Options) (transport.Conn, error)

// newClient makes a client. lookUp makes what looks up the hosts of endpoints.
func newClient(config Config, dial dialFunc, lookUp func(*Config) balance.Resolver) (*Client, error) {
	files, err := config.useTLSFiles()
	var parsed []balance.Endpoint
	if err == nil {
		parsed, err = config.validate()
	}
	if err != nil {
		return nil, invalidConfig("New", err)
	}
	c := &Client{core: &core{}, space: everywhere}
	config.guard(&c.observer)
	c.observer.hooks, c.observer.log = config.Hooks, config.Logger
	options := transport.Options{
		DialContext: config.DialContext,
		Panicked:    c.observer.panicked,
		MaxMessage:  config.MaxResponseBytes,
		UserAgent:   userAgent,
	}
	engine := config.engine()
	engine.Endpoints, engine.Resolve, engine.Observer = config.first(parsed), lookUp(&config), &c.observer
	engine.OnHistoryReset = func(revision int64) { c.watches.historyReset(revision) }
	engine.Dial = func(ctx context.Context, target transport.Target) (transport.Conn, error) {
		if target.Network == networkSRV {
			return nil, c.endpoints.discover(ctx)
		}
		target.TLS = files.fresh(target.TLS)
		return dial(ctx, target, options)
	}
	c.engine = call.New(engine)
	c.watches = newWatchHub(c.engine, &c.observer)
	c.leases = sync.OnceValue(func() *keepalive.Keeper { return keepalive.New(c.engine, c.observer.leases()) })
	c.coalescer = c.newCoalescer(&config)
	c.endpoints.init(c, &config, parsed)
	return c, nil
}

// engine is what the engine below takes of the configuration.
func (c *Config) engine() call.Config {
	credentials, fixed := c.credentials()
	return call.Config{
		DialTimeout:      c.DialTimeout,
		Retries:          c.retries(),
		RetrySleep:       c.retrySleep(),
		Timeout:          c.timeout(),
		AtLeastOnce:      c.RetryWrites == AtLeastOnce,
		HedgeAfter:       c.HedgeReads,
		Prefer:           call.Preference(c.Prefer),
		Credentials:      credentials,
		FixedCredentials: fixed,
	}
}

// Close ends the client: calls that wait fail with ErrClosed, connections are
// closed, and when Close returns no goroutine of the client is left, but for calls of
// Config.DialContext and Config.Credentials that go on after the end of their contexts. It
// may be called again. It does not revoke leases and its error is always nil. Close of a view,
// see [Client.Namespace], does nothing.
func (c *Client) Close() error {
	if c.view {
		return nil
	}
	c.engine.Stop()
	c.coalescer.Close()
	c.watches.close()
	c.leases().Close()
	c.endpoints.close()
	c.engine.Close()
	c.coalescer.Wait()
	return nil
}

// readyPatience is how Ready waits between two tries: as long as its context lasts.
var readyPatience = call.Patience{Retries: math.MaxInt, Pause: 100 * time.Millisecond, Spread: 50 * time.Millisecond}

// Ready waits until a member answers a linearizable read, so that reads and
// writes will be served. It tries until ctx ends; the error then has the
// last error of each endpoint. Ready returns at once a fault that no waiting mends,
// like a wrong certificate or a server that is not etcd.
//
// A client need not wait for Ready before it makes calls.
//
// etcd: KV/Range (since 3.0)
func (c *Client) Ready(ctx context.Context) error {
	if ctx == nil {
		return invalid("Ready", errNilContext)
	}
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.Ready.Op, Operations: 1})
	var failed error
	if err := c.engine.Ready(ctx, readyPatience); err != nil {
		failed = public(err)
	}
	begun.end(failed, nil)
	return failed
}

// Version is the version of this package. Servers see it in the user agent of the
// client's requests.
const Version = "0.9.0"

const userAgent = "silly-etcd/" + Version

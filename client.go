package etcd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"silly.store/etcd/internal/balance"
	"silly.store/etcd/internal/transport"
)

// Client is a client of one etcd cluster. Make it with [New], share it, and
// close it once. All methods may be called concurrently.
type Client struct {
	retries     int
	retrySleep  time.Duration
	timeout     time.Duration
	retryWrites RetryWrites
	hedges      hedges

	observer  observer
	set       *balance.Set
	endpoints endpoints
	tokens    *tokens // nil: no credentials
	cluster   cluster
	scout     *scout // nil: no member is preferred
	watches   *watchHub
	leases    keeper
	coalescer coalescer

	done      chan struct{} // closed by Close: nothing is waited for any longer
	closeOnce sync.Once

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
	files, err := config.useTLSFiles()
	var parsed []balance.Endpoint
	if err == nil {
		parsed, err = config.validate()
	}
	if err != nil {
		return nil, invalidConfig("New", err)
	}
	options := transport.Options{
		DialContext: config.DialContext,
		MaxMessage:  config.MaxResponseBytes,
		UserAgent:   "silly-etcd",
	}
	c := &Client{
		retries:     config.retries(),
		retrySleep:  config.retrySleep(),
		timeout:     config.timeout(),
		retryWrites: config.RetryWrites,
		done:        make(chan struct{}),
		observer:    observer{hooks: config.Hooks, log: config.Logger},
	}
	c.set = balance.New(balance.Config{
		Endpoints:   config.first(parsed),
		DialTimeout: config.DialTimeout,
		Observer:    &c.observer,
		Dial: func(ctx context.Context, target transport.Target) (transport.Conn, error) {
			if target.Network == networkSRV {
				return nil, c.endpoints.discover(ctx)
			}
			target.TLS = files.fresh(target.TLS)
			return transport.Dial(ctx, target, options)
		},
		Check: c.identify,
		Probe: c.probe,
	})
	c.hedges.init(config.HedgeReads)
	c.endpoints.init(c, &config, parsed)
	c.tokens = newTokens(c, &config)
	c.scout = newScout(c, config.Prefer)
	c.watches = newWatchHub(c)
	c.leases.init(c)
	c.coalescer.init(c, config.Coalesce, config.MaxResponseBytes)
	return c, nil
}

// Close ends the client: calls that wait fail with ErrClosed, connections are
// closed, and when Close returns no goroutine of the client is left. It may be
// called again. It does not revoke leases and its error is always nil.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { close(c.done) })
	c.coalescer.close()
	c.watches.close()
	c.leases.close()
	c.tokens.close()
	c.endpoints.close()
	c.scout.close()
	c.set.Close()
	c.coalescer.wait()
	return nil
}

// readyPause is about how long Ready waits between two tries.
const readyPause = 100 * time.Millisecond

// Ready waits until a member answers a linearizable read, so that reads and
// writes will be served. It goes on trying until ctx ends; the error then tells
// the last error of each endpoint. A fault that no waiting mends, like a wrong
// certificate or a server that is not etcd, is returned at once.
//
// A client need not wait for Ready before it makes calls.
//
// etcd: KV/Range (since 3.0)
func (c *Client) Ready(ctx context.Context) error {
	if ctx == nil {
		return invalid("Ready", errNilContext)
	}
	m := newMessage()
	defer m.release()
	m.bytes = (&rangeRequest{Key: "\x00", CountOnly: true}).appendWire(m.bytes)
	var last *Error
	for {
		_, err := c.attempt(ctx, &rpcReady, m.bytes)
		switch {
		case err == nil || errors.Is(err, ErrPermissionDenied):
			return nil // it answered, and to tell us this it had to know who we are
		case !err.transient && ctx.Err() != nil && last != nil:
			err.Message = err.text() + "; last error: " + last.text()
			return err
		case !err.transient:
			return err
		}
		last = err
		if end := c.pause(ctx, jitter(readyPause, readyPause/2), err); end != nil {
			return end
		}
	}
}

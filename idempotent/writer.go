package idempotent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/internal/duration"
)

// Config configures a [Writer]. The zero value is valid.
type Config struct {
	// Name is the prefix of the writer's own keys. Writers with the same Name share the
	// IDs of [Writer.Once] and nothing else. Empty means "coordination/writer".
	Name string
	// Lanes is how many calls of [Writer.Txn] run at a time; further ones wait. Each has
	// a key on the coordinator's lease. 0 means 16; the maximum is 256.
	Lanes int
	// Keep is the minimum time for which the IDs of [Writer.Once] are remembered: a second
	// or more. 0 means 24 h.
	Keep time.Duration
	// Alone gives each write its own Txn, and so its own revision. Without it, puts and
	// deletions of single keys that arrive while others are in flight share a Txn.
	Alone bool
}

const (
	defaultName  = "coordination/writer"
	defaultLanes = 16
	maxLanes     = 256
	defaultKeep  = 24 * time.Hour
	// maxKeep leaves room for slack below etcd's limit of a lease.
	maxKeep = 8_000_000_000 * time.Second
)

func (c Config) filled() (Config, error) {
	if err := duration.Check("Config.Keep", c.Keep); err != nil {
		return c, invalid("NewWriter", "%v", err)
	}
	switch {
	case c.Lanes < 0 || c.Lanes > maxLanes:
		return c, invalid("NewWriter", "Config.Lanes is %d; use 1 to %d, or 0 for %d", c.Lanes, maxLanes, defaultLanes)
	case c.Keep < 0 || c.Keep > maxKeep:
		return c, invalid("NewWriter", "Config.Keep is %v; use a second to %v, or 0 for %v", c.Keep, maxKeep, defaultKeep)
	case c.Keep != 0 && c.Keep < time.Second:
		return c, invalid("NewWriter", "Config.Keep is %v; etcd's leases live for at least a second", c.Keep)
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.Lanes == 0 {
		c.Lanes = defaultLanes
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	return c, nil
}

// Writer makes writes that are applied exactly once. It is safe for concurrent use. Call
// [Writer.Close] when done.
type Writer struct {
	co     *concurrency.Coordinator
	client *etcd.Client
	config Config
	name   string // prefix of this Writer's lanes

	life     context.Context // ends with Close
	end      context.CancelFunc
	routines sync.WaitGroup // those that settle writes

	seats   chan struct{} // a value in it is the right to use a lane
	leases  markerLeases
	sharing sharing

	mu     sync.Mutex // guards the fields below
	free   []*lane
	opened int      // keys of lanes so far
	unused []string // of these, keys of lanes that could not be made
	closed bool
}

// NewWriter makes a Writer on the leases of a coordinator, which must live longer than the
// Writer. It opens the first lane, so that a missing permission is reported at once.
//
// Errors: etcd.ErrInvalidRequest, concurrency.ErrClosed, and those of etcd's Grant and Txn.
//
// etcd: Lease/LeaseGrant and KV/Txn (since 3.3)
func NewWriter(ctx context.Context, co *concurrency.Coordinator, config Config) (*Writer, error) {
	if co == nil {
		return nil, invalid("NewWriter", "the coordinator is nil; make one with concurrency.New")
	}
	if ctx == nil {
		return nil, invalid("NewWriter", textNilContext)
	}
	config, err := config.filled()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		co: co, client: co.Client(), config: config, name: config.Name + "/" + rand.Text()[:16] + "/",
		seats: make(chan struct{}, config.Lanes),
	}
	w.leases.granting = make(chan struct{}, 1)
	w.life, w.end = context.WithCancel(context.Background())
	l, err := w.open(ctx)
	if err != nil {
		w.end()
		return nil, err
	}
	w.free = append(w.free, l)
	return w, nil
}

const textNilContext = "the context is nil; use context.Background() if there is none"

// Client returns the coordinator's client.
func (w *Writer) Client() *etcd.Client { return w.client }

// Txn applies a transaction exactly once. While the outcome is unknown, it repeats the
// request until the outcome is known or ctx ends, whatever RetryWrites says.
//
// Without Config.Alone, writes of several callers may be applied in one Txn, at one revision;
// ctx then bounds only the wait of this call.
//
// As in etcd, if the conditions of req don't hold, Else is applied, Succeeded of the result
// is false, and there is no error. It must not be changed before Txn returns.
//
// Errors: those of [etcd.Client.Txn], ErrClosed, and those of granting a lease. The write was
// not applied and never will be, unless etcd.MaybeApplied(err): ctx ended first, or the
// history that would show the outcome is compacted. [Writer.Resolve] then finds the outcome.
//
// etcd: KV/Txn (since 3.3)
func (w *Writer) Txn(ctx context.Context, req etcd.TxnRequest) (*Result, error) {
	if err := check("Txn", ctx, &req); err != nil {
		return nil, err
	}
	if size, ok := sharable(&req); ok && !w.config.Alone {
		return w.share(ctx, &req, size)
	}
	return w.alone(ctx, &req)
}

// alone makes a write on its own lane.
func (w *Writer) alone(ctx context.Context, req *etcd.TxnRequest) (*Result, error) {
	for {
		l, err := w.take(ctx)
		if err != nil {
			return nil, err
		}
		write := l.begin(w.client, req)
		result, err := write.do(ctx)
		switch {
		case errors.Is(err, errMoved):
			w.give(nil) // the lane has gone with its session
			continue
		case etcd.MaybeApplied(err):
			return nil, w.later(l, write, err)
		}
		l.at = write.at
		w.give(l)
		return result, err
	}
}

func check(method string, ctx context.Context, req *etcd.TxnRequest) error {
	switch {
	case ctx == nil:
		return invalid(method, textNilContext)
	case req.Serializable:
		return invalid(method, "Serializable is set; it is for transactions that only read")
	}
	return nil
}

// Close ends the Writer: it deletes its lanes, and waits for etcd's answer until ctx ends. Call it when
// no other call is in progress. Lanes that Close does not delete disappear with the coordinator's
// lease. Further calls do nothing.
//
// etcd: KV/DeleteRange (since 3.0)
func (w *Writer) Close(ctx context.Context) error {
	if ctx == nil {
		return invalid("Close", textNilContext)
	}
	w.mu.Lock()
	closed := w.closed
	w.closed, w.free = true, nil
	w.mu.Unlock()
	if closed {
		return nil
	}
	w.end()
	w.routines.Wait()
	_, err := w.client.Delete(etcd.WithRetryWrites(ctx, etcd.AtLeastOnce), etcd.DeleteRequest{Key: w.name, Prefix: true})
	if err != nil {
		return fmt.Errorf("idempotent: Close: %w", err)
	}
	return nil
}

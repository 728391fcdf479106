package concurrency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/callback"
	"silly.store/etcd/internal/duration"
)

// Config configures a [Coordinator]. The zero value is valid.
type Config struct {
	// TTL is the TTL of the leases: how long the locks of this process stay taken after
	// a crash. At least 1 s, rounded up to whole seconds, which etcd counts in; the
	// server may raise it. 0 means 15 s.
	TTL time.Duration
	// Grace is how long before [etcd.Lease.Deadline] a session ends, and with it the
	// contexts of its locks: the time that work has to stop. It must be less than half of
	// TTL. 0 means a tenth of TTL; negative means none.
	Grace time.Duration
	// MaxKeys is how many keys share a lease; further keys go on another lease. With
	// authentication, etcd takes time for each key of a lease whenever one is put. 0
	// means 256.
	MaxKeys int
	// Name is the prefix of the sessions' own keys, <Name>/<lease in hexadecimal>. Such
	// a key exists only after a request of unknown outcome or a [Session.Guard], but all
	// requests compare it: the user needs permission to read and write there. Empty
	// means "coordination/session".
	Name string
	// Logger logs lost sessions and locks, and failed releases. Names are logged,
	// values never. Nil means no logging.
	Logger *slog.Logger
}

const (
	defaultTTL     = 15 * time.Second
	defaultMaxKeys = 256
	defaultName    = "coordination/session"
	// maxTTL is etcd's limit.
	maxTTL = 9_000_000_000 * time.Second
)

// filled is the configuration with the meanings of its zeros.
func (c Config) filled() (Config, error) {
	if err := cmp.Or(duration.Check("TTL", c.TTL), duration.Check("Grace", c.Grace)); err != nil {
		return c, err
	}
	switch {
	case c.TTL == 0:
		c.TTL = defaultTTL
	case c.TTL < 0:
		return c, fmt.Errorf("TTL is %v; it must be positive", c.TTL)
	case c.TTL < time.Second:
		return c, fmt.Errorf("TTL is %v; etcd's leases live for at least a second", c.TTL)
	case c.TTL > maxTTL:
		return c, fmt.Errorf("TTL is %v; etcd takes at most %v", c.TTL, maxTTL)
	}
	if part := c.TTL % time.Second; part > 0 {
		c.TTL += time.Second - part
	}
	switch {
	case c.Grace == 0:
		c.Grace = c.TTL / 10
	case c.Grace < 0:
		c.Grace = 0
	case c.Grace >= c.TTL/2:
		return c, fmt.Errorf("Grace is %v; it must be less than half of TTL, which is %v", c.Grace, c.TTL)
	}
	switch {
	case c.MaxKeys == 0:
		c.MaxKeys = defaultMaxKeys
	case c.MaxKeys < 0:
		return c, fmt.Errorf("MaxKeys is negative: %d", c.MaxKeys)
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.Logger != nil && c.Logger.Handler() == nil {
		return c, errors.New("Logger has no handler; make it with slog.New")
	}
	c.Logger = callback.Logger(c.Logger, nil)
	return c, nil
}

// Coordinator makes locks, elections and barriers, and keeps the leases that they share.
// It is safe for concurrent use.
//
// It grants a lease when one is first needed. When a lease is lost, everything that was
// held on it is lost, and the next use grants another.
type Coordinator struct {
	client   *etcd.Client
	config   Config
	counters counters
	hubs     hubs
	releaser releaser
	lingers  lingers

	// life ends with Close; goroutines of the coordinator live no longer.
	life     context.Context
	end      context.CancelCauseFunc
	routines sync.WaitGroup

	granting chan struct{} // capacity 1: a value in it is the right to grant a lease

	mu       sync.Mutex // guards the fields below
	sessions []*Session // that live; replaced, never changed
	closed   bool
}

// New makes a Coordinator. It does no I/O. Call [Coordinator.Close] when done.
//
// Errors: etcd.ErrInvalidConfig.
func New(c *etcd.Client, config Config) (*Coordinator, error) {
	if c == nil {
		return nil, fmt.Errorf("concurrency: %w: the client is nil", etcd.ErrInvalidConfig)
	}
	config, err := config.filled()
	if err != nil {
		return nil, fmt.Errorf("concurrency: %w: Config.%w", etcd.ErrInvalidConfig, err)
	}
	co := &Coordinator{client: c, config: config, granting: make(chan struct{}, 1)}
	co.life, co.end = context.WithCancelCause(context.Background())
	co.hubs.co, co.releaser.co, co.lingers.co = co, co, co
	return co, nil
}

// Client returns the client that the Coordinator was made for. The client still belongs
// to its owner.
func (co *Coordinator) Client() *etcd.Client { return co.client }

// TTL returns the TTL that the Coordinator requests for its leases, in whole seconds.
func (co *Coordinator) TTL() time.Duration { return co.config.TTL }

// Close releases everything: it revokes the leases, so that all keys of the Coordinator
// are deleted at once, and so are persistent barriers whose Hold was given up. The contexts of
// its locks end, and waiting calls return ErrClosed. Close waits for the answers until ctx
// ends. A lease that could not be revoked lives out its TTL. Further calls do nothing.
//
// Close it before the client. Without Close, the end of the client leaves no goroutine
// behind, and the leases live out their TTLs.
//
// etcd: Lease/LeaseRevoke, KV/Txn (since 3.0)
func (co *Coordinator) Close(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	co.mu.Lock()
	closed, sessions := co.closed, co.sessions
	co.closed, co.sessions = true, nil
	co.mu.Unlock()
	if closed {
		return nil
	}
	co.end(ErrClosed)
	errs := make([]error, len(sessions))
	var revoking sync.WaitGroup
	for i, s := range sessions {
		s.finish(ErrClosed)
		revoking.Go(func() { errs[i] = s.revoke(ctx) })
	}
	revoking.Wait()
	co.lingers.close()
	co.hubs.close()
	co.releaser.close()
	co.routines.Wait()
	errs = append(errs, co.releaser.finish(ctx))
	if err := call.Join(errs...); err != nil {
		return fmt.Errorf("concurrency: Close: %w", err)
	}
	return nil
}

// Session returns a live session. Locks do not need it; use it for your own keys that
// must be deleted when this process is gone. ctx bounds the call, not the session.
//
// Errors: ErrClosed, and those of [etcd.Client.Grant].
//
// etcd: Lease/LeaseGrant (since 3.0)
func (co *Coordinator) Session(ctx context.Context) (*Session, error) {
	s, err := co.session(ctx, func(*Session) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("concurrency: Session: %w", err)
	}
	return s, nil
}

// leaseCopies has the client make a Grant or Revoke again when it has waited for 3 s, not 1.5:
// it does that only a few times.
const leaseCopies = 1

// session returns a living session that suits, or grants a lease for a new one, which must
// suit.
func (co *Coordinator) session(ctx context.Context, suits func(*Session) bool) (*Session, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if s, err := co.find(suits); s != nil || err != nil {
		return s, err
	}
	select {
	case co.granting <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-co.life.Done():
		return nil, ErrClosed
	}
	defer func() { <-co.granting }()
	if s, err := co.find(suits); s != nil || err != nil {
		return s, err // granted meanwhile
	}
	lease, err := co.client.Grant(call.WithCopies(ctx, leaseCopies), etcd.GrantRequest{TTL: co.config.TTL})
	if err != nil {
		return nil, err
	}
	s := newSession(co, lease)
	suits(s) // it is empty; soon others can take all of its keys
	co.mu.Lock()
	closed := co.closed
	if !closed {
		co.sessions = append(slices.Clip(co.sessions), s)
	}
	co.mu.Unlock()
	if closed {
		s.finish(ErrClosed)
		return nil, call.Join(ErrClosed, s.revoke(ctx))
	}
	s.begin() //nolint:contextcheck // a session outlives the call that made it
	if err := s.Err(); err != nil {
		return nil, err // it is lost already
	}
	return s, nil
}

// find returns a living session that suits, or nil.
func (co *Coordinator) find(suits func(*Session) bool) (*Session, error) {
	co.mu.Lock()
	sessions, closed := co.sessions, co.closed
	co.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	for _, s := range sessions {
		if s.alive() && suits(s) {
			return s, nil
		}
	}
	return nil, nil
}

// forget takes an ended session off the list.
func (co *Coordinator) forget(s *Session) {
	co.mu.Lock()
	defer co.mu.Unlock()
	co.sessions = slices.DeleteFunc(slices.Clone(co.sessions), func(other *Session) bool { return other == s })
}

func (co *Coordinator) isClosed() bool {
	co.mu.Lock()
	defer co.mu.Unlock()
	return co.closed
}

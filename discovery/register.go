package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
)

// RegisterConfig configures [RegisterConfig.Register]. With the zero value that is
// [Register].
type RegisterConfig struct {
	// NoTakeover makes Register fail with ErrExists when a key with the instance's ID
	// exists. Without it Register takes over the key, without a gap, so a restarted
	// program need not wait for the lease of its predecessor.
	NoTakeover bool
	// NoWait makes Register return at once. [Registration.State] shows the progress. Use
	// it to start while etcd may be away.
	NoWait bool
	// Codec writes the value; nil means [Endpoints].
	Codec Codec
}

// Register puts the instance's key, keeps it in the store until [Registration.Close], and
// returns after the first put. ctx bounds the call, not the registration.
//
// Errors: etcd.ErrInvalidConfig, whose text names the field; ErrExists while another Registration of co
// has the service and ID; those of [concurrency.Coordinator.Session] and [etcd.Client.Txn]; that of
// ctx, with the reason why etcd does not answer. After an error nothing is left: a put of unknown
// outcome is undone as soon as etcd can be reached. While a Registration of the same service and
// ID is being closed, the next one of co waits for that.
//
// etcd: KV/Txn (since 3.3), Watch/Watch, Lease/LeaseGrant
func Register(ctx context.Context, co *concurrency.Coordinator, i Instance) (*Registration, error) {
	return RegisterConfig{}.Register(ctx, co, i)
}

// Register is the function [Register] with a configuration. With NoTakeover, ErrExists is also the
// error when the key exists.
//
// etcd: KV/Txn (since 3.3), Watch/Watch, Lease/LeaseGrant
func (c RegisterConfig) Register(ctx context.Context, co *concurrency.Coordinator, i Instance) (*Registration, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case co == nil:
		return nil, invalid("the coordinator is nil")
	case c.Codec == nil:
		c.Codec = Endpoints{}
	}
	i, err := i.filled()
	if err != nil {
		return nil, err
	}
	value, err := c.encode(i)
	if err != nil {
		return nil, err
	}
	r := &Registration{config: c, co: co, key: i.Key(), done: make(chan struct{})}
	r.changed = make(chan struct{})
	r.state = State{Phase: Putting, Since: time.Now()}
	r.wanted = wanted{i, value, 1}
	r.life, r.end = context.WithCancel(context.Background())
	former, ok := r.enlist()
	if !ok {
		r.end()
		return nil, fmt.Errorf("discovery: Register %q: the same Coordinator has registered it, on the same lease; Close that Registration first, or Update it: %w", r.key, ErrExists)
	}
	go r.run(former) //nolint:contextcheck // ctx bounds the call, not the registration
	if c.NoWait {
		return r, nil
	}
	if err := r.wait(ctx, 1, true); err != nil {
		r.release()
		return nil, fmt.Errorf("discovery: Register %q: %w", r.key, err)
	}
	return r, nil
}

func (c RegisterConfig) encode(i Instance) ([]byte, error) {
	value, err := c.Codec.Encode(i)
	if err != nil {
		return nil, invalid("Instance: %w", err)
	}
	return value, nil
}

// Registration is an instance that is registered, or will be as soon as etcd can be reached.
// It is safe for concurrent use.
type Registration struct {
	config RegisterConfig
	co     *concurrency.Coordinator
	key    string
	life   context.Context // ends with Close
	end    context.CancelFunc
	done   chan struct{} // closed at the end of run
	keeper keeper        // run's own

	mu      sync.Mutex // guards the fields below
	state   State
	wanted  wanted
	put     int           // the generation that was put last
	changed chan struct{} // closed, and replaced, when state or put changes
	poke    func()        // has run look at wanted
}

// wanted is what the key should say.
type wanted struct {
	instance   Instance
	value      []byte
	generation int
}

// Phase is the phase of a [Registration].
type Phase uint8

const (
	// Putting: the key is being put, for the first time, or again after it was lost.
	Putting Phase = iota
	// Registered: the key was put, and as far as is known it still exists.
	Registered
	// Releasing: Close was called, and the key is being deleted.
	Releasing
	// Closed: after Close the key is deleted, or disappears with its lease.
	Closed
	// Ended: the registration has ended without Close; State.Err says why.
	Ended
)

// String returns the constant's name in lower case, or "Phase(9)" for a value that is none of them.
func (p Phase) String() string {
	if p > Ended {
		return fmt.Sprintf("Phase(%d)", uint8(p))
	}
	return [...]string{"putting", "registered", "releasing", "closed", "ended"}[p]
}

// State is the state of a [Registration].
type State struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Revision is the revision of the key's last put; 0 before the first.
	Revision int64
	// Lease is the lease of the key.
	Lease etcd.LeaseID
	// Again counts how often the key was put again because it, or its lease, was lost.
	Again int
	// Err is the reason for the lack of progress while Phase is Putting or Releasing, nil
	// if nothing has failed; in phase Ended it is the reason for the end: ErrSuperseded,
	// ErrExists, concurrency.ErrClosed, etcd.ErrClosed.
	Err error
}

// State returns the state.
func (r *Registration) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Instance returns the registered instance, as of the last Update.
func (r *Registration) Instance() Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wanted.instance
}

// Done is closed when the registration has ended: after Close, or see [State].
func (r *Registration) Done() <-chan struct{} { return r.done }

// Update changes Addr and Metadata. Service and ID are those of Register; the fields may be
// left empty. It returns when the key is put. When ctx ends first, the registration still puts
// the new values as soon as it can, unless another Update follows.
//
// Errors: etcd.ErrInvalidConfig; ErrClosed after Close; the reason why the registration has
// ended; that of ctx, with the reason why etcd does not answer. After an error of ctx the
// instance may have been put.
//
// etcd: KV/Txn (since 3.3)
func (r *Registration) Update(ctx context.Context, i Instance) error {
	if ctx == nil {
		return errNilContext
	}
	is := r.Instance()
	if i.Service != "" && i.Service != is.Service || i.ID != "" && i.ID != is.ID {
		return invalid("Instance is %q; a Registration keeps its Service and ID, %q", i.Key(), r.key)
	}
	i.Service, i.ID = is.Service, is.ID
	i, err := i.filled()
	if err != nil {
		return err
	}
	value, err := r.config.encode(i)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.wanted = wanted{i, value, r.wanted.generation + 1}
	generation, poke := r.wanted.generation, r.poke
	r.mu.Unlock()
	if poke != nil {
		poke()
	}
	if err := r.wait(ctx, generation, false); err != nil {
		return fmt.Errorf("discovery: Update %q: %w", r.key, err)
	}
	return nil
}

// Close deletes the key, if it is still this registration's, and ends the registration. When
// ctx ends first, the deletion goes on until etcd has answered or the lease, the Coordinator
// or the client has ended; another call of Close waits for that.
//
// Its error is that of ctx, with the reason why etcd does not answer.
//
// etcd: KV/Txn (since 3.0)
func (r *Registration) Close(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	r.release()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("discovery: Close %q: %w", r.key, r.because(ctx))
	}
}

// release begins the end.
func (r *Registration) release() { r.end() }

// wait waits until a generation is put. strict: it gives up for errors that waiting does not
// mend.
func (r *Registration) wait(ctx context.Context, generation int, strict bool) error {
	for {
		r.mu.Lock()
		put, state, changed := r.put, r.state, r.changed
		r.mu.Unlock()
		switch {
		case state.Phase == Ended:
			return state.Err
		case r.life.Err() != nil:
			return ErrClosed
		case put >= generation:
			return nil
		case strict && state.Err != nil && lasting(state.Err):
			return state.Err
		}
		select {
		case <-changed:
		case <-r.done:
		case <-r.life.Done():
		case <-ctx.Done():
			return r.because(ctx)
		}
	}
}

// lasting reports whether an error is one that waiting does not mend.
func lasting(err error) bool {
	return !etcd.Temporary(err) && !etcd.MaybeApplied(err) && !etcd.HistoryLost(err) && !errors.Is(err, concurrency.ErrSessionLost)
}

// because is the error of a context that has ended, with what was in the way.
func (r *Registration) because(ctx context.Context) error {
	if err := r.State().Err; err != nil {
		// Not %w: the end of ctx must not look like a failed request.
		return fmt.Errorf("%w; the last request failed: %v", context.Cause(ctx), err)
	}
	return context.Cause(ctx)
}

// set changes the state and wakes who waits for that.
func (r *Registration) set(change func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state.Phase
	change(&r.state)
	if r.state.Phase != before {
		r.state.Since = time.Now()
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

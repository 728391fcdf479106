package concurrency

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/call"
)

// Session is one lease of a [Coordinator]. It never comes back after its end:
// [Coordinator.Session] then returns another one. It is safe for concurrent use.
type Session struct {
	co    *Coordinator
	lease *etcd.Lease
	hex   string // the lease's ID, as it stands in keys
	key   string // see Guard, and fence.go

	life context.Context // ends with the session; its cause is Err
	end  context.CancelCauseFunc

	fencing chan struct{} // capacity 1: a value in it is the right to fence

	mu      sync.Mutex // guards the fields below
	ended   bool
	epoch   int64 // the mod revision of key; 0: it was never put
	created int64 // the create revision of key; 0: not known
	keys    int
	slots   map[string]*slots
	locks   map[*Lock]struct{} // that are held
	timer   *time.Timer
	unhook  func() // from the lease's end
}

func newSession(co *Coordinator, lease *etcd.Lease) *Session {
	s := &Session{
		co: co, lease: lease, hex: lease.ID.String(),
		fencing: make(chan struct{}, 1), slots: make(map[string]*slots), locks: make(map[*Lock]struct{}),
	}
	s.key = co.config.Name + "/" + s.hex
	s.life, s.end = context.WithCancelCause(context.Background())
	return s
}

// begin has the session end with its lease, Grace before it expires.
func (s *Session) begin() {
	held, cancel := s.lease.Context(context.Background())
	stop := context.AfterFunc(held, func() { s.lose(s.lease.Err()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhook = func() {
		stop()
		cancel()
	}
	if s.ended {
		s.unhook()
		return
	}
	s.timer = time.AfterFunc(s.pause(), s.tick)
}

// clockCheck is how often the time left is read. It must not be left to one timer: those
// stand still while the machine sleeps, and the lease's clock does not.
const clockCheck = time.Second

// left is how long the session lives unless the lease is renewed.
func (s *Session) left() time.Duration {
	return time.Until(s.lease.Deadline()) - s.co.config.Grace
}

func (s *Session) pause() time.Duration { return max(min(s.left(), clockCheck), 0) }

func (s *Session) tick() {
	if !s.alive() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.timer.Reset(s.pause())
	}
}

// errGrace is why a session ends before its lease.
var errGrace = fmt.Errorf("%w, with Config.Grace to spare", etcd.ErrLeaseNotRenewed)

// alive reports whether the session lives, by the clock and not only by its timer, which
// may be late.
func (s *Session) alive() bool {
	if s.life.Err() != nil {
		return false
	}
	if s.left() > 0 {
		return true
	}
	err := s.lease.Err()
	if err == nil {
		err = errGrace
	}
	s.lose(err)
	return false
}

// finish ends the session. It reports whether this was the first end.
func (s *Session) finish(cause error) bool {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.unhook != nil {
		s.unhook()
	}
	locks := slices.Collect(maps.Keys(s.locks))
	s.mu.Unlock()
	s.end(cause)
	s.co.hubs.ended(s)
	s.co.forget(s)
	for _, l := range locks {
		_ = l.lose(cause) // the lock keeps it
	}
	return true
}

// hold has the lock end with the session; false when that has ended.
func (s *Session) hold(l *Lock) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.locks[l] = struct{}{}
	return true
}

func (s *Session) letGo(l *Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locks, l)
}

// lose ends the session because of err. Its lease is revoked, so that its keys do not stand
// in the way of those of the next session.
func (s *Session) lose(err error) {
	err = fmt.Errorf("%w: %w", ErrSessionLost, err)
	if !s.finish(err) {
		return
	}
	s.co.counters.sessionsLost.Add(1)
	s.co.counters.lastLoss.Store(&err)
	s.co.warn(s.co.life, "session lost", "lease", s.hex, "error", err)
	s.lease.StopKeepAlive()
	s.co.releaser.add(&release{do: s.revoked})
}

// revoked is a release: it revokes the lease of a lost session.
func (s *Session) revoked(ctx context.Context) (bool, error) {
	if errors.Is(s.lease.Err(), etcd.ErrLeaseExpired) {
		return true, nil
	}
	_, err := s.co.client.Revoke(call.WithCopies(ctx, leaseCopies), etcd.RevokeRequest{ID: s.lease.ID})
	return err == nil || errors.Is(err, etcd.ErrLeaseNotFound) || s.lease.Err() != nil, err
}

// revoke revokes the lease of a session that has ended, and leaves it to its TTL if that
// fails.
func (s *Session) revoke(ctx context.Context) error {
	_, err := s.co.client.Revoke(call.WithCopies(ctx, leaseCopies), etcd.RevokeRequest{ID: s.lease.ID})
	if err == nil || errors.Is(err, etcd.ErrLeaseNotFound) {
		return nil
	}
	s.lease.StopKeepAlive()
	return err
}

// Lease returns the lease. Attach keys with [etcd.PutRequest.Lease]. Do not give it to
// sessions of client/v3: their locks would mistake keys of this package for their own.
func (s *Session) Lease() *etcd.Lease { return s.lease }

// Done is closed when the session has ended, Grace before its lease can expire;
// [Session.Err] then says why.
func (s *Session) Done() <-chan struct{} { return s.life.Done() }

// Err is nil while the session lives. Then errors.Is finds ErrSessionLost, or ErrClosed
// after [Coordinator.Close], and the error of [etcd.Lease.Err].
func (s *Session) Err() error {
	if s.life.Err() == nil {
		return nil
	}
	return context.Cause(s.life)
}

// Context returns a child of parent that also ends with the session. [context.Cause] is
// then the error of [Session.Err]. Call cancel when the work is done.
func (s *Session) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	return joined(parent, s.life)
}

// joined is a child of parent that also ends when other does, with the cause of other.
func joined(parent, other context.Context) (ctx context.Context, cancel context.CancelFunc) {
	if parent == nil {
		parent = context.Background()
	}
	ctx, end := context.WithCancelCause(parent)
	if other.Err() != nil {
		end(context.Cause(other))
	}
	stop := context.AfterFunc(other, func() { end(context.Cause(other)) })
	return ctx, func() {
		stop()
		end(nil)
	}
}

// Abandon ends the session and leaves its keys in etcd until their lease expires: a
// program that restarts within the TTL can [etcd.Client.Adopt] the lease.
func (s *Session) Abandon() {
	if s.finish(fmt.Errorf("%w: it was abandoned", ErrSessionLost)) {
		s.lease.StopKeepAlive()
	}
}

// slots names the keys of one prefix that a session has. A slot is busy from the first
// request that may put its key until that key is certainly gone.
type slots struct {
	free []int
	next int
	busy int
}

// take reserves a slot below the prefix. It returns false when the session has ended or
// its lease has MaxKeys keys.
func (s *Session) take(prefix string) (slot int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.keys >= s.co.config.MaxKeys {
		return 0, false
	}
	s.keys++
	of := s.slots[prefix]
	if of == nil {
		of = new(slots)
		s.slots[prefix] = of
	}
	of.busy++
	if last := len(of.free) - 1; last >= 0 {
		slot, of.free = of.free[last], of.free[:last]
		return slot, true
	}
	of.next++
	return of.next - 1, true
}

// give returns a slot whose key is gone, and to which no request under way can bring it
// back.
func (s *Session) give(prefix string, slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys--
	of := s.slots[prefix]
	if of.busy--; of.busy == 0 {
		delete(s.slots, prefix)
		return
	}
	of.free = append(of.free, slot)
}

// slotKey is the key of a slot. That of the first is the key that client/v3 would use.
func (s *Session) slotKey(prefix string, slot int) string {
	if slot == 0 {
		return prefix + s.hex
	}
	return prefix + s.hex + "." + strconv.Itoa(slot)
}

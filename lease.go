package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/duration"
	"silly.store/etcd/internal/keepalive"
	"silly.store/etcd/internal/rpc"
)

// GrantRequest is the argument of [Client.Grant].
type GrantRequest struct {
	// TTL is how long the lease lives without a renewal. Required, at least a
	// millisecond; rounded up to
	// whole seconds; at most 9,000,000,000 s. The server raises one that is
	// shorter than one and a half of its election timeouts (2 s unless configured).
	TTL time.Duration
	// ID is the lease's ID. 0 means a random positive one.
	ID LeaseID
	// NoKeepAlive leaves the renewals to the caller, with [Client.KeepAliveOnce] or
	// [Client.KeepAlive].
	NoKeepAlive bool
}

// RevokeRequest is the argument of [Client.Revoke].
type RevokeRequest struct {
	// ID is required.
	ID LeaseID
}

// RevokeResponse is the answer of [Client.Revoke].
type RevokeResponse struct {
	// Header is zero when an earlier attempt of the same call had revoked the
	// lease and its answer was lost.
	Header ResponseHeader
}

// TTLRequest is the argument of [Client.TTL].
type TTLRequest struct {
	// ID is required.
	ID LeaseID
	// Keys asks for the keys on the lease.
	Keys bool
}

// TTLResponse is the answer of [Client.TTL].
type TTLResponse struct {
	Header ResponseHeader
	ID     LeaseID
	// TTL is the remaining time, in whole seconds, rounded down. The lease ends within
	// TTL plus a second, unless it is renewed.
	TTL time.Duration
	// GrantedTTL is the time to which each renewal resets the lease.
	GrantedTTL time.Duration
	// Keys are the keys on the lease, in no order, if they were asked for.
	Keys []string
}

// LeasesResponse is the answer of [Client.Leases].
type LeasesResponse struct {
	Header ResponseHeader
	// Leases are all leases of the cluster, from all clients.
	Leases []LeaseID
}

// KeepAliveRequest names the lease to renew.
type KeepAliveRequest struct {
	// ID is required.
	ID LeaseID
}

// KeepAliveResponse is the answer to a renewal.
type KeepAliveResponse struct {
	Header ResponseHeader
	ID     LeaseID
	// TTL is how long the lease lives from the renewal on.
	TTL time.Duration
}

// maxLeaseTTL is etcd's limit, in seconds.
const maxLeaseTTL = 9_000_000_000

func (r *GrantRequest) wire() (leaseGrantRequest, error) {
	// Not (TTL + 1s - 1) / 1s, which overflows.
	seconds := int64(r.TTL / time.Second)
	if r.TTL%time.Second > 0 {
		seconds++
	}
	w := leaseGrantRequest{TTL: seconds, ID: r.ID}
	if err := duration.Check("TTL", r.TTL); err != nil {
		return w, err
	}
	switch {
	case r.TTL <= 0:
		return w, fmt.Errorf("TTL is %v; it must be positive", r.TTL)
	case seconds > maxLeaseTTL:
		return w, fmt.Errorf("TTL is %v; etcd takes at most %d s", r.TTL, int64(maxLeaseTTL))
	}
	for w.ID == 0 {
		w.ID = LeaseID(rand.Int64())
	}
	return w, nil
}

// String is the ID as etcd's own tools write it, in hexadecimal.
func (id LeaseID) String() string { return strconv.FormatUint(uint64(id), 16) }

// check is the validation of requests that name a lease.
func (id LeaseID) check() error {
	if id == 0 {
		return errors.New("ID is 0, which is no lease")
	}
	return nil
}

// Grant makes a lease and keeps it alive: the client renews it until it is revoked, the
// client is closed, or the lease is lost, which [Lease.Done] reports. PutRequest.Lease
// attaches keys to it, which are deleted with it.
//
// When ID is 0 the client chooses it, so it can repeat a Grant whose answer was lost
// without leaving a second lease behind.
//
// Errors: ErrInvalidRequest, ErrLeaseExists (only for your own ID) and those of every
// call (see [Error]). The lease may have been made, and then lives for its TTL, if
// [MaybeApplied] says so.
//
// etcd: Lease/LeaseGrant (since 3.0)
func (c *Client) Grant(ctx context.Context, req GrantRequest) (*Lease, error) {
	if ctx == nil {
		return nil, invalid(rpc.Grant.Op, errNilContext)
	}
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.Grant.Op, Operations: 1})
	l, err := c.grantLease(ctx, req)
	begun.end(err, nil)
	if err == nil && c.observer.hooks.LeaseGranted != nil {
		c.observer.hooks.LeaseGranted(LeaseGrantInfo{ID: l.ID, TTL: l.TTL})
	}
	return l, err
}

func (c *Client) grantLease(ctx context.Context, req GrantRequest) (*Lease, error) {
	wire, err := req.wire()
	if err != nil {
		return nil, invalid(rpc.Grant.Op, within("GrantRequest", err))
	}
	l := c.newLease(wire.ID)
	if !req.NoKeepAlive {
		l.entry.Hold()
	}
	resp, sent, exists, err := c.grant(ctx, &wire)
	if err != nil {
		return nil, err
	}
	l.granted(ResponseHeader(resp.Header), resp.TTL, sent)
	if exists || c.leases().Late(&l.entry) {
		if err := c.freshen(ctx, l); err != nil {
			return nil, err
		}
	}
	c.leases().Add(&l.entry)
	return l, nil
}

// grant makes the call. It returns when the attempt that succeeded was sent. exists: an
// earlier attempt, which may have been the first one, has made the lease.
func (c *Client) grant(ctx context.Context, wire *leaseGrantRequest) (resp leaseGrantResponse, sent int64, exists bool, err error) {
	r := call.Request{Method: rpc.Grant, Message: wire.appendWire(nil), AlreadyDone: ErrLeaseExists}
	var reply []byte
	exists, failed := c.engine.Retry(ctx, r, func() (failed *call.Error) {
		now := c.leases().Now()
		reply, failed = c.engine.Once(ctx, r)
		if sent == 0 || failed == nil {
			sent = now
		}
		return failed
	})
	switch {
	case failed != nil:
		return resp, 0, false, public(failed)
	case exists:
		resp.TTL = wire.TTL // the server may have raised it: freshen learns that
		return resp, sent, true, nil
	}
	return resp, sent, false, decode(rpc.Grant, reply, &resp)
}

func (c *Client) newLease(id LeaseID) *Lease {
	l := &Lease{ID: id, client: c}
	l.entry.ID, l.entry.Owner = int64(id), l
	return l
}

// granted takes the server's answer about the lease to a request that was sent at the
// given time on the keeper's clock.
func (l *Lease) granted(h ResponseHeader, ttl, sent int64) {
	l.Header, l.TTL = h, keepalive.Seconds(ttl)
	l.entry.Term(sent, l.TTL)
}

// freshen renews a lease whose Grant took long or was answered by the lease that
// an earlier attempt had made. A failure does not matter, unless the lease may have
// expired meanwhile.
func (c *Client) freshen(ctx context.Context, l *Lease) error {
	answer, sent, err := c.renew(ctx, rpc.GrantRenew, l.ID)
	if err == nil {
		l.granted(ResponseHeader(answer.Header), answer.TTL, sent)
		return nil
	}
	if errors.Is(err, ErrLeaseNotFound) || c.leases().Over(&l.entry) {
		return err
	}
	return nil
}

// Revoke ends a lease and deletes the keys on it. Its success ends the lease's renewals;
// while Revoke fails, the client goes on renewing the lease.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound and those of every call (see [Error]).
// The lease may have been revoked if [MaybeApplied] says so; revoking again does no
// harm.
//
// etcd: Lease/LeaseRevoke (since 3.0)
func (c *Client) Revoke(ctx context.Context, req RevokeRequest) (*RevokeResponse, error) {
	if ctx == nil {
		return nil, invalid(rpc.Revoke.Op, errNilContext)
	}
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpc.Revoke.Op, within("RevokeRequest", err))
	}
	ctx, begun := c.observer.begin(ctx, CallInfo{Op: rpc.Revoke.Op, Operations: 1})
	resp, err := c.revoke(ctx, req)
	begun.end(err, nil)
	return resp, err
}

func (c *Client) revoke(ctx context.Context, req RevokeRequest) (*RevokeResponse, error) {
	r := call.Request{Method: rpc.Revoke, Message: (&leaseRevokeRequest{ID: req.ID}).appendWire(nil), AlreadyDone: ErrLeaseNotFound}
	entry := c.leases().BeginRevoke(int64(req.ID))
	var reply []byte
	gone, err := c.engine.Retry(ctx, r, func() (err *call.Error) {
		reply, err = c.engine.Once(ctx, r)
		return err
	})
	c.leases().EndRevoke(entry, err)
	switch {
	case err != nil:
		return nil, public(err)
	case gone:
		return &RevokeResponse{}, nil // by an attempt whose answer was lost
	}
	var resp leaseRevokeResponse
	if err := decode(rpc.Revoke, reply, &resp); err != nil {
		return nil, err
	}
	return &RevokeResponse{Header: resp.Header}, nil
}

// TTL returns the remaining time of a lease.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound and those of every call (see [Error]).
//
// etcd: Lease/LeaseTimeToLive (since 3.1)
func (c *Client) TTL(ctx context.Context, req TTLRequest) (*TTLResponse, error) {
	var resp leaseTimeToLiveResponse
	wire := leaseTimeToLiveRequest(req)
	if err := c.do(ctx, rpc.TTL, &wire, req.ID.check(), &resp); err != nil {
		return nil, err
	}
	// A lease that has been over for a second and waits to be deleted has -1
	// seconds left too, but was granted some.
	if resp.TTL < 0 && resp.GrantedTTL == 0 {
		return nil, public(keepalive.NotFound(rpc.TTL, ""))
	}
	return &TTLResponse{
		Header: resp.Header, ID: resp.ID, Keys: c.space.inside(resp.Keys),
		TTL: keepalive.Seconds(resp.TTL), GrantedTTL: keepalive.Seconds(resp.GrantedTTL),
	}, nil
}

// Leases lists the leases of the cluster.
//
// Errors: those of every call (see [Error]).
//
// etcd: Lease/LeaseLeases (since 3.3)
func (c *Client) Leases(ctx context.Context) (*LeasesResponse, error) {
	var resp leaseLeasesResponse
	if err := c.do(ctx, rpc.Leases, &leaseLeasesRequest{}, nil, &resp); err != nil {
		return nil, err
	}
	out := &LeasesResponse{Header: resp.Header, Leases: make([]LeaseID, len(resp.Leases))}
	for i := range resp.Leases {
		out.Leases[i] = resp.Leases[i].ID
	}
	return out, nil
}

// Adopt renews an existing lease and keeps it alive from then on, like a lease of
// [Client.Grant]: after a restart, or when another program granted it. If this client has
// the lease already, Adopt returns that [Lease]. [Lease.StopKeepAlive] undoes Adopt.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound, ErrPermissionDenied (the keys on the
// lease must be writable) and those of every call (see [Error]).
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) Adopt(ctx context.Context, id LeaseID) (*Lease, error) {
	if err := id.check(); err != nil {
		return nil, invalid(rpc.Adopt.Op, err)
	}
	answer, sent, err := c.renew(ctx, rpc.Adopt, id)
	if err != nil {
		return nil, err
	}
	l := c.newLease(id)
	l.entry.Hold()
	l.granted(ResponseHeader(answer.Header), answer.TTL, sent)
	return c.leases().Adopt(&l.entry).Owner.(*Lease), nil
}

// KeepAliveOnce renews a lease once. Leases of [Client.Grant] and [Client.Adopt] need no
// such call. Any number of calls share a few streams.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound, ErrPermissionDenied (the keys on the
// lease must be writable) and those of every call (see [Error]).
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) KeepAliveOnce(ctx context.Context, req KeepAliveRequest) (*KeepAliveResponse, error) {
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpc.KeepAliveOnce.Op, within("KeepAliveRequest", err))
	}
	answer, _, err := c.renew(ctx, rpc.KeepAliveOnce, req.ID)
	if err != nil {
		return nil, err
	}
	return keepAliveResponse(&answer), nil
}

func keepAliveResponse(a *keepalive.Answer) *KeepAliveResponse {
	return &KeepAliveResponse{Header: ResponseHeader(a.Header), ID: LeaseID(a.ID), TTL: keepalive.Seconds(a.TTL)}
}

// renew renews a lease over the keeper's streams. It also returns when the renewal that
// succeeded was sent.
func (c *Client) renew(ctx context.Context, m *rpc.Method, id LeaseID) (keepalive.Answer, int64, error) {
	if ctx == nil {
		return keepalive.Answer{}, 0, invalid(m.Op, errNilContext)
	}
	ctx, begun := c.beginRenewal(ctx, m)
	answer, sent, err := c.leases().Renew(ctx, m, int64(id))
	if err != nil {
		failed := public(err)
		begun.end(failed, nil)
		return keepalive.Answer{}, 0, failed
	}
	begun.end(nil, nil)
	return answer, sent, nil
}

// beginRenewal tells of a renewal, unless it is a part of a Grant.
func (c *Client) beginRenewal(ctx context.Context, m *rpc.Method) (context.Context, begun) {
	if m == rpc.GrantRenew {
		return ctx, begun{}
	}
	return c.observer.begin(ctx, CallInfo{Op: m.Op, Operations: 1})
}

// Lease is a lease that this client knows, from [Client.Grant] or [Client.Adopt]. Its
// methods may be called concurrently. There is nothing to release: a lease ends when it
// is revoked or lost, or with the client. [Lease.StopKeepAlive] ends the renewals of a
// lease that others are to renew, or that is to expire.
type Lease struct {
	// Header is that of the answer that granted the lease, or of the renewal that
	// adopted it.
	Header ResponseHeader
	ID     LeaseID
	// TTL is the TTL as the server has granted it.
	TTL time.Duration

	client *Client
	entry  keepalive.Entry
}

// Done is closed when the lease is over; [Lease.Err] then says why. A lease that
// cannot be renewed is over at [Lease.Deadline], before the server lets it expire,
// unless the process itself was stopped at that time.
//
// When a lease is ended elsewhere, its keys are gone first, and the client learns of it
// from the next renewal, usually within a third of the TTL. Another client may revoke it.
// So may an etcd member that was the leader and did not run for longer than the TTL: when
// it runs again it can revoke leases that the next leader has renewed (seen with etcd
// 3.7). No client can foresee that. Where two holders at a time do harm, guard writes
// with a compare in their Txn.
func (l *Lease) Done() <-chan struct{} { return l.client.leases().Lifetime(&l.entry).Done() }

// Context returns a child of parent that also ends with the lease, for work that may
// only be done while the lease lives. [context.Cause] is then the error of [Lease.Err].
// Call cancel when the work is done, as with [context.WithCancel].
//
// The context ends at [Lease.Deadline] at the latest. A request that was sent before may
// still be applied after that: guard writes that must not come late with a compare in
// their Txn.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	if parent == nil {
		ctx, end := context.WithCancelCause(context.Background())
		end(invalid("Lease.Context", errNilContext))
		return ctx, func() {}
	}
	life := l.client.leases().Lifetime(&l.entry)
	held, end := context.WithCancelCause(parent)
	stop := context.AfterFunc(life, func() { end(context.Cause(life)) })
	return leaseContext{held, life, end}, func() {
		stop()
		end(nil)
	}
}

// leaseContext ends with its parent, and with a lease. The function of an AfterFunc runs
// in its own goroutine, which is late: a caller that asks after the lease has ended ends
// the context before it gets its answer.
type leaseContext struct {
	context.Context // the parent's child
	life            context.Context
	end             context.CancelCauseFunc
}

func (c leaseContext) check() {
	if c.life.Err() != nil {
		c.end(context.Cause(c.life))
	}
}

func (c leaseContext) Done() <-chan struct{} {
	c.check()
	return c.Context.Done()
}

func (c leaseContext) Err() error {
	c.check()
	return c.Context.Err()
}

func (c leaseContext) Value(key any) any {
	c.check() // context.Cause asks for a value
	return c.Context.Value(key)
}

// Revoke ends the lease and deletes the keys on it, as [Client.Revoke] does.
//
// Errors: ErrLeaseNotFound when the server no longer knows the lease, and those
// of every call (see [Error]). The lease may have been revoked if [MaybeApplied] says so. While Revoke
// fails, the client goes on renewing the lease.
//
// etcd: Lease/LeaseRevoke (since 3.0)
func (l *Lease) Revoke(ctx context.Context) error {
	_, err := l.client.Revoke(ctx, RevokeRequest{ID: l.ID})
	return err
}

// StopKeepAlive ends the renewals of the lease. It lives out its TTL, unless it is
// revoked, or renewed by another client or with [Client.KeepAliveOnce]. A renewal in
// flight may still be applied. The lease then ends with ErrLeaseExpired, at
// [Lease.Deadline]; until then [Client.Adopt] resumes the renewals. To end a lease at
// once, revoke it.
//
// Grant and each Adopt count as one hold, and StopKeepAlive gives up one. The client
// renews the lease while a hold is left, so that independent parts of a program can share
// a lease. Further calls do nothing.
func (l *Lease) StopKeepAlive() { l.client.leases().Release(&l.entry) }

// Err is nil while the lease lives, and then says why it is over. errors.Is finds one
// of
//
//   - ErrLeaseRevoked: this client has revoked it.
//   - ErrLeaseExpired: the server no longer knows it: it expired, or another client
//     has revoked it. Also when a lease without renewals (NoKeepAlive,
//     [Lease.StopKeepAlive]) has reached its deadline.
//   - ErrLeaseNotRenewed: no renewal has succeeded before [Lease.Deadline]. errors.Is
//     also finds the last failure: ErrUnavailable, ErrNoLeader, ErrPermissionDenied,
//     ErrUnauthenticated and so on.
//   - ErrClosed: the client was closed. The server lets the lease live out its TTL.
func (l *Lease) Err() error { return l.entry.Err() }

// Deadline is the time at which the lease is given up unless renewed: its TTL after the
// last successful renewal was sent. Renewals move it. Only a Revoke, or a former leader
// (see [Lease.Done]), ends a lease before.
func (l *Lease) Deadline() time.Time { return l.client.leases().Deadline(&l.entry) }

// OnRenewal has f called with the answer to each renewal of the lease from now on,
// [Client.KeepAliveOnce] and [KeepAliveStream] included. f must not block: answers for
// other leases wait for it. It may be called from several goroutines at a time, and may
// use the client. A panic of f is caught, written to the log and counted in [Stats].
//
// stop ends that, and so does the end of the lease, see [Lease.Done]. It does not wait
// for a call of f that is under way. stop may be called again.
//
// For all leases at once there is [Hooks.LeaseRenewed].
func (l *Lease) OnRenewal(f func(KeepAliveResponse)) (stop func()) {
	if f == nil {
		return func() {}
	}
	return l.client.leases().OnRenewal(&l.entry, func(r keepalive.Renewal) {
		defer l.client.observer.caught(noCall, "Lease.OnRenewal")
		f(KeepAliveResponse{Header: ResponseHeader(r.Header), ID: LeaseID(r.ID), TTL: r.TTL})
	})
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// GrantRequest is the lease that [Client.Grant] makes.
type GrantRequest struct {
	// TTL is how long the lease lives without a renewal. Required; rounded up to
	// whole seconds; at most 9,000,000,000 s. The server raises one that is
	// shorter than one and a half of its election timeouts (2 s unless configured).
	TTL time.Duration
	// ID is the lease's ID. 0 means a random positive one.
	ID LeaseID
	// NoKeepAlive leaves the renewing to you, with [Client.KeepAliveOnce] or
	// [Client.KeepAlive].
	NoKeepAlive bool
}

// RevokeRequest is the lease that [Client.Revoke] ends.
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

// TTLRequest is the lease that [Client.TTL] asks about.
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
	// TTL is what is left, in whole seconds, rounded down. The lease ends within
	// TTL and a second, unless it is renewed.
	TTL time.Duration
	// GrantedTTL is what each renewal sets the lease back to.
	GrantedTTL time.Duration
	// Keys are the keys on the lease, in no order, if they were asked for.
	Keys []string
}

// LeasesResponse is the answer of [Client.Leases].
type LeasesResponse struct {
	Header ResponseHeader
	// Leases are all leases of the cluster, whoever made them.
	Leases []LeaseID
}

// KeepAliveRequest is the lease that is renewed.
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

// checkID is the validation of requests that name a lease.
func (id LeaseID) check() error {
	if id == 0 {
		return errors.New("ID is 0, which is no lease")
	}
	return nil
}

// seconds is n seconds, as much as a Duration can hold.
func seconds(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(min(max(n, 0), most)) * time.Second
}

// Grant makes a lease and keeps it alive: it is renewed until it is revoked, the
// client is closed, or it is lost, which [Lease.Done] reports. Keys are put on it
// with PutRequest.Lease and are deleted with it.
//
// The client chooses the ID itself when it is 0, so a Grant whose answer was lost
// is repeated without leaving a second lease behind.
//
// Errors: ErrInvalidRequest, ErrLeaseExists (only for an ID of yours) and those
// of every call. The lease may have been made, and then lives for its TTL, if
// [MaybeApplied] says so.
//
// etcd: Lease/LeaseGrant (since 3.0)
func (c *Client) Grant(ctx context.Context, req GrantRequest) (*Lease, error) {
	if ctx == nil {
		return nil, invalid(rpcGrant.op, errNilContext)
	}
	wire, err := req.wire()
	if err != nil {
		return nil, invalid(rpcGrant.op, within("GrantRequest", err))
	}
	l := &Lease{ID: wire.ID, keeper: &c.leases}
	if !req.NoKeepAlive {
		l.keepers = 1
	}
	var reply []byte
	exists, err := c.resending(ctx, &rpcGrant, ErrLeaseExists, func() (e *Error) {
		sent := c.leases.now()
		reply, e = c.attempt(ctx, &rpcGrant, wire.appendWire(nil))
		if l.sent == 0 || e == nil {
			l.sent = sent // of the first attempt, or of the one that succeeded
		}
		return e
	})
	if err != nil {
		return nil, err
	}
	var resp leaseGrantResponse
	if exists {
		resp.TTL = wire.TTL // the server may have raised it: learnt below
	} else if err := resp.decodeWire(reply); err != nil {
		return nil, undecodable(&rpcGrant, err)
	}
	l.Header, l.TTL = resp.Header, seconds(resp.TTL)
	l.ttl = int64(l.TTL)
	if exists || c.leases.now() > l.sent+l.ttl/2 {
		if err := c.freshen(ctx, l); err != nil {
			return nil, err
		}
	}
	c.leases.add(l)
	return l, nil
}

// freshen renews a lease whose Grant took long or was answered by the lease that
// an earlier attempt had made. Where that fails what is known of it will do,
// unless it may have expired meanwhile.
func (c *Client) freshen(ctx context.Context, l *Lease) error {
	resp, sent, err := c.renew(ctx, &rpcGrantRenew, l.ID)
	if err == nil {
		l.Header, l.TTL = resp.Header, seconds(resp.TTL)
		l.ttl, l.sent = int64(l.TTL), sent
		return nil
	}
	if errors.Is(err, ErrLeaseNotFound) || c.leases.now() >= l.deadlineLocked() {
		return err
	}
	return nil
}

// Revoke ends a lease and deletes the keys on it. Its success ends the lease's
// keep-alive; as long as a Revoke fails the lease is kept alive.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound and those of every call. The lease
// may have been revoked if [MaybeApplied] says so; revoking again does no harm.
//
// etcd: Lease/LeaseRevoke (since 3.0)
func (c *Client) Revoke(ctx context.Context, req RevokeRequest) (*RevokeResponse, error) {
	if ctx == nil {
		return nil, invalid(rpcRevoke.op, errNilContext)
	}
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpcRevoke.op, within("RevokeRequest", err))
	}
	msg := (&leaseRevokeRequest{ID: req.ID}).appendWire(nil)
	l := c.leases.beginRevoke(req.ID)
	var reply []byte
	gone, err := c.resending(ctx, &rpcRevoke, ErrLeaseNotFound, func() (e *Error) {
		reply, e = c.attempt(ctx, &rpcRevoke, msg)
		return e
	})
	c.leases.endRevoke(l, err)
	if err != nil {
		return nil, err
	}
	var resp leaseRevokeResponse
	if gone {
		return &RevokeResponse{}, nil // by an attempt whose answer was lost
	}
	if err := resp.decodeWire(reply); err != nil {
		return nil, undecodable(&rpcRevoke, err)
	}
	return &RevokeResponse{Header: resp.Header}, nil
}

// TTL tells how much a lease has left to live.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound and those of every call.
//
// etcd: Lease/LeaseTimeToLive (since 3.1)
func (c *Client) TTL(ctx context.Context, req TTLRequest) (*TTLResponse, error) {
	var resp leaseTimeToLiveResponse
	wire := leaseTimeToLiveRequest(req)
	if err := c.do(ctx, &rpcTTL, &wire, req.ID.check(), &resp); err != nil {
		return nil, err
	}
	// A lease that has been over for a second and waits to be deleted has -1
	// seconds left too, but was granted some.
	if resp.TTL < 0 && resp.GrantedTTL == 0 {
		return nil, leaseNotFound(&rpcTTL, "")
	}
	return &TTLResponse{
		Header: resp.Header, ID: resp.ID, Keys: resp.Keys,
		TTL: seconds(resp.TTL), GrantedTTL: seconds(resp.GrantedTTL),
	}, nil
}

// Leases lists the leases of the cluster.
//
// Errors: those of every call.
//
// etcd: Lease/LeaseLeases (since 3.3)
func (c *Client) Leases(ctx context.Context) (*LeasesResponse, error) {
	var resp leaseLeasesResponse
	if err := c.do(ctx, &rpcLeases, &leaseLeasesRequest{}, nil, &resp); err != nil {
		return nil, err
	}
	out := &LeasesResponse{Header: resp.Header, Leases: make([]LeaseID, len(resp.Leases))}
	for i := range resp.Leases {
		out.Leases[i] = resp.Leases[i].ID
	}
	return out, nil
}

// Adopt renews a lease that exists and keeps it alive from then on, like one of
// this client's own: after a restart, or when another program made it. A lease
// that this client has already is returned as it is. [Lease.StopKeepAlive] undoes
// it.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound, ErrPermissionDenied (the keys on
// the lease must be writable) and those of every call.
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) Adopt(ctx context.Context, id LeaseID) (*Lease, error) {
	if err := id.check(); err != nil {
		return nil, invalid(rpcAdopt.op, err)
	}
	resp, sent, err := c.renew(ctx, &rpcAdopt, id)
	if err != nil {
		return nil, err
	}
	l := &Lease{Header: resp.Header, ID: id, TTL: seconds(resp.TTL), keeper: &c.leases, keepers: 1, sent: sent}
	l.ttl = int64(l.TTL)
	return c.leases.adopt(l), nil
}

// KeepAliveOnce renews a lease once. Leases of [Client.Grant] and [Client.Adopt]
// need no renewing. Any number of calls share a few streams.
//
// Errors: ErrInvalidRequest, ErrLeaseNotFound, ErrPermissionDenied (the keys on
// the lease must be writable) and those of every call.
//
// etcd: Lease/LeaseKeepAlive (since 3.0)
func (c *Client) KeepAliveOnce(ctx context.Context, req KeepAliveRequest) (*KeepAliveResponse, error) {
	if err := req.ID.check(); err != nil {
		return nil, invalid(rpcKeepAliveOnce.op, within("KeepAliveRequest", err))
	}
	resp, _, err := c.renew(ctx, &rpcKeepAliveOnce, req.ID)
	if err != nil {
		return nil, err
	}
	return &KeepAliveResponse{Header: resp.Header, ID: resp.ID, TTL: seconds(resp.TTL)}, nil
}

// renew renews a lease over the keeper's streams, with the retries of every call.
// It also returns when the renewal that succeeded was sent.
func (c *Client) renew(ctx context.Context, r *rpc, id LeaseID) (leaseKeepAliveResponse, int64, error) {
	if ctx == nil {
		return leaseKeepAliveResponse{}, 0, invalid(r.op, errNilContext)
	}
	var call *renewCall
	_, err := c.resending(ctx, r, nil, func() (e *Error) {
		call, e = c.leases.renewOnce(ctx, r, id)
		return e
	})
	if err != nil {
		return leaseKeepAliveResponse{}, 0, err
	}
	if call.resp.TTL <= 0 {
		return leaseKeepAliveResponse{}, 0, leaseNotFound(r, call.endpoint)
	}
	return call.resp, call.sent, nil
}

// resending makes attempts as [Client.call] does. done is the error by which a
// request meets its own earlier success: where an attempt before it may have been
// applied it means success, and met is true.
func (c *Client) resending(ctx context.Context, r *rpc, done error, attempt func() *Error) (met bool, err error) {
	unsure := false
	for attempts := 1; ; attempts++ {
		e := attempt()
		if e == nil {
			return false, nil
		}
		if unsure && done != nil && e.sentinel == done {
			return true, nil
		}
		unsure = unsure || e.Outcome == OutcomeUnknown
		e.Attempts = attempts
		if attempts > c.retries || !c.mayRetry(r, e) {
			return false, e
		}
		if end := c.pause(ctx, jitter(c.retrySleep, c.retrySleep/5), e); end != nil {
			return false, end
		}
	}
}

func leaseNotFound(r *rpc, endpoint string) error {
	return &Error{Op: r.op, Endpoint: endpoint, Code: CodeNotFound, Outcome: Rejected, Attempts: 1, sentinel: ErrLeaseNotFound}
}

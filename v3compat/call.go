package v3compat

import (
	"context"
	"errors"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/internal/compat"
)

// call makes a call of c's and translates its error. A request that was not sent
// because no member can be reached is made again for as long as its context
// allows: client/v3 waits for a connection in the same way.
func call[Request, Response any](ctx context.Context, do func(context.Context, Request) (Response, error), req Request) (Response, error) {
	ctx = withoutElections(ctx)
	for {
		resp, err := do(ctx, req)
		if !unsent(err) {
			return resp, asStatus(err)
		}
		if !pause(ctx) {
			return resp, ctx.Err()
		}
	}
}

// proposalTimeout is about when an etcd member without a leader gives up a request: five
// seconds and two election timeouts.
const proposalTimeout = 7 * time.Second

// withoutElections bounds how long a call waits for a leader: not at all when ctx is one
// of WithRequireLeader, and without a deadline as long as etcd would. With a deadline it
// waits until then.
func withoutElections(ctx context.Context) context.Context {
	switch _, timely := ctx.Deadline(); {
	case requiresLeader(ctx):
		return compat.WithElectionLimit(ctx, 0)
	case !timely:
		return compat.WithElectionLimit(ctx, proposalTimeout)
	}
	return ctx
}

// unsent: the request has not left, and another try may reach a member.
func unsent(err error) bool {
	var e *etcd.Error
	return errors.As(err, &e) && e.Outcome == etcd.OutcomeNotSent && errors.Is(e, etcd.ErrUnavailable)
}

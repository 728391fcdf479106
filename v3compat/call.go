package v3compat

import (
	"context"
	"errors"

	"silly.store/etcd"
)

// call makes a call of c's and translates its error. A request that was not sent
// because no member can be reached waits for one, for as long as its context
// allows, as it does in client/v3.
func call[Request, Response any](ctx context.Context, c *etcd.Client, do func(context.Context, Request) (Response, error), req Request) (Response, error) {
	for again := false; ; again = true {
		resp, err := do(ctx, req)
		if !unsent(err) {
			return resp, asStatus(err)
		}
		// Others may be ready while the one that the request names is not.
		if again && !pause(ctx) {
			return resp, ctx.Err()
		}
		if err := c.Ready(ctx); err != nil {
			return resp, asStatus(err)
		}
	}
}

// unsent: the request has not left, and another try may reach a member.
func unsent(err error) bool {
	var e *etcd.Error
	return errors.As(err, &e) && e.Outcome == etcd.NotSent && errors.Is(e, etcd.ErrUnavailable)
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// What a call ends with is temporary or not, also after its retries.
func TestTemporary(t *testing.T) {
	get := func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err }
	put := func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }
	refused := func(text string) reply { return says(transport.FailedPrecondition, text) }
	user := Config{Username: "u", Password: "p"}
	for name, test := range map[string]struct {
		config Config
		call   func(context.Context, *Client) error
		reply  reply
		is     error
		want   bool
	}{
		"read, lost":        {Config{}, get, lost, ErrUnavailable, true},
		"read, silent":      {Config{}, get, silence, ErrTimeout, true},
		"write, lost":       {Config{}, put, lost, ErrUnavailable, true},
		"write, silent":     {Config{}, put, silence, ErrTimeout, true},
		"no leader":         {Config{}, put, noLeader, ErrNoLeader, true},
		"busy":              {Config{}, put, busy, ErrTooManyRequests, true},
		"stopped":           {Config{}, put, stopped, ErrServerStopped, true},
		"server's timeout":  {Config{}, put, says(transport.Unavailable, "etcdserver: request timed out"), ErrServerTimeout, true},
		"member unhealthy":  {Config{}, put, says(transport.Unavailable, "etcdserver: unhealthy cluster"), ErrUnhealthy, true},
		"proxy, no backend": {Config{}, put, says(transport.Unavailable, "there is no backend"), ErrUnavailable, true},

		"no lease":           {Config{}, put, noLease, ErrLeaseNotFound, false},
		"compacted":          {Config{}, get, says(transport.OutOfRange, "etcdserver: mvcc: required revision has been compacted"), ErrCompacted, false},
		"no space":           {Config{}, put, says(transport.ResourceExhausted, "etcdserver: mvcc: database space exceeded"), ErrNoSpace, false},
		"corrupt":            {Config{}, put, says(transport.DataLoss, "etcdserver: corrupt cluster"), ErrCorrupt, false},
		"too large":          {Config{}, put, says(transport.InvalidArgument, "etcdserver: request is too large"), ErrRequestTooLarge, false},
		"permission":         {Config{}, get, says(transport.PermissionDenied, "etcdserver: permission denied"), ErrPermissionDenied, false},
		"no user":            {Config{}, get, says(transport.InvalidArgument, "etcdserver: user name is empty"), ErrUnauthenticated, false},
		"wrong password":     {user, get, says(transport.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"), ErrAuthFailed, false},
		"an unknown refusal": {Config{}, get, refused("etcdserver: of tomorrow"), nil, false},
		"unimplemented":      {Config{}, get, says(transport.Unimplemented, "unknown method"), nil, false},
		"misconfigured": {Config{}, get, reply{Err: &transport.Error{Code: transport.Unavailable, Outcome: transport.NotSent,
			Cause: transport.ErrMisconfigured}}, ErrBadEndpoint, false},
		"invalid": {Config{}, func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{}); return err }, ok, ErrInvalidRequest, false},
		"ended context": {Config{}, func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return get(ctx, c)
		}, ok, context.Canceled, false},
		"deadline": {Config{}, func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return put(ctx, c)
		}, silence, context.DeadlineExceeded, false},
		"deadline in a pause": {Config{RetrySleep: time.Minute}, func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return get(ctx, c)
		}, busy, context.DeadlineExceeded, false},
		"deadline in an election": {Config{}, func(ctx context.Context, c *Client) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return get(ctx, c)
		}, noLeader, context.DeadlineExceeded, false},
		"closed": {Config{}, func(ctx context.Context, c *Client) error { _ = c.Close(); return get(ctx, c) }, ok, ErrClosed, false},
		"batch": {Config{}, func(ctx context.Context, c *Client) error {
			return c.Batch(ctx, PutRequest{Key: "a"}, GetRequest{Key: "b"}).Err()
		}, busy, ErrTooManyRequests, true},
		"batch, one invalid": {Config{}, func(ctx context.Context, c *Client) error {
			return c.Batch(ctx, PutRequest{Key: "a"}, GetRequest{}).Err()
		}, busy, ErrTooManyRequests, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := scriptedBy(t, test.config, test.reply)
				err := test.call(t.Context(), c)
				if err == nil || test.is != nil && !errors.Is(err, test.is) || Temporary(err) != test.want {
					t.Errorf("got %v, want %v; temporary: %v, want %v", err, test.is, Temporary(err), test.want)
				}
			})
		})
	}
}

func TestTemporaryOfOthers(t *testing.T) {
	passing, final := &Error{Op: "Get", temporary: true}, &Error{Op: "Get"}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                  {nil, false},
		"no error of ours":     {io.EOF, false},
		"context":              {context.DeadlineExceeded, false},
		"wrapped":              {fmt.Errorf("load: %w", passing), true},
		"joined, all":          {errors.Join(passing, passing), true},
		"joined, one is final": {errors.Join(passing, final), false},
	} {
		if got := Temporary(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Hooks see whether an attempt's error is temporary.
func TestTemporaryInHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts, retries int
		hooks := Hooks{
			Attempt: func(context.Context, AttemptInfo) func(AttemptResult) {
				return func(r AttemptResult) {
					if r.Err != nil && Temporary(r.Err) {
						attempts++
					}
				}
			},
			Retry: func(r RetryInfo) {
				if Temporary(r.Err) {
					retries++
				}
			},
		}
		c, _ := scriptedBy(t, Config{Hooks: hooks}, busy, peertest.OK)
		if _, err := c.Get(t.Context(), GetRequest{Key: "k"}); err != nil || attempts != 1 || retries != 1 {
			t.Errorf("%v, %d attempts and %d retries with a temporary error", err, attempts, retries)
		}
	})
}

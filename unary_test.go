package etcd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// What each call is to the engine: whether it is sent again when the connection was
// lost, and whether it may have been applied when it is not.
func TestRetryOfCalls(t *testing.T) {
	again := Config{RetryWrites: AtLeastOnce}
	for name, test := range map[string]struct {
		config Config
		call   func(context.Context, *Client) error
		calls  int
	}{
		"Get": {Config{}, func(ctx context.Context, c *Client) error {
			_, err := c.Get(ctx, GetRequest{Key: "k"})
			return err
		}, 2},
		"Put": {Config{}, func(ctx context.Context, c *Client) error {
			_, err := c.Put(ctx, PutRequest{Key: "k"})
			return err
		}, 1},
		"Put, at least once": {again, func(ctx context.Context, c *Client) error {
			_, err := c.Put(ctx, PutRequest{Key: "k"})
			return err
		}, 2},
		"Txn that only reads": {Config{}, func(ctx context.Context, c *Client) error {
			_, err := c.Txn(ctx, TxnRequest{If: []Compare{{Key: "k"}}})
			return err
		}, 2},
		"Txn that writes": {Config{}, func(ctx context.Context, c *Client) error {
			_, err := c.Txn(ctx, TxnRequest{Then: []Op{DeleteRequest{Key: "k"}}})
			return err
		}, 1},
		"Compact": {Config{}, func(ctx context.Context, c *Client) error {
			_, err := c.Compact(ctx, CompactRequest{Revision: 1})
			return err
		}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, m := scriptedBy(t, test.config, lost, ok)
			err := test.call(t.Context(), c)
			if n := m.Counts().Calls; n != test.calls {
				t.Errorf("%s: %d calls, want %d: %v", name, n, test.calls, err)
			}
			if test.calls > 1 {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrUnavailable) || e.Attempts != 1 || !MaybeApplied(err) {
				t.Errorf("%s: error %v", name, err)
			}
		})
	}
}

// Which member may answer: only what is serializable is asked of one without
// leader.
func TestRequireLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			want bool
			call func(ctx context.Context, c *Client) error
		}{
			"Get": {true, func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, GetRequest{Key: "k"}); return err }},
			"serializable Get": {false, func(ctx context.Context, c *Client) error {
				_, err := c.Get(ctx, GetRequest{Key: "k", Serializable: true})
				return err
			}},
			"Put": {true, func(ctx context.Context, c *Client) error { _, err := c.Put(ctx, PutRequest{Key: "k"}); return err }},
			"Txn": {true, func(ctx context.Context, c *Client) error { _, err := c.Txn(ctx, TxnRequest{}); return err }},
			"serializable Txn": {false, func(ctx context.Context, c *Client) error {
				_, err := c.Txn(ctx, TxnRequest{Serializable: true})
				return err
			}},
			"Ready": {true, func(ctx context.Context, c *Client) error { return c.Ready(ctx) }},
		} {
			c, m := scriptedBy(t, Config{}, ok)
			if err := test.call(t.Context(), c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := m.Calls()[0].RequireLeader; got != test.want {
				t.Errorf("%s: requires a leader: %v", name, got)
			}
		}
	})
}

// An answer that makes no sense was an answer: a write has been done.
func TestUndecodableAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := scriptedBy(t, Config{}, reply{Body: []byte{0x0a, 0x7f}})
		_, err := c.Put(t.Context(), PutRequest{Key: "k"})
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInternal || !MaybeApplied(err) || m.Counts().Calls != 1 {
			t.Errorf("%v after %d calls", err, m.Counts().Calls)
		}
		if _, err = c.Get(t.Context(), GetRequest{Key: "k"}); err == nil || MaybeApplied(err) {
			t.Errorf("read: %v", err)
		}
	})
}

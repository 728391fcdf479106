package etcd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"silly.store/etcd/internal/peertest"
)

// The end of ctx ends the reading of a range and of a snapshot, also while there is
// something to read that has arrived.
func TestEndedContextEndsReading(t *testing.T) {
	pair := func(key string) []byte {
		kv := peertest.AppendBytes(nil, 1, []byte(key))
		return peertest.AppendBytes(nil, 1, peertest.AppendBytes(peertest.AppendHeader(nil, 5), 2, kv))
	}
	for name, test := range map[string]struct {
		stream func(*peertest.Stream)
		read   func(ctx context.Context, cancel func(), c *Client) (n int, err error)
	}{
		"Range": {
			func(s *peertest.Stream) {
				for _, key := range []string{"b", "c", "d"} {
					s.Send(pair(key))
				}
				s.End(nil)
				<-s.Over()
			},
			func(ctx context.Context, cancel func(), c *Client) (n int, err error) {
				r, err := c.Range(ctx, GetRequest{Prefix: true})
				if err != nil {
					return 0, err
				}
				for kv, err := range r.All() {
					if err != nil {
						return n, err
					}
					if n++; kv.Key == "b" {
						synctest.Wait()
						cancel()
					}
				}
				return n, nil
			},
		},
		"Snapshot": {
			func(s *peertest.Stream) {
				for range 3 {
					s.Send(peertest.AppendBytes(peertest.AppendHeader(nil, 1), 3, []byte("x")))
				}
				<-s.Over()
			},
			func(ctx context.Context, cancel func(), c *Client) (n int, err error) {
				s, err := c.Maintenance().Snapshot(ctx, SnapshotRequest{})
				if err != nil {
					return 0, err
				}
				defer s.Close()
				for {
					if _, err := s.Read(make([]byte, 10)); err != nil {
						return n, err
					}
					if n++; n == 2 {
						synctest.Wait()
						cancel()
					}
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := peertest.NewCluster("a:1")
				m := cluster.Member("a:1")
				kv := peertest.AppendBytes(nil, 1, []byte("a"))
				first := peertest.AppendBool(peertest.AppendBytes(peertest.AppendHeader(nil, 5), 2, kv), 3, true)
				m.Handle(peertest.Script(peertest.Reply{Body: first}))
				m.HandleStreams(test.stream)
				c := scripted(t, cluster, Config{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n, err := test.read(ctx, cancel, c)
				var e *Error
				if n != 2 || !errors.As(err, &e) || !errors.Is(err, context.Canceled) || e.Code != CodeCanceled || MaybeApplied(err) {
					t.Errorf("%d were read, then %v", n, err)
				}
			})
		})
	}
}

package etcd

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
)

// stalling are two members. The first serves the first stream, and the second is down until
// that has been opened.
func stalling(t *testing.T, serve, other func(*peertest.Stream)) (c *Client, first, second *peertest.Member) {
	t.Helper()
	cluster := peertest.NewCluster("a:1", "b:1")
	first, second = cluster.Member("a:1"), cluster.Member("b:1")
	second.Down(true)
	first.HandleStreams(func(s *peertest.Stream) {
		second.Down(false)
		serve(s)
	})
	second.HandleStreams(other)
	return scripted(t, cluster, Config{}), first, second
}

// stall serves a stream with nothing.
func stall(s *peertest.Stream) { <-s.Over() }

// A range whose member stopped sending looked for another one once, when a piece was 2 s
// late. One that recovered later did not help.
func TestRangeLooksForAnotherMemberAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, second := stalling(t, stall, func(s *peertest.Stream) {
			s.End(nil)
			stall(s)
		})
		time.AfterFunc(1500*time.Millisecond, second.TurnSuspect)
		time.AfterFunc(5*time.Second, second.Recover)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		r := &Range{c: c, ctx: ctx, first: GetResponse{More: true, KVs: []KeyValue{{Key: "a"}}}}
		for _, err := range r.All() {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the range took %v", took)
		}
	})
}

// A snapshot waited for its first piece as long as its context lasted, although another
// member could have sent it at once.
func TestSnapshotLeavesASilentMember(t *testing.T) {
	for name, silent := range map[string]func(m *peertest.Member){
		"late":    func(*peertest.Member) {},
		"suspect": func(m *peertest.Member) { m.TurnSuspect() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, first, _ := stalling(t, stall, sendSnapshot)
				time.AfterFunc(1500*time.Millisecond, func() { silent(first) })
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				s, err := c.Maintenance().Snapshot(ctx, SnapshotRequest{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if _, err := io.Copy(io.Discard, s); err != nil || s.Endpoint() != "b:1" {
					t.Errorf("from %s: %v", s.Endpoint(), err)
				}
				if took := time.Since(began); took > 5*time.Second || (took < 2*time.Second) != (name == "suspect") {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Once a piece has come, or when the request names the member, a snapshot stays with it.
func TestSnapshotStays(t *testing.T) {
	for name, req := range map[string]SnapshotRequest{"named": {Endpoint: "a:1"}, "begun": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, first, _ := stalling(t, func(s *peertest.Stream) {
					if name == "begun" {
						s.Send(peertest.AppendBytes(peertest.AppendInt(peertest.AppendHeader(nil, 1), 2, 100), 3, []byte("piece")))
					}
					stall(s)
				}, sendSnapshot)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				time.AfterFunc(time.Second, first.TurnSuspect)
				s, err := c.Maintenance().Snapshot(ctx, req)
				if name == "begun" {
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					_, err = io.Copy(io.Discard, s)
				}
				if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil {
					t.Errorf("the member was left: %v", err)
				}
			})
		})
	}
}

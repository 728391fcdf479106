package leasetest

import (
	"context"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

const (
	grantPath  = "/etcdserverpb.Lease/LeaseGrant"
	revokePath = "/etcdserverpb.Lease/LeaseRevoke"
)

// call answers Grant and Revoke.
func (c *Cluster) call(ctx context.Context, req transport.Request) ([]byte, error) {
	var id int64
	var ttl time.Duration
	peertest.Fields(req.Message, func(field int, v uint64, _ []byte) {
		if req.Path == grantPath && field == 1 {
			ttl = time.Duration(v) * time.Second
		} else {
			id = int64(v)
		}
	})
	c.mu.Lock()
	silent, lose, before, after := c.Silent, c.LoseAnswers > 0, c.Before, c.After
	if lose {
		c.LoseAnswers--
	}
	c.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := peertest.Sleep(ctx, before); err != nil {
		return nil, err
	}
	err := c.do(req.Path, id, ttl)
	if lose {
		return nil, peertest.Lost.Err
	}
	if ended := peertest.Sleep(ctx, after); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, err
	}
	return Answer(id, ttl), nil
}

func (c *Cluster) do(path string, id int64, ttl time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if path == grantPath {
		return c.grantLocked(id, ttl)
	}
	return c.revokeLocked(id)
}

// Answer is a response to a Grant or a renewal.
func Answer(id int64, ttl time.Duration) []byte {
	b := peertest.AppendInt(peertest.AppendHeader(nil, 1), 2, id)
	return peertest.AppendInt(b, 3, int64(ttl/time.Second))
}

// serve handles the renewals of a stream in order.
func (c *Cluster) serve(s *peertest.Stream) {
	for {
		msg, sent, ok := s.Recv()
		if !ok {
			return
		}
		c.mu.Lock()
		before, service, silent := c.Before, c.Service, c.Silent || s.Conn().Member.Address == c.Stuck || s.Conn() == c.Dead
		c.mu.Unlock()
		if silent {
			<-s.Over()
			return
		}
		if !s.Sleep(time.Until(sent.Add(before))) || !s.Sleep(service) {
			return
		}
		peertest.Fields(msg, func(_ int, v uint64, _ []byte) { ok = c.renew(s, int64(v)) })
		if !ok {
			return
		}
	}
}

var forbidden = peertest.Says(transport.PermissionDenied, "etcdserver: permission denied")

// renew answers one renewal. It returns false if the stream has ended.
func (c *Cluster) renew(s *peertest.Stream, id int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Renewed = append(c.Renewed, Renewal{time.Now(), id, s.Conn().Member.Address})
	switch {
	case c.Fail != nil:
		s.EndAfter(c.After, c.Fail)
		return false
	case c.Forbidden[id]:
		s.EndAfter(c.After, forbidden.Err)
		return false
	}
	l := c.liveLocked(id)
	for l != nil && !time.Now().Before(l.Expires) {
		left := time.Until(l.Expires.Add(deleteAfter))
		c.mu.Unlock()
		ok := s.Sleep(left)
		c.mu.Lock()
		if !ok {
			return false
		}
		l = c.liveLocked(id)
	}
	ttl := time.Duration(0)
	if l != nil {
		l.Expires = time.Now().Add(l.TTL)
		ttl = l.TTL
	}
	s.SendAfter(c.After, Answer(id, ttl))
	return true
}

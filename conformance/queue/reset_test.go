package queue

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// The store is set back right after Take, maybe before the queue's watch has brought the
// claim's key: the claim is lost, although its lease lives and revisions have fallen below its
// token. What the backup has is taken again.
func TestRestoredRightAfterTake(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	co := testbed.Coordinate(t, c, concurrency.Config{TTL: testbed.Patience})
	if _, err := co.Session(testbed.Within(t, testbed.Patience)); err != nil { // its lease is older than the backup
		t.Fatal(err)
	}
	q := open(t, co, queue.Config{Name: "q"})
	add(t, q, named("kept")...)
	backup := testbed.TakeBackup(t, s)
	add(t, q, named("gone", "too")...)
	claims := []*queue.Claim{take(t, q), take(t, q)}
	backup.Restore(t)
	for _, cl := range claims {
		if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) {
			t.Errorf("the context of %s: %v", cl.Item.ID, cause)
		}
	}
	again := take(t, q)
	if again.Item.ID != "kept" || again.Attempt != 1 {
		t.Errorf("taken after the restore: %+v", again)
	}
	ack(t, again)
}

// mutable is a dialer. What arrives on its connections, except the first one, can be dropped.
type mutable struct {
	mu    sync.Mutex // guards the fields below
	first net.Conn
	rest  []net.Conn
	muted bool
}

func (m *mutable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case m.first == nil:
		m.first = conn
		return conn, nil
	}
	m.rest = append(m.rest, conn)
	return &mutableConn{conn, m}, nil
}

func (m *mutable) mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muted = true
}

// cut closes the connections whose data was dropped; later ones carry everything.
func (m *mutable) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muted = false
	for _, conn := range m.rest {
		_ = conn.Close()
	}
}

type mutableConn struct {
	net.Conn
	m *mutable
}

// Read drops what arrives while the dialer is muted.
func (c *mutableConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.m.mu.Lock()
		muted := c.m.muted
		c.m.mu.Unlock()
		if err != nil || !muted {
			return n, err
		}
	}
}

// A claim's key is deleted before the queue's watch has brought it, and the history of that
// is compacted: the claim is lost when the items are read again.
func TestClaimCompactedUnseen(t *testing.T) {
	t.Parallel()
	s, direct := testbed.Private(t)
	m := new(mutable)
	c := testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints(), DialContext: m.dial})
	q := open(t, testbed.Coordinate(t, c, concurrency.Config{TTL: testbed.Patience}), queue.Config{Name: "q"})
	for urgent := false; !urgent; {
		add(t, q, queue.Item{}, queue.Item{Priority: 1})
		first := take(t, q)
		ack(t, first)
		if urgent = first.Item.Priority == 1; !urgent { // the watch had not brought both
			ack(t, take(t, q))
		}
	}
	m.mute()
	cl := take(t, q)
	testbed.Delete(t, direct, cl.Key())
	revision := testbed.Put(t, direct, "other", "1")
	if _, err := direct.Compact(testbed.Within(t, testbed.Patience), etcd.CompactRequest{Revision: revision}); err != nil {
		t.Fatal(err)
	}
	m.cut()
	if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) {
		t.Errorf("the context: %v", cause)
	}
}

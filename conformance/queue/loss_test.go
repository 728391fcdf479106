package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// lost waits until a claim's context ends, and returns its cause.
func lost(t testing.TB, cl *queue.Claim) error {
	t.Helper()
	select {
	case <-cl.Context().Done():
		return context.Cause(cl.Context())
	case <-time.After(testbed.Patience):
		t.Fatal("the context goes on")
		return nil
	}
}

// A lease that is revoked takes the claims along: their contexts end, Ack applies nothing, and
// another worker has the item. The worker goes on with another session.
func TestLeaseRevoked(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	q := open(t, co, queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	revoke(t, co)
	again := take(t, q) // which finds that the lease is gone
	if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) {
		t.Errorf("the context: %v", cause)
	}
	if err := cl.Ack(t.Context(), put(name+"-done", "1")); !errors.Is(err, queue.ErrClaimLost) || etcd.MaybeApplied(err) {
		t.Errorf("Ack: %v", err)
	}
	if got := stored(t, c, name+"-done"); got != "" {
		t.Errorf("the operation was applied: %q", got)
	}
	if again.Item.ID != "x" || again.Attempt != 2 || again.Token() <= cl.Token() {
		t.Errorf("taken again: %+v", again)
	}
	ack(t, again)
	if n := q.Stats(); n.Lost != 1 {
		t.Errorf("%+v", n)
	}
}

// revoke revokes the lease of a coordinator's session behind its back.
func revoke(t testing.TB, co *concurrency.Coordinator) {
	t.Helper()
	s, err := co.Session(testbed.Within(t, testbed.Patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Connect(t, etcd.Config{}).Revoke(testbed.Within(t, testbed.Patience), etcd.RevokeRequest{ID: s.Lease().ID}); err != nil {
		t.Fatal(err)
	}
}

// A claim whose key is deleted by hand is lost at once.
func TestClaimDeleted(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: cl.Key()}); err != nil {
		t.Fatal(err)
	}
	if cause := lost(t, cl); !errors.Is(cause, queue.ErrClaimLost) {
		t.Errorf("the context: %v", cause)
	}
	again := take(t, q)
	for what, err := range map[string]error{"Ack": cl.Ack(t.Context()), "Nack": cl.Nack(t.Context(), 0)} {
		if !errors.Is(err, queue.ErrClaimLost) {
			t.Errorf("%s of the lost one: %v", what, err)
		}
	}
	ack(t, again)
}

// A claim whose key was deleted while nobody looked is refused by etcd.
func TestClaimDeletedUnseen(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	for what, settle := range map[string]func(*queue.Claim) error{
		"Ack":  func(cl *queue.Claim) error { return cl.Ack(t.Context(), put(name+"-done", "1")) },
		"Nack": func(cl *queue.Claim) error { return cl.Nack(t.Context(), 0) },
	} {
		q := process(t, queue.Config{Name: name})
		add(t, q, named("x")...)
		cl := take(t, q)
		_, err := c.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{etcd.DeleteRequest{Key: cl.Key()}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := settle(cl); !errors.Is(err, queue.ErrClaimLost) || etcd.MaybeApplied(err) {
			t.Errorf("%s: %v", what, err)
		}
		ack(t, take(t, q))
	}
	if got := stored(t, c, name+"-done"); got != "" {
		t.Errorf("the operation was applied: %q", got)
	}
}

// An item that was removed and added again by hand is not the one that was claimed.
func TestAckOfAnotherItem(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/v/x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/v/x", Value: []byte("another")}); err != nil {
		t.Fatal(err)
	}
	if err := cl.Ack(t.Context()); !errors.Is(err, queue.ErrClaimLost) {
		t.Errorf("Ack: %v", err)
	}
	if got := stored(t, c, name+"/v/x"); got != "another" {
		t.Errorf("the other item: %q", got)
	}
}

// An item whose workers crash goes to the dead letters when it is to be given out once more.
func TestCrashesCount(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	q := open(t, co, queue.Config{Name: name, MaxAttempts: 2})
	add(t, q, named("bad")...)
	for attempt := 1; attempt <= 2; attempt++ {
		if cl := take(t, q); cl.Attempt != attempt {
			t.Errorf("attempt %d, want %d", cl.Attempt, attempt)
		}
		revoke(t, co)
	}
	add(t, q, named("good")...)
	cl := take(t, q)
	if cl.Item.ID != "good" {
		t.Errorf("taken %+v", cl)
	}
	ack(t, cl)
	for d, err := range q.Dead(t.Context()) {
		if err != nil || d.ID != "bad" || d.Attempts != 2 {
			t.Errorf("dead: %+v, %v", d, err)
		}
	}
	if n := q.Stats(); n.Buried != 1 {
		t.Errorf("%+v", n)
	}
}

// A state key without a value is swept away.
func TestOrphan(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	add(t, q, named("orphan")...)
	if _, err := c.Delete(t.Context(), etcd.DeleteRequest{Key: name + "/v/orphan"}); err != nil {
		t.Fatal(err)
	}
	add(t, q, named("x")...)
	cl := take(t, q)
	if cl.Item.ID != "x" {
		t.Errorf("taken %+v", cl)
	}
	ack(t, cl)
	noKeys(t, c, name)
}

// Keys of others below the name, and states that are no numbers, do no harm.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	for _, key := range []string{"c/ghost", "i/", "i/zzzz/00000000000001/x", "i/7fff/0000", "d/x", "t/00000000000001/7fff/", "i/-fff/00000000000001/x"} {
		if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/" + key, Value: []byte("?")}); err != nil {
			t.Fatal(err)
		}
	}
	q := process(t, queue.Config{Name: name})
	add(t, q, named("x")...)
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/i/7fff/00000000000000/odd", Value: []byte("many")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), etcd.PutRequest{Key: name + "/v/odd"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"odd", "x"} {
		cl := take(t, q)
		if cl.Item.ID != want || cl.Attempt != 1 {
			t.Errorf("taken %+v", cl)
		}
		ack(t, cl)
	}
}

// The view survives compactions that end its watch.
func TestCompaction(t *testing.T) {
	t.Parallel()
	s, c := testbed.Private(t)
	co := testbed.Coordinate(t, c, concurrency.Config{})
	q := open(t, co, queue.Config{Name: "q"})
	other := open(t, testbed.Coordinate(t, testbed.Connect(t, etcd.Config{Endpoints: s.Endpoints()}), concurrency.Config{}), queue.Config{Name: "q"})
	for i := range 30 {
		add(t, other, queue.Item{})
		resp, err := c.Get(t.Context(), etcd.GetRequest{Key: "q"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Compact(t.Context(), etcd.CompactRequest{Revision: resp.Header.Revision}); err != nil {
			t.Fatal(err)
		}
		from := q
		if i%2 == 0 {
			from = other
		}
		ack(t, take(t, from))
	}
	if left := keys(t, c, "q"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

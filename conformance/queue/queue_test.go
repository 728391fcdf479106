package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/concurrency"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// An item goes through the queue, its operations are applied with Ack, and nothing is left.
func TestAddTakeAck(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	add(t, q, queue.Item{ID: "a/b", Value: []byte("work"), Priority: -3})
	cl := take(t, q)
	if cl.Item.ID != "a/b" || string(cl.Item.Value) != "work" || cl.Item.Priority != -3 || cl.Attempt != 1 || cl.Token() == 0 {
		t.Errorf("taken: %+v", cl)
	}
	if cl.Context().Err() != nil {
		t.Errorf("the context: %v", context.Cause(cl.Context()))
	}
	if n := q.Stats(); n.Held != 1 || n.Taken != 1 || n.Added != 1 {
		t.Errorf("%+v", n)
	}
	guarded, err := c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{cl.Guard()}})
	if err != nil || !guarded.Succeeded {
		t.Errorf("the guard: %v, %v", guarded, err)
	}
	ack(t, cl, put(name+"-done", "1"))
	if got := stored(t, c, name+"-done"); got != "1" {
		t.Errorf("the operation has put %q", got)
	}
	if left := keys(t, c, name); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if cause := context.Cause(cl.Context()); !errors.Is(cause, queue.ErrSettled) {
		t.Errorf("the context after Ack: %v", cause)
	}
	for what, err := range map[string]error{"Ack": cl.Ack(t.Context()), "Nack": cl.Nack(t.Context(), 0)} {
		if !errors.Is(err, queue.ErrSettled) {
			t.Errorf("%s after Ack: %v", what, err)
		}
	}
	guarded, err = c.Txn(t.Context(), etcd.TxnRequest{If: []etcd.Compare{cl.Guard()}})
	if err != nil || guarded.Succeeded {
		t.Errorf("the guard after Ack: %v, %v", guarded, err)
	}
}

// Strict order: by priority, then as added; across processes too.
func TestStrictOrder(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	producer, consumer := process(t, queue.Config{Name: name}), process(t, queue.Config{Name: name})
	var want []string
	for i := range 20 {
		add(t, producer, queue.Item{ID: fmt.Sprint("low ", 99-i), Priority: -32768})
		want = append(want, fmt.Sprint("low ", 99-i))
	}
	add(t, producer, queue.Item{ID: "urgent", Priority: 32767}, queue.Item{ID: "usual"})
	want = append([]string{"urgent", "usual"}, want...)
	var got []string
	for range want {
		cl := take(t, consumer)
		got = append(got, cl.Item.ID)
		ack(t, cl)
	}
	if !slices.Equal(got, want) {
		t.Errorf("taken %v\nwant  %v", got, want)
	}
}

// Relaxed order gives everything out, each item once.
func TestRelaxedOrder(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	producer := process(t, queue.Config{Name: name, Order: queue.Relaxed})
	const items, workers = 150, 3
	for i := range items {
		add(t, producer, queue.Item{ID: fmt.Sprint(i)})
	}
	got := make(chan string, items)
	for range workers {
		q := process(t, queue.Config{Name: name, Order: queue.Relaxed})
		go func() {
			for cl, err := range q.All(t.Context()) {
				if err != nil || cl.Ack(t.Context()) != nil {
					return
				}
				got <- cl.Item.ID
			}
		}()
	}
	seen := make(map[string]bool)
	for range items {
		select {
		case id := <-got:
			if seen[id] {
				t.Errorf("%s was taken twice", id)
			}
			seen[id] = true
		case <-time.After(testbed.Patience):
			t.Fatalf("%d of %d taken", len(seen), items)
		}
	}
}

// The ID is taken as long as the item exists, dead letters included, and free after that.
func TestAddAgain(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name, MaxAttempts: 1})
	it := queue.Item{ID: "x", Value: []byte("1")}
	other := queue.Item{ID: "x", Value: []byte("2")}
	again := func(state string, want error) {
		t.Helper()
		before := keys(t, c, name)
		if err := q.Add(t.Context(), it); !errors.Is(err, want) {
			t.Errorf("%s: the same again: %v", state, err)
		}
		if want == nil {
			want = queue.ErrExists
		}
		if err := q.Add(t.Context(), other); !errors.Is(err, want) {
			t.Errorf("%s: another value: %v", state, err)
		}
		if after := keys(t, c, name); !slices.Equal(before, after) {
			t.Errorf("%s: keys %v, before %v", state, after, before)
		}
	}
	add(t, q, it)
	again("free", nil)
	cl := take(t, q)
	again("claimed", nil)
	nack(t, cl, 0)
	again("dead", queue.ErrDead)
	if err := q.Revive(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	again("revived", nil)
	ack(t, take(t, q))
	add(t, q, other)
	if cl := take(t, q); string(cl.Item.Value) != "2" {
		t.Errorf("taken %q", cl.Item.Value)
	}
}

// A delayed item is taken when its time has come, not before; one that was delayed by Nack too.
func TestDelayed(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	at := time.Now().Add(3 * time.Second) // longer than adding and taking the others takes
	add(t, q, queue.Item{ID: "later", At: at, Priority: 9}, queue.Item{ID: "now"}, queue.Item{ID: "past", At: time.Unix(0, 0)})
	for _, want := range []string{"now", "past"} {
		cl := take(t, q)
		if cl.Item.ID != want || time.Now().After(at) {
			t.Errorf("taken %q at %v", cl.Item.ID, time.Until(at))
		}
		ack(t, cl)
	}
	if n := q.Stats(); n.Delayed != 1 {
		t.Errorf("%+v", n)
	}
	for range 2 {
		cl := take(t, q)
		if early := time.Until(at); cl.Item.ID != "later" || early > 0 {
			t.Errorf("taken %q %v early", cl.Item.ID, early)
		}
		at = time.Now().Add(300 * time.Millisecond)
		nack(t, cl, 300*time.Millisecond)
	}
	ack(t, take(t, q))
}

// A delayed item keeps its priority when its time has come.
func TestDelayedPriority(t *testing.T) {
	t.Parallel()
	q := process(t, queue.Config{Name: testbed.OwnName(t)})
	add(t, q, queue.Item{ID: "first", Priority: 2})
	at := time.Now().Add(200 * time.Millisecond)
	add(t, q, queue.Item{ID: "usual"}, queue.Item{ID: "urgent", Priority: 1, At: at})
	ack(t, take(t, q)) // the view is there
	<-time.After(time.Until(at))
	for _, want := range []string{"urgent", "usual"} {
		cl := take(t, q)
		if cl.Item.ID != want {
			t.Errorf("taken %q, want %q", cl.Item.ID, want)
		}
		ack(t, cl)
	}
}

// After MaxAttempts the item is a dead letter, which can be revived or removed.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name, MaxAttempts: 2})
	add(t, q, queue.Item{ID: "bad/1", Value: []byte("poison"), Priority: 7})
	for attempt := 1; attempt <= 2; attempt++ {
		cl := take(t, q)
		if cl.Attempt != attempt {
			t.Errorf("attempt %d, want %d", cl.Attempt, attempt)
		}
		nack(t, cl, 0)
	}
	dead := func() (list []queue.DeadLetter) {
		for d, err := range q.Dead(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, d)
		}
		return list
	}
	list := dead()
	if len(list) != 1 || list[0].ID != "bad/1" || string(list[0].Value) != "poison" || list[0].Priority != 7 || list[0].Attempts != 2 {
		t.Fatalf("dead: %+v", list)
	}
	if err := q.Revive(t.Context(), "bad/1"); err != nil {
		t.Fatal(err)
	}
	if err := q.Revive(t.Context(), "bad/1"); !errors.Is(err, queue.ErrNotDead) {
		t.Errorf("revived twice: %v", err)
	}
	cl := take(t, q)
	if cl.Attempt != 1 || cl.Item.Priority != 7 || string(cl.Item.Value) != "poison" {
		t.Errorf("revived: %+v", cl)
	}
	nack(t, cl, 0)
	nack(t, take(t, q), time.Hour) // to the dead letters, not for an hour
	if len(dead()) != 1 {
		t.Errorf("dead: %v", dead())
	}
	if err := q.Remove(t.Context(), "bad/1"); err != nil {
		t.Error(err)
	}
	if err := q.Remove(t.Context(), "bad/1"); !errors.Is(err, queue.ErrNotDead) {
		t.Errorf("removed twice: %v", err)
	}
	if left := keys(t, c, name); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A call that waits ends at once with its context, and takes no item along.
func TestTakeEnds(t *testing.T) {
	t.Parallel()
	q := process(t, queue.Config{Name: testbed.OwnName(t)})
	ctx, cancel := context.WithCancel(t.Context())
	waiting := testbed.Async(func() (*queue.Claim, error) { return q.Take(ctx) })
	testbed.Eventually(t, "the wait", func() bool { return q.Stats().Waiting == 1 })
	cancel()
	if _, err := testbed.Await(t, waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	add(t, q, named("x")...)
	ack(t, take(t, q))
	if n := q.Stats(); n.Waiting != 0 || n.Held != 0 {
		t.Errorf("%+v", n)
	}
}

// Close gives back what is held, and ends what waits. So does the end of the coordinator.
func TestClose(t *testing.T) {
	t.Parallel()
	name := testbed.OwnName(t)
	q, other := process(t, queue.Config{Name: name}), process(t, queue.Config{Name: name})
	add(t, q, named("x")...)
	cl := take(t, q)
	waiting := testbed.Async(func() (*queue.Claim, error) { return q.Take(t.Context()) })
	testbed.Eventually(t, "the wait", func() bool { return q.Stats().Waiting == 1 })
	if err := q.Close(testbed.Within(t, testbed.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Await(t, waiting); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
	if cause := context.Cause(cl.Context()); !errors.Is(cause, queue.ErrClaimLost) {
		t.Errorf("the claim's context: %v", cause)
	}
	if err := cl.Ack(t.Context()); !errors.Is(err, queue.ErrClaimLost) || !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Ack: %v", err)
	}
	for what, err := range map[string]error{
		"Add": q.Add(t.Context(), queue.Item{}), "Take": func() error { _, err := q.Take(t.Context()); return err }(),
		"Revive": q.Revive(t.Context(), "x"),
	} {
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	again := take(t, other)
	if again.Attempt != 2 || again.Token() <= cl.Token() {
		t.Errorf("taken again: %+v", again)
	}
	ack(t, again)
}

// What cannot be meant is refused, and the error says what to do.
func TestBadInput(t *testing.T) {
	t.Parallel()
	co := testbed.Coordinate(t, testbed.Connect(t, etcd.Config{}), concurrency.Config{})
	for _, config := range []queue.Config{{}, {Name: "a/"}, {Name: "a", MaxAttempts: -1}, {Name: "a", Order: 7}} {
		if _, err := queue.New(co, config); !errors.Is(err, etcd.ErrInvalidConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	if _, err := queue.New(nil, queue.Config{Name: "a"}); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("no coordinator: %v", err)
	}
	// Nor a Writer whose keys go elsewhere: outside the namespace, or to another cluster.
	for _, client := range []*etcd.Client{co.Client().Namespace("view/"), testbed.Connect(t, etcd.Config{})} {
		_, err := queue.New(co, queue.Config{Name: "a", Writer: testbed.Writer(t, client)})
		if !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), "Config.Writer") {
			t.Errorf("another client's Writer: %v", err)
		}
	}
	q := open(t, co, queue.Config{Name: testbed.OwnName(t)})
	add(t, q, named("x")...)
	cl := take(t, q)
	for what, err := range map[string]error{
		"priority": q.Add(t.Context(), queue.Item{Priority: 32768}),
		"time":     q.Add(t.Context(), queue.Item{At: time.Unix(1<<40, 0)}),
		//lint:ignore SA1012 that is what is tested
		"context":   q.Add(nil, queue.Item{}),
		"delay":     cl.Nack(t.Context(), -1),
		"no unit":   cl.Nack(t.Context(), 30),
		"operation": cl.Ack(t.Context(), nil),
		"ID":        q.Remove(t.Context(), ""),
	} {
		if !errors.Is(err, etcd.ErrInvalidRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A refused Ack leaves the claim as it is.
	if err := cl.Ack(t.Context(), make([]etcd.Op, 200)...); err == nil || etcd.MaybeApplied(err) {
		t.Errorf("200 operations: %v", err)
	}
	many := make([]etcd.Op, 200)
	for i := range many {
		many[i] = put(fmt.Sprint(testbed.OwnName(t), i), "")
	}
	if err := cl.Ack(t.Context(), many...); !errors.Is(err, etcd.ErrTooManyOps) {
		t.Errorf("200 operations: %v", err)
	}
	ack(t, cl)
}

// Ack refuses operations that change keys of the queue before anything is sent, and says how many
// operations there may be; the claim goes on.
func TestAckRefusals(t *testing.T) {
	t.Parallel()
	c, name := testbed.Connect(t, etcd.Config{}), testbed.OwnName(t)
	q := process(t, queue.Config{Name: name})
	add(t, q, named("x", "y")...)
	cl := take(t, q)
	for _, op := range []etcd.Op{
		put(name+"/v/z", "1"), etcd.DeleteRequest{Key: cl.Key()}, etcd.DeleteRequest{Key: name, Prefix: true},
		etcd.DeleteRequest{Key: name + "/i/", Prefix: true}, etcd.DeleteRequest{Key: name, FromKey: true},
		etcd.DeleteRequest{Key: name + "/a", RangeEnd: name + "/c/z"}, etcd.DeleteRequest{All: true},
		etcd.TxnRequest{Else: []etcd.Op{put(name+"/x/z", "1")}},
	} {
		if err := cl.Ack(t.Context(), op); !errors.Is(err, etcd.ErrInvalidRequest) || !strings.Contains(err.Error(), "a key of the queue") {
			t.Errorf("%+v: %v", op, err)
		}
	}
	var ops []etcd.Op
	for i := range 124 {
		ops = append(ops, put(fmt.Sprint(name, "-done", i), "1"))
	}
	if err := cl.Ack(t.Context(), ops...); !errors.Is(err, etcd.ErrTooManyOps) || !strings.Contains(err.Error(), "leaves 123") {
		t.Errorf("124 operations: %v", err)
	}
	ops[0] = etcd.DeleteRequest{Key: name + "-", RangeEnd: name + "-d"}
	ack(t, cl, ops[:123]...)
	ack(t, take(t, q), put(name+"/result", "1"))
	if got := stored(t, c, name+"/result"); got != "1" {
		t.Errorf("a key that is none of the queue's: %q", got)
	}
}

package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/queue"
)

// model is the expected state of a queue's items: how often each was given to a worker.
type model struct {
	attempts map[string]int // of the items that are free
	dead     map[string]bool
	claims   []*queue.Claim
	done     map[string]bool
}

const modelAttempts = 3

// Two processes make random steps, one after the other. Each taken item is free in the
// model, with the right number of attempts; at the end every item is where the model says.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for run := range 6 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			name, c := testbed.OwnName(t), testbed.Connect(t, etcd.Config{})
			m := &model{attempts: make(map[string]int), dead: make(map[string]bool), done: make(map[string]bool)}
			random := rand.New(rand.NewPCG(seed, 0))
			config := queue.Config{Name: name, MaxAttempts: modelAttempts, Order: queue.Order(run % 2)}
			ends := []*queue.Queue{process(t, config), process(t, config)}
			for step := range 120 {
				m.step(t, random, ends[random.IntN(len(ends))], name, step)
			}
			for len(m.claims) > 0 {
				m.ack(t, name)
			}
			n := kindsOf(keys(t, c, name))
			if n["i"]+n["t"] != len(m.attempts) || n["x"] != len(m.dead) || n["c"] != 0 || n["v"] != len(m.attempts)+len(m.dead) {
				t.Errorf("seed %d: keys %v, and the model has %d free and %d dead", seed, n, len(m.attempts), len(m.dead))
			}
			for id := range m.done {
				if got := stored(t, c, name+"-done/"+id); got != "1" {
					t.Errorf("seed %d: the effect of %s: %q", seed, id, got)
				}
			}
		})
	}
}

func (m *model) step(t *testing.T, random *rand.Rand, q *queue.Queue, name string, step int) {
	t.Helper()
	switch random.IntN(8) {
	case 0, 1, 2:
		id := fmt.Sprint(step)
		add(t, q, queue.Item{ID: id, Priority: random.IntN(3), At: time.Now().Add(time.Duration(random.IntN(10)) * time.Millisecond)})
		m.attempts[id] = 0
	case 3, 4:
		if len(m.attempts) > 0 {
			m.take(t, q)
		}
	case 5:
		if len(m.claims) > 0 {
			m.ack(t, name)
		}
	case 6:
		if len(m.claims) > 0 {
			m.nack(t, time.Duration(random.IntN(3))*time.Millisecond)
		}
	case 7:
		m.settleDead(t, q, random.IntN(2) == 0)
	}
}

func (m *model) take(t *testing.T, q *queue.Queue) {
	t.Helper()
	cl := take(t, q)
	attempts, free := m.attempts[cl.Item.ID]
	if !free || cl.Attempt != attempts+1 {
		t.Fatalf("taken %s, attempt %d; in the model it is free: %v, after %d attempts", cl.Item.ID, cl.Attempt, free, attempts)
	}
	delete(m.attempts, cl.Item.ID)
	m.claims = append(m.claims, cl)
}

func (m *model) next() (cl *queue.Claim) {
	cl, m.claims = m.claims[0], m.claims[1:]
	return cl
}

func (m *model) ack(t *testing.T, name string) {
	t.Helper()
	cl := m.next()
	ack(t, cl, put(name+"-done/"+cl.Item.ID, "1"))
	m.done[cl.Item.ID] = true
}

func (m *model) nack(t *testing.T, delay time.Duration) {
	t.Helper()
	cl := m.next()
	nack(t, cl, delay)
	if cl.Attempt < modelAttempts {
		m.attempts[cl.Item.ID] = cl.Attempt
	} else {
		m.dead[cl.Item.ID] = true
	}
}

func (m *model) settleDead(t *testing.T, q *queue.Queue, revive bool) {
	t.Helper()
	var ids []string
	for d, err := range q.Dead(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	if len(ids) != len(m.dead) || slices.ContainsFunc(ids, func(id string) bool { return !m.dead[id] }) {
		t.Fatalf("dead %v, in the model %v", ids, m.dead)
	}
	if len(ids) == 0 {
		return
	}
	settle := q.Remove
	if revive {
		settle = q.Revive
		m.attempts[ids[0]] = 0
	}
	if err := settle(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	delete(m.dead, ids[0])
}

package coalesce

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/peertest"
	"silly.store/etcd/internal/transport"
)

// startTxn calls a transaction, whose message is its name.
func (c *Coalescer) startTxn(ctx context.Context, name string, f Footprint) <-chan ended {
	done := make(chan ended, 1)
	go func() {
		w := c.BeginTxn(ctx, "", &f, 1)
		w.Message = append(w.Message, putMessage(name, "")...)
		answer, err := c.Do(ctx, Txn, w)
		if err != nil {
			done <- ended{err: err}
			return
		}
		done <- ended{Answer: answer}
	}()
	return done
}

// TestIndependent: transactions share a request when none writes what another touches.
func TestIndependent(t *testing.T) {
	c := New(Config{Txns: true})
	for _, test := range []struct {
		name          string
		first, second Footprint
		shares        bool
	}{
		{"other keys", Footprint{[]string{"a"}, []string{"a"}}, Footprint{[]string{"b"}, []string{"b"}}, true},
		{"both read", Footprint{[]string{"r"}, []string{"a"}}, Footprint{[]string{"r"}, []string{"b"}}, true},
		{"both write", Footprint{nil, []string{"a"}}, Footprint{nil, []string{"a"}}, false},
		{"the second reads what the first writes", Footprint{nil, []string{"a"}}, Footprint{[]string{"a"}, []string{"b"}}, false},
		{"the first reads what the second writes", Footprint{[]string{"b"}, []string{"a"}}, Footprint{nil, []string{"b"}}, false},
		{"write skew", Footprint{[]string{"b"}, []string{"a"}}, Footprint{[]string{"a"}, []string{"b"}}, false},
	} {
		b := newBatch(Txn, Limits{9, 99}, nil)
		first, second := c.BeginTxn(t.Context(), "", &test.first, 1), c.BeginTxn(t.Context(), "", &test.second, 1)
		if b.claims.clash(&first.touches) || !b.add(first) {
			t.Errorf("%s: the first is refused", test.name)
		}
		if b.claims.clash(&second.touches) == test.shares {
			t.Errorf("%s: shares: %v", test.name, !test.shares)
		}
	}
	same := Footprint{nil, []string{"a"}}
	if inside, outside := c.BeginTxn(t.Context(), "ns/", &same, 1), c.BeginTxn(t.Context(), "", &same, 1); inside.key == outside.key {
		t.Error("a key is the same inside a namespace and outside")
	}
}

// TestTxnsShare: transactions that wait travel together, each as it is, one that depends on an
// earlier one with the next request; and each gets its own answer.
func TestTxnsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx := context.Background()
		alone := func(h gated) { h.Answer(peertest.Reply{Body: putReply(testHeader)}) }
		fillers := fill(g, func(key string) { c.startTxn(ctx, key, Footprint{Writes: []string{key}}) }, alone)
		first := c.startTxn(ctx, "first", Footprint{Reads: []string{"r"}, Writes: []string{"a"}})
		synctest.Wait()
		reads := c.startTxn(ctx, "reads", Footprint{Reads: []string{"a"}, Writes: []string{"b"}})
		synctest.Wait()
		third := c.startTxn(ctx, "third", Footprint{Reads: []string{"r"}, Writes: []string{"c"}})
		synctest.Wait()
		alone(fillers[0])
		came := g.came()
		want := appendOperation(appendOperation(nil, 4, putMessage("first", "")), 4, putMessage("third", ""))
		if len(came) != 1 || came[0].path() != "Txn" || !slices.Equal(came[0].Request.Message, want) {
			t.Fatalf("%d requests: %q, want %q", len(came), came[0].Request.Message, want)
		}
		one, three := getReply(inHeader, "one"), getReply(inHeader, "three")
		came[0].shared(4, one, three)
		if r := <-first; r.err != nil || !slices.Equal(r.Reply, one) || r.Header.Revision != 7 {
			t.Errorf("%+v", r)
		}
		if r := <-third; r.err != nil || !slices.Equal(r.Reply, three) {
			t.Errorf("%+v", r)
		}
		came = g.came()
		if len(came) != 1 || !slices.Equal(came[0].Request.Message, putMessage("reads", "")) {
			t.Fatalf("%d requests", len(came))
		}
		alone(came[0])
		if r := <-reads; r.err != nil {
			t.Error(r.err)
		}
	})
}

// TestOldReads: reads of given revisions share with the others. When the servers have refused
// such a revision, the others go on sharing, and only reads of revisions pause.
func TestOldReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, g := gatedCoalescer(t)
		ctx := context.Background()
		fillers := fillWindow(c, g)
		now, old := c.startGet(ctx, "a"), c.start(ctx, GetAt, "a", append(rangeMessage("a"), 0x20, 1))
		synctest.Wait()
		fillers[0].single("x")
		came := g.came()
		if len(came) != 1 || came[0].path() != "Txn" {
			t.Fatalf("%d requests", len(came))
		}
		came[0].Answer(peertest.Says(transport.OutOfRange, "etcdserver: mvcc: required revision has been compacted"))
		for _, h := range g.came() {
			h.single("x")
		}
		if r := <-now; r.err != nil {
			t.Error(r.err)
		}
		if r := <-old; r.err != nil {
			t.Error(r.err)
		}
		q := c.patientQueue(Get)
		if q.refused.pausing() || q.excluded.has(c.hash("", "a")) || !q.refusedOld.pausing() {
			t.Errorf("all pause: %v, reads of revisions: %v", q.refused.pausing(), q.refusedOld.pausing())
		}
		time.Sleep(refusalBackoff.First)
		if q.refusedOld.pausing() {
			t.Error("reads of revisions never share again")
		}
	})
}

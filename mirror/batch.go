package mirror

import (
	"silly.store/etcd"
)

// limits are what the target takes in one Txn beside the checkpoint. They fall when it refuses
// one.
type limits struct {
	ops   int
	bytes int
}

const (
	// mostOps is etcd's limit of 128, less the checkpoint.
	mostOps = 127
	// mostBytes leaves room below etcd's limit of 1.5 MiB.
	mostBytes = 1 << 20
	// opBytes is about what an operation takes beside its key and value.
	opBytes = 24
)

// op is one change of a key at the target.
type op struct {
	key    string
	value  []byte
	delete bool
}

func (o *op) size() int { return len(o.key) + len(o.value) + opBytes }

func (o *op) request() etcd.Op {
	if o.delete {
		return etcd.DeleteRequest{Key: o.key}
	}
	return etcd.PutRequest{Key: o.key, Value: o.value}
}

// revision is the changes of one revision of the source that are not applied yet.
type revision struct {
	number int64
	keys   int64 // how many the source has after it
	done   int   // how many of its changes are applied
	ops    []op
}

// queue is the revisions that wait to be applied, in order.
type queue struct {
	revisions []revision
	size      int // of all operations, in bytes
}

func (q *queue) add(r revision) {
	for i := range r.ops {
		q.size += r.ops[i].size()
	}
	q.revisions = append(q.revisions, r)
}

// full reports whether there is enough for a Txn.
func (q *queue) full(l limits) bool {
	return q.size >= l.bytes || len(q.revisions) >= 8*l.ops
}

// batch is what goes into one Txn: whole revisions, of which each key's last state counts, or
// a part of one that is too large.
type batch struct {
	ops     []op
	whole   int // revisions
	part    int // changes of the first revision, if none is whole
	changes int
}

// next is the batch at the head of the queue, which must not be empty.
func (q *queue) next(l limits) batch {
	g := batch{}
	at := make(map[string]int)
	bytes := 0
	for i := range q.revisions {
		r := &q.revisions[i]
		added, size := 0, 0
		for k := range r.ops {
			if _, ok := at[r.ops[k].key]; !ok {
				added++
			}
			size += r.ops[k].size()
		}
		if len(g.ops)+added > l.ops || bytes+size > l.bytes {
			break
		}
		bytes += size
		for _, o := range r.ops {
			if k, ok := at[o.key]; ok {
				g.ops[k] = o
			} else {
				at[o.key] = len(g.ops)
				g.ops = append(g.ops, o)
			}
		}
		g.whole++
		g.changes += len(r.ops)
	}
	if g.whole == 0 {
		return q.revisions[0].head(l)
	}
	return g
}

// head is the first changes of a revision: one at least.
func (r *revision) head(l limits) batch {
	n, bytes := 0, 0
	for n < len(r.ops) && n < l.ops && (n == 0 || bytes+r.ops[n].size() <= l.bytes) {
		bytes += r.ops[n].size()
		n++
	}
	return batch{ops: r.ops[:n], part: n, changes: n}
}

// after is the checkpoint once the batch is applied.
func (q *queue) after(g batch, c checkpoint) checkpoint {
	if g.whole == 0 {
		r := &q.revisions[0]
		c.Revision, c.Done = r.number-1, r.done+g.part
		return c
	}
	last := &q.revisions[g.whole-1]
	c.Revision, c.Keys, c.Done = last.number, last.keys, 0
	return c
}

// drop takes an applied batch off the queue.
func (q *queue) drop(g batch) {
	if g.whole == 0 {
		r := &q.revisions[0]
		q.forget(r.ops[:g.part])
		r.ops, r.done = r.ops[g.part:], r.done+g.part
		return
	}
	for i := range g.whole {
		q.forget(q.revisions[i].ops)
		q.revisions[i] = revision{}
	}
	q.revisions = q.revisions[g.whole:]
}

func (q *queue) forget(ops []op) {
	for i := range ops {
		q.size -= ops[i].size()
	}
}

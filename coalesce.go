package etcd

import (
	"bytes"
	"context"
	"hash/maphash"
	"sync"
	"time"

	"silly.store/etcd/internal/transport"
)

// Coalesce says which concurrent calls of a client may share requests. Only calls
// that name a single key do, and Gets only of the current revision.
//
// A call shares with others when as many requests are under way as the servers
// answer without delay: those that come then wait until one of these is answered
// and go together, as one transaction. A call that finds none under way is sent
// at once, as it is.
type Coalesce uint8

const (
	// CoalesceReads lets Gets share. Nothing but their speed changes: each is
	// answered, refused, retried and given up as if it had been sent alone, and is
	// linearizable, or serializable, as it asks.
	CoalesceReads Coalesce = iota
	// CoalesceAll lets Puts share with Puts, and Deletes with Deletes, too. Those that
	// share are one transaction: they have one revision, so that a watch sees them
	// together, and are applied together or not at all. If the fate of the
	// transaction is unknown, so is that of each. One that the servers refuse is
	// told from the others, which are then sent again alone.
	//
	// Puts of one key never share. They are sent one after the other in the order in
	// which they were called, unless more than sixteen of them wait. So are Deletes;
	// Puts and Deletes, and calls with a deadline and those without, do not wait for
	// each other.
	CoalesceAll
	// CoalesceOff sends every call alone.
	CoalesceOff
)

// operation is a kind of call that may share a request with others of its kind.
type operation struct {
	single *rpc // how one is sent
	shared *rpc // how several are
	field  int  // of the operation in RequestOp, and of its answer in ResponseOp
	// writes: two of one key do not share, and keep their order.
	writes bool
}

var (
	opGet      = operation{single: &rpcRange, shared: &rpcGetShared, field: 1}
	opGetLocal = operation{single: &rpcRangeLocal, shared: &rpcGetSharedLocal, field: 1}
	opPut      = operation{single: &rpcPut, shared: &rpcPutShared, field: 2, writes: true}
	opDelete   = operation{single: &rpcDelete, shared: &rpcDeleteShared, field: 3, writes: true}
)

// coalescer holds the lines in which calls wait for one another. Calls with a
// deadline and those without do not meet: Config.Timeout bounds the attempts of
// the latter only.
type coalescer struct {
	seed      maphash.Seed
	maxAnswer int       // Config.MaxResponseBytes; 0: as large as can be
	waiters   sync.Pool // of *waiter; one a client, whose channels are its own
	routines  sync.WaitGroup

	gets, localGets, puts, deletes lines
}

// lines are those of one operation, without and with a deadline.
type lines struct {
	on              bool
	patient, timely line
}

func (co *coalescer) init(c *Client, which Coalesce, maxAnswer int) {
	co.seed, co.maxAnswer = maphash.MakeSeed(), maxAnswer
	co.gets.init(c, &opGet, which != CoalesceOff)
	co.localGets.init(c, &opGetLocal, which != CoalesceOff)
	co.puts.init(c, &opPut, which == CoalesceAll)
	co.deletes.init(c, &opDelete, which == CoalesceAll)
}

func (ls *lines) init(c *Client, op *operation, on bool) {
	ls.on = on
	ls.patient.init(c, op)
	ls.timely.init(c, op)
}

// all are the lines, for closing.
func (co *coalescer) all() [8]*line {
	return [...]*line{
		&co.gets.patient, &co.gets.timely, &co.localGets.patient, &co.localGets.timely,
		&co.puts.patient, &co.puts.timely, &co.deletes.patient, &co.deletes.timely,
	}
}

// close fails what waits in the lines; wait waits for what is under way, which
// the end of the connections ends.
func (co *coalescer) close() {
	for _, l := range co.all() {
		l.close()
	}
}

func (co *coalescer) wait() { co.routines.Wait() }

// count is how many calls wait in the lines.
func (co *coalescer) count() (n int) {
	for _, l := range co.all() {
		n += l.count()
	}
	return n
}

// lines are those of an operation.
func (co *coalescer) lines(op *operation) *lines {
	switch op {
	case &opGet:
		return &co.gets
	case &opGetLocal:
		return &co.localGets
	case &opPut:
		return &co.puts
	}
	return &co.deletes
}

// limits are those of a Batch, which learns from its refusals as the lines do.
func (co *coalescer) limits(op *operation) batchLimits {
	l := &co.lines(op).patient
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits.batch()
}

func (co *coalescer) refused(op *operation, b *batch, err *Error) {
	l := &co.lines(op).patient
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits.refused(b, err)
}

// getLines are the lines of a Get; nil: it goes alone.
func (c *Client) getLines(w *rangeRequest) *lines {
	switch {
	case w.RangeEnd != "" || w.Revision != 0:
		return nil
	case w.Serializable:
		return &c.coalescer.localGets
	}
	return &c.coalescer.gets
}

func (c *Client) putLines(w *putRequest) *lines {
	if c.coalescer.mayOverflow(w.PrevKV) {
		return nil
	}
	return &c.coalescer.puts
}

func (c *Client) deleteLines(w *deleteRangeRequest) *lines {
	if w.RangeEnd != "" || c.coalescer.mayOverflow(w.PrevKV) {
		return nil
	}
	return &c.coalescer.deletes
}

// mayOverflow: the answers of many such writes may be too large together, which
// shows when they have been applied.
func (co *coalescer) mayOverflow(prevKV bool) bool { return prevKV && co.maxAnswer > 0 }

// sharedResponse is an answer that may come as part of a larger one. Its header is
// that of the whole then.
type sharedResponse interface {
	wireResponse
	setHeader(ResponseHeader)
}

func (r *GetResponse) setHeader(h ResponseHeader)    { r.Header = h }
func (r *PutResponse) setHeader(h ResponseHeader)    { r.Header = h }
func (r *DeleteResponse) setHeader(h ResponseHeader) { r.Header = h }

// doShared is do for a call that may share a request with others, in one of ls.
func (c *Client) doShared(ctx context.Context, r *rpc, ls *lines, key string, req wireRequest, reqErr error, resp sharedResponse) error {
	if ctx == nil || reqErr != nil || ls == nil || !ls.on {
		return c.do(ctx, r, req, reqErr, resp)
	}
	w := c.coalescer.newWaiter(ctx)
	w.key = maphash.String(c.coalescer.seed, key)
	w.msg = req.appendWire(w.msg)
	l := &ls.patient
	if !w.deadline.IsZero() {
		l = &ls.timely
	}
	return l.call(ctx, w, resp)
}

// waiter is a call in a line. The pool has it back only when nobody else knows of
// it: when it was never in the queue, or its batch has answered.
type waiter struct {
	msg      []byte // the request, as it is sent alone
	key      uint64 // the hash of its key
	deadline time.Time

	// solo: it shares with nobody. batch is what took it out of the queue, and
	// index its operation there. left: its call has given up. settled: there is a
	// verdict, and done is about to be signalled. Guarded by line.mu.
	solo, left, settled bool
	batch               *batch
	index               int
	// era is line.era when it was sent alone.
	era int

	// done is signalled once, when there is a verdict.
	done chan struct{}
	verdict
}

// verdict is what a batch has for one of its calls.
type verdict struct {
	reply  []byte         // a part of the batch's answer
	mine   bool           // nobody else's reply is in the same memory
	header ResponseHeader // of the batch; zero when the reply has its own
	err    *Error
	alone  bool // the batch was refused: the call is to be made alone
}

// result is what the verdict means to the caller. What it decodes is the caller's
// own.
func (w *waiter) result(op *operation, resp sharedResponse) error {
	if w.err != nil {
		err := *w.err
		return &err
	}
	reply := w.reply
	if !w.mine {
		reply = bytes.Clone(reply)
	}
	if err := resp.decodeWire(reply); err != nil {
		return undecodable(op.single, err)
	}
	if w.header.ClusterID != 0 {
		resp.setHeader(w.header)
	}
	return nil
}

func (co *coalescer) newWaiter(ctx context.Context) *waiter {
	w, _ := co.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{done: make(chan struct{}, 1)}
	}
	w.deadline = transport.Deadline(ctx)
	return w
}

// maxPooledWaiter keeps large values from staying in the pool.
const maxPooledWaiter = 4 << 10

func (co *coalescer) release(w *waiter) {
	msg := w.msg[:0]
	if cap(msg) > maxPooledWaiter {
		msg = nil
	}
	*w = waiter{msg: msg, done: w.done}
	co.waiters.Put(w)
}

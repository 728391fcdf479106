package etcd

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// RangeStream sends its header with the last piece, so the revision is learned by a first
// small page and pinned. The server makes pieces of 1.5 MiB; a Range holds two at most.

// Range is a range of keys at one revision, read piece by piece, so that its
// size in memory does not depend on how many keys there are. Make it with
// [Client.Range].
//
// A Range may be used concurrently, and read more than once: each loop over
// [Range.All] starts at the first key and sees the same pairs, as long as the
// revision is not compacted.
type Range struct {
	c        *Client
	ctx      context.Context
	req      rangeRequest // of what follows the first page
	first    GetResponse
	limit    int64 // pairs still wanted after the first page; 0: all
	revision int64
}

const (
	// firstPage is how many pairs the request brings that learns the revision.
	// Small ranges end there, in one round trip.
	firstPage = 32
	// pageBytes is about what a page should weigh where the server has no
	// RangeStream. Each page makes the server count the whole rest of the
	// range, so they should not be too small either.
	pageBytes = 1 << 20
	maxPage   = 100_000
	// pieceLate is how long a piece of a stream, or the first one of a snapshot, may take
	// while another member is better.
	pieceLate = 2 * time.Second
	// streamMissingFor is how long a server's word is taken that it has no
	// RangeStream.
	streamMissingFor = time.Minute
)

// Range reads the first pairs of a range and pins its revision; loop over
// [Range.All] for all of them. Use it in place of [Client.Get] for ranges that
// may be large. Pairs come in ascending order of their keys.
//
// ctx also bounds the loop; Config.Timeout bounds only the call of Range. req.Limit is the
// largest number of pairs to read in all. Use Get for orders other than ascending by key,
// and for CountOnly.
//
// Errors: ErrInvalidRequest, ErrCompacted, ErrFutureRevision and those of every call
// (see [Error]).
//
// etcd: KV/Range, and KV/RangeStream where the server has it (since 3.7)
func (c *Client) Range(ctx context.Context, req GetRequest) (*Range, error) {
	wire, err := req.wire()
	if err == nil {
		err = checkRange(&wire)
	}
	if err != nil {
		err = within("GetRequest", err)
	}
	if ctx == nil {
		err = errNilContext
	}
	if err != nil {
		return nil, invalid("Range", err)
	}
	wire.enter(&c.space)
	r := &Range{c: c, ctx: ctx, req: wire}
	wire.Limit = firstPage
	if req.Limit > 0 {
		wire.Limit = min(req.Limit, firstPage)
	}
	// On the lane of unary calls: most ranges are small and end here.
	first := rpc.RangeFirst
	if wire.Serializable {
		first = rpc.RangeFirstLocal
	}
	if err := c.do(ctx, first, &wire, nil, &r.first); err != nil {
		return nil, err
	}
	r.first.leave(&c.space)
	r.revision = r.first.Header.Revision
	if req.Revision > 0 {
		r.revision = req.Revision
	}
	r.req.Revision = r.revision
	r.limit = req.Limit
	return r, nil
}

func checkRange(w *rangeRequest) error {
	switch {
	case w.CountOnly:
		return errors.New("CountOnly is set; use Get to count")
	case w.SortOrder == Descend, w.SortTarget != SortByKey:
		return errors.New("SortOrder and SortTarget: Range reads in ascending order of the keys; use Get for other orders")
	}
	return nil
}

// Revision is the revision at which the range is read.
func (r *Range) Revision() int64 { return r.revision }

// Header is that of the first answer. Its Revision is the store's, even when the Range
// reads an older one.
func (r *Range) Header() ResponseHeader { return r.first.Header }

// Count is how many keys the range has at its revision, without regard to Limit and the
// filters.
func (r *Range) Count() int64 { return r.first.Count }

// All yields the pairs of the range. It yields an error last, with a zero KeyValue; the
// pairs before it are right. When a connection is lost, reading continues after the last
// key over another one.
//
// Pairs belong to the caller. A pair that is kept keeps the piece of the range that it
// came with in memory, about 1.5 MiB: use [KeyValue.Clone].
func (r *Range) All() iter.Seq2[KeyValue, error] {
	return func(yield func(KeyValue, error) bool) {
		s := &scan{r: r, ctx: r.ctx, req: r.req, limit: r.limit, yield: yield, pageSize: nextPageSize(&r.first)}
		if err := s.run(); err != nil {
			yield(KeyValue{}, err)
		}
	}
}

// scan is one loop over a range.
type scan struct {
	r     *Range
	ctx   context.Context // that of the Range, as Hooks.Call has returned it
	req   rangeRequest    // of the rest
	limit int64           // 0: no limit
	yield func(KeyValue, error) bool

	yielded  int64
	stopped  bool  // yield returned false
	pageSize int64 // pairs of the next page, where there is no RangeStream
}

func (s *scan) run() (err error) {
	s.page(&s.r.first)
	if !s.r.first.More || s.over() {
		return nil
	}
	var begun begun
	s.ctx, begun = s.r.c.observer.begin(s.r.ctx, CallInfo{Op: rpc.RangePage.Op, Key: s.req.Key, Operations: 1})
	defer func() { begun.end(err, nil) }()
	return s.rest()
}

// rest reads what follows the first page.
func (s *scan) rest() error {
	for more := true; more && !s.over(); {
		var err error
		if s.mayStream() {
			more, err = s.streamOn()
		} else {
			more, err = s.nextPage()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// over: the loop has all it wants.
func (s *scan) over() bool {
	return s.stopped || s.limit > 0 && s.yielded >= s.limit
}

// page yields the pairs of a page and moves the request behind the last.
func (s *scan) page(p *GetResponse) {
	for i := range p.KVs {
		if s.over() {
			return
		}
		s.yielded++
		if !s.yield(p.KVs[i], nil) {
			s.stopped = true
			return
		}
	}
	if n := len(p.KVs); n > 0 {
		s.req.Key = p.KVs[n-1].Key + "\x00"
	}
}

// left is the limit of what follows; 0 means none.
func (s *scan) left() int64 {
	if s.limit == 0 {
		return 0
	}
	return s.limit - s.yielded
}

// mayStream: RangeStream knows no filters, and servers before 3.7 know no
// RangeStream.
func (s *scan) mayStream() bool {
	q := &s.req
	if q.MinModRevision != 0 || q.MaxModRevision != 0 || q.MinCreateRevision != 0 || q.MaxCreateRevision != 0 {
		return false
	}
	since := s.r.c.streamMissingSince.Load()
	return since == 0 || time.Since(time.Unix(0, since)) > streamMissingFor
}

// streamOn reads on from the last pair, as one stream. When that fails for a passing
// reason and has brought something, it is over for now without an error: there is
// more, and the next stream goes on there.
func (s *scan) streamOn() (more bool, err error) {
	c := s.r.c
	failed := c.engine.Begin(s.ctx, call.Request{Method: rpc.RangeStream}, func() (failed *call.Error) {
		before := s.yielded
		more, failed = s.stream()
		switch {
		case failed == nil:
			return nil
		case failed.Code == transport.Unimplemented:
			c.streamMissingSince.Store(time.Now().UnixNano())
			return nil
		case failed.Sentinel == ErrFutureRevision && s.req.Serializable:
			// The member lags behind the one that named the revision.
			s.req.Serializable = false
			return nil
		case failed.Transient && s.yielded > before:
			return nil
		}
		return failed
	})
	if failed != nil {
		return false, public(failed)
	}
	return more, nil
}

// stream reads the rest of the range as one stream. It reports whether there is
// more, which only an error leaves open.
func (s *scan) stream() (more bool, err *call.Error) {
	engine, ctx := s.r.c.engine, s.ctx
	req := s.req
	req.Limit = s.left()
	m := newMessage()
	defer m.release()
	m.bytes = req.appendWire(m.bytes)
	method := rpc.RangeStream
	if req.Serializable {
		method = rpc.RangeStreamLocal
	}
	stream, failed := engine.OpenLeaving(ctx, call.Request{Method: method, Message: m.bytes}, pieceLate)
	if failed != nil {
		return true, failed
	}
	defer stream.Close()
	for more = true; more && err == nil && !s.over(); {
		more, err = s.nextPiece(stream)
	}
	return more && err != nil, err
}

// nextPiece reads a piece of the stream.
func (s *scan) nextPiece(stream *call.Leaving) (more bool, failed *call.Error) {
	if s.ctx.Err() != nil { // pieces that are there would hide it
		return true, call.Abandoned(s.ctx, rpc.RangeStream, stream.Endpoint())
	}
	reply, err := stream.Recv()
	switch {
	case err == io.EOF:
		return false, nil
	case err != nil:
		return true, stream.Fail(err)
	}
	var piece rangeStreamResponse
	if err := piece.decodeWire(reply); err != nil {
		return true, call.Undecodable(rpc.RangeStream, err)
	}
	piece.RangeResponse.leave(&s.r.c.space)
	s.page(&piece.RangeResponse)
	return true, nil
}

// nextPage reads a page. Its size follows the weight of the pairs before it.
func (s *scan) nextPage() (more bool, err error) {
	req := s.req
	req.Limit = s.pageSize
	if rest := s.left(); rest > 0 {
		req.Limit = min(req.Limit, rest)
	}
	var page GetResponse
	method := rpc.RangePage
	if req.Serializable {
		method = rpc.RangePageLocal
	}
	err = s.r.c.request(s.ctx, method, nil, &req, nil, &page)
	if errors.Is(err, ErrFutureRevision) && s.req.Serializable {
		s.req.Serializable = false // the member lags behind the one that named the revision
		return true, nil
	}
	if err != nil {
		return true, err
	}
	page.leave(&s.r.c.space)
	s.pageSize = nextPageSize(&page)
	s.page(&page)
	return page.More, nil
}

// nextPageSize is how many pairs like those of p weigh about pageBytes; at most
// eight times as many as p has, since what comes may be heavier.
func nextPageSize(p *GetResponse) int64 {
	n := int64(len(p.KVs))
	if n == 0 {
		return firstPage
	}
	var weight int64
	for i := range p.KVs {
		weight += int64(len(p.KVs[i].Key) + len(p.KVs[i].Value) + 32)
	}
	return min(max(n*pageBytes/weight, 1), 8*n, maxPage)
}

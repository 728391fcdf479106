package etcd

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"silly.store/etcd/internal/transport"
)

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
	// pieceLate is how long a piece of a stream may take while another member is
	// better.
	pieceLate = 2 * time.Second
	// streamMissingFor is how long a server's word is taken that it has no
	// RangeStream.
	streamMissingFor = time.Minute
)

// Range reads the first pairs of a range and pins its revision; loop over
// [Range.All] for all of them. Use it in place of [Client.Get] for ranges that
// may be large. Pairs come in ascending order of their keys.
//
// ctx also bounds the loop; Config.Timeout bounds only what Range itself does.
// Req.Limit is the most pairs to read in all. Orders other than ascending by
// key, and CountOnly, are for Get.
//
// Errors: ErrInvalidRequest, ErrCompacted, ErrFutureRevision and those of every
// call.
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
	r := &Range{c: c, ctx: ctx, req: wire}
	wire.Limit = firstPage
	if req.Limit > 0 {
		wire.Limit = min(req.Limit, firstPage)
	}
	// On the lane of unary calls: most ranges are small and end here.
	if err := c.page(ctx, rangeRPC(&wire), &wire, &r.first); err != nil {
		return nil, err
	}
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

// page reads one page into resp.
func (c *Client) page(ctx context.Context, rpc *rpc, req *rangeRequest, resp *GetResponse) error {
	err := c.do(ctx, rpc, req, nil, resp)
	var e *Error
	if errors.As(err, &e) {
		e.Op = "Range"
	}
	return err
}

// Revision is the revision at which the range is read.
func (r *Range) Revision() int64 { return r.revision }

// Header says who has answered first. Its Revision is that of the store, also
// when the Range reads an older one.
func (r *Range) Header() ResponseHeader { return r.first.Header }

// Count is how many keys the range has at its revision, whatever Limit and the
// filters say.
func (r *Range) Count() int64 { return r.first.Count }

// All yields the pairs of the range. An error is yielded last, with a zero
// KeyValue; what was yielded before it is right. A connection that is lost on
// the way is replaced, and reading goes on behind the last key.
//
// Pairs belong to the caller. A pair that is kept keeps the piece of the range
// that it came with in memory, about 1.5 MiB: use [KeyValue.Clone].
func (r *Range) All() iter.Seq2[KeyValue, error] {
	return func(yield func(KeyValue, error) bool) {
		s := &scan{r: r, req: r.req, limit: r.limit, yield: yield, pageSize: nextPageSize(&r.first)}
		if err := s.run(); err != nil {
			yield(KeyValue{}, err)
		}
	}
}

// scan is one loop over a range.
type scan struct {
	r     *Range
	req   rangeRequest // of the rest
	limit int64        // 0: no limit
	yield func(KeyValue, error) bool

	yielded  int64
	stopped  bool  // yield returned false
	pageSize int64 // pairs of the next page, where there is no RangeStream
}

func (s *scan) run() error {
	more := s.r.first.More
	s.page(&s.r.first)
	for failures := 0; more && !s.over(); {
		before := s.yielded
		var err error
		if s.mayStream() {
			more, err = s.stream()
		} else {
			more, err = s.nextPage()
		}
		if err == nil {
			continue
		}
		if s.yielded > before {
			failures = 0
		}
		failures++
		if err := s.afterError(err, failures); err != nil {
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

// rest is the limit of what follows; 0 means none.
func (s *scan) rest() int64 {
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

// afterError decides about an error in the middle of a scan: nil to go on behind
// the last pair, after a pause.
func (s *scan) afterError(err error, failures int) error {
	c, ctx := s.r.c, s.r.ctx
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	e.Attempts = failures
	switch {
	case e.Code == CodeUnimplemented && s.mayStream():
		c.streamMissingSince.Store(time.Now().UnixNano())
		return nil
	case e.sentinel == ErrFutureRevision && s.req.Serializable:
		// A member that lags behind the one that named the revision.
		s.req.Serializable = false
		return nil
	case failures <= c.maxMoves(&rpcRangeStream, e):
		return nil
	case !e.transient || failures > c.retries:
		return e
	}
	pause := time.Duration(0)
	if failures > 1 {
		pause = jitter(c.retrySleep, c.retrySleep/5)
	}
	if end := c.pause(ctx, pause, e); end != nil {
		return end
	}
	return nil
}

// stream reads the rest of the range as one stream. It reports whether there is
// more, which only an error leaves open.
func (s *scan) stream() (more bool, err error) {
	c, ctx := s.r.c, s.r.ctx
	req := s.req
	req.Limit = s.rest()
	m := newMessage()
	defer m.release()
	m.bytes = req.appendWire(m.bytes)

	token, noToken := c.tokens.get(ctx, &rpcRangeStream)
	if noToken != nil {
		return true, noToken
	}
	conn, err := c.pick(ctx, &rpcRangeStream, c.bound(ctx, &rpcRangePage))
	if err != nil {
		return true, callError(&rpcRangeStream, "", err)
	}
	reading, leave := context.WithCancel(ctx)
	defer leave()
	leaveIfBetter := func() {
		if c.set.Elsewhere(conn, rpcRangeStream.lane) {
			c.set.SetAside(conn)
			leave()
		}
	}
	stream, err := conn.Open(ctx, transport.Request{
		Path: rpcRangeStream.path, Message: m.bytes, Token: token.value(), RequireLeader: !req.Serializable, CloseSend: true,
		OnSuspect: leaveIfBetter,
	})
	if err != nil {
		return true, callError(&rpcRangeStream, conn.Endpoint, err).atDeadline(ctx)
	}
	defer stream.Close()
	late := time.AfterFunc(pieceLate, leaveIfBetter)
	defer late.Stop()
	for !s.over() {
		late.Reset(pieceLate)
		reply, err := stream.Recv(reading)
		late.Stop() // what the loop's body takes does not count
		if err == io.EOF {
			return false, nil
		}
		if err != nil && reading.Err() != nil && ctx.Err() == nil {
			return true, &Error{
				Op: "Range", Endpoint: conn.Endpoint, Code: CodeUnavailable, sentinel: ErrUnavailable, transient: true,
				Message: "the member does not go on with the range",
			}
		}
		if err != nil {
			e := callError(&rpcRangeStream, conn.Endpoint, err).atDeadline(ctx)
			e.resend = c.tokens.rejected(token, e)
			return true, e
		}
		var piece rangeStreamResponse
		if err := piece.decodeWire(reply); err != nil {
			return true, undecodable(&rpcRangeStream, err)
		}
		s.page(&piece.RangeResponse)
	}
	return false, nil
}

// nextPage reads a page. Its size follows the weight of the pairs before it.
func (s *scan) nextPage() (more bool, err error) {
	req := s.req
	req.Limit = s.pageSize
	if rest := s.rest(); rest > 0 {
		req.Limit = min(req.Limit, rest)
	}
	var page GetResponse
	rpc := &rpcRangePage
	if req.Serializable {
		rpc = &rpcPageLocal
	}
	if err := s.r.c.page(s.r.ctx, rpc, &req, &page); err != nil {
		return true, err
	}
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

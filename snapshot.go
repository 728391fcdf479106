package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"silly.store/etcd/internal/transport"
)

// SnapshotRequest is what [Maintenance.Snapshot] and [Maintenance.SaveSnapshot]
// read.
type SnapshotRequest struct {
	// Endpoint is the member whose database is read; empty means any.
	Endpoint string
	// Progress, when not nil, is called after each piece, by the goroutine that
	// reads: with the bytes read so far, and those of the whole snapshot.
	Progress func(read, total int64)
}

// Snapshot is the database of one member as a stream, made by
// [Maintenance.Snapshot]. Its bytes are those of the database file followed by
// their SHA-256, which is the format that "etcdutl snapshot restore" takes.
//
// Read may be called by one goroutine at a time, all else concurrently.
type Snapshot struct {
	ctx      context.Context
	r        *rpc
	stream   transport.Stream
	endpoint string
	header   ResponseHeader
	version  string
	total    int64
	progress func(read, total int64)

	read   atomic.Int64
	closed atomic.Bool

	piece  []byte // not read yet
	digest digest
	err    error // sticky
}

// Snapshot reads the database of a member. It returns once the first piece is
// there; [Snapshot.Read] yields the rest. Until then another member may be
// tried, if req leaves it open which; afterwards never, since the databases of
// two members are not the same file.
//
// ctx bounds the reading too; Config.Timeout does not. Close the Snapshot when
// done.
//
// Errors: ErrInvalidRequest and those of every call. With authentication on, the
// user needs the role root.
//
// etcd: Maintenance/Snapshot (since 3.3)
func (m Maintenance) Snapshot(ctx context.Context, req SnapshotRequest) (*Snapshot, error) {
	return m.snapshot(ctx, &rpcSnapshot, req)
}

func (m Maintenance) snapshot(ctx context.Context, r *rpc, req SnapshotRequest) (*Snapshot, error) {
	if ctx == nil {
		return nil, invalid(r.op, errNilContext)
	}
	r, err := m.at(r, req.Endpoint)
	if err != nil {
		return nil, invalid(r.op, within("SnapshotRequest", err))
	}
	var s *Snapshot
	_, err = m.c.resending(ctx, r, nil, func() (e *Error) {
		for resends := 0; ; resends++ {
			s, e = m.c.openSnapshot(ctx, r)
			if e == nil || resends == maxResends || !e.unseen() {
				return e
			}
		}
	})
	if err != nil {
		return nil, err
	}
	s.progress = req.Progress
	return s, nil
}

// openSnapshot opens the stream and waits for its first piece.
func (c *Client) openSnapshot(ctx context.Context, r *rpc) (*Snapshot, *Error) {
	token, noToken := c.tokens.get(ctx, r)
	if noToken != nil {
		return nil, noToken
	}
	conn, err := c.pick(ctx, r, c.bound(ctx, r))
	if err != nil {
		return nil, callError(r, "", err)
	}
	stream, err := conn.Open(ctx, transport.Request{Path: r.path, Message: []byte{}, Token: token.value(), CloseSend: true})
	if err != nil {
		return nil, callError(r, conn.Endpoint, err).atDeadline(ctx)
	}
	s := &Snapshot{ctx: ctx, r: r, stream: stream, endpoint: conn.Endpoint, digest: digest{hash: sha256.New()}}
	first, err := s.receive()
	if err != nil {
		stream.Close()
		var te *transport.Error
		if !errors.As(err, &te) {
			return nil, s.broken(err)
		}
		e := callError(r, conn.Endpoint, err).atDeadline(ctx)
		e.resend = c.tokens.rejected(token, e)
		return nil, e
	}
	s.header, s.version = first.Header, first.Version
	s.total = int64(len(s.piece)) + int64(first.RemainingBytes) + sha256.Size
	return s, nil
}

// Size is the size of the whole snapshot in bytes, as the member has announced it.
func (s *Snapshot) Size() int64 { return s.total }

// Received is how many bytes Read has returned so far.
func (s *Snapshot) Received() int64 { return s.read.Load() }

// Header says which member's database it is, and how far the member was when it
// began to send it.
func (s *Snapshot) Header() ResponseHeader { return s.header }

// StorageVersion is the version of the database's format, like "3.6.0". Empty
// before etcd 3.6.
func (s *Snapshot) StorageVersion() string { return s.version }

// Endpoint is the member whose database it is, as written in Config.Endpoints or
// SnapshotRequest.Endpoint.
func (s *Snapshot) Endpoint() string { return s.endpoint }

// Read reads the next bytes. The end is io.EOF only if the snapshot is whole and
// its SHA-256 is right: bytes that were read before are not to be trusted until
// then. Any other end is final, and to be begun anew.
//
// Errors: ErrSnapshotCorrupt for one that was cut short (with ErrUnavailable and
// so on when the connection was) or whose SHA-256 is wrong, the context's error,
// ErrStreamClosed after Close, and those of every call.
func (s *Snapshot) Read(p []byte) (int, error) {
	if s.err == nil && s.closed.Load() {
		s.piece, s.err = nil, s.streamClosed()
	}
	for s.err == nil && len(s.piece) == 0 && len(p) > 0 {
		_, err := s.receive()
		if err != nil {
			s.err = s.end(err)
			s.stream.Close()
		}
	}
	if len(s.piece) == 0 {
		return 0, s.err
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	read := s.read.Add(int64(n))
	if s.progress != nil && len(s.piece) == 0 {
		s.progress(read, s.total)
	}
	return n, nil
}

// receive waits for the next piece.
func (s *Snapshot) receive() (*snapshotResponse, error) {
	reply, err := s.stream.Recv(s.ctx)
	if err != nil {
		return nil, err
	}
	resp := new(snapshotResponse)
	if err := resp.decodeWire(reply); err != nil {
		return nil, err
	}
	// A member that cannot read its own database sends these without end.
	if len(resp.Blob) == 0 && resp.RemainingBytes > 0 {
		return nil, errEmptyPiece
	}
	s.piece = resp.Blob
	s.digest.write(resp.Blob)
	return resp, nil
}

var errEmptyPiece = errors.New("the member cannot read its database")

// end is what Read returns when err has ended the stream.
func (s *Snapshot) end(err error) error {
	if err == io.EOF && s.digest.right() {
		return io.EOF
	}
	if s.closed.Load() {
		return s.streamClosed()
	}
	if s.ctx.Err() != nil {
		return callError(s.r, s.endpoint, err)
	}
	return s.broken(err)
}

// broken is the error of a stream that is over, by err, without being a snapshot.
func (s *Snapshot) broken(err error) *Error {
	out := &Error{Op: s.r.op, Endpoint: s.endpoint, Code: CodeDataLoss, Attempts: 1, sentinel: ErrSnapshotCorrupt}
	switch received := s.digest.n; {
	case err != io.EOF:
		e := callError(s.r, s.endpoint, err)
		out.Code, out.cause = e.Code, e
		out.Message = fmt.Sprintf("snapshot cut short after %d of %d bytes: %s", received, s.total, e.text())
	case received < s.total || s.total == 0:
		out.Message = fmt.Sprintf("snapshot cut short after %d of %d bytes", received, s.total)
	default:
		out.Message = "the SHA-256 at the end of the snapshot is not that of its bytes"
	}
	return out
}

func (s *Snapshot) streamClosed() error {
	return &Error{Op: s.r.op, Endpoint: s.endpoint, Code: CodeCanceled, Attempts: 1, Message: "the snapshot is closed", sentinel: ErrStreamClosed}
}

// Close ends the stream, also when it was not read to its end, and what waits in
// Read. It may be called again, and its error is always nil.
func (s *Snapshot) Close() error {
	s.closed.Store(true)
	s.stream.Close()
	return nil
}

// digest checks a stream against the SHA-256 that its last bytes are.
type digest struct {
	hash hash.Hash
	tail []byte // the last bytes so far, not hashed
	n    int64  // bytes so far
}

func (d *digest) write(p []byte) {
	d.n += int64(len(p))
	if len(p) >= sha256.Size {
		d.hash.Write(d.tail)
		d.tail = d.tail[:0]
		body := len(p) - sha256.Size
		d.hash.Write(p[:body])
		p = p[body:]
	}
	d.tail = append(d.tail, p...)
	if over := len(d.tail) - sha256.Size; over > 0 {
		d.hash.Write(d.tail[:over])
		d.tail = append(d.tail[:0], d.tail[over:]...)
	}
}

// right reports whether the stream so far is whole.
func (d *digest) right() bool {
	return len(d.tail) == sha256.Size && string(d.hash.Sum(nil)) == string(d.tail)
}

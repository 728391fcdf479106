package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"silly.store/etcd/internal/call"
	"silly.store/etcd/internal/rpc"
	"silly.store/etcd/internal/transport"
)

// SnapshotRequest is what [Maintenance.Snapshot] and [Maintenance.SaveSnapshot]
// read.
type SnapshotRequest struct {
	// Endpoint is the member whose database is read; empty means any.
	Endpoint string
	// Progress, when not nil, is called after each piece by the goroutine that reads,
	// with the number of bytes read so far and the size of the whole snapshot.
	Progress func(read, total int64)
}

// Snapshot is the database of one member as a stream, made by
// [Maintenance.Snapshot]. Its bytes are those of the database file followed by
// their SHA-256, which is the format that "etcdutl snapshot restore" takes.
//
// Read may be called by one goroutine at a time, all else concurrently.
type Snapshot struct {
	ctx      context.Context
	method   *rpc.Method
	stream   *call.Leaving
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
// there; [Snapshot.Read] yields the rest. Until then the client tries another member
// when the first one fails, is silent or takes 2 s, unless req names one. Afterwards it
// never does, because the databases of two members are different files, and only the
// digest at the end would show it: a member whose connection is dead ends the snapshot
// after 10 s of silence, and one that only stops sending does so when ctx ends.
//
// ctx bounds the reading too; Config.Timeout does not. Close the Snapshot when
// done.
//
// Errors: ErrInvalidRequest and those of every call (see [Error]). With authentication
// on, the user needs the role root.
//
// etcd: Maintenance/Snapshot (since 3.3)
func (m Maintenance) Snapshot(ctx context.Context, req SnapshotRequest) (*Snapshot, error) {
	return m.snapshot(ctx, rpc.Snapshot, req)
}

func (m Maintenance) snapshot(ctx context.Context, method *rpc.Method, req SnapshotRequest) (*Snapshot, error) {
	if ctx == nil {
		return nil, invalid(method.Op, errNilContext)
	}
	member, err := m.member(req.Endpoint)
	if err != nil {
		return nil, invalid(method.Op, within("SnapshotRequest", err))
	}
	ctx, begun := m.c.observer.begin(ctx, CallInfo{Op: method.Op, Operations: 1})
	r := call.Request{Method: method, Message: []byte{}, Member: member}
	var s *Snapshot
	failed := m.c.engine.Begin(ctx, r, func() (err *call.Error) {
		s, err = openSnapshot(ctx, m.c.engine, r)
		return err
	})
	if failed != nil {
		err := public(failed)
		begun.end(err, nil)
		return nil, err
	}
	begun.end(nil, nil)
	s.progress = req.Progress
	return s, nil
}

// openSnapshot opens the stream and waits for its first piece.
func openSnapshot(ctx context.Context, engine *call.Engine, r call.Request) (*Snapshot, *call.Error) {
	stream, failed := engine.OpenLeaving(ctx, r, pieceLate)
	if failed != nil {
		return nil, failed
	}
	s := &Snapshot{ctx: ctx, method: r.Method, stream: stream, digest: digest{hash: sha256.New()}}
	first, err := s.receive()
	if err != nil {
		stream.Close()
		var te *transport.Error
		if !errors.As(err, &te) {
			return nil, s.broken(err)
		}
		return nil, stream.Fail(err)
	}
	if failed := stream.Stay(); failed != nil {
		stream.Close()
		return nil, failed
	}
	s.header, s.version = first.Header, first.Version
	s.total = int64(len(s.piece)) + int64(first.RemainingBytes) + sha256.Size
	return s, nil
}

// Size is the size of the whole snapshot in bytes, as the member has announced it.
func (s *Snapshot) Size() int64 { return s.total }

// Received is how many bytes Read has returned so far.
func (s *Snapshot) Received() int64 { return s.read.Load() }

// Header names the member whose database it is, and the revision that the member had
// reached when it began to send it.
func (s *Snapshot) Header() ResponseHeader { return s.header }

// StorageVersion is the version of the database's format, like "3.6.0". Empty
// before etcd 3.6.
func (s *Snapshot) StorageVersion() string { return s.version }

// Endpoint is the member whose database it is, as written in Config.Endpoints or
// SnapshotRequest.Endpoint.
func (s *Snapshot) Endpoint() string { return s.stream.Endpoint() }

// Read reads the next bytes. The end is io.EOF only if the snapshot is whole and
// its SHA-256 is right: do not trust the bytes before that. After any other error,
// take a new snapshot.
//
// Errors: ErrSnapshotCorrupt for one that was cut short (with ErrUnavailable and so on
// when the connection was) or whose SHA-256 is wrong, the context's error,
// ErrStreamClosed after Close, and those of every call (see [Error]).
func (s *Snapshot) Read(p []byte) (int, error) {
	if s.err == nil && s.closed.Load() {
		s.piece, s.err = nil, s.streamClosed()
	}
	for s.err == nil && len(s.piece) == 0 && len(p) > 0 {
		if s.ctx.Err() != nil { // pieces that are there would hide it
			s.err = public(call.Abandoned(s.ctx, s.method, s.Endpoint()))
			s.stream.Close()
			break
		}
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
	reply, err := s.stream.Recv()
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
		return public(s.stream.Fail(err))
	}
	return public(s.broken(err))
}

// broken is the error of a stream that err has ended before the snapshot was whole.
func (s *Snapshot) broken(err error) *call.Error {
	out := &call.Error{Op: s.method.Op, Endpoint: s.Endpoint(), Code: transport.DataLoss, Attempts: 1, Sentinel: ErrSnapshotCorrupt}
	switch received := s.digest.n; {
	case err != io.EOF:
		e := call.FromTransport(s.method, s.Endpoint(), err)
		out.Code, out.Cause = e.Code, e
		out.Message = fmt.Sprintf("snapshot cut short after %d of %d bytes: %s", received, s.total, e.Text())
	case received < s.total || s.total == 0:
		out.Message = fmt.Sprintf("snapshot cut short after %d of %d bytes", received, s.total)
	default:
		out.Message = "the SHA-256 at the end of the snapshot is not that of its bytes"
	}
	return out
}

func (s *Snapshot) streamClosed() error {
	return &Error{Op: s.method.Op, Endpoint: s.Endpoint(), Code: CodeCanceled, Attempts: 1, Message: "the snapshot is closed", sentinel: ErrStreamClosed}
}

// Close ends the stream, even if it was not read to its end, and a waiting Read. It may
// be called again, and its error is always nil.
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

// SaveSnapshotResponse is the answer of [Maintenance.SaveSnapshot].
type SaveSnapshotResponse struct {
	// Size is the size of the file in bytes.
	Size int64
	// StorageVersion is the version of the database's format, like "3.6.0".
	// Empty before etcd 3.6.
	StorageVersion string
	// Endpoint is the member whose database it is.
	Endpoint string
}

// SaveSnapshot saves the database of a member to a file that only its owner may
// read and that "etcdutl snapshot restore" accepts. The file replaces an older one at
// path only when it is whole, its SHA-256 is right and it is on the disk. After an
// error, or when the process is killed, path is as it was before; a killed process may
// leave a file named .path.*.tmp in the folder. If only the folder could not be synced,
// the error says so: the file is there and whole, but may be gone after a crash of the
// machine.
//
// ctx bounds all of it; Config.Timeout does not.
//
// Errors: ErrInvalidRequest, ErrSnapshotCorrupt, errors of the file system, which
// errors.Is finds too (fs.ErrPermission and so on), and those of every call (see [Error]).
//
// etcd: Maintenance/Snapshot (since 3.3)
func (m Maintenance) SaveSnapshot(ctx context.Context, req SnapshotRequest, path string) (*SaveSnapshotResponse, error) {
	method := rpc.SaveSnapshot
	if path == "" {
		return nil, invalid(method.Op, errors.New("path is empty"))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, invalid(method.Op, errors.New("path is a folder; give the name of a file in it"))
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // of mode 0600
	if err != nil {
		return nil, fileError(method, err)
	}
	resp, err := m.fill(ctx, method, req, file)
	if err == nil {
		err = publish(method, file, path)
	}
	if err != nil {
		_ = file.Close() // twice does no harm
		_ = os.Remove(file.Name())
		return nil, err
	}
	return resp, nil
}

// fill reads a snapshot into file.
func (m Maintenance) fill(ctx context.Context, method *rpc.Method, req SnapshotRequest, file *os.File) (*SaveSnapshotResponse, error) {
	s, err := m.snapshot(ctx, method, req)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := io.Copy(file, s); err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = fileError(method, err)
		}
		return nil, err
	}
	return &SaveSnapshotResponse{Size: s.Received(), StorageVersion: s.version, Endpoint: s.Endpoint()}, nil
}

// publish puts a file that is complete on the disk, under its name.
func publish(method *rpc.Method, file *os.File, path string) error {
	for _, step := range []func() error{
		file.Sync,
		file.Close,
		func() error { return os.Rename(file.Name(), path) },
	} {
		if err := step(); err != nil {
			return fileError(method, err)
		}
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fileError(method, fmt.Errorf("%s is saved, but may be gone after a crash: %w", path, err))
	}
	return nil
}

// syncFolder makes a new name in a folder survive a crash.
func syncFolder(name string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there, and names need not be
	}
	//nolint:G304 // the caller says where the file shall be
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func fileError(method *rpc.Method, err error) error {
	return &Error{Op: method.Op, Code: CodeUnknown, cause: err}
}

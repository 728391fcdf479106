package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// patience is how long a test waits for what must happen. Nothing waits that
// long when all is well.
const patience = 10 * time.Second

// peer is the server's end of a connection. The test that owns it says each
// thing it does; it answers nothing by itself.
type peer struct {
	t   testing.TB
	nc  net.Conn
	out io.Writer // nc, or what cuts its writes into slices

	enc    *hpack.Encoder
	encBuf bytes.Buffer
	dec    *hpack.Decoder
	open   map[uint32]*request // not complete yet
}

// frame is one frame from the client.
type frame struct {
	frameHeader
	payload []byte
}

// request is a complete request.
type request struct {
	id     uint32
	fields map[string]string
	body   []byte // DATA of all frames: prefix and message
	block  []byte // header block under way
	frames int    // HEADERS and CONTINUATIONs
}

// link is how client and peer are joined.
type link struct {
	name  string
	pipe  bool // net.Pipe, else TCP on loopback
	slice int  // how many bytes of the peer's travel at a time; 0: any
	tls   bool // TLS over TCP
	// oldTLS: TLS 1.2, which reads the end of a connection together with what came before.
	oldTLS bool
}

var (
	tcpLink    = link{name: "tcp"}
	tlsLink    = link{name: "tls", tls: true}
	pipeLink   = link{name: "pipe", pipe: true}
	slicedLink = link{name: "sliced", pipe: true, slice: 1}
	allLinks   = []link{tcpLink, tlsLink, pipeLink, slicedLink}
)

// overLinks runs f once for each kind of link.
func overLinks(t *testing.T, f func(t *testing.T, l link)) {
	for _, l := range allLinks {
		t.Run(l.name, func(t *testing.T) { f(t, l) })
	}
}

// join makes a pair of connected sockets.
func (l link) join(t testing.TB) (client, server net.Conn) {
	t.Helper()
	if l.pipe {
		client, server = net.Pipe()
		return client, server
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// newPeer takes the server's end of a link.
func newPeer(t testing.TB, l link, nc net.Conn) *peer {
	p := &peer{t: t, nc: nc, out: nc, open: make(map[uint32]*request)}
	if l.slice > 0 {
		p.out = sliceWriter{nc, l.slice}
	}
	p.enc = hpack.NewEncoder(&p.encBuf)
	p.dec = hpack.NewDecoder(4096, nil)
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

// connect dials a peer over l; both ends are closed after the test.
func connect(t testing.TB, l link, opts Options, settings ...setting) (*conn, *peer) {
	t.Helper()
	client, server := l.join(t)
	target := Target{Network: "tcp", Address: "peer", Authority: "peer:1"}
	if l.tls {
		server = tls.Server(server, peerTLS())
		target.TLS = &tls.Config{InsecureSkipVerify: true}
		if l.oldTLS {
			target.TLS.MaxVersion = tls.VersionTLS12
		}
	}
	p := newPeer(t, l, server)
	opts.DialContext = dialTo(client)
	greeted := make(chan error, 1)
	go func() {
		greeted <- p.greet(settings...)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Dial(ctx, target, opts)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := <-greeted; err != nil {
		t.Fatalf("greeting: %v", err)
	}
	return c.(*conn), p
}

// peerTLS is the configuration of peers over TLS.
var peerTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
})

// dialTo is a user's DialContext that hands out nc.
func dialTo(nc net.Conn) DialFunc {
	return ofUser(func(context.Context, string, string) (net.Conn, error) { return nc, nil })
}

func ofUser(dial DialFunc) DialFunc { return Checked("Config.DialContext", nil, dial) }

// greet reads the client's preface and sends SETTINGS.
func (p *peer) greet(settings ...setting) error {
	_ = p.nc.SetDeadline(time.Now().Add(patience))
	preface := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(p.nc, preface); err != nil {
		return err
	}
	if string(preface) != clientPreface {
		return errors.New("not HTTP/2's preface")
	}
	for _, kind := range []frameType{frameSettings, frameWindowUpdate} {
		f, err := p.tryFrame()
		if err != nil {
			return err
		}
		if f.kind != kind || f.streamID != 0 {
			return fmt.Errorf("preface has frame type %d on stream %d, want %d on 0", f.kind, f.streamID, kind)
		}
	}
	_, err := p.out.Write(appendSettings(nil, settings...))
	return err
}

type sliceWriter struct {
	w io.Writer
	n int
}

func (s sliceWriter) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		n, err := s.w.Write(b[:min(s.n, len(b))])
		done += n
		if err != nil {
			return done, err
		}
		b = b[n:]
	}
	return done, nil
}

// write sends bytes as they are. That the client has closed its end meanwhile
// is for the test to find by other means.
func (p *peer) write(b ...byte) {
	_ = p.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.out.Write(b); err != nil && isTimeout(err) {
		p.t.Errorf("peer: the client does not read: %v", err)
	}
}

func rawFrame(kind frameType, flags uint8, id uint32, payload ...byte) []byte {
	return append(appendFrameHeader(nil, len(payload), kind, flags, id), payload...)
}

func (p *peer) send(kind frameType, flags uint8, id uint32, payload ...byte) {
	p.write(rawFrame(kind, flags, id, payload...)...)
}

func (p *peer) settings(settings ...setting) { p.write(appendSettings(nil, settings...)...) }

func (p *peer) window(id uint32, n int) { p.write(appendWindowUpdate(nil, id, n)...) }

func (p *peer) goAway(last uint32, code errCode, debug string) {
	payload := binary.BigEndian.AppendUint32(nil, last)
	payload = binary.BigEndian.AppendUint32(payload, uint32(code))
	p.send(frameGoAway, 0, 0, append(payload, debug...)...)
}

func (p *peer) reset(id uint32, code errCode) { p.write(appendRSTStream(nil, id, code)...) }

// block encodes name, value, name, value...
func (p *peer) block(pairs ...string) []byte {
	p.encBuf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		if err := p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
			p.t.Error(err)
		}
	}
	return bytes.Clone(p.encBuf.Bytes())
}

func (p *peer) headers(id uint32, flags uint8, pairs ...string) {
	p.send(frameHeaders, flags|flagEndHeaders, id, p.block(pairs...)...)
}

// responseHeaders sends what begins every good response.
func (p *peer) responseHeaders(id uint32) {
	p.headers(id, 0, ":status", "200", "content-type", "application/grpc")
}

// message is msg with gRPC's prefix.
func message(msg string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg)))
	return append(b, msg...)
}

func (p *peer) data(id uint32, msg string) { p.send(frameData, 0, id, message(msg)...) }

func (p *peer) trailers(id uint32, status string, more ...string) {
	p.headers(id, flagEndStream, append([]string{"grpc-status", status}, more...)...)
}

// reply sends a whole good response.
func (p *peer) reply(id uint32, msg string) {
	p.responseHeaders(id)
	p.data(id, msg)
	p.trailers(id, "0")
}

// frame reads the next frame. It fails the test when none comes.
func (p *peer) frame() frame {
	f, err := p.tryFrame()
	if err != nil {
		p.t.Fatalf("peer: no frame: %v", err)
	}
	return f
}

func (p *peer) tryFrame() (f frame, err error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	return p.readFrame()
}

// readFrame waits as long as the socket's deadline allows.
func (p *peer) readFrame() (f frame, err error) {
	var head [frameHeaderLen]byte
	if _, err := io.ReadFull(p.nc, head[:]); err != nil {
		return f, err
	}
	f.frameHeader = parseFrameHeader(head[:])
	f.payload = make([]byte, f.length)
	_, err = io.ReadFull(p.nc, f.payload)
	return f, err
}

// until reads frames up to the first of one of the kinds and returns it. Header
// blocks and request data on the way are kept for request.
func (p *peer) until(kinds ...frameType) frame {
	p.t.Helper()
	for {
		f := p.frame()
		p.collect(f)
		for _, k := range kinds {
			if f.kind == k {
				return f
			}
		}
	}
}

// request reads until some request is complete.
func (p *peer) request() *request {
	p.t.Helper()
	for {
		if r := p.collect(p.frame()); r != nil {
			return r
		}
	}
}

// collect adds f to the request it belongs to, which is returned when complete.
func (p *peer) collect(f frame) *request {
	switch f.kind {
	case frameHeaders, frameContinuation:
		r := p.open[f.streamID]
		if r == nil {
			r = &request{id: f.streamID, fields: make(map[string]string)}
			p.open[f.streamID] = r
		}
		r.frames++
		r.block = append(r.block, f.payload...)
		if f.flags&flagEndHeaders != 0 {
			fields, err := p.dec.DecodeFull(r.block)
			if err != nil {
				p.t.Fatalf("peer: header block of stream %d: %v", f.streamID, err)
			}
			for _, h := range fields {
				r.fields[h.Name] = h.Value
			}
		}
	case frameData:
		r := p.open[f.streamID]
		if r == nil {
			p.t.Fatalf("peer: DATA on stream %d before its HEADERS", f.streamID)
		}
		r.body = append(r.body, f.payload...)
		if f.flags&flagEndStream != 0 {
			delete(p.open, f.streamID)
			return r
		}
	case frameRSTStream:
		delete(p.open, f.streamID)
	}
	return nil
}

// roundTrip is a call and its answer: the connection still works.
func (p *peer) roundTrip(c Conn) {
	p.t.Helper()
	pending := start(c, Request{Path: "/test.S/Echo", Message: []byte("still there?")})
	p.reply(p.request().id, "yes")
	if got := pending.wait(p.t); got.err != nil || string(got.reply) != "yes" {
		p.t.Fatalf("connection is not usable any more: %q, %v", got.reply, got.err)
	}
}

func (p *peer) roundTripAt(c Conn, id uint32) {
	p.t.Helper()
	pending := start(c, simple)
	if got := p.request().id; got != id {
		p.t.Fatalf("stream id is %d, want %d", got, id)
	}
	p.reply(id, "x")
	if got := pending.wait(p.t); got.err != nil {
		p.t.Fatal(got.err)
	}
}

// queued counts the calls that wait in line.
func (c *conn) queued() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := c.opening.head; s != nil; s = s.next {
		n++
	}
	return n
}

func (c *conn) writeSideIsFree() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.writing
}

// waitFor waits for a state that nothing announces.
func waitFor(t testing.TB, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the state that is waited for does not come")
		}
	}
}

// pending is a Call under way.
type pending chan result

type result struct {
	reply []byte
	err   error
}

func start(c Conn, req Request) pending { return startContext(context.Background(), c, req) }

func startContext(ctx context.Context, c Conn, req Request) pending {
	done := make(pending, 1)
	go func() {
		reply, err := c.Call(ctx, req)
		done <- result{reply, err}
	}()
	return done
}

func (p pending) wait(t testing.TB) result {
	t.Helper()
	select {
	case r := <-p:
		return r
	case <-time.After(patience):
		t.Fatal("the call hangs")
		return result{}
	}
}

var simple = Request{Path: "/test.S/M", Message: []byte("hello")}

// want is what an error must be like.
type want struct {
	code    Code
	outcome Outcome
	text    string // part of Error()
	cause   error  // found by errors.Is
}

func (w want) check(t testing.TB, err error) {
	t.Helper()
	var e *Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("error is %T %v, want an *Error", err, err)
		return
	case e.Code != w.code:
		t.Errorf("code is %v (%v), want %v", e.Code, err, w.code)
	case e.Outcome != w.outcome:
		t.Errorf("outcome is %q (%v), want %q", e.Outcome, err, w.outcome)
	}
	if !strings.Contains(err.Error(), w.text) {
		t.Errorf("error text is %q, want %q in it", err, w.text)
	}
	if w.cause != nil && !errors.Is(err, w.cause) {
		t.Errorf("error %v does not wrap %v", err, w.cause)
	}
}

// ended waits for the connection's end and returns why.
func ended(t testing.TB, c Conn) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(patience):
		t.Fatal("the connection does not end")
		return nil
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

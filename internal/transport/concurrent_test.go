package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// echo answers each request with its own message, the latest first, until the
// connection ends. Windows are given back as bytes arrive.
func (p *peer) echo() {
	_ = p.nc.SetDeadline(time.Time{})
	frames := make(chan frame, 1000)
	go func() {
		defer close(frames)
		for {
			f, err := p.readFrame()
			if err != nil {
				return
			}
			frames <- f
		}
	}()
	var waiting []*request
	for f := range frames {
		if f.kind == frameData && f.length > 0 {
			p.window(0, f.length)
		}
		if r := p.collect(f); r != nil {
			waiting = append(waiting, r)
		}
		if len(frames) > 0 && len(waiting) < 50 {
			continue
		}
		for ; len(waiting) > 0; waiting = waiting[:len(waiting)-1] {
			r := waiting[len(waiting)-1]
			if r.body[messagePrefixLen] == 's' {
				continue // silent
			}
			p.responseHeaders(r.id)
			p.send(frameData, 0, r.id, r.body...)
			p.trailers(r.id, "0")
		}
	}
}

// Many callers at once, some of which give up at any moment: each gets its own
// bytes or its own error, and no stream that was used before brings anything of
// its former life.
func TestConcurrentCallsWithCancels(t *testing.T) {
	for _, l := range []link{tcpLink, pipeLink} {
		t.Run(l.name, func(t *testing.T) {
			conn, p := connect(t, l, Options{}, setting{settingMaxConcurrentStreams, 100})
			go p.echo()
			var callers sync.WaitGroup
			for i := range 1000 {
				callers.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 7))
					for j := range 5 {
						msg := fmt.Appendf(nil, "echo %d.%d %s", i, j, bytes.Repeat([]byte{byte('a' + i%26)}, rng.IntN(300)))
						req := Request{Path: "/test.S/Echo", Message: bytes.Clone(msg)}
						ctx, cancel := context.WithCancel(context.Background())
						switch rng.IntN(4) {
						case 0:
							time.AfterFunc(time.Duration(rng.IntN(int(20*time.Millisecond))), cancel)
						case 1:
							req.Timeout = time.Duration(1 + rng.IntN(int(20*time.Millisecond)))
						case 2:
							req.Message[0] = 's' // never answered
							req.Timeout = time.Duration(1 + rng.IntN(int(5*time.Millisecond)))
						}
						reply, err := conn.Call(ctx, req)
						cancel()
						clear(req.Message) // ours again
						switch {
						case err == nil && !bytes.Equal(reply, msg):
							t.Errorf("caller %d got %q, want %q", i, reply, msg)
						case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrTimeout):
							t.Errorf("caller %d: %v", i, err)
						}
						// The reply is the caller's: nobody else may see this.
						for k := range reply {
							reply[k] = '!'
						}
					}
				})
			}
			callers.Wait()
			conn.mu.Lock()
			if n := len(conn.streams); n > 0 || conn.opening.head != nil || conn.ready.head != nil {
				t.Errorf("%d streams are left", n)
			}
			conn.mu.Unlock()
			if err := conn.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The connection fails while large answers are being received: a stream may be
// ended, released and taken by another call while the reader has let go of the
// lock to allocate its buffer.
func TestConnectionFailsUnderLargeAnswers(t *testing.T) {
	for range 20 {
		conn, p := connect(t, tcpLink, Options{})
		go func() {
			for {
				f, err := p.tryFrame()
				if err != nil {
					return
				}
				if r := p.collect(f); r != nil {
					b := rawFrame(frameHeaders, flagEndHeaders, r.id, p.block(":status", "200", "content-type", "application/grpc")...)
					b = append(b, rawFrame(frameData, 0, r.id, append(binary.BigEndian.AppendUint32([]byte{0}, 8<<20), make([]byte, 100)...)...)...)
					p.write(b...)
				}
			}
		}()
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				_, err := conn.Call(context.Background(), simple)
				if !errors.Is(err, ErrClosed) {
					t.Errorf("call: %v", err)
				}
			})
		}
		waitFor(t, func() bool { conn.mu.Lock(); defer conn.mu.Unlock(); return conn.nextID > 5 })
		_ = conn.Close()
		callers.Wait()
		_ = p.nc.Close()
	}
}

// Streams and calls share a connection; closing it at any moment ends them all.
func TestCloseUnderLoad(t *testing.T) {
	for i := range 10 {
		conn, p := connect(t, tcpLink, Options{})
		go p.echo()
		var users sync.WaitGroup
		for range 20 {
			users.Go(func() {
				for {
					s, err := conn.Open(context.Background(), Request{Path: "/test.S/Echo", Message: []byte("echo")})
					if err != nil {
						return
					}
					s.CloseSend()
					if msg, err := s.Recv(context.Background()); err == nil && string(msg) != "echo" {
						t.Errorf("stream got %q", msg)
					}
					s.Close()
					if reply, err := conn.Call(context.Background(), simple); err == nil && string(reply) != "hello" {
						t.Errorf("call got %q", reply)
					}
				}
			})
		}
		<-time.After(time.Duration(i) * time.Millisecond)
		_ = conn.Close()
		users.Wait()
	}
}

//go:build unix

package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// side returns the state of the read side.
func (c *conn) side() readSide {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lending.side
}

// overSockets runs f with a plain socket and over TLS.
func overSockets(t *testing.T, f func(t *testing.T, l link)) {
	for _, l := range []link{tcpLink, tlsLink} {
		t.Run(l.name, func(t *testing.T) { f(t, l) })
	}
}

// lent connects and makes calls, one by one, until the reader has lent the read side. It
// looks after it every tick.
func lent(t *testing.T, l link, tick time.Duration) (*conn, *peer) {
	t.Helper()
	c, p := connect(t, l, Options{})
	c.mu.Lock()
	c.lending.tick = tick
	c.mu.Unlock()
	waitFor(t, func() bool {
		p.roundTrip(c)
		return c.side() == readSideFree
	})
	return c, p
}

// openStream opens a stream, which is closed with the test. Each call of recv has the peer
// send a message, and receives it.
func openStream(t *testing.T, c *conn, p *peer) (recv func(message string)) {
	t.Helper()
	s, err := c.Open(context.Background(), simple)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	id := p.until(frameHeaders).streamID
	p.responseHeaders(id)
	return func(want string) {
		t.Helper()
		p.data(id, want)
		if got, err := s.Recv(context.Background()); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// Calls that come one by one read their own answers.
func TestLoneCallsRead(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, time.Minute)
		for range 20 {
			call := start(c, simple)
			r := p.request()
			if side := c.side(); side != readSideBorrowed {
				t.Fatalf("while a call waits, the read side is %d", side)
			}
			p.reply(r.id, "reply")
			if got := call.wait(t); got.err != nil || string(got.reply) != "reply" {
				t.Fatalf("%q, %v", got.reply, got.err)
			}
			if side := c.side(); side != readSideFree {
				t.Fatalf("afterwards the read side is %d", side)
			}
		}
	})
}

// A call that begins after the answer and before the lending is the reader's.
func TestCallBeforeTheLending(t *testing.T) {
	c, in, _ := fuzzConn(nil, 1)
	if held := newReader(c, in).lend(); !held || c.lending.returned != nil {
		t.Error("the read side was lent although calls wait for the reader")
	}
}

// A call beside one that reads gets its answer, whichever comes first, and then the reader
// reads again.
func TestCallBesideOneThatReads(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		for _, first := range []int{0, 1} {
			c, p := lent(t, l, time.Minute)
			var calls [2]pending
			var ids [2]uint32
			for i := range calls {
				calls[i] = start(c, simple)
				ids[i] = p.request().id
			}
			for _, i := range []int{first, 1 - first} {
				p.reply(ids[i], fmt.Sprint("reply ", i))
				if got := calls[i].wait(t); got.err != nil || string(got.reply) != fmt.Sprint("reply ", i) {
					t.Fatalf("call %d: %q, %v", i, got.reply, got.err)
				}
			}
			p.roundTrip(c)
		}
	})
}

// A stream that is opened beside a call that reads is read for, also when that call ends.
func TestStreamBesideACallThatReads(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, time.Minute)
		call := start(c, simple)
		id := p.request().id
		recv := openStream(t, c, p)
		recv("beside the call")
		p.reply(id, "reply")
		if got := call.wait(t); got.err != nil {
			t.Fatal(got.err)
		}
		waitFor(t, func() bool { return c.side() == readSideHeld })
		recv("by the reader")
	})
}

// A call that reads is given up as any other, and the connection goes on.
func TestCallThatReadsIsGivenUp(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		const tick = 100 * time.Millisecond
		for _, how := range []struct {
			name string
			call func(c *conn, req Request) error
			want want
		}{
			{"context", func(c *conn, req Request) error {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(tick/10, cancel)
				_, err := c.Call(ctx, req)
				return err
			}, want{code: Canceled, outcome: MaybeSent, cause: context.Canceled}},
			{"deadline", func(c *conn, req Request) error {
				ctx, cancel := context.WithTimeout(context.Background(), 2*shortLimit)
				defer cancel()
				_, err := c.Call(ctx, req)
				return err
			}, want{code: DeadlineExceeded, outcome: MaybeSent, cause: context.DeadlineExceeded}},
			{"Timeout", func(c *conn, req Request) error {
				req.Timeout = 2 * shortLimit
				_, err := c.Call(context.Background(), req)
				return err
			}, want{code: DeadlineExceeded, outcome: MaybeSent, cause: ErrTimeout}},
			{"late", func(c *conn, req Request) error {
				req.NotifyLate, req.LateAfter = true, 2*shortLimit
				_, err := c.Call(context.Background(), req)
				late, ok := err.(Pending)
				if !ok {
					return fmt.Errorf("no Pending but %w", err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_, err = late.Wait(ctx, nil)
				return err
			}, want{code: Canceled, outcome: MaybeSent, cause: context.Canceled}},
		} {
			t.Run(how.name, func(t *testing.T) {
				c, p := lent(t, l, tick)
				failed := make(chan error, 1)
				go func() { failed <- how.call(c, simple) }()
				id := p.request().id
				how.want.check(t, <-failed)
				p.until(frameRSTStream)
				p.reply(id, "too late")
				p.roundTrip(c)
			})
		}
	})
}

// A call whose limit is short does not read, so that it ends on time; the reader reads for it.
func TestShortLimitDoesNotRead(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		t.Run("Timeout", func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			req := simple
			req.Timeout = shortLimit - 1
			call := start(c, req)
			p.until(frameRSTStream)
			want{code: DeadlineExceeded, outcome: MaybeSent, cause: ErrTimeout}.check(t, call.wait(t).err)
			p.roundTrip(c)
		})
		t.Run("LateAfter", func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			req := simple
			req.LateAfter = shortLimit - 1
			call := start(c, req)
			id := p.request().id
			late, ok := call.wait(t).err.(Pending)
			if !ok {
				t.Fatal("the call is not late")
			}
			p.reply(id, "reply")
			if reply, err := late.Wait(context.Background(), nil); err != nil || string(reply) != "reply" {
				t.Errorf("%q, %v", reply, err)
			}
		})
		t.Run("deadline", func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			ctx, cancel := context.WithTimeout(context.Background(), shortLimit-1)
			defer cancel()
			call := startContext(ctx, c, simple)
			p.until(frameRSTStream)
			want{code: DeadlineExceeded, outcome: MaybeSent, cause: context.DeadlineExceeded}.check(t, call.wait(t).err)
			p.roundTrip(c)
		})
	})
}

// While nobody reads, streams and calls that do not read have the reader read at once.
func TestReaderReadsForOthers(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		t.Run("stream", func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			openStream(t, c, p)("message")
		})
		t.Run("call", func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			req := simple
			req.Timeout = shortLimit - 1
			call := start(c, req)
			p.until(frameHeaders)
			waitFor(t, func() bool { return c.side() == readSideHeld })
			p.until(frameRSTStream)
			call.wait(t)
		})
	})
}

// What the server has said while nobody read comes before the next request: none is sent on
// a connection that has ended.
func TestEndWhileNobodyReads(t *testing.T) {
	hurried := simple
	hurried.Timeout = shortLimit - 1
	begin := map[string]func(c *conn) error{
		"call":         func(c *conn) error { return second(c.Call(context.Background(), simple)) },
		"hurried call": func(c *conn) error { return second(c.Call(context.Background(), hurried)) },
		"stream":       func(c *conn) error { return second(c.Open(context.Background(), simple)) },
	}
	for _, end := range []struct {
		name string
		by   func(p *peer)
		want want
	}{
		{"closed", func(p *peer) { _ = p.nc.Close() }, want{code: Unavailable, outcome: NotSent, cause: io.EOF}},
		{"reset", func(p *peer) { reset(p.nc) }, want{code: Unavailable, outcome: NotSent}}, // awaitInput takes its cause
		{"GOAWAY", func(p *peer) { p.goAway(1<<31-1, codeNoError, "") }, want{code: Unavailable, outcome: NotSent, cause: ErrDraining}},
		{"nonsense", func(p *peer) { p.send(frameData, 0, 0, 1) }, want{code: Internal, outcome: NotSent}},
	} {
		for what, begin := range begin {
			t.Run(end.name+", "+what, func(t *testing.T) {
				overSockets(t, func(t *testing.T, l link) {
					c, p := lent(t, l, time.Minute)
					end.by(p)
					awaitInput(t, c)
					end.want.check(t, begin(c))
				})
			})
		}
	}
}

// second is the error of a call with a result.
func second[T any](_ T, err error) error { return err }

// A GOAWAY that comes with the end of the connection says why it has ended. Over TLS 1.2 one
// read brings both.
func TestGoAwayWithTheEnd(t *testing.T) {
	for _, l := range []link{tcpLink, {name: "tls", tls: true, oldTLS: true}} {
		t.Run(l.name, func(t *testing.T) {
			c, p := lent(t, l, time.Minute)
			p.goAway(1<<31-1, codeEnhanceYourCalm, "too_many_pings")
			_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
			both := 1
			if l.tls {
				both = 70 // the record of GOAWAY has at most 60 bytes
			}
			awaitBytes(t, c, both)
			want{code: Unavailable, outcome: NotSent, cause: ErrTooManyPings}.check(t, second(c.Call(context.Background(), simple)))
		})
	}
}

// A caller that is slow to catch up may find that the reader wants the read side back. The
// connection goes on.
func TestRecallWhileCatchingUp(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, time.Minute)
		c.mu.Lock()
		c.lending.side, c.lending.calls = readSideBorrowed, 0 // and a tick has passed since
		c.mu.Unlock()
		c.lookAfter()
		c.catchUp()
		c.mu.Lock()
		c.giveBackLocked()
		c.mu.Unlock()
		p.roundTrip(c)
	})
}

// awaitInput waits until there is something to read on the socket of c, or it has ended.
func awaitInput(t *testing.T, c *conn) {
	t.Helper()
	awaitBytes(t, c, 0)
}

// awaitBytes is awaitInput for at least so many bytes.
func awaitBytes(t *testing.T, c *conn, least int) {
	t.Helper()
	waitFor(t, func() (arrived bool) {
		_ = c.kernel.raw.Control(func(fd uintptr) {
			n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1000), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			arrived = err != syscall.EAGAIN && n >= least
		})
		return arrived
	})
}

// When no call comes any more the reader reads again, and answers the server.
func TestReaderReadsWhenNoCallComes(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, 10*lendTick)
		waitFor(t, func() bool { return c.side() == readSideHeld })
		p.send(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		p.until(framePing)
		_ = p.nc.Close()
		ended(t, c)
	})
}

// While answers take longer than a tick, lending does not pay, and happens ever more seldom.
func TestSlowAnswersAreNotReadByCallers(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, 10*lendTick)
		borrowed := 0
		const calls = 100
		for range calls {
			call := start(c, simple)
			r := p.request()
			if c.side() == readSideBorrowed {
				borrowed++
				waitFor(t, func() bool { return c.side() == readSideHeld })
			}
			p.reply(r.id, "slow")
			if got := call.wait(t); got.err != nil {
				t.Fatal(got.err)
			}
		}
		if borrowed > 4 {
			t.Errorf("%d of %d calls have borrowed the read side", borrowed, calls)
		}
	})
}

// Close ends a call that reads.
func TestCloseWhileACallReads(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := lent(t, l, time.Minute)
		call := start(c, simple)
		p.request()
		_ = c.Close()
		want{code: Canceled, outcome: MaybeSent, cause: ErrClosed}.check(t, call.wait(t).err)
	})
}

// Callers come and go, alone and together, and give up at any moment; each gets its own
// answer, and no call is left behind.
func TestCallersThatReadAmongOthers(t *testing.T) {
	overSockets(t, func(t *testing.T, l link) {
		c, p := connect(t, l, Options{})
		go p.echo()
		for round := range 30 {
			var callers sync.WaitGroup
			for i := range 1 << (round % 4) {
				callers.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(round), uint64(i)))
					for j := range 40 {
						msg := fmt.Appendf(nil, "%d.%d.%d %s", round, i, j, bytes.Repeat([]byte("x"), rng.IntN(3000)))
						ctx, cancel := context.WithCancel(context.Background())
						if rng.IntN(20) == 0 {
							time.AfterFunc(time.Duration(rng.IntN(1000))*time.Microsecond, cancel)
						}
						reply, err := c.Call(ctx, Request{Path: "/test.S/Echo", Message: msg})
						if given := ctx.Err() != nil; err == nil && !bytes.Equal(reply, msg) || err != nil && !given {
							t.Errorf("%d.%d.%d: %.20q, %v", round, i, j, reply, err)
						}
						cancel()
					}
				})
			}
			callers.Wait()
		}
	})
}

package transport

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// listen reads a frame without a deadline: a bubble's clock moves fast.
func (p *peer) listen() (frame, error) {
	_ = p.nc.SetDeadline(time.Time{})
	return p.readFrame()
}

// pings reads what the client sends and reports when PINGs come.
func pings(p *peer, began time.Time) <-chan time.Duration {
	at := make(chan time.Duration, 100)
	go func() {
		defer close(at)
		for {
			f, err := p.listen()
			if err != nil {
				return
			}
			if f.kind == framePing && f.flags == 0 {
				at <- time.Since(began)
			}
		}
	}()
	return at
}

// A peer that falls silent in mid-call is asked after most of a second, suspect
// as long after that, and dead after ten seconds.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		began := time.Now()
		at := pings(p, began)
		pending := start(conn, simple)

		states := map[State]time.Duration{}
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if _, seen := states[conn.State()]; !seen {
				states[conn.State()] = time.Since(began)
			}
		}
		want{code: Unavailable, outcome: MaybeSent, cause: ErrSilent}.check(t, pending.wait(t).err)
		if s := states[Suspect]; s < 1400*time.Millisecond || s > 1900*time.Millisecond {
			t.Errorf("suspect after %v", s)
		}
		if s := states[Closed]; s < 10*time.Second || s > 12*time.Second {
			t.Errorf("dead after %v", s)
		}
		var sent []time.Duration
		for d := range at {
			sent = append(sent, d)
		}
		if len(sent) != 1 || sent[0] < 700*time.Millisecond || sent[0] > 1100*time.Millisecond {
			t.Errorf("PINGs at %v, want one after most of a second", sent)
		}
	})
}

// Half-open silence with calls that all give up early: what was suspect once
// must not stay so for ever because nobody calls any more.
func TestSilentPeerWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		pings(p, time.Now())
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		_, err := conn.Call(ctx, simple)
		want{code: DeadlineExceeded, outcome: MaybeSent}.check(t, err)
		synctest.Wait()
		if conn.State() != Suspect {
			t.Errorf("state is %v, want suspect", conn.State())
		}
		time.Sleep(8 * time.Second)
		synctest.Wait()
		want{code: Unavailable, cause: ErrSilent}.check(t, conn.Err())
	})
}

// A stream may be quiet for as long as it likes while PINGs are answered, be it
// from far away; they are never closer than the spacing.
func TestQuietStreamLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		began := time.Now()
		var at []time.Duration
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			for {
				f, err := p.listen()
				if err != nil {
					return
				}
				if f.kind == framePing {
					at = append(at, time.Since(began))
				}
				time.Sleep(600 * time.Millisecond)
				p.acknowledge(f)
			}
		}()
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if st := conn.State(); st != Ready {
				t.Fatalf("after %v the state is %v", time.Since(began), st)
			}
		}
		_ = conn.Close()
		<-answered
		if len(at) < 12 {
			t.Errorf("%d PINGs in two minutes", len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < defaultPingSpacing {
				t.Errorf("PINGs at %v and %v", at[i-1], at[i])
			}
		}
	})
}

// A peer that falls silent under a quiet stream is found at once, whenever the last PING
// was: what it must acknowledge besides is asked for. One that has complained of PINGs is
// asked only as often as the spacing says.
func TestSilenceOfAQuietStream(t *testing.T) {
	for _, spacing := range []time.Duration{0, 12 * time.Second} {
		for silent := time.Minute; silent < 72*time.Second; silent += 1100 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				client, server := pipeLink.join(t)
				p := newPeer(t, pipeLink, server)
				go func() { _ = p.greet() }()
				conn, err := Dial(t.Context(), Target{PingSpacing: spacing}, Options{DialContext: dialTo(client)})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				began := time.Now()
				var asked, found atomic.Int64
				go func() {
					for {
						f, err := p.listen()
						if err != nil {
							return
						}
						if f.flags&flagAck == 0 && (f.kind == framePing || f.kind == frameSettings) {
							asked.Add(1)
						}
						if time.Since(began) < silent {
							p.acknowledge(f)
						}
					}
				}()
				s, err := conn.Open(t.Context(), Request{Path: "/test.S/Watch", OnSuspect: func() { found.Store(int64(time.Since(began))) }})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(silent)
				synctest.Wait()
				if found.Load() != 0 || conn.State() != Ready {
					t.Fatalf("suspect after %v although the peer answered", time.Duration(found.Load()))
				}
				questions := asked.Load()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				s.Close()
				if spacing > 0 {
					if questions > 6 {
						t.Errorf("%d questions in %v to a peer that has complained", questions, silent)
					}
					return
				}
				if a := questions * int64(time.Second); a < int64(silent)*8/10 || a > int64(silent+time.Second) {
					t.Errorf("%d questions in %v", questions, silent)
				}
				if after := time.Duration(found.Load()) - silent; after <= 0 || after > 1750*time.Millisecond {
					t.Errorf("silent after %v, and suspect %v later", silent, after)
				}
			})
		}
	}
}

// An idle connection is left alone, however long.
func TestIdleConnectionHasNoPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		p.roundTrip(conn)
		_ = p.nc.SetDeadline(time.Time{})
		at := pings(p, time.Now())
		time.Sleep(time.Hour)
		if conn.State() != Ready {
			t.Errorf("state is %v", conn.State())
		}
		_ = conn.Close()
		for d := range at {
			t.Errorf("PING after %v", d)
		}
	})
}

// Bytes that arrive make a suspect peer good again, whatever they are.
func TestSuspectRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		pings(p, time.Now())
		pending := start(conn, simple)
		for range 3 {
			time.Sleep(4 * time.Second)
			synctest.Wait()
			if conn.State() != Suspect {
				t.Fatalf("state is %v, want suspect", conn.State())
			}
			_, _ = p.nc.Write(appendSettings(nil))
			synctest.Wait()
			if conn.State() != Ready {
				t.Fatalf("state is %v, want ready", conn.State())
			}
		}
		_, _ = p.nc.Write(rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, p.block(":status", "200", "grpc-status", "5")...))
		want{code: NotFound, outcome: Answered}.check(t, pending.wait(t).err)
	})
}

// Silence is counted in ticks. When this process was paused, however long, it
// is one tick at most, and what has arrived meanwhile counts before the next.
func TestPauseIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		pings(p, time.Now())
		pending := start(conn, simple)
		time.Sleep(7600 * time.Millisecond)
		// The pause: the clock moves, no tick is seen, one is overdue at its end.
		conn.mu.Lock()
		conn.watch.Stop()
		conn.mu.Unlock()
		time.Sleep(time.Hour)
		conn.mu.Lock()
		conn.watch.Set(0)
		conn.mu.Unlock()
		synctest.Wait()
		if conn.State() == Closed {
			t.Fatal("a pause of this process counts as death of the peer")
		}
		_, _ = p.nc.Write(rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, p.block(":status", "200", "grpc-status", "5")...))
		want{code: NotFound, outcome: Answered}.check(t, pending.wait(t).err)
	})
}

// PINGs to a server that answers calls: HEADERS or DATA in between allow one
// earlier, as etcd's enforcement does; otherwise the spacing holds.
func TestPingSpacingWithTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spacing = 30 * time.Second
		conn, p := connect(t, pipeLink, Options{PingSpacing: spacing})
		began := time.Now()
		s, err := conn.Open(context.Background(), Request{Path: "/test.S/Watch"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var at []time.Duration
		go func() {
			for {
				f, err := p.listen()
				if err != nil {
					return
				}
				if f.kind == framePing {
					at = append(at, time.Since(began))
				}
				p.acknowledge(f)
			}
		}()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(at) != 1 {
			t.Fatalf("PINGs at %v, want one", at)
		}
		if conn.State() != Ready {
			t.Fatalf("a quiet server of whom nothing is asked is %v: %v", conn.State(), conn.Err())
		}
		_, _ = p.nc.Write(rawFrame(frameHeaders, flagEndHeaders, 1, p.block(":status", "200", "content-type", "application/grpc")...))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(at) != 2 {
			t.Fatalf("PINGs at %v, want a second one after HEADERS", at)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(at) != 2 {
			t.Fatalf("PINGs at %v, want none before the spacing is over", at)
		}
		_ = conn.Close()
	})
}

// Waiting for the handshake ends with the context, and the error says what was
// reached.
func TestSilentHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pipeLink.join(t)
		go func() { _, _ = io.Copy(io.Discard, server) }()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := Dial(ctx, Target{}, Options{DialContext: dialTo(client)})
		want{code: DeadlineExceeded, outcome: NotSent, text: "connected, but the server said nothing", cause: context.DeadlineExceeded}.check(t, err)
		if errors.Is(err, ErrMisconfigured) {
			t.Error("silence counts as misconfiguration")
		}
		_ = server.Close()
	})
}

// Calls with short deadlines, one now and then, all gave up before the second
// tick, so a dead peer was never found: the ticks stopped between them.
func TestSilentPeerMetBySparseCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := connect(t, pipeLink, Options{})
		pings(p, time.Now())
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			_, _ = conn.Call(ctx, simple)
			cancel()
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		want{code: Unavailable, cause: ErrSilent}.check(t, conn.Err())
	})
}

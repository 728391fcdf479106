package peertest

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"silly.store/etcd/internal/transport"
)

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := NewCluster("a:1", "b:1")
		a := cluster.Member("a:1")
		target := transport.Target{Address: "a:1", PingSpacing: time.Minute}
		a.Down(true)
		_, err := cluster.Dial(t.Context(), target)
		isError(t, err, transport.Unavailable, transport.NotSent, nil)
		a.OnDial(Ignore)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = cluster.Dial(short, target)
		isError(t, err, transport.Unavailable, transport.NotSent, context.DeadlineExceeded)
		a.Down(false)
		if _, err = cluster.Dial(t.Context(), target); err != nil || a.LastConn().Target.PingSpacing != time.Minute {
			t.Error(err)
		}
		if n := a.Counts(); n.Dials != 3 || n.Conns != 1 || len(cluster.Members()) != 2 || cluster.Member("b:1").LastConn() != nil {
			t.Errorf("counts %+v", n)
		}
		_ = a.LastConn().Close()
		if err := a.LastConn().Err(); a.LastConn().Closes() != 1 {
			t.Error(err)
		} else {
			isError(t, err, transport.Canceled, transport.MaybeSent, transport.ErrClosed)
		}
	})
}

// A draining connection accepts nothing new, and ends with its last call or stream.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := dialed(t, Reply{After: time.Second})
		s, err := conn.Open(t.Context(), transport.Request{})
		if err != nil {
			t.Fatal(err)
		}
		called := make(chan error)
		go func() {
			_, err := conn.Call(t.Context(), transport.Request{})
			called <- err
		}()
		synctest.Wait()
		conn.Drain()
		_, err = conn.Call(t.Context(), transport.Request{})
		isError(t, err, transport.Unavailable, transport.NotSent, transport.ErrDraining)
		_, err = conn.Open(t.Context(), transport.Request{})
		isError(t, err, transport.Unavailable, transport.NotSent, transport.ErrDraining)
		if err := <-called; err != nil || conn.State() != transport.Draining || conn.Err() != nil {
			t.Errorf("%v; it is %v, %v", err, conn.State(), conn.Err())
		}
		s.Close()
		<-conn.Done()
		isError(t, conn.Err(), transport.Unavailable, transport.MaybeSent, transport.ErrDraining)

		_, idle := dialed(t, OK)
		idle.Drain()
		<-idle.Done()
	})
}

// OnSuspect of the open streams is called each time the connection becomes suspect.
// It may use the connection.
func TestSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, OK)
		told := 0
		open := func() transport.Stream {
			s, err := conn.Open(t.Context(), transport.Request{OnSuspect: func() {
				if told++; conn.State() != transport.Suspect {
					t.Errorf("it is %v", conn.State())
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		open()
		closed := open()
		m.TurnSuspect()
		m.TurnSuspect() // is suspect already
		closed.Close()
		if told != 2 {
			t.Errorf("told %d times, want 2", told)
		}
		m.Recover()
		if conn.State() != transport.Ready {
			t.Errorf("it is %v", conn.State())
		}
		m.TurnSuspect()
		if told != 3 {
			t.Errorf("told %d times, want 3", told)
		}
	})
}

// Messages and the end of a stream arrive in order and on time.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, OK)
		client, err := conn.Open(t.Context(), transport.Request{Path: "/s", Message: []byte("first")})
		if err != nil {
			t.Fatal(err)
		}
		s := m.NextStream(t)
		if got := s.Next(t); s.Request().Path != "/s" || string(got) != "first" {
			t.Errorf("%q on %s", got, s.Request().Path)
		}
		msg := []byte("second")
		if err := client.Send(t.Context(), msg, []byte("third")); err != nil {
			t.Fatal(err)
		}
		msg[0] = 'S'
		if came := s.Came(); len(came) != 2 || string(came[0]) != "second" {
			t.Errorf("came %q", came)
		}
		client.CloseSend()
		if _, _, ok := s.Recv(); ok {
			t.Error("a message behind CloseSend")
		}

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err = client.Recv(short)
		isError(t, err, transport.DeadlineExceeded, transport.MaybeSent, context.DeadlineExceeded)
		s.Send([]byte("1"), []byte("2"), []byte("3"))
		s.SendAfter(time.Second, []byte("4"))
		s.Send([]byte("5")) // behind it
		s.EndAfter(2*time.Second, nil)
		if one, err := client.Recv(t.Context()); string(one) != "1" || err != nil {
			t.Errorf("%q, %v", one, err)
		}
		for i, want := range []int{2, 2} {
			all, err := client.RecvAll(t.Context(), nil)
			if len(all) != want || err != nil || time.Since(began) != time.Duration(1+i)*time.Second {
				t.Errorf("%q, %v after %v", all, err, time.Since(began))
			}
		}
		if err := client.Send(t.Context(), nil); err == nil {
			t.Error("sent behind CloseSend")
		}
		for range 2 {
			if _, err := client.Recv(t.Context()); err != io.EOF || time.Since(began) != 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		<-s.Over()
		if n := m.Counts(); n != (Counts{Dials: 1, Conns: 1, Streams: 1, Messages: 4}) || s.Closed() {
			t.Errorf("counts %+v, closed: %v", n, s.Closed())
		}
	})
}

// How streams end: by the client, with the connection, by a message that is too large.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, OK)
		open := func(req transport.Request) (transport.Stream, *Stream) {
			client, err := conn.Open(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			return client, m.NextStream(t)
		}
		client, s := open(transport.Request{})
		s.Send([]byte("unread"))
		client.Close()
		client.Close()
		_, err := client.Recv(t.Context())
		isError(t, err, transport.Canceled, transport.MaybeSent, transport.ErrClosed)
		if !s.Closed() || s.Sleep(time.Second) {
			t.Error("it is not closed")
		}

		client, s = open(transport.Request{MaxMessage: 5})
		s.Send([]byte("small"), []byte("larger"))
		if msg, err := client.Recv(t.Context()); string(msg) != "small" || err != nil {
			t.Errorf("%q, %v", msg, err)
		}
		_, err = client.Recv(t.Context())
		isError(t, err, transport.ResourceExhausted, transport.MaybeSent, transport.ErrTooLarge)
		if e := err.(*transport.Error); string(e.Head) != "larger" {
			t.Errorf("head %q", e.Head)
		}

		client, s = open(transport.Request{})
		s.Send([]byte("here"))
		s.SendAfter(time.Second, []byte("under way"))
		m.Cut(nil)
		if msg, err := client.Recv(t.Context()); string(msg) != "here" || err != nil {
			t.Errorf("%q, %v", msg, err)
		}
		_, err = client.Recv(t.Context())
		isError(t, err, transport.Unavailable, transport.MaybeSent, nil)
		isError(t, client.Send(t.Context(), nil), transport.Unavailable, transport.MaybeSent, nil)
		if n := m.Counts().OpenStreams; n != 0 {
			t.Errorf("%d streams are open", n)
		}
		m.RefuseStreams(NoLeader.Err)
		_, err = conn.Open(t.Context(), transport.Request{})
		isError(t, err, transport.Unavailable, transport.Answered, nil)
	})
}

// Close waits for the functions that serve streams.
func TestServedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, conn := dialed(t, OK)
		served := 0
		m.HandleStreams(func(s *Stream) {
			for msg, sent, ok := s.Recv(); ok; msg, sent, ok = s.Recv() {
				s.Sleep(time.Until(sent.Add(time.Second)))
				s.Send(msg)
			}
			served++
		})
		client, err := conn.Open(t.Context(), transport.Request{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = client.Send(t.Context(), []byte("echo"))
		if msg, err := client.Recv(t.Context()); string(msg) != "echo" || err != nil || time.Since(began) != time.Second {
			t.Errorf("%q, %v after %v", msg, err, time.Since(began))
		}
		_ = conn.Close()
		if served != 1 {
			t.Error("it is served after Close")
		}
	})
}

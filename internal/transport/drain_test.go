package transport

import (
	"context"
	"testing"
)

// Drain lets what is open finish, takes nothing new, and then the connection ends.
func TestDrain(t *testing.T) {
	overLinks(t, func(t *testing.T, l link) {
		conn, p := connect(t, l, Options{})
		pending := start(conn, simple)
		id := p.request().id
		conn.Drain()
		if s := conn.State(); s != Draining {
			t.Errorf("state is %v, want draining", s)
		}
		_, err := conn.Call(context.Background(), simple)
		want{code: Unavailable, outcome: NotSent, cause: ErrDraining}.check(t, err)
		p.reply(id, "done nevertheless")
		if got := pending.wait(t); got.err != nil || string(got.reply) != "done nevertheless" {
			t.Errorf("the open call gets %q, %v", got.reply, got.err)
		}
		want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
		conn.Drain() // again does no harm
	})
}

// A connection without streams ends with Drain.
func TestDrainIdle(t *testing.T) {
	conn, _ := connect(t, tcpLink, Options{})
	conn.Drain()
	want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
}

// One whose last stream ends on our side ends too.
func TestDrainThenClose(t *testing.T) {
	conn, _ := connect(t, tcpLink, Options{})
	s, err := conn.Open(context.Background(), simple)
	if err != nil {
		t.Fatal(err)
	}
	conn.Drain()
	s.Close()
	want{code: Unavailable, cause: ErrDraining}.check(t, ended(t, conn))
}

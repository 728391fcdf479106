package etcdtest_test

import (
	"io"
	"net"
	"testing"

	"silly.store/etcd/etcdtest"
)

// greeter is a server that sends its name on each connection and closes it.
func greeter(t *testing.T, name string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestBalancer(t *testing.T) {
	t.Parallel()
	a, b := greeter(t, "a"), greeter(t, "b")
	p := etcdtest.StartBalancer(t, a, "http://"+b)
	names := func(n int) (all string) {
		for range n {
			name, err := io.ReadAll(dial(t, p))
			if err != nil {
				t.Fatal(err)
			}
			all += string(name)
		}
		return all
	}
	if got := names(5); got != "ababa" {
		t.Errorf("connections went to %s", got)
	}
	// Existing connections stay.
	p.Set(etcdtest.ToClient, etcdtest.Fault{Stall: true})
	stays := dial(t, p) // to b
	eventually(t, func() bool { return p.Carried(etcdtest.ToClient) == 6 }, func() string { return "the name was not sent" })
	if err := p.Balance(a); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	if name, err := io.ReadAll(stays); string(name) != "b" || err != nil {
		t.Errorf("the connection that was there went to %q, %v", name, err)
	}
	if got := names(3); got != "aaa" {
		t.Errorf("connections went to %s", got)
	}
	for _, targets := range [][]string{nil, {"nowhere"}} {
		if err := p.Balance(targets...); err == nil {
			t.Errorf("%q is accepted", targets)
		}
	}

	at, err := etcdtest.NewProxyAt("127.0.0.1:0", a)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if _, err := etcdtest.NewProxyAt(at.Addr(), a); err == nil {
		t.Error("two proxies are at one address")
	}
}

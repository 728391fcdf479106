//go:build unix

package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// socketPair connects two sockets of the network.
func socketPair(t *testing.T, network string) (ours, theirs net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	return ours, theirs
}

// Every byte arrives once and in order, in reads and writes of all sizes, and while the
// socket's buffers are full.
func TestNonblockingTransfers(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			plain, peer := socketPair(t, network)
			c := nonblocking(plain)
			if c == plain {
				t.Fatal("a plain socket is not wrapped")
			}
			sent := make([]byte, 8<<20)
			for i := range sent {
				sent[i] = byte(rand.Uint32())
			}
			go func() { // back again, with other sizes
				_, _ = io.CopyBuffer(struct{ io.Writer }{peer}, struct{ io.Reader }{peer}, make([]byte, 77_777))
			}()
			wrote := make(chan error, 1)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(1<<rand.IntN(20)))
					k, err := c.Write(rest[:n])
					if err != nil || k != n {
						wrote <- fmt.Errorf("wrote %d of %d: %w", k, n, err)
						return
					}
					rest = rest[n:]
				}
				wrote <- nil
			}()
			var got []byte
			for len(got) < len(sent) {
				b := make([]byte, 1+rand.IntN(1<<rand.IntN(20)))
				n, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b[:n]...)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got, sent) {
				t.Error("other bytes came back")
			}
		})
	}
}

// tryWrite takes what fits and no more, and never waits.
func TestTryWriteStops(t *testing.T) {
	plain, peer := socketPair(t, "tcp")
	c := nonblocking(plain).(*nonblockConn)
	chunk, total := bytes.Repeat([]byte("x"), 50_000), 0
	for {
		n, err := c.tryWrite(chunk)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		if n < len(chunk) {
			break
		}
	}
	if n, err := io.CopyN(io.Discard, peer, int64(total)); err != nil {
		t.Fatalf("received %d of %d bytes: %v", n, total, err)
	}
	if n, err := c.tryWrite(chunk); n != len(chunk) || err != nil {
		t.Errorf("then it takes %d of %d bytes, %v", n, len(chunk), err)
	}
}

// The errors of a wrapped socket are those of the socket: they read alike and have the same
// causes.
func TestNonblockingErrors(t *testing.T) {
	read := func(c net.Conn) error {
		_, err := c.Read(make([]byte, 10))
		return err
	}
	write := func(c net.Conn) error {
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 100_000))
		}
		return err
	}
	tryWrite := func(c net.Conn) error {
		if wrapped, ok := c.(*nonblockConn); ok {
			_, err := wrapped.tryWrite(make([]byte, 10))
			return err
		}
		_, err := c.Write(make([]byte, 10))
		return err
	}
	past := time.Unix(1, 0)
	soon := 20 * time.Millisecond
	for _, c := range []struct {
		name  string
		spoil func(ours, theirs net.Conn)
		use   func(net.Conn) error
		cause error
	}{
		{"read, closed", func(ours, _ net.Conn) { ours.Close() }, read, net.ErrClosed},
		{"read, closed meanwhile", func(ours, _ net.Conn) { time.AfterFunc(soon, func() { ours.Close() }) }, read, net.ErrClosed},
		{"read, deadline", func(ours, _ net.Conn) { _ = ours.SetDeadline(past) }, read, os.ErrDeadlineExceeded},
		{"read, deadline meanwhile", func(ours, _ net.Conn) { time.AfterFunc(soon, func() { _ = ours.SetDeadline(past) }) }, read, os.ErrDeadlineExceeded},
		{"read, end", func(_, theirs net.Conn) { theirs.Close() }, read, io.EOF},
		{"read, reset", func(_, theirs net.Conn) { reset(theirs) }, read, syscall.ECONNRESET},
		{"write, closed", func(ours, _ net.Conn) { ours.Close() }, write, net.ErrClosed},
		{"write, closed meanwhile", func(ours, _ net.Conn) { time.AfterFunc(soon, func() { ours.Close() }) }, write, net.ErrClosed},
		{"write, deadline meanwhile", func(ours, _ net.Conn) { time.AfterFunc(soon, func() { _ = ours.SetDeadline(past) }) }, write, os.ErrDeadlineExceeded},
		{"write in place, closed", func(ours, _ net.Conn) { ours.Close() }, tryWrite, net.ErrClosed},
		{"write in place, reset", func(ours, theirs net.Conn) { reset(theirs); _ = read(ours) }, tryWrite, syscall.EPIPE},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := make([]string, 2)
			for i, wrap := range []func(net.Conn) net.Conn{func(c net.Conn) net.Conn { return c }, nonblocking} {
				plain, peer := socketPair(t, "tcp")
				ours := wrap(plain)
				c.spoil(ours, peer)
				err := c.use(ours)
				if !errors.Is(err, c.cause) {
					t.Errorf("%T: %v, not %v", ours, err, c.cause)
				}
				texts[i] = strings.NewReplacer(plain.LocalAddr().String(), "LOCAL", plain.RemoteAddr().String(), "REMOTE").Replace(fmt.Sprint(err))
			}
			if texts[0] != texts[1] {
				t.Errorf("package net: %s\nnonblocking: %s", texts[0], texts[1])
			}
		})
	}
}

// reset closes c with a TCP reset.
func reset(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// The user's code may put a socket into blocking mode, when it makes it and afterwards. A read
// must not keep the garbage collector waiting then.
func TestSocketInBlockingMode(t *testing.T) {
	plain, peer := socketPair(t, "tcp")
	block := func() {
		f, err := plain.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Fd()
		_ = f.Close()
	}
	block()
	c := nonblocking(plain)
	block()
	const bytes = 20
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, bytes))
		read <- err
	}()
	for range bytes {
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A call costs no allocation.
func TestNonblockingAllocations(t *testing.T) {
	plain, peer := socketPair(t, "tcp")
	c := nonblocking(plain).(*nonblockConn)
	b, back := []byte("0123456789"), make([]byte, 10)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.tryWrite(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, back); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Write(back); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(back); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

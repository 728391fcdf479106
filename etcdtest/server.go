package etcdtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// startLimit is how long a server may take to become ready.
const startLimit = 30 * time.Second

// Server is one real etcd, in this process or in a child process. It is safe for
// concurrent use.
type Server struct {
	home *home

	// For a child process: how to run it.
	binary string
	args   []string

	mu       sync.Mutex // protects the fields below; held while the server starts or ends
	embedded *embedded  // nil when down or not embedded
	child    *child     // nil before the first run or when embedded
	stopped  bool       // by Stop
	closed   bool
}

// Start runs an embedded etcd with the zero [Config] until the test ends. It
// fails the test if the server doesn't start.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartConfig(t, Config{})
}

// StartConfig is [Start] with a configuration.
func StartConfig(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	return started(t, s, err)
}

// StartProcess runs an etcd as a child process until the test ends. It fails
// the test if the server doesn't start.
func StartProcess(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := NewProcess(cfg)
	return started(t, s, err)
}

func started(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s) })
	return s
}

// finish closes the server, and logs the end of its log if the test failed.
func finish(t testing.TB, s *Server) {
	if t.Failed() {
		t.Logf("log of etcd %s:\n%s", s.home.name, excerpt(s.Log(), 40))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// New runs an etcd in this process and returns when it serves requests. If cfg asks
// for a version that can't be embedded, etcd runs as a child process. The caller
// must call [Server.Close].
func New(cfg Config) (*Server, error) { return newServer(cfg, false) }

// NewProcess runs an etcd as a child process and returns when it serves
// requests. The first use of a version builds it, which takes a minute. The
// caller must call [Server.Close].
func NewProcess(cfg Config) (*Server, error) { return newServer(cfg, true) }

func newServer(cfg Config, process bool) (*Server, error) {
	cfg, isEmbedded, err := cfg.resolved(process)
	if err != nil {
		return nil, err
	}
	binary := ""
	if !isEmbedded {
		if binary, err = serverBinary(cfg.Version); err != nil {
			return nil, err
		}
	}
	h, err := newHome("etcd", cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{home: h, binary: binary}
	if !isEmbedded {
		s.args = h.flags(h.asPeer(), newCluster)
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Endpoints returns the server's client URL for a client's configuration: http://,
// https:// or unix://.
func (s *Server) Endpoints() []string { return []string{s.home.endpoint()} }

// Addr returns the server's client address, as host:port or as the path of its unix
// socket.
func (s *Server) Addr() string { return s.home.addr() }

// Version returns the server's minor version, "3.7" for example.
func (s *Server) Version() string { return s.home.cfg.Version }

// Name returns the member's name.
func (s *Server) Name() string { return s.home.name }

// DataDir returns the server's data directory.
func (s *Server) DataDir() string { return s.home.dataDir }

// CA returns the authority that signed the server's certificate, or nil
// without TLS.
func (s *Server) CA() *CA { return s.home.ca }

// ClientTLS returns a configuration that the server accepts, with a client
// certificate, or nil without TLS. Each call returns a new copy.
func (s *Server) ClientTLS() *tls.Config {
	if s.home.clientTLS == nil {
		return nil
	}
	return s.home.clientTLS.Clone()
}

// Embedded returns etcd's handle of a server that runs in this process, or nil.
func (s *Server) Embedded() *embed.Etcd {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.embedded == nil {
		return nil
	}
	return s.embedded.etcd
}

// PID returns the ID of the server's process, which for an embedded server is this
// process, or 0 while it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.embedded != nil:
		return os.Getpid()
	case s.child != nil && s.child.running():
		return s.child.cmd.Process.Pid
	}
	return 0
}

// Log returns the server's log so far, from all its runs. It is empty after Close.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.home.logPath)
	if err != nil {
		return ""
	}
	return string(b)
}

// Kill ends a child process with SIGKILL, as a crash would, and returns when it is
// gone. Its port stays held and refuses connections. An embedded server is shut
// down instead. Kill does nothing if the server is down.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killLocked()
}

// Terminate asks a child process to shut down with SIGTERM, which lets etcd close
// its connections gracefully, and returns when it is gone. For an embedded server
// it is the same as Kill.
func (s *Server) Terminate() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || s.stopped {
		return s.killLocked()
	}
	return s.child.end(syscall.SIGTERM)
}

// Stop suspends a child process with SIGSTOP until Continue: its connections stay
// open and nothing answers. It is an error for an embedded server.
func (s *Server) Stop() error { return s.signal(true) }

// Continue resumes a stopped child process.
func (s *Server) Continue() error { return s.signal(false) }

func (s *Server) signal(stop bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return errors.New("etcdtest: only a server that is a child process can be stopped, use StartProcess")
	}
	sig := continueSignal
	if stop {
		sig = stopSignal
	}
	if sig == nil {
		return fmt.Errorf("etcdtest: stopping a process: %w", errors.ErrUnsupported)
	}
	if err := s.child.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("etcdtest: %w", err)
	}
	s.stopped = stop
	if stop {
		if err := waitStopped(s.child.cmd.Process.Pid); err != nil {
			return fmt.Errorf("etcdtest: %w", err)
		}
	}
	return nil
}

// Restart kills the server if it runs, starts it again on the same addresses and
// data, and returns when it serves requests. A member of a cluster without quorum
// can't serve: use [Server.Launch] for all but the last.
func (s *Server) Restart() error {
	if err := s.Launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return s.Ready(ctx)
}

// Launch is [Server.Restart], but does not wait until a child process is ready.
func (s *Server) Launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("etcdtest: the server is closed")
	}
	err := s.killLocked()
	if err != nil {
		return err
	}
	if s.binary == "" {
		s.embedded, err = startEmbedded(s.home)
	} else {
		s.child, err = startChild(s.home, s.binary, s.args)
	}
	return err
}

func (s *Server) killLocked() error {
	var err error
	if s.embedded != nil {
		err = s.embedded.stop()
		s.embedded = nil
	}
	if s.child != nil && s.child.running() {
		err = s.child.kill()
	}
	s.stopped = false
	return err
}

// Close ends the server at once, releases its ports and deletes its temporary
// directory. Further calls do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.killLocked(), s.home.remove())
}

// excerpt returns a log, shortened if it is long to its first lines, which hold
// command line errors, and its last n. It omits etcd's lines about our probes while
// it isn't ready.
func excerpt(log string, n int) string {
	const first = 3
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(log, "\n"), "\n"), func(line string) bool {
		return strings.Contains(line, `"caller":"etcdhttp/health.go`)
	})
	if len(lines) > first+n {
		lines = slices.Concat(lines[:first], []string{"..."}, lines[len(lines)-n:])
	}
	return strings.Join(lines, "\n")
}

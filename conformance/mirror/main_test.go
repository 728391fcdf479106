package mirror

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// slow runs what takes minutes, and holds the figures against their limits.
var slow = flag.Bool("slow", false, "run the long variants and hold figures against their limits")

// target is the server that mirrors write to; they read from the shared one.
var target *etcdtest.Server

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.Config{
		Server: testbed.Quick, Others: []**etcdtest.Server{&target}, Watched: []string{"silly.store/etcd/mirror."}, Children: children,
	})
}

// connect makes a client that is closed with the test.
func connect(t testing.TB, endpoint string) *etcd.Client {
	t.Helper()
	return testbed.Connect(t, etcd.Config{Endpoints: []string{endpoint}})
}

// sides are the clients of both clusters.
type sides struct {
	t        testing.TB
	src, dst *etcd.Client
	config   mirror.Config
}

// between is both sides of the shared servers, for a prefix of the test's own.
func between(t testing.TB) *sides {
	t.Helper()
	name := testbed.OwnName(t)
	return &sides{t, connect(t, testbed.Shared.Endpoints()[0]), connect(t, target.Endpoints()[0]), mirror.Config{
		Name: name, Prefix: name + "/a/", DestPrefix: name + "/b/",
	}}
}

func (s *sides) new() *mirror.Mirror {
	s.t.Helper()
	m, err := mirror.New(s.src, s.dst, s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// begin runs a mirror until end is called, or the test ends.
func (s *sides) begin() (m *mirror.Mirror, end func() error) {
	s.t.Helper()
	m = s.new()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- m.Run(ctx)
		close(done)
	}()
	end = func() error {
		cancel()
		return <-done
	}
	s.t.Cleanup(func() { _ = end() })
	return m, end
}

// stopped ends a mirror that must not have failed.
func (s *sides) stopped(end func() error) {
	s.t.Helper()
	if err := end(); !errors.Is(err, context.Canceled) {
		s.t.Error(err)
	}
}

// put puts a key of the source and returns the revision.
func (s *sides) put(key, value string) int64 {
	s.t.Helper()
	resp, err := s.src.Put(testbed.Within(s.t, 20*time.Second), etcd.PutRequest{Key: s.config.Prefix + key, Value: []byte(value)})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

func (s *sides) drop(key string) int64 {
	s.t.Helper()
	resp, err := s.src.Delete(testbed.Within(s.t, 20*time.Second), etcd.DeleteRequest{Key: s.config.Prefix + key})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.Header.Revision
}

// foreign puts a key of the target as nobody should.
func (s *sides) foreign(key, value string) {
	s.t.Helper()
	if _, err := s.dst.Put(testbed.Within(s.t, 20*time.Second), etcd.PutRequest{Key: s.config.DestPrefix + key, Value: []byte(value)}); err != nil {
		s.t.Fatal(err)
	}
}

// has returns the target's pairs.
func (s *sides) has() string {
	s.t.Helper()
	resp, err := s.dst.Get(testbed.Within(s.t, 20*time.Second), etcd.GetRequest{Key: s.config.DestPrefix, Prefix: true})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, kv := range resp.KVs {
		out = append(out, fmt.Sprintf("%s=%s", strings.TrimPrefix(kv.Key, s.config.DestPrefix), kv.Value))
	}
	return strings.Join(out, " ")
}

// reaches waits until the mirror has a revision.
func (s *sides) reaches(m *mirror.Mirror, revision int64) {
	s.t.Helper()
	testbed.Eventually(s.t, fmt.Sprint("revision ", revision), func() bool {
		st := m.Status()
		return st.Phase == mirror.Following && st.Revision >= revision
	})
}

// wantHas waits for a revision and checks the target's pairs.
func (s *sides) wantHas(m *mirror.Mirror, revision int64, want string) {
	s.t.Helper()
	s.reaches(m, revision)
	if got := s.has(); got != want {
		s.t.Errorf("the target has %q, want %q", got, want)
	}
}

// equal compares both sides.
func (s *sides) equal(m *mirror.Mirror) *mirror.Report {
	s.t.Helper()
	r, err := m.Verify(testbed.Within(s.t, time.Minute))
	if err != nil {
		s.t.Fatal(err)
	}
	if !r.Equal() {
		s.t.Errorf("%+v", r)
	}
	return r
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), "mirror: "+what)
}

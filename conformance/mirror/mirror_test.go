package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// The first copy, each change after it, and what was at the target before.
func TestMirror(t *testing.T) {
	t.Parallel()
	s := between(t)
	s.put("kept", "1")
	s.put("changed", "1")
	s.foreign("kept", "1")
	s.foreign("changed", "0")
	s.foreign("extra", "1")
	first := s.put("new", "1")
	m, end := s.begin()
	s.wantHas(m, first, "changed=1 kept=1 new=1")
	lease, err := s.src.Grant(t.Context(), etcd.GrantRequest{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.src.Txn(t.Context(), etcd.TxnRequest{Then: []etcd.Op{
		etcd.PutRequest{Key: s.config.Prefix + "new", Value: []byte("2")}, etcd.DeleteRequest{Key: s.config.Prefix + "kept"},
		etcd.PutRequest{Key: s.config.Prefix + "leased", Value: []byte("2"), Lease: lease.ID},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.wantHas(m, resp.Header.Revision, "changed=1 leased=2 new=2")
	s.equal(m)
	if err := lease.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantHas(m, resp.Header.Revision+1, "changed=1 new=2")
	testbed.Eventually(t, "the proof that all is there", func() bool { return !m.Status().SyncedAt.IsZero() })
	st := m.Status()
	if st.Copies != 1 || st.Written < 7 || st.Changes != 4 || st.Err != nil {
		t.Errorf("%+v", st)
	}
	if err := m.Run(t.Context()); !errors.Is(err, mirror.ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	s.stopped(end)
}

// A mirror goes on where the last one was, also behind a compaction; then it writes only what
// differs.
func TestResume(t *testing.T) {
	t.Parallel()
	s := between(t)
	s.src = connect(t, etcdtest.StartProcess(t, testbed.Quick).Endpoints()[0])
	for i := range 200 {
		s.put(fmt.Sprint(i), "1")
	}
	m, end := s.begin()
	s.reaches(m, s.put("x", "1"))
	s.stopped(end)

	s.put("x", "2")
	last := s.drop("0")
	m, end = s.begin()
	s.reaches(m, last)
	s.equal(m)
	if st := m.Status(); st.Copies != 0 || st.Changes != 2 {
		t.Errorf("after a break: %+v", st)
	}
	s.stopped(end)

	s.put("x", "3")
	s.put("x", "4")
	last = s.drop("1")
	if _, err := s.src.Compact(t.Context(), etcd.CompactRequest{Revision: last}); err != nil {
		t.Fatal(err)
	}
	m, end = s.begin()
	s.reaches(m, last)
	s.equal(m)
	if st := m.Status(); st.Copies != 1 || st.Written != 2 {
		t.Errorf("after a compaction: %+v", st)
	}
	s.stopped(end)
}

// A second mirror of a name ends the first one, whether or not that has something to do.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	s := between(t)
	first, endFirst := s.begin()
	s.reaches(first, s.put("a", "1"))
	second, end := s.begin()
	s.reaches(second, s.put("a", "2"))
	testbed.Eventually(t, "the first one's end", func() bool { return first.Status().Phase == mirror.Stopped })
	if err := endFirst(); !errors.Is(err, mirror.ErrSuperseded) {
		t.Errorf("the first one: %v", err)
	}
	s.wantHas(second, s.put("a", "3"), "a=3")
	s.stopped(end)
}

// Loops are refused where they can be seen.
func TestLoops(t *testing.T) {
	t.Parallel()
	s := between(t)
	same := *s
	same.dst, same.config.DestPrefix = s.src, s.config.Prefix+"copy/"
	if err := same.new().Run(testbed.Within(t, 20*time.Second)); !errors.Is(err, mirror.ErrLoop) {
		t.Errorf("within a cluster: %v", err)
	}
	same.config.DestPrefix = s.config.Name + "/b/"
	m, end := same.begin()
	same.wantHas(m, same.put("a", "1"), "a=1")
	same.stopped(end)

	m, end = s.begin()
	s.reaches(m, s.put("a", "1"))
	back := *s
	back.src, back.dst = s.dst, s.src
	back.config.Prefix, back.config.DestPrefix = s.config.DestPrefix, s.config.Prefix
	if err := back.new().Run(testbed.Within(t, 20*time.Second)); !errors.Is(err, mirror.ErrLoop) {
		t.Errorf("the other way round: %v", err)
	}
	s.stopped(end)
}

// A comparison finds what others have done at the target; a new first copy repairs it.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := between(t)
	s.config.Verify = 20 * time.Millisecond
	for i := range 100 {
		s.put(fmt.Sprintf("%03d", i), "1")
	}
	if _, err := s.new().Verify(t.Context()); !errors.Is(err, mirror.ErrCopying) {
		t.Errorf("before the first copy: %v", err)
	}
	m, end := s.begin()
	s.reaches(m, s.put("x", "1"))
	if r := s.equal(m); r.Keys != 101 {
		t.Errorf("%d keys", r.Keys)
	}
	s.foreign("extra", "1")
	s.foreign("001", "2")
	if _, err := s.dst.Delete(t.Context(), etcd.DeleteRequest{Key: s.config.DestPrefix + "002"}); err != nil {
		t.Fatal(err)
	}
	r, err := m.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Extra != 1 || r.Different != 1 || r.Missing != 1 || strings.Join(r.Examples, " ") != strings.Join([]string{s.config.DestPrefix + "001", s.config.DestPrefix + "002", s.config.DestPrefix + "extra"}, " ") {
		t.Errorf("%+v", r)
	}
	testbed.Eventually(t, "Run to find it", func() bool { v := m.Status().Verified; return v != nil && !v.Equal() })
	if _, err := s.dst.Delete(t.Context(), etcd.DeleteRequest{Key: "mirror/" + s.config.Name + "/", Prefix: true}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the repair", func() bool { return m.Status().Copies == 2 && m.Status().Phase == mirror.Following })
	s.equal(m)
	s.stopped(end)
}

// All of a cluster: the checkpoint is neither a key that is too many nor one that is copied.
func TestWholeCluster(t *testing.T) {
	t.Parallel()
	s := &sides{t: t, config: mirror.Config{Name: "all"}}
	for _, c := range []**etcd.Client{&s.src, &s.dst} {
		*c = connect(t, etcdtest.StartProcess(t, testbed.Quick).Endpoints()[0])
	}
	s.put("a", "1")
	s.foreign("b", "1")
	m, end := s.begin()
	s.reaches(m, s.put("\x00", "1"))
	s.reaches(m, s.put("\xff\xff", "1"))
	if r := s.equal(m); r.Keys != 3 {
		t.Errorf("%+v", r)
	}
	s.stopped(end)
	resp, err := s.dst.Get(t.Context(), etcd.GetRequest{Key: "mirror/all/", Prefix: true})
	if err != nil || len(resp.KVs) != 1 {
		t.Fatal(resp, err)
	}
	// The source has a key with the name of the checkpoint.
	m, end = s.begin()
	s.reaches(m, s.put(resp.KVs[0].Key, "mine"))
	s.reaches(m, s.put("c", "1"))
	s.equal(m)
	s.stopped(end)
}

// A revision of the source that is larger than a Txn of the target comes in parts. A value
// that does not fit ends the mirror and is named.
func TestLarge(t *testing.T) {
	t.Parallel()
	s := between(t)
	s.src = connect(t, etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond, MaxTxnOps: 1000, MaxRequestBytes: 4 << 20}).Endpoints()[0])
	s.dst = connect(t, etcdtest.StartProcess(t, etcdtest.Config{Heartbeat: 10 * time.Millisecond, MaxTxnOps: 20, MaxRequestBytes: 100_000}).Endpoints()[0])
	large := func(n, size int) int64 {
		var ops []etcd.Op
		for i := range n {
			ops = append(ops, etcd.PutRequest{Key: fmt.Sprintf("%s%04d", s.config.Prefix, i), Value: []byte(strings.Repeat("x", size))})
		}
		resp, err := s.src.Txn(t.Context(), etcd.TxnRequest{Then: ops})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	revision := large(500, 10)
	m, end := s.begin()
	s.reaches(m, revision)
	s.equal(m)
	s.reaches(m, large(600, 3000))
	s.equal(m)
	s.put("huge", strings.Repeat("x", 200_000))
	testbed.Eventually(t, "the mirror's end", func() bool { return m.Status().Phase == mirror.Stopped })
	if err := end(); !errors.Is(err, etcd.ErrRequestTooLarge) || !strings.Contains(err.Error(), s.config.DestPrefix+"huge") {
		t.Error(err)
	}
}

// Either cluster is away for a moment: the mirror waits, says why, and goes on.
func TestOutages(t *testing.T) {
	t.Parallel()
	for side := range 2 {
		t.Run([]string{"source", "target"}[side], func(t *testing.T) {
			t.Parallel()
			s := between(t)
			proxy := etcdtest.StartProxy(t, []*etcdtest.Server{testbed.Shared, target}[side].Endpoints()[0])
			plain := s.src
			if side == 0 {
				s.src = connect(t, proxy.Endpoint())
			} else {
				s.dst = connect(t, proxy.Endpoint())
			}
			log := &lines{}
			s.config.Logger = slog.New(slog.NewTextHandler(log, nil))
			m, end := s.begin()
			put := func(value string) int64 {
				resp, err := plain.Put(t.Context(), etcd.PutRequest{Key: s.config.Prefix + "a", Value: []byte(value)})
				if err != nil {
					t.Fatal(err)
				}
				return resp.Header.Revision
			}
			s.reaches(m, put("1"))
			testbed.Eventually(t, "the proof", func() bool { return !m.Status().SyncedAt.IsZero() })
			proxy.Silence(true)
			proxy.Reset()
			last := put("2")
			testbed.Eventually(t, "the lag to grow, and why", func() bool {
				st := m.Status()
				return st.Lag() > 300*time.Millisecond && st.Err != nil && strings.HasPrefix(st.Err.Error(), []string{"source: ", "target: "}[side])
			})
			if log.count("no progress") == 0 {
				t.Error("the log does not say that an outage has begun")
			}
			proxy.Silence(false)
			proxy.Reset()
			s.wantHas(m, last, "a=2")
			testbed.Eventually(t, "the lag to be small", func() bool { st := m.Status(); return st.Lag() < 300*time.Millisecond && st.Err == nil })
			if st := m.Status(); st.Copies != 1 {
				t.Errorf("%+v", st)
			}
			if log.count("progress again") == 0 {
				t.Error("the log does not say that the outage has ended")
			}
			s.stopped(end)
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := between(t)
	for text, config := range map[string]mirror.Config{
		"Config.Name is empty":     {},
		"Config.Name has":          {Name: "a/b"},
		"Config.Checkpoint ends":   {Name: "a", Checkpoint: "m/"},
		"Config.Verify is":         {Name: "a", Verify: -1},
		"did you mean 5 * time.Se": {Name: "a", Verify: 5},
	} {
		if _, err := mirror.New(s.src, s.dst, config); !errors.Is(err, etcd.ErrInvalidConfig) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
	if _, err := mirror.New(s.src, nil, s.config); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Error(err)
	}
	m, end := s.begin()
	s.reaches(m, s.put("a", "1"))
	s.stopped(end)
	s.config.Prefix += "other/"
	if err := s.new().Run(testbed.Within(t, 20*time.Second)); !errors.Is(err, etcd.ErrInvalidConfig) {
		t.Errorf("another prefix under the same name: %v", err)
	}
	var none context.Context
	if err := m.Run(none); !errors.Is(err, etcd.ErrInvalidRequest) {
		t.Error(err)
	}
}

package mirror

import (
	"fmt"
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/testbed"
	"silly.store/etcd/etcdtest"
	"silly.store/etcd/mirror"
)

// A cluster that is set back to a backup: the source, and the target follows it; the target,
// and it is completed from where its checkpoint is then.
func TestRestore(t *testing.T) {
	t.Parallel()
	for side := range 2 {
		t.Run([]string{"source", "target"}[side], func(t *testing.T) {
			t.Parallel()
			var servers [2]*etcdtest.Server
			for i := range servers {
				servers[i] = etcdtest.StartProcess(t, testbed.Quick)
			}
			s := &sides{t: t, config: mirror.Config{Name: "restored", Prefix: "a/", DestPrefix: "b/"}}
			s.src, s.dst = connect(t, servers[0].Endpoints()[0]), connect(t, servers[1].Endpoints()[0])
			m, end := s.begin()
			for i := range 20 {
				s.put(fmt.Sprint(i), "1")
			}
			s.reaches(m, s.put("kept", "1"))
			backup := testbed.TakeBackup(t, servers[side])
			for range 3 {
				s.put("later", "1")
				s.drop("5")
				s.reaches(m, s.put("kept", "2"))
			}
			backup.Restore(t)
			testbed.Eventually(t, "a change after the restore", func() bool {
				s.put("after", "3")
				r, err := m.Verify(testbed.Within(t, 20*time.Second))
				return err == nil && r.Equal() && m.Status().Phase == mirror.Following && r.SourceRevision > 0 && s.afterIsThere()
			})
			if side == 1 && m.Status().Copies != 1 {
				t.Errorf("%+v", m.Status())
			}
			s.stopped(end)
		})
	}
}

// afterIsThere reports whether the target has what was put last.
func (s *sides) afterIsThere() bool {
	resp, err := s.dst.Get(testbed.Within(s.t, 20*time.Second), etcd.GetRequest{Key: s.config.DestPrefix + "after"})
	return err == nil && len(resp.KVs) == 1
}

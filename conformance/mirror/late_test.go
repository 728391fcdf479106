package mirror

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/onefault"
	"silly.store/etcd/conformance/internal/testbed"
)

// Whatever becomes of a Txn at the target, its change is applied once, and a late copy undoes
// no later one.
func TestTxnFaults(t *testing.T) {
	t.Parallel()
	for fault, k := range onefault.Kinds {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := between(t)
			f := onefault.New(t)
			c, err := etcd.New(etcd.Config{
				Endpoints: target.Endpoints(), DialContext: f.Dial, RetrySleep: time.Millisecond, Timeout: 500 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			plain := s.dst
			s.dst = c
			m, end := s.begin()
			s.reaches(m, s.put("a", "0"))
			hit := f.Arm(k, s.config.DestPrefix+"a")
			first := s.put("a", "1")
			<-hit
			s.wantHas(m, first, "a=1")
			s.wantHas(m, s.put("a", "2"), "a=2")
			if k == onefault.Late {
				f.Deliver(t)
			}
			resp, err := plain.Get(t.Context(), etcd.GetRequest{Key: s.config.DestPrefix + "a"})
			if err != nil {
				t.Fatal(err)
			}
			if kv, _ := resp.First(); string(kv.Value) != "2" || kv.Version != 3 {
				t.Errorf("the key is %s, put %d times", kv.Value, kv.Version)
			}
			s.stopped(end)
		})
	}
}

// A member takes a Txn and never answers it, as one does whose leader dies with the request,
// while its connection is up. The mirror makes it again with another member, before
// Config.Timeout of the client has passed.
func TestTxnThatIsNeverAnswered(t *testing.T) {
	t.Parallel()
	s := between(t)
	f := onefault.New(t)
	const timeout = 10 * time.Second
	s.dst = testbed.Connect(t, etcd.Config{Endpoints: testbed.Detour(t, target.Endpoints()[0]), DialContext: f.Dial, Timeout: timeout})
	m, end := s.begin()
	s.reaches(m, s.put("a", "0"))
	hit := f.Arm(onefault.Stall, s.config.DestPrefix+"a")
	began := time.Now()
	change := s.put("a", "1")
	<-hit
	s.wantHas(m, change, "a=1")
	if d := time.Since(began); d > timeout*3/4 { // the first copy waits for 3 s
		t.Errorf("it took %v", d)
	}
	s.stopped(end)
}

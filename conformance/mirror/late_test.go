package mirror

import (
	"testing"
	"time"

	"silly.store/etcd"
	"silly.store/etcd/conformance/internal/onefault"
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
